//! The seams of a delivery stream with the oracle in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::stage::{LaneInfo, Read, Source, SourceError};
use hydrant_core::state::{LaneState, LaneStore, StateError, StateStore};
use hydrant_core::{BoxFuture, Lane, LaneKey, Position};
use hydrant_testkit::sim::{SimStore, World};

use super::oracle::Oracle;
use super::record::number;

/// A source whose reads are looked at.
pub(crate) struct WatchedSource {
    pub(crate) inner: Arc<dyn Source>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) world: World,
    pub(crate) reader: usize,
    /// Percent of reads that fail.
    pub(crate) fails: Arc<AtomicU64>,
}

impl Source for WatchedSource {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        self.inner.lanes()
    }

    fn start<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        self.inner.start(lane)
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        Box::pin(async move {
            self.oracle.reads(self.reader, lane);
            let read = self
                .inner
                .read(lane, after, max_bytes, wait, account)
                .await?;
            if self.world.is_halted() {
                return std::future::pending().await;
            }
            let rng = &self.world.rng;
            if rng.chance(self.fails.load(Ordering::Relaxed)) {
                self.world.trace.fired("read failed");
                return Err(SourceError::Unavailable("simulated".into()));
            }
            for block in &read.blocks {
                for i in 0..block.records.len() {
                    let text = std::str::from_utf8(block.records.data(i)).ok();
                    let position = block.records.position(i);
                    let at_ms = block.records.arrival_ms(i);
                    let number = text.and_then(number);
                    self.oracle.read(number, lane, position, at_ms);
                }
            }
            Ok(read)
        })
    }

    fn in_mode(&self, mode: u8) -> Option<Arc<dyn Source>> {
        let inner = self.inner.in_mode(mode)?;
        Some(Arc::new(Self {
            inner,
            oracle: self.oracle.clone(),
            world: self.world.clone(),
            reader: self.reader,
            fails: self.fails.clone(),
        }))
    }

    fn committed(&self, lane: &Lane, position: Position) {
        self.inner.committed(lane, position);
    }
}

/// A store of positions whose states are looked at.
pub(crate) struct WatchedStore {
    pub(crate) inner: Arc<dyn StateStore>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) world: World,
    pub(crate) reader: usize,
    /// What workers share: whoever was paused on the way sees what is there now.
    pub(crate) table: Option<SimStore>,
}

impl StateStore for WatchedStore {
    fn open(&self, key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>> {
        Box::pin(async move {
            let (lane, table) = (key.lane.clone(), self.table.clone());
            let inner = self.inner.open(key.clone()).await?;
            if self.world.is_halted() {
                return std::future::pending().await;
            }
            match &table {
                None => self.oracle.opened(self.reader, &lane, inner.current()),
                Some(table) => {
                    let now = table.state(&key);
                    self.oracle.opened(self.reader, &lane, now.as_ref());
                }
            }
            Ok(Box::new(WatchedLane {
                inner,
                oracle: self.oracle.clone(),
                world: self.world.clone(),
                reader: self.reader,
                lane,
                table: table.map(|table| (table, key)),
            }) as Box<dyn LaneStore>)
        })
    }
}

struct WatchedLane {
    inner: Box<dyn LaneStore>,
    oracle: Arc<Oracle>,
    world: World,
    reader: usize,
    lane: Lane,
    table: Option<(SimStore, LaneKey)>,
}

impl LaneStore for WatchedLane {
    fn current(&self) -> Option<&LaneState> {
        self.inner.current()
    }

    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(async move {
            self.oracle.storing(self.reader, &self.lane, &next);
            self.inner.store(next.clone()).await?;
            if self.world.is_halted() {
                return std::future::pending().await;
            }
            let (lane, position) = (&self.lane, next.position);
            let intent = next.intent.is_some();
            self.world.trace.note(format_args!(
                "stored: reader {} {lane} {position} intent {intent}",
                self.reader
            ));
            let now = self
                .table
                .as_ref()
                .and_then(|(table, key)| table.state(key));
            self.oracle.stored(self.reader, lane, &now.unwrap_or(next));
            Ok(())
        })
    }
}
