//! A recovery that is killed at any step, so that what it did is in the page cache alone, and after it
//! one that the power is lost in, at any step.

use hydrant_log::{LogOptions, SyncPoint};
use hydrant_testkit::disk::SimDisk;
use hydrant_testkit::sim::{SimRng, World};

use crate::harness::{Bench, put, read_all, small};

/// More steps than a recovery has.
const STEPS: u64 = 24;
const SEEDS: u64 = 6;

#[test]
fn a_killed_recovery_and_a_lost_one_lose_nothing() {
    twice(None).unwrap();
}

/// Goes through all pairs of steps; gives what was broken.
pub(crate) fn twice(skip_sync: Option<SyncPoint>) -> Result<(), String> {
    let options = small(skip_sync);
    for (first, second) in (1..STEPS).flat_map(|first| (1..STEPS).map(move |one| (first, one))) {
        for seed in 0..SEEDS {
            live(&options, seed, first, second)
                .map_err(|what| format!("steps {first} and {second}, seed {seed}: {what}"))?;
        }
    }
    Ok(())
}

fn live(options: &LogOptions, seed: u64, first: u64, second: u64) -> Result<(), String> {
    let world = World::new(seed);
    let mut bench = Bench {
        disk: SimDisk::in_world(&world, 1 << 30),
        ..Bench::new()
    };
    let log = bench.open_inline(options).unwrap();
    // One segment, or several: the seeds differ.
    for i in 0..=u8::try_from(4 * seed).unwrap() {
        put(&log, 0, &[i; 90]);
    }
    let rows = read_all(&log, 0, 1, 1 << 20);
    drop(log);
    world.halt_after(first);
    drop(bench.open_inline(options));
    world.go_on();
    world.halt_after(second);
    drop(bench.open_inline(options));
    bench.disk = bench.disk.crash(&SimRng::new(seed));
    world.go_on();
    let opened = bench.open_inline(options);
    let log = opened.map_err(|error| error.to_string())?;
    let found = read_all(&log, 0, 1, 1 << 20);
    if found == rows {
        return Ok(());
    }
    Err(format!(
        "{} of {} records are left",
        found.len(),
        rows.len()
    ))
}
