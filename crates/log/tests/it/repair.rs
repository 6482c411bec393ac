//! A damaged log opens again after a repair: what is lost is exactly what is said, all else is there,
//! and no number is given out twice.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hydrant_core::disk::Disk;
use hydrant_log::inspect::verify;
use hydrant_log::repair::{Lost, Repair, repair};
use hydrant_log::{Content, Error, LogOptions};
use hydrant_testkit::sim::SimRng;

use crate::harness::{Bench, Row, dir, put, read_all, small};

const LANES: u32 = 2;

pub(crate) fn segments(bench: &Bench) -> Vec<PathBuf> {
    let names = bench.disk.list(&dir()).unwrap();
    let segments = names
        .iter()
        .filter(|name| name.strip_suffix(".seg").is_some());
    segments.map(|name| dir().join(name)).collect()
}

pub(crate) fn rows(bench: &Bench, options: &LogOptions) -> Vec<Row> {
    let log = bench.open_inline(options).unwrap();
    let lanes = (0..LANES).flat_map(|lane| read_all(&log, lane, 1, 1 << 20));
    let mut rows: Vec<Row> = lanes.collect();
    rows.sort_by_key(|row| row.lsn);
    rows
}

/// A log of several segments whose every frame is known to be durable, and what is in it.
pub(crate) fn filled(options: &LogOptions) -> (Bench, Vec<Row>) {
    let bench = Bench::new();
    let log = bench.open_inline(options).unwrap();
    for i in 0..60_u8 {
        put(&log, u32::from(i % 2), &vec![i; 90 + usize::from(i)]);
    }
    drop(log);
    drop(bench.open_inline(options).unwrap());
    let all = rows(&bench, options);
    assert_eq!(all.len(), 60);
    assert!(segments(&bench).len() > 4);
    (bench, all)
}

fn mended(bench: &Bench) -> Repair {
    repair(&bench.disk, &dir(), true).unwrap()
}

/// A log whose last frames do not know yet that they are durable.
pub(crate) fn fresh(options: &LogOptions) -> (Bench, Vec<Row>) {
    let bench = Bench::new();
    let log = bench.open_inline(options).unwrap();
    for i in 0..60_u8 {
        put(&log, u32::from(i % 2), &vec![i; 90 + usize::from(i)]);
    }
    drop(log);
    let copy = Bench {
        disk: bench.disk.copy(),
        ..Bench::new()
    };
    let all = rows(&copy, options);
    (bench, all)
}

/// Checks what is left of `before` once `done` was repaired, and that the log goes on.
fn holds(bench: &Bench, options: &LogOptions, before: &[Row], done: &Repair) {
    let after = rows(bench, options);
    let lost = |row: &Row| done.lost.iter().any(|lost| lost.lsns.contains(&row.lsn));
    let expected: Vec<&Row> = before.iter().filter(|row| !lost(row)).collect();
    let first = done.renumbered.map_or(u64::MAX, |(first, _)| first);
    let expected: Vec<&Row> = expected.into_iter().filter(|row| row.lsn < first).collect();
    assert_eq!(after.iter().collect::<Vec<_>>(), expected, "{done:?}");
    let log = bench.open_inline(options).unwrap();
    let next = put(&log, 1, b"next");
    assert!(before.iter().all(|row| row.lsn < next), "{next}: {done:?}");
    assert_eq!(read_all(&log, 1, next, 1 << 20).len(), 1);
    drop(log);
    assert!(verify(&bench.disk, &dir()).unwrap().faults.is_empty());
    assert_eq!(
        repair(&bench.disk, &dir(), true).unwrap(),
        Repair::default()
    );
}

pub(crate) fn refused(bench: &Bench, options: &LogOptions) -> bool {
    matches!(bench.open_inline(options), Err(Error::Corrupt { .. }))
}

#[test]
fn a_good_log_and_a_torn_tail_need_no_repair() {
    let options = small(None);
    let (bench, all) = filled(&options);
    assert_eq!(mended(&bench), Repair::default());
    let log = bench.open_inline(&options).unwrap();
    let locked = repair(&bench.disk, &dir(), false);
    assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
    drop(log);
    assert_eq!(rows(&bench, &options), all);
}

#[test]
fn any_flipped_byte_costs_what_is_said_and_no_more() {
    let options = small(None);
    let (bench, all) = filled(&options);
    let (mut repaired, mut known) = (0, 0);
    for path in segments(&bench) {
        let len = bench.disk.open(&path).unwrap().len().unwrap();
        for offset in (12..usize::try_from(len).unwrap()).step_by(29) {
            let spoiled = Bench {
                disk: bench.disk.copy(),
                ..Bench::new()
            };
            assert!(
                spoiled
                    .disk
                    .flip(&path, offset, u8::try_from(offset % 8).unwrap())
            );
            if !refused(&spoiled, &options) {
                continue;
            }
            repaired += 1;
            let seen = repair(&spoiled.disk, &dir(), false).unwrap();
            assert!(refused(&spoiled, &options), "looking changes nothing");
            let done = mended(&spoiled);
            assert_eq!((&seen.lost, &seen.damaged), (&done.lost, &done.damaged));
            assert_eq!(done.damaged[0].0, path);
            assert_eq!(done.copies.len(), done.damaged.len());
            let lost: u64 = done.lost.iter().map(Lost::records).sum();
            assert!(lost <= 1, "one frame holds one record: {done:?}");
            let row = done.lost.first().and_then(|lost| {
                let here = |row: &&Row| lost.lsns.contains(&row.lsn);
                Some((lost.lane?, all.iter().find(here)?.lane))
            });
            assert!(row.is_none_or(|(said, lane)| said == lane), "{done:?}");
            known += u64::from(row.is_some());
            holds(&spoiled, &options, &all, &done);
        }
    }
    assert!(repaired > 100 && known > 50, "{repaired}, {known}");
}

