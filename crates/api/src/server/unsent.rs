//! The answers of one connection that its client has not taken yet, and how long it may take them.
//!
//! HTTP has no limit of its own here: without one, a client that asks and does not read would hold
//! its connection and the answer's bytes of the budget for ever.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;

/// An answer must be taken within this time, and what its length adds.
const TAKE: Duration = Duration::from_secs(30);

/// Each so many bytes give a second more.
const BYTES_A_SECOND: u64 = 64 << 10;

/// When an answer must have been taken (monotonic time), and its number.
type Due = (Duration, u64);

/// The answers that are not taken yet.
#[derive(Default)]
pub(super) struct Unsent(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    due: BTreeSet<Due>,
}

/// One answer, until it is dropped.
pub(super) struct Held {
    of: Arc<Unsent>,
    due: Due,
}

/// Wakes the connection when the first answer is due.
#[derive(Default)]
pub(super) struct Alarm(Option<(Due, BoxFuture<'static, ()>)>);

impl Unsent {
    /// Takes note of an answer of so many bytes.
    pub(super) fn add(self: &Arc<Self>, bytes: usize, clock: &dyn Clock) -> Held {
        let allowed = TAKE + Duration::from_secs(bytes as u64 / BYTES_A_SECOND);
        let mut waiting = self.lock();
        let due = (clock.monotonic() + allowed, waiting.next);
        waiting.next += 1;
        waiting.due.insert(due);
        drop(waiting);
        Held {
            of: self.clone(),
            due,
        }
    }

    /// Ready once an answer was not taken in time. To be polled after whatever takes and drops
    /// answers was.
    pub(super) fn poll_late(
        &self,
        alarm: &mut Alarm,
        clock: &dyn Clock,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let Some(first) = self.lock().due.first().copied() else {
                // An answer is nearly always gone by now; so the alarm is seldom set.
                alarm.0 = None;
                return Poll::Pending;
            };
            match &mut alarm.0 {
                Some((due, sleep)) if *due == first => {
                    ready!(sleep.as_mut().poll(context));
                    return Poll::Ready(());
                }
                other => {
                    let left = first.0.saturating_sub(clock.monotonic());
                    *other = Some((first, clock.sleep(left)));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.lock().due.remove(&self.due);
    }
}
