//! One stream as it is read: its shards, what is known of each between two reads, and whether it is
//! still the stream that it was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant_core::offload::Offload;
use hydrant_core::retry::Fault;
use hydrant_core::stage::{LaneInfo, SourceError};
use hydrant_core::state::StateStore;
use hydrant_core::{Lane, LaneKey};

use super::client::{Failure, KinesisClient, Shard};
use super::cursor::Cursor;
use super::pace::Pace;
use super::source::Reader;
use super::start::resolve;
use crate::reading::lock;

/// The stream is described anew once so much time has passed, to see that it is still the same one.
const DESCRIBE_EVERY: Duration = Duration::from_mins(1);
/// What was described so long ago at most is taken to be so still.
pub(super) const DESCRIBED_LATELY: Duration = Duration::from_secs(5);

/// What all reading modes of a source share.
pub(super) struct Shared {
    pub(super) client: KinesisClient,
    pub(super) identity: Arc<str>,
    pub(super) retention_ms: AtomicU64,
    pub(super) start_ms: Option<u64>,
    pub(super) poll: Duration,
    pub(super) pace: Pace,
    pub(super) cpu: Arc<dyn Offload>,
    shards: Mutex<BTreeMap<Lane, Shard>>,
    pub(super) cursors: Mutex<BTreeMap<Lane, Cursor>>,
    /// When the stream was described last, by the monotonic clock.
    described: Mutex<Duration>,
    pub(super) deleted: AtomicBool,
}

/// Whether the stream that a source was made for is still there.
pub(super) enum There {
    Yes,
    No,
    /// Whoever was asked did not say.
    Unknown(Fault),
}

impl Shared {
    pub(super) async fn open(
        client: KinesisClient,
        reader: Reader,
        state: &dyn StateStore,
    ) -> Result<Self, SourceError> {
        let described = client.describe().await;
        let described = described.map_err(|failure| unavailable(&client, failure.into_fault()))?;
        let identity: Arc<str> = described.identity.into();
        let key = LaneKey {
            delivery_stream: reader.delivery_stream,
            source: identity.clone(),
            lane: Lane::new(""),
        };
        let (now, now_ms) = (client.clock().monotonic(), client.clock().wall_ms());
        let start_ms = resolve(reader.start, key, state, now_ms).await?;
        Ok(Self {
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
        })
    }

    pub(super) async fn lanes(&self) -> Result<Vec<LaneInfo>, SourceError> {
        self.must_be_there(DESCRIBE_EVERY).await?;
        let shards = match self.client.shards().await {
            Ok(shards) => shards,
            Err(failure) => {
                if matches!(failure, Failure::Gone(_)) {
                    self.must_be_there(Duration::ZERO).await?;
                }
                return Err(unavailable(&self.client, failure.into_fault()));
            }
        };
        // Shards of another stream of this name would be new ones.
        let new = |shard: &Shard| !lock(&self.shards).contains_key(&shard.lane);
        if shards.iter().any(new) {
            self.must_be_there(DESCRIBED_LATELY).await?;
        }
        let info = |shard: &Shard| LaneInfo {
            lane: shard.lane.clone(),
            parents: shard.parents.clone(),
        };
        let lanes = shards.iter().map(info).collect();
        // One that is not listed any more may still be read to its end.
        let known = shards.into_iter().map(|shard| (shard.lane.clone(), shard));
        lock(&self.shards).extend(known);
        Ok(lanes)
    }

    async fn must_be_there(&self, age: Duration) -> Result<(), SourceError> {
        match self.look(age).await {
            There::Yes => Ok(()),
            There::No => {
                let stream = self.client.stream();
                let text = format!("the stream {stream} was deleted");
                Err(SourceError::Broken(text))
            }
            There::Unknown(fault) => Err(unavailable(&self.client, fault)),
        }
    }

    /// Asks whether the stream is there, unless it was described within `age`.
    pub(super) async fn look(&self, age: Duration) -> There {
        let now = self.client.clock().monotonic();
        if now.saturating_sub(*lock(&self.described)) < age {
            return self.known();
        }
        let there = match self.client.describe().await {
            Ok(described) => {
                self.retention_ms
                    .store(described.retention_ms, Ordering::Relaxed);
                described.identity == *self.identity
            }
            Err(Failure::Gone(_)) => false,
            Err(failure) => return There::Unknown(failure.into_fault()),
        };
        *lock(&self.described) = self.client.clock().monotonic();
        self.deleted.store(!there, Ordering::Relaxed);
        self.known()
    }

    /// What was seen last.
    fn known(&self) -> There {
        if self.deleted.load(Ordering::Relaxed) {
            There::No
        } else {
            There::Yes
        }
    }

    pub(super) fn shard(&self, lane: &Lane) -> Result<Shard, SourceError> {
        let shard = lock(&self.shards).get(lane).cloned();
        shard.ok_or_else(|| {
            let stream = self.client.stream();
            SourceError::Broken(format!("the stream {stream} has no shard {lane}"))
        })
    }

    /// Looks at or changes what is known of a shard; with the time by the monotonic clock.
    pub(super) fn cursor<T>(
        &self,
        lane: &Lane,
        use_it: impl FnOnce(&mut Cursor, Duration) -> T,
    ) -> T {
        let now = self.client.clock().monotonic();
        let mut cursors = lock(&self.cursors);
        let cursor = cursors
            .entry(lane.clone())
            .or_insert_with(|| Cursor::new(now));
        use_it(cursor, now)
    }

    /// Counts a failure of a shard; its next call waits.
    pub(super) fn pause(&self, lane: &Lane, fault: &Fault) {
        let place = format!("{} {lane}", self.client.stream());
        let retry = self.client.retry();
        self.cursor(lane, |cursor, now| cursor.failed(retry, &place, fault, now));
    }
}

/// A failure that the caller tries again; it counts, and is seen in the status.
fn unavailable(client: &KinesisClient, fault: Fault) -> SourceError {
    client.retry().status().failed(fault.class, &fault.text);
    SourceError::Unavailable(fault.text.into())
}
