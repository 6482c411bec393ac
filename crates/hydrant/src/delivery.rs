//! One delivery stream of the service: waits for its source stream, delivers from it, and starts
//! over where that stream is deleted and made again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use hydrant_core::backoff::Backoff;
use hydrant_core::budget::Budget;
use hydrant_core::retry::StatusSnapshot;
use hydrant_core::stage::Source;
use hydrant_log::StateLog;
use hydrant_log::stream::{Stream, Streams};
use hydrant_pipeline::plan::Versions as _;
use hydrant_pipeline::stream::{told_to_stop, with_causes};
use hydrant_pipeline::{DeliveryStream, Setting, Status};
use hydrant_source::kinesis::Reader;
use hydrant_source::{EmbeddedSource, KinesisClient, KinesisSource, StartAt};
use tokio::sync::watch;

use crate::config::types::{DeliveryStreamConfig, KinesisConfig, SourceConfig, Start, StreamPlace};
use crate::crash;
use crate::stages::{self, Parts};
use crate::versions::StreamVersions;

/// How often a missing embedded stream is looked for, and any stream for whether it was deleted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes that one read asks for: two micro-batches, so that one is read while one is rendered.
pub(crate) const READ_BYTES: usize = 1 << 20;

/// A configured delivery stream.
pub(crate) struct Delivery {
    pub(crate) config: DeliveryStreamConfig,
    pub(crate) status: Arc<Status>,
    pub(crate) versions: Arc<StreamVersions>,
    /// Asks for a remote stream; none where the stream is embedded.
    remote: Option<Remote>,
    parts: Parts,
}

struct Remote {
    client: KinesisClient,
    poll: Duration,
    /// The source that is read now, for its metrics.
    source: watch::Sender<Option<Arc<KinesisSource>>>,
}

/// What reading a remote stream is like at the moment.
#[derive(Default)]
pub(crate) struct SourceSnapshot {
    /// The counters of its requests.
    pub(crate) requests: StatusSnapshot,
    /// How far it is behind the tip, milliseconds.
    pub(crate) behind_ms: u64,
}

/// A source that can be read, and how it is seen that it cannot be any more.
enum Opened {
    Embedded(Arc<Stream>, Arc<EmbeddedSource>),
    Remote(Arc<KinesisSource>),
}

impl Opened {
    fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Embedded(_, source) => source.clone(),
            Self::Remote(source) => source.clone(),
        }
    }

    /// Whether what was read of it does not matter any more, once it is deleted: a user of this
    /// service has said so.
    fn is_lost(&self) -> bool {
        matches!(self, Self::Embedded(..))
    }

    fn is_deleted(&self) -> bool {
        match self {
            Self::Embedded(stream, _) => stream.is_deleted(),
            Self::Remote(source) => source.is_deleted(),
        }
    }
}

