//! The state store against a model, by seed, through power cuts and kills: what is found is the
//! last state that was acknowledged, or a later one that was under way.

use std::collections::BTreeMap;
use std::task::Poll;

use bytes::Bytes;
use hydrant_core::rng::Rng;
use hydrant_core::state::{LaneState, LaneStore, StateStore};
use hydrant_core::{BoxFuture, Lane, LaneKey, Position};
use hydrant_log::{LogOptions, StateLog};
use hydrant_testkit::inline::{SteppedOffload, poll_once};
use hydrant_testkit::sim::SimRng;

use crate::harness::{Bench, dir, small};

const LANES: u64 = 4;
const KIND: &str = "stream";

/// What a key may be found at.
struct Allowed<T> {
    acknowledged: Option<T>,
    /// Queued after it and not answered.
    under_way: Vec<Option<T>>,
}

impl<T> Default for Allowed<T> {
    fn default() -> Self {
        Self {
            acknowledged: None,
            under_way: Vec::new(),
        }
    }
}

impl<T: Clone + PartialEq + std::fmt::Debug> Allowed<T> {
    fn answer(&mut self, value: Option<T>) {
        self.acknowledged = value;
        self.under_way.clear();
    }

    /// Checks what a new start found, and takes it as the truth from now on.
    fn found(&mut self, value: Option<T>) -> Result<(), String> {
        if value != self.acknowledged && !self.under_way.contains(&value) {
            return Err(format!(
                "found {value:?}, acknowledged was {:?}",
                self.acknowledged
            ));
        }
        self.answer(value);
        Ok(())
    }
}

#[derive(Default)]
struct Model {
    lanes: BTreeMap<u64, Allowed<LaneState>>,
    entries: BTreeMap<String, Allowed<Bytes>>,
}

pub(crate) fn key(lane: u64) -> LaneKey {
    let lane = Lane::new(format!("shard-{lane}"));
    LaneKey {
        delivery_stream: "lake".into(),
        source: "clicks".into(),
        lane,
    }
}

/// Polls to the end, running jobs; `None` where it was dropped midway.
fn drive<T>(rng: &SimRng, io: &SteppedOffload, mut future: BoxFuture<'_, T>) -> Option<T> {
    loop {
        if let Poll::Ready(answer) = poll_once(future.as_mut()) {
            return Some(answer);
        }
        if rng.chance(8) {
            return None;
        }
        if rng.chance(80) {
            io.step();
        }
    }
}

fn next_state(rng: &SimRng, current: Option<&LaneState>) -> LaneState {
    let mut next = current
        .cloned()
        .unwrap_or_else(|| LaneState::starting_after(Position::from_u64(10)));
    if rng.chance(10) {
        next.generation += 1;
        next.position = Position::from_u64(rng.below(20));
    }
    let intent = usize::try_from(rng.below(200)).unwrap();
    next.intent = rng.chance(50).then(|| vec![7; intent].into());
    next.position = next.position.advance(1, rng.below(5));
    next.ended = rng.chance(5);
    next
}

/// One run of the process, until the power goes or it ends.
fn epoch(
    rng: &SimRng,
    bench: &Bench,
    options: &LogOptions,
    model: &mut Model,
) -> Result<(), String> {
    bench
        .disk
        .power_off_after(if rng.chance(25) { 0 } else { 1 + rng.below(90) });
    let opened = StateLog::open(bench.env(), &dir(), [4; 16], options.clone());
    if bench.disk.is_off() {
        return Ok(());
    }
    let store = opened.map_err(|error| format!("it does not open: {error}"))?;
    for lane in 0..LANES {
        model
            .lanes
            .entry(lane)
            .or_default()
            .found(store.peek(&key(lane)))?;
    }
    let entries: BTreeMap<String, Bytes> = store.entries(KIND).into_iter().collect();
    for lane in 0..LANES {
        let name = format!("s{lane}");
        let found = entries.get(&name).cloned();
        model.entries.entry(name).or_default().found(found)?;
    }
    let mut handles: BTreeMap<u64, Box<dyn LaneStore>> = BTreeMap::new();
    for _ in 0..rng.between(5, 60) {
        let lane = rng.below(LANES);
        match (rng.below(8), handles.contains_key(&lane)) {
            (0, _) | (1..=5, false) => take(rng, bench, &store, lane, &mut handles, model)?,
            (1..=5, true) => {
                if let Some(handle) = handles.get_mut(&lane) {
                    store_next(rng, bench, handle.as_mut(), lane, model)?;
                }
            }
            _ => put(rng, bench, &store, lane, model)?,
        }
        if bench.disk.is_off() {
            break;
        }
    }
    Ok(())
}

