//! The source loses records of a range whose intent is durable, before it is redone: what is left is
//! delivered under the names of the intent, what is there already stands, and the loss is reported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use hydrant_core::state::LaneState;
use hydrant_core::{BoxFuture, Digest, Position};
use hydrant_pipeline::intent::Intent;
use hydrant_pipeline::lane::{LaneContext, NoHooks};
use hydrant_pipeline::plan::{Plan, Versions};
use hydrant_testkit::sim::{SimSource, World};

use crate::model::Model;

const SEEDS: u64 = 60;

/// One plan, without partitions.
struct One(Arc<Plan>);

impl Versions for One {
    fn current(&self) -> Arc<Plan> {
        self.0.clone()
    }

    fn load(&self, _version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        Box::pin(async { Err("there is one".to_owned()) })
    }
}

/// How much of the intended range is lost.
#[derive(Clone, Copy, PartialEq)]
enum Lost {
    Nothing,
    Before,
    Head,
    All,
}

fn context(model: &Model) -> LaneContext {
    let mut context = model.context("A");
    let plan = Plan {
        transforms: Vec::new(),
        partitioning: None,
        ..(*context.versions.current()).clone()
    };
    context.versions = Arc::new(One(Arc::new(plan)));
    context
}

fn until(world: &World, what: impl Fn() -> bool) {
    while !what() {
        let now = world.monotonic();
        assert!(now < Duration::from_mins(10), "it does not come to that");
        world.run_until(now + Duration::from_millis(1));
    }
}

/// Runs until a range in the middle is intended, and with `visible` its object is there; then the
/// worker is gone. Gives the state that it left.
fn interrupt(model: &Model, visible: bool) -> LaneState {
    let world = &model.world;
    let worker = model.start_lane(context(model));
    until(world, || model.sink.objects().len() >= 2);
    model.sink.stalled.store(true, Ordering::Relaxed);
    let state = || model.store.state(&model.key).unwrap();
    // What was on its way may still come to its end.
    world.run_until(world.monotonic() + Duration::from_secs(1));
    until(world, || state().intent.is_some() || model.is_done());
    if visible && state().intent.is_some() {
        let before = model.sink.objects().len();
        // No commit comes through any more, applied or not.
        model.store.fails_percent.store(100, Ordering::Relaxed);
        model.sink.stalled.store(false, Ordering::Relaxed);
        until(world, || model.sink.objects().len() > before);
    }
    world.kill(worker);
    model.sink.stalled.store(false, Ordering::Relaxed);
    model.store.fails_percent.store(0, Ordering::Relaxed);
    state()
}

fn number(model: &Model, position: Position) -> usize {
    let all = &model.records;
    (0..all.len())
        .find(|i| all.position(*i) == position)
        .unwrap()
}

/// Gives whether the range could be interrupted as asked.
fn run(seed: u64, how: Lost, visible: bool, tells: bool) -> bool {
    let mut model = Model::new(seed, Arc::new(NoHooks));
    let world = model.world.clone();
    let mut source = SimSource::new(&world).with_lane("lane-0", model.records.clone(), true);
    source.tells_trimmed = tells;
    model.source = Arc::new(source);
    let left = interrupt(&model, visible);
    let Some(intent) = left.intent.as_ref() else {
        return false;
    };
    let intent = Intent::decode(intent).unwrap();
    let first = number(&model, intent.first.unwrap());
    let cut = number(&model, intent.cut);
    assert!(model.records.position(first) > left.position);
    // The last that is lost: never inside of what shares a sequence number.
    let last = match how {
        Lost::Nothing => None,
        Lost::Before => first.checked_sub(1),
        Lost::Head => Some(first + (cut - first) / 2),
        Lost::All => Some(cut),
    };
    let shares = |i: usize| {
        let next = (i + 1 < model.records.len()).then(|| model.records.position(i + 1));
        next.is_some_and(|next| next.same_sequence(&model.records.position(i)))
    };
    let last = last.filter(|last| !shares(*last));
    if how != Lost::Nothing && (last.is_none() || (how == Lost::Head && last == Some(cut))) {
        return false;
    }
    if let Some(last) = last {
        model
            .source
            .trim(&model.key.lane, model.records.position(last));
    }
    model.start_lane(context(&model));
    until(&world, || model.is_done());

    let at = format!("seed {seed}");
    let (mut lines, mut reports) = (BTreeMap::<String, u64>::new(), 0);
    for (key, object) in model.sink.objects() {
        if key.starts_with("source-records-lost/") {
            let text = String::from_utf8(object.bytes.to_vec()).unwrap();
            let expected = format!("after {} at {}\n", left.position, intent.at_ms);
            assert!(text.ends_with(&expected), "{at}: {text}, not {expected}");
            reports += 1;
            continue;
        }
        for line in std::str::from_utf8(&object.bytes).unwrap().lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    for i in 0..model.records.len() {
        let gone = last.is_some_and(|last| (first..=last).contains(&i));
        let expected = u64::from(visible || !gone);
        let text = std::str::from_utf8(model.records.data(i)).unwrap();
        let found = lines.get(text).copied().unwrap_or(0);
        assert_eq!(found, expected, "{at}: {text}, {first} to {cut}");
    }
    let expected = match how {
        // What was committed is nobody's loss.
        Lost::Nothing | Lost::Before => 0,
        Lost::Head | Lost::All => 1,
    };
    assert_eq!(reports, expected, "{at}");
    assert_eq!(model.status.snapshot().totals.losses, expected, "{at}");
    true
}

fn all(lost: Lost, visible: bool, tells: bool) {
    let tried = (0..SEEDS).filter(|seed| run(*seed, lost, visible, tells));
    let tried = tried.count();
    assert!(tried > 10, "only {tried} seeds came to it");
}

#[test]
fn a_range_whose_beginning_is_lost_keeps_its_names() {
    for tells in [false, true] {
        all(Lost::Head, true, tells);
        all(Lost::Head, false, tells);
    }
}

#[test]
fn a_range_of_which_nothing_is_left_is_reported() {
    for tells in [false, true] {
        all(Lost::All, true, tells);
        all(Lost::All, false, tells);
    }
}

#[test]
fn what_was_committed_is_nobodys_loss() {
    for visible in [false, true] {
        all(Lost::Nothing, visible, true);
        all(Lost::Before, visible, true);
        all(Lost::Before, visible, false);
    }
}
