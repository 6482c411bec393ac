//! The executor, the clock, the dice and the CPU pool of a simulated world.
//!
//! A world can be halted, at a step of its disks and stores or for any other reason: from then on
//! nothing runs and no disk answers, until what is left of the process was killed and the world goes
//! on.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;
use hydrant_core::disk::Abort;
use hydrant_core::offload::{Job, Offload};
use hydrant_core::rng::{Rng, STEP, mix};

use super::trace::Trace;

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
        mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Inner {
    now: Duration,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

/// A kind of step of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory is changed or synced.
    Name,
    /// A file is synced.
    Sync,
}

/// Why nothing runs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The step was reached that the world was to stop at.
    Step,
    /// The process gave up: durability can no longer be promised.
    Abort(String),
}

/// Where a world stands still, and whether it does.
#[derive(Default)]
struct Steps {
    done: u64,
    until: Option<u64>,
    /// Steps of a kind that are left until it is halted.
    left: Option<(Kind, u64)>,
    halted: Option<Halt>,
}

/// Longest that others run while one is in a blocking call, in milliseconds.
const INTERLEAVE_MS: u64 = 80;

/// A simulated world. Clones are the same one.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    tasks: Arc<Mutex<BTreeMap<u64, Task>>>,
    frozen: Arc<Mutex<BTreeSet<u64>>>,
    next_task: Arc<AtomicU64>,
    wall_skew_ms: Arc<AtomicI64>,
    steps: Arc<Mutex<Steps>>,
    halted: Arc<AtomicBool>,
    interleaving: Arc<AtomicBool>,
    /// The dice.
    pub rng: Arc<SimRng>,
    /// What happened.
    pub trace: Arc<Trace>,
}

