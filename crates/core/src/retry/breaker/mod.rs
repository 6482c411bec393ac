//! Leaves a destination alone that is sick: after 10 failures in a row, or where half of 20 calls or
//! more failed within 30 s, it is open and calls wait. After 5 to 30 s it is half open: one call at a
//! time is let through as a probe, and the first that is answered closes it (reliability design,
//! section 7).
//!
//! A pure state machine: time and jitter come in. Nothing is refused by it, calls only wait.

mod window;

use std::time::Duration;

use self::window::Window;
use crate::rng::Rng;

/// Failures in a row that open it.
const IN_ROW: u32 = 10;
/// Calls within the window from which on the part of them that failed counts.
const CALLS_LEAST: u32 = 20;
/// Shortest and longest time that it is open.
const OPEN_LEAST_MS: u64 = 5_000;
const OPEN_MOST_MS: u64 = 30_000;

/// What a call says of the health of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer, whatever it says of what was asked: a refusal of this very object or of
    /// the permission is one too.
    Answered,
    /// It asked to slow down. Among answers that is a matter of how many calls go at once; only
    /// where nothing else comes is the destination as good as away.
    Throttled,
    /// No answer, or one that says that the destination is broken.
    Sick,
}

impl Outcome {
    /// What the status of an HTTP answer says; 0 where there was none.
    pub fn of_status(status: u16) -> Self {
        match status {
            429 | 503 => Self::Throttled,
            // What is not implemented was understood.
            501 => Self::Answered,
            0 | 408 | 500.. => Self::Sick,
            _ => Self::Answered,
        }
    }
}

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All do.
    Closed,
    /// One does, and shows whether others may.
    HalfOpen,
    /// None does for a while.
    Open,
}

impl BreakerState {
    /// All of them, the better the earlier.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// The right to one call. What it comes to counts only in the state that gave it.
#[derive(Debug)]
pub struct Ticket {
    epoch: u64,
}

/// The breaker of one destination.
#[derive(Debug)]
pub struct Breaker {
    phase: Phase,
    /// Raised with every change of the phase.
    epoch: u64,
    in_row: u32,
    window: Window,
    /// How often it opened since it was last closed.
    openings: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Duration },
    Probing,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            phase: Phase::Closed,
            epoch: 0,
            in_row: 0,
            window: Window::default(),
            openings: 0,
        }
    }
}

impl Breaker {
    /// Whether calls go through.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::Probing => BreakerState::HalfOpen,
        }
    }

    /// Asks for a call at the moment `now` of a monotonic clock.
    ///
    /// # Errors
    /// Where it has to wait: how long, or until the state changes.
    pub fn enter(&mut self, now: Duration) -> Result<Ticket, Option<Duration>> {
        match self.phase {
            Phase::Closed => {}
            Phase::Open { until } if until <= now => self.turn(Phase::Probing),
            Phase::Open { until } => return Err(Some(until.saturating_sub(now))),
            Phase::Probing => return Err(None),
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// Whether a right to a call that was not begun yet still holds.
    pub fn is_current(&self, ticket: &Ticket) -> bool {
        ticket.epoch == self.epoch
    }

    /// Notes what a call came to; `None` where that is not known, as of one that was dropped.
    pub fn ended(
        &mut self,
        ticket: &Ticket,
        outcome: Option<Outcome>,
        now: Duration,
        rng: &dyn Rng,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        match (self.phase, outcome) {
            (Phase::Probing, Some(Outcome::Answered)) => {
                *self = Self {
                    epoch: self.epoch,
                    ..Self::default()
                };
                self.turn(Phase::Closed);
            }
            (Phase::Probing, Some(_)) => self.open(now, rng),
            // The next one may try at once.
            (Phase::Probing, None) => self.turn(Phase::Open { until: now }),
            (_, None) => {}
            (_, Some(outcome)) => {
                if self.trips(outcome, now) {
                    self.open(now, rng);
                }
            }
        }
    }

    fn trips(&mut self, outcome: Outcome, now: Duration) -> bool {
        match outcome {
            Outcome::Answered => {
                self.in_row = 0;
                self.window.add(now, false);
                false
            }
            Outcome::Throttled => {
                self.in_row += 1;
                self.in_row >= IN_ROW
            }
            Outcome::Sick => {
                self.in_row += 1;
                self.window.add(now, true);
                let (calls, sick) = self.window.sums();
                self.in_row >= IN_ROW || (calls >= CALLS_LEAST && sick >= calls.div_ceil(2))
            }
        }
    }

    /// The longer it lasts, the longer it may be until the next probe.
    fn open(&mut self, now: Duration, rng: &dyn Rng) {
        self.openings = self.openings.saturating_add(1);
        let longest = OPEN_LEAST_MS << self.openings.min(10);
        let spread = longest.min(OPEN_MOST_MS) - OPEN_LEAST_MS;
        let pause = Duration::from_millis(OPEN_LEAST_MS + rng.below(spread + 1));
        self.turn(Phase::Open { until: now + pause });
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests;
