//! A delivery stream in a simulated world, and the oracle over what it delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_core::{BoxFuture, Digest, Lane, LaneKey, Position, Records, RecordsBuilder};
use hydrant_pipeline::lane::{Hooks, LaneContext, run_lane};
use hydrant_pipeline::plan::{MicroBatch, Partitioning, Plan, Versions};
use hydrant_pipeline::status::Status;
use hydrant_testkit::sim::stages::Made;
use hydrant_testkit::sim::world::EPOCH_MS;
use hydrant_testkit::sim::{
    SimEncode, SimErrorFormat, SimOffload, SimSink, SimSource, SimStore, SimTransform, World,
};
use tokio::sync::watch;

pub(crate) const VARIANTS: [&str; 2] = ["A", "B"];

/// The plans of both variants: every worker can get either.
pub(crate) struct SimVersions {
    plans: BTreeMap<Digest, Arc<Plan>>,
    current: Digest,
}

impl Versions for SimVersions {
    fn current(&self) -> Arc<Plan> {
        self.plans[&self.current].clone()
    }

    fn load(&self, version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        let plan = self
            .plans
            .get(&version)
            .cloned()
            .ok_or_else(|| "unknown".to_owned());
        Box::pin(async move { plan })
    }
}

pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) records: Records,
    pub(crate) source: Arc<SimSource>,
    pub(crate) store: SimStore,
    pub(crate) sink: SimSink,
    pub(crate) key: Arc<LaneKey>,
    pub(crate) status: Arc<Status>,
    partitions: u64,
    size_hint_bytes: u64,
    micro_batch: MicroBatch,
    hooks: Arc<dyn Hooks>,
}

impl Model {
    pub(crate) fn new(seed: u64, hooks: Arc<dyn Hooks>) -> Self {
        Self::in_world(&World::new(seed), "model", hooks)
    }

    /// A delivery stream of this name, beside others in the same world.
    pub(crate) fn in_world(world: &World, name: &str, hooks: Arc<dyn Hooks>) -> Self {
        let world = world.clone();
        let records = records(&world);
        let source = SimSource::new(&world).with_lane("lane-0", records.clone(), true);
        let source = Arc::new(source);
        let (store, sink) = (SimStore::new(&world), SimSink::new(&world));
        let key = LaneKey {
            delivery_stream: name.into(),
            source: "sim-stream-1".into(),
            lane: Lane::new("lane-0"),
        };
        Self {
            records,
            source,
            store,
            sink,
            key: Arc::new(key),
            status: Arc::default(),
            partitions: world.rng.between(1, 3),
            size_hint_bytes: world.rng.between(150, 700),
            micro_batch: MicroBatch {
                records: usize::try_from(world.rng.between(2, 9)).unwrap(),
                bytes: usize::try_from(world.rng.between(20, 120)).unwrap(),
            },
            hooks,
            world,
        }
    }

    /// The same where no size seals a range.
    pub(crate) fn without_size_hint(mut self) -> Self {
        self.size_hint_bytes = 1 << 40;
        self
    }

    /// Turns the faults of all parts on (percent), or off with 0.
    pub(crate) fn faults(&self, percent: u64) {
        self.source.fails_percent.store(percent, Ordering::Relaxed);
        self.store.fails_percent.store(percent, Ordering::Relaxed);
        self.sink.fails_percent.store(percent, Ordering::Relaxed);
    }

    pub(crate) fn transform(&self, variant: &'static str) -> SimTransform {
        SimTransform {
            variant,
            partitions: self.partitions,
        }
    }

    fn plan(&self, variant: &'static str) -> Arc<Plan> {
        Arc::new(Plan {
            version: Digest::of(variant.as_bytes()),
            read_mode: 0,
            transforms: vec![Arc::new(self.transform(variant))],
            encode: Arc::new(SimEncode),
            sink: Arc::new(self.sink.clone()),
            error_sink: Arc::new(self.sink.clone()),
            error_format: Arc::new(SimErrorFormat),
            size_hint_bytes: self.size_hint_bytes,
            partitioning: Some(Partitioning {
                keys: vec!["p".to_owned()],
                part_bytes: self.size_hint_bytes / 2,
                max_active: None,
            }),
            micro_batch: self.micro_batch,
        })
    }

    pub(crate) fn context(&self, variant: &'static str) -> LaneContext {
        // Small enough that pressure seals ranges now and then.
        let bytes = usize::try_from(self.world.rng.between(600, 5000)).unwrap();
        self.context_of(variant, &Budget::new(bytes))
    }

