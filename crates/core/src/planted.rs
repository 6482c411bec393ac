//! Planted faults: each breaks one rule, in a build that has the feature `planted`, while a test has
//! switched it on. A simulation that does not find them is no evidence.
//!
//! In every other build `planted!` is `false`, and nothing of a fault is left.

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Runs `run` with this fault switched on, on this thread only.
    pub fn with<T>(name: &'static str, run: impl FnOnce() -> T) -> T {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(None);
            }
        }
        ON.set(Some(name));
        let off = Off;
        let done = run();
        drop(off);
        done
    }

    /// Whether this fault is switched on here.
    pub fn is_on(name: &str) -> bool {
        ON.get() == Some(name)
    }
}

#[cfg(feature = "planted")]
pub use switch::{is_on, with};

/// Whether the fault of this name is to be made: never, in a build without the feature `planted`.
#[cfg(feature = "planted")]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is_on($name)
    };
}

/// Whether the fault of this name is to be made: never, in a build without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}
