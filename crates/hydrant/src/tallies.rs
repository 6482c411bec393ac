//! What the modules of one delivery stream have done, in whatever version: counted by processor and
//! module.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hydrant_transform::{Tally, TallySnapshot};

/// Index among the processors, and the module's digest in hex.
type Place = (usize, String);

/// The tallies of one delivery stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies(Arc<Mutex<BTreeMap<Place, Arc<Tally>>>>);

impl Tallies {
    /// Where a module at this place is counted.
    pub(crate) fn of(&self, processor: usize, module: &str) -> Arc<Tally> {
        let place = (processor, module.to_owned());
        self.lock().entry(place).or_default().clone()
    }

    /// All of them, but for those that no transform counts in any more.
    pub(crate) fn snapshots(&self) -> Vec<(Place, TallySnapshot)> {
        let mut tallies = self.lock();
        tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        let shown = |(place, tally): (&Place, &Arc<Tally>)| (place.clone(), tally.snapshot());
        tallies.iter().map(shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Tally>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Tallies;

    #[test]
    fn a_module_has_one_tally_for_as_long_as_it_is_used() {
        let tallies = Tallies::default();
        let (first, again) = (tallies.of(0, "a"), tallies.of(0, "a"));
        assert!(std::sync::Arc::ptr_eq(&first, &again));
        let other = tallies.of(1, "a");
        assert_eq!(tallies.snapshots().len(), 2);
        drop((first, other));
        let left: Vec<_> = tallies.snapshots().into_iter().map(|one| one.0).collect();
        assert_eq!(left, [(0, "a".to_owned())]);
        drop(again);
    }
}
