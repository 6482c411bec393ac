//! Damage of acknowledged data is refused with its place; a torn tail is cut; what an earlier
//! segment left never comes back.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_core::disk::Disk;
use hydrant_log::inspect::{dump, verify};
use hydrant_log::{Entry, Error, LogOptions, StateLog};
use hydrant_testkit::inline::{InlineOffload, finish};
use hydrant_testkit::sim::SimRng;

use crate::harness::{Bench, block, dir, put, read_all, small};

fn segments(bench: &Bench) -> Vec<PathBuf> {
    let names = bench.disk.list(&dir()).unwrap();
    names
        .into_iter()
        .filter(|name| name.strip_suffix(".seg").is_some())
        .map(|name| dir().join(name))
        .collect()
}

/// A log of several segments, opened anew, so that every frame is known to be durable.
fn filled(options: &LogOptions) -> Bench {
    let bench = Bench::new();
    for round in 0..2_u8 {
        let log = bench.open_inline(options).unwrap();
        for i in 0..20_u8 {
            put(
                &log,
                u32::from(i % 2),
                &vec![i + 100 * round; 90 + usize::from(i)],
            );
        }
    }
    drop(bench.open_inline(options).unwrap());
    bench
}

#[test]
fn any_flipped_byte_of_acknowledged_data_is_refused_or_harmless() {
    let options = small(None);
    let bench = filled(&options);
    let log = bench.open_inline(&options).unwrap();
    let whole: Vec<_> = (0..2)
        .flat_map(|lane| read_all(&log, lane, 1, 1 << 20))
        .collect();
    assert_eq!(whole.len(), 40);
    drop(log);
    assert!(verify(&bench.disk, &dir()).unwrap().faults.is_empty());
    let (mut refused, mut harmless) = (0, 0);
    for path in segments(&bench) {
        let len = bench.disk.open(&path).unwrap().len().unwrap();
        for offset in (0..usize::try_from(len).unwrap()).step_by(3) {
            let bit = u8::try_from(offset % 8).unwrap();
            let spoiled = Bench {
                disk: bench.disk.copy(),
                ..Bench::new()
            };
            assert!(spoiled.disk.flip(&path, offset, bit));
            let report = verify(&spoiled.disk, &dir()).unwrap();
            match spoiled.open_inline(&options) {
                Ok(log) => {
                    harmless += 1;
                    assert!(
                        report.faults.is_empty(),
                        "{path:?} {offset}: {:?}",
                        report.faults
                    );
                    let rows: Vec<_> = (0..2)
                        .flat_map(|lane| read_all(&log, lane, 1, 1 << 20))
                        .collect();
                    assert_eq!(rows, whole, "{} byte {offset}", path.display());
                }
                Err(Error::Corrupt {
                    file, offset: at, ..
                }) => {
                    refused += 1;
                    assert_eq!(file, path);
                    assert!(at <= offset as u64, "{at} is behind {offset}");
                    assert!(
                        !report.faults.is_empty(),
                        "{} byte {offset}",
                        path.display()
                    );
                }
                Err(Error::Version { .. }) => assert!((8..12).contains(&offset)),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused > 1000 && harmless > 100, "{refused} {harmless}");
}

/// Flips a bit of each byte of each segment; gives how often the log was refused. `opens` opens it and
/// says whether all is there.
fn refused(bench: &Bench, opens: impl Fn(&Bench) -> Result<bool, Error>) -> usize {
    let mut refused = 0;
    for path in segments(bench) {
        let len = bench.disk.open(&path).unwrap().len().unwrap();
        for offset in 0..usize::try_from(len).unwrap() {
            let spoiled = Bench {
                disk: bench.disk.copy(),
                ..Bench::new()
            };
            assert!(spoiled.disk.flip(&path, offset, 1));
            match opens(&spoiled) {
                Ok(whole) => assert!(whole, "{} byte {offset}", path.display()),
                Err(Error::Corrupt { .. } | Error::Version { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    refused
}

#[test]
fn damage_to_the_only_frame_is_refused_after_a_start() {
    let bench = Bench::new();
    let options = small(None);
    let row = (b"key".to_vec(), b"data".to_vec());
    let entry = Entry {
        lane: 0,
        records: block(&[row]),
    };
    let log = bench.open_inline(&options).unwrap();
    finish(log.append(vec![entry])).unwrap();
    drop(log);
    // A start makes all of it known to be durable.
    drop(bench.open_inline(&options).unwrap());
    let refused = refused(&bench, |bench| {
        let log = bench.open_inline(&options)?;
        Ok(read_all(&log, 0, 1, 1 << 20).len() == 1)
    });
    assert!(refused > 50, "{refused}");
}

#[test]
fn damage_to_the_only_entry_of_the_state_is_refused_after_a_start() {
    let bench = Bench::new();
    let open = |bench: &Bench| {
        let io = Arc::new(InlineOffload);
        StateLog::open(bench.env_on(io), &dir(), [9; 16], small(None))
    };
    let state = open(&bench).unwrap();
    finish(state.put_entry("kind", "key", Bytes::from_static(b"value"))).unwrap();
    drop(state);
    drop(open(&bench).unwrap());
    let refused = refused(&bench, |bench| Ok(open(bench)?.entries("kind").len() == 1));
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_missing_segment_is_refused() {
    let options = small(None);
    let bench = filled(&options);
    let all = segments(&bench);
    assert!(all.len() > 3);
    bench.disk.remove(&all[1]).unwrap();
    let refused = bench.open_inline(&options).err().unwrap();
    let text = refused.to_string();
    assert!(
        text.contains(all[0].to_str().unwrap()) && text.contains("missing"),
        "{text}"
    );
    assert_eq!(verify(&bench.disk, &dir()).unwrap().faults.len(), 1);
    // The oldest ones may go: that is what a release does.
    bench.disk.remove(&all[0]).unwrap();
    assert!(bench.open_inline(&options).is_ok());
}

#[test]
fn a_missing_newest_segment_is_refused() {
    let options = small(None);
    let bench = Bench::new();
    let log = bench.open_inline(&options).unwrap();
    for i in 0..40_u8 {
        put(&log, 0, &[i; 100]);
    }
    drop(log);
    let newest = segments(&bench).pop().unwrap();
    assert!(segments(&bench).len() > 2);
    bench.disk.remove(&newest).unwrap();
    let refused = bench.open_inline(&options).err().unwrap().to_string();
    assert!(
        refused.contains(newest.to_str().unwrap()) && refused.contains("missing"),
        "{refused}"
    );
    let faults = verify(&bench.disk, &dir()).unwrap().faults;
    assert!(faults.len() == 1 && faults[0].file == newest, "{faults:?}");
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let options = LogOptions {
        first_segment_bytes: 4096,
        ..small(None)
    };
    let mut torn = 0;
    for seed in 0..100 {
        let bench = Bench::new();
        let log = bench.open_inline(&options).unwrap();
        put(&log, 0, b"acknowledged");
        bench.disk.power_off_after(1);
        let lost = finish(log.append(vec![crate::harness::entry(0, &[&[7; 3000]])]));
        assert!(matches!(lost, Err(Error::Failed)));
        assert_eq!(bench.abort.reasons().len(), 1);
        assert_eq!(log.end_lsn(), 2, "what was not synced is not readable");
        assert!(matches!(finish(log.append(vec![])), Ok(none) if none.is_empty()));
        let again = finish(log.append(vec![crate::harness::entry(0, &[b"x"])]));
        assert!(matches!(again, Err(Error::Failed)) && log.has_failed());
        let after = Bench {
            disk: bench.disk.crash(&SimRng::new(seed)),
            ..Bench::new()
        };
        let report = verify(&after.disk, &dir()).unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        torn += usize::from(report.torn_tail.is_some());
        let log = after.open_inline(&options).unwrap();
        let rows = read_all(&log, 0, 1, 1 << 20);
        assert_eq!(rows[0].data, b"acknowledged");
        assert!(report.torn_tail.is_none() || rows.len() == 1);
        assert_eq!(put(&log, 0, b"next"), rows.len() as u64 + 1);
        assert!(verify(&after.disk, &dir()).unwrap().torn_tail.is_none());
    }
    assert!(torn > 5, "{torn}");
}

#[test]
fn a_sync_that_fails_once_ends_the_process_for_good() {
    let options = small(None);
    let bench = Bench::new();
    let log = bench.open_inline(&options).unwrap();
    put(&log, 0, b"one");
    bench.disk.fail_next_sync();
    for _ in 0..2 {
        let refused = finish(log.append(vec![crate::harness::entry(0, &[b"two"])]));
        assert!(matches!(refused, Err(Error::Failed)));
    }
    assert_eq!(
        bench.abort.reasons().len(),
        1,
        "{:?}",
        bench.abort.reasons()
    );
    assert_eq!(log.end_lsn(), 2);
}

#[test]
fn a_reused_segment_never_gives_old_bytes_back() {
    let options = LogOptions {
        max_segment_bytes: 1024,
        ..small(None)
    };
    for seed in 0..100 {
        let rng = SimRng::new(seed);
        let bench = Bench::new();
        let log = bench.open_inline(&options).unwrap();
        // Old records of the very sizes that come later, so that old frames stand where new ones
        // are expected.
        let mut count = 0;
        for i in 0..rng.between(20, 60) {
            put(&log, 0, &[u8::try_from(i).unwrap(); 80]);
            count = i + 1;
            finish(log.release(count, u64::MAX)).unwrap();
        }
        let names = bench.disk.list(&dir()).unwrap();
        assert!(
            names.iter().any(|name| name.starts_with("spare-")),
            "{names:?}"
        );
        drop(log);
        let after = if rng.chance(50) {
            bench.disk.crash(&rng)
        } else {
            bench.disk.copy()
        };
        let after = Bench {
            disk: after,
            ..Bench::new()
        };
        let log = after.open_inline(&options).unwrap();
        assert_eq!(log.end_lsn(), count + 1);
        for row in read_all(&log, 0, 1, 1 << 20) {
            assert_eq!(row.data, [u8::try_from(row.lsn - 1).unwrap(); 80]);
        }
        let mut frames = 0;
        dump(&after.disk, &dir(), &mut |_| frames += 1).unwrap();
        assert!(frames > 0);
    }
}

#[test]
fn two_logs_do_not_mix() {
    let options = small(None);
    let (bench, other) = (filled(&options), Bench::new());
    let log = hydrant_log::Log::open(
        other.env_on(std::sync::Arc::new(hydrant_testkit::inline::InlineOffload)),
        &dir(),
        [1; 16],
        options.clone(),
    )
    .unwrap();
    put(&log, 0, b"x");
    drop(log);
    let foreign = other
        .disk
        .open(&segments(&other)[0])
        .unwrap()
        .read_at(0, 1024)
        .unwrap();
    let path = dir().join("00000000000000000000.seg");
    bench
        .disk
        .create(&path, 1024)
        .unwrap()
        .write_at(0, &foreign)
        .unwrap();
    assert!(matches!(
        bench.open_inline(&options),
        Err(Error::Corrupt { .. })
    ));
}
