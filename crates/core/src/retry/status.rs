//! What retries are doing: counters and the last error, for the status page and the metrics.
//! Written by sources and sinks, read by whoever holds the handle.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// The last failure, until an attempt succeeds.
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
            last_error: self.last_error().clone(),
        }
    }

    /// Counts a request or file operation that begins.
    pub fn attempt(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that it succeeded.
    pub fn succeeded(&self) {
        *self.last_error() = None;
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
