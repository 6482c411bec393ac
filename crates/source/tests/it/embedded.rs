//! The source on an embedded stream: reading on, waiting, aggregates, the budget.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::{Account, Budget};
use hydrant_core::stage::{Read, Source, SourceError};
use hydrant_core::{Lane, Position};
use hydrant_log::stream::{ShardId, Stream, Streams, hash_key};
use hydrant_source::{Aggregates, EmbeddedSource, StartAt};
use md5::{Digest as _, Md5};

use crate::support::{Machine, put, put_at, shards};

struct Bench {
    machine: Machine,
    streams: Streams,
    stream: Arc<Stream>,
    budget: Budget,
    account: Account,
}

impl Bench {
    async fn new() -> Self {
        let machine = Machine::new();
        let streams = machine.open().await;
        let stream = streams.create("clicks", shards(2)).await.unwrap();
        streams.add_reader("clicks", "lake").await.unwrap();
        let budget = Budget::new(64 << 20);
        let account = budget.account("lake");
        Self {
            machine,
            streams,
            stream,
            budget,
            account,
        }
    }

    fn source(&self, start: StartAt, aggregates: Aggregates) -> EmbeddedSource {
        let clock = self.machine.clock.clone();
        EmbeddedSource::new(self.stream.clone(), "lake", start, aggregates, clock)
    }

    async fn read(&self, source: &EmbeddedSource, after: Position, most: usize) -> Read {
        let lane = ShardId(0).lane();
        source
            .read(&lane, after, most, Duration::ZERO, &self.account)
            .await
            .unwrap()
    }
}

/// `data` and sub-sequence of all records of a read.
fn shown(read: &Read) -> Vec<(String, u64)> {
    let records = read.blocks.iter().flat_map(|block| {
        let records = &block.records;
        (0..records.len()).map(|i| {
            let data = String::from_utf8_lossy(records.data(i)).into_owned();
            (data, records.position(i).sub_sequence())
        })
    });
    records.collect()
}

fn last(read: &Read) -> Position {
    read.blocks.last().unwrap().records.last_position().unwrap()
}

/// An aggregate of records with one-letter keys and short data.
fn aggregate(records: &[(&str, &str)]) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).unwrap();
    let mut message = Vec::new();
    for (key, _) in records {
        message.extend([0x0a, short(key)]);
        message.extend(key.as_bytes());
    }
    for (i, (_, data)) in (0_u8..).zip(records) {
        message.extend([0x1a, 4 + short(data), 0x08, i, 0x1a, short(data)]);
        message.extend(data.as_bytes());
    }
    [
        &[0xf3, 0x89, 0x9a, 0xc2][..],
        &message,
        &Md5::digest(&message),
    ]
    .concat()
}

fn expected(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter()
        .map(|(data, sub)| ((*data).to_owned(), *sub))
        .collect()
}

#[tokio::test]
async fn reads_on_from_position_to_position() {
    let bench = Bench::new().await;
    let source = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
    assert_eq!(source.identity(), bench.stream.identity());
    let lanes = source.lanes().await.unwrap();
    assert_eq!(lanes.len(), 2);
    assert_eq!(lanes[1].lane, Lane::new("shardId-000000000001"));
    let mut all = Vec::new();
    for i in 0..300 {
        let data = format!("{i}-{}", "x".repeat(if i % 50 == 0 { 70_000 } else { 100 }));
        put_at(&bench.stream, 0, data.as_bytes()).await;
        put_at(&bench.stream, u128::MAX, b"other shard").await;
        all.push(data);
    }
    for most in [1, 10_000, 1 << 30] {
        let mut after = source.start(&lanes[0].lane).await.unwrap();
        let (mut found, mut blocks) = (Vec::new(), 0);
        loop {
            let read = bench.read(&source, after, most).await;
            if read.blocks.is_empty() {
                break;
            }
            blocks += read.blocks.len();
            let first = read.blocks[0].records.position(0);
            assert!(first > after);
            after = last(&read);
            found.extend(shown(&read).into_iter().map(|(data, _)| data));
        }
        assert!(found == all, "reading {most} bytes at a time");
        assert!(
            most < 1 << 30 || blocks < 20,
            "small frames are joined: {blocks}"
        );
    }
}

