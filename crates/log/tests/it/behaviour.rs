//! What a caller sees: numbers, groups, waiting, back-pressure, space.

use std::sync::atomic::Ordering;
use std::task::Poll;

use hydrant_core::BoxFuture;
use hydrant_core::offload::{Job, Offload};
use hydrant_log::{Appended, Entry, Error, LogOptions};
use hydrant_testkit::inline::{finish, poll_once};

use crate::harness::{Bench, block, dir, entry, put, read_all, small};

#[test]
fn lsns_are_dense_and_a_read_slices_the_first_frame() {
    let bench = Bench::new();
    let log = bench
        .open_inline(&LogOptions {
            cache_bytes: 0,
            ..small(None)
        })
        .unwrap();
    let appended = finish(log.append(vec![
        entry(0, &[b"a", b"b", b"c"]),
        entry(1, &[b"d"]),
        entry(0, &[b"e"]),
    ]));
    let appended: Vec<u64> = appended.unwrap().iter().map(|one| one.first_lsn).collect();
    assert_eq!(appended, [1, 4, 5]);
    assert_eq!((log.end_lsn(), log.oldest_lsn()), (6, 1));
    assert_eq!(
        (log.lane_end(0), log.lane_end(1), log.lane_end(2)),
        (6, 5, 0)
    );
    let blocks = log.read(0, 2, 0).unwrap();
    assert_eq!(
        (blocks.len(), blocks[0].first_lsn, blocks[0].records.len()),
        (1, 2, 2)
    );
    assert_eq!(blocks[0].records.data(0), b"b");
    let all: Vec<u64> = read_all(&log, 0, 0, 1 << 20)
        .iter()
        .map(|row| row.lsn)
        .collect();
    assert_eq!(all, [1, 2, 3, 5]);
    assert!(log.read(0, 6, 1 << 20).unwrap().is_empty() && log.read(7, 0, 10).unwrap().is_empty());
}

#[test]
fn what_waits_during_a_sync_shares_the_next_one_and_small_puts_share_a_frame() {
    let bench = Bench::new();
    let options = LogOptions {
        first_segment_bytes: 1 << 20,
        max_group_bytes: 1 << 20,
        ..small(None)
    };
    let log = bench.open(&options).unwrap();
    let before = bench.disk.syncs();
    let mut appends: Vec<_> = (0..50_u8)
        .map(|i| {
            let (log, data) = (log.clone(), [i; 20]);
            Box::pin(async move { log.append(vec![entry(0, &[&data])]).await })
        })
        .collect();
    for append in &mut appends {
        assert!(poll_once(append.as_mut()).is_pending());
    }
    assert_eq!(
        (log.end_lsn(), log.lane_end(0)),
        (1, 0),
        "nothing is readable before its sync"
    );
    assert!(bench.io.step());
    for (i, append) in (1..).zip(&mut appends) {
        let Poll::Ready(Ok(appended)) = poll_once(append.as_mut()) else {
            panic!("not answered")
        };
        assert_eq!(
            appended,
            [Appended {
                first_lsn: i,
                arrival_ms: 1000
            }]
        );
    }
    assert_eq!(bench.disk.syncs() - before, 1);
    assert_eq!(log.read(0, 1, 1 << 20).unwrap().len(), 1);
    assert!(!bench.io.step(), "one job served all");
}

#[test]
fn arrivals_never_fall_not_even_over_a_restart() {
    let bench = Bench::new();
    let options = small(None);
    let mut log = bench.open_inline(&options).unwrap();
    for (now_ms, arrival_ms) in [(1000, 1000), (900, 1000), (1500, 1500), (0, 1500)] {
        bench.clock.0.store(now_ms, Ordering::Relaxed);
        let appended = finish(log.append(vec![entry(0, &[b"x"])])).unwrap();
        assert_eq!(appended[0].arrival_ms, arrival_ms);
        drop(log);
        log = bench.open_inline(&options).unwrap();
    }
    assert_eq!(log.first_lsn_at(0, 0), Some(1));
    assert_eq!(log.first_lsn_at(0, 1001), Some(3));
    assert_eq!(log.first_lsn_at(0, 1501), None);
    assert_eq!(log.first_lsn_at(1, 0), None);
}

#[test]
fn a_waiting_reader_wakes_with_its_lane() {
    let bench = Bench::new();
    let log = bench.open_inline(&small(None)).unwrap();
    let mut waits = Box::pin(log.wait(1, 0));
    assert!(poll_once(waits.as_mut()).is_pending());
    put(&log, 0, b"other lane");
    assert!(poll_once(waits.as_mut()).is_pending());
    let lsn = put(&log, 1, b"mine");
    assert!(poll_once(waits.as_mut()).is_ready());
    assert!(poll_once(Box::pin(log.wait(1, lsn)).as_mut()).is_ready());
    assert!(poll_once(Box::pin(log.wait(1, lsn + 1)).as_mut()).is_pending());
}

