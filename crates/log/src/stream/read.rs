//! Reading a shard: from a position, from its ends, from a time. LSN and position are arithmetic,
//! so no index of numbers is kept.

use hydrant_core::records::Positions;
use hydrant_core::{Position, Records};

use super::error::StreamError;
use super::registry::Stream;
use super::sequence::{Parts, STRIDE};
use super::shard::ShardId;

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    TrimHorizon,
    /// After the newest record there is now.
    Latest,
    /// At the first record that arrived then or later, milliseconds since the epoch; at the tip
    /// where there is none yet.
    AtTimestamp(u64),
    /// At the record with this number, or the first after it.
    AtSequence(Position),
    /// After the record with this number.
    AfterSequence(Position),
}

impl Stream {
    /// Resolves a start to the position *after* which to read. That position carries the number
    /// of the LSN before, which need not be a record of this shard.
    ///
    /// # Errors
    /// `NoShard`; `Foreign` for a number that is not of this shard.
    pub fn start(&self, shard: ShardId, start: Start) -> Result<Position, StreamError> {
        let lsn = match start {
            Start::TrimHorizon => self.log().oldest_lsn(),
            Start::Latest => self.log().end_lsn(),
            Start::AtTimestamp(ms) => {
                // The tip is looked at first: what comes between the two is after `ms`, too.
                let tip = self.log().end_lsn();
                self.log().first_lsn_at(shard.0, ms).unwrap_or(tip)
            }
            Start::AtSequence(position) => self.index_of(shard, position)?,
            Start::AfterSequence(position) => self.index_of(shard, position)?.saturating_add(1),
        };
        self.before(shard, lsn)
    }

    /// The position right before a record: reading after it gives the record with this LSN first.
    ///
    /// # Errors
    /// `NoShard`.
    pub fn before(&self, shard: ShardId, lsn: u64) -> Result<Position, StreamError> {
        let numbers = self.shard(shard)?.numbers();
        Ok(match lsn.saturating_sub(1) {
            0 => numbers.starting(),
            index => numbers.position(index, numbers.created_s),
        })
    }

    /// The LSN that a position names; 0 before all records.
    ///
    /// # Errors
    /// `NoShard`; `Foreign` where the position is of another shard, stream or incarnation.
    pub fn index_of(&self, shard: ShardId, position: Position) -> Result<u64, StreamError> {
        let numbers = self.shard(shard)?.numbers();
        if position == Position::START {
            return Ok(0);
        }
        match Parts::of(&position).filter(|parts| numbers.owns(*parts)) {
            Some(parts) => Ok(parts.index),
            None => Err(StreamError::Foreign {
                name: self.name().to_owned(),
                shard,
                position,
            }),
        }
    }

    /// Reads blocks of a shard from the first record with an LSN of at least `from_lsn`: about
    /// `max_bytes`, at least one record where there is one. Blocks: call it on the I/O pool.
    ///
    /// # Errors
    /// `NotFound` once deleted; `NoShard`; what the log says.
    pub fn read_blocking(
        &self,
        shard: ShardId,
        from_lsn: u64,
        max_bytes: usize,
    ) -> Result<Vec<Records>, StreamError> {
        self.check_alive()?;
        let numbers = self.shard(shard)?.numbers();
        let stored = self.log().read(shard.0, from_lsn, max_bytes)?;
        let placed = stored.into_iter().map(|stored| {
            let first = numbers.of_lsn(stored.first_lsn, stored.arrival_ms);
            stored.records.with_positions(Positions::Run {
                first,
                stride: STRIDE,
            })
        });
        Ok(placed.collect())
    }

    /// Whether a record of the shard with an LSN of at least `from_lsn` is readable.
    pub fn has(&self, shard: ShardId, from_lsn: u64) -> bool {
        self.log().lane_end(shard.0) > from_lsn
    }

    /// Completes once a record of the shard with an LSN of at least `from_lsn` is readable. Cancel
    /// safe.
    pub async fn wait(&self, shard: ShardId, from_lsn: u64) {
        self.log().wait(shard.0, from_lsn).await;
    }

    /// The oldest LSN that is kept, of any shard.
    pub fn oldest_lsn(&self) -> u64 {
        self.log().oldest_lsn()
    }

    /// The time as the stream has it: `now_ms`, or the newest arrival where the clock has stepped
    /// back behind that, since arrivals never fall.
    pub fn now_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.log().newest_arrival_ms())
    }

    /// How far a reader is behind the tip, milliseconds: 0 where no record with an LSN of
    /// `next_lsn` or more is there, else the age of what it examined last.
    pub fn behind_ms(&self, shard: ShardId, next_lsn: u64, examined_ms: u64, now_ms: u64) -> u64 {
        if self.has(shard, next_lsn) {
            now_ms.saturating_sub(examined_ms)
        } else {
            0
        }
    }
}
