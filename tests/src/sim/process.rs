//! One life of a process: what it opens, runs and serves, as tasks of a world that are killed together.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hydrant_core::Digest;
use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_core::stage::Source;
use hydrant_core::state::StateStore;
use hydrant_log::stream::{PutEntry, Stream, StreamError, StreamOptions, Streams};
use hydrant_log::{Env, Error, LogOptions, StateLog};
use hydrant_pipeline::lane::NoHooks;
use hydrant_pipeline::plan::MicroBatch;
use hydrant_pipeline::{DeliveryStream, Partitioning, Setting, Status};
use hydrant_source::{Aggregates, EmbeddedSource, StartAt};
use hydrant_testkit::disk::SimDisk;
use hydrant_testkit::sim::stages::Passing;
use hydrant_testkit::sim::{Bucket, BucketSink, SimEncode, SimOffload, SimSource, SimStore, World};
use tokio::sync::watch;

use super::oracle::Oracle;
use super::plan::{Place, Sizes};
use super::record::text;
use super::stages::{ErrorLines, Rewrite, SimVersions};
use super::watched::{WatchedSource, WatchedStore};

/// The stream that is put to and read.
const STREAM: &str = "s";
/// Names of the delivery streams.
const READERS: [&str; 2] = ["first", "second"];

/// Where the log of a stream lies.
pub(crate) const STREAMS_DIR: &str = "/data/streams";

/// What all processes of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) sizes: Sizes,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) remote: Option<Arc<SimSource>>,
    pub(crate) table: SimStore,
    /// The number of the next record, and where it ends.
    pub(crate) next: Arc<AtomicU64>,
    pub(crate) quota: Arc<AtomicU64>,
    /// Puts that are under way.
    pub(crate) putting: Arc<AtomicU64>,
    /// Percent of reads that fail, of whatever source.
    pub(crate) read_fails: Arc<AtomicU64>,
    /// Why the process did not start, where that is allowed.
    pub(crate) refused: Arc<Mutex<Option<String>>>,
}

/// A process.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) shared: Shared,
    pub(crate) group: u64,
    pub(crate) disk: SimDisk,
    /// Versions so far; the last is in force.
    pub(crate) versions: Vec<char>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) statuses: Vec<Arc<Status>>,
    /// Delivery streams that run.
    pub(crate) running: Arc<AtomicU64>,
}

impl Process {
    /// Begins the process.
    pub(crate) fn start(self) {
        let world = self.shared.world.clone();
        let group = self.group;
        match self.shared.sizes.place {
            Place::Local => world.start_in(group, async move { self.local().await }),
            Place::Remote => world.start_in(group, async move { self.remote().await }),
            Place::Table => {
                let table: Arc<dyn StateStore> = Arc::new(self.shared.table.clone());
                world.start_in(group, async move { self.deliver(&table, |_| None) })
            }
        };
    }

    /// Runs a service on an embedded stream.
    async fn local(self) {
        let Some(state) = self.state().await else {
            return std::future::pending().await;
        };
        let streams = loop {
            match self.streams(&state).await {
                Ok(streams) => break Arc::new(streams),
                Err(StreamError::Log(Error::LowSpace)) => self.wait().await,
                Err(error) => return self.refuses(&error).await,
            }
        };
        let stream = loop {
            match self.ensure(&streams).await {
                Ok(stream) => break stream,
                Err(StreamError::Log(Error::LowSpace)) => self.wait().await,
                Err(error) => return self.refuses(&error).await,
            }
        };
        let world = &self.shared.world;
        if stream.now_ms(0) == 0 {
            self.shared.oracle.emptied();
        }
        let store: Arc<dyn StateStore> = Arc::new(state);
        self.deliver(&store, |reader| {
            let start = if self.shared.sizes.latest {
                StartAt::Latest
            } else {
                StartAt::TrimHorizon
            };
            let clock = Arc::new(world.clone());
            let aggregates = if self.shared.sizes.width == 1 {
                Aggregates::Pass
            } else {
                Aggregates::KeepAll
            };
            let source =
                EmbeddedSource::new(stream.clone(), READERS[reader], start, aggregates, clock);
            Some(Arc::new(source) as Arc<dyn Source>)
        });
        for _ in 0..self.shared.sizes.producers {
            let (shared, stream) = (self.shared.clone(), stream.clone());
            world.start_in(self.group, async move { shared.produce(&stream).await });
        }
        // What is held here lives as long as the process.
        loop {
            world.random_pause(600).await;
            // What fails is tried again the next time.
            drop(stream.retain(world.wall_ms()).await);
        }
    }

    /// Runs delivery streams from a remote stream, with positions on the disk.
    async fn remote(self) {
        let Some(state) = self.state().await else {
            return std::future::pending().await;
        };
        let store: Arc<dyn StateStore> = Arc::new(state);
        self.deliver(&store, |_| None);
        std::future::pending::<()>().await;
    }

