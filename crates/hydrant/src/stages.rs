//! Makes the stages of a delivery stream from its checked settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hydrant_aws::{AwsSettings, Credentials as AwsCredentials};
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Offload, run};
use hydrant_core::rng::Rng;
use hydrant_core::stage::{Encode, ObjectSink, Transform};
use hydrant_core::{Digest, backoff};
use hydrant_pipeline::Hints;
use hydrant_pipeline::plan::{MicroBatch, Partitioning, Plan};
use hydrant_sink::s3::{OpenUploads, S3Settings};
use hydrant_sink::{Directory, FirehoseErrors, KeyRules, S3, Stdout};
use hydrant_source::{Aggregates, KinesisSettings, Pace};
use hydrant_transform::{
    GuestLevel, GuestLog, Limits, Settings, Tally, Targets, WasmEngine, WasmTransform,
};
use serde_json::json;

use crate::config::types::{
    Credentials, Deaggregation, DeliveryStreamConfig, DestinationConfig, ObjectConfig,
    ProcessorConfig, RemoteConfig, S3Config, SourceConfig, WasmConfig,
};
use crate::guest_log;
use crate::tallies::Tallies;

/// The number in object names that Firehose counts up with each update of a destination. There is
/// no update here: another configuration is another version, told by its digest.
const VERSION_ID: u32 = 1;
/// Longest pause between two proofs of a destination at the start: as long as a destination that got
/// sick later is left alone.
const PREPARE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Raised when a version is stored in another form.
const DOCUMENT_FORMAT: u64 = 1;

/// What stages are made with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) engine: WasmEngine,
    pub(crate) cpu: Arc<dyn Offload>,
    /// Where modules are compiled: beside the CPU pool, as that may take seconds.
    pub(crate) compile: Arc<dyn Offload>,
    pub(crate) io: Arc<dyn Offload>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    /// The reads of remote streams.
    pub(crate) pace: Pace,
    /// What all sinks have under way.
    pub(crate) uploads: OpenUploads,
}

/// The stages of one version, and the document that it is kept as.
pub(crate) struct Built {
    pub(crate) plan: Plan,
    /// Canonical JSON; its digest is the version.
    pub(crate) document: Vec<u8>,
    pub(crate) sink: Sink,
}

/// The concrete sink, for what the pipeline does not ask for.
#[derive(Clone)]
pub(crate) enum Sink {
    S3(S3),
    Directory(Directory),
    Stdout(Stdout),
}

impl Sink {
    fn as_object_sink(&self) -> Arc<dyn ObjectSink> {
        match self {
            Self::S3(sink) => Arc::new(sink.clone()),
            Self::Directory(sink) => Arc::new(sink.clone()),
            Self::Stdout(sink) => Arc::new(sink.clone()),
        }
    }

    /// Removes what a killed process left behind, now and again, for as long as it is polled. What a
    /// folder has is removed where it is proven.
    pub(crate) async fn keep_clean(&self) {
        match self {
            Self::S3(sink) => sink.keep_clean().await,
            Self::Directory(_) | Self::Stdout(_) => std::future::pending().await,
        }
    }

    /// Uploads of killed processes that were given up.
    pub(crate) fn aborted_uploads(&self) -> u64 {
        match self {
            Self::S3(sink) => sink.aborted_uploads(),
            Self::Directory(_) | Self::Stdout(_) => 0,
        }
    }

    /// Proves that the destination can be written to. What passes is waited for; a wrong
    /// configuration is an error at once.
    pub(crate) async fn prepare(&self, parts: &Parts, name: &str) {
        let mut pauses = backoff::Backoff::default();
        loop {
            let done = match self {
                Self::S3(sink) => sink.probe().await.map(|_| ()),
                Self::Directory(sink) => sink.prepare().await.map(|_| ()),
                Self::Stdout(_) => Ok(()),
            };
            let Err(error) = done else { return };
            let text = hydrant_pipeline::stream::with_causes(&error);
            tracing::warn!(delivery_stream = name, error = %text, "the destination is not ready");
            let pause = pauses.next(&*parts.rng, None).min(PREPARE_PAUSE_MAX);
            parts.clock.sleep(pause).await;
        }
    }
}

