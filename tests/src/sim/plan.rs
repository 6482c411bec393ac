//! What one run is made of: sizes and faults, drawn for a scenario from a seed.

use hydrant_core::rng::Rng as _;
use hydrant_testkit::disk::Fate;
use hydrant_testkit::sim::SimRng;
use hydrant_testkit::sim::bucket::Wrong;

/// Names of all scenarios, in the order in which seeds go through them.
pub const SCENARIOS: [&str; 20] = [
    "calm",
    "power",
    "kill",
    "restarts",
    "sync",
    "flip",
    "full",
    "sink",
    "upgrade",
    "overrun",
    "parts",
    "clock",
    "retention",
    "shards",
    "latest",
    "remote",
    "workers",
    "trimmed",
    "stall",
    "everything",
];

/// Faults come in this time, in milliseconds.
pub(super) const HORIZON_MS: u64 = 12_000;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is killed: what it wrote is in the page cache.
    Process,
    /// The power goes.
    Power(Fate),
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A crash at the so-manieth step of a disk or store from now.
    CrashAfter(u64, Crash),
    /// A crash at the so-manieth sync of a file from now.
    CrashAtSync(u64, Crash),
    /// A crash now.
    Crash(Crash),
    /// The same, and the next process has another version.
    Upgrade(Crash),
    /// A stop that lets ranges end, and a start.
    Restart,
    /// The next sync of a file fails.
    SyncFails,
    /// The disk has no room for so long.
    Full(u64),
    /// So many percent of the bucket's requests go wrong in these ways, for so long.
    Sink(u64, Vec<Wrong>, u64),
    /// The bucket does not answer for so long.
    Stall(u64),
    /// The wall clock jumps.
    Wall(i64),
    /// So many percent of the reads fail, for so long.
    Source(u64, u64),
    /// So many percent of the position table's writes fail, for so long.
    Table(u64, u64),
    /// Another worker takes the lanes; the one before goes on, or is paused for so long.
    Steal(u64),
    /// The remote source trims what it has so far.
    Trim,
    /// After a clean start a bit of the stream's log flips while nothing runs.
    Flip,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Virtual time, in milliseconds.
    pub at_ms: u64,
    /// What happens then.
    pub what: What,
}

/// Where records come from and positions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An embedded stream and the state store, on a disk.
    Local,
    /// A simulated remote stream, positions in the state store.
    Remote,
    /// A simulated remote stream, positions in a table that workers share.
    Table,
}

/// Sizes of one run.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Where records come from.
    pub place: Place,
    /// Shards of the stream.
    pub shards: u32,
    /// Delivery streams that read it.
    pub readers: usize,
    /// They start at the newest record.
    pub latest: bool,
    /// The remote source refuses to read from what it has trimmed, and so says what is lost.
    pub tells_trimmed: bool,
    /// Dynamic partitions; with one, outputs have no keys.
    pub partitions: u64,
    /// Percent of micro-batches with a call that runs out of time.
    pub overruns: u64,
    /// Percent of micro-batches of which a transform says nothing at first.
    pub blocks: u64,
    /// Percent of loads of an earlier version that fail.
    pub load_fails: u64,
    /// Size of a part.
    pub part_bytes: usize,
    /// How often an object is tried before the lane begins again.
    pub tries: Option<u32>,
    /// Size hint and interval.
    pub hint_bytes: u64,
    /// Interval of a range.
    pub interval_ms: u64,
    /// Records and bytes of a micro-batch.
    pub batch: (usize, usize),
    /// Bytes of the budget.
    pub budget: usize,
    /// Bytes of a read.
    pub read_bytes: usize,
    /// First and longest segment.
    pub segments: (u64, u64),
    /// Bytes of a group commit.
    pub group_bytes: usize,
    /// Bytes that readers find in memory.
    pub cache_bytes: usize,
    /// Spent segments that are kept.
    pub spares: usize,
    /// How long records are kept at least.
    pub retention_ms: u64,
    /// Producers and their pause between puts.
    pub producers: u64,
    /// Longest pause of a producer.
    pub pace_ms: u64,
    /// Percent of puts that whoever puts gives up.
    pub dropped: u64,
    /// Width of the CPU pool.
    pub width: usize,
    /// How long a job of the CPU pool takes at most, and one of the I/O pool.
    pub cpu_ms: u64,
    /// See above.
    pub io_ms: u64,
    /// How long a request of the bucket takes at most, each way.
    pub sink_ms: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// Records that are put.
    pub records: u64,
    /// Faults stop at a time, and then all must be delivered.
    pub live: bool,
    /// Sizes.
    pub sizes: Sizes,
    /// What happens, by time.
    pub events: Vec<Event>,
    /// When the last fault is over.
    pub end_ms: u64,
    /// Each process that starts after a crash has another version.
    pub upgrades: bool,
}

