//! What retries are doing: counters and the last error, for the status page and the metrics.
//! Written by sources and sinks, read by whoever holds the handle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::breaker::BreakerState;

/// A handle on the counters of one source or sink; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    attempts: AtomicU64,
    retries: AtomicU64,
    throttles: AtomicU64,
    auth_failures: AtomicU64,
    missing_places: AtomicU64,
    /// What fails now, by class.
    failing: [AtomicU64; 4],
    /// 0 where there is no breaker, else one more than its place in [`BreakerState::ALL`].
    breaker: AtomicU8,
    breaker_openings: AtomicU64,
    retries_held: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSnapshot {
    /// Requests or file operations begun.
    pub attempts: u64,
    /// Failed ones after which another attempt followed.
    pub retries: u64,
    /// Failures of those that asked to slow down (429, 503).
    pub throttles: u64,
    /// Failures of those for missing or wrong permission (401, 403).
    pub auth_failures: u64,
    /// Failures of those because the bucket or stream is not there.
    pub missing_places: u64,
    /// How many things fail now and are tried again, by why: every class is there.
    pub failing: BTreeMap<&'static str, u64>,
    /// Whether calls go through; none where nothing would stop them.
    pub breaker: Option<BreakerState>,
    /// How often the breaker opened.
    pub breaker_openings: u64,
    /// Retries that wait now, since the destination answers too little for more of them.
    pub retries_held: u64,
    /// The last failure, until something succeeds and nothing fails.
    pub last_error: Option<String>,
}

/// What kind of failure another attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passes by itself, or nothing is known of it.
    Transient,
    /// Asked to slow down.
    Throttled,
    /// A person must give permission.
    Auth,
    /// A person must make the bucket or stream.
    Missing,
}

impl Class {
    const ALL: [Self; 4] = [Self::Transient, Self::Throttled, Self::Auth, Self::Missing];

    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Missing => "missing",
        }
    }
}

/// Something fails and is tried again, as long as this is kept.
pub struct Failing {
    status: Status,
    class: Class,
}

/// A retry waits for the budget, as long as this is kept.
pub(super) struct Held(Status);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.retries_held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.status
            .failing(self.class)
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl Status {
    /// The counters now.
    pub fn snapshot(&self) -> StatusSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0;
        StatusSnapshot {
            attempts: load(&counters.attempts),
            retries: load(&counters.retries),
            throttles: load(&counters.throttles),
            auth_failures: load(&counters.auth_failures),
            missing_places: load(&counters.missing_places),
            failing: Class::ALL
                .map(|class| (class.as_str(), load(self.failing(class))))
                .into(),
            breaker: self.breaker(),
            breaker_openings: load(&counters.breaker_openings),
            retries_held: load(&counters.retries_held),
            last_error: self.last_error().clone(),
        }
    }

    /// Counts a request or file operation that begins.
    pub fn attempt(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a success; the last error goes once nothing fails any more.
    pub fn succeeded(&self) {
        let fails = |class| self.failing(class).load(Ordering::Relaxed) > 0;
        if !Class::ALL.into_iter().any(fails) {
            *self.last_error() = None;
        }
    }

    /// Says that something fails, until what is given back is dropped.
    pub fn fails(&self, class: Class) -> Failing {
        self.failing(class).fetch_add(1, Ordering::Relaxed);
        Failing {
            status: self.clone(),
            class,
        }
    }

    pub(super) fn set_breaker(&self, state: BreakerState) {
        let number = match state {
            BreakerState::Closed => 1,
            BreakerState::HalfOpen => 2,
            BreakerState::Open => 3,
        };
        self.0.breaker.store(number, Ordering::Relaxed);
    }

    fn breaker(&self) -> Option<BreakerState> {
        let number = usize::from(self.0.breaker.load(Ordering::Relaxed));
        BreakerState::ALL.get(number.checked_sub(1)?).copied()
    }

    pub(super) fn breaker_opened(&self) {
        self.0.breaker_openings.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that a retry waits for the budget, until what is given back is dropped.
    pub(super) fn holds_retry(&self) -> Held {
        self.0.retries_held.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    fn failing(&self, class: Class) -> &AtomicU64 {
        let [transient, throttled, auth, missing] = &self.0.failing;
        match class {
            Class::Transient => transient,
            Class::Throttled => throttled,
            Class::Auth => auth,
            Class::Missing => missing,
        }
    }

    /// Notes a failure after which another attempt follows.
    pub fn failed(&self, class: Class, text: &str) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        add(&self.0.retries);
        match class {
            Class::Transient => 0,
            Class::Throttled => add(&self.0.throttles),
            Class::Auth => add(&self.0.auth_failures),
            Class::Missing => add(&self.0.missing_places),
        };
        *self.last_error() = Some(text.to_owned());
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Status};

    #[test]
    fn fails_until_the_last_of_those_that_do_is_done() {
        let status = Status::default();
        let failing = || status.snapshot().failing.into_values().sum::<u64>();
        assert_eq!((status.snapshot().failing.len(), failing()), (4, 0));
        let (one, two) = (status.fails(Class::Auth), status.fails(Class::Auth));
        status.failed(Class::Auth, "refused");
        assert_eq!(status.snapshot().failing["auth"], 2);
        drop(one);
        status.succeeded();
        assert!(
            status.snapshot().last_error.is_some(),
            "the other one fails still"
        );
        drop(two);
        status.succeeded();
        assert_eq!((status.snapshot().last_error, failing()), (None, 0));
    }
}
