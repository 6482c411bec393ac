//! What a lane does for others: where nothing of it is delivered, and they want the memory, it drops
//! what it made ahead. That is read again from the source, and becomes the same.

use std::time::Duration;

use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use hydrant_core::{BoxFuture, planted};

use super::run::Engine;
use crate::batch::Batcher;

/// A lane that could get nothing rid of for so long drops what it rendered ahead, if others want
/// the memory; and where it holds nothing that could end, it reads again after as long.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Longest patience: a destination that is so slow is taken to be down.
const STUCK_MAX: Duration = Duration::from_mins(10);

impl Engine<'_> {
    /// Whether a range is on its way, or parts of one.
    pub(super) fn waits_for_destination(&self) -> bool {
        self.delivering.is_some() || !self.sealed.is_empty() || self.open.is_some()
    }

    pub(super) fn moves_on(&mut self) {
        (self.patience, self.stuck) = (None, false);
    }

    pub(super) fn watch_progress(&mut self) {
        if !self.waits_for_destination() {
            self.moves_on();
        } else if self.patience.is_none() && !self.stuck {
            self.patience = Some(self.context.clock.sleep(self.patient_for));
        }
    }

    /// Whether what was rendered ahead is kept from the destination, and may be made again.
    pub(super) fn may_drop(&self) -> bool {
        self.stuck && self.redo.is_none() && self.read_ended.is_none()
    }

    /// Throws away all but what is in delivery. It is read again, and becomes the same.
    pub(super) fn drop_ahead(&mut self) {
        let context = self.context;
        tracing::info!(
            delivery_stream = %context.key.delivery_stream, lane = %context.key.lane,
            bytes = context.account.held(),
            "nothing is delivered: what was made ahead is dropped, others want the memory"
        );
        // One that is only slow gets through in the end.
        self.patient_for = (self.patient_for * 2).min(STUCK_MAX);
        let (cut, records, _) = self.in_delivery.unwrap_or((self.committed, 0, 0));
        let cut = if planted!("dropped-not-read-again") {
            self.read_after
        } else {
            cut
        };
        (self.reading, self.read_after) = (None, cut);
        self.batcher = Batcher::new(self.ranges.plan.micro_batch);
        self.rendering = FuturesOrdered::new();
        self.objects = FuturesUnordered::new();
        (self.open, self.timer, self.flush) = (None, None, None);
        self.sealed.clear();
        self.losses.clear();
        (self.seals_queued, self.ungathered, self.in_flight) = (0, 0, records);
        self.moves_on();
        let off = if self.delivering.is_some() {
            Box::pin(std::future::pending()) as BoxFuture<'static, ()>
        } else {
            context.clock.sleep(STUCK_AFTER)
        };
        self.held_off = Some(off);
    }
}
