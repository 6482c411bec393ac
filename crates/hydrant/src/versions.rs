//! The versions of one delivery stream: the one in force, and earlier ones that an intent names,
//! made again from what was kept of them.

use std::sync::Arc;

use anyhow::Context as _;
use hydrant_core::offload::run;
use hydrant_core::{BoxFuture, Digest};
use hydrant_pipeline::plan::{MicroBatch, Plan, Versions};

use crate::config::types::{DeliveryStreamConfig, Module, ProcessorConfig};
use crate::stages::{self, Parts, Sink};
use crate::store::DigestStore;

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
    /// As configured now: gives credentials, which are never kept.
    config: DeliveryStreamConfig,
    current: Arc<Plan>,
    pub(crate) sink: Sink,
}

impl StreamVersions {
    /// Makes the stages as configured, and keeps the version and its modules before anyone can use
    /// them.
    pub(crate) async fn open(
        parts: Parts,
        kept: Kept,
        config: DeliveryStreamConfig,
    ) -> anyhow::Result<Self> {
        let io = parts.io.clone();
        let (modules, store, wanted) = (config.clone(), kept.modules.clone(), config.name.clone());
        let read = run(io.clone(), move || read_modules(&modules, &store)).await?;
        let (config_of_kept, modules) =
            read.with_context(|| format!("delivery stream {wanted}"))?;
        let settings = config_of_kept.version_json(&module_digests(&config_of_kept));
        let built = stages::build(
            &parts,
            &config_of_kept,
            &settings,
            &modules,
            MicroBatch::default(),
        )
        .await?;
        let (store, document) = (kept.versions.clone(), built.document);
        let version = run(io, move || store.put(&document)).await??;
        debug_assert_eq!(
            version, built.plan.version,
            "the version is the document's digest"
        );
        Ok(Self {
            parts,
            kept,
            config,
            current: Arc::new(built.plan),
            sink: built.sink,
        })
    }

    async fn make(&self, version: Digest) -> anyhow::Result<Arc<Plan>> {
        let (store, modules) = (self.kept.versions.clone(), self.kept.modules.clone());
        let config = self.config.clone();
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
        let built = stages::build(&self.parts, &config, &settings, &modules, micro_batch).await?;
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
        self.current.clone()
    }

    fn load(&self, version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        Box::pin(async move {
            self.make(version)
                .await
                .map_err(|error| format!("{error:#}"))
        })
    }
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
