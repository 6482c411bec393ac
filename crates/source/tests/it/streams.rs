//! Streams: put, read, start positions, restart, deletion, limits.

use std::time::Duration;

use hydrant_core::Position;
use hydrant_log::stream::{Parts, PutEntry, ShardId, Start, Stream, StreamError, StreamOptions};

use crate::support::{Machine, START_MS, Spoilt, put, put_at, shards};

const LOW: u128 = 0;
const HIGH: u128 = u128::MAX;

/// `(position, data)` of all records of a shard after a position.
fn read(stream: &Stream, shard: u32, after: Position) -> Vec<(Position, String)> {
    let from = stream.index_of(ShardId(shard), after).unwrap() + 1;
    let blocks = stream.read_blocking(ShardId(shard), from, 1 << 20).unwrap();
    let records = blocks.iter().flat_map(|block| {
        (0..block.len()).map(|i| {
            let data = String::from_utf8_lossy(block.data(i)).into_owned();
            (block.position(i), data)
        })
    });
    records.collect()
}

fn data(stream: &Stream, shard: u32, start: Start) -> Vec<String> {
    let after = stream.start(ShardId(shard), start).unwrap();
    read(stream, shard, after)
        .into_iter()
        .map(|(_, data)| data)
        .collect()
}

#[tokio::test]
async fn records_go_to_their_shard_and_come_back_at_their_numbers() {
    let machine = Machine::new();
    let streams = machine.open().await;
    let stream = streams.create("clicks", shards(2)).await.unwrap();
    let entry = |data, hash| PutEntry {
        data,
        partition_key: "k",
        explicit_hash_key: hash,
    };
    let placed = stream
        .put(&[
            entry(b"a", Some(HIGH)),
            entry(b"b", Some(LOW)),
            entry(b"c", Some(HIGH)),
            entry(b"d", None),
            entry(b"e", Some(LOW)),
        ])
        .await
        .unwrap();
    let to: Vec<u32> = placed.iter().map(|placed| placed.shard.0).collect();
    let by_key = u32::from(hydrant_log::stream::hash_key(b"k") >= 1 << 127);
    assert_eq!(to, [1, 0, 1, by_key, 0]);
    put_at(&stream, LOW, b"f").await;

    for shard in 0..2 {
        let found = read(&stream, shard, Position::START);
        assert!(
            found.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "numbers rise"
        );
        for (placed, data) in placed.iter().zip(["a", "b", "c", "d", "e"]) {
            let there = found.contains(&(placed.position, data.to_owned()));
            assert_eq!(there, placed.shard.0 == shard);
        }
        let parts = Parts::of(&found[0].0).unwrap();
        assert_eq!((parts.shard, parts.created_s), (shard, START_MS / 1000));
    }
    let block = &stream.read_blocking(ShardId(1), 1, 1 << 20).unwrap()[0];
    assert_eq!((block.key(0), block.arrival_ms(0)), (&b"k"[..], START_MS));
}

#[tokio::test]
async fn every_start() {
    let machine = Machine::new();
    let stream = machine
        .open()
        .await
        .create("clicks", shards(2))
        .await
        .unwrap();
    let first = put_at(&stream, LOW, b"one").await.position;
    machine.clock.forward(Duration::from_secs(10));
    put_at(&stream, HIGH, b"elsewhere").await;
    let second = put_at(&stream, LOW, b"two").await.position;
    assert_eq!(data(&stream, 0, Start::TrimHorizon), ["one", "two"]);
    assert_eq!(data(&stream, 0, Start::AtSequence(first)), ["one", "two"]);
    assert_eq!(data(&stream, 0, Start::AfterSequence(first)), ["two"]);
    assert_eq!(data(&stream, 0, Start::AfterSequence(second)), [""; 0]);
    let shard = stream.shard(ShardId(0)).unwrap();
    assert_eq!(
        data(&stream, 0, Start::AtSequence(shard.starting())),
        ["one", "two"]
    );
    assert_eq!(
        data(&stream, 0, Start::AtTimestamp(START_MS)),
        ["one", "two"]
    );
    assert_eq!(data(&stream, 0, Start::AtTimestamp(START_MS + 1)), ["two"]);

    // Resolved at the tip, they begin with what comes later.
    let latest = stream.start(ShardId(0), Start::Latest).unwrap();
    let at_tip = stream
        .start(ShardId(0), Start::AtTimestamp(START_MS + 10_001))
        .unwrap();
    put_at(&stream, LOW, b"three").await;
    for after in [latest, at_tip] {
        assert!(after > first);
        let found = read(&stream, 0, after);
        assert!(found.len() == 1 && found[0].1 == "three" && found[0].0 > after);
    }
    let foreign = stream.index_of(ShardId(1), first);
    assert!(matches!(foreign, Err(StreamError::Foreign { .. })));
}

