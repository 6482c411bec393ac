//! Lines in hydrant's log, the one thing that a transform may do beside answering.

pub use crate::bindings::generated::hydrant::transform::log::Level;

/// Writes a line to hydrant's log. Bytes past 64 KiB a batch are thrown away.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::generated::hydrant::transform::log::log(level, message);
    // Outside the sandbox, in unit tests of a transform, there is no hydrant to take it.
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}
