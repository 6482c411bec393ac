//! The executor, the clock, the dice and the CPU pool of a simulated world.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Job, Offload};
use hydrant_core::rng::Rng;

/// Wall clock at the start of every world: 2026-01-01T00:00:00Z.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// A seeded generator (`SplitMix64`).
#[derive(Debug)]
pub struct SimRng(AtomicU64);

impl SimRng {
    /// Seeds it.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1),
        ))
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

impl Rng for SimRng {
    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[derive(Default)]
struct Inner {
    now: Duration,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

/// A simulated world. Clones are the same one.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    tasks: Arc<Mutex<BTreeMap<u64, Task>>>,
    next_task: Arc<AtomicU64>,
    /// The dice.
    pub rng: Arc<SimRng>,
}

struct Task {
    future: BoxFuture<'static, ()>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// A world whose every decision follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Arc::default(),
            tasks: Arc::default(),
            next_task: Arc::default(),
            rng: Arc::new(SimRng::new(seed)),
        }
    }

    /// Adds a task; it is polled from the next step on.
    pub fn start(&self, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        let id = self.next_task.fetch_add(1, Ordering::Relaxed);
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        lock(&self.tasks).insert(
            id,
            Task {
                future: Box::pin(future),
                woken,
            },
        );
        id
    }

    /// Kills a task at the await it stands at. Says whether it was still there.
    pub fn kill(&self, task: u64) -> bool {
        let task = lock(&self.tasks).remove(&task);
        task.is_some()
    }

    /// Whether a task has not ended.
    pub fn lives(&self, task: u64) -> bool {
        lock(&self.tasks).contains_key(&task)
    }

    /// Runs until `until` of virtual time, or until no task is left.
    pub fn run_until(&self, until: Duration) {
        loop {
            if self.poll_one() {
                continue;
            }
            let mut inner = lock(&self.inner);
            let next = inner
                .timers
                .keys()
                .next()
                .copied()
                .filter(|(at, _)| *at <= until);
            let Some(key) = next else {
                inner.now = inner.now.max(until);
                return;
            };
            inner.now = inner.now.max(key.0);
            let waker = inner.timers.remove(&key);
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Polls one of the woken tasks, chosen by the dice. Says whether there was one.
    fn poll_one(&self) -> bool {
        let mut tasks = lock(&self.tasks);
        let woken: Vec<u64> = tasks
            .iter()
            .filter(|(_, task)| task.woken.0.load(Ordering::Relaxed))
            .map(|(id, _)| *id)
            .collect();
        if woken.is_empty() {
            return false;
        }
        let chosen = woken[usize::try_from(self.rng.below(woken.len() as u64)).unwrap_or(0)];
        let Some(mut task) = tasks.remove(&chosen) else {
            return false;
        };
        drop(tasks);
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.woken.clone());
        if task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            lock(&self.tasks).insert(chosen, task);
        }
        true
    }

    /// Sleeps for a random time of at most `most` milliseconds.
    pub fn random_pause(&self, most: u64) -> BoxFuture<'static, ()> {
        let micros = self.rng.below(most * 1000 + 1);
        self.sleep(Duration::from_micros(micros))
    }
}

impl Clock for World {
    fn monotonic(&self) -> Duration {
        lock(&self.inner).now
    }

    fn wall_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.monotonic().as_millis()).unwrap_or(0)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let at = self.monotonic() + duration;
        Box::pin(Timer {
            inner: self.inner.clone(),
            at,
            key: None,
        })
    }
}

struct Timer {
    inner: Arc<Mutex<Inner>>,
    at: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.inner.clone();
        let mut inner = lock(&shared);
        if inner.now >= self.at {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            inner.next_timer += 1;
            (self.at, inner.next_timer)
        });
        inner.timers.insert(key, context.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.inner).timers.remove(&key);
        }
    }
}

/// A CPU pool without threads: a job runs after a random pause, so that results come back in any
/// order.
pub struct SimOffload {
    world: World,
    width: usize,
}

impl SimOffload {
    /// A pool that claims `width` cores.
    pub fn new(world: &World, width: usize) -> Self {
        Self {
            world: world.clone(),
            width,
        }
    }
}

impl Offload for SimOffload {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let pause = self.world.random_pause(2);
        Box::pin(async move {
            pause.await;
            job();
        })
    }

    fn width(&self) -> usize {
        self.width
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
