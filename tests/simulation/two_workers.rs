//! Two workers that steal one lane from each other and crash at random, under different versions
//! of the transform: with intents nothing is ever lost or doubled; with a planted fault it shows.
//!
//! `cargo test -p hydrant-tests --test simulation -- two_workers` prints the numbers.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_pipeline::lane::{Hooks, NoHooks};

use crate::model::{Model, VARIANTS};

const CLEAN_SEEDS: u64 = 5_000;
const PLANTED_SEEDS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Objects become visible without an intent.
    NoIntent,
    /// A found intent is not redone; the range is cut anew.
    Recut,
    /// No intent, and whatever is found under a name is taken for the same.
    Adopt,
}

struct Planted(Fault);

impl Hooks for Planted {
    fn reached(&self, _point: &'static str) {}

    fn skip_intent(&self) -> bool {
        matches!(self.0, Fault::NoIntent | Fault::Adopt)
    }

    fn recut(&self) -> bool {
        self.0 == Fault::Recut
    }
}

/// Runs one seed. Gives the violations, the crashes and the steals.
fn run(seed: u64, fault: Fault) -> (Vec<String>, u64, u64) {
    let hooks: Arc<dyn Hooks> = match fault {
        Fault::None => Arc::new(NoHooks),
        fault => Arc::new(Planted(fault)),
    };
    let mut model = Model::new(seed, hooks);
    model.sink.adopt = fault == Fault::Adopt;
    model.faults(20);
    let rng = model.world.rng.clone();
    let (mut workers, mut crashes, mut steals) = (Vec::new(), 0, 0);
    for _ in 0..rng.between(8, 16) {
        if rng.chance(50) {
            for worker in workers.drain(..) {
                crashes += u64::from(model.world.kill(worker));
            }
        } else if workers.iter().any(|worker| model.world.lives(*worker)) {
            steals += 1;
        }
        let variant = VARIANTS[usize::try_from(rng.below(2)).unwrap()];
        workers.push(model.start_worker(variant));
        let pause = Duration::from_millis(rng.between(20, 900));
        model.world.run_until(model.world.monotonic() + pause);
    }
    model.faults(0);
    workers.push(model.start_worker("B"));
    let end = model.world.monotonic() + Duration::from_secs(40);
    while !model.is_done() && model.world.monotonic() < end {
        model
            .world
            .run_until(model.world.monotonic() + Duration::from_secs(1));
    }
    // Puts that were given up and land late.
    model
        .world
        .run_until(model.world.monotonic() + Duration::from_secs(4));
    (model.violations(), crashes, steals)
}

fn broken(fault: Fault, seeds: u64) -> u64 {
    let (mut broken, mut crashes, mut steals, mut first) = (0, 0, 0, None);
    for seed in 0..seeds {
        let (violations, kills, stolen) = run(seed, fault);
        crashes += kills;
        steals += stolen;
        if !violations.is_empty() {
            broken += 1;
            first.get_or_insert((seed, violations));
        }
    }
    let line = format!(
        "two workers, fault {fault:?}: {broken} of {seeds} seeds broken, {crashes} crashes, {steals} steals\n"
    );
    // Straight to stderr, so that the numbers are seen without --nocapture.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let (Fault::None, Some((seed, violations))) = (fault, first) {
        panic!("seed {seed}: {violations:#?}");
    }
    broken
}

#[test]
fn two_workers_lose_and_double_nothing() {
    assert_eq!(broken(Fault::None, CLEAN_SEEDS), 0);
}

#[test]
fn two_workers_without_intent_are_found_out() {
    assert!(broken(Fault::NoIntent, PLANTED_SEEDS) >= PLANTED_SEEDS * 9 / 10);
}

#[test]
fn two_workers_that_cut_anew_are_found_out() {
    assert!(broken(Fault::Recut, PLANTED_SEEDS) >= PLANTED_SEEDS * 9 / 10);
}

#[test]
fn two_workers_that_adopt_what_they_find_are_found_out() {
    assert!(broken(Fault::Adopt, PLANTED_SEEDS) >= PLANTED_SEEDS * 9 / 10);
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..20 {
        let objects = |seed| {
            let model = Model::new(seed, Arc::new(NoHooks));
            model.faults(10);
            model.start_worker("A");
            model.world.run_until(Duration::from_mins(2));
            (model.sink.objects(), model.world.monotonic())
        };
        assert_eq!(objects(seed), objects(seed), "seed {seed}");
    }
}