    /// The lane as a worker with this budget takes it.
    pub(crate) fn context_of(&self, variant: &'static str, budget: &Budget) -> LaneContext {
        let plans: BTreeMap<_, _> = VARIANTS
            .iter()
            .map(|v| self.plan(v))
            .map(|plan| (plan.version, plan))
            .collect();
        let current = Digest::of(variant.as_bytes());
        let width = usize::try_from(self.world.rng.between(1, 3)).unwrap();
        LaneContext {
            key: self.key.clone(),
            source: self.source.clone(),
            state: Arc::new(self.store.clone()),
            versions: Arc::new(SimVersions { plans, current }),
            offload: Arc::new(SimOffload::new(&self.world, width)),
            clock: Arc::new(self.world.clone()),
            account: budget.account(&self.key.delivery_stream),
            status: self.status.clone(),
            interval: Duration::from_millis(self.world.rng.between(50, 900)),
            read_bytes: usize::try_from(self.world.rng.between(30, 400)).unwrap(),
            hooks: self.hooks.clone(),
        }
    }

    /// Starts a worker that works on the lane until it ends or is taken away.
    pub(crate) fn start_worker(&self, variant: &'static str) -> u64 {
        self.start_lane(self.context(variant))
    }

    /// The same with what the lane is taken up with.
    pub(crate) fn start_lane(&self, context: LaneContext) -> u64 {
        let world = self.world.clone();
        self.world.start(async move {
            let (_keep, mut stop) = watch::channel(false);
            loop {
                match run_lane(&context, &mut stop).await {
                    Ok(_) => return,
                    Err(error) if error.is_fenced() => return,
                    Err(_) => world.sleep(Duration::from_millis(150)).await,
                }
            }
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.store.state(&self.key).is_some_and(|state| state.ended)
    }

    /// Everything that is wrong with what became visible; empty where all is well.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (key, object) in self.sink.objects() {
            let mut last = None;
            for line in String::from_utf8_lossy(&object.bytes).lines() {
                let line = line.split(" at ").next().unwrap_or_default().to_owned();
                let number = number_of(&line);
                if last.is_some_and(|last| last > number) {
                    wrong.push(format!("{key}: {line} is out of order"));
                }
                last = Some(number);
                *lines.entry(line).or_default() += 1;
            }
        }
        for i in 0..self.records.len() {
            let record = self.records.data(i);
            let made = VARIANTS.map(|variant| self.expected(variant, record));
            let found: Vec<_> = made
                .iter()
                .flatten()
                .filter_map(|line| lines.remove_entry(line))
                .collect();
            let as_one = |expected: &Vec<String>| {
                found.len() == expected.len()
                    && found
                        .iter()
                        .all(|(line, n)| *n == 1 && expected.contains(line))
            };
            if !made.iter().any(as_one) {
                wrong.push(format!(
                    "{} became {found:?}",
                    String::from_utf8_lossy(record)
                ));
            }
        }
        wrong.extend(
            lines
                .keys()
                .map(|line| format!("{line} was never expected")),
        );
        if !self.is_done() {
            wrong.push("the lane did not come to its end".into());
        }
        wrong
    }

    /// The lines that a variant makes of a record.
    fn expected(&self, variant: &'static str, record: &[u8]) -> Vec<String> {
        match self.transform(variant).make(record) {
            Made::Dropped => Vec::new(),
            Made::Failed => vec![format!("{variant}:{}", String::from_utf8_lossy(record))],
            Made::Outputs(outputs) => outputs.into_iter().map(|(_, line)| line).collect(),
        }
    }
}

/// The number in a line such as `A:r17#2`.
fn number_of(line: &str) -> u64 {
    let digits = line.split('r').nth(1).unwrap_or_default();
    digits
        .split('#')
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or(u64::MAX)
}

/// Records that arrive over some seconds; now and then several share a sequence number, as those
/// of an aggregate do.
fn records(world: &World) -> Records {
    let mut builder = RecordsBuilder::default();
    let (mut at, mut sequence, mut sub) = (EPOCH_MS, 100, 0);
    for i in 0..world.rng.between(40, 110) {
        at += world.rng.below(60);
        if world.rng.chance(15) {
            sub += 1;
        } else {
            sub = 0;
            sequence += world.rng.between(1, 5);
        }
        let padding = "x".repeat(usize::try_from(world.rng.below(12)).unwrap());
        let text = format!("r{i}#{padding}");
        builder.push(
            Position::from_u64(sequence).with_sub(sub),
            at,
            b"key",
            text.as_bytes(),
        );
    }
    builder.build()
}
