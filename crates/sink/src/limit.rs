//! How many requests a destination gets at once: one more while it answers, half as many once it
//! asks to slow down or does not answer in time (AIMD; reliability design, section 7). Without it
//! a slow destination gets so many bodies side by side that none arrives within its time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests at once, at the beginning and at most (reliability design, section 7).
const FIRST: usize = 4;
const MOST: usize = 64;

/// The places of one sink. Whoever waits for one must be polled until it has it and gives it back.
#[derive(Clone)]
pub(crate) struct Limit(Arc<Inner>);

struct Inner {
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Places that are taken out as soon as they come back.
    debt: usize,
    /// Answers since the limit changed.
    answers: usize,
    /// How often the limit was cut.
    cuts: u64,
}

/// A request's place. Dropped without a word it says nothing of the destination.
pub(crate) struct Place {
    inner: Arc<Inner>,
    permit: Option<OwnedSemaphorePermit>,
    cuts: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(FIRST)),
            state: Mutex::new(State {
                limit: FIRST,
                debt: 0,
                answers: 0,
                cuts: 0,
            }),
        }))
    }
}

impl Limit {
    /// Waits for a place.
    pub(crate) async fn enter(&self) -> Place {
        let permit = self.0.places.clone().acquire_owned().await;
        Place {
            inner: self.0.clone(),
            permit: permit.ok(),
            cuts: self.0.state().cuts,
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The destination took it: with a whole window of such answers, while all places are in use,
    /// there is one place more.
    pub(crate) fn answered(self) {
        if self.inner.places.available_permits() > 0 {
            return;
        }
        let mut state = self.inner.state();
        state.answers += 1;
        if state.answers >= state.limit && state.limit < MOST {
            state.limit += 1;
            state.answers = 0;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.inner.places.add_permits(1);
            }
        }
    }

    /// It asked to slow down, or was too slow. All that were under way at the time count once.
    pub(crate) fn overloaded(self) {
        let mut state = self.inner.state();
        if state.cuts == self.cuts {
            let less = state.limit.div_ceil(2);
            state.debt += state.limit - less;
            state.limit = less;
            state.answers = 0;
            state.cuts += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if state.debt > 0
            && let Some(permit) = self.permit.take()
        {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::{FIRST, Limit, Place};

    fn enter(limit: &Limit) -> Option<Place> {
        match pin!(limit.enter()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    fn fill(limit: &Limit) -> Vec<Place> {
        std::iter::from_fn(|| enter(limit)).collect()
    }

    #[test]
    fn grows_by_one_a_window_and_halves_once_for_all_that_were_under_way() {
        let limit = Limit::default();
        let places = fill(&limit);
        assert_eq!(places.len(), FIRST);
        places.into_iter().for_each(Place::answered);
        assert_eq!(fill(&limit).len(), FIRST, "not all were in use to the end");
        for _ in 0..FIRST {
            let mut places = fill(&limit);
            places.pop().unwrap().answered();
        }
        let places = fill(&limit);
        assert_eq!(places.len(), FIRST + 1);
        places.into_iter().for_each(Place::overloaded);
        assert_eq!(fill(&limit).len(), 3);
        for _ in 0..4 {
            enter(&limit).unwrap().overloaded();
        }
        let last = fill(&limit);
        assert_eq!(last.len(), 1, "one may always");
        drop(last);
        assert!(
            enter(&limit).is_some(),
            "a place that was dropped came back"
        );
    }
}
