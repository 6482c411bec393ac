//! The simulator as a program: `cargo xtask sim` and `cargo xtask crashpoints` run it.
#![expect(clippy::print_stdout, reason = "it prints what it found")]

use std::process::ExitCode;
use std::time::Duration;

use hydrant_tests::sim::campaign::{self, Sum};
use hydrant_tests::sim::{Plan, SCENARIOS, points, run_traced};

/// Seeds where no number is given.
const SEEDS: u64 = 2000;
/// Seeds in which each planted fault is looked for.
#[cfg(feature = "planted")]
const PLANT_SEEDS: u64 = 400;
/// Seeds that are run before anything is printed.
const ROUND: u64 = 2000;
/// Failures that are shrunk and printed.
const SHOWN: usize = 3;
/// Second crashes per point.
const SECONDS: u64 = 4;

/// What was asked for.
#[derive(Default)]
struct Asked {
    seeds: Option<u64>,
    seed: Option<u64>,
    scenario: Option<String>,
    minutes: Option<u64>,
    records: Option<u64>,
    without: Vec<usize>,
    trace: bool,
    planted: bool,
    plant: Option<String>,
    crashpoints: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match ask(&arguments) {
        Ok(asked) => asked,
        Err(fault) => {
            eprintln!("{fault}\nscenarios: {}", SCENARIOS.join(", "));
            return ExitCode::from(2);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let well = if asked.crashpoints {
        crashpoints(threads)
    } else if asked.planted {
        plants(&asked, threads)
    } else if asked.seed.is_some() && asked.seeds.is_none() && asked.minutes.is_none() {
        one(&asked)
    } else {
        many(&asked, threads)
    };
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn ask(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} wants a value"));
        let number = |text: &String| text.parse().map_err(|_| format!("{text} is no number"));
        match argument.as_str() {
            "--seeds" => asked.seeds = Some(number(value()?)?),
            "--seed" => asked.seed = Some(number(value()?)?),
            "--minutes" => asked.minutes = Some(number(value()?)?),
            "--records" => asked.records = Some(number(value()?)?),
            "--scenario" => asked.scenario = Some(value()?.clone()),
            "--without" => {
                for text in value()?.split(',') {
                    asked
                        .without
                        .push(text.parse().map_err(|_| text.to_owned())?);
                }
            }
            "--plant" => asked.plant = Some(value()?.clone()),
            "--trace" => asked.trace = true,
            "--planted" => asked.planted = true,
            "--crashpoints" => asked.crashpoints = true,
            other => return Err(format!("{other} is unknown")),
        }
    }
    let known = |name: &String| SCENARIOS.contains(&name.as_str());
    if !asked.scenario.iter().all(known) {
        return Err("there is no such scenario".to_owned());
    }
    Ok(asked)
}

// ---------------------------------------------------------------------------------------------
// Seeds

/// Runs one seed, as it is or reduced, and says what happened.
fn one(asked: &Asked) -> bool {
    let seed = asked.seed.unwrap_or_default();
    let plan = match &asked.scenario {
        Some(scenario) => Plan::draw(scenario, seed),
        None => Some(Plan::of_seed(seed)),
    };
    let Some(plan) = plan else {
        return false;
    };
    let plan = plan.reduced(&asked.without, asked.records.unwrap_or(plan.records));
    println!("{} {seed}: {plan:#?}", plan.scenario);
    let outcome = campaign::guarded(|| run_traced(&plan));
    if asked.trace {
        for line in &outcome.lines {
            println!("{line}");
        }
    }
    let ((hash, events), crashes) = (outcome.hash, outcome.crashes);
    println!(
        "{events} events, hash {hash:016x}, {crashes} crashes, {:?}",
        outcome.faults
    );
    for violation in &outcome.violations {
        println!("violation: {violation}");
    }
    outcome.violations.is_empty()
}

/// Runs many seeds, by number or for a time.
fn many(asked: &Asked, threads: usize) -> bool {
    let first = asked.seed.unwrap_or(0);
    let limit = asked
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let seeds = asked
        .seeds
        .unwrap_or(if limit.is_some() { u64::MAX } else { SEEDS });
    let began = now();
    let (mut sum, mut next) = (Sum::default(), first);
    while next - first < seeds && limit.is_none_or(|limit| began.elapsed() < limit) {
        let to = next.saturating_add(ROUND.min(seeds - (next - first)));
        let round = campaign::seeds(next..to, asked.scenario.as_deref(), threads);
        next = to;
        merge(&mut sum, round);
        if sum.failed.len() >= SHOWN {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(sum.runs).unwrap_or(u32::MAX)) / seconds;
    println!(
        "{} seeds from {first} in {seconds:.1} s: {rate:.0} a second on {threads} threads",
        sum.runs
    );
    println!(
        "{} acknowledged records, {} steps, {} crashes",
        sum.acked, sum.steps, sum.crashes
    );
    for (fault, count) in &sum.faults {
        println!("  {count:>9}  {fault}");
    }
    println!("{} seeds with violations", sum.failed.len());
    for (plan, violations) in sum.failed.iter().take(SHOWN) {
        show(plan, violations);
    }
    sum.failed.is_empty()
}

fn merge(sum: &mut Sum, round: Sum) {
    sum.runs += round.runs;
    sum.crashes += round.crashes;
    sum.steps += round.steps;
    sum.acked += round.acked;
    for (fault, count) in round.faults {
        *sum.faults.entry(fault).or_default() += count;
    }
    sum.failed.extend(round.failed);
}

/// Prints a failure with how to see it again, as it is and as small as it gets.
fn show(plan: &Plan, violations: &[String]) {
    let again = format!(
        "cargo xtask sim --scenario {} --seed {}",
        plan.scenario, plan.seed
    );
    println!("\n{again}");
    for violation in violations {
        println!("  {violation}");
    }
    let fails = |plan: &Plan| {
        let outcome = campaign::guarded(|| hydrant_tests::sim::run(plan));
        !outcome.violations.is_empty()
    };
    let (smaller, without) = campaign::shrink(plan, fails);
    let without: Vec<String> = without.iter().map(ToString::to_string).collect();
    let without = if without.is_empty() {
        String::new()
    } else {
        format!(" --without {}", without.join(","))
    };
    println!("shrunk: {again} --records {}{without}", smaller.records);
    for event in &smaller.events {
        println!("  {} ms: {:?}", event.at_ms, event.what);
    }
}

// ---------------------------------------------------------------------------------------------
// Crash points and planted faults

fn crashpoints(threads: usize) -> bool {
    let began = now();
    let (mut points_in_all, mut wrong) = (0, 0);
    for report in points::all(1, SECONDS, threads) {
        let (name, steps, points) = (report.name, report.steps, report.points);
        println!(
            "{name:>10}: {steps} steps, {points} points, {} violations",
            report.violations.len()
        );
        points_in_all += points;
        wrong += report.violations.len();
        for (points, violations) in report.violations.iter().take(SHOWN) {
            println!("  {points:?}: {violations:#?}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{points_in_all} points, {wrong} violations, {seconds:.1} s");
    wrong == 0
}

#[cfg(feature = "planted")]
fn plants(asked: &Asked, threads: usize) -> bool {
    use hydrant_tests::sim::plants::{Found, MOST_SEEDS, PLANTS, find};
    // Many of them end in panics, and each of these is a find.
    std::panic::set_hook(Box::new(|_| {}));
    let mut well = true;
    let only = asked.plant.as_deref();
    for name in PLANTS
        .into_iter()
        .filter(|name| only.is_none_or(|only| only == *name))
    {
        let scenario = asked.scenario.as_deref();
        let soon = |found: &Found| found.median.is_some_and(|median| median <= MOST_SEEDS);
        let mut found = find(name, asked.seeds.unwrap_or(PLANT_SEEDS), scenario, threads);
        if asked.seeds.is_none() && !soon(&found) {
            // Of a fault that one seed in a hundred finds, so few seeds tell too little.
            found = find(name, 5 * PLANT_SEEDS, scenario, threads);
        }
        let median = found
            .median
            .map_or("never".to_owned(), |median| median.to_string());
        let good = soon(&found);
        let mark = if good { " " } else { "!" };
        let first = found.first.unwrap_or_default();
        println!(
            "{mark} {name:<34} {:>4} of {} seeds, median {median:>4}  {first}",
            found.found, found.seeds
        );
        well &= good;
    }
    println!("{} planted faults", PLANTS.len());
    well
}

#[cfg(not(feature = "planted"))]
fn plants(_: &Asked, _: usize) -> bool {
    eprintln!("this build has no planted faults: it needs the feature `planted`");
    false
}

#[expect(clippy::disallowed_methods, reason = "how long it took, for a person")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
