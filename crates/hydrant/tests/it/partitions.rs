//! The processors that are built in and the partitions that their keys make, through the pipeline:
//! the same whoever renders them, and nothing lost or doubled on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use hydrant_core::stage::Transform;
use hydrant_core::{Digest, Position, Records, RecordsBuilder};
use hydrant_encode::{Compression, Delimiter, Format, ParquetSettings, Schema, Type};
use hydrant_pipeline::plan::{MicroBatch, Partitioning, Plan};
use hydrant_pipeline::status::Totals;
use hydrant_sink::FirehoseErrors;
use hydrant_testkit::sim::stages::Passing;
use hydrant_transform::builtin::{
    Decompression, Filter, MetadataExtraction, Packing, RecordDeaggregation, SubRecords,
};
use serde_json::Value;

use super::rendering::{MemorySink, run, run_within};

const RECORDS: u64 = 600;
/// Keys of the events: some partitions get much, and some little.
const SITES: u64 = 40;

/// The site of an event.
fn site(number: u64) -> String {
    format!("s{}", number * 7919 / 13 % SITES)
}

/// Gzipped arrays of one to five events; every 50th record is no gzip, every 60th no JSON.
fn records() -> Records {
    let (mut builder, mut number) = (RecordsBuilder::default(), 0);
    for i in 0..RECORDS {
        let events: Vec<String> = (0..=i % 5)
            .map(|_| {
                number += 1;
                let (site, text) = (site(number), "x".repeat(60));
                format!(r#"{{"n":{number},"site":"{site}","text":"{text}"}}"#)
            })
            .collect();
        let text = match i {
            _ if i % 60 == 7 => "{".to_owned(),
            _ => format!("[{}]", events.join(",")),
        };
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = match i {
            _ if i % 50 == 3 => b"no gzip".to_vec(),
            _ => packed.finish().unwrap(),
        };
        builder.push(
            Position::from_u64(i + 1),
            1_767_225_600_000 + i,
            b"k",
            &packed,
        );
    }
    builder.build()
}

/// What becomes of the records: numbers by site of those that are kept, and how many fail.
fn expected() -> (BTreeMap<String, Vec<u64>>, u64, u64) {
    let (mut sites, mut number, mut failed, mut dropped) = (BTreeMap::new(), 0, 0, 0);
    for i in 0..RECORDS {
        let bad = i % 60 == 7 || i % 50 == 3;
        failed += u64::from(bad);
        for _ in 0..=i % 5 {
            number += 1;
            if bad {
                continue;
            }
            if number % 10 == 0 {
                dropped += 1;
                continue;
            }
            sites
                .entry(site(number))
                .or_insert_with(Vec::new)
                .push(number);
        }
    }
    (sites, failed, dropped)
}

fn chain() -> Vec<Arc<dyn Transform>> {
    vec![
        Decompression::stage(Packing::Gzip),
        RecordDeaggregation::stage(SubRecords::Json),
        MetadataExtraction::stage("{site, other: .n}").unwrap(),
        // It gives no keys: those there are must survive it.
        Filter::stage(".n % 10 != 0").unwrap(),
    ]
}

fn lines(compression: Compression) -> Format {
    Format::Records {
        delimiter: Delimiter::Newline,
        compression,
    }
}

fn by_site(part_bytes: u64, max_active: Option<usize>) -> Partitioning {
    Partitioning {
        keys: vec!["site".to_owned()],
        part_bytes,
        max_active,
    }
}

type Delivered = (BTreeMap<String, Bytes>, Totals);

async fn deliver(
    threads: usize,
    transforms: Vec<Arc<dyn Transform>>,
    format: Format,
    partitioning: Partitioning,
    records: Records,
) -> Delivered {
    let sink = MemorySink::default();
    let plan = plan(&sink, transforms, format, partitioning);
    let status = run(threads, plan, records).await;
    let mut objects = sink.0.lock().unwrap().clone();
    for (key, bytes) in &mut objects {
        if !key.starts_with("site=") {
            *bytes = without_time(bytes);
        }
    }
    (objects, status.snapshot().totals)
}

/// An error object without the time of its range, which is this run's.
fn without_time(bytes: &[u8]) -> Bytes {
    const NAME: &str = "\"attemptEndingTimestamp\":";
    let text = std::str::from_utf8(bytes).unwrap();
    let mut parts = text.split(NAME);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(NAME);
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out.into()
}

fn plan(
    sink: &MemorySink,
    transforms: Vec<Arc<dyn Transform>>,
    format: Format,
    partitioning: Partitioning,
) -> Plan {
    Plan {
        version: Digest::of(b"one"),
        read_mode: 0,
        transforms,
        encode: hydrant_encode::build(format).unwrap(),
        sink: Arc::new(sink.clone()),
        error_sink: Arc::new(sink.clone()),
        error_format: Arc::new(FirehoseErrors),
        size_hint_bytes: 60_000,
        partitioning: Some(partitioning),
        micro_batch: MicroBatch {
            records: 23,
            bytes: 1 << 20,
        },
    }
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Objects without those of the error output.
fn data(objects: &BTreeMap<String, Bytes>) -> impl Iterator<Item = (&String, &Bytes)> {
    objects.iter().filter(|(key, _)| key.starts_with("site="))
}

/// The lines of error objects, by code.
fn failures(objects: &BTreeMap<String, Bytes>) -> BTreeMap<String, Vec<Value>> {
    let mut codes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (_, bytes) in objects.iter().filter(|(key, _)| !key.starts_with("site=")) {
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = String::from_utf8_lossy(line);
            let line = line.replace("\"attemptEndingTimestamp\":,", "");
            let line: Value = serde_json::from_str(&line).unwrap();
            let code = line["errorCode"].as_str().unwrap().to_owned();
            codes.entry(code).or_default().push(line);
        }
    }
    codes
}

#[tokio::test]
async fn a_chain_of_processors_gives_the_same_on_one_thread_and_many() {
    let schema = Schema::new(vec![
        ("n".to_owned(), Type::parse("bigint").unwrap()),
        ("site".to_owned(), Type::parse("string").unwrap()),
    ])
    .unwrap();
    let parquet = || Format::Parquet(ParquetSettings::new(schema.clone()));
    for part_bytes in [700, 1 << 20] {
        for format in [
            || lines(Compression::GZIP),
            || lines(Compression::ZSTD),
            || lines(Compression::Zip),
        ] {
            let by = || by_site(part_bytes, None);
            let (one, _) = deliver(1, chain(), format(), by(), records()).await;
            for _ in 0..2 {
                let (many, _) = deliver(4, chain(), format(), by(), records()).await;
                assert!(many == one, "{:?} differs", format());
            }
        }
        let by = || by_site(part_bytes, None);
        let (one, _) = deliver(1, chain(), parquet(), by(), records()).await;
        let (many, _) = deliver(4, chain(), parquet(), by(), records()).await;
        assert!(one == many && one.len() > 40, "{} objects", one.len());
    }
}

#[tokio::test]
async fn every_event_is_in_the_objects_of_its_key_once() {
    let (sites, failed, dropped) = expected();
    let kept: u64 = sites.values().map(|numbers| numbers.len() as u64).sum();
    let (objects, totals) = deliver(
        3,
        chain(),
        lines(Compression::GZIP),
        by_site(700, None),
        records(),
    )
    .await;
    assert_eq!(totals.read, RECORDS);
    assert_eq!(
        (totals.delivered, totals.failed, totals.dropped),
        (kept, failed, dropped)
    );
    assert!(totals.is_balanced());
    let (mut found, mut parts) = (BTreeMap::<String, BTreeSet<u64>>::new(), 0);
    let mut ranges = BTreeSet::new();
    for (key, bytes) in data(&objects) {
        let site = key.split(['=', '/']).nth(1).unwrap();
        let numbers: Vec<u64> = unpacked(bytes)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .inspect(|event| assert_eq!(event["site"], site, "in {key}"))
            .map(|event| event["n"].as_u64().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "{key} is in order");
        parts += 1;
        ranges.insert(key.clone());
        for number in numbers {
            let new = found.entry(site.to_owned()).or_default().insert(number);
            assert!(new, "{number} is delivered twice");
        }
    }
    let expected: BTreeMap<String, BTreeSet<u64>> = sites
        .into_iter()
        .map(|(site, numbers)| (site, numbers.into_iter().collect()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(totals.objects, parts);
    let whole = deliver(
        3,
        chain(),
        lines(Compression::GZIP),
        by_site(1 << 20, None),
        records(),
    )
    .await;
    assert!(
        data(&whole.0).count() < ranges.len(),
        "partitions roll to further parts"
    );
    let codes = failures(&objects);
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, lines)| (code.as_str(), lines.len()))
        .collect();
    assert_eq!(
        codes,
        [
            ("Decompression.Failed", 12),
            ("RecordDeAggregation.InvalidRecord", 10)
        ]
    );
    assert!(
        objects
            .keys()
            .any(|key| key.starts_with("decompression-failed/"))
    );
}

#[tokio::test]
async fn partitions_beyond_the_limit_go_to_the_error_output_whole() {
    let (one, totals) = deliver(
        1,
        chain(),
        lines(Compression::GZIP),
        by_site(1 << 20, Some(5)),
        records(),
    )
    .await;
    let (many, _) = deliver(
        4,
        chain(),
        lines(Compression::GZIP),
        by_site(1 << 20, Some(5)),
        records(),
    )
    .await;
    assert!(one == many);
    assert!(totals.is_balanced());
    assert!(totals.objects <= 5 * totals.ranges, "{totals:?}");
    let codes = failures(&one);
    let over = &codes["DynamicPartitioning.ActivePartitionsLimitExceeded"];
    let delivered: usize = data(&one)
        .map(|(_, bytes)| unpacked(bytes).lines().count())
        .sum();
    assert_eq!(delivered as u64, totals.delivered);
    let (sites, ..) = expected();
    assert_eq!(
        delivered + over.len(),
        sites.values().map(Vec::len).sum::<usize>()
    );
    // Each output of a record is told by its number: none is there twice.
    let places: BTreeSet<String> = over
        .iter()
        .map(|line| format!("{}.{}", line["sequenceNumber"], line["outputIndex"]))
        .collect();
    assert_eq!(places.len(), over.len());
}

fn plain(count: u64) -> Records {
    let mut builder = RecordsBuilder::default();
    for i in 1..=count {
        builder.push(Position::from_u64(i), 1_767_225_600_000, b"k", b"x;y");
    }
    builder.build()
}

#[tokio::test]
async fn keys_are_carried_on_and_replaced_by_name() {
    let stages: Vec<Arc<dyn Transform>> = vec![
        Arc::new(Passing(&[("site", "old"), ("kept", "1"), ("unused", "u")])),
        RecordDeaggregation::stage(SubRecords::Delimited(b";".to_vec())),
        Arc::new(Passing(&[("site", "new")])),
        Arc::new(Passing(&[])),
    ];
    let by = Partitioning {
        keys: vec!["site".to_owned(), "kept".to_owned()],
        ..by_site(1 << 20, None)
    };
    let (objects, totals) = deliver(1, stages, lines(Compression::None), by, plain(3)).await;
    assert_eq!((totals.delivered, totals.added), (6, 3));
    let [(key, bytes)] = &objects.into_iter().collect::<Vec<_>>()[..] else {
        panic!("one object")
    };
    assert!(key.starts_with("site=new/kept=1/1767225600000-"), "{key}");
    assert_eq!(bytes, "x\ny\nx\ny\nx\ny\n");
}

#[tokio::test]
async fn an_output_without_its_key_fails_as_with_firehose() {
    for keys in [&[][..], &[("other", "x")], &[("site", "")]] {
        let stages: Vec<Arc<dyn Transform>> = vec![
            Arc::new(Passing(keys)),
            RecordDeaggregation::stage(SubRecords::Delimited(b";".to_vec())),
        ];
        let by = by_site(1 << 20, None);
        let (objects, totals) = deliver(1, stages, lines(Compression::None), by, plain(2)).await;
        assert_eq!((totals.failed, totals.delivered, totals.added), (4, 0, 2));
        let codes = failures(&objects);
        let lines = &codes["DynamicPartitioning.MetadataExtractionFailed"];
        let outputs: Vec<_> = lines
            .iter()
            .map(|line| line["outputIndex"].as_u64())
            .collect();
        assert_eq!(outputs, [Some(0), Some(1), Some(0), Some(1)]);
        let message = lines[0]["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("partitionKeys values must not be null or empty"),
            "{message}"
        );
        assert_eq!(lines[0]["rawData"], "eDt5");
    }
}

#[tokio::test]
async fn short_memory_seals_a_range_with_all_its_partitions() {
    let (sites, failed, _) = expected();
    let sink = MemorySink::default();
    let by = by_site(1 << 20, None);
    let plan = Plan {
        size_hint_bytes: 1 << 30,
        ..plan(&sink, chain(), lines(Compression::GZIP), by)
    };
    let status = run_within(300_000, 2, plan, records()).await;
    let totals = status.snapshot().totals;
    assert!(totals.ranges > 1, "{totals:?}");
    let kept = sites.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((totals.delivered, totals.failed), (kept, failed));
}

/// What a range with 5,000 open partitions takes: 200,000 records of 500 bytes in turn. Prints it.
async fn measure(format: Format) {
    const KEYS: u64 = 5_000;
    const COUNT: u64 = 200_000;
    let mut builder = RecordsBuilder::default();
    for i in 0..COUNT {
        let (site, text) = (i * 7919 % KEYS, "lorem ipsum ".repeat(36));
        let text = format!(r#"{{"n":{i},"site":"s{site:05}","text":"{text}","a":1,"b":2.5}}"#);
        builder.push(
            Position::from_u64(i + 1),
            1_767_225_600_000,
            b"k",
            text.as_bytes(),
        );
    }
    let records = builder.build();
    let sink = MemorySink::default();
    let chain = vec![MetadataExtraction::stage("{site}").unwrap()];
    let plan = Plan {
        size_hint_bytes: 1 << 30,
        micro_batch: MicroBatch::default(),
        ..plan(&sink, chain, format, by_site(64 << 20, None))
    };
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    let status = run_within(4 << 30, 2, plan, records.clone()).await;
    let totals = status.snapshot().totals;
    let grown = resident("VmHWM:") - before;
    let objects: usize = sink.0.lock().unwrap().values().map(Bytes::len).sum();
    eprintln!(
        "{} objects, {} KiB of records: the process grows by {grown} KiB, of which {} KiB are the objects",
        totals.objects,
        records.data_bytes() >> 10,
        objects >> 10
    );
    assert_eq!((totals.objects, totals.delivered), (KEYS, COUNT));
}

fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "measures: run it alone, with --ignored --nocapture"]
async fn memory_of_5000_partitions_of_gzip() {
    measure(lines(Compression::GZIP)).await;
}

#[tokio::test]
#[ignore = "measures: run it alone, with --ignored --nocapture"]
async fn memory_of_5000_partitions_of_zstd() {
    measure(lines(Compression::ZSTD)).await;
}

#[tokio::test]
#[ignore = "measures: run it alone, with --ignored --nocapture"]
async fn memory_of_5000_partitions_of_parquet() {
    let column = |name: &str, kind: &str| (name.to_owned(), Type::parse(kind).unwrap());
    let columns = vec![
        column("n", "bigint"),
        column("site", "string"),
        column("text", "string"),
        column("a", "int"),
        column("b", "double"),
    ];
    let schema = Schema::new(columns).unwrap();
    measure(Format::Parquet(ParquetSettings::new(schema))).await;
}
