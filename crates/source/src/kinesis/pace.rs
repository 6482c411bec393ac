//! Paces reads: Kinesis refuses more than five `GetRecords` calls a second to a shard, over all that
//! read it (reference, section 1.2).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hydrant_core::Lane;

/// Least time between two calls to a shard.
const SPACING: Duration = Duration::from_millis(200);
/// Shards that are remembered before those that are not read any more are looked for.
const SWEEP_FROM: usize = 256;

/// The next free times of all shards of the process. Clones share them.
#[derive(Clone, Default)]
pub struct Pace(Arc<Mutex<Shards>>);

#[derive(Default)]
struct Shards {
    /// By stream and shard: when the next call may begin, by the monotonic clock.
    free: BTreeMap<(Arc<str>, Lane), Duration>,
    sweep_from: usize,
}

impl Pace {
    /// Takes the next free time of a shard at or after `from`; gives it. Both are of the monotonic
    /// clock. Calls are served in the order in which they asked.
    pub(super) fn reserve(&self, stream: &Arc<str>, shard: &Lane, from: Duration) -> Duration {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stream.clone(), shard.clone());
        let time = shards.free.get(&key).copied().unwrap_or_default().max(from);
        shards.free.insert(key, time + SPACING);
        if shards.free.len() > shards.sweep_from.max(SWEEP_FROM) {
            shards.free.retain(|_, free| *free > from);
            shards.sweep_from = 2 * shards.free.len();
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hydrant_core::Lane;

    use super::{Pace, SPACING, SWEEP_FROM};

    #[test]
    fn calls_to_a_shard_are_spaced_and_shards_do_not_hinder_each_other() {
        let (pace, stream) = (Pace::default(), Arc::from("stream"));
        let (one, two) = (Lane::new("shardId-0"), Lane::new("shardId-1"));
        let at = Duration::from_secs(5);
        assert_eq!(pace.reserve(&stream, &one, at), at);
        assert_eq!(pace.reserve(&stream, &one, at), at + SPACING);
        assert_eq!(pace.clone().reserve(&stream, &one, at), at + 2 * SPACING);
        assert_eq!(pace.reserve(&stream, &two, at), at);
        let later = at + Duration::from_secs(9);
        assert_eq!(pace.reserve(&stream, &one, later), later);
    }

    #[test]
    fn shards_that_are_not_read_are_forgotten() {
        let (pace, stream) = (Pace::default(), Arc::from("stream"));
        for i in 0..10 * SWEEP_FROM {
            let lane = Lane::new(format!("shardId-{i}"));
            pace.reserve(&stream, &lane, Duration::from_secs(i as u64));
        }
        let kept = pace.0.lock().expect("no panic").free.len();
        assert!(kept <= SWEEP_FROM + 1, "{kept}");
    }
}
