//! A simulated position store with owners: taking a lane fences whoever had it, as a lease does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hydrant_core::state::{LaneState, LaneStore, StateError, StateStore};
use hydrant_core::{BoxFuture, LaneKey, planted};

use super::world::{World, lock};

#[derive(Clone, Default)]
struct Row {
    counter: u64,
    state: Option<LaneState>,
}

type Rows = Arc<Mutex<BTreeMap<LaneKey, Row>>>;

/// The store. Clones share their rows, as workers share a lease table.
#[derive(Clone)]
pub struct SimStore {
    world: World,
    rows: Rows,
    /// Percent of writes that fail: half of these were applied all the same.
    pub fails_percent: Arc<AtomicU64>,
}

impl SimStore {
    /// An empty store.
    pub fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            rows: Rows::default(),
            fails_percent: Arc::default(),
        }
    }

    fn take(&self, key: &LaneKey) -> (u64, Option<LaneState>) {
        let mut rows = lock(&self.rows);
        let row = rows.entry(key.clone()).or_default();
        row.counter += 1;
        (row.counter, row.state.clone())
    }

    /// What is stored for a lane.
    pub fn state(&self, key: &LaneKey) -> Option<LaneState> {
        lock(&self.rows).get(key).and_then(|row| row.state.clone())
    }
}

impl StateStore for SimStore {
    fn open(&self, key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>> {
        Box::pin(async move {
            self.world.random_pause(5).await;
            let (counter, current) = self.take(&key);
            self.world.random_pause(5).await;
            let handle = SimLaneStore {
                store: self.clone(),
                key,
                counter,
                current,
            };
            Ok(Box::new(handle) as Box<dyn LaneStore>)
        })
    }
}

struct SimLaneStore {
    store: SimStore,
    key: LaneKey,
    counter: u64,
    current: Option<LaneState>,
}

impl LaneStore for SimLaneStore {
    fn current(&self) -> Option<&LaneState> {
        self.current.as_ref()
    }

    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(async move {
            let world = self.store.world.clone();
            world.random_pause(10).await;
            let fails = world
                .rng
                .chance(self.store.fails_percent.load(Ordering::Relaxed));
            if !world.step() {
                return std::future::pending().await;
            }
            if fails {
                world.trace.fired("store failed");
            }
            if fails && world.rng.chance(50) {
                return Err(StateError::Unavailable("simulated refusal".into()));
            }
            {
                let mut rows = lock(&self.store.rows);
                let row = rows.entry(self.key.clone()).or_default();
                if row.counter != self.counter && !planted!("lease-ignored") {
                    world.trace.fired("store fenced");
                    return Err(StateError::Fenced);
                }
                if row
                    .state
                    .as_ref()
                    .is_some_and(|before| before.position > next.position)
                {
                    let text = format!("{} moves backward", self.key);
                    return Err(StateError::Invariant(text));
                }
                row.state = Some(next.clone());
            }
            world.random_pause(10).await;
            if fails {
                return Err(StateError::Unavailable("simulated lost answer".into()));
            }
            self.current = Some(next);
            Ok(())
        })
    }
}
