//! What objects are like: names, format, compression, buffering hints.

use std::time::Duration;

use hydrant_core::units::ByteSize;
use hydrant_encode::{
    Compression, Delimiter, Format, ParquetCompression, ParquetSettings, Schema, Type,
};
use hydrant_sink::KeyRules;
use hydrant_sink::key::KeyFrom;

use super::super::context::Partitioned;
use super::super::fields::{Fields, Section};
use super::super::kinds::{Flag, Parsed, Size, Text, Time, Whole, Word};
use super::super::shapes::{Either, List};
use super::super::types::{BufferingHints, ObjectConfig};

/// The words for compressions, at their default levels.
const COMPRESSIONS: &[(&str, Compression)] = &[
    ("none", Compression::None),
    ("gzip", Compression::GZIP),
    ("zip", Compression::Zip),
    ("snappy", Compression::Snappy),
    ("hadoop_snappy", Compression::HadoopSnappy),
    ("zstd", Compression::ZSTD),
];

/// The words for delimiters.
const DELIMITERS: &[(&str, Delimiter)] =
    &[("newline", Delimiter::Newline), ("none", Delimiter::None)];

/// The words for compressions inside of Parquet.
pub(in super::super) const PARQUET_COMPRESSIONS: &[(&str, ParquetCompression)] = &[
    ("snappy", ParquetCompression::Snappy),
    ("zstd", ParquetCompression::Zstd),
    ("gzip", ParquetCompression::Gzip),
    ("none", ParquetCompression::None),
];

/// Firehose's defaults.
const HINTS: DefaultHints = DefaultHints {
    size: ByteSize::mib(5),
    interval_s: 300,
};
/// Firehose's defaults with format conversion, and with dynamic partitioning.
const LARGE_HINTS: DefaultHints = DefaultHints {
    size: ByteSize::mib(128),
    interval_s: 300,
};

/// Less makes objects that no reader likes; more does not fit an object of S3.
const SIZE: (ByteSize, ByteSize) = (ByteSize::kib(64), ByteSize::mib(5 << 10));
/// A limit above this is none: memory ends before.
const MAX_ACTIVE: u32 = 1_000_000;
/// Zero delivers at once.
const INTERVAL: (Duration, Duration) = (Duration::ZERO, Duration::from_hours(24));

/// Buffering hints of a destination that names none.
#[derive(Clone, Copy)]
pub(super) struct DefaultHints {
    pub(super) size: ByteSize,
    pub(super) interval_s: u64,
}

/// Buffering hints as far as they are configured.
#[derive(Clone, Copy, Default)]
pub(super) struct GivenHints {
    size: Option<ByteSize>,
    interval: Option<Duration>,
}

impl GivenHints {
    /// Fills in what is not configured.
    pub(super) fn or(self, default: DefaultHints) -> BufferingHints {
        BufferingHints {
            size: self.size.unwrap_or(default.size),
            interval: self
                .interval
                .unwrap_or(Duration::from_secs(default.interval_s)),
        }
    }
}

/// Reads what all destinations with objects have.
pub(super) fn objects(f: &mut Fields<'_>) -> Option<ObjectConfig> {
    let about = "what keys begin with; may have expressions such as `!{timestamp:yyyy/MM/dd}/`";
    let prefix = f.optional("prefix", about, Text);
    let about =
        "what keys of the error output begin with; may have `!{firehose:error-output-type}`";
    let error_output_prefix = f.optional("error_output_prefix", about, Text);
    let about = "replaces the default extension, as in `.jsonl`";
    let file_extension = f.optional("file_extension", about, Text);
    let about = "how objects are compressed; must be none with format_conversion";
    let compression = Either {
        scalar: Word(COMPRESSIONS),
        map: Section(leveled),
    };
    let compression = f.or("compression", about, compression, "none");
    let delimiter = delimiter(f);
    let buffering_hints = buffering_hints(f);
    let about = "converts records from JSON to a format of columns";
    let parquet = f.optional("format_conversion", about, Section(format_conversion));
    let about = "an object for each combination of the partition keys in the prefix";
    let partitioning = f.optional("dynamic_partitioning", about, Section(dynamic_partitioning));
    let mut partitioned = false;
    if let (Some(prefix), Some(error_output_prefix), Some(file_extension)) =
        (&prefix, &error_output_prefix, &file_extension)
    {
        let keys = check_keys(f, [prefix, error_output_prefix, file_extension]);
        if let Some(keys) = keys {
            partitioned = !keys.is_empty();
            check_partitioning(f, partitioning.flatten(), keys);
        }
    }
    let (compression, parquet) = (compression?, parquet?);
    let converts = parquet.is_some();
    if converts {
        check_conversion(f, compression);
    }
    let format = match parquet {
        Some(parquet) => Format::Parquet(parquet),
        None => Format::Records {
            delimiter: delimiter?,
            compression,
        },
    };
    let default = if converts || partitioned {
        LARGE_HINTS
    } else {
        HINTS
    };
    Some(ObjectConfig {
        prefix: prefix?,
        error_output_prefix: error_output_prefix?,
        file_extension: file_extension?,
        max_active_partitions: partitioning?.and_then(|one| one.max_active),
        format,
        buffering_hints: buffering_hints?.or(default),
    })
}

