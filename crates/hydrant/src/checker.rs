//! `hydrant check`: every fault of a configuration at once; with `--live` what its destinations
//! say, too.

use std::io::{self, Write as _};
use std::path::Path;

use hydrant_transform::{WasmEngine, WasmTransform};

use crate::cli::{BAD_CONFIG, FAILED, OK, say};
use crate::config::types::WasmConfig;
use crate::config::{self, Fault};
use crate::{live, stages, user_cache};

/// Prints every fault; gives the exit code.
pub(crate) fn main(path: &Path, live: bool) -> u8 {
    let engine = match WasmEngine::new() {
        Ok(engine) => engine,
        Err(error) => {
            say(&format!("hydrant: {error}"));
            return FAILED;
        }
    };
    user_cache::keep_compiled(&engine);
    let checked = config::check(path, &|module: &[u8], wasm: &WasmConfig| {
        let settings = stages::transform_settings("check", wasm);
        WasmTransform::load(&engine, module, &settings, stages::silent())
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let (mut faults, mut notes) = (checked.faults, Vec::new());
    if let Some(config) = &checked.config {
        notes.clone_from(&config.notes);
        if live {
            match live::check(config, &checked.places) {
                Ok(found) => {
                    faults.extend(found.faults);
                    notes.extend(found.notes);
                }
                Err(error) => {
                    say(&format!("hydrant: {error:#}"));
                    return FAILED;
                }
            }
        }
    }
    for note in notes {
        say(&format!("note: {note}"));
    }
    report(path, &faults)
}

/// Prints faults to stderr, or that there are none to stdout.
fn report(path: &Path, faults: &[Fault]) -> u8 {
    print(faults);
    if faults.is_empty() {
        drop(writeln!(io::stdout(), "{}: ok", path.display()));
        return OK;
    }
    let plural = if faults.len() == 1 { "" } else { "s" };
    say(&format!("{} fault{plural}", faults.len()));
    BAD_CONFIG
}

/// One line for each fault.
pub(crate) fn print(faults: &[Fault]) {
    for fault in faults {
        say(&fault.to_string());
    }
}
