//! Whole ways: a `hydrant run` of its own for each measurement, which this process feeds and reads
//! the CPU time of. Two amounts, n and 3n, so that start and end cancel out.

mod child;

pub(super) mod put;

mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::child::Child;
use self::upstream::Upstream;
use super::load::{COLUMNS, Load};
use super::verify::{Container, Found};

/// The embedded stream's name.
const STREAM: &str = "s";

/// Where a way's records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// `PutRecords` calls into an embedded stream of the child.
    Put,
    /// A stream that this process serves; the child reads it by the Kinesis API.
    Kinesis,
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// They stay in the log.
    Log,
    /// Objects of 5 MiB in a folder; the text is what the destination says beside.
    Directory(&'static str, Container),
    /// Parquet, compressed by snappy.
    Parquet,
}

/// A way from a producer to objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) from: From,
    pub(super) to: To,
}

/// What a child took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) cpu: Duration,
    pub(super) peak_rss: u64,
    /// Bytes of the objects.
    pub(super) bytes_out: u64,
}

/// Records, and the calls that carry them.
pub(super) struct Supply {
    pub(super) load: Arc<Load>,
    bodies: Vec<Bytes>,
}

impl Supply {
    pub(super) fn new(load: &Arc<Load>) -> Self {
        Self {
            load: load.clone(),
            bodies: put::bodies(load, STREAM),
        }
    }
}

impl Way {
    /// Sends all records so many times through a child of its own, and checks what comes out.
    pub(super) fn run(&self, supply: &Supply, times: u64, dir: &Path) -> anyhow::Result<Spent> {
        std::fs::create_dir_all(dir)?;
        let upstream = match self.from {
            From::Put => None,
            From::Kinesis => Some(Upstream::start(&supply.load, times, &dir.join("upstream"))?),
        };
        let child = Child::start(dir, &self.config(upstream.as_ref()))?;
        if self.from == From::Put {
            put::send(child.api, &supply.bodies, times)?;
        }
        if self.to != To::Log {
            child.until_read(supply.load.records() as u64 * times)?;
        }
        let mut spent = child.end()?;
        drop(upstream);
        if let Some(container) = self.container() {
            let mut found = Found::default();
            spent.bytes_out = found.add_folder(container, &dir.join("objects"))?;
            found.must_be(&Found::of(&supply.load, container, times))?;
        }
        std::fs::remove_dir_all(dir)?;
        Ok(spent)
    }

    fn container(&self) -> Option<Container> {
        match self.to {
            To::Log => None,
            To::Directory(_, container) => Some(container),
            To::Parquet => Some(Container::Parquet),
        }
    }

    /// The configuration of the child. Ports are any that are free.
    fn config(&self, upstream: Option<&Upstream>) -> String {
        let source = upstream.map_or_else(
            || format!("{{ stream: {STREAM}, start: trim_horizon }}"),
            |upstream| {
                format!(
                    "{{ stream: {STREAM}, endpoint: \"http://{}\", region: us-east-1, \
                     credentials: {{ access_key_id: x, secret_access_key: y }}, start: trim_horizon }}",
                    upstream.address
                )
            },
        );
        let mut text =
            "api: { listen: \"127.0.0.1:0\" }\noperations: { listen: \"127.0.0.1:0\" }\n\
                        data_dir: data\nmemory: 512MiB\n"
                .to_owned();
        if self.from == From::Put {
            text.push_str("streams: { s: { shards: 2, retention: 24h } }\n");
        }
        let form = match self.to {
            To::Log => return text,
            To::Directory(form, _) => form.to_owned(),
            To::Parquet => parquet(),
        };
        let delivery = format!(
            "delivery_streams:\n  d:\n    source: {{ kinesis: {source} }}\n    destination:\n      \
             directory: {{ path: objects, buffering_hints: {{ size: 5MiB, interval: 60s }}, {form} }}\n"
        );
        text + &delivery
    }
}

fn parquet() -> String {
    let columns = COLUMNS.map(|(name, kind)| format!("{{ name: {name}, type: \"{kind}\" }}"));
    format!(
        "format_conversion: {{ output: {{ parquet: {{ compression: snappy }} }}, schema: {{ columns: [{}] }} }}",
        columns.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan;

    #[test]
    fn the_configuration_of_every_way_loads() {
        let folder = tempfile::tempdir().unwrap();
        for (name, way) in plan::ways() {
            let file = folder.path().join("hydrant.yaml");
            std::fs::write(&file, way.config(None)).unwrap();
            let config = crate::config::load(&file);
            assert!(config.is_ok(), "{name}: {:?}", config.err());
        }
    }
}
