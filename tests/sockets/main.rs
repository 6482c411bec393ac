//! The API server by seed, on a simulated network and disk: clients that are slow, break off, vanish
//! or never read; a network that holds and loses; a disk that is full; a machine that loses power.
//!
//! `HYDRANT_SOCKETS_SEED=N cargo test --workspace --test sockets one_seed -- --nocapture` shows one run.
#![expect(clippy::unwrap_used, reason = "a test may stop at what cannot be")]

mod plan;

mod ledger;

mod world;

mod server;

mod client;

mod good;

mod raw;

mod rude;

mod run;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hydrant_tests::sim::campaign::spread;

use crate::plan::Plan;
use crate::run::{Outcome, run};

const SEEDS: u64 = 300;
/// Runs that are made twice.
const TWICE: u64 = 18;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn guarded(seed: u64) -> Outcome {
    let plan = Plan::of_seed(seed);
    catch_unwind(AssertUnwindSafe(|| run(&plan, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Outcome {
            violations: vec![format!("panic: {}", text.unwrap_or_default())],
            ..Outcome::default()
        }
    })
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_or_doubled_and_nobody_waits_for_others() {
    let seeds: Vec<u64> = (0..number("HYDRANT_SOCKETS_SEEDS").unwrap_or(SEEDS)).collect();
    let outcomes = spread(&seeds, threads(), |seed| guarded(*seed));
    let (mut failed, mut faults, mut acked) = (Vec::new(), BTreeMap::new(), 0);
    for (seed, outcome) in seeds.iter().zip(outcomes) {
        acked += outcome.acked;
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_insert(0) += count;
        }
        if !outcome.violations.is_empty() {
            failed.push(format!(
                "HYDRANT_SOCKETS_SEED={seed}: {:#?}",
                outcome.violations
            ));
        }
    }
    println!(
        "{} seeds, {acked} records acknowledged, {faults:?}",
        seeds.len()
    );
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    // A fault that never takes effect shows nothing.
    for fault in [
        "accept failed",
        "answer not read",
        "answer not taken",
        "answer read slowly",
        "body too long",
        "cut",
        "cut one way",
        "disk full",
        "drip",
        "garbage",
        "half a body",
        "held",
        "idle",
        "pipelined",
        "power lost",
        "put and gone",
        "reset",
        "silent",
        "slow body",
        "slow head",
        "slow second head",
        "stopped",
        "throttled",
        "vanished",
    ] {
        assert!(faults.contains_key(fault), "no run had: {fault}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let seeds: Vec<u64> = (0..TWICE).collect();
    let hashes = |_| spread(&seeds, threads(), |seed| guarded(*seed).hash);
    let [first, again] = [0, 1].map(hashes);
    assert_eq!(first, again);
    let different: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(different.len(), seeds.len());
}

/// Shows one run where a seed is given.
#[test]
fn one_seed() {
    let Some(seed) = number("HYDRANT_SOCKETS_SEED") else {
        return;
    };
    let plan = Plan::of_seed(seed);
    println!("{plan:#?}");
    let outcome = run(&plan, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{:?} {:?}", outcome.hash, outcome.faults);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}
