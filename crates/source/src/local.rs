//! The source on an embedded stream of this machine: lanes are shards, reads go to its log.
//!
//! Aggregates are taken apart in the same job of the I/O pool that reads the log. Small frames are
//! joined into one block by a copy, large ones are passed on as they lie in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::clock::Clock;
use hydrant_core::stage::{LaneInfo, Read, Source, SourceError};
use hydrant_core::{Action, BoxFuture, Lane, Position, Records, offload, planted, records};
use hydrant_log::stream::{Parts, ShardId, Start, Stream, StreamError};

use crate::deaggregate::deaggregate;
use crate::reading::{Aggregates, StartAt, charged, first_of, lock};

/// Blocks with less data than this are joined with their neighbours.
const JOIN_BELOW_BYTES: usize = 64 << 10;

/// Joined blocks stay near this: what a micro-batch takes at once.
const JOINED_BYTES: usize = 512 << 10;

/// Blocks, and the LSN after them.
type Fetched = (Vec<Records>, u64);

/// Reads an embedded stream for one delivery stream.
pub struct EmbeddedSource {
    stream: Arc<Stream>,
    reader: String,
    start: StartAt,
    aggregates: Aggregates,
    clock: Arc<dyn Clock>,
    /// By shard: the position that the last read was given or ended at, and the LSN at which what
    /// follows begins. Spares a read-on the look into the record at its own position.
    cursors: Mutex<BTreeMap<ShardId, (Position, u64)>>,
    /// By shard: the position that was committed last, in whatever mode.
    committed: Arc<Mutex<BTreeMap<ShardId, Position>>>,
}

impl EmbeddedSource {
    /// A source for the reader of this name, which was added to the stream
    /// (`Streams::add_reader`), so that nothing it has not committed is freed.
    pub fn new(
        stream: Arc<Stream>,
        reader: &str,
        start: StartAt,
        aggregates: Aggregates,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let reader = reader.to_owned();
        Self {
            stream,
            reader,
            start,
            aggregates,
            clock,
            cursors: Mutex::default(),
            committed: Arc::default(),
        }
    }

    fn shard(&self, lane: &Lane) -> Result<ShardId, SourceError> {
        let shard = ShardId::parse(lane.as_str()).filter(|id| self.stream.shard(*id).is_ok());
        shard.ok_or_else(|| {
            SourceError::Broken(format!("stream {} has no shard {lane}", self.stream.name()))
        })
    }

    /// Where to read on after `after`: the LSN, and whether the record at that LSN is the one at
    /// `after`, of which the end may be missing.
    fn resume(&self, shard: ShardId, after: Position) -> Result<(u64, bool), SourceError> {
        if let Some((position, lsn)) = self.cursors().get(&shard)
            && (*position == after || planted!("cursor-not-compared"))
        {
            return Ok((*lsn, false));
        }
        let index = self.stream.index_of(shard, after).map_err(failed)?;
        let since = self.stream.reader_since(&self.reader).unwrap_or(0);
        if index.saturating_add(1) < since {
            let oldest = self.stream.oldest_lsn();
            let through = self.stream.before(shard, oldest).map_err(failed)?;
            return Err(SourceError::Trimmed { after, through });
        }
        Ok(match self.aggregates {
            Aggregates::Pass => (index.saturating_add(1), false),
            Aggregates::KeepAll | Aggregates::StrictKcl => (index.max(1), index > 0),
        })
    }

    async fn read_lane(
        &self,
        lane: &Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &Account,
    ) -> Result<Read, SourceError> {
        let shard = self.shard(lane)?;
        let mut over = self.clock.sleep(wait);
        let (mut from, mut partly) = self.resume(shard, after)?;
        loop {
            if self.stream.is_deleted() {
                let name = self.stream.name().to_owned();
                return Err(failed(StreamError::NotFound { name }));
            }
            if !self.stream.has(shard, from) {
                let woken = {
                    let more = std::pin::pin!(self.stream.wait(shard, from));
                    first_of(more, &mut over).await
                };
                if !woken {
                    return Ok(Read::default());
                }
            }
            let permit = account.take(max_bytes).await;
            let job = self.job(shard, from, partly.then_some(after), max_bytes)?;
            let (blocks, next) = offload::run(self.stream.io(), job)
                .await
                .map_err(|lost| SourceError::Unavailable(Box::new(lost)))?
                .map_err(failed)?;
            let last = blocks.last().and_then(Records::last_position);
            self.cursors().insert(shard, (last.unwrap_or(after), next));
            if last.is_some() {
                return Ok(Read {
                    blocks: charged(blocks, permit, account),
                    ended: false,
                });
            }
            // The aggregate at `after` was at its end, or strict mode discarded all there was.
            self.settle(shard);
            (from, partly) = (next, false);
        }
    }

