//! The versions of one delivery stream: the one in force, and earlier ones that an intent names,
//! made again from what was kept of them.

use std::sync::Arc;

use anyhow::Context as _;
use hydrant_core::offload::run;
use hydrant_core::{BoxFuture, Digest};
use hydrant_pipeline::plan::{MicroBatch, Plan, Versions};
use tokio::sync::watch;

use crate::config::types::{DeliveryStreamConfig, Module, ProcessorConfig};
use crate::stages::{self, Parts, Sink};
use crate::store::DigestStore;
use crate::tallies::Tallies;

/// Where versions and modules are kept.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Documents, by digest.
    pub(crate) versions: Arc<DigestStore>,
    /// Modules, by digest.
    pub(crate) modules: Arc<DigestStore>,
}

/// The versions of one delivery stream.
pub(crate) struct StreamVersions {
    parts: Parts,
    kept: Kept,
    in_force: watch::Sender<InForce>,
    tallies: Tallies,
    pub(crate) sink: Sink,
}

/// The version in force.
struct InForce {
    /// As configured now: gives credentials, which are never kept.
    config: DeliveryStreamConfig,
    plan: Arc<Plan>,
}

/// What came of a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It is the one in force already.
    Same,
    /// It is in force: lanes end what they have under the one before, and go on with it.
    New,
}

impl StreamVersions {
    /// Makes the stages as configured, and keeps the version and its modules before anyone can use
    /// them.
    pub(crate) async fn open(
        parts: Parts,
        kept: Kept,
        config: DeliveryStreamConfig,
    ) -> anyhow::Result<Self> {
        let tallies = Tallies::default();
        let (plan, sink) = build(&parts, &kept, &config, &tallies, None).await?;
        let in_force = InForce { config, plan };
        Ok(Self {
            parts,
            kept,
            in_force: watch::channel(in_force).0,
            tallies,
            sink,
        })
    }

    /// Puts another configuration in force, which differs in its processors alone. Where that fails,
    /// the one before stays.
    pub(crate) async fn replace(&self, config: DeliveryStreamConfig) -> anyhow::Result<Replaced> {
        // The destination is the same, and what is known of it and runs there goes on.
        let sink = Some(self.sink.clone());
        let (plan, _) = build(&self.parts, &self.kept, &config, &self.tallies, sink).await?;
        // Limits of time, say, are no part of the version.
        let is_same = {
            let before = self.in_force.borrow();
            before.plan.version == plan.version && before.config.processors == config.processors
        };
        if is_same {
            return Ok(Replaced::Same);
        }
        self.in_force.send_replace(InForce { config, plan });
        Ok(Replaced::New)
    }

    /// What its modules did.
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> DeliveryStreamConfig {
        self.in_force.borrow().config.clone()
    }

    async fn make(&self, version: Digest) -> anyhow::Result<Arc<Plan>> {
        let (store, modules) = (self.kept.versions.clone(), self.kept.modules.clone());
        let config = self.config();
        let read = run(self.parts.io.clone(), move || {
            let document: serde_json::Value = serde_json::from_slice(&store.get(version)?)?;
            let settings = document
                .get("settings")
                .context("it has no settings")?
                .clone();
            let config = DeliveryStreamConfig::from_version_json(&settings, &config)
                .map_err(anyhow::Error::msg)?;
            let (config, modules) = read_modules(&config, &modules)?;
            let micro_batch = stages::micro_batch(&document);
            let micro_batch = micro_batch.context("it names no micro-batches")?;
            anyhow::Ok((config, settings, modules, micro_batch))
        });
        let (config, settings, modules, micro_batch) = read.await??;
        let tallies = &self.tallies;
        let built = stages::build(
            &self.parts,
            &config,
            &settings,
            &modules,
            micro_batch,
            tallies,
            None,
        )
        .await?;
        if built.plan.version != version {
            tracing::warn!(
                delivery_stream = %config.name, %version, now = %built.plan.version,
                "this build makes the stages of an earlier version in another way"
            );
        }
        Ok(Arc::new(Plan {
            version,
            ..built.plan
        }))
    }
}

impl Versions for StreamVersions {
    fn current(&self) -> Arc<Plan> {
        self.in_force.borrow().plan.clone()
    }

    fn replaced(&self, plan: &Arc<Plan>) -> BoxFuture<'_, ()> {
        let (mut in_force, plan) = (self.in_force.subscribe(), plan.clone());
        Box::pin(async move {
            // Its other end lives as long as this.
            drop(
                in_force
                    .wait_for(|now| !Arc::ptr_eq(&now.plan, &plan))
                    .await,
            );
        })
    }

    fn load(&self, version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        Box::pin(async move {
            self.make(version)
                .await
                .map_err(|error| format!("{error:#}"))
        })
    }
}

/// Makes the stages as configured, and keeps the version and its modules.
async fn build(
    parts: &Parts,
    kept: &Kept,
    config: &DeliveryStreamConfig,
    tallies: &Tallies,
    sink: Option<Sink>,
) -> anyhow::Result<(Arc<Plan>, Sink)> {
    let io = parts.io.clone();
    let (wanted, store) = (config.clone(), kept.modules.clone());
    let read = run(io.clone(), move || read_modules(&wanted, &store)).await?;
    let (stored, modules) = read.with_context(|| format!("delivery stream {}", config.name))?;
    let settings = stored.version_json(&module_digests(&stored));
    let borders = MicroBatch::default();
    let built = stages::build(parts, &stored, &settings, &modules, borders, tallies, sink).await?;
    let (store, document) = (kept.versions.clone(), built.document);
    let version = run(io, move || store.put(&document)).await??;
    debug_assert_eq!(
        version, built.plan.version,
        "the version is the document's digest"
    );
    Ok((Arc::new(built.plan), built.sink))
}

/// The digests of modules that are kept.
fn module_digests(config: &DeliveryStreamConfig) -> Vec<String> {
    let digest = |processor: &ProcessorConfig| match processor {
        ProcessorConfig::Wasm(wasm) => match &wasm.module {
            Module::Stored(hex) => Some(hex.clone()),
            Module::File(_) => None,
        },
        ProcessorConfig::Builtin(_) => None,
    };
    config.processors.iter().filter_map(digest).collect()
}

/// Reads each processor's module and keeps it. Gives the settings with modules named by digest.
/// Blocking.
fn read_modules(
    config: &DeliveryStreamConfig,
    kept: &DigestStore,
) -> anyhow::Result<(DeliveryStreamConfig, Vec<Arc<[u8]>>)> {
    let (mut config, mut modules) = (config.clone(), Vec::new());
    for processor in &mut config.processors {
        let ProcessorConfig::Wasm(wasm) = processor else {
            continue;
        };
        let (digest, bytes) = match &wasm.module {
            Module::File(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("the module {} cannot be read", path.display()))?;
                (kept.put(&bytes)?, bytes)
            }
            Module::Stored(hex) => {
                let digest = Digest::from_hex(hex)
                    .with_context(|| format!("`{hex}` is not the digest of a module"))?;
                let bytes = kept.get(digest);
                (
                    digest,
                    bytes.with_context(|| format!("the module {hex} was not kept"))?,
                )
            }
        };
        wasm.module = Module::Stored(digest.to_hex());
        modules.push(bytes.into());
    }
    Ok((config, modules))
}
