//! What guests log, in the service's own log: with the stream's name, and not more than a bounded
//! number of lines a minute, however much they write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hydrant_core::clock::Clock;
use hydrant_transform::{GuestLevel, GuestLog};

/// Lines of one delivery stream's guests that are kept in a window; the rest is counted.
const LINES_PER_WINDOW: u64 = 60;
/// The window.
const WINDOW: Duration = Duration::from_mins(1);

struct Window {
    since: Duration,
    lines: u64,
}

/// A log for the instances of one module, which is named by its digest, in a delivery stream.
pub(crate) fn to_tracing(delivery_stream: &str, module: &str, clock: Arc<dyn Clock>) -> GuestLog {
    let (name, module) = (delivery_stream.to_owned(), module.to_owned());
    let window = Mutex::new(Window {
        since: clock.monotonic(),
        lines: 0,
    });
    Arc::new(move |level, line| {
        let (admitted, left_out) = window
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(clock.monotonic());
        if left_out > 0 {
            tracing::warn!(delivery_stream = %name, %module, left_out, "a transform's log lines were left out");
        }
        if !admitted {
            return;
        }
        match level {
            GuestLevel::Debug => {
                tracing::debug!(delivery_stream = %name, %module, line, "transform");
            }
            GuestLevel::Info => tracing::info!(delivery_stream = %name, %module, line, "transform"),
            GuestLevel::Warn => tracing::warn!(delivery_stream = %name, %module, line, "transform"),
            GuestLevel::Error => {
                tracing::error!(delivery_stream = %name, %module, line, "transform");
            }
        }
    })
}

impl Window {
    /// Whether one more line is kept, and how many the window before left out.
    fn admit(&mut self, now: Duration) -> (bool, u64) {
        let mut left_out = 0;
        if now.saturating_sub(self.since) >= WINDOW {
            left_out = self.lines.saturating_sub(LINES_PER_WINDOW);
            *self = Self {
                since: now,
                lines: 0,
            };
        }
        self.lines += 1;
        (self.lines <= LINES_PER_WINDOW, left_out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LINES_PER_WINDOW, WINDOW, Window};

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut window = Window {
            since: Duration::ZERO,
            lines: 0,
        };
        let kept = (0..1000)
            .filter(|_| window.admit(Duration::from_secs(1)).0)
            .count() as u64;
        assert_eq!(kept, LINES_PER_WINDOW);
        assert_eq!(window.admit(WINDOW), (true, 1000 - LINES_PER_WINDOW));
    }
}
