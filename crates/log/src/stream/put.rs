//! Putting records: each goes to the shard that its hash key names; the records of one call become
//! one block per shard and one append, answered after the sync.

use hydrant_core::{Position, RecordsBuilder};

use super::error::StreamError;
use super::hash::hash_key;
use super::registry::Stream;
use super::shard::ShardId;
use crate::log::Entry;

/// Most records of one call (Kinesis: `PutRecords`).
pub const MAX_RECORDS: usize = 500;

/// Most bytes of data and keys of one call (Kinesis: `PutRecords`).
pub const MAX_CALL_BYTES: usize = 10 << 20;

/// Most bytes of data and key of one record, where the stream does not say otherwise.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1 << 20;

/// Most bytes that a stream may allow for one record.
pub const LARGEST_MAX_RECORD_BYTES: usize = 10 << 20;

/// Most characters of a partition key; the least is 1.
pub const MAX_KEY_CHARS: usize = 256;

/// A record to put.
#[derive(Clone, Copy, Debug)]
pub struct PutEntry<'a> {
    /// Its bytes.
    pub data: &'a [u8],
    /// Its partition key, 1 to 256 characters.
    pub partition_key: &'a str,
    /// A hash key that replaces the partition key's, but is not stored.
    pub explicit_hash_key: Option<u128>,
}

/// A record to put whose bytes are written straight into its block.
#[derive(Clone, Copy, Debug)]
pub struct PutOutline<'a> {
    /// How many bytes it has.
    pub bytes: usize,
    /// As in [`PutEntry`].
    pub partition_key: &'a str,
    /// As in [`PutEntry`].
    pub explicit_hash_key: Option<u128>,
}

/// Where a record was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its sequence number.
    pub position: Position,
}

/// Records that are ready to be appended: one block per shard.
pub struct Batch {
    entries: Vec<Entry>,
    /// For each record, its entry above and its index in that entry.
    places: Vec<(usize, u64)>,
}

impl Batch {
    /// The shard of each record, in the order they were given.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.places
            .iter()
            .map(|(entry, _)| ShardId(self.entries[*entry].lane))
    }
}