    /// Opens the state store, again while the disk is full.
    async fn state(&self) -> Option<StateLog> {
        loop {
            let mut options = self.options();
            options.first_segment_bytes = self.shared.sizes.segments.0;
            match StateLog::open(self.env(), Path::new("/data/state"), self.id(), options) {
                Ok(state) => return Some(state),
                Err(Error::LowSpace) => self.wait().await,
                Err(error) => {
                    self.refuses(&error.into()).await;
                    return None;
                }
            }
        }
    }

    async fn streams(&self, state: &StateLog) -> Result<Streams, StreamError> {
        let (catalogue, rng) = (Arc::new(state.clone()), self.shared.world.rng.clone());
        let dir = Path::new(STREAMS_DIR);
        Streams::open(self.env(), dir, catalogue, rng, self.options()).await
    }

    async fn ensure(&self, streams: &Streams) -> Result<Arc<Stream>, StreamError> {
        let sizes = &self.shared.sizes;
        let options = StreamOptions {
            shards: sizes.shards,
            retention: Duration::from_millis(sizes.retention_ms),
            ..StreamOptions::default()
        };
        let stream = streams.ensure(STREAM, options).await?;
        let readers = &READERS[..sizes.readers];
        for reader in readers {
            streams.add_reader(STREAM, reader).await?;
        }
        streams.keep_readers(STREAM, readers).await?;
        Ok(stream)
    }

    /// Says that the process does not start, and does nothing more.
    async fn refuses(&self, error: &StreamError) {
        if !self.shared.world.is_halted() {
            let text = hydrant_pipeline::stream::with_causes(error);
            self.shared
                .world
                .trace
                .note(format_args!("refused: {text}"));
            *self.shared.refused.lock().unwrap() = Some(text);
        }
        std::future::pending::<()>().await;
    }

    async fn wait(&self) {
        self.shared.world.sleep(Duration::from_millis(300)).await;
    }

