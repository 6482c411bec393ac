//! The state store's rules.

use std::sync::Arc;

use bytes::Bytes;
use hydrant_core::Position;
use hydrant_core::state::{INTENT_MAX_BYTES, LaneState, StateError, StateStore};
use hydrant_log::StateLog;
use hydrant_testkit::inline::{InlineOffload, finish, poll_once};

use crate::harness::{Bench, dir, small};
use crate::state_crash::key;

fn open(bench: &Bench) -> StateLog {
    let env = bench.env_on(Arc::new(InlineOffload));
    StateLog::open(env, &dir(), [4; 16], small(None)).unwrap()
}

fn at(position: u64, generation: u64) -> LaneState {
    let position = Position::from_u64(position);
    LaneState {
        generation,
        ..LaneState::starting_after(position)
    }
}

#[test]
fn positions_move_forward_or_by_a_new_generation() {
    let bench = Bench::new();
    let store = open(&bench);
    let mut lane = finish(store.open(key(1))).unwrap();
    assert_eq!(lane.current(), None);
    finish(lane.store(at(10, 1))).unwrap();
    finish(lane.store(at(10, 1))).unwrap();
    let back = finish(lane.store(at(9, 1))).unwrap_err();
    assert!(matches!(&back, StateError::Invariant(text) if text.contains("lake/clicks/shard-1")));
    finish(lane.store(at(9, 2))).unwrap();
    assert!(matches!(
        finish(lane.store(at(20, 1))),
        Err(StateError::Invariant(_))
    ));
    let long = LaneState {
        intent: Some(vec![0; INTENT_MAX_BYTES + 1].into()),
        ..at(9, 2)
    };
    assert!(matches!(
        finish(lane.store(long)),
        Err(StateError::Invariant(_))
    ));
    let most = LaneState {
        intent: Some(vec![1; INTENT_MAX_BYTES].into()),
        ..at(9, 2)
    };
    finish(lane.store(most.clone())).unwrap();
    assert_eq!(lane.current(), Some(&most));
    drop((lane, store));
    let store = open(&bench);
    assert_eq!(store.all(), [(key(1), most.clone())]);
    assert_eq!(finish(store.open(key(1))).unwrap().current(), Some(&most));
    assert_eq!(store.id(), [4; 16]);
}

#[test]
fn the_last_owner_writes_and_the_others_are_fenced() {
    let bench = Bench::new();
    let store = open(&bench);
    let mut old = finish(store.open(key(1))).unwrap();
    finish(old.store(at(1, 1))).unwrap();
    let mut new = finish(store.open(key(1))).unwrap();
    assert!(matches!(
        finish(old.store(at(2, 1))),
        Err(StateError::Fenced)
    ));
    finish(new.store(at(3, 1))).unwrap();
    assert_eq!(store.peek(&key(1)), Some(at(3, 1)));
}

#[test]
fn a_write_under_way_loses_to_a_new_owner() {
    let bench = Bench::new();
    let store = StateLog::open(bench.env(), &dir(), [4; 16], small(None)).unwrap();
    let run = |future: hydrant_core::BoxFuture<'_, Result<(), StateError>>| {
        let mut future = future;
        while poll_once(future.as_mut()).is_pending() {
            bench.io.step();
        }
    };
    let mut old = finish(store.open(key(1))).unwrap();
    run(old.store(at(1, 1)));
    let mut late = old.store(at(2, 1));
    assert!(poll_once(late.as_mut()).is_pending(), "queued, not synced");
    let mut taking = store.open(key(1));
    assert!(poll_once(taking.as_mut()).is_pending());
    while bench.io.step() {}
    let std::task::Poll::Ready(Ok(new)) = poll_once(taking.as_mut()) else {
        panic!("not taken")
    };
    assert_eq!(new.current(), Some(&at(1, 1)));
    let std::task::Poll::Ready(answer) = poll_once(late.as_mut()) else {
        panic!("no answer")
    };
    assert!(matches!(answer, Err(StateError::Fenced)));
    drop((late, new, taking));
    drop((old, store));
    assert_eq!(
        open(&bench).peek(&key(1)),
        Some(at(1, 1)),
        "what both were told"
    );
}

#[test]
fn entries_are_kept_by_kind() {
    let bench = Bench::new();
    let store = open(&bench);
    finish(store.put_entry("stream", "b", Bytes::from_static(b"2"))).unwrap();
    finish(store.put_entry("stream", "a", Bytes::new())).unwrap();
    finish(store.put_entry("other", "a", Bytes::from_static(b"3"))).unwrap();
    finish(store.remove_entry("other", "a")).unwrap();
    finish(store.remove_entry("other", "never there")).unwrap();
    let check = |store: &StateLog| {
        let all = vec![
            ("a".to_owned(), Bytes::new()),
            ("b".to_owned(), Bytes::from_static(b"2")),
        ];
        assert_eq!(store.entries("stream"), all);
        assert!(store.entries("other").is_empty());
    };
    check(&store);
    drop(store);
    check(&open(&bench));
}

#[test]
fn a_long_life_stays_small_and_its_start_is_quick() {
    let bench = Bench::new();
    let store = open(&bench);
    let mut lanes: Vec<_> = (0..3)
        .map(|lane| finish(store.open(key(lane))).unwrap())
        .collect();
    for position in 0..2000 {
        for lane in &mut lanes {
            finish(lane.store(at(position, 1))).unwrap();
        }
    }
    assert!(
        store.bytes_on_disk() <= 12 << 10,
        "{}",
        store.bytes_on_disk()
    );
    drop((lanes, store));
    let store = open(&bench);
    assert_eq!(store.all().len(), 3);
    assert!(store.all().iter().all(|(_, state)| *state == at(1999, 1)));
}
