//! What stands between those who ask and one destination: the breaker and the budget of retries,
//! shared by all attempts at it. Takes its time from the clock that was handed in.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::breaker::{Breaker, BreakerState, Outcome, Ticket};
use super::budget::RetryBudget;
use super::status::Status;
use crate::clock::Clock;
use crate::rng::Rng;

/// The gate of one destination.
pub(super) struct Gate {
    state: Mutex<State>,
    /// The breaker has changed.
    changed: Notify,
}

struct State {
    breaker: Breaker,
    budget: RetryBudget,
    /// How often the breaker closed again.
    recoveries: u64,
    /// Since when it is not closed.
    sick_since: Option<Duration>,
}

impl State {
    /// Whether the breaker alone says when an attempt goes on that failed when the destination had got
    /// well so often.
    fn is_the_breakers(&self, recoveries: u64) -> bool {
        self.breaker.state() != BreakerState::Closed || self.recoveries != recoveries
    }
}

impl Gate {
    pub(super) fn new(now: Duration, status: &Status) -> Self {
        status.set_breaker(BreakerState::Closed);
        Self {
            state: Mutex::new(State {
                breaker: Breaker::default(),
                budget: RetryBudget::new(now),
                recoveries: 0,
                sick_since: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Waits until a call may go. Nothing is handed to whoever waits, so one that is not polled stands
    /// in nobody's way.
    pub(super) async fn enter(&self, clock: &dyn Clock, status: &Status) -> Ticket {
        loop {
            // Before the look: a change after it is not missed.
            let changed = self.changed.notified();
            let entered = {
                let mut state = self.state();
                let entered = state.breaker.enter(clock.monotonic());
                status.set_breaker(state.breaker.state());
                entered
            };
            match entered {
                Ok(ticket) => return ticket,
                Err(None) => changed.await,
                Err(Some(wait)) => {
                    first_of(changed, clock.sleep(wait)).await;
                }
            }
        }
    }

    pub(super) fn is_current(&self, ticket: &Ticket) -> bool {
        self.state().breaker.is_current(ticket)
    }

    /// Notes what a call came to, if it is known.
    pub(super) fn ended(
        &self,
        ticket: &Ticket,
        outcome: Option<Outcome>,
        (clock, rng): (&dyn Clock, &dyn Rng),
        status: &Status,
    ) {
        let now = clock.monotonic();
        let mut state = self.state();
        match outcome {
            Some(Outcome::Answered) => state.budget.answered(),
            Some(_) => state.budget.failed(),
            None => {}
        }
        let before = state.breaker.state();
        state.breaker.ended(ticket, outcome, now, rng);
        let after = state.breaker.state();
        if before == after {
            return;
        }
        status.set_breaker(after);
        match (after, state.sick_since) {
            (BreakerState::Closed, since) => {
                state.recoveries += 1;
                state.sick_since = None;
                let sick_for = now.saturating_sub(since.unwrap_or(now));
                info!(?sick_for, "the destination is well again");
            }
            // A probe that was dropped: the next one goes at once.
            _ if outcome.is_none() => {}
            (_, None) => {
                state.sick_since = Some(now);
                status.breaker_opened();
                warn!("the destination is sick: it is asked now and then, and all else waits");
            }
            (_, Some(_)) => {
                status.breaker_opened();
                debug!("the destination is still sick");
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().breaker.state() == BreakerState::Closed
    }

    fn is_the_breakers(&self, recoveries: u64) -> bool {
        self.state().is_the_breakers(recoveries)
    }

    /// How often the destination got well again.
    pub(super) fn recoveries(&self) -> u64 {
        self.state().recoveries
    }

    /// Waits so long, or until the destination is sick, or has been since it had got well `recoveries`
    /// times: then the breaker says when it goes on. A lane in a long pause of its own would send no
    /// probe, and go on later than the others.
    pub(super) async fn rest(&self, clock: &dyn Clock, pause: Duration, recoveries: u64) {
        let mut sleep = clock.sleep(pause);
        loop {
            let changed = self.changed.notified();
            if self.is_the_breakers(recoveries) || first_of(sleep.as_mut(), changed).await {
                return;
            }
        }
    }

    /// Waits until another attempt may follow one that failed when the destination had got well
    /// `recoveries` times. Since then, or while it is sick, that is the breaker's matter: what waited
    /// for it to get well does not wait for the budget too.
    pub(super) async fn allow_retry(&self, clock: &dyn Clock, status: &Status, recoveries: u64) {
        let mut held = None;
        loop {
            let wait = {
                let mut state = self.state();
                if state.is_the_breakers(recoveries) {
                    return;
                }
                match state.budget.take(clock.monotonic()) {
                    Ok(()) => return,
                    Err(wait) => wait,
                }
            };
            held.get_or_insert_with(|| status.holds_retry());
            self.rest(clock, wait, recoveries).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the one or the other; whether the first is done.
async fn first_of(first: impl Future<Output = ()>, second: impl Future<Output = ()>) -> bool {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        second.as_mut().poll(context).map(|()| false)
    })
    .await
}