impl Plan {
    /// Draws the plan of a scenario. `None` where there is no such scenario.
    pub fn draw(scenario: &str, seed: u64) -> Option<Self> {
        let scenario = *SCENARIOS.iter().find(|name| **name == scenario)?;
        let rng = SimRng::new(seed ^ 0xbead);
        let mut plan = Self {
            scenario,
            seed,
            records: rng.between(30, 120),
            live: !rng.chance(25),
            sizes: sizes(&rng),
            events: Vec::new(),
            end_ms: HORIZON_MS,
            upgrades: false,
        };
        plan.shape(&rng);
        plan.events.sort_by_key(|event| event.at_ms);
        Some(plan)
    }

    /// The same without some of its events, and with so many records.
    #[must_use]
    pub fn reduced(&self, without: &[usize], records: u64) -> Self {
        let mut plan = self.clone();
        plan.records = records;
        let events = self.events.iter().enumerate();
        let kept = events.filter(|(index, _)| !without.contains(index));
        plan.events = kept.map(|(_, event)| event.clone()).collect();
        plan
    }

    /// The scenario that this seed goes through where none is named.
    ///
    /// # Panics
    /// Never: the scenarios that are listed are there.
    pub fn of_seed(seed: u64) -> Self {
        let turns = SCENARIOS.len() as u64 + 4;
        let at = usize::try_from(seed % turns).unwrap();
        // These have most to go wrong.
        let scenario = SCENARIOS.get(at).unwrap_or(match at % 4 {
            0 => &"remote",
            _ => &"restarts",
        });
        Self::draw(scenario, seed).unwrap()
    }

    fn shape(&mut self, rng: &SimRng) {
        match self.scenario {
            "calm" => self.sizes.dropped = 0,
            "power" => self.crashes(rng, 1, 5, true),
            "kill" => self.crashes(rng, 2, 7, false),
            "restarts" => self.crashes(rng, 5, 9, true),
            "sync" => self.sync_fails(rng),
            "flip" => {
                self.sizes.retention_ms = 3_600_000;
                self.at(HORIZON_MS - rng.between(0, 9000), What::Flip);
            }
            "full" => self.fills_up(rng),
            "sink" => self.sink(rng, 6),
            "upgrade" => self.upgrades(rng),
            "overrun" => {
                self.sizes.overruns = rng.between(30, 80);
                self.crashes(rng, 2, 7, false);
                self.sink(rng, 2);
            }
            "parts" => self.parts(rng),
            "clock" => self.clock(rng),
            "retention" => self.retention(rng),
            "shards" => {
                self.sizes.shards = u32::try_from(rng.between(2, 4)).unwrap();
                self.sizes.readers = 2;
                self.crashes(rng, 0, 3, true);
                self.sink(rng, 2);
            }
            "latest" => {
                self.sizes.latest = true;
                self.at(
                    rng.between(0, 300),
                    What::CrashAfter(rng.between(1, 40), any_power(rng)),
                );
                self.crashes(rng, 1, 3, true);
            }
            "remote" => self.remote(rng, Place::Remote),
            "workers" => {
                self.remote(rng, Place::Table);
                self.steals(rng);
            }
            "trimmed" => self.trimmed(rng),
            "stall" => self.stall(rng),
            "everything" => self.everything(rng),
            _ => {}
        }
    }

    fn at(&mut self, at_ms: u64, what: What) {
        self.events.push(Event { at_ms, what });
    }

    fn some_time(rng: &SimRng) -> u64 {
        rng.below(HORIZON_MS)
    }

