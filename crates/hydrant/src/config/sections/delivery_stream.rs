//! A delivery stream: its source and its processors.

use std::time::Duration;

use chrono::DateTime;
use hydrant_core::units::ByteSize;

use super::super::context::ModuleUse;
use super::super::fields::{Fields, Section};
use super::super::kinds::{FilePath, Parsed, Size, Time, Word};
use super::super::shapes::{AnyJson, List};
use super::super::types::{
    Deaggregation, DeliveryStreamConfig, KinesisConfig, Module, ProcessorConfig, SourceConfig,
    Start, WasmConfig,
};
use super::super::version::canonical;
use super::destination::destination;

/// The words for what happens to aggregates.
pub(in super::super) const DEAGGREGATIONS: &[(&str, Deaggregation)] = &[
    ("keep_all", Deaggregation::KeepAll),
    ("strict", Deaggregation::Strict),
    ("none", Deaggregation::None),
];

/// Memory of a guest: a page is not enough for any language, 4 GiB is all that 32 bits address.
const GUEST_MEMORY: (ByteSize, ByteSize) = (ByteSize::mib(1), ByteSize::mib(4096));
/// Time of a call: Firehose's Lambda has five minutes.
const GUEST_TIME: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(5));

/// Reads a delivery stream; its name is filled in by whoever knows it.
pub(in super::super) fn delivery_stream(f: &mut Fields<'_>) -> Option<DeliveryStreamConfig> {
    let source = f.required("source", "where records come from", Section(source));
    let processors = f.optional(
        "processors",
        "what is done with records, in order",
        List(Section(processor)),
    );
    f.cx.partitioned = None;
    let destination = f.required("destination", "where records go", Section(destination));
    let processors = processors?.unwrap_or_default();
    if let (Some(path), true) = (f.cx.partitioned.take(), processors.is_empty()) {
        let remedy = "add a `wasm` processor that gives partition keys";
        f.cx.fault_of(
            &path,
            "has partition keys, which no processor gives",
            remedy,
        );
    }
    Some(DeliveryStreamConfig {
        name: String::new(),
        source: source?,
        processors,
        destination: destination?,
    })
}

fn source(f: &mut Fields<'_>) -> Option<SourceConfig> {
    let kinesis = f.optional("kinesis", "a Kinesis stream", Section(kinesis));
    let one = f.exactly_one("source");
    one.then_some(kinesis??).map(SourceConfig::Kinesis)
}

fn kinesis(f: &mut Fields<'_>) -> Option<KinesisConfig> {
    let name = Parsed {
        parse: stream_name,
        what: "the name of a stream",
        example: "clicks",
    };
    let stream = f.required("stream", "the stream's name", name);
    let endpoint = Parsed {
        parse: endpoint,
        what: "the word",
        example: "embedded",
    };
    let endpoint = f.or(
        "endpoint",
        "where the stream is: `embedded` in this service",
        endpoint,
        "embedded",
    );
    let start = Parsed {
        parse: start,
        what: "a start",
        example: "trim_horizon",
    };
    let about =
        "where reading starts the first time: `trim_horizon`, `latest`, or a time as of RFC 3339";
    let start = f.or("start", about, start, "trim_horizon");
    let about = "what happens to aggregates of the Kinesis Producer Library: taken apart and all \
                 kept, taken apart as the Kinesis Client Library does, or passed on";
    let deaggregation = f.or("deaggregation", about, Word(DEAGGREGATIONS), "keep_all");
    endpoint?;
    Some(KinesisConfig {
        stream: stream?,
        start: start?,
        deaggregation: deaggregation?,
    })
}

fn stream_name(text: &str) -> Result<String, String> {
    hydrant_log::stream::registry::check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn endpoint(text: &str) -> Result<(), String> {
    match text {
        "embedded" => Ok(()),
        _ => Err("reading a remote Kinesis endpoint is not supported yet".to_owned()),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => return Ok(Start::TrimHorizon),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    let time = DateTime::parse_from_rfc3339(text).ok();
    time.and_then(|time| u64::try_from(time.timestamp_millis()).ok()).map(Start::At).ok_or_else(|| {
        let text = text.escape_debug();
        format!("`{text}` is neither `trim_horizon`, `latest` nor a time such as 2026-01-31T12:00:00Z")
    })
}

fn processor(f: &mut Fields<'_>) -> Option<ProcessorConfig> {
    let wasm = f.optional("wasm", "a WebAssembly transform", Section(wasm));
    let one = f.exactly_one("processor");
    one.then_some(wasm??).map(ProcessorConfig::Wasm)
}

fn wasm(f: &mut Fields<'_>) -> Option<WasmConfig> {
    let about = "the module: a component of the world `hydrant:transform`";
    let module = f.required("module", about, FilePath);
    let about = "any value, handed to the transform as JSON; part of the stream's version, so no \
                 place for secrets";
    let config = f.or("config", about, AnyJson, "null");
    let memory = Size(GUEST_MEMORY.0..=GUEST_MEMORY.1);
    let memory = f.or("memory", "memory that a call may use", memory, "64MiB");
    let timeout = Time(GUEST_TIME.0..=GUEST_TIME.1);
    let timeout = f.or("timeout", "time that a call may take", timeout, "10s");
    let module = module?;
    let found = module.is_file();
    if !found {
        f.fault(
            "module",
            format!("there is no file {}", module.display()),
            "build the module, or correct the path",
        );
    }
    let wasm = WasmConfig {
        module: Module::File(module),
        config_json: canonical(&config?),
        memory: memory?,
        timeout: timeout?,
    };
    if found {
        let (mark, path) = (f.mark_of("module"), format!("{}.module", f.path()));
        f.cx.modules.push(ModuleUse {
            mark,
            path,
            wasm: wasm.clone(),
        });
    }
    Some(wasm)
}
