//! What there is to measure, each with its budget in CPU seconds per GB of records (performance
//! reference, sections 1 and 5), and what was chosen of it.

use std::path::Path;
use std::sync::Arc;

use hydrant_encode::Compression;

use super::load::Load;
use super::stages::Stage;
use super::stages::encode::{Half, parquet, records};
use super::stages::{directory, log, put};
use super::verify::Container;
use super::ways::{From, To, Way};

/// Something with a budget.
pub(super) struct Item {
    pub(super) name: &'static str,
    pub(super) budget: f64,
    pub(super) kind: Kind,
}

type Make = fn(&Arc<Load>, &Path) -> anyhow::Result<Box<dyn Stage>>;

/// How it is measured.
pub(super) enum Kind {
    /// On this thread.
    Stage(Make),
    /// As a process of its own.
    Way(Way),
    /// A way less what its stages cost on their own.
    Rest {
        of: &'static str,
        less: &'static [&'static str],
    },
}

use Kind::{Rest, Stage as One};

/// All there is, in the data's order.
const ITEMS: [Item; 19] = [
    // Decoding alone 0.38; here are the hash of each key and the blocks, too.
    item("put-decode", 0.8, One(put::decode)),
    item("log-append", 0.35, One(log::append)),
    item("log-read", 0.15, One(log::read)),
    item("join", 0.15, One(|load, _| plain(load))),
    item("gzip6", 7.5, One(|load, _| gzip(load, 6))),
    item("gzip1", 3.15, One(|load, _| gzip(load, 1))),
    item("zip", 7.5, One(|load, _| zip(load))),
    item("snappy", 1.5, One(|load, _| snappy(load))),
    item("hadoop_snappy", 1.5, One(|load, _| hadoop(load))),
    item("zstd", 1.6, One(|load, _| zstd(load))),
    item(
        "json-to-columns",
        2.4,
        One(|load, _| parquet(load, Half::Pieces)),
    ),
    item(
        "parquet-write",
        1.7,
        One(|load, _| parquet(load, Half::Object)),
    ),
    item("directory-write", 0.4, One(directory::write)),
    // Taking a call 1.3, the log 0.35.
    item("put-log", 1.65, way(From::Put, To::Log)),
    item("put-log-ndjson-directory", 3.0, way(From::Put, NDJSON)),
    item("put-log-gzip1-directory", 6.0, way(From::Put, GZIP_1)),
    item("put-log-gzip6-directory", 10.0, way(From::Put, GZIP_6)),
    item(
        "put-log-parquet_snappy-directory",
        7.5,
        way(From::Put, To::Parquet),
    ),
    item("kinesis-gzip6-directory", 12.5, way(From::Kinesis, GZIP_6)),
];

/// What no stage is named for: buffers, acknowledgements, metrics, scheduling.
const REST: Item = item(
    "everything-else",
    0.5,
    Rest {
        of: "put-log-ndjson-directory",
        less: &["put-log", "log-read", "join", "directory-write"],
    },
);

const NDJSON: To = To::Directory("compression: none", Container::Plain);
const GZIP_1: To = To::Directory("compression: { gzip: { level: 1 } }", Container::Gzip);
const GZIP_6: To = To::Directory("compression: gzip", Container::Gzip);

const fn item(name: &'static str, budget: f64, kind: Kind) -> Item {
    Item { name, budget, kind }
}

const fn way(from: From, to: To) -> Kind {
    Kind::Way(Way { from, to })
}

type Made = anyhow::Result<Box<dyn Stage>>;

fn plain(load: &Arc<Load>) -> Made {
    records(load, Half::Pieces, Compression::None, Container::Plain)
}

fn gzip(load: &Arc<Load>, level: u8) -> Made {
    let compression = Compression::Gzip { level };
    records(load, Half::Object, compression, Container::Gzip)
}

fn zip(load: &Arc<Load>) -> Made {
    records(load, Half::Object, Compression::Zip, Container::Zip)
}

fn snappy(load: &Arc<Load>) -> Made {
    records(load, Half::Object, Compression::Snappy, Container::Xerial)
}

fn hadoop(load: &Arc<Load>) -> Made {
    let container = Container::HadoopSnappy;
    records(load, Half::Object, Compression::HadoopSnappy, container)
}

fn zstd(load: &Arc<Load>) -> Made {
    records(load, Half::Object, Compression::ZSTD, Container::Zstd)
}

/// Everything by these names, and what they are made of; without names all there is.
///
/// # Errors
/// With a name that is not known, and those that are.
pub(super) fn choose(names: &[String]) -> Result<Vec<Item>, String> {
    let all = || ITEMS.into_iter().chain([REST]);
    if let Some(unknown) = names
        .iter()
        .find(|name| all().all(|item| item.name != **name))
    {
        let known: Vec<&str> = all().map(|item| item.name).collect();
        return Err(format!(
            "no stage is called `{unknown}`; there are {}, {}",
            known.join(", "),
            super::guest::NAME
        ));
    }
    if names.is_empty() {
        return Ok(ITEMS.into_iter().chain([REST]).collect());
    }
    let rest = names.iter().any(|name| name == REST.name);
    let wanted = |item: &Item| {
        let part = match &REST.kind {
            Rest { of, less } => rest && (item.name == *of || less.contains(&item.name)),
            _ => false,
        };
        part || names.iter().any(|name| name == item.name)
    };
    Ok(all().filter(wanted).collect())
}

/// All ways with their names.
#[cfg(test)]
pub(super) fn ways() -> impl Iterator<Item = (&'static str, Way)> {
    ITEMS.into_iter().filter_map(|item| match item.kind {
        Kind::Way(way) => Some((item.name, way)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::choose;

    fn names(chosen: &[&str]) -> Vec<&'static str> {
        let chosen: Vec<String> = chosen.iter().map(|name| (*name).to_owned()).collect();
        let items = choose(&chosen).unwrap();
        items.iter().map(|item| item.name).collect()
    }

    #[test]
    fn names_choose_and_bring_what_they_are_made_of() {
        assert_eq!(names(&["gzip6", "join"]), ["join", "gzip6"]);
        assert_eq!(names(&[]).len(), 20);
        let rest = names(&["everything-else"]);
        assert_eq!(rest.len(), 6);
        assert_eq!(rest.last(), Some(&"everything-else"));
        assert!(choose(&["gzip7".to_owned()]).is_err());
    }
}
