//! Decorrelated jitter: `min(cap, rand(base, 3 * previous))` (reliability design, section 7).

use std::time::Duration;

use crate::rng::Rng;

/// First and least pause.
pub const BASE: Duration = Duration::from_millis(100);
/// Longest pause.
pub const CAP: Duration = Duration::from_mins(1);
/// Longest pause that a server may ask for with `Retry-After`.
pub const RETRY_AFTER_CAP: Duration = Duration::from_mins(5);

/// The pauses between attempts at one thing.
#[derive(Debug, Clone)]
pub struct Backoff {
    previous: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { previous: BASE }
    }
}

impl Backoff {
    /// The next pause; `after` is what the server asked for, honoured up to [`RETRY_AFTER_CAP`].
    pub fn next(&mut self, rng: &dyn Rng, after: Option<Duration>) -> Duration {
        let base = u64::try_from(BASE.as_millis()).unwrap_or(u64::MAX);
        let high = u64::try_from(self.previous.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(3);
        let pause = Duration::from_millis(base + rng.below(high.saturating_sub(base) + 1)).min(CAP);
        self.previous = pause;
        after.map_or(pause, |asked| pause.max(asked.min(RETRY_AFTER_CAP)))
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{BASE, Backoff, CAP, RETRY_AFTER_CAP};
    use crate::rng::Rng;

    struct Steps(AtomicU64);
    impl Rng for Steps {
        fn next(&self) -> u64 {
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
        }
    }

    #[test]
    fn stays_between_base_and_cap_and_honours_retry_after() {
        let (rng, mut backoff) = (Steps(AtomicU64::new(1)), Backoff::default());
        for _ in 0..1000 {
            let pause = backoff.next(&rng, None);
            assert!((BASE..=CAP).contains(&pause), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.next(&rng, None) <= BASE * 3);
        assert_eq!(
            backoff.next(&rng, Some(Duration::from_secs(100))),
            Duration::from_secs(100)
        );
        assert_eq!(
            backoff.next(&rng, Some(Duration::from_secs(9999))),
            RETRY_AFTER_CAP
        );
    }
}
