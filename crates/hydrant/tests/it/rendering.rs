//! What a range becomes depends on its records and its version alone; transforms and encoders run
//! on the CPU pool; ranges of one lane are worked on at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hydrant::runtime::{Pool, RealClock};
use hydrant_core::budget::{Account, Budget};
use hydrant_core::outcomes::{Outcomes, OutcomesBuilder, Overruns};
use hydrant_core::stage::{
    Block, Blocked, Chunk, Completed, Encode, EncodeError, Encoder, LaneInfo, ObjectId, ObjectMeta,
    ObjectSink, ObjectUpload, Piece, Prepared, Read, SinkError, Source, SourceError, Transform,
};
use hydrant_core::state::{LaneState, LaneStore, StateError, StateStore};
use hydrant_core::{BoxFuture, Digest, Lane, LaneKey, Position, Records, RecordsBuilder};
use hydrant_encode::{Compression, Delimiter, Format};
use hydrant_pipeline::lane::{LaneContext, LaneEnd, NoHooks, run_lane};
use hydrant_pipeline::plan::{MicroBatch, Plan, Versions};
use hydrant_pipeline::status::Status;
use hydrant_sink::FirehoseErrors;
use tokio::sync::watch;

// ---- the ends of the pipeline, in memory -------------------------------------------------------

struct MemorySource(Records);

impl Source for MemorySource {
    fn identity(&self) -> &'static str {
        "memory-1"
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        Box::pin(async {
            Ok(vec![LaneInfo {
                lane: Lane::new("0"),
                parents: vec![],
            }])
        })
    }

    fn start<'a>(&'a self, _lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        Box::pin(async { Ok(Position::START) })
    }

    fn read<'a>(
        &'a self,
        _lane: &'a Lane,
        after: Position,
        _max_bytes: usize,
        _wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        Box::pin(async move {
            let from = self.0.first_after(after);
            let records = self.0.slice(from, (from + 37).min(self.0.len()));
            let permit = account.take(records.held_bytes()).await;
            Ok(Read {
                blocks: vec![Block { records, permit }],
                ended: from == self.0.len(),
            })
        })
    }

    fn committed(&self, _lane: &Lane, _position: Position) {}
}

#[derive(Clone, Default)]
struct MemoryStore(Arc<Mutex<Option<LaneState>>>);

struct MemoryLane(MemoryStore, Option<LaneState>);

impl StateStore for MemoryStore {
    fn open(&self, _key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>> {
        let lane = MemoryLane(self.clone(), self.0.lock().unwrap().clone());
        Box::pin(async move { Ok(Box::new(lane) as Box<dyn LaneStore>) })
    }
}

impl LaneStore for MemoryLane {
    fn current(&self) -> Option<&LaneState> {
        self.1.as_ref()
    }

    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>> {
        *self.0.0.lock().unwrap() = Some(next.clone());
        self.1 = Some(next);
        Box::pin(async { Ok(()) })
    }
}

pub(crate) type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

#[derive(Clone, Default)]
pub(crate) struct MemorySink(pub(crate) Objects);

struct MemoryUpload(Objects, String, BytesMut);

impl ObjectSink for MemorySink {
    fn digest(&self) -> Digest {
        Digest::of(b"memory")
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        let keys = id.partition_keys.iter();
        let keys = keys.fold(String::new(), |keys, (name, value)| {
            keys + name + "=" + value + "/"
        });
        let kind = id.error_kind.map(|kind| format!("{kind}/"));
        format!(
            "{}{keys}{}-{}{}",
            kind.unwrap_or_default(),
            id.arrival_ms,
            id.digest.to_uuid(),
            id.extension
        )
    }

    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        Box::new(MemoryUpload(self.0.clone(), meta.key, BytesMut::new()))
    }
}

impl ObjectUpload for MemoryUpload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        self.2.extend_from_slice(&chunk);
        Box::pin(async { Ok(()) })
    }

    fn held_bytes(&self) -> usize {
        self.2.len()
    }

    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        let Self(objects, key, bytes) = *self;
        let before = objects.lock().unwrap().insert(key, bytes.freeze());
        assert!(before.is_none(), "a name was used twice");
        Box::pin(async { Ok(Completed::Written) })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

