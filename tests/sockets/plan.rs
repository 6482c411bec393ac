//! What a run does, drawn from its seed: who calls, what goes wrong, and how it ends.

use std::time::Duration;

use hydrant_core::rng::Rng as _;
use hydrant_testkit::sim::SimRng;

/// The kinds of runs, taken in turn by seed.
pub(crate) const KINDS: [Kind; 6] = [
    Kind::Calm,
    Kind::Net,
    Kind::Full,
    Kind::Power,
    Kind::Tight,
    Kind::Scarce,
];

/// What goes wrong beside the rude clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Calm,
    /// The network: held for a time, or cut for good in one or both directions.
    Net,
    /// The disk is full for a time.
    Full,
    /// The machine loses its power.
    Power,
    /// There are fewer connections than clients.
    Tight,
    /// There is little memory.
    Scarce,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server is told to stop while clients still call and hang.
    Stop,
    /// All clients go, and the server must be rid of every connection by itself.
    Quiet,
}

/// A client that goes by the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Good {
    /// Puts one by one on one HTTP/1.1 connection.
    Steady,
    /// Makes a connection for each put.
    Fresh,
    /// Puts several at once on one HTTP/2 connection.
    Many,
    /// Reads what was put.
    Reader,
}

/// A client that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rude {
    /// Connects and says nothing.
    Silent,
    /// Sends its first head byte by byte.
    SlowHead,
    /// Calls once, then sends its next head byte by byte.
    SlowSecond,
    /// Calls once, then says nothing more.
    Idle,
    /// Sends its body more slowly than is allowed.
    SlowBody,
    /// Sends its body slowly, but as fast as it must.
    Drip,
    /// Sends part of its body and goes.
    HalfBody,
    /// Sends part of its body and vanishes: nobody hears of it again.
    Vanished,
    /// Goes as soon as its put is sent.
    PutAndGo,
    /// Goes with an answer unread and half a put sent: its system resets the connection.
    Reset,
    /// Asks for records and never reads the answer.
    NeverReads,
    /// The same over HTTP/2, in which the connection itself goes on.
    NeverTakes,
    /// Reads its answer slowly, but does.
    SlowReader,
    /// Sends several puts at once and reads the answers then.
    Pipelined,
    /// Sends what is not HTTP.
    Garbage,
    /// Announces more than is taken.
    TooLong,
}

/// All of them.
pub(crate) const RUDE: [Rude; 16] = [
    Rude::Silent,
    Rude::SlowHead,
    Rude::SlowSecond,
    Rude::Idle,
    Rude::SlowBody,
    Rude::Drip,
    Rude::HalfBody,
    Rude::Vanished,
    Rude::PutAndGo,
    Rude::Reset,
    Rude::NeverReads,
    Rude::NeverTakes,
    Rude::SlowReader,
    Rude::Pipelined,
    Rude::Garbage,
    Rude::TooLong,
];

