//! Reading a shard: when its turn comes, with room for the answer, and what follows a failure.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::budget::{Account, Permit};
use hydrant_core::offload;
use hydrant_core::retry::{Class, Fault};
use hydrant_core::stage::{Read, SourceError};
use hydrant_core::{BoxFuture, Lane, Position};
use hydrant_log::stream::Parts;

use super::client::{Failure, Shard, Slot};
use super::cursor::{Learned, Poll};
use super::decode::{Answer, Decoded};
use super::gather::{Answered, Seen, Wrong};
use super::start::Begin;
use super::stream::{DESCRIBED_LATELY, Shared, There};
use crate::deaggregate::deaggregate;
use crate::reading::{Aggregates, charged, first_of, lock};

/// While a call runs, its data is there as it came (in JSON: as base64, and decoded), and in the block.
const COPIES: usize = 3;
/// Where there is room, an answer is reckoned with that is so many times as large as expected ...
const SURPRISE: usize = 4;
/// ... but Kinesis gives no more than this at once (reference, section 1.2).
const ANSWER_MAX_BYTES: usize = 10 << 20;
/// An answer of so many bytes is taken apart at once: that is done sooner than handed to another thread.
const INLINE_BYTES: usize = 16 << 10;
/// A start in the future is looked at again after so long at the latest.
const NOT_YET: Duration = Duration::from_mins(1);

/// What one call came to.
enum Step {
    /// Records, or the end of the shard.
    Read(Read),
    /// Nothing yet; when to ask again is in the cursor.
    Again,
    /// The stream is not there any more: nothing will come.
    Deleted,
}

impl Shared {
    /// Waits until a call to this shard is due and its turn has come; `false` where `over` is first.
    async fn turn(&self, lane: &Lane, over: &mut BoxFuture<'static, ()>) -> bool {
        let clock = self.client.clock();
        let due = self.cursor(lane, |cursor, now| cursor.due.saturating_sub(now));
        if !due.is_zero() && !first_of(pin!(clock.sleep(due)), over).await {
            return false;
        }
        // Only now, so that whoever reads the shard too does not wait for a call that is not due.
        let now = clock.monotonic();
        let turn = self.pace.reserve(&self.identity, lane, now);
        let pause = turn.saturating_sub(now);
        pause.is_zero() || first_of(pin!(clock.sleep(pause)), over).await
    }

    pub(super) async fn read(
        &self,
        aggregates: Aggregates,
        lane: &Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &Account,
    ) -> Result<Read, SourceError> {
        let shard = self.shard(lane)?;
        let mut over = self.client.clock().sleep(wait);
        while !self.deleted.load(Ordering::Relaxed) && self.turn(lane, &mut over).await {
            let step = self.step(aggregates, &shard, after, max_bytes, account);
            match step.await? {
                Step::Read(read) => {
                    if read.ended {
                        lock(&self.cursors).remove(lane);
                    }
                    return Ok(read);
                }
                Step::Again => {}
                Step::Deleted => break,
            }
        }
        if self.deleted.load(Ordering::Relaxed) {
            // What was read before is delivered, for it cannot be had again; then another source
            // takes over.
            over.await;
        }
        Ok(Read::default())
    }

    /// One call, with an iterator before it where there is none.
    async fn step(
        &self,
        aggregates: Aggregates,
        shard: &Shard,
        after: Position,
        max_bytes: usize,
        account: &Account,
    ) -> Result<Step, SourceError> {
        let lane = &shard.lane;
        let fresh = || self.cursor(lane, |cursor, now| cursor.iterator(after, now));
        if fresh().is_none()
            && let Some(step) = self.new_iterator(shard, after).await
        {
            return Ok(step);
        }
        let (slot, mut permit) = self.room(max_bytes, account).await;
        let Some(iterator) = fresh() else {
            // There was no room for so long that it is too old now.
            return Ok(Step::Again);
        };
        let limit = self.cursor(lane, |cursor, _| cursor.limit(max_bytes));
        let answer = match self.client.records(slot, &iterator, limit).await {
            Ok(answer) => answer,
            Err(failure) => {
                drop(permit);
                return Ok(self.failed(shard, failure).await);
            }
        };
        // Larger even than reckoned with: it is there now.
        permit.resize(permit.bytes().max(answer.bytes() * COPIES));
        let decoded = match self.decode(aggregates, shard, after, answer).await? {
            Ok(decoded) => decoded,
            Err(malformed) => {
                drop(permit);
                self.cursor(lane, |cursor, _| cursor.forget_iterator());
                self.pause(lane, &malformed);
                return Ok(Step::Again);
            }
        };
        Ok(self.give(lane, after, decoded, permit, account))
    }