    /// The work of one read: blocks after what was asked for, and the LSN after them.
    fn job(
        &self,
        shard: ShardId,
        from: u64,
        partly: Option<Position>,
        max_bytes: usize,
    ) -> Result<impl FnOnce() -> Result<Fetched, StreamError> + use<>, SourceError> {
        let range = self.stream.shard(shard).map_err(failed)?.range;
        let mode = self.aggregates.deaggregation(range);
        let stream = self.stream.clone();
        Ok(move || {
            let stored = stream.read_blocking(shard, from, max_bytes)?;
            let last = stored.last().and_then(Records::last_position);
            let next = match last {
                Some(last) => stream.index_of(shard, last)?.saturating_add(1),
                // Where what there was has been freed, what comes next is kept.
                None => from.max(stream.oldest_lsn()),
            };
            let mut blocks: Vec<Records> = stored
                .iter()
                .map(|block| mode.map_or_else(|| block.clone(), |mode| deaggregate(block, mode)))
                .collect();
            if let (Some(after), Some(first)) = (partly, blocks.first_mut()) {
                *first = undelivered(first, after);
            }
            blocks.retain(|block| !block.is_empty());
            Ok((joined(&blocks), next))
        })
    }

    /// Where nothing but what was discarded follows the committed position, that is done with too:
    /// no position behind it would ever be committed while the shard is idle.
    fn settle(&self, shard: ShardId) {
        let committed = lock(&self.committed).get(&shard).copied();
        let cursor = self.cursors().get(&shard).copied();
        if let (Some(committed), Some((position, next))) = (committed, cursor)
            && committed == position
            && let Ok(done) = self.stream.before(shard, next)
        {
            self.stream.committed(&self.reader, shard, done);
        }
    }

    fn cursors(&self) -> MutexGuard<'_, BTreeMap<ShardId, (Position, u64)>> {
        lock(&self.cursors)
    }
}

impl Source for EmbeddedSource {
    fn identity(&self) -> &str {
        self.stream.identity()
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        let lanes = self.stream.shards().iter().map(|shard| {
            let parents = [shard.parent, shard.adjacent_parent];
            LaneInfo {
                lane: shard.id.lane(),
                parents: parents.into_iter().flatten().map(ShardId::lane).collect(),
            }
        });
        let lanes = lanes.collect();
        Box::pin(async move { Ok(lanes) })
    }

    fn start<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        Box::pin(async move {
            let start = match self.start {
                StartAt::TrimHorizon => Start::TrimHorizon,
                StartAt::Latest => Start::Latest,
                StartAt::Timestamp(ms) => Start::AtTimestamp(ms),
            };
            self.stream.start(self.shard(lane)?, start).map_err(failed)
        })
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        Box::pin(self.read_lane(lane, after, max_bytes, wait, account))
    }

    fn in_mode(&self, mode: u8) -> Option<Arc<dyn Source>> {
        let aggregates = Aggregates::from_mode(mode).filter(|one| *one != self.aggregates)?;
        let (stream, clock) = (self.stream.clone(), self.clock.clone());
        let mut other = Self::new(stream, &self.reader, self.start, aggregates, clock);
        other.committed = self.committed.clone();
        Some(Arc::new(other))
    }

    fn committed(&self, lane: &Lane, position: Position) {
        if let Ok(shard) = self.shard(lane) {
            self.stream.committed(&self.reader, shard, position);
            lock(&self.committed).insert(shard, position);
            self.settle(shard);
        }
    }
}

