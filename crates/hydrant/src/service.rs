//! Puts the parts together: logs, streams, stages, delivery streams, servers. What runs is owned
//! here and awaited here.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Offload, run};
use hydrant_log::disk::{ProcessAbort, RealDisk};
use hydrant_log::stream::{Stream, StreamOptions, Streams};
use hydrant_log::{Env, LogOptions, StateLog};
use hydrant_pipeline::Status;
use hydrant_pipeline::stream::told_to_stop;
use hydrant_sink::s3::OpenUploads;
use hydrant_source::Pace;
use hydrant_transform::WasmEngine;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::types::Config;
use crate::crash;
use crate::delivery::Delivery;
use crate::memory::{self, Memory};
use crate::runtime::{Pool, RealClock, RealRng};
use crate::stages::Parts;
use crate::store::DigestStore;
use crate::versions::{Kept, StreamVersions};

/// Threads that write and sync logs, and files of directory sinks: syncs of several logs overlap.
const IO_THREADS: usize = 4;
/// How often streams are looked at for what may be freed.
const RETAIN_EVERY: Duration = Duration::from_secs(30);
/// Ranges in flight have so long to be delivered after a stop; the rest waits for the next start
/// (reliability design, section 11).
const DRAIN: Duration = Duration::from_secs(25);

/// A service that is put together; nothing is delivered before [`Service::run`].
pub struct Service {
    pub(crate) streams: Arc<Streams>,
    pub(crate) deliveries: Vec<Arc<Delivery>>,
    pub(crate) memory: Memory,
    pub(crate) clock: Arc<dyn Clock>,
    rng: Arc<RealRng>,
    state: StateLog,
    cpu: Arc<Pool>,
    parts: Parts,
    /// As it was started with.
    pub(crate) config: Config,
}

impl Service {
    /// Opens the logs below `data_dir`, makes the configured streams, and makes all stages.
    ///
    /// # Errors
    /// Where something that is configured cannot be had: another process on the directory, a
    /// damaged log, a module that does not load.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let (clock, rng) = (Arc::new(RealClock::default()), Arc::new(RealRng::default()));
        let cpu = Pool::for_cpu().context("no threads for the CPU pool")?;
        let io: Arc<dyn Offload> =
            Pool::start("hydrant-io", IO_THREADS).context("no threads for I/O")?;
        let engine = WasmEngine::new()?;
        let compile: Arc<dyn Offload> =
            Pool::start("hydrant-compile", 1).context("no thread for compiling modules")?;
        let memory = memory::divide(config, cpu.width(), &engine);
        let env = Env {
            disk: crash::disk(),
            io: io.clone(),
            clock: clock.clone(),
            abort: Arc::new(ProcessAbort),
        };
        let options = LogOptions {
            instance: rng.id(),
            cache_bytes: memory::log_cache_bytes(config),
            on_corruption: config.on_corruption,
            ..LogOptions::default()
        };
        let state = open_state(&env, &config.data_dir, rng.id(), options.clone()).await?;
        // After `data_dir` was made, durably.
        keep_compiled(&engine, &config.data_dir, &io).await?;
        let dir = config.data_dir.join("streams");
        let streams = Streams::open(env, &dir, Arc::new(state.clone()), rng.clone(), options);
        let streams = Arc::new(
            streams
                .await
                .context("the embedded streams cannot be opened")?,
        );
        let parts = Parts {
            engine,
            cpu: cpu.clone(),
            compile,
            io,
            clock: clock.clone(),
            rng: rng.clone(),
            pace: Pace::default(),
            uploads: OpenUploads::default(),
        };
        let mut service = Self {
            streams,
            deliveries: Vec::new(),
            memory,
            clock,
            rng,
            state,
            cpu,
            parts,
            config: config.clone(),
        };
        service.make_streams(config).await?;
        service.make_deliveries(config).await?;
        Ok(service)
    }

    /// The embedded streams.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// What each delivery stream has done and is doing.
    pub fn statuses(&self) -> Vec<(String, Arc<Status>)> {
        self.deliveries
            .iter()
            .map(|one| (one.name().to_owned(), one.status.clone()))
            .collect()
    }

    async fn make_streams(&self, config: &Config) -> anyhow::Result<()> {
        for (name, stream) in &config.streams {
            let options = StreamOptions {
                shards: stream.shards,
                retention: stream.retention,
                ..StreamOptions::default()
            };
            self.streams
                .ensure(name, options)
                .await
                .with_context(|| format!("streams.{name}"))?;
        }
        // A delivery stream that is no longer configured holds nothing back.
        for stream in self.streams.list() {
            let readers: Vec<&str> = config
                .delivery_streams
                .values()
                .filter(|one| one.source.embedded() == Some(stream.name()))
                .map(|one| one.name.as_str())
                .collect();
            self.streams.keep_readers(stream.name(), &readers).await?;
        }
        Ok(())
    }

    async fn make_deliveries(&mut self, config: &Config) -> anyhow::Result<()> {
        let (versions, modules) = (
            config.data_dir.join("versions"),
            config.data_dir.join("modules"),
        );
        let opening = run(self.parts.io.clone(), move || {
            let open = |dir: &Path| DigestStore::open(Arc::new(RealDisk), dir).map(Arc::new);
            std::io::Result::Ok(Kept {
                versions: open(&versions)?,
                modules: open(&modules)?,
            })
        });
        let kept = opening.await?.context("data_dir cannot be written to")?;
        for one in config.delivery_streams.values() {
            let mut parts = self.parts.clone();
            // Its share of the threads: a stream whose guests loop does not hold up the others.
            parts.cpu = self.cpu.share();
            let versions = StreamVersions::open(parts.clone(), kept.clone(), one.clone()).await?;
            let delivery = Delivery::new(one.clone(), Arc::new(versions), parts).await?;
            // Before anything is read: what this reader has not committed is kept from now on.
            if let Some(stream) = one
                .source
                .embedded()
                .and_then(|name| self.streams.get(name))
            {
                self.streams.add_reader(stream.name(), &one.name).await?;
            }
            self.deliveries.push(Arc::new(delivery));
        }
        Ok(())
    }

    /// Delivers until `stop` turns true; then lets ranges in flight end, as long as [`DRAIN`].
    pub async fn deliver(&self, stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        for delivery in &self.deliveries {
            let (delivery, streams, state) =
                (delivery.clone(), self.streams.clone(), self.state.clone());
            let (budget, stop) = (self.memory.budget.clone(), stop.clone());
            running.spawn(async move { delivery.run(streams, state, budget, stop).await });
        }
        let (streams, clock) = (self.streams.clone(), self.clock.clone());
        let mut retention = JoinSet::new();
        retention.spawn(async move { retain(&streams, &*clock).await });
        let mut stopping = stop;
        told_to_stop(&mut stopping).await;
        let drained = async { while running.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = drained => self.say_drained(),
            () = self.clock.sleep(DRAIN) => {
                tracing::warn!("ranges in flight are left to the next start");
            }
        }
    }

    /// A lane that was waiting for help when the stop came has left its records to the next start.
    fn say_drained(&self) {
        for (name, status) in self.statuses() {
            match status.snapshot().last_error {
                None => tracing::info!(delivery_stream = %name, "all that was read is delivered"),
                Some(error) => {
                    tracing::warn!(delivery_stream = %name, error, "undelivered records are left to the next start");
                }
            }
        }
    }

    /// Serves the Kinesis API until `stop` turns true.
    pub async fn serve_api(&self, server: hydrant_api::Server, mut stop: watch::Receiver<bool>) {
        let shutdown = async move { told_to_stop(&mut stop).await };
        let account = self.memory.budget.account(memory::API);
        let (streams, clock) = (self.streams.clone(), self.clock.clone());
        server
            .serve(streams, account, clock, self.rng.clone(), shutdown)
            .await;
    }
}