/// Reads what stands after each record.
pub(super) fn delimiter(f: &mut Fields<'_>) -> Option<Delimiter> {
    let about = "what stands after each record; `none` gives Firehose's bytes";
    let kind = Either {
        scalar: Word(DELIMITERS),
        map: Section(own_delimiter),
    };
    f.or("delimiter", about, kind, "newline")
}

/// Reads when an object is ended.
pub(super) fn buffering_hints(f: &mut Fields<'_>) -> Option<GivenHints> {
    let about = "when an object is ended: whichever comes first";
    f.optional("buffering_hints", about, Section(hints))
        .map(Option::unwrap_or_default)
}

fn hints(f: &mut Fields<'_>) -> Option<GivenHints> {
    let about = "bytes after the transform and before compression; by default 5MiB, 128MiB with \
                 format_conversion or partition keys, 1MiB on the standard output";
    let size = f.optional("size", about, Size(SIZE.0..=SIZE.1));
    let about = "time from the first record read; by default 300s, 1s on the standard output";
    let interval = f.optional("interval", about, Time(INTERVAL.0..=INTERVAL.1));
    Some(GivenHints {
        size: size?,
        interval: interval?,
    })
}

fn own_delimiter(f: &mut Fields<'_>) -> Option<Delimiter> {
    let text = f.required("text", "the delimiter itself, 1 to 64 bytes", Text)?;
    if !(1..=64).contains(&text.len()) {
        f.fault(
            "text",
            format!("is {} bytes, limit 1 to 64", text.len()),
            "",
        );
        return None;
    }
    Some(Delimiter::Custom(text.into_bytes()))
}

fn leveled(f: &mut Fields<'_>) -> Option<Compression> {
    let gzip = f.optional("gzip", "gzip at a level of its own", Section(gzip_level));
    let zstd = f.optional("zstd", "zstd at a level of its own", Section(zstd_level));
    if !f.exactly_one("compression") {
        return None;
    }
    let gzip = gzip?.map(|level| Compression::Gzip { level });
    gzip.or(zstd?.map(|level| Compression::Zstd { level }))
}

fn gzip_level(f: &mut Fields<'_>) -> Option<u8> {
    level(f, 12)
}

fn zstd_level(f: &mut Fields<'_>) -> Option<u8> {
    level(f, 22)
}

fn level(f: &mut Fields<'_>, most: u32) -> Option<u8> {
    let level = f.required(
        "level",
        "1 is fastest, the most is smallest",
        Whole(1..=most),
    )?;
    u8::try_from(level).ok()
}

fn format_conversion(f: &mut Fields<'_>) -> Option<ParquetSettings> {
    let output = f.required("output", "the format", Section(output));
    let schema = f.required("schema", "the columns", Section(schema));
    let Parquet {
        compression,
        row_group_rows,
        row_group_bytes,
    } = output?;
    Some(ParquetSettings {
        schema: schema?,
        compression,
        row_group_rows,
        row_group_bytes,
    })
}

struct Parquet {
    compression: ParquetCompression,
    row_group_rows: usize,
    row_group_bytes: usize,
}

fn output(f: &mut Fields<'_>) -> Option<Parquet> {
    let parquet = f.optional("parquet", "Apache Parquet", Section(parquet));
    let one = f.exactly_one("format");
    one.then_some(parquet??)
}

fn parquet(f: &mut Fields<'_>) -> Option<Parquet> {
    let compression = f.or(
        "compression",
        "how pages are compressed",
        Word(PARQUET_COMPRESSIONS),
        "snappy",
    );
    let about = "most rows of a row group";
    let rows = f.or(
        "row_group_rows",
        about,
        Whole(8_192..=16_777_216),
        "1048576",
    );
    let about = "bytes of columns, before compression, at which a row group ends";
    let size = f.or(
        "row_group_size",
        about,
        Size(ByteSize::mib(1)..=ByteSize::mib(1024)),
        "128MiB",
    );
    Some(Parquet {
        compression: compression?,
        row_group_rows: usize::try_from(rows?).ok()?,
        row_group_bytes: size?.as_usize(),
    })
}

