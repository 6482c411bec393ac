//! A log on a simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant_core::clock::Clock;
use hydrant_core::offload::Offload;
use hydrant_core::{BoxFuture, Position, Records, RecordsBuilder};
use hydrant_log::{Entry, Env, Error, Log, LogOptions, SyncPoint};
use hydrant_testkit::disk::{SimAbort, SimDisk};
use hydrant_testkit::inline::{SteppedOffload, finish};

/// A clock that moves when told, also back.
#[derive(Clone, Default)]
pub(crate) struct Hand(pub(crate) Arc<AtomicU64>);

impl Clock for Hand {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }

    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// All that a log is given.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) disk: SimDisk,
    pub(crate) io: SteppedOffload,
    pub(crate) clock: Hand,
    pub(crate) abort: SimAbort,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let clock = Hand::default();
        clock.0.store(1000, Ordering::Relaxed);
        let io = SteppedOffload::default();
        Self {
            disk: SimDisk::new(1 << 30),
            io,
            clock,
            abort: SimAbort::default(),
        }
    }

    pub(crate) fn env(&self) -> Env {
        self.env_on(Arc::new(self.io.clone()))
    }

    pub(crate) fn env_on(&self, io: Arc<dyn Offload>) -> Env {
        Env {
            disk: Arc::new(self.disk.clone()),
            io,
            clock: Arc::new(self.clock.clone()),
            abort: Arc::new(self.abort.clone()),
        }
    }

    pub(crate) fn open(&self, options: &LogOptions) -> Result<Log, Error> {
        Log::open(self.env(), &dir(), [9; 16], options.clone())
    }

    /// A log whose jobs run at once.
    pub(crate) fn open_inline(&self, options: &LogOptions) -> Result<Log, Error> {
        let io = Arc::new(hydrant_testkit::inline::InlineOffload);
        Log::open(self.env_on(io), &dir(), [9; 16], options.clone())
    }
}

pub(crate) fn dir() -> PathBuf {
    Path::new("/data/log").to_owned()
}

/// Segments so small that most appends need a new one soon.
pub(crate) fn small(skip_sync: Option<SyncPoint>) -> LogOptions {
    LogOptions {
        first_segment_bytes: 1024,
        max_segment_bytes: 4096,
        max_group_bytes: 2048,
        cache_bytes: 4096,
        low_space_percent: 0,
        low_space_bytes: 0,
        resume_percent: 0,
        skip_sync,
        ..LogOptions::default()
    }
}

pub(crate) fn block(rows: &[(Vec<u8>, Vec<u8>)]) -> Records {
    let mut builder = RecordsBuilder::default();
    for (key, data) in rows {
        builder.push_unplaced(1, key, data);
    }
    builder.build_run(Position::START, 1)
}

/// An entry of records without keys.
pub(crate) fn entry(lane: u32, data: &[&[u8]]) -> Entry {
    let rows: Vec<_> = data
        .iter()
        .map(|data| (Vec::new(), data.to_vec()))
        .collect();
    Entry {
        lane,
        records: block(&rows),
    }
}

/// Appends one record and waits for it.
pub(crate) fn put(log: &Log, lane: u32, data: &[u8]) -> u64 {
    finish(log.append(vec![entry(lane, &[data])])).unwrap()[0].first_lsn
}

/// All records of a lane from `from_lsn` on: LSN, arrival, key, data.
pub(crate) fn read_all(log: &Log, lane: u32, from_lsn: u64, max_bytes: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut next = from_lsn;
    loop {
        let blocks = log.read(lane, next, max_bytes).unwrap();
        if blocks.is_empty() {
            return rows;
        }
        for block in blocks {
            assert!(block.first_lsn >= next && !block.records.is_empty());
            for i in 0..block.records.len() {
                let lsn = block.first_lsn + i as u64;
                assert_eq!(block.records.position(i), Position::from_u64(lsn));
                assert_eq!(block.records.arrival_ms(i), block.arrival_ms);
                let (key, data) = (
                    block.records.key(i).to_vec(),
                    block.records.data(i).to_vec(),
                );
                rows.push(Row {
                    lsn,
                    lane,
                    arrival_ms: block.arrival_ms,
                    key,
                    data,
                });
                next = lsn + 1;
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) lsn: u64,
    pub(crate) lane: u32,
    pub(crate) arrival_ms: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
}
