//! The retry layer against a destination that is away, is partly broken, or gets well again, with many
//! lanes at it: while it is sick it is hardly asked, and once it is well nothing is held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use hydrant_core::retry::{BURST, BreakerState, Class, Fault, Outcome, Retry, StatusSnapshot};
use hydrant_core::rng::Rng as _;
use hydrant_testkit::sim::World;

const LANES: u64 = 40;
/// A call takes so long, well or not.
const CALL: Duration = Duration::from_millis(100);
/// From when a destination is well: the longest that the breaker stays open, and the probe.
const NOTICED_WITHIN: Duration = Duration::from_millis(30_200);

/// A destination, and what it was asked.
struct Destination {
    world: World,
    retry: Retry,
    /// Of 100 calls so many fail.
    fails: AtomicU64,
    /// What the failures are.
    throttles: bool,
    answers: AtomicU64,
    calls: AtomicU64,
    retries: AtomicU64,
}

impl Destination {
    fn new(seed: u64, throttles: bool) -> Arc<Self> {
        let world = World::new(seed);
        let (clock, rng) = (Arc::new(world.clone()), world.rng.clone());
        Arc::new(Self {
            world,
            retry: Retry::of_destination(clock, rng),
            fails: AtomicU64::new(0),
            throttles,
            answers: AtomicU64::default(),
            calls: AtomicU64::default(),
            retries: AtomicU64::default(),
        })
    }

    /// One object after the other, each until it is there.
    async fn lane(self: Arc<Self>) {
        loop {
            let mut attempts = self.retry.attempts();
            while !self.call().await {
                let class = if self.throttles {
                    Class::Throttled
                } else {
                    Class::Transient
                };
                let fault = Fault {
                    class,
                    after: None,
                    text: "away".to_owned(),
                };
                attempts.pause("putting", "there", &fault).await;
                self.retries.fetch_add(1, Ordering::Relaxed);
            }
            attempts.succeeded();
        }
    }

    async fn call(&self) -> bool {
        let call = self.retry.call().await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.world.sleep(CALL).await;
        let fails = self.world.rng.chance(self.fails.load(Ordering::Relaxed));
        call.ended(match (fails, self.throttles) {
            (false, _) => Outcome::Answered,
            (true, false) => Outcome::Sick,
            (true, true) => Outcome::Throttled,
        });
        self.answers.fetch_add((!fails).into(), Ordering::Relaxed);
        !fails
    }

    fn start(self: &Arc<Self>, lanes: u64) -> Vec<u64> {
        let start = |_| self.world.start(self.clone().lane());
        (0..lanes).map(start).collect()
    }

    fn status(&self) -> StatusSnapshot {
        self.retry.status().snapshot()
    }

    fn breaker(&self) -> BreakerState {
        self.status().breaker.unwrap()
    }

    /// Lets time pass; gives the calls, the retries and the answers meanwhile.
    fn pass(&self, time: Duration) -> (u64, u64, u64) {
        let counts =
            || [&self.calls, &self.retries, &self.answers].map(|one| one.load(Ordering::Relaxed));
        let before = counts();
        self.world.run_until(self.world.monotonic() + time);
        let after = counts();
        (
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        )
    }

