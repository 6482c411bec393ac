//! Where the reading of one shard stands between two reads: the iterator, when the next call is due,
//! and how large records are. Losing it costs a call for a new iterator, nothing else.

use std::time::Duration;

use hydrant_core::Position;
use hydrant_core::retry::{Attempts, Fault, Retry};

/// An iterator is used for so long; Kinesis lets it expire after five minutes.
const ITERATOR_AGE: Duration = Duration::from_secs(270);
/// Most records of a call (Kinesis's limit).
const RECORDS_MAX: usize = 10_000;
/// What a record is taken to have until some were seen: an aggregate of the usual size.
const RECORD_BYTES: usize = 64 << 10;
/// Records are never taken to be smaller than this.
const RECORD_BYTES_MIN: usize = 64;
/// A shard is asked again once a tenth of the time has passed for which it has been idle ...
const IDLE_PART: u32 = 10;
/// ... but after so long at the latest, ...
const IDLE_POLL: Duration = Duration::from_secs(10);
/// ... or so long for each shard of the stream: all that are idle cost 50 calls a second together.
const IDLE_POLL_PER_SHARD: Duration = Duration::from_millis(20);

/// See the module's header. Times are of the monotonic clock.
pub(super) struct Cursor {
    /// The iterator, the position that it follows, and when it was issued.
    iterator: Option<(Position, String, Duration)>,
    /// No call before this.
    pub(super) due: Duration,
    /// When the last record came, or reading began.
    active: Duration,
    record_bytes: usize,
    /// `MillisBehindLatest` of the last answer, and when it came.
    behind_ms: u64,
    answered: Duration,
    /// The attempts since something failed.
    attempts: Option<Attempts>,
    /// The iterator was refused as too old, and no answer came since.
    expired: bool,
    /// The position from which reading went to what is kept, since all before was trimmed.
    jumped: Option<Position>,
}

impl Cursor {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            iterator: None,
            due: Duration::ZERO,
            active: now,
            record_bytes: RECORD_BYTES,
            behind_ms: 0,
            answered: now,
            attempts: None,
            expired: false,
            jumped: None,
        }
    }

    /// The iterator for what follows `after`, if there is a fresh one.
    pub(super) fn iterator(&self, after: Position, now: Duration) -> Option<String> {
        let (position, iterator, issued) = self.iterator.as_ref()?;
        let fresh = *position == after && now.saturating_sub(*issued) < ITERATOR_AGE;
        fresh.then(|| iterator.clone())
    }

    pub(super) fn set_iterator(&mut self, after: Position, iterator: String, now: Duration) {
        self.iterator = Some((after, iterator, now));
    }

    pub(super) fn forget_iterator(&mut self) {
        self.iterator = None;
    }

    /// How many records to ask for so that about `bytes` come.
    pub(super) fn limit(&self, bytes: usize) -> i32 {
        let records = (bytes / self.record_bytes).clamp(1, RECORDS_MAX);
        i32::try_from(records).unwrap_or(i32::MAX)
    }

    /// Learns from an answer, and sets when the next call is due: at once while there is more,
    /// after `poll` at the tip, and ever later while nothing comes.
    pub(super) fn answered(&mut self, answer: &Learned, poll: &Poll, now: Duration) {
        if let Some(attempts) = self.attempts.take() {
            attempts.succeeded();
        }
        self.expired = false;
        (self.behind_ms, self.answered) = (answer.behind_ms, now);
        if let Some(seen) = answer.bytes.checked_div(answer.records) {
            self.active = now;
            let seen = seen.max(RECORD_BYTES_MIN);
            // Growth counts at once, so that the next answer is not too large.
            self.record_bytes = seen.max(usize::midpoint(self.record_bytes, seen));
        }
        self.due = if answer.behind_ms > 0 {
            now
        } else {
            let idle = now.saturating_sub(self.active) / IDLE_PART;
            now + idle.clamp(poll.tip, poll.idle())
        };
    }

    /// Counts a failure: no call before a pause is over.
    pub(super) fn failed(&mut self, retry: &Retry, place: &str, fault: &Fault, now: Duration) {
        let attempts = self.attempts.get_or_insert_with(|| retry.attempts());
        self.due = now + attempts.failed("reading a shard", place, fault);
    }

    /// Forgets the iterator, which was too old; whether that is so for the first time.
    pub(super) fn expire(&mut self) -> bool {
        self.forget_iterator();
        !std::mem::replace(&mut self.expired, true)
    }

    /// Goes on at what is kept, not after `after`; whether it does not do so already.
    pub(super) fn jump(&mut self, after: Position) -> bool {
        self.jumped.replace(after) != Some(after)
    }

    pub(super) fn has_jumped(&self, after: Position) -> bool {
        self.jumped == Some(after)
    }

    /// How far it is behind the tip; while it fails, that grows.
    pub(super) fn behind_ms(&self, now: Duration) -> u64 {
        let since = now.saturating_sub(self.answered).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        let more = if self.attempts.is_some() { since } else { 0 };
        self.behind_ms.saturating_add(more)
    }
}