    fn crashes(&mut self, rng: &SimRng, least: u64, most: u64, power: bool) {
        for _ in 0..rng.between(least, most) {
            let crash = if power || rng.chance(25) {
                any_power(rng)
            } else {
                Crash::Process
            };
            let what = match rng.below(6) {
                0 => What::Crash(crash),
                2 | 3 => What::CrashAtSync(rng.between(1, 14), crash),
                1 if rng.chance(40) => What::Restart,
                _ => What::CrashAfter(rng.between(1, 60), crash),
            };
            self.at(Self::some_time(rng), what);
        }
        if rng.chance(40) {
            let (percent, ms) = (rng.between(2, 25), rng.between(1000, 12_000));
            self.at(Self::some_time(rng), What::Source(percent, ms));
        }
    }

    fn sync_fails(&mut self, rng: &SimRng) {
        for _ in 0..rng.between(1, 3) {
            self.at(Self::some_time(rng), What::SyncFails);
        }
        self.crashes(rng, 0, 3, true);
    }

    fn fills_up(&mut self, rng: &SimRng) {
        self.sizes.segments = (2048, 4096);
        self.sizes.retention_ms = rng.between(0, 1000);
        for _ in 0..rng.between(1, 3) {
            self.at(Self::some_time(rng), What::Full(rng.between(500, 4000)));
        }
        self.crashes(rng, 0, 3, true);
    }

    fn sink(&mut self, rng: &SimRng, most: u64) {
        let all = [
            Wrong::SlowDown,
            Wrong::Internal,
            Wrong::Forbidden,
            Wrong::Conflict,
            Wrong::LostAnswer,
            Wrong::Late,
        ];
        for _ in 0..rng.between(1, most) {
            let wrongs: Vec<Wrong> = all.into_iter().filter(|_| rng.chance(50)).collect();
            let (percent, ms) = (rng.between(5, 90), rng.between(200, 8000));
            self.at(Self::some_time(rng), What::Sink(percent, wrongs, ms));
        }
        if rng.chance(30) {
            self.at(Self::some_time(rng), What::Stall(rng.between(1000, 20_000)));
        }
        if rng.chance(50) {
            self.sizes.tries = Some(u32::try_from(rng.between(1, 4)).unwrap());
        }
        if rng.chance(50) {
            self.crashes(rng, 0, 2, false);
        }
    }

    fn upgrades(&mut self, rng: &SimRng) {
        self.sizes.load_fails = rng.below(40);
        for _ in 0..rng.between(1, 5) {
            let crash = if rng.chance(30) {
                any_power(rng)
            } else {
                Crash::Process
            };
            self.at(Self::some_time(rng), What::Upgrade(crash));
        }
        self.crashes(rng, 0, 2, true);
        self.sink(rng, 2);
    }

    fn parts(&mut self, rng: &SimRng) {
        self.sizes.partitions = rng.between(2, 6);
        self.sizes.part_bytes = usize::try_from(rng.between(150, 500)).unwrap();
        self.sizes.hint_bytes = rng.between(800, 4000);
        self.crashes(rng, 1, 4, false);
        self.sink(rng, 2);
    }

    fn clock(&mut self, rng: &SimRng) {
        for _ in 0..rng.between(2, 6) {
            let by = i64::try_from(rng.between(1, 100_000)).unwrap();
            let by = if rng.chance(50) { by } else { -by };
            self.at(Self::some_time(rng), What::Wall(by));
        }
        self.sizes.retention_ms = rng.between(0, 30_000);
        self.crashes(rng, 1, 4, false);
    }

    fn retention(&mut self, rng: &SimRng) {
        self.sizes.segments = (1024, 2048);
        self.sizes.group_bytes = 600;
        self.sizes.retention_ms = rng.between(0, 300);
        self.sizes.spares = usize::try_from(rng.below(4)).unwrap();
        self.sizes.cache_bytes = usize::try_from(rng.below(2) * 2000).unwrap();
        self.records += 60;
        self.crashes(rng, 1, 6, true);
        self.sink(rng, 1);
    }

    fn remote(&mut self, rng: &SimRng, place: Place) {
        self.sizes.place = place;
        self.sizes.shards = u32::try_from(rng.between(1, 3)).unwrap();
        for _ in 0..rng.between(2, 6) {
            let most = if rng.chance(70) { 8 } else { 70 };
            let (percent, ms) = (rng.between(1, most), rng.between(1000, 8000));
            self.at(Self::some_time(rng), What::Source(percent, ms));
        }
        self.sizes.io_ms = rng.between(1, 300);
        self.crashes(rng, 0, 8, place == Place::Remote);
        if rng.chance(50) {
            self.sink(rng, 2);
        }
        if rng.chance(30) {
            self.at(Self::some_time(rng), What::Upgrade(Crash::Process));
        }
    }