struct Task {
    group: u64,
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
            frozen: Arc::default(),
            next_task: Arc::default(),
            wall_skew_ms: Arc::default(),
            steps: Arc::default(),
            halted: Arc::default(),
            interleaving: Arc::default(),
            rng: Arc::new(SimRng::new(seed)),
            trace: Arc::default(),
        }
    }

    /// Adds a task of no group; it is polled from the next step on.
    pub fn start(&self, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        self.start_in(0, future)
    }

    /// Adds a task that belongs to a group: a process, say.
    pub fn start_in(&self, group: u64, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        let id = self.next_task.fetch_add(1, Ordering::Relaxed);
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        lock(&self.tasks).insert(
            id,
            Task {
                group,
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

    /// Kills all tasks of a group, each at the await it stands at.
    pub fn kill_group(&self, group: u64) {
        let of_group = |task: &Task| task.group == group;
        let mut tasks = lock(&self.tasks);
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut *tasks)
            .into_iter()
            .partition(|(_, task)| of_group(task));
        *tasks = kept;
        drop(tasks);
        lock(&self.frozen).remove(&group);
        drop(gone);
    }

    /// Stops polling a group, as a machine that is paused, or goes on with it.
    pub fn freeze(&self, group: u64, frozen: bool) {
        let mut groups = lock(&self.frozen);
        if frozen {
            groups.insert(group);
        } else {
            groups.remove(&group);
        }
    }

    /// Whether a task has not ended.
    pub fn lives(&self, task: u64) -> bool {
        lock(&self.tasks).contains_key(&task)
    }

    /// Runs until `until` of virtual time, until no task is left, or until the world is halted.
    pub fn run_until(&self, until: Duration) {
        while !self.is_halted() {
            if !self.poll_one() && !self.pass_time(until) {
                let mut inner = lock(&self.inner);
                inner.now = inner.now.max(until);
                return;
            }
        }
    }

    /// Goes to the next timer, if that is due by `until`, and wakes who waits for it.
    fn pass_time(&self, until: Duration) -> bool {
        let mut inner = lock(&self.inner);
        let next = inner.timers.keys().next().copied();
        let Some(key) = next.filter(|(at, _)| *at <= until) else {
            return false;
        };
        inner.now = inner.now.max(key.0);
        let waker = inner.timers.remove(&key);
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Called from within a blocking call: lets other tasks run for a moment, as they do while a
    /// thread waits for the disk. Does nothing inside of itself.
    pub fn interleave(&self) {
        if self.is_halted()
            || self.rng.chance(40)
            || self.interleaving.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let until = self.monotonic() + Duration::from_millis(self.rng.below(INTERLEAVE_MS));
        for _ in 0..self.rng.between(1, 60) {
            if self.is_halted() || (!self.poll_one() && !self.pass_time(until)) {
                break;
            }
        }
        self.interleaving.store(false, Ordering::Relaxed);
    }

    /// Polls one of the woken tasks, chosen by the dice. Says whether there was one.
    fn poll_one(&self) -> bool {
        let frozen = lock(&self.frozen).clone();
        let mut tasks = lock(&self.tasks);
        let woken: Vec<u64> = tasks
            .iter()
            .filter(|(_, task)| {
                task.woken.0.load(Ordering::Relaxed) && !frozen.contains(&task.group)
            })
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

    /// Moves the wall clock by so many milliseconds, either way.
    pub fn move_wall(&self, by_ms: i64) {
        self.wall_skew_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Steps of disks and stores so far.
    pub fn steps(&self) -> u64 {
        lock(&self.steps).done
    }

    /// Halts the world with the `steps`-th step from now; 0 takes that back.
    pub fn halt_after(&self, steps: u64) {
        let mut all = lock(&self.steps);
        all.left = None;
        all.until = (steps > 0).then(|| all.done + steps);
    }

    /// Halts the world with the so-manieth step of this kind from now.
    pub fn halt_at(&self, kind: Kind, steps: u64) {
        lock(&self.steps).left = (steps > 0).then_some((kind, steps));
    }

    /// Takes note that the step that comes is of this kind.
    pub(crate) fn comes(&self, kind: Kind) {
        let mut steps = lock(&self.steps);
        if let Some((of, left)) = &mut steps.left
            && *of == kind
        {
            *left -= 1;
            if *left == 0 {
                (steps.left, steps.until) = (None, Some(0));
            }
        }
    }

    /// Takes a step. Says whether the world goes on after it.
    pub fn step(&self) -> bool {
        let mut steps = lock(&self.steps);
        steps.done += 1;
        if steps.until.is_some_and(|until| steps.done >= until) && steps.halted.is_none() {
            steps.halted = Some(Halt::Step);
            self.halted.store(true, Ordering::Relaxed);
        }
        steps.halted.is_none()
    }

    /// Whether nothing runs any more.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Goes on; gives why it was halted, if it was.
    pub fn go_on(&self) -> Option<Halt> {
        let mut steps = lock(&self.steps);
        (steps.until, steps.left) = (None, None);
        self.halted.store(false, Ordering::Relaxed);
        steps.halted.take()
    }
}

impl Abort for World {
    fn abort(&self, reason: &str) {
        let mut steps = lock(&self.steps);
        if steps.halted.is_none() {
            steps.halted = Some(Halt::Abort(reason.to_owned()));
        }
        self.halted.store(true, Ordering::Relaxed);
    }
}

impl Clock for World {
    fn monotonic(&self) -> Duration {
        lock(&self.inner).now
    }

    fn wall_ms(&self) -> u64 {
        let true_ms = EPOCH_MS + u64::try_from(self.monotonic().as_millis()).unwrap_or(0);
        true_ms.saturating_add_signed(self.wall_skew_ms.load(Ordering::Relaxed))
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
    group: Option<u64>,
    longest_ms: u64,
}

impl SimOffload {
    /// A pool that claims `width` cores.
    pub fn new(world: &World, width: usize) -> Self {
        Self {
            world: world.clone(),
            width,
            group: None,
            longest_ms: 2,
        }
    }

    /// A pool whose jobs take up to so long.
    #[must_use]
    pub fn slow(mut self, longest_ms: u64) -> Self {
        self.longest_ms = longest_ms;
        self
    }

    /// A pool whose jobs run beside whoever handed them over, as tasks of this group.
    #[must_use]
    pub fn beside(mut self, group: u64) -> Self {
        self.group = Some(group);
        self
    }
}

impl Offload for SimOffload {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let pause = self.world.random_pause(self.longest_ms);
        let run = async move {
            pause.await;
            job();
        };
        let Some(group) = self.group else {
            return Box::pin(run);
        };
        let world = self.world.clone();
        Box::pin(async move {
            world.random_pause(1).await;
            world.start_in(group, run);
        })
    }

    fn width(&self) -> usize {
        self.width
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
