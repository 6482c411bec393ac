//! Where commands that have no `data_dir` keep compiled modules: below the user's cache folder.

use std::env;
use std::path::PathBuf;

use hydrant_transform::WasmEngine;

/// Lets the engine keep what it compiles, where there is a place for it. Without one it compiles each
/// time.
pub(crate) fn keep_compiled(engine: &WasmEngine) {
    let Some(folder) = folder() else { return };
    let dir = folder.join("hydrant").join("compiled");
    if let Err(error) = engine.keep_compiled_in(&dir) {
        tracing::debug!(%error, "compiled modules are not kept");
    }
}

/// The user's cache folder, as the XDG base directory specification has it.
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}