/// What happens to the world at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Messages to and from the far clients wait, or are let go.
    Hold(bool),
    /// Messages of the far clients, to and from them, are lost from now on, or no more.
    Cut(bool, bool),
    /// The disk takes nothing more, or does again.
    Full(bool),
    /// The power goes.
    Power,
    /// It is back.
    Start,
    /// The server is told to stop.
    Stop,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) end: End,
    /// Clients on a network that works.
    pub(crate) near: Vec<Good>,
    /// Clients on a network that may not.
    pub(crate) far: Vec<Good>,
    /// The rude, with when they begin.
    pub(crate) rude: Vec<(Rude, Duration)>,
    pub(crate) events: Vec<(Duration, What)>,
    /// Good clients begin no call after this.
    pub(crate) until: Duration,
    pub(crate) max_connections: usize,
    pub(crate) budget_bytes: usize,
    pub(crate) shards: u32,
    /// Longest that a write to the disk takes.
    pub(crate) disk_ms: u64,
    /// Accepts that fail, percent.
    pub(crate) accept_fails: u64,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pick<T: Copy>(rng: &SimRng, all: &[T]) -> T {
    all[usize::try_from(rng.below(all.len() as u64)).unwrap()]
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let rng = SimRng::new(seed ^ 0x736f_636b_6574);
        let kind = KINDS[usize::try_from(seed % KINDS.len() as u64).unwrap()];
        let end = if rng.chance(60) {
            End::Stop
        } else {
            End::Quiet
        };
        let until = ms(rng.between(8_000, 30_000));
        let good = [Good::Steady, Good::Fresh, Good::Many, Good::Reader];
        let some = |most| {
            (0..rng.between(1, most))
                .map(|_| pick(&rng, &good))
                .collect()
        };
        let (mut near, far): (Vec<Good>, Vec<Good>) = (some(3), some(2));
        near.push(Good::Steady);
        let rude = (0..rng.between(3, 8)).map(|_| {
            let begins = ms(rng.below(until.as_millis().try_into().unwrap()));
            (pick(&rng, &RUDE), begins)
        });
        let rude = rude.collect();
        let mut plan = Self {
            seed,
            kind,
            end,
            near,
            far,
            rude,
            events: Vec::new(),
            until,
            max_connections: 64,
            budget_bytes: 256 << 20,
            shards: u32::try_from(rng.between(1, 3)).unwrap(),
            disk_ms: pick(&rng, &[0, 5, 60]),
            accept_fails: pick(&rng, &[0, 0, 10]),
        };
        plan.draw_events(&rng);
        plan
    }

    fn draw_events(&mut self, rng: &SimRng) {
        let until = u64::try_from(self.until.as_millis()).unwrap();
        let mut at = |event, after: u64| {
            let at = ms(rng.below(until) + after);
            self.events.push((at, event));
            at
        };
        match self.kind {
            Kind::Calm => {}
            Kind::Net => {
                let held = at(What::Hold(true), 0);
                let free = held + ms(rng.between(100, 12_000));
                self.events.push((free, What::Hold(false)));
                let (to, from) = pick(rng, &[(true, true), (true, false), (false, true)]);
                let cut = free + ms(rng.below(5_000));
                self.events.push((cut, What::Cut(to, from)));
                let healed = cut + ms(rng.between(100, 8_000));
                self.events.push((healed, What::Cut(false, false)));
            }
            Kind::Full => {
                let full = at(What::Full(true), 0);
                let free = full + ms(rng.between(1_000, 6_000));
                self.events.push((free, What::Full(false)));
            }
            Kind::Power => {
                let off = at(What::Power, 500);
                let on = off + ms(rng.between(50, 3_000));
                self.events.push((on, What::Start));
            }
            Kind::Tight => {
                self.max_connections = usize::try_from(rng.between(4, 8)).unwrap();
                self.rude.extend((0..8).map(|_| {
                    (
                        pick(rng, &[Rude::Silent, Rude::SlowHead]),
                        ms(rng.below(until)),
                    )
                }));
            }
            Kind::Scarce => self.budget_bytes = 1 << 20 << rng.between(0, 5),
        }
        if self.end == End::Stop {
            let stop = ms(rng.between(2_000, until));
            self.events.push((stop, What::Stop));
        }
        self.events.sort_by_key(|(at, _)| *at);
    }

    /// The number of the first rude client; the good ones are before it.
    pub(crate) fn first_rude(&self) -> u64 {
        1 + (self.near.len() + self.far.len()) as u64
    }

    /// Longest that a good client on a network that works waits for an answer.
    pub(crate) fn patience(&self) -> Duration {
        match self.kind {
            // Two seconds for memory, and five to throw the body away.
            Kind::Scarce => ms(8_500),
            _ => ms(2_000),
        }
    }

    /// Whether a good client may be told to come again.
    pub(crate) fn may_refuse(&self) -> bool {
        matches!(self.kind, Kind::Full | Kind::Scarce)
    }

    /// Whether connections of good clients may break or wait to be taken.
    pub(crate) fn may_break(&self) -> bool {
        matches!(self.kind, Kind::Power | Kind::Tight) || self.accept_fails > 0
    }
}