/// Makes the stages. `modules` are the bytes of each `wasm` processor's module, in order; `sink` is the
/// one that goes on, where the destination is still the same.
pub(crate) async fn build(
    parts: &Parts,
    config: &DeliveryStreamConfig,
    settings: &serde_json::Value,
    modules: &[Arc<[u8]>],
    micro_batch: MicroBatch,
    tallies: &Tallies,
    sink: Option<Sink>,
) -> anyhow::Result<Built> {
    let mut transforms: Vec<Arc<dyn Transform>> = Vec::new();
    let mut modules = modules.iter();
    for (index, processor) in config.processors.iter().enumerate() {
        transforms.push(match processor {
            ProcessorConfig::Wasm(wasm) => {
                let module = modules.next().context("a module was not read")?;
                let tally = tallies.of(index, &Digest::of(module).to_hex());
                load(parts, config, wasm, module.clone(), tally).await?
            }
            ProcessorConfig::Builtin(builtin) => {
                let built = builtin.build().map_err(anyhow::Error::msg);
                built.with_context(|| format!("delivery stream {}: a processor", config.name))?
            }
        });
    }
    let objects = config.destination.objects();
    let encode = hydrant_encode::build(objects.format.clone())?;
    let sink = match sink {
        Some(sink) => sink,
        None => make_sink(parts, config).await?,
    };
    let object_sink = sink.as_object_sink();
    let document = document(settings, micro_batch, &transforms, &*encode, &*object_sink);
    let document = serde_json::to_vec(&document)?;
    let (size_hint_bytes, partitioning) = sizes(objects, &rules(&config.name, objects)?);
    let plan = Plan {
        version: Digest::of(&document),
        read_mode: aggregates(config).mode(),
        transforms,
        encode,
        sink: object_sink.clone(),
        error_sink: object_sink,
        error_format: Arc::new(FirehoseErrors),
        size_hint_bytes,
        partitioning,
        micro_batch,
    };
    Ok(Built {
        plan,
        document,
        sink,
    })
}

/// The size at which a range is sealed, and how its outputs are divided. With partition keys the
/// size that is configured is that of each object, and a range ends by all of them together.
fn sizes(objects: &ObjectConfig, rules: &KeyRules) -> (u64, Option<Partitioning>) {
    let size_bytes = objects.buffering_hints.size.0;
    let mut keys: Vec<String> = rules
        .partition_keys()
        .map(|(_, name)| name.to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        return (size_bytes, None);
    }
    let all = Hints {
        size_bytes,
        interval: objects.buffering_hints.interval,
    };
    let partitioning = Partitioning {
        keys,
        part_bytes: size_bytes,
        max_active: objects.max_active_partitions.map(|limit| limit as usize),
    };
    (all.input_bytes(), Some(partitioning))
}

/// How the stream's aggregates are taken apart.
pub(crate) fn aggregates(config: &DeliveryStreamConfig) -> Aggregates {
    let SourceConfig::Kinesis(kinesis) = &config.source;
    match kinesis.deaggregation {
        Deaggregation::None => Aggregates::Pass,
        Deaggregation::KeepAll => Aggregates::KeepAll,
        Deaggregation::Strict => Aggregates::StrictKcl,
    }
}

/// The borders of micro-batches that a kept version names.
pub(crate) fn micro_batch(document: &serde_json::Value) -> Option<MicroBatch> {
    let number = |name: &str| {
        let number = document.get("micro_batch")?.get(name)?.as_u64()?;
        usize::try_from(number).ok().filter(|number| *number > 0)
    };
    Some(MicroBatch {
        records: number("records")?,
        bytes: number("bytes")?,
    })
}

/// Everything that decides the output and where it goes. Members of `serde_json::Map` stand in the
/// order of their names.
fn document(
    settings: &serde_json::Value,
    micro_batch: MicroBatch,
    transforms: &[Arc<dyn Transform>],
    encode: &dyn Encode,
    sink: &dyn ObjectSink,
) -> serde_json::Value {
    let digests: Vec<String> = transforms.iter().map(|one| one.digest().to_hex()).collect();
    json!({
        "format": DOCUMENT_FORMAT,
        "micro_batch": { "records": micro_batch.records, "bytes": micro_batch.bytes },
        "settings": settings,
        "stages": {
            "transforms": digests,
            "encode": encode.digest().to_hex(),
            "sink": sink.digest().to_hex(),
        },
    })
}