#[tokio::test]
async fn how_far_behind() {
    let machine = Machine::new();
    let stream = machine
        .open()
        .await
        .create("clicks", shards(1))
        .await
        .unwrap();
    put(&stream, "k", b"one").await;
    machine.clock.forward(Duration::from_secs(5));
    put(&stream, "k", b"two").await;
    let now = START_MS + 5_000;
    assert_eq!(stream.behind_ms(ShardId(0), 2, START_MS, now), 5_000);
    assert_eq!(stream.behind_ms(ShardId(0), 3, now, now), 0, "at the tip");
}

#[tokio::test]
async fn a_restart_keeps_streams_records_and_numbers() {
    let machine = Machine::new();
    let (identity, last) = {
        let streams = machine.open().await;
        let stream = streams.create("clicks", shards(2)).await.unwrap();
        streams.create("other", shards(1)).await.unwrap();
        let last = put_at(&stream, LOW, b"before").await.position;
        (stream.identity().to_owned(), last)
    };
    machine.clock.forward(Duration::from_secs(100));
    let streams = machine.open().await;
    let names: Vec<String> = streams
        .list()
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    assert_eq!(names, ["clicks", "other"]);
    let stream = streams.get("clicks").unwrap();
    assert_eq!(
        (stream.identity(), stream.created_ms()),
        (identity.as_str(), START_MS)
    );
    let next = put_at(&stream, LOW, b"after").await.position;
    assert!(next > last);
    assert_eq!(
        read(&stream, 0, Position::START),
        [(last, "before".to_owned()), (next, "after".to_owned())]
    );
}

#[tokio::test]
async fn a_stream_made_again_is_another_one() {
    let machine = Machine::new();
    let streams = machine.open().await;
    let old = streams.create("clicks", shards(1)).await.unwrap();
    let position = put(&old, "k", b"gone").await.position;
    assert!(matches!(
        streams.create("clicks", shards(1)).await,
        Err(StreamError::Exists { name }) if name == "clicks"
    ));
    streams.delete("clicks").await.unwrap();
    assert!(streams.get("clicks").is_none() && old.is_deleted());
    assert!(matches!(
        streams.delete("clicks").await,
        Err(StreamError::NotFound { .. })
    ));
    let entry = PutEntry {
        data: b"x",
        partition_key: "k",
        explicit_hash_key: None,
    };
    assert!(matches!(
        old.put(&[entry]).await,
        Err(StreamError::NotFound { .. })
    ));
    let late = old.read_blocking(ShardId(0), 1, 100);
    assert!(matches!(late, Err(StreamError::NotFound { .. })));

    // The clock stands still, and yet the two are told apart.
    let new = streams.create("clicks", shards(1)).await.unwrap();
    assert_ne!(new.identity(), old.identity());
    let foreign = new.index_of(ShardId(0), position);
    assert!(matches!(foreign, Err(StreamError::Foreign { .. })));
    assert!(read(&new, 0, Position::START).is_empty());
    let files = |stream: &Stream| {
        let dir = machine
            .dir
            .path()
            .join(stream.identity().rsplit_once('-').unwrap().0);
        std::fs::read_dir(dir).unwrap().count()
    };
    assert_eq!(files(&old), 0);
    assert!(files(&new) > 0);
    drop((streams, new));
    assert_eq!(
        machine.open().await.list().len(),
        1,
        "the deletion is remembered"
    );
}

