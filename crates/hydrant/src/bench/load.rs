//! The records that everything is measured on: nested JSON events of about 564 bytes with 24 leaves,
//! random ids and skewed texts, seeded. zlib's level 6 makes them 5.8 times smaller.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use hydrant_log::stream::PutEntry;
use hydrant_log::stream::put::MAX_RECORDS;

use crate::demo::events::{BROWSERS, COUNTRIES, KINDS, NAMES, PAGES};
use crate::seeded::Seeded;

/// Bytes of records of one object.
pub(super) const OBJECT_BYTES: usize = 5_000_000;

/// The columns that hold all leaves, in Hive's words.
pub(super) const COLUMNS: [(&str, &str); 12] = [
    ("v", "int"),
    ("seq", "bigint"),
    ("event_id", "string"),
    ("type", "string"),
    ("ts", "timestamp"),
    ("session", "string"),
    (
        "user",
        "struct<id:bigint,email:string,ip:string,country:string,plan:string>",
    ),
    (
        "page",
        "struct<path:string,referrer:string,duration_ms:int>",
    ),
    (
        "client",
        "struct<agent:string,os:string,device:string,width:int>",
    ),
    ("order", "struct<amount:double,items:int,paid:boolean>"),
    ("geo", "struct<lat:double,lon:double>"),
    ("experiments", "array<string>"),
];

const SYSTEMS: [&str; 5] = ["Linux", "Windows", "macOS", "Android", "iOS"];

/// Records, one after the other.
pub(super) struct Load {
    data: Vec<u8>,
    ends: Vec<usize>,
    keys: Vec<String>,
}

/// What tells whether records are these, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Sum of the records' hashes.
    pub(super) hashes: u64,
}

impl Load {
    /// At least so many bytes of records.
    pub(super) fn make(bytes: usize) -> Self {
        let mut random = Seeded::new(7);
        let mut load = Self {
            data: Vec::with_capacity(bytes + 1024),
            ends: Vec::new(),
            keys: Vec::new(),
        };
        let mut text = String::with_capacity(1024);
        while load.data.len() < bytes {
            text.clear();
            let key = event(&mut random, load.ends.len() as u64, &mut text);
            load.data.extend_from_slice(text.as_bytes());
            load.ends.push(load.data.len());
            load.keys.push(key);
        }
        load
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn records(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn record(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.data[start..self.ends[index]]
    }

    /// The records of each object.
    pub(super) fn objects(&self) -> Vec<Range<usize>> {
        let each = (OBJECT_BYTES * self.records() / self.bytes()).max(1);
        let starts = (0..self.records()).step_by(each);
        starts
            .map(|start| start..(start + each).min(self.records()))
            .collect()
    }

    /// The records as calls of a producer, as many in each as Kinesis takes.
    pub(super) fn calls(&self) -> impl Iterator<Item = Vec<PutEntry<'_>>> {
        let starts = (0..self.records()).step_by(MAX_RECORDS);
        starts.map(|start| {
            let entry = |i: usize| PutEntry {
                data: self.record(i),
                partition_key: &self.keys[i],
                explicit_hash_key: None,
            };
            let end = (start + MAX_RECORDS).min(self.records());
            (start..end).map(entry).collect()
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut found = Fingerprint::default();
        for i in 0..self.records() {
            found.add(self.record(i));
        }
        found
    }
}

impl Fingerprint {
    pub(super) fn add(&mut self, record: &[u8]) {
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        self.records += 1;
        self.bytes += record.len() as u64;
        self.hashes = self.hashes.wrapping_add(hasher.finish());
    }

    /// Adds the records of newline-delimited text.
    ///
    /// # Errors
    /// Where the text does not end with a newline.
    pub(super) fn add_lines(&mut self, text: &[u8]) -> anyhow::Result<()> {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(record) = line.strip_suffix(b"\n") else {
                anyhow::bail!("the last record has no newline")
            };
            self.add(record);
        }
        Ok(())
    }

    /// Of the same records so many times.
    pub(super) fn times(self, count: u64) -> Self {
        Self {
            records: self.records * count,
            bytes: self.bytes * count,
            hashes: self.hashes.wrapping_mul(count),
        }
    }
}

/// Writes one event and gives its partition key.
fn event(random: &mut Seeded, seq: u64, out: &mut String) -> String {
    let session = format!("s{:06x}", rarely_large(random, 5_000));
    let (user, cents) = (rarely_large(random, 100_000), random.below(50_000));
    let name = NAMES[usize::try_from(user % 8).unwrap_or(0)];
    let (id, id_low, kind) = (random.next(), random.next(), skewed(random, &KINDS));
    let time = i64::try_from(1_767_225_600_000 + seq / 3).unwrap_or(0);
    let time = chrono::DateTime::from_timestamp_millis(time).unwrap_or_default();
    let time = time.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    push(
        out,
        format_args!(
            r#"{{"v":2,"seq":{seq},"event_id":"{id:016x}{id_low:016x}","type":"{kind}","ts":"{time}","session":"{session}","#
        ),
    );
    let (a, b, country) = (
        random.below(256),
        random.below(256),
        skewed(random, &COUNTRIES),
    );
    let plan = if user.is_multiple_of(7) {
        "pro"
    } else {
        "free"
    };
    push(
        out,
        format_args!(
            r#""user":{{"id":{user},"email":"{name}{user}@example.org","ip":"10.0.{a}.{b}","country":"{country}","plan":"{plan}"}},"#
        ),
    );
    let (page, from) = (skewed(random, &PAGES), skewed(random, &PAGES));
    let (query, duration) = (random.next() >> 32, random.below(30_000));
    push(
        out,
        format_args!(
            r#""page":{{"path":"{page}","referrer":"https://a.example{from}?q={query:08x}","duration_ms":{duration}}},"#
        ),
    );
    let (browser, version) = (skewed(random, &BROWSERS), 100 + random.below(40));
    let (system, device) = (skewed(random, &SYSTEMS), random.next() >> 32);
    let width = 320 + 16 * random.below(100);
    push(
        out,
        format_args!(
            r#""client":{{"agent":"Mozilla/5.0 (X11; Linux x86_64) {browser}/{version}.0","os":"{system}","device":"{device:08x}","width":{width}}},"#
        ),
    );
    let (items, paid) = (1 + random.below(5), !cents.is_multiple_of(3));
    let (lat, lon) = (degrees(random, 700_000), degrees(random, 1_800_000));
    let (checkout, search) = (random.below(3), random.below(4));
    push(
        out,
        format_args!(
            r#""order":{{"amount":{}.{:02},"items":{items},"paid":{paid}}},"geo":{{"lat":{lat},"lon":{lon}}},"experiments":["checkout-{checkout}","search-{search}"]}}"#,
            cents / 100,
            cents % 100,
        ),
    );
    session
}

/// A number below `bound`, small ones more often.
fn rarely_large(random: &mut Seeded, bound: u64) -> u64 {
    random.below(bound).min(random.below(bound))
}

/// One of a list, the first ones more often.
fn skewed<'a>(random: &mut Seeded, of: &[&'a str]) -> &'a str {
    let at = [(); 3].map(|()| random.index(of.len()));
    of[at.into_iter().min().unwrap_or(0)]
}