/// How often shards without anything new are asked.
pub(super) struct Poll {
    /// One that is at the tip.
    pub(super) tip: Duration,
    /// Shards that are read.
    pub(super) shards: usize,
}

impl Poll {
    fn idle(&self) -> Duration {
        let shards = u32::try_from(self.shards).unwrap_or(u32::MAX);
        IDLE_POLL_PER_SHARD
            .saturating_mul(shards)
            .max(IDLE_POLL)
            .max(self.tip)
    }
}

/// What an answer teaches.
pub(super) struct Learned {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) behind_ms: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hydrant_core::Position;

    use super::{Cursor, IDLE_POLL, ITERATOR_AGE, Learned, Poll};

    const POLL: &Poll = &Poll {
        tip: Duration::from_secs(1),
        shards: 4,
    };

    fn learned(records: usize, bytes: usize, behind_ms: u64) -> Learned {
        Learned {
            records,
            bytes,
            behind_ms,
        }
    }

    #[test]
    fn an_iterator_is_for_its_position_and_ages() {
        let (now, after) = (Duration::from_secs(100), Position::from_u64(7));
        let mut cursor = Cursor::new(now);
        assert_eq!(cursor.iterator(after, now), None);
        cursor.set_iterator(after, "it".to_owned(), now);
        assert_eq!(cursor.iterator(after, now).as_deref(), Some("it"));
        assert_eq!(cursor.iterator(Position::from_u64(8), now), None);
        assert_eq!(cursor.iterator(after, now + ITERATOR_AGE), None);
    }

    #[test]
    fn asks_for_as_many_records_as_fit() {
        let now = Duration::ZERO;
        let mut cursor = Cursor::new(now);
        cursor.answered(&learned(10, 10 << 20, 1), POLL, now);
        assert_eq!(cursor.limit(1 << 20), 1, "as large as they come");
        for _ in 0..40 {
            cursor.answered(&learned(100, 100 * 200, 1), POLL, now);
        }
        assert!((4000..=5300).contains(&cursor.limit(1 << 20)));
        assert_eq!(cursor.limit(1 << 30), 10_000);
    }

    #[test]
    fn an_expired_iterator_is_one_slip_and_a_jump_is_made_once() {
        let mut cursor = Cursor::new(Duration::ZERO);
        assert!(cursor.expire() && !cursor.expire());
        cursor.answered(&learned(0, 0, 7), POLL, Duration::from_secs(16));
        assert_eq!(cursor.behind_ms(Duration::from_secs(99)), 7);
        assert!(cursor.expire());
        let after = Position::from_u64(3);
        assert!(cursor.jump(after) && !cursor.jump(after) && cursor.has_jumped(after));
    }

    #[test]
    fn the_longer_nothing_comes_the_later_it_is_asked() {
        let mut cursor = Cursor::new(Duration::ZERO);
        let second = Duration::from_secs;
        cursor.answered(&learned(1, 10, 500), POLL, second(5));
        assert_eq!(cursor.due, second(5), "there is more");
        cursor.answered(&learned(1, 10, 0), POLL, second(6));
        assert_eq!(cursor.due, second(7), "at the tip");
        cursor.answered(&learned(0, 0, 0), POLL, second(56));
        assert_eq!(cursor.due, second(61), "idle for 50 s");
        cursor.answered(&learned(0, 0, 0), POLL, second(5000));
        assert_eq!(cursor.due, second(5000) + IDLE_POLL);
        let many = Poll {
            shards: 1000,
            ..*POLL
        };
        cursor.answered(&learned(0, 0, 0), &many, second(5500));
        assert_eq!(cursor.due, second(5520), "one of many");
        cursor.answered(&learned(1, 10, 0), POLL, second(6000));
        assert_eq!(cursor.due, second(6001), "awake again");
    }
}
