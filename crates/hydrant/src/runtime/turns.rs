//! Whose job a pool runs next: the rules by which delivery streams share its threads. Pure: time
//! comes in as an argument, and the threads are `pool.rs`.
//!
//! - Within a stream jobs start in the order in which they were handed over. Among streams the one
//!   that has had the least time of threads is first, so that costly jobs do not crowd out cheap ones;
//!   what one is behind counts for a second at most, as the others would stand still for more.
//! - No job can be stopped. So a stream with a job that takes long (a guest that loops until its time
//!   is over) is *slow*, as such jobs come in rows, and while others want threads all slow streams
//!   together leave one thread free. While nobody else does, they may have them all.
//! - Before a stream is known to be slow it may have taken all threads. So there is a spare one: it
//!   runs one job more than there are cores, of a stream that is not slow, while a job takes long.

use std::collections::VecDeque;
use std::time::Duration;

/// A job that runs longer than this takes long: most take some milliseconds, and the compression of
/// the largest piece some hundred.
const LONG: Duration = Duration::from_millis(500);
/// So long a stream is slow after a job that took long, and so long one that has had a job counts as
/// one that wants threads: the limit of a call's time where none is configured.
const REMEMBERED: Duration = Duration::from_secs(10);

/// So much less time of threads than the others had gives a stream the turn, and no more.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Queues of jobs, one for each stream, and what runs.
pub(super) struct Turns<J> {
    width: usize,
    has_spare: bool,
    streams: Vec<Stream<J>>,
    /// What the stream had been served that was chosen last. One that comes back from a pause
    /// begins there: nobody saves up time.
    level: Duration,
}

struct Stream<J> {
    jobs: VecDeque<J>,
    /// When each of its running jobs began.
    running: Vec<Duration>,
    /// Time of threads that its ended jobs have had.
    served: Duration,
    /// Of its last job that took long.
    slow_until: Duration,
    /// Since its last job was handed over or ended.
    wants_until: Duration,
}

/// A job that runs.
#[derive(Clone, Copy)]
pub(super) struct Started {
    stream: usize,
    began: Duration,
}

impl<J> Turns<J> {
    /// For `width` jobs at once, and one more where there is a spare thread.
    pub(super) fn new(width: usize, has_spare: bool) -> Self {
        Self {
            width,
            has_spare,
            streams: Vec::new(),
            level: Duration::ZERO,
        }
    }

    /// Makes one more queue, and gives its number.
    pub(super) fn add_stream(&mut self) -> usize {
        self.streams.push(Stream {
            jobs: VecDeque::new(),
            running: Vec::new(),
            served: Duration::ZERO,
            slow_until: Duration::ZERO,
            wants_until: Duration::ZERO,
        });
        self.streams.len() - 1
    }

    pub(super) fn push(&mut self, stream: usize, job: J, now: Duration) {
        let level = self.level;
        let stream = &mut self.streams[stream];
        if stream.jobs.is_empty() && stream.running.is_empty() {
            stream.served = stream.served.max(level);
        }
        stream.jobs.push_back(job);
        stream.wants_until = now + REMEMBERED;
    }

    /// Whether a job waits, be it one that may not run yet.
    pub(super) fn has_queued(&self) -> bool {
        self.streams.iter().any(|stream| !stream.jobs.is_empty())
    }

    /// Whether a job may start now.
    pub(super) fn may_start(&self, now: Duration) -> bool {
        self.first(now).is_some()
    }

    /// Takes the job that is to run now, if any may.
    pub(super) fn start(&mut self, now: Duration) -> Option<(J, Started)> {
        self.forget_old_debts(now);
        let number = self.first(now)?;
        let stream = &mut self.streams[number];
        self.level = self.level.max(stream.used(now));
        let job = stream.jobs.pop_front()?;
        stream.running.push(now);
        let started = Started {
            stream: number,
            began: now,
        };
        Some((job, started))
    }

