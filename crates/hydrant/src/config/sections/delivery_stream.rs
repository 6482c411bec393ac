//! A delivery stream: its source and its processors.

use std::time::Duration;

use hydrant_core::units::ByteSize;
use hydrant_encode::{Delimiter, Format};
use hydrant_sink::key::KeyFrom;
use hydrant_transform::builtin::{Builtin, MetadataExtraction};
use hydrant_transform::{Instances, OnTrap};

use super::super::context::{ModuleUse, Partitioned};
use super::super::fields::{Fields, Section};
use super::super::kinds::{FilePath, Flag, Size, Time, Word};
use super::super::shapes::{AnyJson, List};
use super::super::types::{
    DeliveryStreamConfig, DestinationConfig, Module, ProcessorConfig, SourceConfig, WasmConfig,
};
use super::super::version::canonical;
use super::destination::destination;
use super::kinesis::kinesis;
use super::processors;

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
    let partitioned = f.cx.partitioned.take();
    let processors = processors?.unwrap_or_default();
    if let Some(partitioned) = partitioned {
        check_partitions(f, &partitioned, &processors);
    }
    let destination = destination?;
    check_delimiters(f, &processors, &destination);
    Some(DeliveryStreamConfig {
        name: String::new(),
        source: source?,
        processors,
        destination,
    })
}

fn source(f: &mut Fields<'_>) -> Option<SourceConfig> {
    let kinesis = f.optional("kinesis", "a Kinesis stream", Section(kinesis));
    let one = f.exactly_one("source");
    one.then_some(kinesis??).map(SourceConfig::Kinesis)
}

/// Reads the settings of a processor that is built in.
type Read = fn(&mut Fields<'_>) -> Option<Builtin>;

/// The processors that are built in: what each is called, what it does, and how it is read.
const BUILTINS: [(&str, &str, Read); 8] = [
    (
        "record_deaggregation",
        "takes records apart that hold several",
        processors::record_deaggregation,
    ),
    (
        "decompression",
        "decompresses records",
        processors::decompression,
    ),
    (
        "cloudwatch_logs",
        "takes apart what a subscription of CloudWatch Logs sends",
        processors::cloudwatch_logs,
    ),
    (
        "metadata_extraction",
        "finds partition keys in records of JSON",
        processors::metadata_extraction,
    ),
    (
        "append_delimiter",
        "puts a delimiter behind each record",
        processors::append_delimiter,
    ),
    (
        "csv_to_json",
        "makes an object of JSON of each line of CSV",
        processors::csv_to_json,
    ),
    (
        "log_to_json",
        "makes an object of JSON of a line of a log",
        processors::log_to_json,
    ),
    (
        "filter",
        "keeps the records of JSON that meet a condition",
        processors::filter,
    ),
];

fn processor(f: &mut Fields<'_>) -> Option<ProcessorConfig> {
    let wasm = f.optional("wasm", "a WebAssembly transform", Section(wasm));
    let builtins = BUILTINS.map(|(name, about, read)| f.optional(name, about, Section(read)));
    if !f.exactly_one("processor") {
        return None;
    }
    if let Some(wasm) = wasm? {
        return Some(ProcessorConfig::Wasm(wasm));
    }
    let builtins: Option<Vec<_>> = builtins.into_iter().collect();
    let builtin = builtins?.into_iter().flatten().next();
    builtin.map(ProcessorConfig::Builtin)
}

/// Holds the keys in a prefix to the processors that give them.
fn check_partitions(f: &mut Fields<'_>, partitioned: &Partitioned, all: &[ProcessorConfig]) {
    let path = &partitioned.path;
    let mut queries = Vec::new();
    for processor in all {
        if let ProcessorConfig::Builtin(Builtin::MetadataExtraction { query }) = processor {
            // One that cannot be read has its own fault.
            queries.push(MetadataExtraction::keys(query).unwrap_or(None));
        }
    }
    let wasm = all
        .iter()
        .any(|one| matches!(one, ProcessorConfig::Wasm(_)));
    if queries.is_empty() && !wasm {
        let remedy = "add a `metadata_extraction` or `wasm` processor that gives partition keys";
        f.cx.fault_of(path, "has partition keys, which no processor gives", remedy);
        return;
    }
    let known: Option<Vec<Vec<String>>> = queries.iter().cloned().collect();
    for (from, name) in &partitioned.keys {
        let (message, remedy) = match from {
            KeyFrom::Wasm if wasm => continue,
            KeyFrom::Wasm => (
                format!(
                    "has the partition key `{name}` from a `wasm` processor, and there is none"
                ),
                "use `!{partitionKeyFromQuery:name}`, or add the processor".to_owned(),
            ),
            KeyFrom::Query if queries.is_empty() => (
                format!(
                    "has the partition key `{name}` from a query, and there is no \
                         `metadata_extraction` processor"
                ),
                "use `!{partitionKeyFromWasm:name}`, or add the processor".to_owned(),
            ),
            // Some query makes up its names as it runs.
            KeyFrom::Query => match &known {
                Some(known) if !known.iter().flatten().any(|one| one == name) => {
                    let known: Vec<_> = known
                        .iter()
                        .flatten()
                        .map(|one| format!("`{one}`"))
                        .collect();
                    (
                        format!("has the partition key `{name}`, which no query gives"),
                        format!("they give {}", known.join(", ")),
                    )
                }
                _ => continue,
            },
            // Refused where the prefix is read.
            KeyFrom::Lambda => continue,
        };
        f.cx.fault_of(path, message, remedy);
    }
}

/// A delimiter of a processor, and one of the destination, would leave empty records.
fn check_delimiters(f: &mut Fields<'_>, all: &[ProcessorConfig], destination: &DestinationConfig) {
    let Format::Records { delimiter, .. } = &destination.objects().format else {
        return;
    };
    if *delimiter == Delimiter::None {
        return;
    }
    for (index, processor) in all.iter().enumerate() {
        if matches!(
            processor,
            ProcessorConfig::Builtin(Builtin::AppendDelimiter { .. })
        ) {
            let path = format!("{}.processors[{index}].append_delimiter", f.path());
            let message = "puts a delimiter behind each record, and so does the destination";
            let remedy = "remove it, or set `delimiter: none` at the destination";
            f.cx.fault_of(&path, message, remedy);
        }
    }
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
    let about = "gives a component an empty WASI, for runtimes that want one, such as Python's";
    let empty_world = f.or("wasi", about, Flag, "false");
    let instances = f.or(
        "instances",
        "`fresh`: an instance for each call; `reuse`: a promise that no call depends on an earlier \
         one, so that instances live on, which is faster",
        Word(&[("fresh", Instances::Fresh), ("reuse", Instances::Reuse)]),
        "fresh",
    );
    let on_trap = f.or(
        "on_trap",
        "where every record of a micro-batch traps or passes a limit: `error_output` sends them \
         there, `pause` keeps them until the module is mended",
        Word(&[
            ("error_output", OnTrap::ErrorOutput),
            ("pause", OnTrap::Pause),
        ]),
        "error_output",
    );
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
        wasi: empty_world?,
        instances: instances?,
        on_trap: on_trap?,
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
