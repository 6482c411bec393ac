//! The settings of a delivery stream that decide its output, as stable JSON: what a version is the
//! digest of, and what a range that was found after a restart is finished with.
//!
//! Credentials, the interval and time limits are not part of it. They, and how a server is reached,
//! come from the configuration of the day.

use std::collections::BTreeMap;
use std::time::Duration;

use hydrant_core::units::ByteSize;
use hydrant_encode::{
    Compression, Delimiter, Format, ParquetCompression, ParquetSettings, Schema, Type,
};
use hydrant_sink::s3::Checksum;
use hydrant_transform::builtin::Builtin;
use hydrant_transform::{Instances, OnTrap};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::sections::{DEAGGREGATIONS, PARQUET_COMPRESSIONS};
use super::types::{
    BufferingHints, DeliveryStreamConfig, DestinationConfig, DirectoryConfig, KinesisConfig,
    Module, ObjectConfig, ProcessorConfig, S3Config, SourceConfig, WasmConfig,
};

/// Raised when this JSON says something new.
const FORM: u32 = 1;

/// Time of a call where the configuration of the day has no such processor any more.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    form: u32,
    deaggregation: String,
    processors: Vec<StoredProcessor>,
    destination: StoredDestination,
    prefix: Option<String>,
    error_output_prefix: Option<String>,
    file_extension: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_active_partitions: Option<u32>,
    format: StoredFormat,
    size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredProcessor {
    Wasm {
        module: String,
        config_json: String,
        memory_bytes: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reuse: bool,
    },
    Builtin(Builtin),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredDestination {
    S3 {
        bucket: String,
        region: Option<String>,
        endpoint: Option<String>,
        force_path_style: Option<bool>,
    },
    Directory {
        path: String,
    },
    Stdout {},
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredFormat {
    Records {
        delimiter: Vec<u8>,
        compression: String,
        level: Option<u8>,
    },
    Parquet {
        columns: Vec<(String, String)>,
        compression: String,
        row_group_rows: u64,
        row_group_bytes: u64,
    },
}

impl DeliveryStreamConfig {
    /// The settings that decide the output. `module_digests` names the modules of the `wasm`
    /// processors, in their order: its content counts, and not its file.
    ///
    /// # Panics
    /// Where there are fewer digests than such processors, or more.
    pub fn version_json(&self, module_digests: &[String]) -> Json {
        let SourceConfig::Kinesis(KinesisConfig {
            stream: _,
            place: _,
            start: _,
            deaggregation,
        }) = &self.source;
        let mut digests = module_digests.iter();
        let processor = |processor: &ProcessorConfig| match processor {
            ProcessorConfig::Wasm(WasmConfig {
                module: _,
                config_json,
                memory,
                timeout: _,
                wasi: _,
                instances,
                on_trap: _,
            }) => StoredProcessor::Wasm {
                module: digests.next().expect("one digest for each module").clone(),
                config_json: config_json.clone(),
                memory_bytes: memory.0,
                reuse: *instances == Instances::Reuse,
            },
            ProcessorConfig::Builtin(builtin) => StoredProcessor::Builtin(builtin.clone()),
        };
        let processors = self.processors.iter().map(processor).collect();
        assert_eq!(digests.next(), None, "one digest for each module");
        let objects = self.destination.objects();
        let ObjectConfig {
            prefix,
            error_output_prefix,
            file_extension,
            max_active_partitions,
            format,
            buffering_hints,
        } = objects;
        let BufferingHints { size, interval: _ } = buffering_hints;
        let stored = Stored {
            form: FORM,
            deaggregation: word_of(DEAGGREGATIONS, deaggregation),
            processors,
            destination: store_destination(&self.destination),
            prefix: prefix.clone(),
            error_output_prefix: error_output_prefix.clone(),
            file_extension: file_extension.clone(),
            max_active_partitions: *max_active_partitions,
            format: store_format(format),
            size_bytes: size.0,
        };
        serde_json::to_value(stored).expect("texts, numbers and lists have a JSON form")
    }

    /// The settings of a stored version, completed from the configuration of the day: the name, the
    /// source, the interval and the time limits; credentials and the way to the server too, where
    /// it is still the same endpoint.
    ///
    /// # Errors
    /// With what cannot be read.
    pub fn from_version_json(json: &Json, current: &Self) -> Result<Self, String> {
        let stored = Stored::deserialize(json)
            .map_err(|error| format!("a stored version cannot be read: {error}"))?;
        if stored.form != FORM {
            return Err(format!(
                "a stored version has form {}, known is {FORM}",
                stored.form
            ));
        }
        let SourceConfig::Kinesis(kinesis) = &current.source;
        let deaggregation = value_of(DEAGGREGATIONS, &stored.deaggregation)?;
        let objects = ObjectConfig {
            prefix: stored.prefix,
            error_output_prefix: stored.error_output_prefix,
            file_extension: stored.file_extension,
            max_active_partitions: stored.max_active_partitions,
            format: restore_format(stored.format)?,
            buffering_hints: BufferingHints {
                size: ByteSize(stored.size_bytes),
                interval: current.destination.objects().buffering_hints.interval,
            },
        };
        Ok(Self {
            name: current.name.clone(),
            source: SourceConfig::Kinesis(KinesisConfig {
                deaggregation,
                ..kinesis.clone()
            }),
            processors: restore_processors(stored.processors, &current.processors),
            destination: restore_destination(stored.destination, objects, &current.destination),
        })
    }
}

fn store_destination(destination: &DestinationConfig) -> StoredDestination {
    match destination {
        DestinationConfig::S3(s3) => {
            let S3Config {
                bucket,
                region,
                endpoint,
                force_path_style,
                credentials: _,
                checksum: _,
                abort_uploads_after: _,
                objects: _,
            } = s3;
            StoredDestination::S3 {
                bucket: bucket.clone(),
                region: region.clone(),
                endpoint: endpoint.clone(),
                force_path_style: *force_path_style,
            }
        }
        DestinationConfig::Directory(DirectoryConfig { path, objects: _ }) => {
            // The configuration takes no path that is not UTF-8.
            StoredDestination::Directory {
                path: path.display().to_string(),
            }
        }
        DestinationConfig::Stdout(_) => StoredDestination::Stdout {},
    }
}

fn restore_destination(
    stored: StoredDestination,
    objects: ObjectConfig,
    current: &DestinationConfig,
) -> DestinationConfig {
    match stored {
        StoredDestination::S3 {
            bucket,
            region,
            endpoint,
            force_path_style,
        } => {
            let (s3, current) = match current {
                DestinationConfig::S3(current) if current.endpoint == endpoint => {
                    (current.clone(), true)
                }
                _ => (bare_s3(objects.clone()), false),
            };
            let region = if current { s3.region.clone() } else { region };
            let force_path_style = if current {
                s3.force_path_style
            } else {
                force_path_style
            };
            DestinationConfig::S3(S3Config {
                bucket,
                region,
                endpoint,
                force_path_style,
                objects,
                ..s3
            })
        }
        StoredDestination::Directory { path } => DestinationConfig::Directory(DirectoryConfig {
            path: path.into(),
            objects,
        }),
        StoredDestination::Stdout {} => DestinationConfig::Stdout(objects),
    }
}

fn bare_s3(objects: ObjectConfig) -> S3Config {
    S3Config {
        bucket: String::new(),
        region: None,
        endpoint: None,
        force_path_style: None,
        credentials: None,
        checksum: Checksum::default(),
        abort_uploads_after: None,
        objects,
    }
}

fn restore_processors(
    stored: Vec<StoredProcessor>,
    current: &[ProcessorConfig],
) -> Vec<ProcessorConfig> {
    let restore = |(index, processor): (usize, StoredProcessor)| {
        let (module, config_json, memory_bytes, reuse) = match processor {
            StoredProcessor::Wasm {
                module,
                config_json,
                memory_bytes,
                reuse,
            } => (module, config_json, memory_bytes, reuse),
            StoredProcessor::Builtin(builtin) => return ProcessorConfig::Builtin(builtin),
        };
        let timeout = match current.get(index) {
            Some(ProcessorConfig::Wasm(wasm)) => wasm.timeout,
            _ => DEFAULT_TIMEOUT,
        };
        let (module, memory) = (Module::Stored(module), ByteSize(memory_bytes));
        ProcessorConfig::Wasm(WasmConfig {
            module,
            config_json,
            memory,
            timeout,
            // A module that is stored was allowed what it imports.
            wasi: true,
            instances: if reuse {
                Instances::Reuse
            } else {
                Instances::Fresh
            },
            // A redo repeats verdicts, and makes none.
            on_trap: OnTrap::default(),
        })
    };
    stored.into_iter().enumerate().map(restore).collect()
}

fn store_format(format: &Format) -> StoredFormat {
    match format {
        Format::Records {
            delimiter,
            compression,
        } => {
            let (compression, level) = match compression {
                Compression::None => ("none", None),
                Compression::Gzip { level } => ("gzip", Some(*level)),
                Compression::Zip => ("zip", None),
                Compression::Snappy => ("snappy", None),
                Compression::HadoopSnappy => ("hadoop_snappy", None),
                Compression::Zstd { level } => ("zstd", Some(*level)),
            };
            let delimiter = match delimiter {
                Delimiter::Newline => b"\n".to_vec(),
                Delimiter::None => Vec::new(),
                Delimiter::Custom(bytes) => bytes.clone(),
            };
            StoredFormat::Records {
                delimiter,
                compression: compression.to_owned(),
                level,
            }
        }
        Format::Parquet(ParquetSettings {
            schema,
            compression,
            row_group_rows,
            row_group_bytes,
        }) => {
            let columns = schema
                .fields()
                .list()
                .iter()
                .map(|(name, kind)| (name.clone(), kind.to_string()));
            StoredFormat::Parquet {
                columns: columns.collect(),
                compression: word_of(PARQUET_COMPRESSIONS, compression),
                row_group_rows: *row_group_rows as u64,
                row_group_bytes: *row_group_bytes as u64,
            }
        }
    }
}

fn restore_format(stored: StoredFormat) -> Result<Format, String> {
    match stored {
        StoredFormat::Records {
            delimiter,
            compression,
            level,
        } => {
            let delimiter = match delimiter.as_slice() {
                b"\n" => Delimiter::Newline,
                b"" => Delimiter::None,
                _ => Delimiter::Custom(delimiter),
            };
            let compression = match (compression.as_str(), level) {
                ("none", None) => Compression::None,
                ("gzip", Some(level)) => Compression::Gzip { level },
                ("zip", None) => Compression::Zip,
                ("snappy", None) => Compression::Snappy,
                ("hadoop_snappy", None) => Compression::HadoopSnappy,
                ("zstd", Some(level)) => Compression::Zstd { level },
                _ => {
                    return Err(format!(
                        "a stored version has an unknown compression `{compression}`"
                    ));
                }
            };
            Ok(Format::Records {
                delimiter,
                compression,
            })
        }
        StoredFormat::Parquet {
            columns,
            compression,
            row_group_rows,
            row_group_bytes,
        } => {
            let parse =
                |(name, kind): (String, String)| Type::parse(&kind).map(|kind| (name, kind));
            let columns: Result<Vec<_>, _> = columns.into_iter().map(parse).collect();
            let schema = columns
                .and_then(Schema::new)
                .map_err(|error| error.to_string())?;
            let count = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
            let compression: ParquetCompression = value_of(PARQUET_COMPRESSIONS, &compression)?;
            let (row_group_rows, row_group_bytes) =
                (count(row_group_rows)?, count(row_group_bytes)?);
            Ok(Format::Parquet(ParquetSettings {
                schema,
                compression,
                row_group_rows,
                row_group_bytes,
            }))
        }
    }
}

fn word_of<T: PartialEq>(words: &[(&str, T)], value: &T) -> String {
    let found = words.iter().find(|(_, known)| known == value);
    found
        .map(|(word, _)| (*word).to_owned())
        .expect("every value has its word")
}

fn value_of<T: Clone>(words: &[(&str, T)], word: &str) -> Result<T, String> {
    let found = words.iter().find(|(known, _)| *known == word);
    found
        .map(|(_, value)| value.clone())
        .ok_or_else(|| format!("a stored version has an unknown word `{word}`"))
}

/// JSON without spaces, members in order of their names: the same value gives the same text.
pub fn canonical(json: &Json) -> String {
    match json {
        Json::Object(members) => {
            let sorted: BTreeMap<&String, &Json> = members.iter().collect();
            let member = |(name, value): (&&String, &&Json)| {
                format!("{}:{}", Json::String((*name).clone()), canonical(value))
            };
            let members: Vec<String> = sorted.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        _ => json.to_string(),
    }
}