    /// Takes any job: none is left behind where the pool ends.
    pub(super) fn start_any(&mut self, now: Duration) -> Option<(J, Started)> {
        let mut streams = self.streams.iter_mut().enumerate();
        let (number, job) = streams.find_map(|(n, one)| Some((n, one.jobs.pop_front()?)))?;
        self.streams[number].running.push(now);
        let started = Started {
            stream: number,
            began: now,
        };
        Some((job, started))
    }

    fn forget_old_debts(&mut self, now: Duration) {
        let least = self.level.saturating_sub(BEHIND_MAX);
        for stream in &mut self.streams {
            stream.served += least.saturating_sub(stream.used(now));
        }
    }

    /// The stream whose job is next.
    fn first(&self, now: Duration) -> Option<usize> {
        let limits = self.limits(now);
        let streams = self.streams.iter().enumerate();
        let may = |stream: &Stream<J>| !stream.jobs.is_empty() && limits.allow(stream.is_slow(now));
        let allowed = streams.filter(|(_, stream)| may(stream));
        let first = allowed.min_by_key(|(_, stream)| (stream.used(now), stream.running.len()));
        first.map(|(number, _)| number)
    }

    /// Notes that a job has ended, and what CPU time it took: one that waited, for the memory of a guest
    /// say, was not long.
    pub(super) fn end(&mut self, started: Started, now: Duration, cpu: Duration) {
        let stream = &mut self.streams[started.stream];
        let mut running = stream.running.iter();
        if let Some(at) = running.position(|began| *began == started.began) {
            stream.running.swap_remove(at);
        }
        let took = now.saturating_sub(started.began);
        stream.served += took;
        stream.wants_until = now + REMEMBERED;
        if cpu >= LONG {
            stream.slow_until = now + REMEMBERED;
        }
    }

    fn limits(&self, now: Duration) -> Limits {
        let (mut running, mut slow, mut has_long, mut others) = (0, 0, false, false);
        for stream in &self.streams {
            let count = stream.running.len();
            running += count;
            has_long |= stream.has_long(now);
            if stream.is_slow(now) {
                slow += count;
            } else {
                others |= count > 0 || now < stream.wants_until;
            }
        }
        let for_slow = if others {
            self.width.saturating_sub(1).max(1)
        } else {
            self.width
        };
        Limits {
            quick: running < self.width + usize::from(self.has_spare && has_long),
            slow: running < self.width && slow < for_slow,
        }
    }
}

/// Whether one more job may run, of a stream that is slow and of another one.
struct Limits {
    quick: bool,
    slow: bool,
}

impl Limits {
    fn allow(&self, is_slow: bool) -> bool {
        if is_slow { self.slow } else { self.quick }
    }
}

impl<J> Stream<J> {
    fn has_long(&self, now: Duration) -> bool {
        let mut running = self.running.iter();
        running.any(|began| now.saturating_sub(*began) >= LONG)
    }

    fn is_slow(&self, now: Duration) -> bool {
        now < self.slow_until || self.has_long(now)
    }

