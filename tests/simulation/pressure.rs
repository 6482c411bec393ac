//! Memory that is short: ranges whose hints say nothing yet are sealed early, so that reading goes on.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock as _;
use hydrant_pipeline::lane::NoHooks;
use hydrant_testkit::sim::World;

use crate::model::Model;

const SEEDS: u64 = 100;

/// Objects that become visible where neither size nor interval seals anything.
fn objects(seed: u64, budget_bytes: usize) -> usize {
    let world = World::new(seed);
    let model = Model::in_world(&world, "model", Arc::new(NoHooks)).without_size_hint();
    let budget = Budget::new(budget_bytes);
    let mut context = model.context_of("A", &budget);
    context.interval = Duration::from_hours(100);
    model.start_lane(context);
    world.run_until(world.monotonic() + Duration::from_mins(5));
    let violations = model.violations();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    assert_eq!(budget.used(), 0, "seed {seed}");
    model.sink.objects().len()
}

#[test]
fn ranges_seal_early_where_memory_is_short() {
    for seed in 0..SEEDS {
        let (short, roomy) = (objects(seed, 700), objects(seed, 1 << 20));
        assert!(short > roomy, "seed {seed}: {short} and {roomy} objects");
    }
}
