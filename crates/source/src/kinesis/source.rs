//! The source itself: lanes, starts and reads.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use hydrant_core::budget::{Account, Permit};
use hydrant_core::offload::{self, Offload};
use hydrant_core::stage::{LaneInfo, Read, Source, SourceError};
use hydrant_core::state::StateStore;
use hydrant_core::{BoxFuture, Lane, LaneKey, Position, Records};
use hydrant_log::stream::Parts;

use super::client::{Failure, KinesisClient, Shard};
use super::cursor::{Cursor, Learned, Poll};
use super::decode;
use super::pace::Pace;
use super::start::{self, From, resolve};
use crate::deaggregate::deaggregate;
use crate::reading::{Aggregates, StartAt, charged, first_of};

/// While a call runs, its data is there as base64, decoded by the SDK, and in the block.
const COPIES: usize = 3;
/// The stream is described anew once so much time has passed, to see that it is still the same one.
const DESCRIBE_EVERY: Duration = Duration::from_mins(1);

/// What a source is made with.
pub struct Reader {
    /// The delivery stream that reads.
    pub delivery_stream: Arc<str>,
    /// Where it starts the first time.
    pub start: StartAt,
    /// What happens to aggregates.
    pub aggregates: Aggregates,
    /// How often a shard is asked that had nothing new.
    pub poll: Duration,
    /// The calls of the process, by shard.
    pub pace: Pace,
    /// The CPU pool, where aggregates are taken apart.
    pub cpu: Arc<dyn Offload>,
}

/// Reads a stream of Kinesis for one delivery stream.
pub struct KinesisSource {
    shared: Arc<Shared>,
    aggregates: Aggregates,
}

struct Shared {
    client: KinesisClient,
    identity: Arc<str>,
    retention_ms: AtomicU64,
    start_ms: Option<u64>,
    poll: Duration,
    pace: Pace,
    cpu: Arc<dyn Offload>,
    shards: Mutex<BTreeMap<Lane, Shard>>,
    cursors: Mutex<BTreeMap<Lane, Cursor>>,
    described: Mutex<Duration>,
    deleted: AtomicBool,
}

/// What one call came to.
enum Step {
    /// Records, or the end of the shard.
    Read(Read),
    /// Nothing yet; when to ask again is in the cursor.
    Again,
}

impl KinesisSource {
    /// A source on the stream as it is there now. The start is resolved, and stored where it is not
    /// given by the records.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] where the stream cannot be reached or is not there, or the state
    /// store failed.
    pub async fn open(
        client: KinesisClient,
        reader: Reader,
        state: &dyn StateStore,
    ) -> Result<Self, SourceError> {
        let described = client
            .describe()
            .await
            .map_err(|failure| unavailable(&client, failure))?;
        let identity: Arc<str> = described.identity.into();
        let key = LaneKey {
            delivery_stream: reader.delivery_stream,
            source: identity.clone(),
            lane: Lane::new(""),
        };
        let (now, now_ms) = (client.clock().monotonic(), client.clock().wall_ms());
        let start_ms = resolve(reader.start, key, state, now_ms).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                identity,
                retention_ms: AtomicU64::new(described.retention_ms),
                start_ms,
                poll: reader.poll,
                pace: reader.pace,
                cpu: reader.cpu,
                shards: Mutex::default(),
                cursors: Mutex::default(),
                described: Mutex::new(now),
                deleted: AtomicBool::new(false),
            }),
            aggregates: reader.aggregates,
        })
    }

    /// Whether the stream was seen to be deleted, or made again: then this source is of no more use.
    pub fn is_deleted(&self) -> bool {
        self.shared.deleted.load(Ordering::Relaxed)
    }

    /// How far the shard that is furthest behind is behind the tip, milliseconds.
    pub fn behind_ms(&self) -> u64 {
        let cursors = lock(&self.shared.cursors);
        let behind = cursors.values().map(|cursor| cursor.behind_ms);
        behind.max().unwrap_or(0)
    }
}

impl Shared {
    async fn lanes(&self) -> Result<Vec<LaneInfo>, SourceError> {
        let now = self.client.clock().monotonic();
        let due = now.saturating_sub(*lock(&self.described)) >= DESCRIBE_EVERY;
        if due && !self.is_there().await? {
            return Err(self.broken());
        }
        let shards = match self.client.shards().await {
            Ok(shards) => shards,
            Err(Failure::Gone(_)) if !self.is_there().await? => return Err(self.broken()),
            Err(failure) => return Err(unavailable(&self.client, failure)),
        };
        let info = |shard: &Shard| LaneInfo {
            lane: shard.lane.clone(),
            parents: shard.parents.clone(),
        };
        let lanes: Vec<LaneInfo> = shards.iter().map(info).collect();
        let mut known = lock(&self.shards);
        *known = shards
            .into_iter()
            .map(|shard| (shard.lane.clone(), shard))
            .collect();
        // A shard that is gone is not behind any more.
        lock(&self.cursors).retain(|lane, _| known.contains_key(lane));
        Ok(lanes)
    }

