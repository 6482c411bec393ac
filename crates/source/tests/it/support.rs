//! A machine for the tests: a clock that stands still, work done at once, a catalogue in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Job, Offload};
use hydrant_log::stream::{Catalogue, PutEntry, Stream, StreamOptions, Streams};
use hydrant_log::{Env, Error, LogOptions, ProcessAbort, RealDisk};
use hydrant_testkit::sim::SimRng;

/// Wall time at the start, milliseconds: not a whole second.
pub(crate) const START_MS: u64 = 1_700_000_000_345;

/// Stands still until it is moved; a sleep of nothing is over, any other lasts for ever.
pub(crate) struct StillClock(AtomicU64);

impl StillClock {
    pub(crate) fn forward(&self, duration: Duration) {
        self.0.fetch_add(
            u64::try_from(duration.as_millis()).unwrap(),
            Ordering::Relaxed,
        );
    }
}

impl Clock for StillClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(std::future::pending())
    }
}

/// Work is done by whoever hands it over.
pub(crate) struct Inline;

impl Offload for Inline {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        job();
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        1
    }
}

/// How a write of the catalogue goes wrong.
pub(crate) enum Spoilt {
    /// It is written, but never answered.
    Unanswered,
    /// It is refused.
    Refused,
}

#[derive(Default)]
pub(crate) struct MemoryCatalogue {
    entries: Mutex<BTreeMap<(String, String), Bytes>>,
    /// What the next write comes to, once.
    pub(crate) spoilt: Mutex<Option<Spoilt>>,
}

impl Catalogue for MemoryCatalogue {
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        let entries = self.entries.lock().unwrap();
        let of_kind = entries.iter().filter(|((its, _), _)| its == kind);
        of_kind
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let spoilt = self.spoilt.lock().unwrap().take();
        if matches!(spoilt, Some(Spoilt::Refused)) {
            return Box::pin(std::future::ready(Err(Error::LowSpace)));
        }
        self.entries
            .lock()
            .unwrap()
            .insert((kind.to_owned(), key.to_owned()), value);
        if spoilt.is_some() {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.entries
            .lock()
            .unwrap()
            .remove(&(kind.to_owned(), key.to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A machine whose streams can be closed and opened again.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<StillClock>,
    pub(crate) catalogue: Arc<MemoryCatalogue>,
    rng: Arc<SimRng>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(StillClock(START_MS.into())),
            catalogue: Arc::default(),
            rng: Arc::new(SimRng::new(7)),
        }
    }

    /// Opens the streams that there are, on small segments.
    pub(crate) async fn open(&self) -> Streams {
        let env = Env {
            disk: Arc::new(RealDisk),
            io: Arc::new(Inline),
            clock: self.clock.clone(),
            abort: Arc::new(ProcessAbort),
        };
        let options = LogOptions {
            first_segment_bytes: 64 << 10,
            max_segment_bytes: 16 << 20,
            max_spare_segments: 0,
            low_space_percent: 0,
            low_space_bytes: 0,
            ..LogOptions::default()
        };
        let (catalogue, rng) = (self.catalogue.clone(), self.rng.clone());
        Streams::open(env, self.dir.path(), catalogue, rng, options)
            .await
            .unwrap()
    }
}

/// Options with so many shards.
pub(crate) fn shards(shards: u32) -> StreamOptions {
    StreamOptions {
        shards,
        ..StreamOptions::default()
    }
}

/// Puts one record by partition key.
pub(crate) async fn put(stream: &Stream, key: &str, data: &[u8]) -> hydrant_log::stream::Placed {
    let entry = PutEntry {
        data,
        partition_key: key,
        explicit_hash_key: None,
    };
    stream.put(&[entry]).await.unwrap()[0]
}

/// Puts one record into the shard that has this hash key.
pub(crate) async fn put_at(
    stream: &Stream,
    hash: u128,
    data: &[u8],
) -> hydrant_log::stream::Placed {
    let entry = PutEntry {
        data,
        partition_key: "key",
        explicit_hash_key: Some(hash),
    };
    stream.put(&[entry]).await.unwrap()[0]
}