    /// The right to a call, and the bytes for its answer. Neither is held while the other is waited
    /// for. Waited for is only what is expected, which fits a share where a surprise would not: a
    /// neighbour that holds all that is shared must not keep this one from reading.
    async fn room(&self, max_bytes: usize, account: &Account) -> (Slot, Permit) {
        let expected = max_bytes * COPIES;
        let surprise = (max_bytes * SURPRISE).min(ANSWER_MAX_BYTES) * COPIES;
        loop {
            let slot = self.client.slot().await;
            if let Some(permit) = account.try_take(surprise.max(expected)) {
                return (slot, permit);
            }
            drop(slot);
            let permit = account.take(expected).await;
            if let Some(slot) = self.client.try_slot() {
                return (slot, permit);
            }
        }
    }

    /// What is handed over: records, and whether they were the last ones.
    fn give(
        &self,
        lane: &Lane,
        after: Position,
        decoded: Decoded,
        permit: Permit,
        account: &Account,
    ) -> Step {
        let Decoded {
            block,
            seen,
            answered,
        } = decoded;
        let ended = answered.next.is_none();
        let last = block.last_position().unwrap_or(after);
        self.learn(lane, (after, last), seen, answered);
        if block.is_empty() && !ended {
            // Nothing came, or all of it was before `after`, or strict mode discarded it.
            return Step::Again;
        }
        let blocks = if block.is_empty() {
            Vec::new()
        } else {
            charged(vec![block], permit, account)
        };
        Step::Read(Read { blocks, ended })
    }

    /// Takes an answer apart, and the aggregates in it; the fault where it is no answer.
    async fn decode(
        &self,
        aggregates: Aggregates,
        shard: &Shard,
        after: Position,
        answer: Answer,
    ) -> Result<Result<Decoded, Fault>, SourceError> {
        let mode = aggregates.deaggregation(shard.range);
        let small = answer.bytes() <= INLINE_BYTES;
        let in_cbor = matches!(answer, Answer::Cbor(_));
        let work = move || {
            let mut decoded = answer.decode(after)?;
            if let Some(mode) = mode {
                decoded.block = deaggregate(&decoded.block, mode);
            }
            Ok(decoded)
        };
        let done: Result<Result<Decoded, Wrong>, _> = if small {
            Ok(work())
        } else {
            offload::run(self.cpu.clone(), work).await
        };
        let done = done.map_err(|lost| SourceError::Unavailable(Box::new(lost)))?;
        if in_cbor {
            self.client.understood(done.is_ok());
        }
        let lane = &shard.lane;
        let stream = self.client.stream();
        match done {
            Ok(decoded) => Ok(Ok(decoded)),
            Err(Wrong::Malformed(why)) => Ok(Err(Fault {
                class: Class::Transient,
                after: None,
                text: format!("the answer to GetRecords cannot be read: {why}"),
            })),
            Err(Wrong::Numbers(why)) => Err(SourceError::Broken(format!(
                "stream {stream}, shard {lane}: {why}"
            ))),
        }
    }

    /// Notes what an answer to a call for what follows `after` teaches about the shard. `last` is the
    /// last position of its records.
    fn learn(
        &self,
        lane: &Lane,
        (after, last): (Position, Position),
        seen: Seen,
        answered: Answered,
    ) {
        let Answered { next, behind_ms } = answered;
        let learned = Learned {
            records: seen.records,
            bytes: seen.bytes,
            behind_ms,
        };
        let retention_ms = self.retention_ms.load(Ordering::Relaxed);
        let poll = Poll {
            tip: self.poll,
            shards: lock(&self.cursors).len(),
        };
        self.cursor(lane, |cursor, now| {
            cursor.answered(&learned, &poll, now);
            // Behind all that is kept the iterator would crawl for hours through nothing.
            let trimmed = learned.records == 0 && learned.behind_ms > retention_ms;
            match next {
                Some(next) if !(trimmed && cursor.jump(after)) => {
                    cursor.set_iterator(last, next, now);
                }
                _ => cursor.forget_iterator(),
            }
        });
    }

