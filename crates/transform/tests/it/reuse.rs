//! `instances: reuse`: instances live on, what they have against a record does not count, and nothing
//! that goes wrong outlives its call. `on_trap: pause`: a batch that traps throughout is no verdict.

use std::sync::Arc;

use hydrant_core::outcomes::Overruns;
use hydrant_core::stage::{Blocked, Transform as _};
use hydrant_transform::{Instances, OnTrap, Settings, WasmEngine, WasmTransform};

use crate::support::{COMMAND, ENGINE, HOSTILE, batch, failures, log, texts};

fn load_on(
    engine: &WasmEngine,
    module: &[u8],
    instances: Instances,
    on_trap: OnTrap,
) -> Arc<WasmTransform> {
    let settings = Settings {
        delivery_stream: "clicks".to_owned(),
        instances,
        on_trap,
        ..Settings::default()
    };
    WasmTransform::load(engine, module, &settings, log().0).unwrap()
}

fn reusing() -> Arc<WasmTransform> {
    load_on(&ENGINE, HOSTILE, Instances::Reuse, OnTrap::ErrorOutput)
}

fn answer(transform: &WasmTransform, records: &[&str]) -> Vec<String> {
    let outcomes = transform.apply(&batch(records), Overruns::Decide).unwrap();
    assert!(outcomes.failures.is_empty(), "{:?}", outcomes.failures);
    texts(&outcomes)
}

#[test]
fn an_instance_is_for_one_call_unless_it_is_promised_that_it_may_be_for_many() {
    let fresh = load_on(&ENGINE, HOSTILE, Instances::Fresh, OnTrap::ErrorOutput);
    for _ in 0..3 {
        assert_eq!(answer(&fresh, &["calls"]), ["1"]);
    }
    let reused = reusing();
    let calls = [(); 3].map(|()| answer(&reused, &["calls"]));
    assert_eq!(calls, [["1"], ["2"], ["3"]]);
    assert_ne!(fresh.digest(), reused.digest(), "it may decide outputs");
    let tally = reused.tally().snapshot();
    assert_eq!(
        (tally.calls, tally.reused, tally.broken_promises),
        (3, 2, 0)
    );
}

#[test]
fn what_a_used_instance_has_against_a_record_does_not_count() {
    let transform = reusing();
    assert_eq!(answer(&transform, &["grudge", "a"]), ["grudge", "a"]);
    // Used again it traps; a new one answers.
    assert_eq!(answer(&transform, &["grudge", "b"]), ["grudge", "b"]);
    let tally = transform.tally().snapshot();
    assert_eq!((tally.calls, tally.broken_promises), (3, 1));
}

#[test]
fn a_poison_record_is_isolated_by_new_instances_and_costs_few_calls() {
    let transform = reusing();
    let mut records: Vec<String> = (0..1000).map(|i| format!("r{i}")).collect();
    answer(&transform, &["first"]);
    let before = transform.tally().snapshot().calls;
    records[617] = "trap".to_owned();
    let outcomes = transform.apply(&batch(&records), Overruns::Decide).unwrap();
    assert_eq!(failures(&outcomes), [(617, "Transform.Trapped")]);
    assert_eq!(outcomes.len(), 999);
    let tally = transform.tally().snapshot();
    assert!(tally.calls - before <= 31, "{tally:?}");
    assert_eq!(tally.broken_promises, 0);
    // The instances that trapped are gone: the next one is one that answered.
    answer(&transform, &["next"]);
}

#[test]
fn a_redo_asks_new_instances_only() {
    let transform = reusing();
    answer(&transform, &["first"]);
    let outcomes = transform
        .apply(&batch(&["calls"]), Overruns::Known(&[]))
        .unwrap();
    assert_eq!(texts(&outcomes), ["1"]);
}

#[test]
fn instances_that_wait_hold_no_more_than_there_is_for_them() {
    let engine = WasmEngine::new().unwrap();
    let transform = load_on(&engine, HOSTILE, Instances::Reuse, OnTrap::ErrorOutput);
    engine.limit_idle(1 << 20);
    assert_eq!(answer(&transform, &["calls"]), ["1"]);
    assert_eq!(
        answer(&transform, &["calls"]),
        ["1"],
        "it needs more than 1 MiB"
    );
    engine.limit_idle(8 << 20);
    assert_eq!(answer(&transform, &["calls"]), ["1"]);
    assert_eq!(answer(&transform, &["calls"]), ["2"]);
    // Another one has no room beside it while it waits.
    engine.limit_idle(2 << 20);
    let other = load_on(&engine, HOSTILE, Instances::Reuse, OnTrap::ErrorOutput);
    assert_eq!(answer(&other, &["calls"]), ["1"]);
    assert_eq!(answer(&other, &["calls"]), ["1"]);
    drop(transform);
    assert_eq!(answer(&other, &["calls"]), ["1"]);
    assert_eq!(answer(&other, &["calls"]), ["2"], "the room was given back");
}

#[test]
fn a_command_cannot_be_used_again() {
    let settings = Settings {
        instances: Instances::Reuse,
        ..Settings::default()
    };
    let refused = WasmTransform::load(&ENGINE, COMMAND, &settings, log().0);
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains("leave out `instances: reuse`"),
        "{refused}"
    );
}

#[test]
fn a_batch_that_traps_throughout_waits_where_that_is_wanted() {
    let transform = load_on(&ENGINE, HOSTILE, Instances::Fresh, OnTrap::Pause);
    let all = batch(&["trap"; 40]);
    let Blocked(reason) = transform.apply(&all, Overruns::Decide).unwrap_err();
    for words in [
        "on_trap: pause",
        "a record asked for a trap",
        transform.module_digest(),
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    // One that is taken, or refused by the guest's own word, is enough, as long as it is looked for.
    for other in ["a", "drop", "fail because"] {
        let mut records = ["trap"; 40];
        records[0] = other;
        let outcomes = transform.apply(&batch(&records), Overruns::Decide).unwrap();
        assert!(outcomes.failures.len() >= 39);
    }
    // A redo repeats what was decided.
    let outcomes = transform.apply(&all, Overruns::Known(&[])).unwrap();
    assert_eq!(outcomes.failures.len(), 40);
}
