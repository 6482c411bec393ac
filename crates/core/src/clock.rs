//! Time, handed in. Crates below the front door name no other clock.

use std::time::Duration;

use crate::BoxFuture;

/// Monotonic time, wall-clock time and waiting: the real ones live in `hydrant`, the simulated in
/// `testkit`.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never falls.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since the epoch by the wall clock; may jump either way.
    fn wall_ms(&self) -> u64;

    /// Completes after `duration` of monotonic time. Dropping it cancels.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
