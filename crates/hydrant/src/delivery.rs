//! One delivery stream of the service: waits for its source stream, delivers from it, and starts
//! over where that stream is deleted and made again.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::Budget;
use hydrant_log::StateLog;
use hydrant_log::stream::{Stream, Streams};
use hydrant_pipeline::plan::Versions as _;
use hydrant_pipeline::stream::told_to_stop;
use hydrant_pipeline::{DeliveryStream, Setting, Status};
use hydrant_source::local::{EmbeddedSource, StartAt};
use tokio::sync::watch;

use crate::config::types::{DeliveryStreamConfig, KinesisConfig, SourceConfig, Start};
use crate::crash;
use crate::stages::{self, Parts};
use crate::versions::StreamVersions;

/// How often a missing stream is looked for, and a present one for whether it was deleted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes that one read asks for: two micro-batches, so that one is read while one is rendered.
const READ_BYTES: usize = 1 << 20;

/// A configured delivery stream.
pub(crate) struct Delivery {
    pub(crate) config: DeliveryStreamConfig,
    pub(crate) status: Arc<Status>,
    pub(crate) versions: Arc<StreamVersions>,
    parts: Parts,
}

impl Delivery {
    pub(crate) fn new(
        config: DeliveryStreamConfig,
        versions: Arc<StreamVersions>,
        parts: Parts,
    ) -> Self {
        Self {
            config,
            status: Arc::default(),
            versions,
            parts,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    fn kinesis(&self) -> &KinesisConfig {
        let SourceConfig::Kinesis(kinesis) = &self.config.source;
        kinesis
    }

    /// The embedded stream that it reads.
    pub(crate) fn stream_name(&self) -> &str {
        &self.kinesis().stream
    }

    /// Delivers until `stop` turns true.
    pub(crate) async fn run(
        &self,
        streams: Arc<Streams>,
        state: StateLog,
        budget: Budget,
        stop: watch::Receiver<bool>,
    ) {
        let (mut stopping, mut prepared) = (stop.clone(), false);
        while !*stop.borrow() {
            let ready = match streams.get(self.stream_name()) {
                Some(stream) => self.register(&streams, stream).await,
                None => None,
            };
            let Some(stream) = ready else {
                self.parts.clock.sleep(LOOK_EVERY).await;
                continue;
            };
            // Registered first: while a destination is down, the stream keeps what it will want.
            if !prepared {
                tokio::select! {
                    biased;
                    () = told_to_stop(&mut stopping) => return,
                    () = self.versions.sink.prepare(&self.parts, self.name()) => prepared = true,
                }
            }
            tracing::info!(
                delivery_stream = self.name(),
                stream = stream.name(),
                "delivering"
            );
            let delivery = self.delivery_stream(&stream, &state, &budget);
            tokio::select! {
                biased;
                () = delivery.run(stop.clone()) => {}
                () = self.deleted(&stream) => {
                    tracing::info!(delivery_stream = self.name(), "its source stream was deleted");
                }
            }
        }
    }

    /// From here on the stream keeps what this reader has not committed.
    async fn register(&self, streams: &Streams, stream: Arc<Stream>) -> Option<Arc<Stream>> {
        match streams.add_reader(stream.name(), self.name()).await {
            Ok(()) => Some(stream),
            Err(error) => {
                tracing::warn!(delivery_stream = self.name(), %error, "its source is not ready");
                None
            }
        }
    }

    async fn deleted(&self, stream: &Stream) {
        while !stream.is_deleted() {
            self.parts.clock.sleep(LOOK_EVERY).await;
        }
    }

    fn delivery_stream(
        &self,
        stream: &Arc<Stream>,
        state: &StateLog,
        budget: &Budget,
    ) -> DeliveryStream {
        let kinesis = self.kinesis();
        let start = match kinesis.start {
            Start::TrimHorizon => StartAt::TrimHorizon,
            Start::Latest => StartAt::Latest,
            Start::At(ms) => StartAt::Timestamp(ms),
        };
        let aggregates = stages::aggregates(&self.config);
        let parts = &self.parts;
        let source = EmbeddedSource::new(
            stream.clone(),
            self.name(),
            start,
            aggregates,
            parts.clock.clone(),
        );
        DeliveryStream::new(Setting {
            name: self.name().into(),
            source: Arc::new(source),
            state: Arc::new(state.clone()),
            versions: self.versions.clone(),
            offload: parts.cpu.clone(),
            clock: parts.clock.clone(),
            rng: parts.rng.clone(),
            budget: budget.clone(),
            interval: self.config.destination.objects().buffering_hints.interval,
            read_bytes: READ_BYTES,
            status: self.status.clone(),
            hooks: crash::hooks(),
        })
    }

    /// The version in force, as 64 hex digits.
    pub(crate) fn version(&self) -> String {
        self.versions.current().version.to_hex()
    }
}
