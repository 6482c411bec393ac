//! The one retry layer, of sources and sinks: pauses between attempts at one thing, without an end.
//! Takes what failed and why; counts it, warns at a bounded rate, and waits by the clock that was
//! handed in. What asks a destination over a network also waits while that is sick (`breaker`), and
//! repeats no more than it answers for (`budget`); first attempts never wait for the budget.

mod breaker;

mod budget;

mod gate;

mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::rng::Rng;

use self::gate::Gate;

pub use breaker::{Breaker, BreakerState, Outcome, Ticket};
pub use budget::{BURST, RetryBudget};
pub use status::{Class, Failing, Status, StatusSnapshot};

/// Least pause after a failure that a person must mend: no use in asking sooner.
const SLOW: Duration = Duration::from_secs(15);
/// Least time between two warnings of one source or sink.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// What all attempts of one source or sink share.
#[derive(Clone)]
pub struct Retry(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    status: Status,
    gate: Option<Gate>,
    /// When the next warning is due, in milliseconds of the monotonic clock.
    warn_from_ms: AtomicU64,
}

/// Why an attempt failed, where another follows.
#[derive(Debug)]
pub struct Fault {
    /// What kind of failure.
    pub class: Class,
    /// The least pause that the other side asked for.
    pub after: Option<Duration>,
    /// What happened, for a person.
    pub text: String,
}

impl Retry {
    /// Counts from zero. Nothing stands between the attempts and what they are made at: for what
    /// harms nobody by being asked.
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self::with_gate(clock, rng, |_| None)
    }

    /// The same with a breaker and a budget of retries, for a destination that others use too. Each
    /// call at it is to be made with [`Retry::call`].
    pub fn of_destination(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let now = clock.monotonic();
        Self::with_gate(clock, rng, |status| Some(Gate::new(now, status)))
    }

    fn with_gate(
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        gate: impl FnOnce(&Status) -> Option<Gate>,
    ) -> Self {
        let status = Status::default();
        Self(Arc::new(Shared {
            clock,
            rng,
            gate: gate(&status),
            status,
            warn_from_ms: AtomicU64::new(0),
        }))
    }

    /// Waits while the destination is sick. Dropping it cancels.
    pub async fn call(&self) -> Call {
        let shared = &self.0;
        let ticket = match &shared.gate {
            Some(gate) => Some(gate.enter(&*shared.clock, &shared.status).await),
            None => None,
        };
        Call {
            retry: self.clone(),
            ticket,
        }
    }

    /// Whether calls go through at once: for what is not worth waiting for.
    pub fn is_well(&self) -> bool {
        let closed = |gate: &Gate| gate.is_closed();
        self.0.gate.as_ref().is_none_or(closed)
    }

    /// The time that pauses are measured by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The counters.
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// Begins attempts at one thing.
    pub fn attempts(&self) -> Attempts {
        Attempts {
            retry: self.clone(),
            backoff: Backoff::default(),
            failing: None,
        }
    }

    fn warn_is_due(&self) -> bool {
        let as_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now_ms = as_ms(self.0.clock.monotonic());
        let from_ms = self.0.warn_from_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(as_ms(WARN_EVERY));
        let order = Ordering::Relaxed;
        now_ms >= from_ms
            && self
                .0
                .warn_from_ms
                .compare_exchange(from_ms, next_ms, order, order)
                .is_ok()
    }
}

/// The attempts at one thing. After the first failure it counts as failing until this is dropped.
pub struct Attempts {
    retry: Retry,
    backoff: Backoff,
    failing: Option<Failing>,
}

impl Attempts {
    /// Counts a failed attempt at `what` and waits before the next one: the time that the destination
    /// asked for, the rest of the pause, and until the budget allows a retry. Where it is sick the
    /// breaker takes the place of the latter two. Dropping it cancels.
    pub async fn pause(&mut self, what: &str, place: &str, fault: &Fault) {
        let retry = self.retry.clone();
        let shared = &*retry.0;
        let clock = &*shared.clock;
        let recoveries = shared.gate.as_ref().map_or(0, Gate::recoveries);
        let pause = self.failed(what, place, fault);
        let Some(gate) = &shared.gate else {
            return clock.sleep(pause).await;
        };
        let least = least_pause(fault).unwrap_or_default().min(pause);
        clock.sleep(least).await;
        let rest = pause.saturating_sub(least);
        gate.rest(clock, rest, recoveries).await;
        gate.allow_retry(clock, &shared.status, recoveries).await;
    }

    /// Counts a failed attempt at `what`; gives the pause before the next one.
    pub fn failed(&mut self, what: &str, place: &str, fault: &Fault) -> Duration {
        let shared = &self.retry.0;
        shared.status.failed(fault.class, &fault.text);
        self.failing = Some(shared.status.fails(fault.class));
        let pause = self.backoff.next(&*shared.rng, least_pause(fault));
        if self.retry.warn_is_due() {
            let retries = shared.status.snapshot().retries;
            warn!(place, what, retries, error = %fault.text, ?pause, "it failed, trying again");
        }
        pause
    }

    /// It was done.
    pub fn succeeded(self) {
        let retry = self.retry.clone();
        drop(self);
        retry.status().succeeded();
    }
}

/// What was asked for, or what is sensible where a person must act.
fn least_pause(fault: &Fault) -> Option<Duration> {
    let slow = matches!(fault.class, Class::Auth | Class::Missing).then_some(SLOW);
    slow.max(fault.after)
}

/// One call at a destination. Dropped without a word it says nothing of the destination.
#[must_use = "what the call came to is to be told"]
pub struct Call {
    retry: Retry,
    ticket: Option<Ticket>,
}

impl Call {
    /// Whether it may still be begun: the destination may have got sick while something else was
    /// waited for.
    pub fn is_current(&self) -> bool {
        match (&self.retry.0.gate, &self.ticket) {
            (Some(gate), Some(ticket)) => gate.is_current(ticket),
            _ => true,
        }
    }

    /// Tells what it came to.
    pub fn ended(mut self, outcome: Outcome) {
        self.end(Some(outcome));
    }

    fn end(&mut self, outcome: Option<Outcome>) {
        let shared = &self.retry.0;
        if let (Some(gate), Some(ticket)) = (&shared.gate, self.ticket.take()) {
            let by = (&*shared.clock, &*shared.rng);
            gate.ended(&ticket, outcome, by, &shared.status);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(None);
    }
}