#[tokio::test]
async fn a_deletion_that_is_cut_short_leaves_no_stream_that_takes_puts() {
    let machine = Machine::new();
    let streams = machine.open().await;
    let stream = streams.create("clicks", shards(1)).await.unwrap();
    *machine.catalogue.spoilt.lock().unwrap() = Some(Spoilt::Unanswered);
    let cut = tokio::select! {
        biased;
        _ = streams.delete("clicks") => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(cut && streams.get("clicks").is_none());
    let entry = PutEntry {
        data: b"x",
        partition_key: "k",
        explicit_hash_key: None,
    };
    assert!(matches!(
        stream.put(&[entry]).await,
        Err(StreamError::NotFound { .. })
    ));
    drop((streams, stream));
    assert!(machine.open().await.list().is_empty());
}

#[tokio::test]
async fn a_deletion_that_is_refused_leaves_the_stream() {
    let machine = Machine::new();
    let streams = machine.open().await;
    let stream = streams.create("clicks", shards(1)).await.unwrap();
    *machine.catalogue.spoilt.lock().unwrap() = Some(Spoilt::Refused);
    assert!(matches!(
        streams.delete("clicks").await,
        Err(StreamError::Log(hydrant_log::Error::LowSpace))
    ));
    put(&stream, "k", b"kept").await;
    let kept = streams.get("clicks").unwrap();
    assert_eq!(read(&kept, 0, Position::START).len(), 1);
    streams.delete("clicks").await.unwrap();
    assert!(stream.is_deleted());
}

#[tokio::test]
async fn configured_streams_are_made_once_and_adjusted() {
    let machine = Machine::new();
    let week = StreamOptions {
        retention: Duration::from_hours(7 * 24),
        ..shards(2)
    };
    {
        let streams = machine.open().await;
        let made = streams.ensure("clicks", shards(2)).await.unwrap();
        let found = streams.ensure("clicks", week).await.unwrap();
        assert_eq!(made.identity(), found.identity());
        let error = streams
            .ensure("clicks", shards(3))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("has 2 shards, not 3"), "{error}");
    }
    let stream = machine.open().await.get("clicks").unwrap();
    assert_eq!(stream.retention_ms(), 7 * 86_400_000);
}

#[tokio::test]
async fn limits_are_named() {
    let machine = Machine::new();
    let streams = machine.open().await;
    for (name, options) in [
        ("", shards(1)),
        ("no spaces", shards(1)),
        ("x/../y", shards(1)),
        ("n".repeat(129).as_str(), shards(1)),
        ("none", shards(0)),
        ("many", shards(1001)),
        (
            "large",
            StreamOptions {
                max_record_bytes: (10 << 20) + 1,
                ..shards(1)
            },
        ),
    ] {
        let made = streams.create(name, options).await;
        assert!(matches!(made, Err(StreamError::Invalid(_))), "{name}");
    }
    let stream = streams.create("clicks", shards(1)).await.unwrap();
    let (mib, key) = (vec![0; 1 << 20], "k".repeat(256));
    let (wide, too_wide) = ("é".repeat(256), "é".repeat(257));
    let entry = |data, partition_key| PutEntry {
        data,
        partition_key,
        explicit_hash_key: None,
    };
    for (records, said) in [
        (vec![], "0 records"),
        (vec![entry(b"x", "k"); 501], "501 records"),
        (vec![entry(b"x", "")], "0 characters"),
        (vec![entry(b"x", &too_wide)], "257 characters"),
        (vec![entry(&mib, "k")], "1048577 bytes"),
        (vec![entry(&mib[1..], "k"); 11], "limit 10485760"),
    ] {
        let error = stream.put(&records).await.err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
    stream
        .put(&[entry(&mib[256..], &key), entry(b"", &wide)])
        .await
        .unwrap();
    stream.put(&vec![entry(&mib[1..], "k"); 10]).await.unwrap();
    stream.put(&vec![entry(b"x", "k"); 500]).await.unwrap();
}