    /// Asks for an iterator; `None` where there is one now.
    async fn new_iterator(&self, shard: &Shard, after: Position) -> Option<Step> {
        let lane = &shard.lane;
        let now_ms = self.client.clock().wall_ms();
        let begin = self.begin(lane, after, now_ms);
        if let Begin::Time(ms) = begin
            && ms > now_ms
        {
            let pause = Duration::from_millis(ms - now_ms).min(NOT_YET);
            self.cursor(lane, |cursor, now| cursor.due = now + pause);
            return Some(Step::Again);
        }
        if !matches!(begin, Begin::After(_)) {
            // A shard of another stream of this name would be read from its beginning.
            match self.look(DESCRIBED_LATELY).await {
                There::Yes => {}
                There::No => return Some(Step::Deleted),
                There::Unknown(fault) => {
                    self.pause(lane, &fault);
                    return Some(Step::Again);
                }
            }
        }
        match self.client.iterator(lane, begin).await {
            Ok(iterator) => {
                self.cursor(lane, |cursor, now| {
                    cursor.set_iterator(after, iterator, now);
                });
                None
            }
            Err(failure) => Some(self.failed(shard, failure).await),
        }
    }

    /// Where an iterator for what follows `after` begins: at what is kept, where that is later.
    fn begin(&self, lane: &Lane, after: Position, now_ms: u64) -> Begin {
        let retention_ms = self.retention_ms.load(Ordering::Relaxed);
        let trimmed = |ms: u64| ms < now_ms.saturating_sub(retention_ms);
        let begin = Begin::of(after);
        if self.cursor(lane, |cursor, _| cursor.has_jumped(after)) {
            return Begin::TrimHorizon;
        }
        match begin {
            Begin::After(position) => {
                let arrived = Parts::of(&position).map(|parts| parts.time_s * 1000);
                if !arrived.is_some_and(trimmed) {
                    return begin;
                }
                // An idle shard is here too: only records that came and went are lost.
                let stream = self.client.stream();
                tracing::warn!(stream, %lane, after = %position, "reading goes on behind the retention: records that arrived since may have been trimmed");
            }
            Begin::Time(ms) if trimmed(ms) => {}
            Begin::Time(_) | Begin::TrimHorizon => return begin,
        }
        self.cursor(lane, |cursor, _| cursor.jump(after));
        Begin::TrimHorizon
    }

    /// What follows a failed call: another one later, the end of the shard, or of the stream.
    async fn failed(&self, shard: &Shard, failure: Failure) -> Step {
        let lane = &shard.lane;
        match failure {
            Failure::Fault(fault) | Failure::Unclear(fault, _) => self.pause(lane, &fault),
            Failure::Expired => {
                if !self.cursor(lane, |cursor, _| cursor.expire()) {
                    self.pause(lane, &Failure::Expired.into_fault());
                }
            }
            Failure::Gone(_) | Failure::Refused(_) => {
                self.cursor(lane, |cursor, _| cursor.forget_iterator());
                match self.look(Duration::ZERO).await {
                    There::Yes => return self.refused(shard, failure).await,
                    There::No => return Step::Deleted,
                    There::Unknown(fault) => self.pause(lane, &fault),
                }
            }
        }
        Step::Again
    }

    /// A shard that is not there any more has ended, and its children are read next; what was not
    /// read of it is lost by the stream's retention.
    async fn refused(&self, shard: &Shard, failure: Failure) -> Step {
        let lane = &shard.lane;
        let gone = matches!(failure, Failure::Gone(_));
        let fault = match self.client.shards().await {
            Ok(kept) if gone && kept.iter().all(|other| other.lane != *lane) => {
                tracing::error!(stream = self.client.stream(), %lane, "the shard is gone: what it had and was not read is lost by the stream's retention");
                let (blocks, ended) = (Vec::new(), true);
                return Step::Read(Read { blocks, ended });
            }
            Ok(_) => failure.into_fault(),
            Err(other) => other.into_fault(),
        };
        self.pause(lane, &fault);
        Step::Again
    }
}