    /// Runs the delivery streams as tasks of their own.
    fn deliver(
        &self,
        store: &Arc<dyn StateStore>,
        source: impl Fn(usize) -> Option<Arc<dyn Source>>,
    ) {
        let (shared, sizes) = (&self.shared, &self.shared.sizes);
        let budget = Budget::new(sizes.budget);
        for (reader, name) in READERS.into_iter().enumerate().take(sizes.readers) {
            let (world, oracle) = (shared.world.clone(), shared.oracle.clone());
            let inner = source(reader).or_else(|| Some(shared.remote.clone()? as Arc<dyn Source>));
            let Some(inner) = inner else { continue };
            budget.set_share(name, sizes.budget / (sizes.readers + 1));
            let setting = Setting {
                name: name.into(),
                source: Arc::new(WatchedSource {
                    inner,
                    oracle: oracle.clone(),
                    world: world.clone(),
                    reader,
                    fails: shared.read_fails.clone(),
                }),
                state: Arc::new(WatchedStore {
                    inner: store.clone(),
                    oracle,
                    world: world.clone(),
                    reader,
                    table: (sizes.place == Place::Table).then(|| shared.table.clone()),
                }),
                versions: Arc::new(self.versions(reader)),
                offload: Arc::new(self.pool(sizes.width, sizes.cpu_ms)),
                clock: Arc::new(world.clone()),
                rng: world.rng.clone(),
                budget: budget.clone(),
                interval: Duration::from_millis(sizes.interval_ms),
                read_bytes: sizes.read_bytes,
                status: self.statuses[reader].clone(),
                hooks: Arc::new(NoHooks),
            };
            let (stop, running) = (self.stop.clone(), self.running.clone());
            running.fetch_add(1, Ordering::Relaxed);
            world.start_in(self.group, async move {
                DeliveryStream::new(setting).run(stop).await;
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    fn versions(&self, reader: usize) -> SimVersions {
        let sizes = &self.shared.sizes;
        let (world, bucket) = (&self.shared.world, &self.shared.buckets[reader]);
        let sink = BucketSink::new(bucket, sizes.part_bytes, sizes.tries);
        let plan = |version: &char| hydrant_pipeline::Plan {
            version: Digest::of(version.to_string().as_bytes()),
            read_mode: 1,
            transforms: vec![
                Arc::new(Passing(&[("p", "replaced"), ("q", "not asked for")])),
                Arc::new(Rewrite {
                    version: *version,
                    partitions: sizes.partitions,
                    overruns: sizes.overruns,
                    blocks: sizes.blocks,
                    world: world.clone(),
                }),
                Arc::new(Passing(&[])),
            ],
            encode: Arc::new(SimEncode),
            sink: Arc::new(sink.clone()),
            error_sink: Arc::new(sink.clone()),
            error_format: Arc::new(ErrorLines),
            size_hint_bytes: sizes.hint_bytes,
            partitioning: (sizes.partitions > 1).then(|| Partitioning {
                keys: vec!["p".to_owned()],
                // Less than a range, so that partitions have several objects.
                part_bytes: sizes.hint_bytes / 3,
                max_active: None,
            }),
            micro_batch: MicroBatch {
                records: sizes.batch.0,
                bytes: sizes.batch.1,
            },
        };
        let last = self.versions.len() - 1;
        let early = last > 0 && world.rng.chance(50);
        SimVersions {
            in_force: AtomicUsize::new(last - usize::from(early)),
            plans: self.versions.iter().map(|v| Arc::new(plan(v))).collect(),
            fails: sizes.load_fails,
            world: world.clone(),
        }
    }

    fn pool(&self, width: usize, longest_ms: u64) -> SimOffload {
        let pool = SimOffload::new(&self.shared.world, width);
        pool.slow(longest_ms).beside(self.group)
    }

    fn env(&self) -> Env {
        let world = &self.shared.world;
        Env {
            disk: Arc::new(self.disk.clone()),
            io: Arc::new(self.pool(2, self.shared.sizes.io_ms)),
            clock: Arc::new(world.clone()),
            abort: Arc::new(world.clone()),
        }
    }

    fn options(&self) -> LogOptions {
        let sizes = &self.shared.sizes;
        LogOptions {
            first_segment_bytes: sizes.segments.0,
            max_segment_bytes: sizes.segments.1.max(2048),
            max_group_bytes: sizes.group_bytes,
            cache_bytes: sizes.cache_bytes,
            max_spare_segments: sizes.spares,
            low_space_percent: 0,
            low_space_bytes: 0,
            resume_percent: 0,
            instance: self.id(),
            ..LogOptions::default()
        }
    }

    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.group.to_le_bytes());
        id[8] = 1;
        id
    }
}

impl Shared {
    /// Puts records until there are no more, each once, and tells the oracle which were
    /// acknowledged.
    async fn produce(&self, stream: &Stream) {
        let world = &self.world;
        loop {
            world.random_pause(self.sizes.pace_ms).await;
            let numbers = self.take(world.rng.between(1, 6));
            if numbers.is_empty() {
                world.sleep(Duration::from_millis(100)).await;
                continue;
            }
            let records: Vec<(u64, String, String)> = numbers
                .map(|number| {
                    let key = format!("k{}", world.rng.below(5));
                    let padding = usize::try_from(world.rng.below(60)).unwrap();
                    (number, text(number, &key, padding), key)
                })
                .collect();
            let entries: Vec<PutEntry<'_>> = records
                .iter()
                .map(|(_, text, key)| PutEntry {
                    data: text.as_bytes(),
                    partition_key: key,
                    explicit_hash_key: None,
                })
                .collect();
            for (number, _, _) in &records {
                self.oracle.sent(*number);
            }
            self.putting.fetch_add(1, Ordering::Relaxed);
            let patience = if world.rng.chance(self.sizes.dropped) {
                world.random_pause(6)
            } else {
                Box::pin(std::future::pending())
            };
            let answer = before(stream.put(&entries), patience).await;
            if world.is_halted() {
                return std::future::pending().await;
            }
            self.putting.fetch_sub(1, Ordering::Relaxed);
            match answer {
                Some(Ok(placed)) => {
                    world.trace.note(format_args!(
                        "acked: {} from {}",
                        placed.len(),
                        records[0].0
                    ));
                    for ((number, _, _), placed) in records.iter().zip(placed) {
                        self.oracle
                            .acked(*number, &placed.shard.lane(), placed.position);
                    }
                }
                Some(Err(_)) => {
                    world.trace.fired("put refused");
                    world.sleep(Duration::from_millis(200)).await;
                }
                None => world.trace.fired("put given up"),
            }
        }
    }

    /// The next numbers, at most so many.
    fn take(&self, most: u64) -> std::ops::Range<u64> {
        let (next, quota) = (
            self.next.load(Ordering::Relaxed),
            self.quota.load(Ordering::Relaxed),
        );
        let to = quota.min(next + most).max(next);
        self.next.store(to, Ordering::Relaxed);
        next..to
    }
}

/// What the future gives, unless `over` comes first: then it is dropped.
async fn before<T>(future: impl Future<Output = T>, over: impl Future<Output = ()>) -> Option<T> {
    let (mut future, mut over) = (Box::pin(future), Box::pin(over));
    std::future::poll_fn(move |context| {
        if let Poll::Ready(done) = Pin::new(&mut future).poll(context) {
            return Poll::Ready(Some(done));
        }
        Pin::new(&mut over).poll(context).map(|()| None)
    })
    .await
}
