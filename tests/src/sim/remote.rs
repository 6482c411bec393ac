//! A remote stream with a lineage: shards that end, split and merge, all records known beforehand.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::rng::Rng as _;
use hydrant_core::{Lane, Position, RecordsBuilder};
use hydrant_testkit::sim::world::EPOCH_MS;
use hydrant_testkit::sim::{SimSource, World};

use super::oracle::Oracle;
use super::plan::Plan;
use super::record::text;

/// A lane: its name, its parents, and between which milliseconds its records arrive.
type Shard = (&'static str, &'static [&'static str], u64, u64);

const ONE: &[Shard] = &[("a", &[], 0, 9000)];
const SPLIT: &[Shard] = &[
    ("a", &[], 0, 4000),
    ("b", &["a"], 4000, 9000),
    ("c", &["a"], 4000, 9000),
];
const MERGE: &[Shard] = &[
    ("a", &[], 0, 4000),
    ("b", &[], 0, 5000),
    ("c", &["a", "b"], 5000, 9000),
];

/// Makes the stream of a plan, and tells the oracle all that is in it.
pub(crate) fn source(world: &World, oracle: &Oracle, plan: &Plan) -> Arc<SimSource> {
    let shards = match plan.sizes.shards {
        1 => ONE,
        2 => SPLIT,
        _ => MERGE,
    };
    let mut source = SimSource::new(world);
    source.tells_trimmed = plan.sizes.tells_trimmed;
    let mut number = 0;
    for (name, parents, from_ms, to_ms) in shards {
        let count = plan.records / shards.len() as u64;
        let (lane, mut at) = (Lane::new(*name), EPOCH_MS + from_ms);
        let (mut builder, mut sequence, mut sub) = (RecordsBuilder::default(), 100, 0);
        for _ in 0..count {
            at = (at + world.rng.below(2 * (to_ms - from_ms) / count.max(1) + 1))
                .min(EPOCH_MS + to_ms);
            if world.rng.chance(15) {
                sub += 1;
            } else {
                sub = 0;
                sequence += world.rng.between(1, 5);
            }
            let key = format!("k{}", world.rng.below(5));
            let padding = usize::try_from(world.rng.below(40)).unwrap();
            let position = Position::from_u64(sequence).with_sub(sub);
            let record = text(number, &key, padding);
            builder.push(position, at, key.as_bytes(), record.as_bytes());
            oracle.acked(number, &lane, position);
            number += 1;
        }
        let parents: Vec<Lane> = parents.iter().map(|parent| Lane::new(*parent)).collect();
        oracle.parents(&lane, &parents);
        let names: Vec<&str> = parents.iter().map(Lane::as_str).collect();
        let opens = Duration::from_millis(*from_ms);
        source = source.with_child(name, &names, opens, builder.build(), true);
    }
    Arc::new(source)
}
