//! Configurations as people write them: what they mean, and what is wrong with them.

mod examples;

mod faults;

mod meaning;

mod versions;

use std::path::PathBuf;

use hydrant::config::{Config, Environment, Fault, load_with};
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Loads one file, `hydrant.yaml`, beside a file `t.wasm`. Three variables are set.
fn load(text: &str) -> Result<Config, Vec<Fault>> {
    let folder = folder(&[
        ("hydrant.yaml", text),
        ("t.wasm", ""),
        ("key", "s3cr3t-in-file\n"),
    ]);
    load_with(&folder.path().join("hydrant.yaml"), environment())
}

fn environment() -> Environment {
    Box::new(|name| match name {
        "SHARDS" => Some("3".to_owned()),
        "BUCKET" => Some("lake".to_owned()),
        "KEY" => Some("s3cr3t-in-env".to_owned()),
        _ => None,
    })
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