    /// Whether the stream that this source was made for is still there.
    async fn is_there(&self) -> Result<bool, SourceError> {
        let there = match self.client.describe().await {
            Ok(described) => {
                self.retention_ms
                    .store(described.retention_ms, Ordering::Relaxed);
                described.identity == *self.identity
            }
            Err(Failure::Gone(_)) => false,
            Err(failure) => return Err(unavailable(&self.client, failure)),
        };
        *lock(&self.described) = self.client.clock().monotonic();
        self.deleted.store(!there, Ordering::Relaxed);
        Ok(there)
    }

    fn broken(&self) -> SourceError {
        SourceError::Broken(format!("the stream {} was deleted", self.client.stream()))
    }

    fn shard(&self, lane: &Lane) -> Result<Shard, SourceError> {
        let shard = lock(&self.shards).get(lane).cloned();
        shard.ok_or_else(|| {
            let stream = self.client.stream();
            SourceError::Broken(format!("the stream {stream} has no shard {lane}"))
        })
    }

    fn cursor<T>(&self, lane: &Lane, use_it: impl FnOnce(&mut Cursor, Duration) -> T) -> T {
        let now = self.client.clock().monotonic();
        let mut cursors = lock(&self.cursors);
        let cursor = cursors
            .entry(lane.clone())
            .or_insert_with(|| Cursor::new(now));
        use_it(cursor, now)
    }

    /// How long it is until the next call to this shard may begin.
    fn turn(&self, lane: &Lane) -> Duration {
        let (from, now) = self.cursor(lane, |cursor, now| (cursor.due.max(now), now));
        let turn = self.pace.reserve(&self.identity, lane, from);
        turn.saturating_sub(now)
    }

    async fn read(
        &self,
        aggregates: Aggregates,
        lane: &Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &Account,
    ) -> Result<Read, SourceError> {
        let shard = self.shard(lane)?;
        let clock = self.client.clock();
        let mut over = clock.sleep(wait);
        loop {
            let pause = self.turn(lane);
            if !pause.is_zero() && !first_of(pin!(clock.sleep(pause)), &mut over).await {
                return Ok(Read::default());
            }
            match self
                .step(aggregates, &shard, after, max_bytes, account)
                .await?
            {
                Step::Read(read) => return Ok(read),
                Step::Again => {}
            }
        }
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
        let iterator = match self.cursor(lane, |cursor, now| cursor.iterator(after, now)) {
            Some(iterator) => iterator,
            None => match self.new_iterator(lane, after).await {
                Ok(iterator) => iterator,
                Err(failure) => return self.failed(shard, failure).await,
            },
        };
        let limit = self.cursor(lane, |cursor, _| cursor.limit(max_bytes));
        let mut permit = account.take(max_bytes * COPIES).await;
        let mut answer = match self.client.records(&iterator, limit).await {
            Ok(answer) => answer,
            Err(failure) => {
                drop(permit);
                return self.failed(shard, failure).await;
            }
        };
        let bytes = decode::data_bytes(answer.records());
        // Larger than expected: it is there now.
        permit.resize(permit.bytes().max(bytes * COPIES));
        let next = answer.next_shard_iterator.take();
        self.learn(lane, after, &answer, bytes, next.as_deref());
        if answer.records().is_empty() && next.is_some() {
            return Ok(Step::Again);
        }
        let records = self.decode(aggregates, shard, after, answer).await?;
        Ok(self.give(lane, after, records, next, permit, account))
    }

    /// What is handed over: records, and whether they were the last ones.
    fn give(
        &self,
        lane: &Lane,
        after: Position,
        records: Records,
        next: Option<String>,
        permit: Permit,
        account: &Account,
    ) -> Step {
        let last = records.last_position().unwrap_or(after);
        let ended = next.is_none();
        if let Some(next) = next {
            self.cursor(lane, |cursor, now| cursor.set_iterator(last, next, now));
        }
        if records.is_empty() && !ended {
            // All that came was before `after`, or strict mode discarded it.
            return Step::Again;
        }
        let blocks = if records.is_empty() {
            Vec::new()
        } else {
            charged(vec![records], permit, account)
        };
        Step::Read(Read { blocks, ended })
    }

    async fn decode(
        &self,
        aggregates: Aggregates,
        shard: &Shard,
        after: Position,
        answer: GetRecordsOutput,
    ) -> Result<Records, SourceError> {
        let mode = aggregates.deaggregation(shard.range);
        let work = move || {
            let block = decode::block(answer.records(), after)?;
            Ok(match mode {
                Some(mode) => deaggregate(&block, mode),
                None => block,
            })
        };
        let done: Result<Result<Records, String>, _> = offload::run(self.cpu.clone(), work).await;
        let lane = &shard.lane;
        let stream = self.client.stream();
        done.map_err(|lost| SourceError::Unavailable(Box::new(lost)))?
            .map_err(|why| SourceError::Broken(format!("stream {stream}, shard {lane}: {why}")))
    }

