//! A pool of threads: one sized to the cores for guests, encoders and compressors, and a small one
//! for blocking I/O of the log and the directory sink.
//!
//! Handing over never waits. A place in a bounded queue could be granted to a future that its owner
//! does not poll just then, and a pool whose places are all held so would stand still. What bounds
//! the queue are its callers: the slots of a lane, the steps of an object, one flush of a log, and
//! the byte budget under all of them.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hydrant_core::BoxFuture;
use hydrant_core::offload::{Job, Offload};

/// The pool. Its threads end when it is dropped, after the jobs that were handed over.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// Starts `width` threads named `name-0`, `name-1` and so on.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(name: &str, width: usize) -> io::Result<Arc<Self>> {
        let width = width.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(width);
        for i in 0..width {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{i}"));
            threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(Arc::new(Self { shared, threads }))
    }

    /// One thread per core.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn for_cpu() -> io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start("hydrant-cpu", cores)
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic is the job's own: whoever waits for it sees that the answer was lost.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offload for Pool {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        self.shared.lock().jobs.push_back(job);
        self.shared.changed.notify_one();
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The last owner may be a job of this very pool.
            if thread.thread().id() != std::thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hydrant_core::offload::{JobLost, Offload, run};

    use super::Pool;

    #[tokio::test]
    async fn answers_come_back_and_a_panic_loses_only_its_own() {
        let pool: Arc<dyn Offload> = Pool::start("test", 2).expect("threads");
        let name = run(pool.clone(), || {
            std::thread::current().name().map(str::to_owned)
        })
        .await;
        assert!(
            name.expect("an answer")
                .is_some_and(|name| name.starts_with("test-"))
        );
        let lost = run(pool.clone(), || panic!("as the test wants")).await;
        assert_eq!(lost, Err(JobLost));
        assert_eq!(run(pool, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn jobs_that_were_handed_over_run_before_the_pool_ends() {
        let (pool, done) = (
            Pool::start("test", 1).expect("threads"),
            Arc::new(AtomicUsize::new(0)),
        );
        for _ in 0..5 {
            let done = done.clone();
            pool.submit(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
            }))
            .await;
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 5);
    }
}
