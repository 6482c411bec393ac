//! The whole pipeline by seed, through every scenario: real log, streams, source and pipeline on a
//! disk that crashes. `cargo xtask sim` runs more of it.

use hydrant_tests::sim::{Plan, SCENARIOS, campaign, points, run};

const SEEDS: u64 = 500;
/// Runs that are made twice.
const TWICE: u64 = 100;
/// Every so-manieth crash point is tried here; `cargo xtask crashpoints` tries all.
const STRIDE: u64 = 7;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    let sum = campaign::seeds(0..SEEDS, None, threads());
    let failed = sum.failed.iter().map(|(plan, violations)| {
        let (scenario, seed) = (plan.scenario, plan.seed);
        format!("cargo xtask sim --scenario {scenario} --seed {seed}: {violations:#?}")
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(sum.runs, SEEDS);
    assert!(sum.crashes > SEEDS, "{} crashes", sum.crashes);
    // A fault that never takes effect shows nothing.
    for fault in [
        "aborted",
        "bit flipped",
        "configuration changed",
        "disk full",
        "lane stolen",
        "overrun",
        "power lost, writes kept",
        "power lost, writes kept, lost or torn",
        "power lost, writes lost",
        "power lost, writes torn",
        "process killed",
        "put given up",
        "put refused",
        "refused to start",
        "sink 403",
        "sink 409",
        "sink 500",
        "sink 503",
        "sink answer lost",
        "sink applied late",
        "sink stalled",
        "source throttled",
        "source trimmed",
        "source trimmed into an intended range",
        "stopped",
        "store failed",
        "store fenced",
        "sync failed",
        "version not loaded",
        "wall clock jumped",
        "worker paused",
    ] {
        assert!(sum.faults.contains_key(fault), "no run had: {fault}");
    }
}

#[test]
fn one_seed_is_one_run_of_the_whole() {
    let plans: Vec<Plan> = (0..TWICE).map(Plan::of_seed).collect();
    let first = campaign::spread(&plans, threads(), |plan| run(plan).hash);
    let again = campaign::spread(&plans, threads(), |plan| run(plan).hash);
    assert_eq!(first, again);
    let scenarios: std::collections::BTreeSet<_> = plans.iter().map(|one| one.scenario).collect();
    assert_eq!(scenarios.len(), SCENARIOS.len());
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    let mut tried = 0;
    for report in points::all(STRIDE, 4, threads()) {
        tried += report.points;
        assert!(report.violations.is_empty(), "{report:#?}");
    }
    assert!(tried > 2500, "{tried} points");
}

#[test]
fn a_failure_is_made_smaller() {
    let plan = Plan::draw("everything", 18).unwrap();
    assert!(plan.events.len() > 3 && plan.records > 12);
    let needed = plan.events[2].clone();
    let fails = |plan: &Plan| plan.events.contains(&needed) && plan.records > 11;
    let (smaller, without) = campaign::shrink(&plan, fails);
    assert_eq!((smaller.events.len(), smaller.records), (1, 12));
    assert_eq!(without.len(), plan.events.len() - 1);
    assert!(fails(&plan.reduced(&without, smaller.records)));
}

/// Only a build with the feature `planted` has them: `cargo xtask sim --planted` runs all.
#[cfg(feature = "planted")]
#[test]
fn planted_faults_are_found() {
    use hydrant_tests::sim::plants::{MOST_SEEDS, PLANTS, find};
    std::panic::set_hook(Box::new(|_| {}));
    for name in PLANTS {
        let found = find(name, 4 * MOST_SEEDS, None, threads());
        assert!(
            found.median.is_some_and(|one| one <= MOST_SEEDS),
            "{found:?}"
        );
    }
}

/// The list of planted faults is the one in the sources.
#[test]
fn every_planted_fault_is_listed() {
    let list = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/sim/plants.rs"));
    let list = list.unwrap();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates"
    ))];
    let (mut found, needle) = (0, concat!("planted", "!(\""));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for part in text.split(needle).skip(1) {
                    let name = part.split('"').next().unwrap();
                    assert!(
                        list.contains(&format!("\"{name}\",")),
                        "{name} is not listed"
                    );
                    found += 1;
                }
            }
        }
    }
    assert_eq!(
        found,
        list.matches("\",\n").count(),
        "all that is listed is there, once"
    );
}
