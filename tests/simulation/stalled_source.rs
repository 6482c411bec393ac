//! A source that answers once what lanes it has, and never again: the lanes that are worked on go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant_core::budget::{Account, Budget, Holder};
use hydrant_core::clock::Clock as _;
use hydrant_core::stage::{LaneInfo, Read, Source, SourceError};
use hydrant_core::{BoxFuture, Lane, Position};
use hydrant_pipeline::lane::NoHooks;
use hydrant_pipeline::{DeliveryStream, Setting};
use hydrant_testkit::sim::world::SimRng;
use hydrant_testkit::sim::{SimSource, World};
use tokio::sync::watch;

use crate::model::Model;

const SEEDS: u64 = 100;
/// Longer than a delivery stream lets pass before it asks for lanes again.
const STALLED: Duration = Duration::from_secs(30);

struct AnswersOnce {
    source: Arc<SimSource>,
    asked: Arc<AtomicU64>,
}

impl Source for AnswersOnce {
    fn identity(&self) -> &str {
        self.source.identity()
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        if self.asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return Box::pin(std::future::pending());
        }
        self.source.lanes()
    }

    fn start<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        self.source.start(lane)
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        self.source.read(lane, after, max_bytes, wait, account)
    }

    fn committed(&self, lane: &Lane, position: Position) {
        self.source.committed(lane, position);
    }
}

fn run(seed: u64) {
    let world = World::new(seed);
    let model = Model::in_world(&world, "model", Arc::new(NoHooks));
    model.sink.stalled.store(true, Ordering::Relaxed);
    let budget = Budget::new(100_000);
    let context = model.context_of("A", &budget);
    let asked = Arc::new(AtomicU64::new(0));
    let stream = DeliveryStream::new(Setting {
        name: model.key.delivery_stream.clone(),
        source: Arc::new(AnswersOnce {
            source: model.source.clone(),
            asked: asked.clone(),
        }),
        state: context.state,
        versions: context.versions,
        offload: context.offload,
        clock: context.clock,
        rng: Arc::new(SimRng::new(seed)),
        budget: budget.clone(),
        interval: context.interval,
        read_bytes: context.read_bytes,
        status: context.status,
        hooks: context.hooks,
    });
    let (stop, stopping) = watch::channel(false);
    let task = world.start(async move { stream.run(stopping).await });
    world.run_until(STALLED);
    assert!(asked.load(Ordering::Relaxed) > 1, "it was not asked again");
    assert!(!model.is_done(), "nothing can be delivered yet");
    let held = budget.holders();
    let own = |one: &Holder| *one.name == *model.key.delivery_stream && one.held > 0;
    assert!(
        held.iter().all(own),
        "it has memory under another name: {held:?}"
    );
    model.sink.stalled.store(false, Ordering::Relaxed);
    world.run_until(world.monotonic() + Duration::from_mins(2));
    assert!(model.is_done(), "seed {seed}: the lane stands still");
    assert_eq!(model.violations(), Vec::<String>::new(), "seed {seed}");
    stop.send_replace(true);
    world.run_until(world.monotonic() + Duration::from_secs(1));
    assert!(!world.lives(task), "seed {seed}: it does not end");
}

#[test]
fn a_source_that_does_not_name_its_lanes_stops_none() {
    for seed in 0..SEEDS {
        run(seed);
    }
}
