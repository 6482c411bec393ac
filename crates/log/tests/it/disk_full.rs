//! A full disk: intents and positions go on as long as there is a byte, and what is refused then is
//! refused without doubt, and taken once there is room.

use std::path::Path;
use std::sync::Arc;

use hydrant_core::state::{LaneState, StateError, StateStore};
use hydrant_core::{Action, Position};
use hydrant_log::{Error, Log, LogOptions, StateLog};
use hydrant_testkit::inline::{InlineOffload, finish};

use crate::harness::{Bench, dir, entry, small};
use crate::state_crash::key;

fn state(bench: &Bench) -> StateLog {
    let env = bench.env_on(Arc::new(InlineOffload));
    StateLog::open(env, &dir(), [4; 16], small(None)).unwrap()
}

/// A range that is intended.
fn intended(position: u64) -> LaneState {
    LaneState {
        intent: Some(vec![7; 60].into()),
        ..LaneState::starting_after(Position::from_u64(position))
    }
}

#[test]
fn an_intent_that_finds_no_room_is_refused_and_written_later() {
    let bench = Bench::new();
    let store = state(&bench);
    let mut lane = finish(store.open(key(1))).unwrap();
    finish(lane.store(intended(0))).unwrap();
    bench.disk.set_capacity(bench.disk.used_bytes());
    let (mut last, mut refused) = (0, None);
    for position in 1..200 {
        match finish(lane.store(intended(position))) {
            Ok(()) => last = position,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("no disk is endless");
    assert!(last > 2, "the segment that is there is filled: {last}");
    let StateError::Unavailable(why) = &refused else {
        panic!("{refused:?}");
    };
    let why = why.downcast_ref::<Error>();
    assert!(matches!(why, Some(Error::LowSpace)), "{why:?}");
    assert!(matches!(refused.action(), Action::Retry { .. }));
    assert!(finish(lane.store(intended(last + 1))).is_err(), "nor now");
    assert_eq!(lane.current(), Some(&intended(last)));
    assert!(bench.abort.reasons().is_empty());

    // What a process that ends now leaves behind.
    let left = Bench {
        disk: bench.disk.copy(),
        ..Bench::new()
    };
    left.disk.set_capacity(1 << 20);
    assert_eq!(state(&left).all(), [(key(1), intended(last))]);

    bench.disk.set_capacity(1 << 20);
    finish(lane.store(intended(last + 1))).unwrap();
    drop((lane, store));
    assert_eq!(state(&bench).all(), [(key(1), intended(last + 1))]);
}

#[test]
fn puts_are_refused_while_intents_still_find_room() {
    let bench = Bench::new();
    let store = state(&bench);
    let mut lane = finish(store.open(key(1))).unwrap();
    let options = LogOptions {
        first_segment_bytes: 1024,
        max_segment_bytes: 1024,
        max_spare_segments: 0,
        low_space_percent: 10,
        resume_percent: 15,
        ..small(None)
    };
    bench.disk.set_capacity(40 << 10);
    let env = bench.env_on(Arc::new(InlineOffload));
    let log = Log::open(env, Path::new("/data/stream"), [3; 16], options).unwrap();
    let put = || finish(log.append(vec![entry(0, &[&[0; 300]])]));
    while put().is_ok() {}
    assert!(log.low_space());
    let free = (40 << 10) - bench.disk.used_bytes();
    assert!(free > 1024, "{free} bytes are kept for the intents");
    for position in 0..200 {
        assert!(matches!(put(), Err(Error::LowSpace)));
        finish(lane.store(intended(position))).unwrap();
    }
    // What was delivered is freed, and puts are taken again.
    finish(log.release(30, u64::MAX)).unwrap();
    assert!(put().is_ok());
}