/// Degrees with four digits, up to so many ten-thousandths to either side.
fn degrees(random: &mut Seeded, most: u64) -> String {
    let at = random.below(2 * most);
    let (sign, size) = if at < most {
        ("-", most - at)
    } else {
        ("", at - most)
    };
    format!("{sign}{}.{:04}", size / 10_000, size % 10_000)
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Fingerprint, Load};

    fn leaves(value: &Value) -> usize {
        value
            .as_object()
            .map_or(1, |map| map.values().map(leaves).sum())
    }

    #[test]
    fn events_are_of_the_size_and_shape_that_budgets_are_for() {
        let load = Load::make(3_000_000);
        let mean = load.bytes() / load.records();
        assert!((556..=572).contains(&mean), "{mean} bytes a record");
        for i in [0, 1, 77, load.records() - 1] {
            let event: Value = serde_json::from_slice(load.record(i)).unwrap();
            assert_eq!(leaves(&event), 24, "{event}");
        }
        let packed = super::super::stages::reference::gzip(load.data()).len();
        let ratio = load.bytes() * 100 / packed;
        assert!((550..=620).contains(&ratio), "{ratio} percent");
    }

    #[test]
    fn lines_in_any_order_have_the_fingerprint_of_the_records() {
        let load = Load::make(2_000);
        let mut found = Fingerprint::default();
        for i in (0..load.records()).rev() {
            let mut line = load.record(i).to_vec();
            line.push(b'\n');
            found.add_lines(&line).unwrap();
        }
        assert_eq!(found, load.fingerprint());
        found.add_lines(b"x\n").unwrap();
        assert_ne!(found, load.fingerprint());
        assert!(found.add_lines(b"x").is_err());
    }
}
