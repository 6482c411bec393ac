//! One line on stderr that says how far the demo is, and the wait for the deliveries.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use hydrant_core::clock::Clock;
use hydrant_pipeline::Status;

use super::report::thousands;
use crate::service::Service;

/// How often the deliveries are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The demo gives up once nothing has moved for so long.
const PATIENCE: Duration = Duration::from_mins(1);
/// The line is written anew each time so many records were put.
const SHOW_EVERY: u64 = 5_000;

pub(super) struct Progress {
    statuses: Vec<(String, Arc<Status>)>,
    records: u64,
    put: u64,
    shown: bool,
}

impl Progress {
    pub(super) fn new(service: &Service, records: u64) -> Self {
        let shown = io::stderr().is_terminal();
        Self {
            statuses: service.statuses(),
            records,
            put: 0,
            shown,
        }
    }

    pub(super) fn put(&mut self, records: u64) {
        self.put = records;
        if records.is_multiple_of(SHOW_EVERY) {
            self.show();
        }
    }

    /// Waits until every delivery stream has read everything.
    pub(super) async fn until_read(&mut self, clock: &dyn Clock) -> anyhow::Result<()> {
        let (mut before, mut moved) = (0, clock.monotonic());
        loop {
            let read: Vec<u64> = self
                .statuses
                .iter()
                .map(|(_, status)| read(status))
                .collect();
            if read.iter().all(|read| *read >= self.records) {
                return Ok(());
            }
            let sum = read.iter().sum();
            if sum > before {
                (before, moved) = (sum, clock.monotonic());
            } else if clock.monotonic().saturating_sub(moved) > PATIENCE {
                let errors: Vec<String> = self
                    .statuses
                    .iter()
                    .filter_map(|(_, status)| status.snapshot().last_error)
                    .collect();
                bail!("nothing was read for {PATIENCE:?}: {}", errors.join("; "));
            }
            self.show();
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the line.
    pub(super) fn end(&self) {
        self.show();
        if self.shown {
            drop(writeln!(io::stderr()));
        }
    }

    fn show(&self) {
        if !self.shown {
            return;
        }
        let mut line = format!(
            "\rput {} of {}",
            thousands(self.put),
            thousands(self.records)
        );
        for (name, status) in &self.statuses {
            let delivered = status.snapshot().totals.read;
            line.push_str("   ");
            line.push_str(name);
            line.push_str(": ");
            line.push_str(&thousands(delivered));
        }
        let mut stderr = io::stderr();
        drop(write!(stderr, "{line} ").and_then(|()| stderr.flush()));
    }
}

fn read(status: &Status) -> u64 {
    let snapshot = status.snapshot();
    snapshot.totals.read + snapshot.in_flight
}