/// Compiled modules are kept in `data_dir`; where that cannot be, each start compiles them.
async fn keep_compiled(
    engine: &WasmEngine,
    data_dir: &Path,
    io: &Arc<dyn Offload>,
) -> anyhow::Result<()> {
    let (engine, dir) = (engine.clone(), data_dir.join("compiled"));
    let kept = run(io.clone(), move || engine.keep_compiled_in(&dir));
    if let Err(error) = kept.await? {
        tracing::warn!(%error, "compiled modules are not kept: each start compiles them");
    }
    Ok(())
}

/// Listens for the API.
///
/// # Errors
/// Where the address cannot be listened on.
pub(crate) async fn bind_api(config: &Config) -> anyhow::Result<(hydrant_api::Server, SocketAddr)> {
    let mut settings = hydrant_api::Settings::new(config.api.listen);
    settings.region.clone_from(&config.api.region);
    let server = hydrant_api::bind(settings).await?;
    let address = server.local_addr();
    Ok((server, address))
}

async fn open_state(
    env: &Env,
    data_dir: &Path,
    id: [u8; 16],
    options: LogOptions,
) -> anyhow::Result<StateLog> {
    let (env, dir) = (env.clone(), data_dir.join("state"));
    let io = env.io.clone();
    let state = run(io, move || StateLog::open(env, &dir, id, options)).await?;
    state.with_context(|| format!("the state store in {} cannot be opened", data_dir.display()))
}

/// Frees what every reader has committed, now and then.
async fn retain(streams: &Streams, clock: &dyn Clock) {
    loop {
        clock.sleep(RETAIN_EVERY).await;
        for stream in streams.list() {
            if let Err(error) = free(&stream, clock).await {
                tracing::warn!(stream = stream.name(), %error, "old records could not be freed");
            }
        }
    }
}

async fn free(stream: &Stream, clock: &dyn Clock) -> Result<(), hydrant_log::stream::StreamError> {
    let freed = stream.retain(clock.wall_ms()).await?;
    if freed > 0 {
        tracing::debug!(stream = stream.name(), freed, "old records were freed");
    }
    Ok(())
}
