//! The source itself, as the pipeline sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::offload::Offload;
use hydrant_core::stage::{LaneInfo, Read, Source, SourceError};
use hydrant_core::state::StateStore;
use hydrant_core::{BoxFuture, Lane, Position};

use super::client::KinesisClient;
use super::pace::Pace;
use super::start;
use super::stream::Shared;
use crate::reading::{Aggregates, StartAt, lock};

/// What a source is made with.
pub struct Reader {
    /// The delivery stream that reads.
    pub delivery_stream: Arc<str>,
    /// Where it starts the first time.
    pub start: StartAt,
    /// What happens to aggregates.
    pub aggregates: Aggregates,
    /// How often a shard is asked that had nothing new.
    pub poll: Duration,
    /// The calls of the process, by shard.
    pub pace: Pace,
    /// The CPU pool, where aggregates are taken apart.
    pub cpu: Arc<dyn Offload>,
}

/// Reads a stream of Kinesis for one delivery stream.
pub struct KinesisSource {
    shared: Arc<Shared>,
    aggregates: Aggregates,
}

impl KinesisSource {
    /// A source on the stream as it is there now. The start is resolved, and stored where it is not
    /// given by the records.
    ///
    /// # Errors
    /// [`SourceError::Unavailable`] where the stream cannot be reached or is not there, or the state
    /// store failed.
    pub async fn open(
        client: KinesisClient,
        reader: Reader,
        state: &dyn StateStore,
    ) -> Result<Self, SourceError> {
        let aggregates = reader.aggregates;
        let shared = Arc::new(Shared::open(client, reader, state).await?);
        Ok(Self { shared, aggregates })
    }

    /// Whether the stream was seen to be deleted, or made again: then this source is of no more use.
    pub fn is_deleted(&self) -> bool {
        self.shared.deleted.load(Ordering::Relaxed)
    }

    /// How far the shard that is furthest behind is behind the tip, milliseconds.
    pub fn behind_ms(&self) -> u64 {
        let now = self.shared.client.clock().monotonic();
        let cursors = lock(&self.shared.cursors);
        let behind = cursors.values().map(|cursor| cursor.behind_ms(now));
        behind.max().unwrap_or(0)
    }
}

impl Source for KinesisSource {
    fn identity(&self) -> &str {
        &self.shared.identity
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        Box::pin(self.shared.lanes())
    }

    fn start<'a>(&'a self, _lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        Box::pin(async move { Ok(start::position(self.shared.start_ms)) })
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        let (shared, aggregates) = (&self.shared, self.aggregates);
        Box::pin(shared.read(aggregates, lane, after, max_bytes, wait, account))
    }

    fn in_mode(&self, mode: u8) -> Option<Arc<dyn Source>> {
        let aggregates = Aggregates::from_mode(mode).filter(|one| *one != self.aggregates)?;
        let shared = self.shared.clone();
        Some(Arc::new(Self { shared, aggregates }))
    }

    fn committed(&self, _lane: &Lane, _position: Position) {
        // Kinesis keeps records by time alone.
    }
}
