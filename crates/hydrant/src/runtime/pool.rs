//! A pool of threads: one sized to the cores for guests, encoders and compressors, and a small one
//! for blocking I/O of the log and the directory sink. Delivery streams share the one of the cores,
//! each by a handle of its own: `turns.rs` says whose job is next.
//!
//! Handing over never waits. A place in a bounded queue could be granted to a future that its owner
//! does not poll just then, and a pool whose places are all held so would stand still. What bounds
//! the queues are their callers: the slots of a lane, the steps of an object, one flush of a log, and
//! the byte budget under all of them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Job, Offload};

use super::clock::RealClock;
use super::turns::{Started, Turns};
use crate::demo::report::thread_cpu;

/// How often it is looked at whether a job that waits now may run: that another one takes long is seen
/// by the time alone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The pool. Its threads end when it is dropped, after the jobs that were handed over. What is handed
/// to the pool itself stands in a queue beside those of its streams.
pub struct Pool {
    shared: Arc<Shared>,
    width: usize,
    own: usize,
    threads: Vec<JoinHandle<()>>,
}

/// The pool as one delivery stream has it.
struct Share {
    pool: Arc<Pool>,
    stream: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    time: Time,
}

/// What tells how long jobs run and work.
struct Time {
    clock: Arc<dyn Clock>,
    /// CPU time of the thread that asks.
    cpu: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Time {
    fn real() -> Self {
        Self {
            clock: Arc::new(RealClock::default()),
            cpu: Box::new(thread_cpu),
        }
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }
}

struct Queue {
    turns: Turns<Job>,
    /// Threads that look every [`LOOK_EVERY`]: one at least where jobs wait and a thread is idle.
    looking: usize,
    closed: bool,
}

impl Queue {
    /// Whether an idle thread must be told that a job waits.
    fn needs_a_thread(&self, now: Duration) -> bool {
        self.turns.has_queued() && (self.looking == 0 || self.turns.may_start(now))
    }
}

impl Pool {
    /// Starts `width` threads named `name-0`, `name-1` and so on.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(name: &str, width: usize) -> io::Result<Arc<Self>> {
        Self::start_with(name, width, false, Time::real())
    }

    /// One thread per core, and a spare one.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn for_cpu() -> io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start_with("hydrant-cpu", cores, true, Time::real())
    }

    fn start_with(name: &str, width: usize, has_spare: bool, time: Time) -> io::Result<Arc<Self>> {
        let width = width.max(1);
        let mut turns = Turns::new(width, has_spare);
        let own = turns.add_stream();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                turns,
                looking: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            time,
        });
        let mut threads = Vec::new();
        for i in 0..width + usize::from(has_spare) {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{i}"));
            threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(Arc::new(Self {
            shared,
            width,
            own,
            threads,
        }))
    }

    /// The pool for one more delivery stream: its jobs have a queue of their own.
    pub fn share(self: &Arc<Self>) -> Arc<dyn Offload> {
        let stream = self.shared.lock().turns.add_stream();
        Arc::new(Share {
            pool: self.clone(),
            stream,
        })
    }

    fn push(&self, stream: usize, job: Job) -> BoxFuture<'static, ()> {
        self.shared.push(stream, job);
        Box::pin(std::future::ready(()))
    }
}

impl Shared {
    fn push(&self, stream: usize, job: Job) {
        let mut queue = self.lock();
        let now = self.time.now();
        queue.turns.push(stream, job, now);
        if queue.needs_a_thread(now) {
            self.changed.notify_one();
        }
    }

    fn work(&self) {
        let mut ended = None;
        while let Some((job, started)) = self.next(ended.take()) {
            // A panic is the job's own: whoever waits for it sees that the answer was lost.
            let before = (self.time.cpu)();
            drop(catch_unwind(AssertUnwindSafe(job)));
            ended = Some((started, (self.time.cpu)().saturating_sub(before)));
        }
    }

