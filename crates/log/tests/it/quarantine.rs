//! A damaged log that may be opened without what is damaged: exactly that is lost, and said, and copied
//! aside; all else is there, the next start is a clean one, and a crash on the way costs nothing more.

use hydrant_core::disk::Disk as _;
use hydrant_log::inspect::verify;
use hydrant_log::repair::{Lost, Repair};
use hydrant_log::{Content, Error, LogOptions, OnCorruption};
use hydrant_testkit::sim::SimRng;

use crate::harness::{Bench, Row, dir, put, read_all, small};
use crate::repair::{filled, fresh, refused, segments};

fn quarantine() -> LogOptions {
    LogOptions {
        on_corruption: OnCorruption::Quarantine,
        ..small(None)
    }
}

fn spoiled(bench: &Bench) -> Bench {
    Bench {
        disk: bench.disk.copy(),
        ..Bench::new()
    }
}

/// Opens the log, and checks that of `before` exactly what it says is gone. Gives what it says.
fn opens_without(bench: &Bench, before: &[Row]) -> Repair {
    let log = bench.open_inline(&quarantine()).unwrap();
    let said = log.repaired().clone();
    let end = said.renumbered.map_or(u64::MAX, |(from, _)| from);
    let lost = |row: &&Row| !said.lost.iter().any(|lost| lost.lsns.contains(&row.lsn));
    let expected: Vec<Row> = before.iter().filter(lost).cloned().collect();
    let expected: Vec<Row> = expected.into_iter().filter(|row| row.lsn < end).collect();
    let mut found: Vec<Row> = (0..2)
        .flat_map(|lane| read_all(&log, lane, 1, 1 << 20))
        .collect();
    found.sort_by_key(|row| row.lsn);
    assert_eq!(found, expected, "{said:?}");
    let next = put(&log, 1, b"next");
    assert!(before.iter().all(|row| row.lsn < next), "{next}: {said:?}");
    assert_eq!(read_all(&log, 1, next, 1 << 20).len(), 1);
    drop(log);
    assert!(verify(&bench.disk, &dir()).unwrap().faults.is_empty());
    let again = bench.open_inline(&quarantine()).unwrap();
    assert_eq!(
        again.repaired(),
        &Repair::default(),
        "the next start is clean"
    );
    assert_eq!(read_all(&again, 1, next, 1 << 20).len(), 1);
    said
}

#[test]
fn any_flipped_byte_costs_what_is_said_and_no_more() {
    let (mut opened, mut known) = (0, 0);
    for (bench, all) in [filled(&quarantine()), fresh(&quarantine())] {
        for path in segments(&bench) {
            let len = bench.disk.open(&path).unwrap().len().unwrap();
            for offset in (12..usize::try_from(len).unwrap()).step_by(61) {
                let spoiled = spoiled(&bench);
                let bit = u8::try_from(offset % 8).unwrap();
                assert!(spoiled.disk.flip(&path, offset, bit));
                if !refused(&spoiled, &small(None)) {
                    continue;
                }
                let said = opens_without(&spoiled, &all);
                assert!(
                    said.damaged.iter().any(|(file, _)| *file == path),
                    "{said:?}"
                );
                assert_eq!(said.copies.len(), said.damaged.len());
                for copy in &said.copies {
                    let bytes = spoiled
                        .disk
                        .open(copy)
                        .unwrap()
                        .read_at(0, 1 << 20)
                        .unwrap();
                    assert!(bytes.iter().any(|byte| *byte != 0), "{}", copy.display());
                }
                assert!(
                    said.lost.iter().map(Lost::records).sum::<u64>() <= 1,
                    "{said:?}"
                );
                opened += 1;
                known += said.lost.iter().filter(|lost| lost.lane.is_some()).count();
            }
        }
    }
    assert!(opened > 60 && known > 30, "{opened}, {known}");
}

#[test]
fn a_missing_segment_is_a_gap() {
    let (bench, all) = filled(&quarantine());
    bench.disk.remove(&segments(&bench)[2]).unwrap();
    let said = opens_without(&bench, &all);
    assert!(said.lost[0].records() > 1, "{said:?}");
}

#[test]
fn the_state_store_is_refused_all_the_same() {
    let options = LogOptions {
        content: Content::State,
        ..quarantine()
    };
    let bench = Bench::new();
    let log = bench.open_inline(&options).unwrap();
    for i in 0..20 {
        put(&log, 0, &[i; 90]);
    }
    drop(log);
    drop(bench.open_inline(&options).unwrap());
    assert!(bench.disk.flip(&segments(&bench)[0], 200, 1));
    assert!(refused(&bench, &options));
    assert!(
        bench
            .disk
            .list(&dir().with_file_name("log.quarantine"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn files_of_two_logs_are_refused_all_the_same() {
    let (bench, _) = filled(&quarantine());
    let bytes = bench.disk.open(&segments(&bench)[1]).unwrap();
    let bytes = bytes.read_at(0, 1 << 20).unwrap();
    let other = Bench::new();
    let io = std::sync::Arc::new(hydrant_testkit::inline::InlineOffload);
    let log = hydrant_log::Log::open(other.env_on(io), &dir(), [8; 16], quarantine()).unwrap();
    put(&log, 0, b"of another");
    drop(log);
    let path = &segments(&bench)[1];
    other.disk.remove(path).ok();
    let file = other.disk.create(path, bytes.len() as u64).unwrap();
    file.write_at(0, &bytes).unwrap();
    drop(file);
    let opened = other.open_inline(&quarantine());
    assert!(matches!(opened, Err(Error::Corrupt { .. })));
}

#[test]
fn a_start_that_breaks_off_is_made_again() {
    let (bench, all) = filled(&quarantine());
    for path in &segments(&bench)[1..3] {
        assert!(bench.disk.flip(path, 200, 1) && bench.disk.flip(path, 40, 2));
    }
    let whole = spoiled(&bench);
    drop(whole.open_inline(&quarantine()).unwrap());
    let calls = whole.disk.calls();
    assert!(calls > 15, "{calls}");
    let most: u64 = {
        let said = opens_without(&spoiled(&bench), &all);
        said.lost.iter().map(Lost::records).sum()
    };
    let mut broke = 0;
    for calls in 1..=calls {
        for seed in 0..4 {
            let mut tried = spoiled(&bench);
            tried.disk.power_off_after(calls);
            broke += u64::from(tried.open_inline(&quarantine()).is_err());
            tried.disk = tried.disk.crash(&SimRng::new(seed));
            let log = tried.open_inline(&quarantine()).unwrap();
            let found: usize = (0..2)
                .map(|lane| read_all(&log, lane, 1, 1 << 20).len())
                .sum();
            assert_eq!(found as u64 + most, all.len() as u64, "after {calls} steps");
        }
    }
    assert!(broke > 40, "{broke}");
}
