//! The planted faults, and how soon seeds find each.

use hydrant_core::planted;

use super::campaign;
use super::plan::Plan;
use super::run::run;

/// All planted faults, in the order of a record's way.
pub const PLANTS: [&str; 50] = [
    "acknowledged-before-synced",
    "arrivals-fall",
    "bad-frame-accepted",
    "damage-cut-as-torn",
    "dropped-write-not-overwritten",
    "durable-lsn-ahead",
    "footer-before-next-segment",
    "freed-before-committed",
    "group-not-synced",
    "hole-in-chain-accepted",
    "readable-before-synced",
    "recovered-segment-appended-to",
    "found-name-not-synced",
    "release-not-synced",
    "released-before-snapshot",
    "relogged-data-not-synced",
    "relogged-name-not-synced",
    "segment-header-not-synced",
    "segment-name-not-synced",
    "snapshot-of-what-is-durable",
    "spare-reused-under-its-name",
    "sync-retried",
    "cursor-not-compared",
    "batch-ends-with-its-block",
    "child-before-parent",
    "commit-after-first-object",
    "commit-over-a-hole",
    "commit-over-failed-object",
    "committed-told-early",
    "completed-before-intent",
    "dropped-not-read-again",
    "ended-before-delivered",
    "errors-after-commit",
    "found-intent-ignored",
    "intent-cleared-early",
    "intent-not-awaited",
    "name-reused",
    "no-intent",
    "overruns-not-recorded",
    "parts-in-any-order",
    "parts-share-a-name",
    "redo-cut-by-now",
    "redo-decides-anew",
    "redo-past-its-cut",
    "redo-with-new-time",
    "redo-with-new-version",
    "start-resolved-again",
    "409-means-exists",
    "lease-ignored",
    "no-answer-means-done",
];

/// A fault that takes more seeds than this to be found is a gap in the simulator.
pub const MOST_SEEDS: u64 = 100;

/// How soon a planted fault is found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The fault.
    pub name: &'static str,
    /// Seeds that were run.
    pub seeds: u64,
    /// How many of them found it.
    pub found: u64,
    /// Half of the times it takes so many seeds or fewer; `None` where none found it.
    pub median: Option<u64>,
    /// What the first said of it.
    pub first: Option<String>,
}

/// Runs these seeds with one fault, of one scenario or of all in turn.
pub fn find(name: &'static str, seeds: u64, scenario: Option<&str>, threads: usize) -> Found {
    let all: Vec<u64> = (0..seeds).collect();
    let outcomes = campaign::spread(&all, threads, |seed| {
        let plan = scenario.and_then(|scenario| Plan::draw(scenario, *seed));
        let plan = plan.unwrap_or_else(|| Plan::of_seed(*seed));
        let outcome = campaign::guarded(|| planted::with(name, || run(&plan)));
        let first = outcome.violations.into_iter().next();
        first.map(|violation| format!("{} {seed}: {violation}", plan.scenario))
    });
    let hits: Vec<u64> = (0..)
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_some())
        .map(|(seed, _)| seed)
        .collect();
    // From each start, the seeds up to the next that finds it; the last ones go on at the first.
    let again = hits.first().map(|hit| hit + seeds);
    let mut waits: Vec<u64> = all
        .iter()
        .filter_map(|start| {
            let next = hits.iter().find(|hit| *hit >= start).copied();
            next.or(again).map(|hit| hit - start + 1)
        })
        .collect();
    waits.sort_unstable();
    let median = waits.get(waits.len() / 2).copied();
    Found {
        name,
        seeds,
        found: hits.len() as u64,
        median,
        first: outcomes.into_iter().flatten().next(),
    }
}
