//! The breaker on virtual time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Breaker, BreakerState, IN_ROW, Outcome, Ticket};
use crate::rng::Rng;

/// Always the same part of what is asked for.
struct Fixed(u64);

impl Rng for Fixed {
    fn next(&self) -> u64 {
        self.0
    }
}

struct Steps(AtomicU64);

impl Rng for Steps {
    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

const SHORTEST: Fixed = Fixed(0);
const LONGEST: Fixed = Fixed(u64::MAX);

fn at(ms: u64) -> Duration {
    Duration::from_millis(1_000_000 + ms)
}

fn call(breaker: &mut Breaker, outcome: Outcome, now: Duration) {
    let ticket = breaker.enter(now).unwrap();
    breaker.ended(&ticket, Some(outcome), now, &SHORTEST);
}

/// Opened by failures in a row at `at(0)`.
fn opened(rng: &dyn Rng) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..IN_ROW {
        let ticket = breaker.enter(at(0)).unwrap();
        breaker.ended(&ticket, Some(Outcome::Sick), at(0), rng);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn opens_at_ten_failures_in_a_row_and_not_at_nine() {
    for bad in [Outcome::Sick, Outcome::Throttled] {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            for _ in 1..IN_ROW {
                call(&mut breaker, bad, at(0));
                assert_eq!(breaker.state(), BreakerState::Closed);
            }
            // Enough answers that less than half failed.
            for _ in 0..2 * IN_ROW {
                call(&mut breaker, Outcome::Answered, at(0));
            }
        }
        for _ in 0..IN_ROW {
            assert_eq!(breaker.state(), BreakerState::Closed);
            call(&mut breaker, bad, at(1));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(
            breaker.enter(at(1)).unwrap_err(),
            Some(Duration::from_secs(5))
        );
    }
}

#[test]
fn opens_where_half_of_twenty_failed_within_thirty_seconds() {
    // Nineteen calls say nothing yet.
    let mut breaker = Breaker::default();
    for index in 0..19 {
        let outcome = [Outcome::Sick, Outcome::Answered][index % 2];
        call(&mut breaker, outcome, at(index as u64 * 1000));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
    call(&mut breaker, Outcome::Sick, at(19_000));
    assert_eq!(breaker.state(), BreakerState::Open, "11 of 20");

    // The same calls at twice the distance: never twenty within the time.
    let mut breaker = Breaker::default();
    for index in 0..200 {
        let outcome = [Outcome::Sick, Outcome::Answered][index % 2];
        call(&mut breaker, outcome, at(index as u64 * 2000));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);

    // Less than half for ever.
    for index in 0..3000 {
        let bad = index % 5 < 2;
        let outcome = if bad {
            Outcome::Sick
        } else {
            Outcome::Answered
        };
        call(&mut breaker, outcome, at(500_000 + index * 7));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn throttles_among_answers_are_no_sickness() {
    let mut breaker = Breaker::default();
    for _ in 0..1000 {
        for _ in 1..IN_ROW {
            call(&mut breaker, Outcome::Throttled, at(0));
        }
        call(&mut breaker, Outcome::Answered, at(0));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn lets_one_probe_through_at_a_time_and_closes_by_its_answer() {
    let mut breaker = opened(&SHORTEST);
    assert!(breaker.enter(at(4_999)).is_err());
    let probe = breaker.enter(at(5_000)).unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(breaker.enter(at(9_000)).unwrap_err(), None, "until it ends");
    breaker.ended(&probe, Some(Outcome::Answered), at(9_000), &SHORTEST);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // It starts from nothing: what was before does not count any more.
    for _ in 1..IN_ROW {
        call(&mut breaker, Outcome::Sick, at(9_001));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_up_to_thirty_seconds() {
    for bad in [Outcome::Sick, Outcome::Throttled] {
        let (mut breaker, mut now) = (opened(&LONGEST), at(0));
        for seconds in [10, 20, 30, 30, 30] {
            let wait = breaker.enter(now).unwrap_err();
            assert_eq!(wait, Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            let probe = breaker.enter(now).unwrap();
            breaker.ended(&probe, Some(bad), now, &LONGEST);
        }
        now += Duration::from_secs(30);
        call(&mut breaker, Outcome::Answered, now);
        for _ in 0..IN_ROW {
            call(&mut breaker, Outcome::Sick, now);
        }
        assert_eq!(
            breaker.enter(now).unwrap_err(),
            Some(Duration::from_secs(5))
        );
    }
}

#[test]
fn a_dropped_probe_leaves_the_place_to_the_next() {
    let mut breaker = opened(&SHORTEST);
    for second in 5..8 {
        let probe = breaker.enter(at(second * 1000)).unwrap();
        assert!(breaker.enter(at(second * 1000)).is_err());
        breaker.ended(&probe, None, at(second * 1000 + 1000), &SHORTEST);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    call(&mut breaker, Outcome::Answered, at(8_000));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn calls_from_before_say_nothing_any_more() {
    let mut breaker = Breaker::default();
    let tickets: Vec<Ticket> = (0..40).map(|_| breaker.enter(at(0)).unwrap()).collect();
    let mut tickets = tickets.iter();
    for ticket in tickets.by_ref().take(usize::try_from(IN_ROW).unwrap()) {
        assert!(breaker.is_current(ticket));
        breaker.ended(ticket, Some(Outcome::Sick), at(100), &SHORTEST);
    }
    let until = breaker.enter(at(100)).unwrap_err();
    for (ticket, outcome) in tickets.zip(
        [Some(Outcome::Sick), Some(Outcome::Answered), None]
            .iter()
            .cycle(),
    ) {
        assert!(!breaker.is_current(ticket));
        breaker.ended(ticket, *outcome, at(2_000), &SHORTEST);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    assert_eq!(breaker.enter(at(100)).unwrap_err(), until, "not put off");
}

/// Whatever happens in whatever order, some call is let through within 30 s or one is under way, and
/// an answer to it closes the breaker.
#[test]
fn never_gets_stuck() {
    for seed in 0..500_u64 {
        let rng = Steps(AtomicU64::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
        let (mut breaker, mut now, mut open) = (Breaker::default(), at(0), Vec::<Ticket>::new());
        for _ in 0..2000 {
            now += Duration::from_millis(rng.below(3_000));
            match breaker.enter(now) {
                Ok(ticket) => open.push(ticket),
                Err(Some(wait)) => assert!(wait <= Duration::from_secs(30)),
                Err(None) => assert!(open.iter().any(|one| breaker.is_current(one))),
            }
            if breaker.state() == BreakerState::HalfOpen {
                let probes = open.iter().filter(|one| breaker.is_current(one)).count();
                assert_eq!(probes, 1, "seed {seed}");
            }
            if rng.below(2) == 0 && !open.is_empty() {
                let index = usize::try_from(rng.below(open.len() as u64)).unwrap();
                let ticket = open.swap_remove(index);
                let outcome = match rng.below(6) {
                    0 => None,
                    1 => Some(Outcome::Throttled),
                    2 => Some(Outcome::Answered),
                    _ => Some(Outcome::Sick),
                };
                breaker.ended(&ticket, outcome, now, &rng);
            }
        }
        for ticket in open.drain(..) {
            breaker.ended(&ticket, None, now, &rng);
        }
        now += Duration::from_secs(30);
        call(&mut breaker, Outcome::Answered, now);
        assert_eq!(breaker.state(), BreakerState::Closed, "seed {seed}");
    }
}

#[test]
fn statuses_of_http() {
    for (status, want) in [
        (0, Outcome::Sick),
        (408, Outcome::Sick),
        (500, Outcome::Sick),
        (502, Outcome::Sick),
        (504, Outcome::Sick),
        (429, Outcome::Throttled),
        (503, Outcome::Throttled),
        (501, Outcome::Answered),
        (200, Outcome::Answered),
        (403, Outcome::Answered),
        (404, Outcome::Answered),
        (409, Outcome::Answered),
        (412, Outcome::Answered),
    ] {
        assert_eq!(Outcome::of_status(status), want, "{status}");
    }
}