#[tokio::test]
async fn waits_for_the_first_record_and_no_longer() {
    let bench = Bench::new().await;
    let source = bench.source(StartAt::Latest, Aggregates::KeepAll);
    put_at(&bench.stream, 0, b"before").await;
    let lane = ShardId(0).lane();
    let after = source.start(&lane).await.unwrap();
    assert!(bench.read(&source, after, 100).await.blocks.is_empty());
    let hour = Duration::from_hours(1);
    let (read, _) = tokio::join!(
        source.read(&lane, after, 100, hour, &bench.account),
        put_at(&bench.stream, 0, b"after"),
    );
    assert_eq!(shown(&read.unwrap()), expected(&[("after", 0)]));
}

#[tokio::test]
async fn resumes_inside_an_aggregate() {
    let bench = Bench::new().await;
    put_at(&bench.stream, 0, b"plain").await;
    put_at(
        &bench.stream,
        0,
        &aggregate(&[("a", "one"), ("b", "two"), ("c", "three")]),
    )
    .await;
    put_at(&bench.stream, 0, &aggregate(&[("a", "single")])).await;
    put_at(&bench.stream, 0, b"end").await;
    let all = expected(&[
        ("plain", 0),
        ("one", 0),
        ("two", 1),
        ("three", 2),
        ("single", 0),
        ("end", 0),
    ]);
    let source = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
    let whole = bench.read(&source, Position::START, 1 << 20).await;
    assert_eq!(shown(&whole), all);
    let positions: Vec<Position> = whole
        .blocks
        .iter()
        .flat_map(|block| (0..block.records.len()).map(|i| block.records.position(i)))
        .collect();
    for (i, position) in positions.iter().enumerate() {
        // A source that knows nothing, as after a restart.
        let fresh = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
        assert_eq!(
            shown(&bench.read(&fresh, *position, 1 << 20).await),
            all[i + 1..]
        );
        // One that ended its last read elsewhere.
        assert_eq!(
            shown(&bench.read(&source, *position, 1 << 20).await),
            all[i + 1..]
        );
    }
    // However little is asked for, an aggregate comes whole.
    let one = bench.read(&source, positions[0], 1).await;
    assert!(shown(&one).starts_with(&all[1..4]));
}

#[tokio::test]
async fn strict_mode_discards_strays_and_goes_on() {
    let bench = Bench::new().await;
    let (low, high) = ("a", "b");
    assert!(hash_key(low.as_bytes()) < 1 << 127 && hash_key(high.as_bytes()) >= 1 << 127);
    let stray = aggregate(&[(low, "one"), (high, "two")]);
    put_at(&bench.stream, 0, &stray).await;
    let strict = bench.source(StartAt::TrimHorizon, Aggregates::StrictKcl);
    assert!(
        bench
            .read(&strict, Position::START, 1 << 20)
            .await
            .blocks
            .is_empty()
    );
    put_at(&bench.stream, 0, &aggregate(&[(low, "kept")])).await;
    let read = bench.read(&strict, Position::START, 1 << 20).await;
    assert_eq!(shown(&read), expected(&[("kept", 0)]));
    let keep = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
    let kept = bench.read(&keep, Position::START, 1 << 20).await;
    assert_eq!(
        shown(&kept),
        expected(&[("one", 0), ("two", 1), ("kept", 0)])
    );
    let pass = bench.source(StartAt::TrimHorizon, Aggregates::Pass);
    let passed = bench.read(&pass, Position::START, 1 << 20).await;
    assert_eq!(passed.blocks[0].records.data(0), stray);
}