#[test]
fn a_leader_that_goes_leaves_the_lead_to_another() {
    let bench = Bench::new();
    let log = bench.open(&small(None)).unwrap();
    let append = |data: &'static [u8]| {
        let log = log.clone();
        Box::pin(async move { log.append(vec![entry(0, &[data])]).await })
    };
    let (mut first, mut second) = (append(b"1"), append(b"2"));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    bench.io.abandon();
    drop(first);
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(bench.io.step(), "the second one leads now");
    assert!(poll_once(second.as_mut()).is_ready());
    // What was queued is appended although nobody asks any more.
    assert_eq!(read_all(&log, 0, 1, 1 << 20).len(), 2);
}

/// A pool that was closed: it takes no job.
struct Closed;

impl Offload for Closed {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        drop(job);
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        1
    }
}

#[test]
fn a_closed_pool_refuses_instead_of_spinning() {
    let bench = Bench::new();
    let io = std::sync::Arc::new(Closed);
    let log = hydrant_log::Log::open(bench.env_on(io), &dir(), [1; 16], small(None)).unwrap();
    let refused = finish(log.append(vec![entry(0, &[b"x"])]));
    assert!(matches!(refused, Err(Error::Failed)));
    assert_eq!(log.end_lsn(), 1);
}

#[test]
fn a_full_queue_makes_appends_wait() {
    let bench = Bench::new();
    let log = bench
        .open(&LogOptions {
            max_queued_bytes: 1000,
            ..small(None)
        })
        .unwrap();
    let append = || {
        let log = log.clone();
        Box::pin(async move { log.append(vec![entry(0, &[&[1; 700]])]).await })
    };
    let (mut first, mut second) = (append(), append());
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    assert!(bench.io.step());
    assert!(poll_once(first.as_mut()).is_ready());
    assert_eq!(log.end_lsn(), 2, "the second one was not queued");
    assert!(poll_once(second.as_mut()).is_pending() && bench.io.step());
    assert!(poll_once(second.as_mut()).is_ready());
}

