//! What a delivery stream has done and is doing: the source of its metrics, and the balance that
//! invariant I11 asks for.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sums over committed ranges. `read + added == delivered + dropped + failed` holds for each range
/// before it is committed, so it holds here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Input records.
    pub read: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Outputs beyond the first of a record.
    pub added: u64,
    /// Records in delivered objects.
    pub delivered: u64,
    /// Bytes of delivered objects, as sent.
    pub delivered_bytes: u64,
    /// Bytes of delivered records, before compression or conversion.
    pub delivered_plain_bytes: u64,
    /// Records dropped by the transform's own verdict.
    pub dropped: u64,
    /// Records in error objects.
    pub failed: u64,
    /// Objects, error objects not counted.
    pub objects: u64,
    /// Error objects, reports of losses included.
    pub error_objects: u64,
    /// Times that the source had lost records before they were delivered.
    pub losses: u64,
    /// Ranges.
    pub ranges: u64,
}

impl Totals {
    /// Whether everything that was read or added has ended in one place.
    pub fn is_balanced(&self) -> bool {
        self.read + self.added == self.delivered + self.dropped + self.failed
    }

    /// Adds another range's counts.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.read_bytes += other.read_bytes;
        self.added += other.added;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.delivered_plain_bytes += other.delivered_plain_bytes;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.objects += other.objects;
        self.error_objects += other.error_objects;
        self.losses += other.losses;
        self.ranges += other.ranges;
    }
}

/// A moment's view of a delivery stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Sums over committed ranges.
    pub totals: Totals,
    /// Input records read and not yet committed, over all lanes.
    pub in_flight: u64,
    /// Attempts at delivering a range, and those that succeeded.
    pub attempts: u64,
    /// Successful deliveries of a range.
    pub successes: u64,
    /// Arrival of the oldest record read and not yet committed, milliseconds since the epoch.
    pub oldest_in_flight_ms: Option<u64>,
    /// Lanes that are being read.
    pub lanes: u64,
    /// What stopped a lane last, with its causes, until the lane delivers again.
    pub last_error: Option<String>,
}

#[derive(Default)]
struct LaneView {
    in_flight: u64,
    oldest_ms: Option<u64>,
}

#[derive(Default)]
struct Inner {
    totals: Totals,
    attempts: u64,
    successes: u64,
    lanes: std::collections::BTreeMap<String, LaneView>,
    last_error: Option<String>,
}

/// Shared between a delivery stream's lanes and whoever shows it.
#[derive(Default)]
pub struct Status(Mutex<Inner>);

impl Status {
    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        Snapshot {
            totals: inner.totals,
            in_flight: inner.lanes.values().map(|lane| lane.in_flight).sum(),
            attempts: inner.attempts,
            successes: inner.successes,
            oldest_in_flight_ms: inner.lanes.values().filter_map(|lane| lane.oldest_ms).min(),
            lanes: inner.lanes.len() as u64,
            last_error: inner.last_error.clone(),
        }
    }

    pub(crate) fn lane_started(&self, lane: &str) {
        self.inner()
            .lanes
            .insert(lane.to_owned(), LaneView::default());
    }

    pub(crate) fn lane_stopped(&self, lane: &str) {
        self.inner().lanes.remove(lane);
    }

    pub(crate) fn lane_failed(&self, error: String) {
        self.inner().last_error = Some(error);
    }

    pub(crate) fn in_flight(&self, lane: &str, records: u64, oldest_ms: Option<u64>) {
        if let Some(view) = self.inner().lanes.get_mut(lane) {
            *view = LaneView {
                in_flight: records,
                oldest_ms,
            };
        }
    }

    pub(crate) fn attempted(&self) {
        self.inner().attempts += 1;
    }

    /// Moves a range's records from those in flight to the sums, at once.
    pub(crate) fn committed(&self, lane: &str, range: &Totals) {
        let mut inner = self.inner();
        inner.totals.add(range);
        if let Some(view) = inner.lanes.get_mut(lane) {
            view.in_flight = view.in_flight.saturating_sub(range.read);
        }
        inner.successes += 1;
        inner.last_error = None;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