#[tokio::test]
async fn what_strict_mode_discards_at_the_tail_is_not_kept_for_ever() {
    let bench = Bench::new().await;
    let stray = aggregate(&[("a", "one"), ("b", "two")]);
    let lane = ShardId(0).lane();
    let freed = async || {
        for _ in 0..40 {
            put_at(&bench.stream, u128::MAX, &vec![b'x'; 20_000]).await;
        }
        let tip = bench.stream.read_blocking(ShardId(1), 1, usize::MAX);
        let tip = tip.unwrap().last().unwrap().last_position().unwrap();
        bench.stream.committed("lake", ShardId(1), tip);
        let two_days_ms = 2 * 86_400_000;
        let now_ms = crate::support::START_MS + two_days_ms;
        bench.stream.retain(now_ms).await.unwrap() > 0
    };
    let strict = bench.source(StartAt::TrimHorizon, Aggregates::StrictKcl);
    strict.committed(&lane, Position::START);
    put_at(&bench.stream, 0, &stray).await;
    assert!(!freed().await, "it is not read yet");
    let read = bench.read(&strict, Position::START, 1 << 20).await;
    assert!(read.blocks.is_empty());
    assert!(freed().await, "discarded behind the committed position");

    put_at(&bench.stream, 0, &aggregate(&[("a", "kept")])).await;
    put_at(&bench.stream, 0, &stray).await;
    let read = bench.read(&strict, Position::START, 1 << 20).await;
    assert_eq!(shown(&read), expected(&[("kept", 0)]));
    let kept_from = bench.stream.index_of(ShardId(0), last(&read)).unwrap();
    freed().await;
    assert!(
        bench.stream.oldest_lsn() <= kept_from,
        "it is not committed yet"
    );
    // As after a restart that finds a range open of another mode.
    let strict = bench.source(StartAt::TrimHorizon, Aggregates::StrictKcl);
    let redo = strict.in_mode(Aggregates::KeepAll.mode()).unwrap();
    redo.committed(&lane, last(&read));
    assert!(
        bench
            .read(&strict, last(&read), 1 << 20)
            .await
            .blocks
            .is_empty()
    );
    assert!(freed().await && bench.stream.oldest_lsn() > kept_from + 1);
}

#[tokio::test]
async fn bytes_are_taken_before_reading_and_held_as_long_as_the_blocks() {
    let bench = Bench::new().await;
    let source = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
    for _ in 0..3 {
        put_at(&bench.stream, 0, &vec![b'x'; 100_000]).await;
    }
    let held = bench.budget.account("other").take_now(64 << 20);
    let lane = ShardId(0).lane();
    let mut read = Box::pin(source.read(
        &lane,
        Position::START,
        1 << 20,
        Duration::ZERO,
        &bench.account,
    ));
    let waiting = tokio::select! {
        biased;
        _ = &mut read => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(
        waiting && bench.account.held() == 0,
        "nothing is read while the budget is full"
    );
    drop(held);
    let read = read.await.unwrap();
    let blocks: usize = read
        .blocks
        .iter()
        .map(|block| block.records.held_bytes())
        .sum();
    let permits: usize = read.blocks.iter().map(|block| block.permit.bytes()).sum();
    assert!(read.blocks.len() == 3 && blocks > 300_000);
    assert_eq!((bench.account.held(), permits), (blocks, blocks));
    drop(read);
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let bench = Bench::new().await;
    let source = bench.source(StartAt::TrimHorizon, Aggregates::KeepAll);
    for lane in ["shardId-000000000002", "nonsense"] {
        let error = source.start(&Lane::new(lane)).await.err().unwrap();
        assert!(
            matches!(&error, SourceError::Broken(text) if text.contains(lane)),
            "{error}"
        );
    }
    let position = put(&bench.stream, "k", b"x").await.position;
    bench.streams.delete("clicks").await.unwrap();
    let lane = ShardId(0).lane();
    let gone = source
        .read(&lane, Position::START, 1, Duration::ZERO, &bench.account)
        .await;
    assert!(matches!(gone.err().unwrap(), SourceError::Broken(_)));
    let foreign = Position::from_u64(7);
    let foreign = source
        .read(&lane, foreign, 1, Duration::ZERO, &bench.account)
        .await;
    assert!(matches!(foreign.err().unwrap(), SourceError::Broken(_)));
    source.committed(&lane, position);
}