    fn set_fails(&self, percent: u64) {
        self.fails.store(percent, Ordering::Relaxed);
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Answers that all lanes get in so many seconds, less one in twenty.
fn full_speed(time: u64) -> u64 {
    LANES * time * 1000 / 100 * 95 / 100
}

#[test]
fn an_outage_costs_few_calls_and_no_time_afterwards() {
    for seed in 0..12 {
        let there = Destination::new(seed, seed % 2 == 1);
        there.start(LANES);
        let (.., answers) = there.pass(seconds(10));
        assert!(answers >= full_speed(10), "seed {seed}: {answers}");
        there.set_fails(100);
        // All that were under way fail, and nothing else is tried before the first probe.
        let (calls, ..) = there.pass(seconds(4));
        assert!(calls <= LANES, "seed {seed}: {calls} calls");
        assert_eq!(there.breaker(), BreakerState::Open);
        let (calls, ..) = there.pass(seconds(600));
        assert!((18..=130).contains(&calls), "seed {seed}: {calls} calls");
        assert!(there.status().breaker_openings > 18);
        there.set_fails(0);
        there.pass(NOTICED_WITHIN);
        assert_eq!(there.breaker(), BreakerState::Closed, "seed {seed}");
        // All of them, whatever pause they were in, and at once.
        let (.., answers) = there.pass(seconds(5));
        assert!(answers >= full_speed(5), "seed {seed}: {answers}");
        let status = there.status();
        assert_eq!(status.failing.values().sum::<u64>(), 0, "seed {seed}");
        assert_eq!(status.retries_held, 0, "seed {seed}");
        assert_eq!(status.last_error, None);
    }
}

/// Nobody else would find out.
#[test]
fn one_lane_alone_goes_on_as_soon() {
    for seed in 0..100 {
        let there = Destination::new(seed, seed % 2 == 1);
        there.start(1);
        there.pass(seconds(1));
        there.set_fails(100);
        let (calls, ..) = there.pass(seconds(900));
        assert!(calls >= 30, "seed {seed}: {calls} calls");
        there.set_fails(0);
        let (.., answers) = there.pass(NOTICED_WITHIN);
        assert!(answers > 0, "seed {seed}");
    }
}

#[test]
fn a_part_that_fails_is_not_tried_more_than_the_budget_says() {
    for seed in 0..12 {
        let there = Destination::new(seed, false);
        there.start(LANES);
        there.set_fails(30);
        let (_, retries, answers) = there.pass(seconds(300));
        // Once in a while it answers so often in a row that it counts as well, or fails so often that
        // it counts as sick; when that is over each lane may try again.
        let openings = there.status().breaker_openings;
        assert!(openings <= 3, "seed {seed}: {openings} openings");
        let most = 2 * BURST + answers / 10 + 301 + openings * LANES;
        assert!(
            retries <= most,
            "seed {seed}: {retries} retries, {answers} answers"
        );
        assert!(there.status().retries_held > LANES / 2, "most wait for it");
        there.set_fails(0);
        there.pass(seconds(20));
        let (.., answers) = there.pass(seconds(5));
        assert!(answers >= full_speed(5), "seed {seed}: {answers}");
    }
}

#[test]
fn first_attempts_need_no_budget() {
    let there = Destination::new(7, false);
    there.start(LANES);
    there.set_fails(5);
    let (.., answers) = there.pass(seconds(60));
    // Pauses between attempts take their part.
    assert!(answers >= full_speed(60) * 3 / 4, "{answers}");
    assert_eq!(there.breaker(), BreakerState::Closed);
}

#[test]
fn a_probe_that_is_dropped_and_waiters_that_are_hold_nobody_up() {
    for seed in 0..12 {
        let there = Destination::new(seed, false);
        let mut lanes = there.start(LANES);
        there.set_fails(100);
        there.pass(seconds(2));
        assert_eq!(there.breaker(), BreakerState::Open);
        // Whoever is in the middle of a probe is killed, and others beside it.
        let mut probes = 0;
        for _ in 0..2000 {
            there.pass(Duration::from_millis(70));
            if there.breaker() == BreakerState::HalfOpen && lanes.len() > 10 {
                probes += 1;
                for _ in 0..3 {
                    let at = there.world.rng.below(lanes.len() as u64);
                    there
                        .world
                        .kill(lanes.swap_remove(usize::try_from(at).unwrap()));
                }
            }
        }
        assert!(probes >= 5, "seed {seed}: {probes}");
        there.set_fails(0);
        there.pass(NOTICED_WITHIN);
        let (.., answers) = there.pass(seconds(5));
        let most = lanes.len() as u64 * 50;
        assert!(
            answers >= most * 95 / 100,
            "seed {seed}: {answers} of {most}"
        );
    }
}

#[test]
fn what_the_destination_asked_for_is_waited_for() {
    let there = Destination::new(3, true);
    let (lane, done) = (there.clone(), Arc::new(AtomicU64::default()));
    let at_ms = done.clone();
    there.world.start(async move {
        let mut attempts = lane.retry.attempts();
        let fault = Fault {
            class: Class::Throttled,
            after: Some(seconds(120)),
            text: "in two minutes".to_owned(),
        };
        attempts.pause("putting", "there", &fault).await;
        let now = u64::try_from(lane.world.monotonic().as_millis()).unwrap();
        at_ms.store(now, Ordering::Relaxed);
    });
    // Meanwhile it gets sick, and well again for the others.
    there.start(LANES);
    there.set_fails(100);
    there.pass(seconds(20));
    there.set_fails(0);
    there.pass(seconds(150));
    assert!(there.status().breaker_openings > 0);
    assert_eq!(done.load(Ordering::Relaxed), 120_000);
}