    /// Notes what has ended, and waits for the next job.
    fn next(&self, ended: Option<(Started, Duration)>) -> Option<(Job, Started)> {
        let mut queue = self.lock();
        if let Some((ended, cpu)) = ended {
            queue.turns.end(ended, self.time.now(), cpu);
        }
        loop {
            let now = self.time.now();
            let next = if queue.closed {
                queue.turns.start_any(now)
            } else {
                queue.turns.start(now)
            };
            if let Some(next) = next {
                if queue.needs_a_thread(now) {
                    self.changed.notify_one();
                }
                return Some(next);
            }
            queue = if queue.turns.has_queued() {
                queue.looking += 1;
                let waited = self.changed.wait_timeout(queue, LOOK_EVERY);
                let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                queue.looking -= 1;
                queue
            } else if queue.closed {
                return None;
            } else {
                let waited = self.changed.wait(queue);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offload for Pool {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        self.push(self.own, job)
    }

    fn width(&self) -> usize {
        self.width
    }
}

impl Offload for Share {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        self.pool.push(self.stream, job)
    }

    fn width(&self) -> usize {
        self.pool.width
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
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use hydrant_core::BoxFuture;
    use hydrant_core::clock::Clock;
    use hydrant_core::offload::{JobLost, Offload, run};

    use super::{Pool, Time};

    /// A clock that is set by hand.
    #[derive(Default)]
    struct ByHand(AtomicU64);

    impl ByHand {
        fn forward(&self, ms: u64) {
            self.0.fetch_add(ms, Ordering::SeqCst);
        }
    }

    impl Clock for ByHand {
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }

        fn wall_ms(&self) -> u64 {
            0
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn by_hand(width: usize) -> (Arc<Pool>, Arc<ByHand>) {
        let clock = Arc::new(ByHand::default());
        // Its jobs work for as long as they run.
        let busy = clock.clone();
        let time = Time {
            clock: clock.clone(),
            cpu: Box::new(move || busy.monotonic()),
        };
        let pool = Pool::start_with("test", width, true, time);
        (pool.expect("threads"), clock)
    }

    /// What holds looping jobs: each ends where one word is sent.
    struct Loops {
        began: Receiver<()>,
        end: SyncSender<()>,
    }

    /// Hands over jobs that hold a thread until they are told to end.
    async fn loops(offload: &Arc<dyn Offload>, count: usize) -> Loops {
        let (say_began, began) = sync_channel(count);
        let (end, told) = sync_channel(count);
        let told = Arc::new(std::sync::Mutex::new(told));
        for _ in 0..count {
            let (say_began, told) = (say_began.clone(), told.clone());
            let job = move || {
                say_began.send(()).expect("the test waits");
                let told = told.lock().expect("no panic").recv();
                // Without a word the test is over.
                told.unwrap_or_default();
            };
            offload.submit(Box::new(job)).await;
        }
        Loops { began, end }
    }

    impl Loops {
        fn wait(&self, count: usize) {
            for _ in 0..count {
                let began = self.began.recv_timeout(Duration::from_secs(30));
                began.expect("one more of them runs");
            }
        }
    }

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
        let (pool, done) = (by_hand(1).0, Arc::new(AtomicUsize::new(0)));
        let share = pool.share();
        for _ in 0..5 {
            for offload in [&*share, &*pool as &dyn Offload] {
                let done = done.clone();
                let job = move || {
                    done.fetch_add(1, Ordering::Relaxed);
                };
                offload.submit(Box::new(job)).await;
            }
        }
        drop(share);
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 10);
    }

    #[tokio::test]
    async fn a_stream_that_holds_all_threads_does_not_hold_up_another() {
        for width in [1, 2] {
            let (pool, clock) = by_hand(width);
            let (hostile, healthy) = (pool.share(), pool.share());
            assert_eq!(healthy.width(), width, "the spare thread is not counted");
            let held = loops(&hostile, width + 4).await;
            held.wait(width);
            clock.forward(1_000);
            for i in 0..50 {
                assert_eq!(run(healthy.clone(), move || i).await, Ok(i));
            }
            assert!(held.began.try_recv().is_err(), "no more than {width} loop");
            // From now on they have one thread less, where there are two.
            for _ in 0..width {
                held.end.send(()).expect("they wait");
            }
            held.wait((width - 1).max(1));
            // With one core it takes the time again to see that the loop is one.
            clock.forward(1_000);
            let answers = (0..50).map(|i| run(healthy.clone(), move || i));
            for (i, answer) in (0..50).zip(futures_util::future::join_all(answers).await) {
                assert_eq!(answer, Ok(i));
            }
            assert!(held.began.try_recv().is_err());
            drop(held.end);
        }
    }

    #[tokio::test]
    async fn a_stream_alone_has_all_cores_however_slow_it_is() {
        let (pool, clock) = by_hand(3);
        let (alone, _idle) = (pool.share(), pool.share());
        let held = loops(&alone, 6).await;
        held.wait(3);
        clock.forward(1_000);
        for _ in 0..3 {
            held.end.send(()).expect("they wait");
        }
        held.wait(3);
        drop(held.end);
    }
}
