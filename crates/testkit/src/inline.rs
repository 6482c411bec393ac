//! Jobs without threads: run at once, or one by one when a test says so; and a future polled by
//! hand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hydrant_core::BoxFuture;
use hydrant_core::offload::{Job, Offload};

/// Runs each job where it is handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineOffload;

impl Offload for InlineOffload {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        Box::pin(async move { job() })
    }

    fn width(&self) -> usize {
        1
    }
}

/// Keeps jobs until the test runs them, so that more can be queued behind one.
#[derive(Clone, Default)]
pub struct SteppedOffload {
    jobs: Arc<Mutex<VecDeque<Job>>>,
}

impl SteppedOffload {
    /// Runs the oldest job; says whether there was one.
    pub fn step(&self) -> bool {
        let job = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        job.map(|job| job()).is_some()
    }

    /// Drops all jobs without running them, as a pool does that is closed.
    pub fn abandon(&self) {
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        drop(jobs);
    }
}

impl Offload for SteppedOffload {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let jobs = self.jobs.clone();
        Box::pin(async move {
            jobs.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(job);
        })
    }

    fn width(&self) -> usize {
        1
    }
}

/// Polls a future once, without anybody to wake.
pub fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The answer of a future that needs no waiting: everything it waits for runs inline.
///
/// # Panics
/// Where it is not done after a thousand polls.
pub fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    for _ in 0..1000 {
        if let Poll::Ready(answer) = poll_once(future.as_mut()) {
            return answer;
        }
    }
    panic!("the future waits for something that does not run inline");
}
