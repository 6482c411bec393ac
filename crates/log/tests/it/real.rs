//! The real disk: the same log on files.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hydrant_core::BoxFuture;
use hydrant_core::disk::Disk;
use hydrant_core::offload::{Job, Offload};
use hydrant_log::inspect::verify;
use hydrant_log::{Env, Error, Log, LogOptions, ProcessAbort, RealDisk};
use hydrant_testkit::inline::{InlineOffload, finish};

use crate::harness::{Hand, entry, put, read_all, small};

/// A thread for each job.
struct Threads;

impl Offload for Threads {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        thread::spawn(job);
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        2
    }
}

fn env(io: Arc<dyn Offload>) -> Env {
    let (disk, abort) = (Arc::new(RealDisk), Arc::new(ProcessAbort));
    Env {
        disk,
        io,
        clock: Arc::new(Hand::default()),
        abort,
    }
}

#[test]
fn a_log_on_files_is_kept_locked_recycled_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/streams/one");
    let options = LogOptions {
        cache_bytes: 0,
        ..small(None)
    };
    let log = Log::open(
        env(Arc::new(InlineOffload)),
        &path,
        [3; 16],
        options.clone(),
    )
    .unwrap();
    let second = Log::open(
        env(Arc::new(InlineOffload)),
        &path,
        [3; 16],
        options.clone(),
    );
    let second = second.err().unwrap();
    assert!(matches!(second, Error::Locked { .. }));
    let text = second.to_string();
    assert!(
        text.starts_with("another hydrant uses ") && text.contains("streams/one"),
        "{text}"
    );
    for i in 0..100_u8 {
        put(&log, u32::from(i % 3), &[i; 200]);
    }
    finish(log.release(50, u64::MAX)).unwrap();
    let oldest = log.oldest_lsn();
    assert!(oldest > 30);
    for i in 100..120_u8 {
        put(&log, u32::from(i % 3), &[i; 200]);
    }
    assert!(
        verify(&RealDisk, &path).unwrap().faults.is_empty(),
        "a live log can be verified"
    );
    drop(log);
    let log = Log::open(env(Arc::new(InlineOffload)), &path, [5; 16], options).unwrap();
    assert_eq!(log.id(), [3; 16]);
    let rows: usize = (0..3)
        .map(|lane| read_all(&log, lane, 1, 1 << 20).len())
        .sum();
    assert_eq!(rows as u64, 121 - oldest);
    let report = verify(&RealDisk, &path).unwrap();
    assert!(report.faults.is_empty() && report.torn_tail.is_none());
    assert_eq!(
        report.lanes.values().map(|lane| lane.records).sum::<u64>(),
        121 - oldest
    );
}

#[test]
fn many_threads_append_and_each_gets_its_own_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(
        env(Arc::new(Threads)),
        dir.path(),
        [3; 16],
        LogOptions {
            low_space_percent: 0,
            low_space_bytes: 0,
            max_queued_bytes: 64 << 10,
            ..LogOptions::default()
        },
    )
    .unwrap();
    let writers: Vec<_> = (0..8_u8)
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || {
                let mut numbers = Vec::new();
                for i in 0..40_u8 {
                    let data = [writer, i];
                    let appended = block_on(log.append(vec![entry(u32::from(writer), &[&data])]));
                    numbers.push(appended.unwrap()[0].first_lsn);
                }
                numbers
            })
        })
        .collect();
    let mut all: Vec<u64> = writers
        .into_iter()
        .flat_map(|w| w.join().unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (1..=320).collect::<Vec<u64>>());
    for writer in 0..8_u8 {
        let rows = read_all(&log, u32::from(writer), 0, 1000);
        let data: Vec<Vec<u8>> = rows.into_iter().map(|row| row.data).collect();
        assert_eq!(data, (0..40).map(|i| vec![writer, i]).collect::<Vec<_>>());
    }
}

/// Polls on this thread, parking in between.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
        thread::park_timeout(Duration::from_secs(10));
    }
}

#[test]
fn files_and_folders_behave_as_the_trait_says() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk;
    let inner = dir.path().join("a/b");
    assert!(disk.list(&inner).unwrap().is_empty());
    disk.create_dir_all(&inner).unwrap();
    disk.create_dir_all(&inner).unwrap();
    let path = inner.join("f");
    let file = disk.create(&path, 8192).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    assert_eq!(
        disk.create(&path, 1).err().unwrap().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        file.read_at(8190, 10).unwrap(),
        [0, 0],
        "short only at the end"
    );
    file.write_at(8190, &[1, 2, 3]).unwrap();
    file.sync().unwrap();
    disk.rename(&path, &inner.join("g")).unwrap();
    disk.sync_dir(&inner).unwrap();
    assert_eq!(disk.list(&inner).unwrap(), ["g"]);
    assert_eq!(
        disk.open(&inner.join("g"))
            .unwrap()
            .read_at(8190, 10)
            .unwrap(),
        [1, 2, 3]
    );
    let space = disk.space(&inner).unwrap();
    assert!(space.total >= space.available && space.available > 0);
    let held = disk.lock(&inner.join("lock")).unwrap();
    assert_eq!(
        disk.lock(&inner.join("lock")).err().unwrap().kind(),
        std::io::ErrorKind::WouldBlock
    );
    drop(held);
    assert!(disk.lock(&inner.join("lock")).is_ok());
    disk.remove(&inner.join("g")).unwrap();
    let full = disk.create(&path, 1 << 60).err().unwrap();
    assert!(
        disk.list(&inner).unwrap() == ["lock"],
        "a file that does not fit leaves nothing: {full}"
    );
}