#[test]
fn release_frees_whole_sealed_segments_by_lsn_and_time() {
    let bench = Bench::new();
    let options = LogOptions {
        max_segment_bytes: 1024,
        max_spare_segments: 1,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    for i in 0..40_u64 {
        bench.clock.0.store(1000 + i, Ordering::Relaxed);
        put(&log, 0, &[0; 100]);
    }
    let full = log.bytes_on_disk();
    assert_eq!(finish(log.release(41, 1000)).unwrap(), 0, "too young");
    assert_eq!(finish(log.release(1, u64::MAX)).unwrap(), 0, "still needed");
    let freed = finish(log.release(20, u64::MAX)).unwrap();
    assert!(
        freed > 0 && (2..=20).contains(&log.oldest_lsn()),
        "{}",
        log.oldest_lsn()
    );
    assert_eq!(
        log.bytes_on_disk(),
        full - freed + 1024,
        "one is kept for reuse"
    );
    assert_eq!(read_all(&log, 0, 0, 500)[0].lsn, log.oldest_lsn());
    finish(log.release(u64::MAX, u64::MAX)).unwrap();
    assert!(log.oldest_lsn() <= 41 && log.end_lsn() == 41);
    let kept = read_all(&log, 0, 0, 1 << 20);
    assert_eq!(
        kept.len() as u64,
        41 - log.oldest_lsn(),
        "the active segment stays"
    );
    let files = bench.disk.calls();
    for _ in 0..8 {
        put(&log, 0, &[0; 100]);
    }
    let names = hydrant_core::disk::Disk::list(&bench.disk, &dir()).unwrap();
    assert!(
        !names.iter().any(|name| name.starts_with("spare-")),
        "used again: {names:?}"
    );
    assert!(bench.disk.calls() > files);
}

#[test]
fn a_lane_whose_records_are_all_released_has_no_end() {
    let bench = Bench::new();
    let options = small(None);
    let log = bench.open_inline(&options).unwrap();
    let idle = put(&log, 1, b"idle");
    for i in 0..60_u8 {
        put(&log, 0, &[i; 100]);
    }
    assert_eq!(log.lane_end(1), idle + 1);
    finish(log.release(40, u64::MAX)).unwrap();
    assert!(log.oldest_lsn() > idle && log.read(1, 1, 1 << 20).unwrap().is_empty());
    assert_eq!((log.lane_end(0), log.lane_end(1)), (62, 0));
    assert!(poll_once(Box::pin(log.wait(1, idle)).as_mut()).is_pending());
    drop(log);
    let log = bench.open_inline(&options).unwrap();
    assert_eq!(
        (log.lane_end(0), log.lane_end(1)),
        (62, 0),
        "as found again"
    );
    assert_eq!(put(&log, 1, b"again") + 1, log.lane_end(1));
}

#[test]
fn a_segment_that_cannot_be_released_stays_readable() {
    let bench = Bench::new();
    let options = LogOptions {
        max_spare_segments: 0,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    let idle = put(&log, 1, b"idle");
    for i in 0..60_u8 {
        put(&log, 0, &[i; 100]);
    }
    let oldest = dir().join("00000000000000000001.seg");
    hydrant_core::disk::Disk::remove(&bench.disk, &oldest).unwrap();
    assert!(matches!(
        finish(log.release(40, u64::MAX)),
        Err(Error::Io { .. })
    ));
    assert_eq!((log.oldest_lsn(), log.lane_end(1)), (1, idle + 1));
}

#[test]
fn a_spare_that_cannot_be_removed_is_forgotten() {
    let bench = Bench::new();
    let options = LogOptions {
        max_segment_bytes: 1024,
        max_spare_segments: 1,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    for i in 0..40_u8 {
        put(&log, 0, &[i; 100]);
    }
    finish(log.release(8, u64::MAX)).unwrap();
    let names = hydrant_core::disk::Disk::list(&bench.disk, &dir()).unwrap();
    let spare = names
        .iter()
        .find(|name| name.starts_with("spare-"))
        .unwrap();
    hydrant_core::disk::Disk::remove(&bench.disk, &dir().join(spare)).unwrap();
    let before = log.oldest_lsn();
    assert!(finish(log.release(30, u64::MAX)).unwrap() > 0);
    let oldest = log.oldest_lsn();
    assert!(oldest > before);
    let kept: Vec<u64> = read_all(&log, 0, 0, 500)
        .iter()
        .map(|row| row.lsn)
        .collect();
    assert!(kept.into_iter().eq(oldest..41));
    drop(log);
    assert_eq!(bench.open_inline(&options).unwrap().oldest_lsn(), oldest);
}

#[test]
fn a_released_segment_under_a_reader_is_looked_up_anew() {
    let bench = Bench::new();
    let options = LogOptions {
        max_segment_bytes: 1024,
        cache_bytes: 0,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    for i in 0..30_u8 {
        put(&log, 0, &[i; 100]);
    }
    finish(log.release(15, u64::MAX)).unwrap();
    for i in 30..60_u8 {
        put(&log, 0, &[i; 100]);
    }
    for row in read_all(&log, 0, 1, 300) {
        assert_eq!(row.data, [u8::try_from(row.lsn - 1).unwrap(); 100]);
    }
}

#[test]
fn a_nearly_full_disk_refuses_data_until_there_is_room_again() {
    let bench = Bench::new();
    bench.disk.set_capacity(20 << 10);
    let options = LogOptions {
        max_segment_bytes: 1024,
        max_spare_segments: 0,
        low_space_percent: 10,
        resume_percent: 15,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    let append = || finish(log.append(vec![entry(0, &[&[0; 300]])]));
    let mut taken = 0;
    let refused = loop {
        match append() {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, Error::LowSpace) && log.low_space() && taken > 10,
        "{taken} {refused}"
    );
    assert!(bench.abort.reasons().is_empty());
    assert_eq!(
        read_all(&log, 0, 1, 1 << 20).len(),
        taken,
        "draining goes on"
    );
    assert!(matches!(append(), Err(Error::LowSpace)));
    finish(log.release(3, u64::MAX)).unwrap();
    assert!(log.low_space(), "resumes only with 15 percent free");
    finish(log.release(9, u64::MAX)).unwrap();
    assert!(!log.low_space());
    let next = append().unwrap()[0].first_lsn;
    assert_eq!(next, taken as u64 + 1, "refused records got no numbers");
}

#[test]
fn a_disk_that_fills_up_at_an_allocation_loses_nothing() {
    let bench = Bench::new();
    bench.disk.set_capacity(5 << 10);
    let options = LogOptions {
        max_segment_bytes: 1024,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    let append = || finish(log.append(vec![entry(0, &[&[0; 300]])]));
    let taken = (0..20).take_while(|_| append().is_ok()).count();
    assert!(taken > 5 && log.low_space(), "{taken} {}", log.low_space());
    bench.disk.set_capacity(1 << 20);
    assert!(append().is_err(), "looked at once a second at most");
    bench.clock.0.fetch_add(1000, Ordering::Relaxed);
    assert_eq!(append().unwrap()[0].first_lsn, taken as u64 + 1);
    assert_eq!(read_all(&log, 0, 1, 1 << 20).len(), taken + 1);
}

#[test]
fn an_append_that_no_segment_holds_is_refused_by_name() {
    let bench = Bench::new();
    let log = bench.open_inline(&small(None)).unwrap();
    let refused = finish(log.append(vec![entry(0, &[&[0; 5000]])])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "an append of 5120 bytes is over the log's limit of 3968"
    );
    put(&log, 0, &[0; 3900]);
    let empty = Entry {
        lane: 0,
        records: block(&[]),
    };
    assert_eq!(finish(log.append(vec![empty])).unwrap()[0].first_lsn, 2);
    assert_eq!(log.end_lsn(), 2);
}

#[test]
fn the_id_is_the_first_ones_and_stays() {
    let bench = Bench::new();
    let log = bench.open_inline(&small(None)).unwrap();
    assert_eq!(log.id(), [9; 16]);
    assert!(matches!(
        bench.open_inline(&small(None)),
        Err(Error::Locked { .. })
    ));
    drop(log);
    let io = std::sync::Arc::new(hydrant_testkit::inline::InlineOffload);
    let log = hydrant_log::Log::open(bench.env_on(io), &dir(), [8; 16], small(None)).unwrap();
    assert_eq!(log.id(), [9; 16]);
}
