//! Two delivery streams with one budget, of which one destination takes nothing for a while: the
//! other stream ends all the same, and what was dropped for its sake is delivered afterwards, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock as _;
use hydrant_pipeline::lane::NoHooks;
use hydrant_testkit::sim::World;

use crate::model::Model;

const SEEDS: u64 = 500;
const STALLED: Duration = Duration::from_mins(2);

/// Runs one seed. Says whether memory was short while one was stalled.
fn run(seed: u64) -> bool {
    let world = World::new(seed);
    let models = ["stuck", "well"].map(|name| Model::in_world(&world, name, Arc::new(NoHooks)));
    let [stuck, well] = &models;
    // The range that is being delivered fits, and not all that is made ahead; a share holds no read.
    let capacity = usize::try_from(world.rng.between(22_000, 26_000)).unwrap();
    let budget = Budget::new(capacity);
    budget.set_share("stuck", 200);
    budget.set_share("well", 200);
    stuck.sink.stalled.store(true, Ordering::Relaxed);
    for model in &models {
        model.faults(5);
        model.start_lane(model.context_of("A", &budget));
    }
    let mut short = false;
    while world.monotonic() < STALLED {
        world.run_until(world.monotonic() + Duration::from_millis(500));
        short |= budget.waiting() > 0;
    }
    well.faults(0);
    world.run_until(STALLED + Duration::from_secs(20));
    assert!(
        well.is_done(),
        "seed {seed}: the other stream was held up, {:?} of {capacity}; {:?}",
        budget.holders(),
        models.each_ref().map(|model| model.status.snapshot()),
    );
    stuck.faults(0);
    stuck.sink.stalled.store(false, Ordering::Relaxed);
    world.run_until(world.monotonic() + Duration::from_mins(3));
    for model in &models {
        let violations = model.violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
    assert_eq!(budget.used(), 0, "seed {seed}");
    short
}

#[test]
fn a_stalled_destination_holds_no_other_up() {
    let short = (0..SEEDS).filter(|seed| run(*seed)).count();
    assert!(short > 50, "memory was short in {short} seeds only");
}
