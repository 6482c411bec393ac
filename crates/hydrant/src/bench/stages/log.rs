//! The durable log: appending with group commits, and reading as the source of a delivery stream
//! does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hydrant_core::Records;
use hydrant_core::budget::{Account, Budget};
use hydrant_core::stage::Source as _;
use hydrant_log::stream::ShardId;
use hydrant_source::{Aggregates, EmbeddedSource, StartAt};
use tokio::runtime::Runtime;

use super::home::Home;
use super::{Run, Stage};
use crate::bench::load::{Fingerprint, Load};
use crate::delivery::READ_BYTES;

/// Bytes of the budget that the reader may take.
const BUDGET_BYTES: usize = 64 << 20;

struct Append {
    load: Arc<Load>,
    home: Home,
}

struct Read {
    load: Arc<Load>,
    home: Home,
    source: EmbeddedSource,
    account: Account,
    /// Makes the timers that reading begins with and never waits for.
    timers: Runtime,
}

/// Appends calls of 500 records, several in a group commit.
pub(in crate::bench) fn append(load: &Arc<Load>, dir: &Path) -> anyhow::Result<Box<dyn Stage>> {
    let (load, home) = (load.clone(), Home::open(dir)?);
    Ok(Box::new(Append { load, home }))
}

/// Reads all shards from their beginning.
pub(in crate::bench) fn read(load: &Arc<Load>, dir: &Path) -> anyhow::Result<Box<dyn Stage>> {
    let home = Home::open(dir)?;
    home.append(home.batches(load)?)?;
    Ok(Box::new(reader(load, home)?))
}

fn reader(load: &Arc<Load>, home: Home) -> anyhow::Result<Read> {
    let timers = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let start = StartAt::TrimHorizon;
    let source = EmbeddedSource::new(
        home.stream.clone(),
        "bench",
        start,
        Aggregates::KeepAll,
        home.clock.clone(),
    );
    Ok(Read {
        load: load.clone(),
        home,
        source,
        account: Budget::new(BUDGET_BYTES).account("bench"),
        timers,
    })
}

impl Stage for Append {
    fn check(&mut self) -> anyhow::Result<()> {
        self.home.append(self.home.batches(&self.load)?)?;
        let found = read_all(&self.load, &self.home)?;
        must_be(&self.load, found)
    }

    fn run(&mut self) -> anyhow::Result<Run> {
        self.home.free()?;
        let batches = self.home.batches(&self.load)?;
        let mut run = Run::default();
        run.time(|| self.home.append(batches))?;
        run.bytes_in = self.load.bytes() as u64;
        run.bytes_out = run.bytes_in;
        Ok(run)
    }
}

fn read_all(load: &Arc<Load>, home: &Home) -> anyhow::Result<Fingerprint> {
    let home = Home {
        turns: home.turns.clone(),
        clock: home.clock.clone(),
        streams: home.streams.clone(),
        stream: home.stream.clone(),
    };
    let mut found = Fingerprint::default();
    reader(load, home)?.each(|records| {
        for i in 0..records.len() {
            found.add(records.data(i));
        }
    })?;
    Ok(found)
}

fn must_be(load: &Load, found: Fingerprint) -> anyhow::Result<()> {
    let wanted = load.fingerprint();
    anyhow::ensure!(found == wanted, "read {found:?}, appended {wanted:?}");
    Ok(())
}

impl Read {
    /// Reads everything, and shows each block.
    fn each(&self, mut show: impl FnMut(&Records)) -> anyhow::Result<()> {
        let _timers = self.timers.enter();
        for lane in self.home.turns.finish(self.source.lanes())?? {
            let lane = lane.lane;
            let mut after = self.home.turns.finish(self.source.start(&lane))??;
            let shard = ShardId::parse(lane.as_str()).context("a lane that is no shard")?;
            let stream = &self.home.stream;
            // A look past the end would wait.
            while stream.has(shard, stream.index_of(shard, after)? + 1) {
                let read = self.source.read(
                    &lane,
                    after,
                    READ_BYTES,
                    Duration::from_mins(1),
                    &self.account,
                );
                for block in self.home.turns.finish(read)??.blocks {
                    show(&block.records);
                    after = block.records.last_position().unwrap_or(after);
                }
            }
        }
        Ok(())
    }
}

impl Stage for Read {
    fn check(&mut self) -> anyhow::Result<()> {
        let found = read_all(&self.load, &self.home)?;
        must_be(&self.load, found)
    }

    fn run(&mut self) -> anyhow::Result<Run> {
        let mut run = Run::default();
        let mut bytes = 0;
        run.time(|| self.each(|records| bytes += records.data_bytes() as u64))?;
        (run.bytes_in, run.bytes_out) = (self.load.bytes() as u64, bytes);
        Ok(run)
    }
}
