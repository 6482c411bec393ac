//! Lives through a plan: processes that start, work, crash and start again, until the plan is over;
//! then, where it asks for that, until all is delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_log::inspect::FrameInfo;
use hydrant_pipeline::Status;
use hydrant_testkit::disk::{Fate, SimDisk};
use hydrant_testkit::sim::bucket::LATE_MS;
use hydrant_testkit::sim::{Bucket, Halt, Kind, SimStore, World};
use tokio::sync::watch;

use super::oracle::Oracle;
use super::plan::{Crash, Event, Place, Plan, What};
use super::process::{Process, STREAMS_DIR, Shared};
use super::remote;

/// Room of the disk while it is not full.
const ROOMY: u64 = 64 << 20;
/// Once faults are over, all is delivered within this time.
const BOUND: Duration = Duration::from_mins(30);
/// A process that is told to stop does so within this time, once faults are over.
const STOP_BOUND: Duration = Duration::from_mins(10);
/// Most workers at a time.
const WORKERS: usize = 3;

/// Crashes: the first at a step counted from the start, each next one counted from the restart.
pub type Points = Vec<(u64, Crash)>;

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was wrong.
    pub violations: Vec<String>,
    /// Hash and number of all events.
    pub hash: (u64, u64),
    /// Processes that ended by a crash.
    pub crashes: u64,
    /// Faults that took effect.
    pub faults: BTreeMap<&'static str, u64>,
    /// Steps of disks and stores.
    pub steps: u64,
    /// Records that were acknowledged.
    pub acked: u64,
    /// The events as text, where they were asked for.
    pub lines: Vec<String>,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    Run::new(plan, false).go(None)
}

/// Runs a plan and keeps the text of its events.
pub fn run_traced(plan: &Plan) -> Outcome {
    Run::new(plan, true).go(None)
}

/// Runs a plan with crashes at these points.
pub fn run_points(plan: &Plan, points: &[(u64, Crash)]) -> Outcome {
    Run::new(plan, false).go(Some(points))
}

/// A process that lives.
struct Live {
    group: u64,
    stop: watch::Sender<bool>,
    running: Arc<AtomicU64>,
    statuses: Vec<Arc<Status>>,
}