    fn steals(&mut self, rng: &SimRng) {
        for _ in 0..rng.between(2, 8) {
            let paused_ms = rng.between(100, 9000);
            let paused_ms = if rng.chance(30) { paused_ms } else { 0 };
            self.at(rng.below(8000), What::Steal(paused_ms));
        }
        for _ in 0..rng.between(0, 3) {
            let (percent, ms) = (rng.between(5, 60), rng.between(500, 6000));
            self.at(Self::some_time(rng), What::Table(percent, ms));
        }
    }

    fn trimmed(&mut self, rng: &SimRng) {
        let place = if rng.chance(50) {
            Place::Remote
        } else {
            Place::Table
        };
        self.remote(rng, place);
        self.sizes.tells_trimmed = rng.chance(60);
        for _ in 0..rng.between(1, 4) {
            let at = Self::some_time(rng);
            if rng.chance(60) {
                self.at(at, What::Crash(Crash::Process));
            }
            self.at(at, What::Trim);
        }
    }

    /// One bucket takes nothing for so long that its reader gives memory to the other.
    fn stall(&mut self, rng: &SimRng) {
        self.sizes.readers = 2;
        self.sizes.read_bytes = usize::try_from(rng.between(150, 400)).unwrap();
        let held = usize::try_from(rng.between(100, 1200)).unwrap();
        self.sizes.budget = 3 * self.sizes.read_bytes + held;
        self.sizes.hint_bytes = rng.between(300, 900);
        (self.sizes.producers, self.sizes.pace_ms) = (2, rng.between(200, 2500));
        self.records = 200;
        self.end_ms = 60_000;
        self.at(rng.below(4000), What::Stall(rng.between(20_000, 50_000)));
        self.crashes(rng, 0, 1, false);
    }

    fn everything(&mut self, rng: &SimRng) {
        self.sizes.shards = u32::try_from(rng.between(1, 3)).unwrap();
        self.sizes.readers = usize::try_from(rng.between(1, 2)).unwrap();
        self.sizes.overruns = rng.below(30);
        self.sizes.blocks = rng.below(20);
        self.sizes.partitions = rng.between(1, 4);
        self.sizes.part_bytes = usize::try_from(rng.between(200, 2000)).unwrap();
        self.sizes.latest = rng.chance(20);
        self.crashes(rng, 0, 3, true);
        self.upgrades(rng);
        self.clock(rng);
        if rng.chance(50) {
            self.sync_fails(rng);
        }
        if rng.chance(40) {
            self.fills_up(rng);
        }
        if rng.chance(40) {
            self.retention(rng);
        }
    }
}

fn any_power(rng: &SimRng) -> Crash {
    let fates = [Fate::Any, Fate::Any, Fate::Kept, Fate::Lost, Fate::Torn];
    Crash::Power(fates[usize::try_from(rng.below(5)).unwrap()])
}

pub(super) fn sizes(rng: &SimRng) -> Sizes {
    let between = |low, high| usize::try_from(rng.between(low, high)).unwrap();
    let first_segment = 1024 << rng.below(3);
    Sizes {
        place: Place::Local,
        shards: 1,
        readers: 1,
        latest: false,
        tells_trimmed: false,
        partitions: rng.between(1, 3),
        overruns: 0,
        blocks: 0,
        load_fails: 0,
        part_bytes: between(400, 20_000),
        tries: None,
        hint_bytes: rng.between(300, 4000),
        interval_ms: rng.between(20, [150, 1500][between(0, 1)]),
        batch: (between(2, 9), between(60, 400)),
        budget: between(6000, 60_000),
        read_bytes: between(60, 1500),
        segments: (first_segment, first_segment * rng.between(1, 4)),
        group_bytes: between(500, 4000),
        cache_bytes: between(0, 2) * 3000,
        spares: between(0, 2),
        retention_ms: 3_600_000 * rng.below(2) + rng.below(4000),
        producers: rng.between(1, 3),
        pace_ms: rng.between(20, 400),
        dropped: rng.below(3) * 10,
        width: between(1, 3),
        cpu_ms: [2, 2, 40][between(0, 2)],
        io_ms: [2, 10, 60][between(0, 2)],
        sink_ms: [20, 20, 250][between(0, 2)],
    }
}