async fn load(
    parts: &Parts,
    config: &DeliveryStreamConfig,
    wasm: &WasmConfig,
    module: Arc<[u8]>,
    tally: Arc<Tally>,
) -> anyhow::Result<Arc<WasmTransform>> {
    let engine = parts.engine.clone();
    let settings = Settings {
        tally,
        ..transform_settings(&config.name, wasm)
    };
    let module_digest = Digest::of(&module).to_hex();
    let log = guest_log::to_tracing(&config.name, &module_digest, parts.clock.clone());
    let loading = run(parts.compile.clone(), move || {
        WasmTransform::load(&engine, &module, &settings, log)
    });
    loading
        .await?
        .with_context(|| format!("delivery stream {}: its transform", config.name))
}

/// What a transform is loaded with. No destination routes by targets yet.
pub(crate) fn transform_settings(delivery_stream: &str, wasm: &WasmConfig) -> Settings {
    Settings {
        config_json: wasm.config_json.clone(),
        delivery_stream: delivery_stream.to_owned(),
        limits: Limits {
            memory_bytes: wasm.memory.as_usize(),
            time: wasm.timeout,
            ..Limits::default()
        },
        targets: Targets::Refused,
        wasi: wasm.wasi,
        instances: wasm.instances,
        on_trap: wasm.on_trap,
        ..Settings::default()
    }
}

/// A guest's log that nobody reads.
pub(crate) fn silent() -> GuestLog {
    Arc::new(|_: GuestLevel, _: &str| {})
}

async fn make_sink(parts: &Parts, config: &DeliveryStreamConfig) -> anyhow::Result<Sink> {
    let rules = rules(&config.name, config.destination.objects())?;
    let (clock, rng) = (parts.clock.clone(), parts.rng.clone());
    Ok(match &config.destination {
        DestinationConfig::S3(s3) => {
            let made = S3::new(s3_settings(s3), rules, clock, rng, parts.uploads.clone()).await;
            Sink::S3(made.map_err(|faults| wrong(&config.name, &faults))?)
        }
        DestinationConfig::Directory(directory) => Sink::Directory(Directory::new(
            &directory.path,
            rules,
            parts.io.clone(),
            clock,
            rng,
        )),
        DestinationConfig::Stdout(_) => {
            Sink::Stdout(Stdout::new(rules, std::io::stdout(), parts.io.clone()))
        }
    })
}

pub(crate) fn rules(name: &str, objects: &ObjectConfig) -> anyhow::Result<KeyRules> {
    let rules = KeyRules::new(
        name,
        VERSION_ID,
        objects.prefix.as_deref(),
        objects.error_output_prefix.as_deref(),
        objects.file_extension.as_deref(),
    );
    rules.map_err(|faults| wrong(name, &faults))
}

fn wrong(name: &str, faults: &[String]) -> anyhow::Error {
    anyhow::anyhow!("delivery stream {name}: {}", faults.join("; "))
}

fn aws_credentials(keys: Option<&Credentials>) -> AwsCredentials {
    let Some(keys) = keys else {
        return AwsCredentials::Chain;
    };
    let token = keys.session_token.as_ref();
    AwsCredentials::Static {
        access_key_id: keys.access_key_id.expose().to_owned(),
        secret_access_key: keys.secret_access_key.expose().to_owned(),
        session_token: token.map(|token| token.expose().to_owned()),
    }
}

/// How a remote stream is reached.
pub(crate) fn kinesis_settings(stream: &str, remote: &RemoteConfig) -> KinesisSettings {
    KinesisSettings {
        stream: stream.to_owned(),
        aws: AwsSettings {
            region: remote.region.clone(),
            endpoint: remote.endpoint.clone(),
            credentials: aws_credentials(remote.credentials.as_ref()),
            role_arn: remote.role_arn.clone(),
        },
    }
}

pub(crate) fn s3_settings(config: &S3Config) -> S3Settings {
    S3Settings {
        bucket: config.bucket.clone(),
        region: config.region.clone(),
        endpoint: config.endpoint.clone(),
        force_path_style: config.force_path_style,
        credentials: aws_credentials(config.credentials.as_ref()),
        checksum: config.checksum,
        abort_uploads_after: config.abort_uploads_after,
    }
}