impl Delivery {
    /// # Errors
    /// Where the settings of a remote stream cannot be used.
    pub(crate) async fn new(
        config: DeliveryStreamConfig,
        versions: Arc<StreamVersions>,
        parts: Parts,
    ) -> anyhow::Result<Self> {
        let SourceConfig::Kinesis(kinesis) = &config.source;
        let remote = match &kinesis.place {
            StreamPlace::Embedded => None,
            StreamPlace::Remote(remote) => {
                let settings = stages::kinesis_settings(&kinesis.stream, remote);
                let (clock, rng) = (parts.clock.clone(), parts.rng.clone());
                let client = KinesisClient::new(settings, clock, rng).await;
                let name = &config.name;
                let wrong = |faults: Vec<String>| {
                    let faults = faults.join("; ");
                    anyhow!("delivery stream {name}: its source: {faults}")
                };
                Some(Remote {
                    client: client.map_err(wrong)?,
                    poll: remote.poll_interval,
                    source: watch::channel(None).0,
                })
            }
        };
        Ok(Self {
            config,
            status: Arc::default(),
            versions,
            remote,
            parts,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    fn kinesis(&self) -> &KinesisConfig {
        let SourceConfig::Kinesis(kinesis) = &self.config.source;
        kinesis
    }

    /// The stream that it reads.
    pub(crate) fn stream_name(&self) -> &str {
        &self.kinesis().stream
    }

    /// What reading is like; nothing to tell of an embedded stream.
    pub(crate) fn source_snapshot(&self) -> SourceSnapshot {
        let Some(remote) = &self.remote else {
            return SourceSnapshot::default();
        };
        let source = remote.source.borrow().clone();
        SourceSnapshot {
            requests: remote.client.status().snapshot(),
            behind_ms: source.map_or(0, |source| source.behind_ms()),
        }
    }

    /// Delivers until `stop` turns true.
    pub(crate) async fn run(
        &self,
        streams: Arc<Streams>,
        state: StateLog,
        budget: Budget,
        stop: watch::Receiver<bool>,
    ) {
        tokio::select! {
            biased;
            () = self.deliver(streams, state, budget, stop) => {}
            () = self.versions.sink.keep_clean() => {}
        }
    }

    async fn deliver(
        &self,
        streams: Arc<Streams>,
        state: StateLog,
        budget: Budget,
        stop: watch::Receiver<bool>,
    ) {
        let (mut stopping, mut prepared) = (stop.clone(), false);
        let mut pauses = Backoff::default();
        while !*stop.borrow() {
            let opening = async {
                match &self.remote {
                    None => self.open_embedded(&streams).await,
                    Some(remote) => self.open_remote(remote, &state, &mut pauses).await,
                }
            };
            // Registered first: while a destination is down, the stream keeps what it will want.
            let ready = async {
                let opened = opening.await;
                if opened.is_some() && !prepared {
                    self.versions.sink.prepare(&self.parts, self.name()).await;
                    prepared = true;
                }
                opened
            };
            let opened = tokio::select! {
                biased;
                () = told_to_stop(&mut stopping) => return,
                opened = ready => opened,
            };
            let Some(opened) = opened else { continue };
            let stream = self.stream_name();
            tracing::info!(delivery_stream = self.name(), stream, "delivering");
            let delivery = self.delivery_stream(opened.source(), &state, &budget);
            let (end, ending) = watch::channel(false);
            let told = async {
                tokio::select! {
                    biased;
                    () = told_to_stop(&mut stopping) => {}
                    () = self.deleted(&opened) => {
                        tracing::info!(delivery_stream = self.name(), "its source stream was deleted");
                        if opened.is_lost() {
                            return;
                        }
                    }
                }
                // What was read is delivered first: a remote stream cannot give it again.
                end.send_replace(true);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = delivery.run(ending) => {}
                () = told => {}
            }
        }
    }

    /// From here on the stream keeps what this reader has not committed. `None`, after a pause,
    /// where it is not there.
    async fn open_embedded(&self, streams: &Streams) -> Option<Opened> {
        let stream = streams.get(self.stream_name());
        let registered = match &stream {
            Some(stream) => streams.add_reader(stream.name(), self.name()).await,
            None => Ok(()),
        };
        if let Err(error) = &registered {
            tracing::warn!(delivery_stream = self.name(), %error, "its source is not ready");
        }
        let (Some(stream), Ok(())) = (stream, registered) else {
            self.parts.clock.sleep(LOOK_EVERY).await;
            return None;
        };
        let source = EmbeddedSource::new(
            stream.clone(),
            self.name(),
            self.start(),
            stages::aggregates(&self.config),
            self.parts.clock.clone(),
        );
        Some(Opened::Embedded(stream, Arc::new(source)))
    }

    /// `None`, after a pause, where the stream cannot be had now.
    async fn open_remote(
        &self,
        remote: &Remote,
        state: &StateLog,
        pauses: &mut Backoff,
    ) -> Option<Opened> {
        let reader = Reader {
            delivery_stream: self.name().into(),
            start: self.start(),
            aggregates: stages::aggregates(&self.config),
            poll: remote.poll,
            pace: self.parts.pace.clone(),
            cpu: self.parts.cpu.clone(),
        };
        match KinesisSource::open(remote.client.clone(), reader, state).await {
            Ok(source) => {
                pauses.reset();
                let source = Arc::new(source);
                remote.source.send_replace(Some(source.clone()));
                Some(Opened::Remote(source))
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(
                    delivery_stream = self.name(),
                    error,
                    "its source is not ready"
                );
                let pause = pauses.next(&*self.parts.rng, None);
                self.parts.clock.sleep(pause).await;
                None
            }
        }
    }

    fn start(&self) -> StartAt {
        match self.kinesis().start {
            Start::TrimHorizon => StartAt::TrimHorizon,
            Start::Latest => StartAt::Latest,
            Start::At(ms) => StartAt::Timestamp(ms),
        }
    }

    async fn deleted(&self, opened: &Opened) {
        while !opened.is_deleted() {
            self.parts.clock.sleep(LOOK_EVERY).await;
        }
    }

    fn delivery_stream(
        &self,
        source: Arc<dyn Source>,
        state: &StateLog,
        budget: &Budget,
    ) -> DeliveryStream {
        let parts = &self.parts;
        DeliveryStream::new(Setting {
            name: self.name().into(),
            source,
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
