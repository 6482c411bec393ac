//! Single stages, run on this thread through the seams that the service uses too, timed by the
//! thread's CPU clock. Each checks its output before it is timed.

pub(super) mod reference;

pub(super) mod encode;

mod turns;

mod home;

pub(super) mod log;

pub(super) mod put;

pub(super) mod directory;

use std::time::Duration;

use crate::demo::report::thread_cpu;

/// What one run of a stage took and gave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) cpu: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// A stage on the records it was made with.
pub(super) trait Stage {
    /// Proves that what comes out is right.
    fn check(&mut self) -> anyhow::Result<()>;

    /// Runs once over all records. Getting ready and tidying up are not timed.
    fn run(&mut self) -> anyhow::Result<Run>;
}

impl Run {
    /// Does `work` and adds its CPU time.
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu();
        let done = work();
        self.cpu += thread_cpu().saturating_sub(before);
        done
    }
}
