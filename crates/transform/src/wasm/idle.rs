//! Instances between two calls, where the user promised that no call depends on an earlier one
//! (`instances: reuse`). What they hold is bounded for the whole process.

use std::sync::{Mutex, PoisonError};

use wasmtime::Store;

use super::bindings::Transform;
use super::engine::{Kept, WasmEngine};
use super::limits::State;

/// An instance that has its configuration.
pub(super) struct Living {
    pub(super) store: Store<State>,
    pub(super) instance: Transform,
}

/// The instances of one transform that wait for their next call.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(Living, Kept)>>);

impl Idle {
    /// The one that was used last: its memory is warm.
    pub(super) fn take(&self) -> Option<Living> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop().map(|(living, _)| living)
    }

    /// Keeps an instance with so many bytes of memory, or drops it where there is no room.
    pub(super) fn keep(&self, engine: &WasmEngine, living: Living, bytes: usize) {
        if let Some(kept) = engine.keep(bytes) {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((living, kept));
        }
    }
}
