//! Named moments at which a test kills the process, to prove that what follows is repeated. Without
//! the feature `crashpoints` there is nothing here that a user could switch on.

use std::sync::Arc;

use hydrant_pipeline::lane::Hooks;

/// What the pipeline calls at its named moments.
#[cfg(not(feature = "crashpoints"))]
pub(crate) fn hooks() -> Arc<dyn Hooks> {
    Arc::new(hydrant_pipeline::lane::NoHooks)
}

/// What the pipeline calls at its named moments: kills the process at the n-th hit of the one that
/// `HYDRANT_CRASH_AT=name:n` names (`after-intent`, `after-objects`, `after-commit`).
#[cfg(feature = "crashpoints")]
pub(crate) fn hooks() -> Arc<dyn Hooks> {
    Arc::new(kill::KillAt::from_env())
}

#[cfg(feature = "crashpoints")]
mod kill {
    use std::sync::atomic::{AtomicU64, Ordering};

    use hydrant_pipeline::lane::Hooks;
    use rustix::process::{Signal, getpid, kill_process};

    pub(super) struct KillAt {
        point: String,
        left: AtomicU64,
    }

    impl KillAt {
        pub(super) fn from_env() -> Self {
            let text = std::env::var("HYDRANT_CRASH_AT").unwrap_or_default();
            let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
            let nth = nth.parse().unwrap_or(1);
            Self {
                point: point.to_owned(),
                left: AtomicU64::new(nth),
            }
        }
    }

    impl Hooks for KillAt {
        fn reached(&self, point: &'static str) {
            if point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                let killed = kill_process(getpid(), Signal::KILL);
                debug_assert!(killed.is_ok(), "a process may kill itself");
            }
        }
    }
}