fn schema(f: &mut Fields<'_>) -> Option<Schema> {
    let columns = f.required("columns", "names and types", List(Section(column)))?;
    if columns.is_empty() {
        f.fault("columns", "is empty", "name at least one column");
        return None;
    }
    match Schema::new(columns) {
        Ok(schema) => Some(schema),
        Err(error) => {
            f.fault("columns", error.to_string(), "");
            None
        }
    }
}

fn column(f: &mut Fields<'_>) -> Option<(String, Type)> {
    let name = f.required("name", "the column's name", Text);
    let parse = |text: &str| Type::parse(text).map_err(|error| error.to_string());
    let kind = Parsed {
        parse,
        what: "a type in Hive's words",
        example: "array<struct<a:int,b:string>>",
    };
    let kind = f.required(
        "type",
        "the column's type in Hive's words, as in a Glue table",
        kind,
    );
    Some((name?, kind?))
}

fn check_conversion(f: &mut Fields<'_>, compression: Compression) {
    if compression != Compression::None {
        let message = "must be none when format_conversion is there: the format compresses inside of the file";
        f.fault(
            "compression",
            message,
            "use format_conversion.output.parquet.compression",
        );
    }
    if f.has("delimiter") {
        f.fault(
            "delimiter",
            "has no meaning with format_conversion",
            "remove it",
        );
    }
}

/// Checks prefixes and extension. Gives the partition keys in the prefix, where nothing is wrong.
fn check_keys(
    f: &mut Fields<'_>,
    settings: [&Option<String>; 3],
) -> Option<Vec<(KeyFrom, String)>> {
    const NAMES: [&str; 3] = ["error_output_prefix", "file_extension", "prefix"];
    let [prefix, error_output_prefix, file_extension] = settings.map(Option::as_deref);
    let name = f
        .path()
        .strip_prefix("delivery_streams.")
        .and_then(|path| path.rsplit_once(".destination."));
    let name = name.map_or("x", |(name, _)| name);
    let rules = match KeyRules::new(name, 1, prefix, error_output_prefix, file_extension) {
        Ok(rules) => rules,
        Err(faults) => {
            for message in faults {
                // Others are about the delivery stream's name, which its own reader checks.
                if let Some(name) = NAMES.into_iter().find(|name| message.starts_with(name)) {
                    let text = message.get(name.len()..).unwrap_or_default();
                    let text = text.trim_start_matches([':', ' ']).to_owned();
                    f.fault(name, text, "");
                }
            }
            return None;
        }
    };
    let keys = rules.partition_keys();
    Some(keys.map(|(from, name)| (from, name.to_owned())).collect())
}

/// Holds the section and the keys in the prefix to each other. Which processors give the keys is
/// looked at where they are read.
fn check_partitioning(
    f: &mut Fields<'_>,
    given: Option<DynamicPartitioning>,
    keys: Vec<(KeyFrom, String)>,
) {
    match given {
        Some(given) if given.enabled && keys.is_empty() => {
            let remedy =
                "use `!{partitionKeyFromQuery:name}` in it, or remove dynamic_partitioning";
            f.fault(
                "prefix",
                "has no partition key, and dynamic_partitioning is enabled",
                remedy,
            );
        }
        Some(given) if !given.enabled && !keys.is_empty() => {
            let remedy = "enable it, or remove the keys from the prefix";
            f.fault(
                "dynamic_partitioning",
                "is not enabled, and the prefix has partition keys",
                remedy,
            );
        }
        Some(given) if !given.enabled && given.max_active.is_some() => {
            let message = "has a limit of partitions and is not enabled";
            f.fault(
                "dynamic_partitioning",
                message,
                "remove the limit, or enable it",
            );
        }
        _ => {}
    }
    if keys.iter().any(|(from, _)| *from == KeyFrom::Lambda) {
        let remedy = "use `!{partitionKeyFromQuery:name}` or `!{partitionKeyFromWasm:name}` and a \
                      processor that gives the key";
        let message = "has partition keys of a processor that is not supported yet";
        f.fault("prefix", message, remedy);
    } else if !keys.is_empty() {
        let path = format!("{}.prefix", f.path());
        f.cx.partitioned = Some(Partitioned { path, keys });
    }
}

#[derive(Clone, Copy)]
struct DynamicPartitioning {
    enabled: bool,
    max_active: Option<u32>,
}

fn dynamic_partitioning(f: &mut Fields<'_>) -> Option<DynamicPartitioning> {
    let about = "whether it is; by default where the prefix has partition keys";
    let enabled = f.required("enabled", about, Flag);
    let about = "most partitions that a shard has at a time: records of further ones go to the error \
                 output, as with Firehose, whose limit is 500; by default only memory is a limit";
    let max_active = f.optional("max_active_partitions", about, Whole(1..=MAX_ACTIVE));
    Some(DynamicPartitioning {
        enabled: enabled?,
        max_active: max_active?,
    })
}