/// What follows `after` in a block that begins with the record at `after`'s number: the user
/// records behind it in the same aggregate, and the records behind that. A number that only
/// stands before a record (a start position) has its own time, so it is not the same sequence.
fn undelivered(block: &Records, after: Position) -> Records {
    let index = |position: Position| Parts::of(&position).map(|parts| parts.index);
    let delivered = |i: &usize| {
        let position = block.position(*i);
        index(position) == index(after) && !(position.same_sequence(&after) && position > after)
    };
    let from = (0..block.len()).take_while(delivered).count();
    block.slice(from, block.len())
}

/// Joins runs of small blocks, so that what follows has large ones to slice.
fn joined(blocks: &[Records]) -> Vec<Records> {
    let (mut joined, mut run, mut bytes) = (Vec::new(), 0..0, 0);
    for (i, block) in blocks.iter().enumerate() {
        let small = block.data_bytes() < JOIN_BELOW_BYTES;
        if (!small || bytes >= JOINED_BYTES) && !run.is_empty() {
            joined.push(records::join(&blocks[run.clone()]));
            (run, bytes) = (i..i, 0);
        }
        if small {
            run = if run.is_empty() {
                i..i + 1
            } else {
                run.start..i + 1
            };
            bytes += block.data_bytes();
        } else {
            joined.push(block.clone());
        }
    }
    if !run.is_empty() {
        joined.push(records::join(&blocks[run]));
    }
    joined
}

/// What an error of the stream is to the pipeline.
fn failed(error: StreamError) -> SourceError {
    match error.action() {
        Action::Retry { .. } => SourceError::Unavailable(Box::new(error)),
        Action::Reject | Action::Stop => SourceError::Broken(match error {
            StreamError::Log(log) => format!("the log of the stream failed: {log}"),
            other => other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::{Position, Records, RecordsBuilder};

    use super::{JOIN_BELOW_BYTES, JOINED_BYTES, joined, undelivered};
    use hydrant_log::stream::ShardNumbers;

    fn block(first: u64, sizes: &[usize]) -> Records {
        let mut builder = RecordsBuilder::default();
        for (i, size) in (first..).zip(sizes) {
            builder.push(Position::from_u64(i), 1, b"k", &vec![b'x'; *size]);
        }
        builder.build()
    }

    #[test]
    fn small_blocks_are_joined_and_large_ones_pass() {
        let mut blocks: Vec<Records> = (0..3).map(|i| block(i, &[10])).collect();
        blocks.push(block(3, &[JOIN_BELOW_BYTES]));
        blocks.push(block(4, &[JOIN_BELOW_BYTES]));
        let many = JOINED_BYTES / (JOIN_BELOW_BYTES - 1) + 2;
        blocks.extend((5..).take(many).map(|i| block(i, &[JOIN_BELOW_BYTES - 1])));
        let out = joined(&blocks);
        let counts: Vec<usize> = out.iter().map(Records::len).collect();
        assert_eq!(counts, [3, 1, 1, many - 1, 1]);
        let positions = out
            .iter()
            .flat_map(|b| (0..b.len()).map(|i| b.position(i).sequence_u64()));
        assert!(positions.eq(0..5 + many as u64), "all of them, in order");
        assert!(joined(&[]).is_empty());
    }

    #[test]
    fn what_follows_a_position_inside_an_aggregate() {
        let numbers = ShardNumbers {
            created_s: 1000,
            shard: 0,
        };
        let at = numbers.of_lsn(7, 5_000_000);
        let next = numbers.of_lsn(8, 5_000_000);
        let mut builder = RecordsBuilder::default();
        for sub in 0..3 {
            builder.push(at.with_sub(sub), 1, b"", b"x");
        }
        builder.push(next, 1, b"", b"x");
        let block = builder.build();
        assert_eq!(undelivered(&block, at).position(0), at.with_sub(1));
        assert_eq!(undelivered(&block, at.with_sub(2)).position(0), next);
        let before_next = numbers.position(7, 1000);
        assert_eq!(
            undelivered(&block, before_next).position(0),
            next,
            "a start position"
        );
        let earlier = numbers.of_lsn(6, 4_000_000);
        assert_eq!(undelivered(&block, earlier).len(), 4);
    }
}