fn take(
    rng: &SimRng,
    bench: &Bench,
    store: &StateLog,
    lane: u64,
    handles: &mut BTreeMap<u64, Box<dyn LaneStore>>,
    model: &mut Model,
) -> Result<(), String> {
    let taken = drive(rng, &bench.io, store.open(key(lane)));
    // Whether or not it was dropped: the owner before is out, or may be.
    handles.remove(&lane);
    match taken {
        Some(Ok(handle)) => {
            model
                .lanes
                .entry(lane)
                .or_default()
                .found(handle.current().cloned())?;
            handles.insert(lane, handle);
        }
        Some(Err(error)) if !bench.disk.is_off() => return Err(format!("open failed: {error}")),
        _ => {}
    }
    Ok(())
}

fn store_next(
    rng: &SimRng,
    bench: &Bench,
    handle: &mut dyn LaneStore,
    lane: u64,
    model: &mut Model,
) -> Result<(), String> {
    let next = next_state(rng, handle.current());
    let allowed = model.lanes.entry(lane).or_default();
    allowed.under_way.push(Some(next.clone()));
    match drive(rng, &bench.io, handle.store(next.clone())) {
        Some(Ok(())) => allowed.answer(Some(next)),
        Some(Err(error)) if !bench.disk.is_off() => return Err(format!("store failed: {error}")),
        _ => {}
    }
    Ok(())
}

fn put(
    rng: &SimRng,
    bench: &Bench,
    store: &StateLog,
    lane: u64,
    model: &mut Model,
) -> Result<(), String> {
    let name = format!("s{lane}");
    let len = usize::try_from(rng.below(100)).unwrap();
    let value = rng
        .chance(70)
        .then(|| Bytes::from(vec![rng.next().to_le_bytes()[0]; len]));
    let allowed = model.entries.entry(name.clone()).or_default();
    allowed.under_way.push(value.clone());
    let done = match value.clone() {
        Some(value) => drive(
            rng,
            &bench.io,
            Box::pin(store.put_entry(KIND, &name, value)),
        ),
        None => drive(rng, &bench.io, Box::pin(store.remove_entry(KIND, &name))),
    };
    match done {
        Some(Ok(())) => allowed.answer(value),
        Some(Err(error)) if !bench.disk.is_off() => return Err(format!("put failed: {error}")),
        _ => {}
    }
    Ok(())
}

#[test]
fn the_last_acknowledged_state_or_a_later_one_is_found() {
    let (mut compacted, mut crashed) = (0, 0);
    for seed in 0..600 {
        let rng = SimRng::new(seed);
        let mut bench = Bench::new();
        let mut model = Model::default();
        let options = LogOptions {
            max_spare_segments: 1,
            ..small(None)
        };
        for _ in 0..4 {
            epoch(&rng, &bench, &options, &mut model)
                .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            let off = bench.disk.is_off();
            if !off {
                // The files stay small because the log is written anew.
                let mut used = 0;
                for name in hydrant_core::disk::Disk::list(&bench.disk, &dir()).unwrap() {
                    let path = dir().join(name);
                    let file = hydrant_core::disk::Disk::open(&bench.disk, &path).unwrap();
                    used += file.len().unwrap();
                }
                assert!(used < 64 << 10, "seed {seed}: {used} bytes");
                compacted += 1;
            }
            bench.io.abandon();
            if off || rng.chance(50) {
                crashed += 1;
                bench.disk = bench.disk.crash(&rng);
            }
        }
    }
    assert!(compacted > 200 && crashed > 600, "{compacted} {crashed}");
}