    /// Notes what an answer teaches about the shard.
    fn learn(
        &self,
        lane: &Lane,
        after: Position,
        answer: &GetRecordsOutput,
        bytes: usize,
        next: Option<&str>,
    ) {
        let behind = answer.millis_behind_latest().unwrap_or(0);
        let learned = Learned {
            records: answer.records().len(),
            bytes,
            behind_ms: u64::try_from(behind).unwrap_or(0),
        };
        let retention_ms = self.retention_ms.load(Ordering::Relaxed);
        let poll = Poll {
            tip: self.poll,
            shards: lock(&self.shards).len(),
        };
        self.cursor(lane, |cursor, now| {
            cursor.answered(&learned, &poll, now);
            // Behind all that is kept the iterator would crawl for hours through nothing.
            let lost = learned.records == 0 && learned.behind_ms > retention_ms;
            match next {
                Some(next) if learned.records == 0 && !lost => {
                    cursor.set_iterator(after, next.to_owned(), now);
                }
                _ => cursor.forget_iterator(),
            }
        });
    }

    async fn new_iterator(&self, lane: &Lane, after: Position) -> Result<String, Failure> {
        let mut from = From::of(after);
        let retention_ms = self.retention_ms.load(Ordering::Relaxed);
        let horizon_ms = self.client.clock().wall_ms().saturating_sub(retention_ms);
        let behind = |ms: u64| ms < horizon_ms;
        match from {
            From::After(position) => {
                let arrived = Parts::of(&position).map(|parts| parts.time_s * 1000);
                if arrived.is_some_and(behind) {
                    // An idle shard is here too: only records that came and went are lost.
                    let stream = self.client.stream();
                    tracing::warn!(stream, %lane, after = %position, "reading goes on behind the retention: records that arrived since may have been trimmed");
                    from = From::TrimHorizon;
                }
            }
            From::Time(ms) if behind(ms) => from = From::TrimHorizon,
            From::Time(_) | From::TrimHorizon => {}
        }
        let iterator = self.client.iterator(lane, from).await?;
        self.cursor(lane, |cursor, now| {
            cursor.set_iterator(after, iterator.clone(), now);
        });
        Ok(iterator)
    }

    /// What follows a failed call: another one later, the end of the shard, or of the stream.
    async fn failed(&self, shard: &Shard, failure: Failure) -> Result<Step, SourceError> {
        let lane = &shard.lane;
        self.cursor(lane, |cursor, _| cursor.forget_iterator());
        let fault = match failure {
            // Another iterator is asked for in its turn.
            Failure::Expired => return Ok(Step::Again),
            Failure::Gone(text) => return self.gone(shard, text).await,
            Failure::Refused(text) => {
                if !self.is_there().await? {
                    return Err(self.broken());
                }
                Failure::Refused(text).into_fault()
            }
            Failure::Fault(fault) => fault,
        };
        self.pause(lane, &fault);
        Ok(Step::Again)
    }

    /// A shard that is not there any more has ended, and its children are read next; what was not
    /// read of it is lost by the stream's retention.
    async fn gone(&self, shard: &Shard, text: String) -> Result<Step, SourceError> {
        if !self.is_there().await? {
            return Err(self.broken());
        }
        let lane = &shard.lane;
        let kept = self.client.shards().await;
        let kept = kept.map_err(|failure| unavailable(&self.client, failure))?;
        if kept.iter().any(|other| other.lane == *lane) {
            self.pause(lane, &Failure::Gone(text).into_fault());
            return Ok(Step::Again);
        }
        tracing::error!(stream = self.client.stream(), %lane, "the shard is gone: what it had and was not read is lost by the stream's retention");
        Ok(Step::Read(Read {
            blocks: Vec::new(),
            ended: true,
        }))
    }

    fn pause(&self, lane: &Lane, fault: &hydrant_core::retry::Fault) {
        let place = format!("{} {lane}", self.client.stream());
        let retry = self.client.retry();
        self.cursor(lane, |cursor, now| {
            let pause = retry.failed(&mut cursor.backoff, "reading a shard", &place, fault);
            cursor.failed(pause, now);
        });
    }
}

impl Source for KinesisSource {
    fn identity(&self) -> &str {
        &self.shared.identity
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        Box::pin(self.shared.lanes())
    }

    fn start<'a>(&'a self, _lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        Box::pin(async move { Ok(start::position(self.shared.start_ms)) })
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        let (shared, aggregates) = (&self.shared, self.aggregates);
        Box::pin(shared.read(aggregates, lane, after, max_bytes, wait, account))
    }

    fn in_mode(&self, mode: u8) -> Option<Arc<dyn Source>> {
        let aggregates = Aggregates::from_mode(mode).filter(|one| *one != self.aggregates)?;
        let shared = self.shared.clone();
        Some(Arc::new(Self { shared, aggregates }))
    }

    fn committed(&self, _lane: &Lane, _position: Position) {
        // Kinesis keeps records by time alone.
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A failure that the caller tries again; it counts, and is seen in the status.
fn unavailable(client: &KinesisClient, failure: Failure) -> SourceError {
    let fault = failure.into_fault();
    client.retry().status().failed(fault.class, &fault.text);
    SourceError::Unavailable(fault.text.into())
}
