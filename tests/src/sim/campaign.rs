//! Many runs on all cores: what they did together, which failed, and how few faults and records a
//! failure needs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::plan::Plan;
use super::run::{Outcome, run};

/// What many runs did.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs.
    pub runs: u64,
    /// Processes that ended by a crash.
    pub crashes: u64,
    /// Steps of disks and stores.
    pub steps: u64,
    /// Records that were acknowledged.
    pub acked: u64,
    /// Faults that took effect.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs in which something was wrong, by seed.
    pub failed: Vec<(Plan, Vec<String>)>,
}

impl Sum {
    /// Adds a run.
    pub fn add(&mut self, plan: Plan, outcome: Outcome) {
        self.runs += 1;
        self.crashes += outcome.crashes;
        self.steps += outcome.steps;
        self.acked += outcome.acked;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failed.push((plan, outcome.violations));
        }
    }
}

/// Runs these seeds, of one scenario or of all in turn.
pub fn seeds(range: std::ops::Range<u64>, scenario: Option<&str>, threads: usize) -> Sum {
    let plans: Vec<Plan> = range
        .filter_map(|seed| match scenario {
            Some(scenario) => Plan::draw(scenario, seed),
            None => Some(Plan::of_seed(seed)),
        })
        .collect();
    let outcomes = spread(&plans, threads, |plan| guarded(|| run(plan)));
    let mut sum = Sum::default();
    for (plan, outcome) in plans.into_iter().zip(outcomes) {
        sum.add(plan, outcome);
    }
    sum
}

/// Runs one; a panic in it is a violation.
pub fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            violations: vec![format!("panic: {}", text.unwrap_or_default())],
            ..Outcome::default()
        }
    })
}

/// Does something with each on so many threads; answers in order.
///
/// # Panics
/// Where `each` does.
pub fn spread<T: Sync, R: Send>(
    all: &[T],
    threads: usize,
    each: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(at) else {
                return done;
            };
            done.push((at, each(one)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let answers = workers.into_iter().map(|worker| worker.join().unwrap());
        answers.flatten().collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// Leaves out events and records as long as it still fails. Gives the smaller plan, and which of the
/// events are left out.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> (Plan, Vec<usize>) {
    let mut kept: Vec<usize> = (0..plan.events.len()).collect();
    let mut smaller = plan.clone();
    let with = |kept: &[usize], records| {
        let without: Vec<usize> = (0..plan.events.len())
            .filter(|index| !kept.contains(index))
            .collect();
        plan.reduced(&without, records)
    };
    let mut at = 0;
    while at < kept.len() {
        let mut fewer = kept.clone();
        fewer.remove(at);
        let tried = with(&fewer, smaller.records);
        if fails(&tried) {
            (kept, smaller) = (fewer, tried);
        } else {
            at += 1;
        }
    }
    let mut step = smaller.records / 2;
    while step > 0 {
        let tried = with(&kept, smaller.records - step);
        if smaller.records > step && fails(&tried) {
            smaller = tried;
            step = step.min(smaller.records / 2);
        } else {
            step /= 2;
        }
    }
    let without = (0..plan.events.len()).filter(|index| !kept.contains(index));
    (smaller, without.collect())
}