#[test]
fn a_missing_segment_is_a_gap() {
    let options = small(None);
    let (bench, all) = filled(&options);
    let paths = segments(&bench);
    bench.disk.remove(&paths[2]).unwrap();
    assert!(refused(&bench, &options));
    let done = mended(&bench);
    assert!(
        matches!(&done.lost[..], [one] if one.records() > 0 && one.lane.is_none()),
        "{done:?}"
    );
    assert_eq!(done.renumbered, None);
    holds(&bench, &options, &all, &done);
}

#[test]
fn behind_a_missing_newest_segment_numbers_go_on_far_above() {
    let options = small(None);
    let (bench, all) = filled(&options);
    let newest = segments(&bench).pop().unwrap();
    bench.disk.remove(&newest).unwrap();
    assert!(refused(&bench, &options));
    let done = mended(&bench);
    let (first, next) = done.renumbered.unwrap();
    assert!(
        first <= all.last().unwrap().lsn + 1 && next > first + 1_000_000,
        "{done:?}"
    );
    holds(&bench, &options, &all, &done);
}

#[test]
fn a_newest_segment_of_which_nothing_is_left_is_said_and_its_numbers_are_not_reused() {
    let options = small(None);
    let (bench, all) = fresh(&options);
    let newest = segments(&bench).pop().unwrap();
    bench.disk.remove(&newest).unwrap();
    let zeros = bench.disk.create(&newest, 1024).unwrap();
    zeros.sync().unwrap();
    assert!(refused(&bench, &options));
    let done = mended(&bench);
    assert!(done.renumbered.is_some(), "{done:?}");
    holds(&bench, &options, &all, &done);
}

#[test]
fn good_frames_behind_damage_of_the_newest_segment_are_kept() {
    let options = LogOptions {
        first_segment_bytes: 64 << 10,
        max_segment_bytes: 64 << 10,
        ..small(None)
    };
    let (bench, all) = fresh(&options);
    let newest = segments(&bench).pop().unwrap();
    assert!(bench.disk.flip(&newest, 3000, 1));
    assert!(refused(&bench, &options));
    let done = mended(&bench);
    let lost: u64 = done.lost.iter().map(Lost::records).sum();
    assert_eq!(lost, 1, "{done:?}");
    assert_eq!(done.renumbered.unwrap().0, all.last().unwrap().lsn + 1);
    holds(&bench, &options, &all, &done);
}

#[test]
fn the_state_store_is_left_alone() {
    let bench = Bench::new();
    let options = LogOptions {
        content: Content::State,
        ..small(None)
    };
    let log = bench.open_inline(&options).unwrap();
    put(&log, 0, b"a position");
    drop(log);
    let refused = repair(&bench.disk, &dir(), true);
    assert!(
        matches!(refused, Err(Error::NotRepairable { .. })),
        "{refused:?}"
    );
}

#[test]
fn segments_without_header_keep_their_frames() {
    let options = small(None);
    let (bench, all) = filled(&options);
    for path in segments(&bench) {
        let spoiled = Bench {
            disk: bench.disk.copy(),
            ..Bench::new()
        };
        assert!(spoiled.disk.flip(&path, 40, 3));
        assert!(refused(&spoiled, &options));
        let done = mended(&spoiled);
        assert!(
            done.lost.is_empty() && done.unknown_below.is_none(),
            "{done:?}"
        );
        holds(&spoiled, &options, &all, &done);
    }
}

#[test]
fn a_repair_that_breaks_off_is_made_again() {
    let options = small(None);
    let (bench, all) = filled(&options);
    let paths = segments(&bench);
    for path in &paths[1..3] {
        assert!(bench.disk.flip(path, 200, 1) && bench.disk.flip(path, 40, 2));
    }
    let whole = Bench {
        disk: bench.disk.copy(),
        ..Bench::new()
    };
    let done = mended(&whole);
    let calls = whole.disk.calls();
    assert!(calls > 10, "{calls}");
    let mut broken = BTreeSet::new();
    for calls in 1..=calls {
        for seed in 0..6 {
            let mut tried = Bench {
                disk: bench.disk.copy(),
                ..Bench::new()
            };
            tried.disk.power_off_after(calls);
            if repair(&tried.disk, &dir(), true).is_err() {
                broken.insert(calls);
            }
            tried.disk = tried.disk.crash(&SimRng::new(seed));
            let again = mended(&tried);
            let lost = |of: &Repair| of.lost.iter().map(Lost::records).sum::<u64>();
            assert!(lost(&again) <= lost(&done), "{again:?} {done:?}");
            let expected = Repair {
                damaged: Vec::new(),
                ..done.clone()
            };
            holds(&tried, &options, &all, &expected);
        }
    }
    assert!(broken.len() > 10, "{broken:?}");
}
