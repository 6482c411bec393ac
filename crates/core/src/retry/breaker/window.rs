//! Calls and failures of the last 30 s, counted by the second.

use std::time::Duration;

/// Seconds that it reaches back, the one that runs among them.
const SECONDS: usize = 30;

/// The counts, as of the newest call.
#[derive(Debug, Default)]
pub(super) struct Window {
    seconds: [(u32, u32); SECONDS],
    /// The newest second.
    newest: u64,
}

impl Window {
    /// Counts a call that ended now.
    pub(super) fn add(&mut self, now: Duration, sick: bool) {
        let now = now.as_secs();
        let passed = usize::try_from(now.saturating_sub(self.newest)).unwrap_or(usize::MAX);
        for ago in 0..passed.min(SECONDS) {
            self.seconds[Self::slot(now - ago as u64)] = (0, 0);
        }
        self.newest = self.newest.max(now);
        let (calls, failed) = &mut self.seconds[Self::slot(self.newest)];
        *calls = calls.saturating_add(1);
        *failed = failed.saturating_add(sick.into());
    }

    fn slot(second: u64) -> usize {
        usize::try_from(second % SECONDS as u64).unwrap_or(0)
    }

    /// Calls, and those of them that failed.
    pub(super) fn sums(&self) -> (u32, u32) {
        let add = |sum: (u32, u32), one: &(u32, u32)| {
            (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1))
        };
        self.seconds.iter().fold((0, 0), add)
    }
}
