//! Clocks: the real one for tests with real servers, as it is or faster; and one that stands.

#![expect(clippy::disallowed_methods, reason = "real servers live in real time")]

use std::time::{Duration, Instant};

use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;

/// Time that passes so many times as fast as the real one; waits need a tokio runtime.
pub struct FastClock {
    started: Instant,
    speed: u32,
    wall_ms: u64,
}

impl FastClock {
    /// Starts at zero, or at `wall_ms` milliseconds since the epoch.
    pub fn new(speed: u32, wall_ms: u64) -> Self {
        Self {
            started: Instant::now(),
            speed,
            wall_ms,
        }
    }
}

impl Clock for FastClock {
    fn monotonic(&self) -> Duration {
        self.started.elapsed() * self.speed
    }

    fn wall_ms(&self) -> u64 {
        let passed = u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.saturating_add(passed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration / self.speed))
    }
}

/// Time that stands at 1,700,000,000,345 ms since the epoch, not a whole second; a sleep never ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_345
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}