    /// Time of threads that it has had, with what its running jobs have had.
    fn used(&self, now: Duration) -> Duration {
        let running = self.running.iter();
        let ages = running.map(|began| now.saturating_sub(*began));
        ages.fold(self.served, Duration::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONG, REMEMBERED, Started, Turns};

    /// A moment, in milliseconds.
    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A job that has kept its thread busy all the time ends.
    fn end(turns: &mut Turns<char>, started: Started, now: Duration) {
        turns.end(started, now, now.saturating_sub(started.began));
    }

    /// Turns of a number of streams; a job is its stream's letter.
    fn turns(width: usize, streams: usize) -> Turns<char> {
        let mut turns = Turns::new(width, true);
        for _ in 0..streams {
            turns.add_stream();
        }
        turns
    }

    fn push(turns: &mut Turns<char>, stream: usize, jobs: &str, ms: u64) {
        for job in jobs.chars() {
            turns.push(stream, job, at(ms));
        }
    }

    /// Starts what may run: the jobs, in order, and what ends them.
    fn start(turns: &mut Turns<char>, ms: u64) -> (String, Vec<Started>) {
        std::iter::from_fn(|| turns.start(at(ms))).unzip()
    }

    #[test]
    fn one_stream_has_all_threads_and_its_order() {
        let mut turns = turns(2, 2);
        push(&mut turns, 0, "abcde", 0);
        let (jobs, started) = start(&mut turns, 0);
        assert_eq!(jobs, "ab", "the spare thread is for others");
        assert_eq!(start(&mut turns, 9_000).0, "");
        end(&mut turns, started[0], at(9_000));
        end(&mut turns, started[1], at(9_000));
        assert_eq!(start(&mut turns, 9_000).0, "cd", "slow as it is");
        assert!(turns.has_queued());
    }

    #[test]
    fn a_stream_that_loops_leaves_room_for_others() {
        let mut turns = turns(2, 2);
        push(&mut turns, 0, "LLLLLLLL", 0);
        let (jobs, loops) = start(&mut turns, 0);
        assert_eq!(jobs, "LL");
        push(&mut turns, 1, "qqqq", 0);
        assert_eq!(start(&mut turns, 499).0, "", "nobody knows yet");
        let (jobs, quick) = start(&mut turns, 500);
        assert_eq!(jobs, "q", "on the spare thread");
        end(&mut turns, quick[0], at(501));
        let (jobs, quick) = start(&mut turns, 501);
        assert_eq!(jobs, "q", "one at a time");
        end(&mut turns, quick[0], at(502));
        // A loop ends: it is not followed by another one.
        end(&mut turns, loops[0], at(9_000));
        assert_eq!(start(&mut turns, 9_000).0, "qq");
    }

    #[test]
    fn slow_streams_together_leave_a_thread_while_others_want_it() {
        let mut turns = turns(3, 3);
        push(&mut turns, 2, "q", 0);
        let (_, quick) = start(&mut turns, 0);
        end(&mut turns, quick[0], at(1));
        for stream in [0, 1] {
            push(&mut turns, stream, "L", 1);
        }
        let (_, loops) = start(&mut turns, 1);
        for one in loops {
            end(&mut turns, one, at(601));
        }
        push(&mut turns, 0, "LLLL", 601);
        push(&mut turns, 1, "MMMM", 601);
        let (jobs, started) = start(&mut turns, 601);
        assert_eq!(jobs, "LM", "the third thread is free");
        push(&mut turns, 2, "qqqq", 602);
        let (jobs, quick) = start(&mut turns, 602);
        assert_eq!(jobs, "q");
        end(&mut turns, quick[0], at(603));
        // One of two loops ends, and the other stream's has its turn.
        end(&mut turns, started[0], at(604));
        assert_eq!(start(&mut turns, 604).0, "qq");
    }

    #[test]
    fn who_wanted_nothing_for_some_time_holds_nothing_back() {
        let mut turns = turns(2, 2);
        push(&mut turns, 0, "L", 0);
        push(&mut turns, 1, "q", 0);
        for one in start(&mut turns, 0).1 {
            end(&mut turns, one, LONG);
        }
        // Both are slow, and neither holds back the other.
        push(&mut turns, 0, "LL", 600);
        let (jobs, started) = start(&mut turns, 600);
        assert_eq!(jobs, "LL");
        for one in started {
            end(&mut turns, one, at(700));
        }
        // After some time neither is slow.
        let later = 11_000;
        assert!(at(later) > LONG + REMEMBERED);
        push(&mut turns, 1, "q", later);
        push(&mut turns, 0, "LL", later);
        let (jobs, started) = start(&mut turns, later);
        assert_eq!(jobs, "qL");
        end(&mut turns, started[0], at(later));
        assert_eq!(start(&mut turns, later).0, "L");
    }

    #[test]
    fn a_single_thread_is_shared_and_never_stands_still() {
        let mut turns = turns(1, 2);
        push(&mut turns, 0, "LLL", 0);
        let (jobs, mut started) = start(&mut turns, 0);
        assert_eq!(jobs, "L");
        push(&mut turns, 1, "qqqqqq", 100);
        assert_eq!(start(&mut turns, 100).0, "");
        let (jobs, quick) = start(&mut turns, 600);
        assert_eq!(jobs, "q");
        end(&mut turns, quick[0], at(610));
        end(&mut turns, started.remove(0), at(10_000));
        // The one that has had less is first, until it has had as much.
        for (now, took) in [(10_000, 400), (20_000, 400), (30_000, 9_500)] {
            let (jobs, quick) = start(&mut turns, now);
            assert_eq!(jobs, "q");
            end(&mut turns, quick[0], at(now + took));
        }
        assert_eq!(start(&mut turns, 40_000).0, "L");
    }

    #[test]
    fn time_is_shared_and_not_jobs() {
        let mut turns = turns(1, 2);
        push(&mut turns, 0, &"h".repeat(100), 0);
        push(&mut turns, 1, &"l".repeat(100), 0);
        let (mut now, mut order) = (0, String::new());
        for _ in 0..44 {
            let (jobs, started) = start(&mut turns, now);
            now += if jobs == "h" { 400 } else { 10 };
            end(&mut turns, started[0], at(now));
            order.push_str(&jobs);
        }
        assert_eq!(order.matches('h').count(), 2, "{order}");
        // One that comes back from a pause does not have it made up for.
        let mut turns = turns_after_a_pause();
        let (jobs, started) = start(&mut turns, 60_000);
        end(&mut turns, started[0], at(60_400));
        let second = start(&mut turns, 60_400).0;
        assert_ne!(jobs, second);
    }

    fn turns_after_a_pause() -> Turns<char> {
        let mut turns = turns(1, 2);
        let mut now = 0;
        while now < 60_000 {
            push(&mut turns, 0, "h", now);
            let (_, started) = start(&mut turns, now);
            now += 400;
            end(&mut turns, started[0], at(now));
        }
        push(&mut turns, 0, "hhh", now);
        push(&mut turns, 1, "lll", now);
        turns
    }

    #[test]
    fn without_a_spare_thread_there_is_none() {
        let mut turns = Turns::new(1, false);
        let stream = turns.add_stream();
        let other = turns.add_stream();
        turns.push(stream, 'L', at(0));
        turns.push(other, 'q', at(0));
        assert_eq!(start(&mut turns, 0).0, "L");
        assert_eq!(start(&mut turns, 5_000).0, "");
    }

    #[test]
    fn a_job_that_only_waited_makes_its_stream_no_slow_one() {
        let mut turns = turns(2, 2);
        push(&mut turns, 0, "w", 0);
        let (_, waited) = start(&mut turns, 0);
        turns.end(waited[0], at(5_000), at(3));
        push(&mut turns, 1, "q", 5_000);
        push(&mut turns, 0, "ww", 5_000);
        assert_eq!(start(&mut turns, 5_000).0.len(), 2, "both threads are used");
        assert!(!turns.streams[0].is_slow(at(5_001)));
    }

    #[test]
    fn what_a_stream_is_behind_is_soon_made_good() {
        let (mut turns, mut running, mut jobs) = (turns(3, 2), Vec::new(), String::new());
        for step in 0..1_200 {
            let now = step * 100;
            // For 100 s one of them always has a job, and no more; then it has much to do.
            push(&mut turns, 1, if step < 1_000 { "a" } else { "aaa" }, now);
            push(&mut turns, 0, "bbb", now);
            for one in running {
                end(&mut turns, one, at(now));
            }
            let (started, handles) = start(&mut turns, now);
            running = handles;
            if step >= 1_060 {
                jobs.push_str(&started);
            }
        }
        let count = |of| jobs.chars().filter(|job| *job == of).count();
        let (first, other) = (count('a'), count('b'));
        assert!(first.abs_diff(other) <= 3, "{first} and {other}");
    }
}