// ---- stages that take note of where they run ----------------------------------------------------

/// What ran on which threads, and a gate that holds the first object back until a record of a later
/// range is being transformed.
#[derive(Default)]
struct Notes {
    transform_threads: Mutex<BTreeSet<String>>,
    encode_threads: Mutex<BTreeSet<String>>,
    /// Highest record number that a transform has seen.
    seen: Mutex<u64>,
    seen_more: Condvar,
    overlapped: Mutex<bool>,
}

fn thread_name() -> String {
    std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned()
}

struct NotingTransform(Arc<Notes>);

impl Transform for NotingTransform {
    fn digest(&self) -> Digest {
        Digest::of(b"noting")
    }

    fn apply(&self, batch: &Records, _overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        self.0
            .transform_threads
            .lock()
            .unwrap()
            .insert(thread_name());
        let last = batch.last_position().map_or(0, |last| last.sequence_u64());
        let mut seen = self.0.seen.lock().unwrap();
        *seen = (*seen).max(last);
        self.0.seen_more.notify_all();
        drop(seen);
        let mut outcomes = OutcomesBuilder::default();
        for i in 0..batch.len() {
            outcomes.output(u32::try_from(i).unwrap(), batch.data(i), &[]);
        }
        Ok(outcomes.build())
    }
}

struct NotingEncode {
    inner: Arc<dyn Encode>,
    notes: Arc<Notes>,
    /// Hold the first object until this record was transformed.
    hold_until: Option<u64>,
}

struct NotingEncoder {
    inner: Box<dyn Encoder>,
    notes: Arc<Notes>,
    hold_until: Option<u64>,
}

impl Encode for NotingEncode {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn extension(&self) -> &str {
        self.inner.extension()
    }

    fn content_encoding(&self) -> Option<&str> {
        self.inner.content_encoding()
    }

    fn prepare(&self, outputs: &[&[u8]]) -> Prepared {
        self.notes
            .encode_threads
            .lock()
            .unwrap()
            .insert(thread_name());
        self.inner.prepare(outputs)
    }

    fn join(&self, pieces: Vec<Piece>) -> Result<Piece, EncodeError> {
        self.notes
            .encode_threads
            .lock()
            .unwrap()
            .insert(thread_name());
        self.inner.join(pieces)
    }

    fn encoder(&self, id: &Digest) -> Box<dyn Encoder> {
        Box::new(NotingEncoder {
            inner: self.inner.encoder(id),
            notes: self.notes.clone(),
            hold_until: self.hold_until,
        })
    }
}

impl Encoder for NotingEncoder {
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.notes
            .encode_threads
            .lock()
            .unwrap()
            .insert(thread_name());
        self.inner.write(piece, chunks)
    }

    fn held_bytes(&self) -> usize {
        self.inner.held_bytes()
    }

    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.notes
            .encode_threads
            .lock()
            .unwrap()
            .insert(thread_name());
        if let Some(record) = self.hold_until {
            // The pool's other thread must get to the next range meanwhile.
            let seen = self.notes.seen.lock().unwrap();
            let limit = Duration::from_secs(20);
            let wait = |seen: &mut u64| *seen < record;
            let (seen, _) = self
                .notes
                .seen_more
                .wait_timeout_while(seen, limit, wait)
                .unwrap();
            *self.notes.overlapped.lock().unwrap() |= *seen >= record;
        }
        self.inner.finish(chunks)
    }
}

// ---- the tests ----------------------------------------------------------------------------------

fn records() -> Records {
    let mut builder = RecordsBuilder::default();
    for i in 1..=2_000_u64 {
        let text = format!(
            r#"{{"n":{i},"text":"{}"}}"#,
            "lorem ipsum ".repeat(1 + usize::try_from(i % 5).unwrap())
        );
        builder.push(
            Position::from_u64(i),
            1_767_225_600_000 + i,
            b"k",
            text.as_bytes(),
        );
    }
    builder.build()
}

