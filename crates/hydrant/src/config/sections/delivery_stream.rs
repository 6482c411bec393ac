//! A delivery stream: its source and its processors.

use std::time::Duration;

use hydrant_core::units::ByteSize;

use super::super::context::ModuleUse;
use super::super::fields::{Fields, Section};
use super::super::kinds::{FilePath, Flag, Size, Time};
use super::super::shapes::{AnyJson, List};
use super::super::types::{
    DeliveryStreamConfig, Module, ProcessorConfig, SourceConfig, WasmConfig,
};
use super::super::version::canonical;
use super::destination::destination;
use super::kinesis::kinesis;

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
    let about = "gives a component an empty WASI, for runtimes that want one, such as Python's";
    let wasi = f.or("wasi", about, Flag, "false");
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
        wasi: wasi?,
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
