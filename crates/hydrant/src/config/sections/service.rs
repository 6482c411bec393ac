//! The whole file, and the sections of the service as such.

use std::net::SocketAddr;
use std::time::Duration;

use hydrant_core::units::ByteSize;
use hydrant_log::OnCorruption;
use hydrant_log::stream::registry::MAX_SHARDS;

use super::super::fields::{Fields, Section, distance};
use super::super::kinds::{FilePath, Parsed, Size, Time, Whole, Word};
use super::super::memory;
use super::super::shapes::Named;
use super::super::types::{
    ApiConfig, Auth, Config, DeliveryStreamConfig, DestinationConfig, OperationsConfig,
    ProcessorConfig, StreamConfig,
};
use super::delivery_stream;

/// Longest name of a stream, as Kinesis has it.
const STREAM_NAME_MAX_CHARS: usize = 128;
/// Longest name of a delivery stream, as Firehose has it.
const DELIVERY_STREAM_NAME_MAX_CHARS: usize = 64;
/// Less memory than this cannot finish a range of any usual size.
const MEMORY_MIN: ByteSize = ByteSize::mib(64);
/// More than any machine has: surely a mistake.
const MEMORY_MAX: ByteSize = ByteSize::mib(64 << 20);
/// Retention: a minute is enough for tests; the most is Kinesis's.
const RETENTION: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(8760));

/// Reads a configuration.
pub(in super::super) fn service(f: &mut Fields<'_>) -> Option<Config> {
    let api = f.section("api", "the Firehose and Kinesis API", api);
    let operations = f.section(
        "operations",
        "health, metrics and status over HTTP",
        operations,
    );
    let data_dir = f.or(
        "data_dir",
        "where the log, positions and intents are kept",
        FilePath,
        "./hydrant-data",
    );
    let on_corruption = f.or(
        "on_corruption",
        "what a start does where acknowledged records in data_dir are damaged: refuse, so that a \
         person decides; or quarantine, which copies the damaged files aside, says what is lost, \
         and goes on without it",
        Word(&[
            ("refuse", OnCorruption::Refuse),
            ("quarantine", OnCorruption::Quarantine),
        ]),
        "refuse",
    );
    let memory = f.optional(
        "memory",
        "budget for records in flight; by default half of the memory there is, at least 256MiB",
        Size(MEMORY_MIN..=MEMORY_MAX),
    );
    let streams = Named {
        kind: Section(stream),
        max_chars: STREAM_NAME_MAX_CHARS,
    };
    let streams = f.optional(
        "streams",
        "embedded streams, compatible with Kinesis, by name",
        streams,
    );
    let delivery_streams = Named {
        kind: Section(delivery_stream),
        max_chars: DELIVERY_STREAM_NAME_MAX_CHARS,
    };
    let delivery_streams = f.optional(
        "delivery_streams",
        "delivery streams by name",
        delivery_streams,
    );
    let mut config = Config {
        api: api?,
        operations: operations?,
        data_dir: data_dir?,
        on_corruption: on_corruption?,
        memory: memory?.unwrap_or_else(memory::default),
        streams: streams?.unwrap_or_default(),
        delivery_streams: delivery_streams?.unwrap_or_default(),
        notes: Vec::new(),
    };
    check_listeners(f, &config);
    for (name, delivery) in &mut config.delivery_streams {
        name.clone_into(&mut delivery.name);
    }
    for delivery in config.delivery_streams.values() {
        check_folder(f, &config, delivery);
    }
    note_unknown_streams(f, &mut config);
    note_large_guests(f, &mut config);
    Some(config)
}

fn api(f: &mut Fields<'_>) -> Option<ApiConfig> {
    let listen = f.or(
        "listen",
        "address and port of the API",
        address(),
        "127.0.0.1:4567",
    );
    let auth = f.or(
        "auth",
        "how requests prove who they are from",
        Word(&[("none", Auth::None)]),
        "none",
    );
    let region = Parsed {
        parse: region_name,
        what: "a region",
        example: "us-east-1",
    };
    let region = f.or("region", "the region in ARNs", region, "us-east-1");
    let (listen, auth) = (listen?, auth?);
    if !listen.ip().is_loopback() {
        let message = format!("{listen} is not loopback, which `auth: none` requires");
        f.fault(
            "listen",
            message,
            "listen on 127.0.0.1, behind a proxy that knows its clients",
        );
        return None;
    }
    Some(ApiConfig {
        listen,
        auth,
        region: region?,
    })
}

