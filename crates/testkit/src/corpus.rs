//! The corpora of the fuzz targets, `tests/fuzz/corpus/TARGET`, run as plain tests: seeds, which
//! the target's crate makes, and inputs that once broke something.

#![expect(
    clippy::missing_panics_doc,
    reason = "a test: it panics where anything is wrong"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Set to `write`, seeds are written instead of compared.
const WRITE: &str = "HYDRANT_CORPUS";

/// Runs `body` over the corpus of a target. Its seeds, by name, must be there and current: a format
/// that changed changes them, by `HYDRANT_CORPUS=write cargo test corpus`.
pub fn run(target: &str, seeds: &[(&str, Vec<u8>)], body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let folder = folder.join(target);
    let write = std::env::var_os(WRITE).is_some_and(|value| value == "write");
    if write {
        fs::create_dir_all(&folder).expect("the corpus can be made");
    }
    for (name, bytes) in seeds {
        let path = folder.join(format!("seed-{name}"));
        if write {
            fs::write(&path, bytes).expect("a seed can be written");
        }
        let kept = fs::read(&path).unwrap_or_default();
        let path = path.display();
        assert!(
            kept == *bytes,
            "{path} is not what is made now: set {WRITE}=write"
        );
    }
    let files = files(&folder);
    assert!(files.len() >= seeds.len().max(1), "{target} has no corpus");
    for path in files {
        let bytes = fs::read(&path).expect("the corpus can be read");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&bytes))) {
            eprintln!("the input was {}", path.display());
            resume_unwind(panic);
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    files.sort();
    files
}