async fn deliver(
    threads: usize,
    compression: Compression,
    hold_until: Option<u64>,
) -> (BTreeMap<String, Bytes>, Arc<Notes>) {
    let (notes, sink) = (Arc::new(Notes::default()), MemorySink::default());
    let format = Format::Records {
        delimiter: Delimiter::Newline,
        compression,
    };
    let encode = NotingEncode {
        inner: hydrant_encode::build(format).unwrap(),
        notes: notes.clone(),
        hold_until,
    };
    let plan = Plan {
        version: Digest::of(b"one"),
        read_mode: 0,
        transforms: vec![Arc::new(NotingTransform(notes.clone()))],
        encode: Arc::new(encode),
        sink: Arc::new(sink.clone()),
        error_sink: Arc::new(sink.clone()),
        error_format: Arc::new(FirehoseErrors),
        size_hint_bytes: 20_000,
        partitioning: None,
        micro_batch: MicroBatch {
            records: 50,
            bytes: 1 << 20,
        },
    };
    let status = run(threads, plan, records()).await;
    let totals = status.snapshot().totals;
    assert_eq!((totals.read, totals.delivered), (2_000, 2_000));
    (sink.0.lock().unwrap().clone(), notes)
}

/// Delivers these records under this plan, to the end of the lane.
pub(crate) async fn run(threads: usize, plan: Plan, records: Records) -> Arc<Status> {
    run_within(64 << 20, threads, plan, records).await
}

/// The same with so many bytes of memory.
pub(crate) async fn run_within(
    budget: usize,
    threads: usize,
    plan: Plan,
    records: Records,
) -> Arc<Status> {
    let context = LaneContext {
        key: Arc::new(LaneKey {
            delivery_stream: "test".into(),
            source: "memory-1".into(),
            lane: Lane::new("0"),
        }),
        source: Arc::new(MemorySource(records)),
        state: Arc::new(MemoryStore::default()),
        versions: Arc::new(One(Arc::new(plan))),
        offload: Pool::start("cpu", threads).unwrap(),
        clock: Arc::new(RealClock::default()),
        account: Budget::new(budget).account("test"),
        status: Arc::default(),
        interval: Duration::from_mins(1),
        read_bytes: 1 << 20,
        hooks: Arc::new(NoHooks),
    };
    let (_keep, mut stop) = watch::channel(false);
    assert_eq!(run_lane(&context, &mut stop).await.unwrap(), LaneEnd::Ended);
    assert_eq!(context.account.held(), 0, "all memory is given back");
    context.status
}

struct One(Arc<Plan>);

impl Versions for One {
    fn current(&self) -> Arc<Plan> {
        self.0.clone()
    }

    fn load(&self, _version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        Box::pin(async { Err("there is only one".to_owned()) })
    }
}

#[tokio::test]
async fn one_thread_and_many_give_the_same_names_and_bytes() {
    for compression in [
        Compression::GZIP,
        Compression::Zip,
        Compression::Snappy,
        Compression::ZSTD,
    ] {
        let (one, _) = deliver(1, compression, None).await;
        assert!(one.len() > 3, "{} objects", one.len());
        for _ in 0..3 {
            assert!(
                deliver(4, compression, None).await.0 == one,
                "{compression:?} differs"
            );
        }
    }
}

#[tokio::test]
async fn transform_and_encode_run_on_the_pool() {
    let (_, notes) = deliver(2, Compression::GZIP, None).await;
    for threads in [&notes.transform_threads, &notes.encode_threads] {
        let threads = threads.lock().unwrap();
        assert!(!threads.is_empty());
        assert!(
            threads.iter().all(|name| name.starts_with("cpu-")),
            "{threads:?}"
        );
    }
}

#[tokio::test]
async fn the_next_range_is_worked_on_while_one_is_encoded() {
    // A range holds about 450 records: record 700 belongs to the second.
    let (_, notes) = deliver(2, Compression::GZIP, Some(700)).await;
    assert!(
        *notes.overlapped.lock().unwrap(),
        "the second range waited for the first"
    );
}
