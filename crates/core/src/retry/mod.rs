//! The one retry layer, of sources and sinks: pauses between attempts at one thing, without an end.
//! Takes what failed and why; counts it, warns at a bounded rate, and waits by the clock that was
//! handed in.

mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::rng::Rng;

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
    /// Counts from zero.
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let status = Status::default();
        Self(Arc::new(Shared {
            clock,
            rng,
            status,
            warn_from_ms: AtomicU64::new(0),
        }))
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
    /// Counts a failed attempt at `what` and waits before the next one. Dropping it cancels.
    pub async fn pause(&mut self, what: &str, place: &str, fault: &Fault) {
        let pause = self.failed(what, place, fault);
        self.retry.0.clock.sleep(pause).await;
    }

    /// Counts a failed attempt at `what`; gives the pause before the next one.
    pub fn failed(&mut self, what: &str, place: &str, fault: &Fault) -> Duration {
        let shared = &self.retry.0;
        shared.status.failed(fault.class, &fault.text);
        self.failing = Some(shared.status.fails(fault.class));
        let slow = matches!(fault.class, Class::Auth | Class::Missing).then_some(SLOW);
        let pause = self.backoff.next(&*shared.rng, slow.max(fault.after));
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
