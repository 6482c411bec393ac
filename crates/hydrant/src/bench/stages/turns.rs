//! Runs a future and the jobs that it hands over in turns on this thread, so that the thread's CPU
//! clock sees all of it: the write and the sync of a log, too.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use anyhow::bail;
use hydrant_core::BoxFuture;
use hydrant_core::offload::{Job, Offload};

/// Jobs that wait for their turn.
#[derive(Default)]
pub(super) struct Turns(Mutex<VecDeque<Job>>);

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The answer of a future that waits for nothing but its jobs.
    pub(super) fn finish<T>(&self, future: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let mut idle = false;
        loop {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
                return Ok(answer);
            }
            let job = self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match job {
                Some(job) => {
                    job();
                    idle = false;
                }
                // One look more: what it waits for may have come while it was polled.
                None if !idle => idle = true,
                None => bail!("a stage waits for something that does not run on its thread"),
            }
        }
    }
}

impl Offload for Turns {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(job);
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        1
    }
}
