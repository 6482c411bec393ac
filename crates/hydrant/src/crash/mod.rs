//! Named moments at which a test kills the process, to prove that what follows is repeated. Without
//! the feature `crashpoints` there is nothing here that a user could switch on.

use std::sync::Arc;

use hydrant_core::disk::Disk;
use hydrant_log::disk::RealDisk;
use hydrant_pipeline::lane::Hooks;

/// What the pipeline calls at its named moments.
#[cfg(not(feature = "crashpoints"))]
pub(crate) fn hooks() -> Arc<dyn Hooks> {
    Arc::new(hydrant_pipeline::lane::NoHooks)
}

/// What the pipeline calls at its named moments: kills the process at the n-th hit of the one of
/// `kill::POINTS` that `HYDRANT_CRASH_AT=name:n` names.
#[cfg(feature = "crashpoints")]
pub(crate) fn hooks() -> Arc<dyn Hooks> {
    Arc::new(kill::KillAt::from_env())
}

/// The disk of the logs.
#[cfg(not(feature = "crashpoints"))]
pub(crate) fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// The disk of the logs, with named moments as [`hooks`] has.
#[cfg(feature = "crashpoints")]
pub(crate) fn disk() -> Arc<dyn Disk> {
    Arc::new(disk::Crashing::new(RealDisk, kill::KillAt::from_env()))
}

#[cfg(feature = "crashpoints")]
mod disk;

#[cfg(feature = "crashpoints")]
mod kill {
    use std::sync::atomic::{AtomicU64, Ordering};

    use hydrant_pipeline::lane::Hooks;
    use rustix::process::{Signal, getpid, kill_process};

    /// All of them. `tests/e2e/chaos.py` hits each at least once.
    pub(super) const POINTS: [&str; 8] = [
        // Of a delivery: the intent is stored, one more object is visible, all are, the position is.
        "after-intent",
        "after-object",
        "after-objects",
        "after-commit",
        // Of the logs: half of a write is done, all is written, it is synced, a file is renamed.
        "disk-torn-write",
        "disk-before-sync",
        "disk-after-sync",
        "disk-after-rename",
    ];

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

        /// Whether this moment is the one: whoever asks then dies.
        pub(super) fn is_due(&self, point: &'static str) -> bool {
            debug_assert!(POINTS.contains(&point), "{point} is not in the list");
            point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    impl Hooks for KillAt {
        fn reached(&self, point: &'static str) {
            if self.is_due(point) {
                let killed = kill_process(getpid(), Signal::KILL);
                debug_assert!(killed.is_ok(), "a process may kill itself");
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{KillAt, POINTS};

        #[test]
        fn the_nth_hit_is_due_and_no_other() {
            let kill = KillAt {
                point: "after-intent".to_owned(),
                left: 2.into(),
            };
            let points = [
                "after-intent",
                "after-commit",
                "after-intent",
                "after-intent",
            ];
            let due = points.map(|point| kill.is_due(point));
            assert_eq!(due, [false, false, true, false]);
        }

        #[test]
        fn the_suite_knows_every_point() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/chaos.py");
            let suite = std::fs::read_to_string(path).expect("the suite is there");
            for point in POINTS {
                assert!(suite.contains(&format!("\"{point}\": ")), "{point}");
            }
        }
    }
}
