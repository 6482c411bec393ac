//! The CPU pool: where guests, encoders and compressors run, off the async threads.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::BoxFuture;

/// A piece of work that holds a core.
pub type Job = Box<dyn FnOnce() + Send>;

/// Threads sized to the cores (or, simulated, none at all).
pub trait Offload: Send + Sync {
    /// Hands a job over; completes once it was accepted, which waits while the pool's queue is
    /// full. A future that is dropped before it completes may or may not have handed over.
    fn submit(&self, job: Job) -> BoxFuture<'static, ()>;

    /// How many jobs run at once.
    fn width(&self) -> usize;
}

/// A job ended without an answer: it panicked, or the pool was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job on the CPU pool panicked or was abandoned")]
pub struct JobLost;

/// Runs `work` on the pool and gives what it returned.
///
/// # Errors
/// [`JobLost`] where it panicked.
pub async fn run<T: Send + 'static>(
    offload: Arc<dyn Offload>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobLost> {
    let (reply, answer) = oneshot::channel();
    let job = Box::new(move || {
        // The receiver is gone when the caller was cancelled: then nobody wants the answer.
        drop(reply.send(work()));
    });
    offload.submit(job).await;
    answer.await.map_err(|_| JobLost)
}