impl Stream {
    /// Puts records: [`Stream::prepare`], then [`Stream::append`]. Answers in the order given.
    ///
    /// # Errors
    /// As those two.
    pub async fn put(&self, records: &[PutEntry<'_>]) -> Result<Vec<Placed>, StreamError> {
        let batch = self.prepare(records)?;
        self.append(batch).await
    }

    /// Checks records against the limits and groups them by shard, copying each once. Holds the
    /// CPU for about 1 ms per MiB.
    ///
    /// # Errors
    /// `Invalid` where a record, or the call, is outside the limits.
    pub fn prepare(&self, records: &[PutEntry<'_>]) -> Result<Batch, StreamError> {
        let outlines = records.iter().map(|record| PutOutline {
            bytes: record.data.len(),
            partition_key: record.partition_key,
            explicit_hash_key: record.explicit_hash_key,
        });
        let outlines: Vec<PutOutline<'_>> = outlines.collect();
        self.prepare_written(&outlines, |i, block| {
            block.extend_from_slice(records[i].data);
            Ok(())
        })
    }

    /// As [`Stream::prepare`], with bytes that `write` appends for the record of this index: what is
    /// decoded on the way in needs no buffer of its own.
    ///
    /// # Errors
    /// `Invalid` where a record, or the call, is outside the limits; what `write` says.
    pub fn prepare_written<E: From<StreamError>>(
        &self,
        records: &[PutOutline<'_>],
        mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Batch, E> {
        self.check(records)?;
        let shards = self.shards();
        let lanes = self.lanes_of(records);
        let mut sizes = vec![(0, 0); shards.len()];
        for (lane, record) in lanes.iter().zip(records) {
            sizes[*lane].0 += 1;
            sizes[*lane].1 += record.bytes;
        }
        let mut builders: Vec<Option<RecordsBuilder>> = sizes
            .into_iter()
            .map(|(count, bytes)| (count > 0).then(|| RecordsBuilder::with_capacity(count, bytes)))
            .collect();
        let mut places = Vec::with_capacity(records.len());
        for (i, (lane, record)) in lanes.into_iter().zip(records).enumerate() {
            let builder = builders[lane].get_or_insert_default();
            places.push((lane, builder.len() as u64));
            // The log stamps the arrival.
            builder.push_written(0, record.partition_key.as_bytes(), |block| write(i, block))?;
        }
        let mut entry_of = vec![0; builders.len()];
        let mut entries = Vec::new();
        for (lane, builder) in builders.into_iter().enumerate() {
            if let Some(builder) = builder {
                entry_of[lane] = entries.len();
                let records = builder.build_run(Position::START, 1);
                entries.push(Entry {
                    lane: shards[lane].id.0,
                    records,
                });
            }
        }
        for place in &mut places {
            place.0 = entry_of[place.0];
        }
        Ok(Batch { entries, places })
    }

    /// Appends a batch and answers after the sync, in the order of the records. A dropped future
    /// leaves the records wholly appended or not at all.
    ///
    /// # Errors
    /// `NotFound` once the stream is deleted; what the log says, above all `LowSpace`.
    pub async fn append(&self, batch: Batch) -> Result<Vec<Placed>, StreamError> {
        self.check_alive()?;
        let Batch { entries, places } = batch;
        let lanes: Vec<ShardId> = entries.iter().map(|entry| ShardId(entry.lane)).collect();
        let appended = self.log().append(entries).await?;
        let mut placed = Vec::with_capacity(places.len());
        for (entry, index) in places {
            let shard = self.shard(lanes[entry])?;
            let at = appended[entry];
            let position = shard.numbers().of_lsn(at.first_lsn + index, at.arrival_ms);
            placed.push(Placed {
                shard: shard.id,
                position,
            });
        }
        Ok(placed)
    }

    fn check(&self, records: &[PutOutline<'_>]) -> Result<(), StreamError> {
        let invalid = |message: String| Err(StreamError::Invalid(message));
        if records.is_empty() || records.len() > MAX_RECORDS {
            return invalid(format!(
                "a put has {} records, limit 1 to {MAX_RECORDS}",
                records.len()
            ));
        }
        let (mut total, limit) = (0, self.max_record_bytes());
        for (i, record) in records.iter().enumerate() {
            // As many bytes as characters at least, so that few keys are counted.
            let key = record.partition_key;
            let fits = !key.is_empty() && key.len() <= MAX_KEY_CHARS;
            if !fits && !(1..=MAX_KEY_CHARS).contains(&key.chars().count()) {
                let chars = key.chars().count();
                return invalid(format!(
                    "the partition key of record {i} has {chars} characters, limit 1 to {MAX_KEY_CHARS}"
                ));
            }
            let bytes = record.bytes + record.partition_key.len();
            if bytes > limit {
                return invalid(format!(
                    "record {i} is {bytes} bytes with its partition key, limit {limit}"
                ));
            }
            total += bytes;
        }
        if total > MAX_CALL_BYTES {
            return invalid(format!(
                "a put is {total} bytes with its keys, limit {MAX_CALL_BYTES}"
            ));
        }
        Ok(())
    }

    /// Index of the open shard that takes each record. The open shards cover the hash space.
    fn lanes_of(&self, records: &[PutOutline<'_>]) -> Vec<usize> {
        let shards = self.shards();
        let is_open = |shard: &super::Shard| shard.closed_s.is_none();
        let mut open = (0..shards.len()).filter(|index| is_open(&shards[*index]));
        if let (Some(only), None) = (open.next(), open.next()) {
            return vec![only; records.len()];
        }
        let hash = |record: &PutOutline<'_>| {
            let explicit = record.explicit_hash_key;
            explicit.unwrap_or_else(|| hash_key(record.partition_key.as_bytes()))
        };
        let takes = |hash| {
            let takes = |shard: &super::Shard| is_open(shard) && shard.range.contains(hash);
            shards.iter().position(takes)
        };
        records
            .iter()
            .map(|record| takes(hash(record)).expect("the open shards cover the hash space"))
            .collect()
    }
}
