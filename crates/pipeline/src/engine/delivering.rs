//! The end of the way: a sealed range whose objects are ready is delivered, one at a time; and what
//! the lane says of itself.

use hydrant_core::planted;

use super::room::STUCK_AFTER;
use super::run::{Ended, Engine};
use crate::deliver::{Delivered, Delivery, deliver};
use crate::range::SealedRange;

impl Engine<'_> {
    pub(super) fn start_delivery(&mut self) {
        if planted!("commit-over-a-hole")
            && let Some(at) = self.sealed.iter().rposition(SealedRange::is_ready)
        {
            self.sealed.swap(0, at);
        }
        if self.delivering.is_some() || !self.sealed.front().is_some_and(SealedRange::is_ready) {
            return;
        }
        let (Some(range), Some(store)) = (self.sealed.pop_front(), self.store.take()) else {
            return;
        };
        let cut = range.intent.cut;
        self.in_delivery = Some((cut, range.totals.read, range.oldest_ms));
        let delivery = Delivery {
            key: self.context.key.clone(),
            source: self.context.source.clone(),
            status: self.context.status.clone(),
            hooks: self.context.hooks.clone(),
            store,
            position: self.committed,
            intended: self.redo.is_some(),
        };
        self.delivering = Some(Box::pin(deliver(delivery, range)));
    }

    pub(super) fn delivered(&mut self, delivered: Delivered) {
        self.store = Some(delivered.store);
        self.committed = delivered.cut;
        // The status knows already, together with the sums.
        self.in_flight -= delivered.totals.read;
        self.in_delivery = None;
        self.held_off = None;
        self.patient_for = STUCK_AFTER;
    }

    /// Whether everything that was read is committed, and nothing more is to be read.
    pub(super) fn finished(&self) -> Option<Ended> {
        let idle = self.delivering.is_none()
            && self.sealed.is_empty()
            && self.open.is_none()
            && self.rendering.is_empty()
            && self.batcher.is_empty()
            && self.flush.is_none();
        let early = |why: &Ended| *why == Ended::LaneEnd && planted!("ended-before-delivered");
        let held = self.store.is_some();
        self.read_ended.filter(|why| idle || (held && early(why)))
    }

    /// Says what the lane holds: to the budget, and to whoever looks at the status.
    pub(super) fn show(&self) {
        let account = &self.context.account;
        let sealable = if self.may_seal_early() {
            account.held()
        } else {
            0
        };
        let droppable = if self.may_drop() { account.held() } else { 0 };
        account.set_able(sealable, droppable);
        let oldest = self
            .in_delivery
            .map(|(_, _, oldest_ms)| oldest_ms)
            .or_else(|| self.sealed.front().map(|range| range.oldest_ms))
            .or_else(|| self.open.as_ref().map(|range| range.oldest_ms))
            .or_else(|| self.batcher.oldest_ms());
        self.context
            .status
            .in_flight(self.context.key.lane.as_str(), self.in_flight, oldest);
    }
}
