//! Crash points: small runs, crashed at every step of a disk or store, with what was not synced kept,
//! lost or torn, and crashed again while the next process starts.

use hydrant_testkit::disk::Fate;
use hydrant_testkit::sim::SimRng;
use hydrant_testkit::sim::bucket::Wrong;

use super::campaign;
use super::plan::{Crash, Event, Place, Plan, Sizes, What, sizes};
use super::run::{Points, run, run_points};

/// How a process ends at a point: what it wrote is there, is lost, is torn.
const CRASHES: [Crash; 3] = [
    Crash::Process,
    Crash::Power(Fate::Lost),
    Crash::Power(Fate::Torn),
];
/// The second crash comes within so many steps of the restart.
const RECOVERY_STEPS: u64 = 28;
/// A small run ends its events after this time.
const END_MS: u64 = 2500;

/// Changes the sizes and events of a small run.
type Shape = fn(&mut Plan);

/// The small runs.
const SHAPES: [(&str, Shape); 14] = [
    ("plain", |_| {}),
    ("shards", |plan| plan.sizes.shards = 3),
    ("readers", |plan| plan.sizes.readers = 2),
    ("parts", |plan| {
        (plan.sizes.part_bytes, plan.sizes.partitions) = (150, 3);
    }),
    ("overruns", |plan| plan.sizes.overruns = 60),
    ("sink", |plan| {
        plan.sizes.tries = Some(2);
        let wrongs = vec![Wrong::LostAnswer, Wrong::Late, Wrong::Conflict];
        let what = What::Sink(50, wrongs, 2000);
        plan.events.push(Event { at_ms: 0, what });
    }),
    ("retention", |plan| {
        plan.sizes.retention_ms = 0;
        (plan.sizes.segments, plan.sizes.group_bytes) = ((1024, 1024), 400);
        (plan.records, plan.sizes.pace_ms) = (60, 80);
    }),
    ("spares", |plan| {
        plan.sizes.retention_ms = 0;
        plan.sizes.spares = 2;
        (plan.sizes.segments, plan.sizes.group_bytes) = ((1024, 2048), 400);
        (plan.records, plan.sizes.pace_ms) = (60, 80);
    }),
    ("upgrades", |plan| plan.upgrades = true),
    ("latest", |plan| plan.sizes.latest = true),
    ("clock", |plan| {
        for (at_ms, by_ms) in [(300, -90_000), (900, 200_000), (1500, -50_000)] {
            let what = What::Wall(by_ms);
            plan.events.push(Event { at_ms, what });
        }
    }),
    ("producers", |plan| {
        (plan.sizes.producers, plan.sizes.dropped) = (3, 20);
    }),
    ("remote", |plan| {
        (plan.sizes.place, plan.sizes.shards) = (Place::Remote, 2);
    }),
    ("table", |plan| {
        (plan.sizes.place, plan.sizes.shards) = (Place::Table, 3);
    }),
];

/// How the points of one small run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The small run.
    pub name: &'static str,
    /// Steps of the run without a crash.
    pub steps: u64,
    /// Runs with a crash.
    pub points: u64,
    /// What was wrong, and at which points.
    pub violations: Vec<(Points, Vec<String>)>,
}

/// Runs all points: at every `stride`-th step, each alone and with `seconds` second crashes.
///
/// # Panics
/// Where the stride is 0.
pub fn all(stride: u64, seconds: u64, threads: usize) -> Vec<Report> {
    SHAPES
        .iter()
        .map(|(name, shape)| {
            let plan = small(name, *shape);
            let steps = run(&plan).steps;
            let mut points = Vec::new();
            for step in (1..=steps).step_by(usize::try_from(stride).unwrap()) {
                for (index, crash) in (0..).zip(CRASHES) {
                    points.extend(at(step, index, crash, seconds));
                }
            }
            let outcomes = campaign::spread(&points, threads, |points| {
                campaign::guarded(|| run_points(&plan, points)).violations
            });
            let wrong = points.iter().cloned().zip(outcomes);
            Report {
                name,
                steps,
                points: points.len() as u64,
                violations: wrong.filter(|(_, wrong)| !wrong.is_empty()).collect(),
            }
        })
        .collect()
}

/// A crash at a step, alone, and followed by others: a second, and where that leaves the page cache as
/// it is, a loss of power after it.
fn at(step: u64, index: u64, crash: Crash, seconds: u64) -> impl Iterator<Item = Points> {
    // Spread, so that all steps of a start and all crashes meet.
    let spread = move |i: u64| 1 + (step * 5 + index * 11 + i) % RECOVERY_STEPS;
    let again = move |i: u64| {
        let which = usize::try_from((step + index + i) % 3).unwrap();
        let second = (spread(i * RECOVERY_STEPS / seconds), CRASHES[which]);
        let mut points = vec![(step, crash), second];
        if second.1 == Crash::Process {
            points.push((spread(i * 7 + step / 3), Crash::Power(Fate::Torn)));
        }
        points
    };
    std::iter::once(vec![(step, crash)]).chain((0..seconds).map(again))
}

fn small(name: &'static str, shape: Shape) -> Plan {
    let rng = SimRng::new(7);
    let mut plan = Plan {
        scenario: name,
        seed: 11,
        records: 32,
        live: true,
        sizes: Sizes {
            place: Place::Local,
            shards: 1,
            readers: 1,
            overruns: 0,
            blocks: 0,
            tries: None,
            hint_bytes: 900,
            interval_ms: 300,
            budget: 40_000,
            segments: (2048, 4096),
            spares: 0,
            retention_ms: 3_600_000,
            producers: 1,
            pace_ms: 150,
            dropped: 0,
            cpu_ms: 2,
            io_ms: 2,
            sink_ms: 20,
            ..sizes(&rng)
        },
        events: Vec::new(),
        end_ms: END_MS,
        upgrades: false,
    };
    shape(&mut plan);
    plan
}
