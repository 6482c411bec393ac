//! How many retries a destination gets: a tenth of what it answers, and one a second whatever it does
//! (reliability design, section 7). Tries that fail beget tries: without a bound a destination that
//! fails for a part of its requests gets more of them, just then.
//!
//! A pure state machine: time comes in. First attempts take nothing from it.

use std::time::Duration;

/// A token, in the unit of the counts below.
const TOKEN: u64 = 1000;
/// What an answer adds: a tenth of a token.
const PER_ANSWER: u64 = TOKEN / 10;
/// What a millisecond adds: one token a second.
const PER_MS: u64 = TOKEN / 1000;
/// Most tokens. As many requests may be under way at a destination, so that one fault on the way
/// that hits them all is followed by a retry of each at once.
pub const BURST: u64 = 64;
/// After so many answers in a row the destination is well, and the tokens are all there: those that
/// still wait for one since it was not have no reason to any more. A destination that fails for a
/// fifth of its requests answers so often in a row once in 6,000 requests.
const WELL_AFTER: u32 = 32;

/// The tokens of one destination.
#[derive(Debug)]
pub struct RetryBudget {
    tokens: u64,
    /// Up to when time has added to them.
    at: Duration,
    answers_in_row: u32,
}

impl RetryBudget {
    /// Full at the moment `now` of a monotonic clock.
    pub fn new(now: Duration) -> Self {
        Self {
            tokens: BURST * TOKEN,
            at: now,
            answers_in_row: 0,
        }
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        self.answers_in_row += 1;
        if self.answers_in_row >= WELL_AFTER {
            self.answers_in_row = 0;
            self.tokens = BURST * TOKEN;
        }
        self.add(PER_ANSWER);
    }

    /// A request was not answered, or with a request to slow down.
    pub fn failed(&mut self) {
        self.answers_in_row = 0;
    }

    /// Takes a token for a retry.
    ///
    /// # Errors
    /// Where there is none: how long it takes until time alone has made one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at);
        let whole_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        // The part of a millisecond counts next time.
        self.at += Duration::from_millis(whole_ms);
        self.add(whole_ms.saturating_mul(PER_MS));
        match self.tokens.checked_sub(TOKEN) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(Duration::from_millis(
                (TOKEN - self.tokens).div_ceil(PER_MS),
            )),
        }
    }

    fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens).min(BURST * TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BURST, RetryBudget, WELL_AFTER};

    const START: Duration = Duration::from_millis(12_345);

    fn empty() -> RetryBudget {
        let mut budget = RetryBudget::new(START);
        for _ in 0..BURST {
            budget.take(START).unwrap();
        }
        budget
    }

    /// How many retries it gives at one moment.
    fn drain(budget: &mut RetryBudget, now: Duration) -> u64 {
        let mut taken = 0;
        while budget.take(now).is_ok() {
            taken += 1;
        }
        taken
    }

    #[test]
    fn gives_one_a_second_where_nothing_is_answered() {
        let mut budget = empty();
        assert_eq!(budget.take(START), Err(Duration::from_secs(1)));
        let later = START + Duration::from_micros(400_900);
        assert_eq!(budget.take(later), Err(Duration::from_millis(600)));
        // Asked often, as by many who wait: the parts of a millisecond are not lost.
        let (mut taken, mut now) = (0, later);
        while now < START + Duration::from_secs(30) {
            now += Duration::from_micros(700);
            taken += u64::from(budget.take(now).is_ok());
        }
        assert_eq!(taken, 30);
        let long_after = now + Duration::from_hours(1);
        assert_eq!(drain(&mut budget, long_after), BURST, "bounded");
        assert_eq!(
            drain(&mut budget, START),
            0,
            "a clock that falls adds nothing"
        );
    }

    #[test]
    fn gives_a_tenth_of_what_is_answered() {
        let mut budget = empty();
        for call in 1..=1000 {
            budget.answered();
            // Never well: each tenth fails.
            if call % 10 == 0 {
                budget.failed();
                assert_eq!(drain(&mut budget, START), 1, "after {call}");
            }
        }
    }

    #[test]
    fn is_full_once_the_destination_is_well() {
        let mut budget = empty();
        for _ in 1..WELL_AFTER {
            budget.answered();
        }
        budget.failed();
        assert_eq!(drain(&mut budget, START), u64::from(WELL_AFTER - 1) / 10);
        for _ in 0..WELL_AFTER {
            budget.answered();
        }
        assert_eq!(drain(&mut budget, START), BURST);
    }

    /// Whatever comes in whatever order: over any time there are no more retries than the burst, the
    /// floor, the tenth, and a burst for each row of answers.
    #[test]
    fn never_gives_more_than_it_says() {
        for seed in 0..200_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) % below
            };
            let (mut budget, mut now) = (RetryBudget::new(START), START);
            let (mut taken, mut answers, mut row, mut rows) = (0, 0, 0, 0);
            for _ in 0..5000 {
                match next(4) {
                    0 => now += Duration::from_millis(next(50)),
                    1 => {
                        budget.answered();
                        (answers, row) = (answers + 1, row + 1);
                        rows += u64::from(row % WELL_AFTER == 0);
                    }
                    2 if next(16) == 0 => {
                        budget.failed();
                        row = 0;
                    }
                    _ => taken += u64::from(budget.take(now).is_ok()),
                }
                let most =
                    BURST * (1 + rows) + answers / 10 + 1 + now.saturating_sub(START).as_secs();
                assert!(taken <= most, "seed {seed}: {taken} of {most}");
            }
        }
    }
}
