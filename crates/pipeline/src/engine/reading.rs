//! The beginning of the way: blocks come in, up to the cut where a range is redone; and what the
//! source has lost is found out.

use std::ops::Bound;
use std::time::Duration;

use hydrant_core::planted;
use hydrant_core::stage::{Block, Read, SourceError};

use super::run::{Ended, Engine};
use crate::error::LaneError;
use crate::hints::SealReason;
use crate::loss::Loss;

/// How long a read waits for records while no range is open. Nothing depends on it: a record ends
/// the wait.
const IDLE_WAIT: Duration = Duration::from_mins(1);

impl Engine<'_> {
    pub(super) fn start_read(&mut self) {
        let busy = self.reading.is_some() || self.read_ended.is_some() || self.flush.is_some();
        if busy || self.batcher.has_full() || self.held_off.is_some() {
            return;
        }
        let wait = if self.timer.is_some() {
            self.hints.interval
        } else {
            IDLE_WAIT
        };
        let context = self.context;
        self.reading = Some(context.source.read(
            &context.key.lane,
            self.read_after,
            context.read_bytes,
            wait,
            &context.account,
        ));
    }

    pub(super) fn take(&mut self, read: Result<Read, SourceError>) -> Result<(), LaneError> {
        let read = match read {
            Err(SourceError::Trimmed { through, .. }) if through > self.read_after => {
                self.trimmed(Loss {
                    after: self.read_after,
                    until: Bound::Included(through),
                });
                Read::default()
            }
            read => read?,
        };
        let before = self.in_flight;
        for block in read.blocks {
            self.take_block(block)?;
        }
        if self.in_flight > before && self.timer.is_none() {
            self.start_interval();
        }
        let Some(cut) = self.redo.as_ref().map(|intent| intent.cut) else {
            if read.ended {
                self.stop_reading(Ended::LaneEnd);
            }
            return Ok(());
        };
        if read.ended && self.read_after < cut {
            // What the source still had is delivered, and that is the range.
            let (after, until) = (self.read_after, Bound::Included(cut));
            self.lost(Loss { after, until });
        }
        if self.read_after >= cut || planted!("redo-cut-by-now") {
            self.read_ended = Some(Ended::Redone);
            self.flush = Some(SealReason::Redo);
        }
        Ok(())
    }

    fn take_block(&mut self, mut block: Block) -> Result<(), LaneError> {
        if block.records.is_empty() || self.read_ended.is_some() {
            return Ok(());
        }
        let first = block.records.position(0);
        if first <= self.read_after {
            return Err(LaneError::Invariant(format!(
                "a source gave the record {first} again, after {} was read",
                self.read_after
            )));
        }
        if let Some(intent) = &self.redo {
            let cut = intent.cut;
            let begins = self.in_flight == 0 && !self.maimed;
            let headless = begins && intent.first.is_some_and(|expected| first > expected);
            // The rest of the block belongs to the next range.
            let end = if planted!("redo-past-its-cut") {
                block.records.len()
            } else {
                block.records.first_after(cut)
            };
            block.records = block.records.slice(0, end);
            let after = self.read_after;
            if after >= cut {
                // Another block of the read that reached it.
            } else if block.records.is_empty() {
                // Everything left lies behind the cut: its last records are gone.
                let until = Bound::Included(cut);
                self.lost(Loss { after, until });
            } else if headless {
                let until = Bound::Excluded(first);
                self.lost(Loss { after, until });
            }
        }
        if let Some(last) = block.records.last_position() {
            self.read_after = last;
            self.in_flight += block.records.len() as u64;
            self.ungathered += block.records.len() as u64;
            self.batcher.push(block);
        }
        Ok(())
    }

    /// The source says that it has lost what was to be read next.
    fn trimmed(&mut self, mut loss: Loss) {
        match self.redo.as_ref().map(|intent| (intent.cut, intent.first)) {
            // What lies behind the cut is the next range's to report.
            Some((cut, _)) if loss.through() >= Some(cut) => loss.until = Bound::Included(cut),
            // Before the range: it has lost nothing, and reported this when it was begun.
            Some((_, Some(first))) if loss.through() < Some(first) => {
                self.read_after = loss.through().unwrap_or(self.read_after);
                self.losses.push(loss);
                return;
            }
            Some(_) => {}
            None => self.flush(SealReason::Loss),
        }
        self.lost(loss);
    }

    /// Notes a loss. It is reported with the next range that seals.
    fn lost(&mut self, loss: Loss) {
        tracing::error!(
            delivery_stream = %self.context.key.delivery_stream, lane = %self.context.key.lane,
            intended = self.redo.is_some(), lost = %loss,
            "records are lost: the source no longer has them"
        );
        self.maimed = self.redo.is_some();
        if let Some(through) = loss.through() {
            self.read_after = through;
        }
        self.losses.push(loss);
    }

    pub(super) fn stop_reading(&mut self, why: Ended) {
        self.read_ended = Some(why);
        self.reading = None;
        self.flush = Some(match why {
            Ended::LaneEnd => SealReason::LaneEnd,
            Ended::Stopped => SealReason::Stop,
            Ended::Replaced => SealReason::Replaced,
            Ended::Blocked => SealReason::Blocked,
            Ended::Redone => SealReason::Redo,
        });
    }

    pub(super) fn start_interval(&mut self) {
        // A redo ends at its cut, whatever the time.
        if self.redo.is_none() {
            self.timer = Some(self.context.clock.sleep(self.hints.interval));
        }
    }
}
