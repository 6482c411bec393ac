//! A call that takes too long is a verdict, made once: a redo repeats it without waiting.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::outcomes::{Call, Overruns};
use hydrant_transform::{Limits, Settings, WasmEngine, WasmTransform};

use crate::support::{Answers as _, HOSTILE, batch, failures, load_limited, log, result, texts};

fn hasty(time: Duration) -> Arc<WasmTransform> {
    let limits = Limits {
        time,
        ..Limits::default()
    };
    load_limited(HOSTILE, "{}", "clicks", limits).unwrap()
}

#[test]
fn an_endless_record_is_isolated_and_its_calls_are_recorded() {
    let transform = hasty(Duration::from_millis(400));
    let records = batch(&["a", "b", "loop", "d"]);
    let outcomes = transform.apply(&records, Overruns::Decide);
    assert_eq!(texts(&outcomes), ["a", "b", "d"]);
    assert_eq!(failures(&outcomes), [(2, "Transform.TimedOut")]);
    let calls = [(0, 4), (2, 2), (2, 1)].map(|(first, count)| Call { first, count });
    assert_eq!(outcomes.overruns, calls);

    // Done again, those calls are not run: with an hour of time they would not end in this test.
    let patient = hasty(Duration::from_hours(1));
    assert_eq!(
        patient.digest(),
        transform.digest(),
        "time is no part of it"
    );
    let again = patient.apply(&records, Overruns::Known(&calls));
    assert_eq!(result(&again), result(&outcomes));
    assert!(
        again.overruns.is_empty(),
        "a redo makes no verdict of its own"
    );
}

#[test]
fn a_redo_gives_every_other_call_as_long_as_it_needs() {
    // Some 100 ms of work, far past the limit of a tick.
    let records = batch(&["slow"; 30]);
    let limits = Limits {
        time: Duration::from_millis(1),
        ..Limits::default()
    };
    let transform = load_limited(HOSTILE, "{}", "clicks", limits).unwrap();
    let decided = transform.apply(&records, Overruns::Decide);
    assert!(decided.overruns.contains(&Call {
        first: 0,
        count: 30
    }));
    let known = transform.apply(&records, Overruns::Known(&decided.overruns));
    assert_eq!(result(&known), result(&decided));
    let patient = transform.apply(&records, Overruns::Known(&[]));
    assert_eq!(texts(&patient), ["slow"; 30]);
    assert!(patient.overruns.is_empty());
}

#[test]
fn a_transform_keeps_its_engine_ticking() {
    let engine = WasmEngine::new().unwrap();
    let limits = Limits {
        time: Duration::from_millis(50),
        ..Limits::default()
    };
    let transform = WasmTransform::load(
        &engine,
        HOSTILE,
        &Settings {
            limits,
            ..Settings::default()
        },
        log().0,
    )
    .unwrap();
    drop(engine);
    let outcomes = transform.apply(&batch(&["loop"]), Overruns::Decide);
    assert_eq!(failures(&outcomes), [(0, "Transform.TimedOut")]);
}