fn operations(f: &mut Fields<'_>) -> Option<OperationsConfig> {
    let listen = f.or(
        "listen",
        "address and port of the operations server",
        address(),
        "127.0.0.1:4580",
    );
    Some(OperationsConfig { listen: listen? })
}

fn stream(f: &mut Fields<'_>) -> Option<StreamConfig> {
    let shards = f.or("shards", "number of shards", Whole(1..=MAX_SHARDS), "1");
    let retention = Time(RETENTION.0..=RETENTION.1);
    let retention = f.or(
        "retention",
        "how long records are kept at least",
        retention,
        "24h",
    );
    Some(StreamConfig {
        shards: shards?,
        retention: retention?,
    })
}

fn address() -> Parsed<SocketAddr> {
    let parse = |text: &str| {
        let text = text
            .strip_prefix("localhost:")
            .map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse()
            .map_err(|_| format!("`{}` is not an address with a port", text.escape_debug()))
    };
    Parsed {
        parse,
        what: "an address",
        example: "127.0.0.1:4567",
    }
}

fn region_name(text: &str) -> Result<String, String> {
    super::destination::region(text)
}

fn check_listeners(f: &mut Fields<'_>, config: &Config) {
    let (api, operations) = (config.api.listen, config.operations.listen);
    if api == operations && api.port() != 0 {
        let message = format!("{operations} is the address of the API too");
        f.fault("operations", message, "give each server a port of its own");
    }
}

/// Objects among the files of the service would be taken for its own.
fn check_folder(f: &mut Fields<'_>, config: &Config, delivery: &DeliveryStreamConfig) {
    if let DestinationConfig::Directory(directory) = &delivery.destination
        && directory.path == config.data_dir
    {
        let path = format!(
            "delivery_streams.{}.destination.directory.path",
            delivery.name
        );
        f.cx.fault_of(
            &path,
            "is the data_dir too",
            "give the objects a folder of their own",
        );
    }
}

/// Half of the budget is what guests may have together.
fn note_large_guests(f: &mut Fields<'_>, config: &mut Config) {
    let half = config.memory.0 / 2;
    for delivery in config.delivery_streams.values() {
        for (index, processor) in delivery.processors.iter().enumerate() {
            let ProcessorConfig::Wasm(wasm) = processor else {
                continue;
            };
            if wasm.memory.0 <= half {
                continue;
            }
            let path = format!(
                "delivery_streams.{}.processors[{index}].wasm.memory",
                delivery.name
            );
            let message = format!(
                "is more than half of `memory`, {}: one call at a time, and what it takes beyond \
                 that is not of the budget",
                config.memory
            );
            let remedy = "raise `memory`, or lower this to what the transform needs".to_owned();
            let note = f.cx.at(f.cx.mark(&path), &path, message, remedy);
            config.notes.push(note);
        }
    }
}

fn note_unknown_streams(f: &mut Fields<'_>, config: &mut Config) {
    if config.streams.is_empty() {
        return;
    }
    for delivery in config.delivery_streams.values() {
        let Some(stream) = delivery.source.embedded() else {
            continue;
        };
        if config.streams.contains_key(stream) {
            continue;
        }
        let nearest = config
            .streams
            .keys()
            .map(|name| (distance(stream, name), name))
            .min();
        let remedy = match nearest {
            Some((distance, name)) if distance <= 2 => format!("did you mean `{name}`?"),
            _ => "it is read once it is made through the API".to_owned(),
        };
        let path = format!("delivery_streams.{}.source.kinesis.stream", delivery.name);
        let message = format!("`{stream}` is not among `streams`");
        let note = f.cx.at(f.cx.mark(&path), &path, message, remedy);
        config.notes.push(note);
    }
}