struct Run<'a> {
    plan: &'a Plan,
    world: World,
    disk: SimDisk,
    shared: Shared,
    versions: Vec<char>,
    live: Vec<Live>,
    groups: u64,
    crashes: u64,
    /// How the process ends at the step that the world halts at.
    armed: Crash,
    /// Those that were asked for and are to come, the last first.
    points: Points,
    /// Crashes come where they were asked for, and nowhere else.
    pointed: bool,
    /// The faults are over.
    quiet: bool,
    /// A process that does not start is what is asked for.
    may_refuse: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, traced: bool) -> Self {
        let world = World::new(plan.seed);
        if traced {
            world.trace.keep_lines();
        }
        let sizes = plan.sizes.clone();
        let oracle = Arc::new(Oracle::new(&sizes));
        let buckets = (0..sizes.readers).map(|reader| {
            let oracle = oracle.clone();
            Bucket::new(
                &world,
                sizes.sink_ms,
                Arc::new(move |object| oracle.object(reader, object)),
            )
        });
        let remote = (sizes.place != Place::Local).then(|| remote::source(&world, &oracle, plan));
        let shared = Shared {
            world: world.clone(),
            buckets: buckets.collect(),
            oracle,
            remote,
            table: SimStore::new(&world),
            next: Arc::new(AtomicU64::new(0)),
            quota: Arc::new(AtomicU64::new(plan.records)),
            putting: Arc::default(),
            refused: Arc::default(),
            read_fails: Arc::default(),
            sizes,
        };
        Self {
            plan,
            disk: SimDisk::in_world(&world, ROOMY),
            world,
            shared,
            versions: vec!['A'],
            live: Vec::new(),
            groups: 0,
            crashes: 0,
            armed: Crash::Process,
            points: Vec::new(),
            pointed: false,
            quiet: false,
            may_refuse: false,
        }
    }

    fn go(mut self, points: Option<&[(u64, Crash)]>) -> Outcome {
        self.start();
        if let Some(points) = points {
            self.pointed = true;
            self.points = points.iter().rev().copied().collect();
            self.arm_next();
        }
        let mut ends: BTreeMap<(u64, usize), usize> = BTreeMap::new();
        for (index, event) in self.plan.events.iter().enumerate() {
            self.end_until(&mut ends, event.at_ms);
            if !self.advance(event.at_ms) {
                return self.finish();
            }
            if let Some(ms) = self.begin(event) {
                ends.insert((event.at_ms + ms, index), index);
            }
        }
        self.end_until(&mut ends, self.plan.end_ms);
        let going = self.advance(self.plan.end_ms);
        if going && self.plan.live && !self.may_refuse {
            self.settle(ends.into_values().collect());
        }
        self.finish()
    }

    /// Ends what lasts until then.
    fn end_until(&mut self, ends: &mut BTreeMap<(u64, usize), usize>, at_ms: u64) {
        while let Some(((end_ms, _), index)) = ends.pop_first_if(|key| key.0 <= at_ms) {
            self.advance(end_ms);
            self.end(&self.plan.events[index]);
        }
    }

    /// Runs until then, through crashes. Says whether there is a reason to go on.
    fn advance(&mut self, at_ms: u64) -> bool {
        let until = Duration::from_millis(at_ms);
        loop {
            self.world.run_until(until);
            if self.world.is_halted() {
                self.halted();
            } else if self.world.monotonic() >= until {
                return !self.is_over();
            }
            if self.is_over() {
                return false;
            }
        }
    }

    /// Whether nothing more can be learned: something is wrong, or the process refuses to start.
    fn is_over(&self) -> bool {
        let refused = self.shared.refused.lock().unwrap().clone();
        if let (Some(refused), false) = (&refused, self.may_refuse) {
            self.shared
                .oracle
                .wrong(format!("it does not start: {refused}"));
        }
        refused.is_some() || self.shared.oracle.is_broken()
    }

    // ---------------------------------------------------------------------------------------
    // Processes

    fn start(&mut self) {
        self.groups += 1;
        let (stop, stopping) = watch::channel(false);
        let running = Arc::default();
        let statuses: Vec<Arc<Status>> = (0..self.shared.sizes.readers)
            .map(|_| Arc::default())
            .collect();
        let process = Process {
            shared: self.shared.clone(),
            group: self.groups,
            disk: self.disk.clone(),
            versions: self.versions.clone(),
            stop: stopping,
            statuses: statuses.clone(),
            running: Arc::clone(&running),
        };
        self.world
            .trace
            .note(format_args!("start: {}", self.groups));
        process.start();
        self.live.push(Live {
            group: self.groups,
            stop,
            running,
            statuses,
        });
    }

    /// The world stands still: what runs has crashed.
    fn halted(&mut self) {
        let crash = match self.world_halt() {
            Some(Halt::Abort(_)) => {
                self.world.trace.fired("aborted");
                if self.world.rng.chance(50) {
                    Crash::Process
                } else {
                    Crash::Power(Fate::Any)
                }
            }
            _ => self.armed,
        };
        self.crash(crash);
    }

    /// Kills what runs while nothing runs, then goes on.
    fn world_halt(&mut self) -> Option<Halt> {
        self.kill_all();
        self.world.go_on()
    }

    fn kill_all(&mut self) {
        for live in std::mem::take(&mut self.live) {
            self.world.kill_group(live.group);
            self.check_balance(&live);
        }
        self.shared.putting.store(0, Ordering::Relaxed);
    }

    /// I11: what was read has ended in one place.
    fn check_balance(&self, live: &Live) {
        for status in &live.statuses {
            let totals = status.snapshot().totals;
            if !totals.is_balanced() {
                self.shared.oracle.wrong(format!("I11: {totals:?}"));
            }
        }
    }

    /// Ends what runs, and starts it again after a while.
    fn crash(&mut self, crash: Crash) {
        self.crashes += 1;
        self.kill_all();
        self.world.go_on();
        match crash {
            Crash::Process => self.world.trace.fired("process killed"),
            Crash::Power(fate) => {
                self.world.trace.fired(match fate {
                    Fate::Any => "power lost, writes kept, lost or torn",
                    Fate::Kept => "power lost, writes kept",
                    Fate::Lost => "power lost, writes lost",
                    Fate::Torn => "power lost, writes torn",
                });
                self.disk = self.disk.crash_as(fate, &*self.world.rng);
            }
        }
        if self.plan.upgrades {
            self.upgrade();
        }
        let quick = self.plan.scenario == "restarts" || self.world.rng.chance(50);
        let longest = if quick { 50 } else { 2500 };
        let down = self.world.rng.below(longest);
        let down = Duration::from_millis(down);
        self.world.run_until(self.world.monotonic() + down);
        self.start();
        self.arm_next();
        self.crash_again(crash);
    }

    /// Lets the process crash while it starts, if the dice say so.
    fn crash_again(&mut self, before: Crash) {
        let rng = self.world.rng.clone();
        let percent = if self.plan.scenario == "restarts" {
            88
        } else {
            40
        };
        if !self.crashes_again() || !rng.chance(percent) {
            return;
        }
        // What is in the page cache alone is lost with the power.
        let cached = before == Crash::Process;
        let power = [Crash::Power(Fate::Any), Crash::Power(Fate::Torn)];
        self.armed = if rng.chance(if cached { 70 } else { 20 }) {
            power[usize::try_from(rng.below(2)).unwrap()]
        } else {
            Crash::Process
        };
        if rng.chance(60) {
            let most = if rng.chance(50) { 5 } else { 12 };
            self.world.halt_at(Kind::Name, rng.between(1, most));
        } else {
            self.world.halt_after(rng.between(1, 45));
        }
    }

    /// Lets the next crash come that was asked for.
    fn arm_next(&mut self) {
        if let Some((steps, crash)) = self.points.pop() {
            self.armed = crash;
            self.world.halt_after(steps);
        }
    }

    /// Whether a process may crash while it starts, by the dice.
    fn crashes_again(&self) -> bool {
        !self.quiet && !self.pointed && !self.plan.events.is_empty()
    }

    // ---------------------------------------------------------------------------------------
    // Events

    /// Lets an event begin. Gives how long it lasts, where it ends by itself.
    fn begin(&mut self, event: &Event) -> Option<u64> {
        self.world.trace.note(format_args!("event: {event:?}"));
        match &event.what {
            What::CrashAfter(steps, crash) => {
                self.armed = *crash;
                self.world.halt_after(*steps);
            }
            What::CrashAtSync(syncs, crash) => {
                self.armed = *crash;
                self.world.halt_after(0);
                self.world.halt_at(Kind::Sync, *syncs);
            }
            What::Crash(crash) => self.crash(*crash),
            What::Upgrade(crash) => {
                self.upgrade();
                self.crash(*crash);
            }
            What::Restart => self.restart(),
            What::SyncFails => self.disk.fail_next_sync(),
            What::Full(ms) => {
                self.world.trace.fired("disk full");
                let room = self.world.rng.below(3000);
                self.disk.set_capacity(self.disk.used_bytes() + room);
                return Some(*ms);
            }
            What::Sink(percent, wrongs, ms) => {
                for bucket in &self.shared.buckets {
                    bucket.set_faults(*percent, wrongs);
                }
                return Some(*ms);
            }
            What::Stall(ms) => {
                self.world.trace.fired("sink stalled");
                self.shared.buckets[0].stall(true);
                return Some(*ms);
            }
            What::Wall(by_ms) => {
                self.world.trace.fired("wall clock jumped");
                self.world.move_wall(*by_ms);
            }
            What::Source(percent, ms) => {
                self.set_source(*percent);
                return Some(*ms);
            }
            What::Table(percent, ms) => {
                let fails = &self.shared.table.fails_percent;
                fails.store(*percent, Ordering::Relaxed);
                return Some(*ms);
            }
            What::Steal(ms) => {
                self.steal(*ms);
                return Some(*ms);
            }
            What::Trim => self.trim(),
            What::Flip => self.flip(),
        }
        None
    }

    fn end(&mut self, event: &Event) {
        match &event.what {
            What::Full(_) => self.disk.set_capacity(ROOMY),
            What::Sink(..) => {
                for bucket in &self.shared.buckets {
                    bucket.set_faults(0, &[]);
                }
            }
            What::Stall(_) => self.shared.buckets[0].stall(false),
            What::Source(..) => self.set_source(0),
            What::Table(..) => self.shared.table.fails_percent.store(0, Ordering::Relaxed),
            What::Steal(_) => {
                for group in 0..=self.groups {
                    self.world.freeze(group, false);
                }
            }
            _ => {}
        }
    }

    fn upgrade(&mut self) {
        self.world.trace.fired("configuration changed");
        let next = if self.versions.last() == Some(&'A') {
            'B'
        } else {
            'A'
        };
        self.versions.push(next);
    }

    /// Stops the process as an operator does: what was read is delivered, up to a limit of time.
    fn restart(&mut self) {
        if self.tell_to_stop() {
            self.world.trace.fired("stopped");
        }
        let until = self.world.monotonic() + Duration::from_secs(2);
        self.world.run_until(until);
        if self.world.is_halted() {
            return self.halted();
        }
        self.kill_all();
        self.start();
    }

    /// Tells what runs to stop. Not where a task has several lanes: a `watch` channel of tokio wakes
    /// its receivers in an order that no seed decides, and the run would not be the same again.
    fn tell_to_stop(&self) -> bool {
        let one_lane = self.shared.sizes.shards == 1;
        for live in self.live.iter().filter(|_| one_lane) {
            live.stop.send_replace(true);
        }
        one_lane
    }

    fn set_source(&self, percent: u64) {
        if let Some(remote) = &self.shared.remote {
            remote.fails_percent.store(percent, Ordering::Relaxed);
        }
        self.shared.read_fails.store(percent, Ordering::Relaxed);
    }

    fn steal(&mut self, paused_ms: u64) {
        self.world.trace.fired("lane stolen");
        if self.live.len() >= WORKERS {
            let oldest = self.live.remove(0);
            self.world.kill_group(oldest.group);
            self.check_balance(&oldest);
        }
        if paused_ms > 0 {
            self.world.trace.fired("worker paused");
            for live in &self.live {
                self.world.freeze(live.group, true);
            }
        }
        self.start();
    }

    fn trim(&mut self) {
        let Some(remote) = &self.shared.remote else {
            return;
        };
        let now_ms = self.world.wall_ms();
        for (lane, _, records) in remote.all() {
            let there = (0..records.len()).take_while(|i| records.arrival_ms(*i) <= now_ms);
            let there = there.count() as u64;
            if there == 0 {
                continue;
            }
            let at = usize::try_from(self.world.rng.below(there)).unwrap();
            // Never inside an aggregate.
            let position = records.position(at).with_sub(u64::MAX);
            self.world.trace.fired("source trimmed");
            remote.trim(lane, position);
            if self.shared.oracle.trimmed(lane, position) {
                self.world
                    .trace
                    .fired("source trimmed into an intended range");
            }
        }
    }

    /// Flips a bit of a frame that was acknowledged and is known to be durable.
    fn flip(&mut self) {
        self.shared
            .quota
            .store(self.shared.next.load(Ordering::Relaxed), Ordering::Relaxed);
        if self.world.rng.chance(50) {
            self.start_twice();
        }
        self.kill_all();
        let frames = self.durable_frames();
        if frames.is_empty() {
            return self.start();
        }
        let rng = &self.world.rng;
        let at = usize::try_from(rng.below(frames.len() as u64)).unwrap();
        let (file, offset, bytes) = &frames[at];
        let offset = usize::try_from(offset + rng.below(u64::from(*bytes))).unwrap();
        assert!(
            self.disk
                .flip(file, offset, u8::try_from(rng.below(8)).unwrap())
        );
        self.world.trace.fired("bit flipped");
        self.may_refuse = true;
        self.start();
        let until = self.world.monotonic() + Duration::from_secs(5);
        self.world.run_until(until);
        if self.shared.refused.lock().unwrap().is_some() {
            self.world.trace.fired("refused to start");
        } else {
            let text = format!(
                "a flipped bit of {} at {offset} is not refused",
                file.display()
            );
            self.shared.oracle.wrong(text);
        }
    }

    /// A start says of all that it finds that it is durable.
    fn start_twice(&mut self) {
        for _ in 0..2 {
            self.crash(Crash::Process);
            self.world.halt_after(0);
            let until = self.world.monotonic() + Duration::from_secs(3);
            self.world.run_until(until);
        }
    }

    /// Frames of which another says that they are durable: file, offset and length.
    fn durable_frames(&self) -> Vec<(PathBuf, u64, u32)> {
        let mut frames = Vec::new();
        for dir in self.disk.dirs() {
            if dir.starts_with(STREAMS_DIR) {
                hydrant_log::inspect::dump(&self.disk, &dir, &mut |frame| frames.push(frame))
                    .unwrap();
            }
        }
        let last = |frame: &FrameInfo| frame.first_lsn + frame.records.len() as u64 - 1;
        let is_known = |frame: &&FrameInfo| {
            let others = frames
                .iter()
                .filter(|other| other.first_lsn != frame.first_lsn);
            others.map(|other| other.durable_lsn).max() >= Some(last(frame))
        };
        // Those of the last segment are the harder ones.
        let newest = frames.iter().map(|frame| &frame.file).max();
        let newest = newest.filter(|_| self.world.rng.chance(70));
        let is_new = |frame: &&FrameInfo| newest.is_none_or(|newest| frame.file == *newest);
        let known = frames.iter().filter(is_known).filter(is_new);
        known
            .map(|one| (one.file.clone(), one.offset, one.frame_bytes))
            .collect()
    }

    // ---------------------------------------------------------------------------------------
    // The end

    /// Ends all faults and waits until all is delivered, a fresh record too.
    fn settle(&mut self, lasting: Vec<usize>) {
        self.quiet = true;
        for index in lasting {
            self.end(&self.plan.events[index]);
        }
        self.world.halt_after(0);
        self.disk.set_capacity(ROOMY);
        if self.live.is_empty() {
            self.start();
        }
        let fresh = self
            .shared
            .next
            .load(Ordering::Relaxed)
            .max(self.plan.records)
            + 2;
        self.shared.quota.store(fresh, Ordering::Relaxed);
        let bound = self.world.monotonic() + BOUND;
        while !self.is_done() {
            if self.world.monotonic() >= bound {
                let errors = self.live.iter().flat_map(|live| &live.statuses);
                let errors: Vec<_> = errors.filter_map(|s| s.snapshot().last_error).collect();
                self.shared.oracle.check_missing();
                let text = format!("it stands still: {errors:?}");
                return self.shared.oracle.wrong(text);
            }
            let next = self.world.monotonic() + Duration::from_millis(700);
            if !self.advance(u64::try_from(next.as_millis()).unwrap()) {
                return;
            }
        }
        self.stop();
        // What lands late.
        let until = self.world.monotonic() + Duration::from_millis(LATE_MS);
        self.world.run_until(until);
    }

    fn is_done(&self) -> bool {
        let shared = &self.shared;
        let all_put = shared.remote.is_some()
            || (shared.next.load(Ordering::Relaxed) == shared.quota.load(Ordering::Relaxed)
                && shared.putting.load(Ordering::Relaxed) == 0);
        all_put && shared.oracle.is_done()
    }

    fn stop(&mut self) {
        if !self.tell_to_stop() {
            return;
        }
        let bound = self.world.monotonic() + STOP_BOUND;
        let runs = |live: &Live| live.running.load(Ordering::Relaxed) > 0;
        while self.live.iter().any(runs) {
            if self.world.monotonic() >= bound {
                self.shared.oracle.wrong("it does not stop".into());
                return;
            }
            self.world
                .run_until(self.world.monotonic() + Duration::from_secs(1));
        }
        if self.plan.scenario == "calm" && self.crashes == 0 {
            self.check_sums();
        }
    }

    /// I11, to the last record, where one process did all.
    fn check_sums(&self) {
        let totals = self.live[0].statuses[0].snapshot().totals;
        let (acked, [delivered, failed]) = self.shared.oracle.counts();
        let told = [totals.read, totals.delivered, totals.failed];
        if told != [acked, delivered, failed] {
            let text = format!(
                "I11: {totals:?}, but {acked} were acknowledged, {delivered} lines and {failed} failures are there"
            );
            self.shared.oracle.wrong(text);
        }
    }

    fn finish(mut self) -> Outcome {
        self.kill_all();
        for (reader, bucket) in self.shared.buckets.iter().enumerate() {
            for key in bucket.overwritten() {
                self.shared
                    .oracle
                    .wrong(format!("I6: {key} was overwritten"));
            }
            for key in bucket.mismatched() {
                let objects = bucket.objects();
                let found = objects.get(&key);
                // What was put before the source lost records stands.
                if found.is_some_and(|found| self.shared.oracle.is_of_maimed(reader, found)) {
                    continue;
                }
                let text = format!("I4: {key} holds other content than a redo makes");
                self.shared.oracle.wrong(text);
            }
        }
        if self.plan.live && !self.may_refuse && !self.shared.oracle.is_broken() {
            self.shared.oracle.check_missing();
        }
        Outcome {
            violations: self.shared.oracle.violations(),
            hash: self.world.trace.hash(),
            crashes: self.crashes,
            faults: self.world.trace.faults(),
            steps: self.world.steps(),
            acked: self.shared.oracle.counts().0,
            lines: self.world.trace.lines(),
        }
    }
}

/// What the standard library does not have yet for maps of this kind.
trait PopFirstIf<K, V> {
    fn pop_first_if(&mut self, wanted: impl Fn(&K) -> bool) -> Option<(K, V)>;
}

impl<K: Ord, V> PopFirstIf<K, V> for BTreeMap<K, V> {
    fn pop_first_if(&mut self, wanted: impl Fn(&K) -> bool) -> Option<(K, V)> {
        let wanted = self.first_key_value().is_some_and(|(key, _)| wanted(key));
        wanted.then(|| self.pop_first()).flatten()
    }
}
