//! What the state store knows of each key: the value that is durable, and the one that was last
//! queued, which differs while a write is under way or where one was dropped.

use std::collections::BTreeMap;

use bytes::Bytes;
use hydrant_core::state::LaneState;
use hydrant_core::{LaneKey, Position, Records, RecordsBuilder, planted};

use super::{LANE, codec};
use crate::error::Error;
use crate::frame::frame_bytes;
use crate::log::Entry;

/// What a value is kept under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The state of a lane.
    Lane(LaneKey),
    /// A small entry.
    Entry { kind: Box<str>, key: Box<str> },
}

/// One key's value, encoded; `None` where it has none.
#[derive(Default)]
struct Slot {
    durable: Option<Bytes>,
    queued: Option<Bytes>,
    /// Number of the write that gave `queued`, and of the one that gave `durable`. They differ
    /// while a write is under way or where one was dropped; also where the values are equal, since
    /// another value may stand between them in the log.
    written: u64,
    settled: u64,
    /// Raised whenever the lane is taken.
    owner: u64,
}

/// A value that is written again, as write `number`.
pub(super) struct Again {
    pub(super) number: u64,
    pub(super) value: Option<Bytes>,
    pub(super) records: Records,
}

/// All keys.
#[derive(Default)]
pub(super) struct Table {
    slots: BTreeMap<Key, Slot>,
    writes: u64,
    /// Bytes queued since the last snapshot, that one included.
    written_bytes: u64,
}

impl Table {
    /// Takes over what was read back from the log.
    pub(super) fn replay(&mut self, records: &Records) -> Result<(), Error> {
        for i in 0..records.len() {
            let key = codec::read_key(records.key(i))?;
            let value = records.data(i);
            if value.is_empty() {
                self.slots.remove(&key);
                continue;
            }
            match key {
                Key::Lane(_) => drop(codec::read_lane(value)?),
                Key::Entry { .. } => drop(codec::read_entry(value)?),
            }
            let value = Some(Bytes::copy_from_slice(value));
            let (durable, queued) = (value.clone(), value);
            self.slots.insert(
                key,
                Slot {
                    durable,
                    queued,
                    ..Slot::default()
                },
            );
        }
        Ok(())
    }

    /// Takes note that a value was queued; gives the write's number. `None` where the lane has
    /// another owner.
    pub(super) fn queue(
        &mut self,
        key: &Key,
        owner: Option<u64>,
        value: Option<Bytes>,
        bytes: usize,
    ) -> Option<u64> {
        let slot = self.slots.entry(key.clone()).or_default();
        if owner.is_some_and(|owner| owner != slot.owner) {
            return None;
        }
        self.writes += 1;
        slot.queued = value;
        slot.written = self.writes;
        self.written_bytes += bytes as u64;
        Some(self.writes)
    }

    /// Takes note that a write is durable. `None` where the lane was taken meanwhile.
    pub(super) fn settle(
        &mut self,
        key: &Key,
        owner: Option<u64>,
        number: u64,
        value: Option<Bytes>,
    ) -> Option<()> {
        let slot = self.slots.get_mut(key)?;
        if owner.is_some_and(|owner| owner != slot.owner) {
            return None;
        }
        if slot.settled < number {
            slot.settled = number;
            slot.durable = value;
        }
        Some(())
    }

    /// Takes a lane: the new owner's number, and what to write again where the log may hold
    /// another value than is known to be durable.
    pub(super) fn take(&mut self, key: &Key) -> (u64, Option<Again>) {
        let slot = self.slots.entry(key.clone()).or_default();
        slot.owner += 1;
        let doubtful = slot.written != slot.settled && !planted!("dropped-write-not-overwritten");
        let again = doubtful.then(|| {
            self.writes += 1;
            slot.written = self.writes;
            slot.queued.clone_from(&slot.durable);
            let records = codec::record(key, slot.durable.as_ref());
            self.written_bytes += frame_bytes(&records) as u64;
            Again {
                number: self.writes,
                value: slot.durable.clone(),
                records,
            }
        });
        (slot.owner, again)
    }

    /// Everything as one block: what was queued last, since a snapshot is queued behind it.
    pub(super) fn snapshot(&mut self) -> Vec<Entry> {
        let mut builder = RecordsBuilder::default();
        for (key, slot) in &self.slots {
            let value = if planted!("snapshot-of-what-is-durable") {
                &slot.durable
            } else {
                &slot.queued
            };
            if let Some(value) = value {
                builder.push_unplaced(0, &codec::key(key), value);
            }
        }
        let records = builder.build_run(Position::START, 1);
        self.written_bytes = frame_bytes(&records) as u64;
        vec![Entry {
            lane: LANE,
            records,
        }]
    }

    /// Whether the log exceeds `times` what lives in it, and `from_bytes`.
    pub(super) fn is_due(&self, times: u64, from_bytes: u64) -> bool {
        self.written_bytes > from_bytes && self.written_bytes > times * self.live_bytes()
    }

    /// Bytes of a snapshot, about.
    pub(super) fn live_bytes(&self) -> u64 {
        let queued = self
            .slots
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.queued.as_ref()?)));
        queued
            .map(|(key, value)| (key.bytes() + value.len() + 16) as u64)
            .sum()
    }

    /// The durable state of a lane.
    pub(super) fn lane(&self, key: &LaneKey) -> Option<LaneState> {
        let slot = self.slots.get(&Key::Lane(key.clone()))?;
        codec::read_lane(slot.durable.as_ref()?).ok()
    }

    /// The durable states of all lanes.
    pub(super) fn lanes(&self) -> Vec<(LaneKey, LaneState)> {
        let lanes = self.slots.iter().filter_map(|(key, slot)| match key {
            Key::Lane(lane) => Some((lane.clone(), codec::read_lane(slot.durable.as_ref()?).ok()?)),
            Key::Entry { .. } => None,
        });
        lanes.collect()
    }

    /// The durable entries of a kind.
    pub(super) fn entries(&self, of_kind: &str) -> Vec<(String, Bytes)> {
        let entries = self.slots.iter().filter_map(|(key, slot)| match key {
            Key::Entry { kind, key } if **kind == *of_kind => Some((
                key.to_string(),
                codec::read_entry(slot.durable.as_ref()?).ok()?,
            )),
            _ => None,
        });
        entries.collect()
    }
}

impl Key {
    /// Bytes of its text.
    fn bytes(&self) -> usize {
        match self {
            Self::Lane(key) => {
                key.delivery_stream.len() + key.source.len() + key.lane.as_str().len()
            }
            Self::Entry { kind, key } => kind.len() + key.len(),
        }
    }
}
