//! Retention: age and readers decide together.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::Budget;
use hydrant_core::stage::{Source, SourceError};
use hydrant_log::stream::{ShardId, Stream, Streams};
use hydrant_source::{Aggregates, EmbeddedSource, StartAt};

use crate::support::{Machine, put_at, shards};

const DAY: Duration = Duration::from_hours(24);

/// Several segments of records in shard 0, and one record before them in shard 1.
async fn filled(machine: &Machine) -> (Streams, Arc<Stream>) {
    let streams = machine.open().await;
    let stream = streams.create("clicks", shards(2)).await.unwrap();
    put_at(&stream, u128::MAX, b"idle").await;
    for _ in 0..40 {
        put_at(&stream, 0, &vec![b'x'; 20_000]).await;
    }
    (streams, stream)
}

async fn retain(stream: &Stream, machine: &Machine) -> u64 {
    use hydrant_core::clock::Clock as _;
    stream.retain(machine.clock.wall_ms()).await.unwrap()
}

#[tokio::test]
async fn without_readers_age_alone_decides() {
    let machine = Machine::new();
    let (_streams, stream) = filled(&machine).await;
    machine.clock.forward(DAY);
    assert_eq!(retain(&stream, &machine).await, 0, "not old enough");
    machine.clock.forward(Duration::from_millis(1));
    assert!(retain(&stream, &machine).await > 0);
    assert!(stream.oldest_lsn() > 1);
}

#[tokio::test]
async fn what_a_reader_has_not_committed_is_kept() {
    let machine = Machine::new();
    let (streams, stream) = filled(&machine).await;
    streams.add_reader("clicks", "lake").await.unwrap();
    machine.clock.forward(DAY * 30);
    assert_eq!(retain(&stream, &machine).await, 0, "nothing is committed");
    let tip = stream.read_blocking(ShardId(0), 1, usize::MAX).unwrap();
    let last = tip.last().unwrap().last_position().unwrap();
    stream.committed("lake", ShardId(0), last);
    assert_eq!(
        retain(&stream, &machine).await,
        0,
        "the other shard has an unread record"
    );
    let idle = stream.read_blocking(ShardId(1), 1, 100).unwrap()[0].position(0);
    stream.committed("lake", ShardId(1), idle);
    assert!(retain(&stream, &machine).await > 0);
}

#[tokio::test]
async fn a_clock_that_jumps_frees_nothing_unread() {
    let machine = Machine::new();
    let (streams, stream) = filled(&machine).await;
    streams.add_reader("clicks", "lake").await.unwrap();
    machine.clock.forward(DAY * 365);
    assert_eq!(retain(&stream, &machine).await, 0, "a year ahead");
    put_at(&stream, 0, b"of the future").await;
    machine.clock.back(DAY * 367);
    assert_eq!(
        retain(&stream, &machine).await,
        0,
        "and back before the start"
    );
    for _ in 0..40 {
        put_at(&stream, 0, &vec![b'y'; 20_000]).await;
    }
    assert_eq!(retain(&stream, &machine).await, 0);
    let blocks = stream.read_blocking(ShardId(0), 1, usize::MAX).unwrap();
    let arrivals: Vec<u64> = blocks.iter().map(|block| block.arrival_ms(0)).collect();
    assert!(arrivals.is_sorted(), "{arrivals:?}");
    let idle = stream.read_blocking(ShardId(1), 1, 100).unwrap()[0].position(0);
    stream.committed("lake", ShardId(1), idle);
    let last = blocks.last().unwrap().last_position().unwrap();
    stream.committed("lake", ShardId(0), last);
    assert_eq!(
        retain(&stream, &machine).await,
        0,
        "read, and not old by this clock"
    );
    machine.clock.forward(DAY * 369);
    assert!(retain(&stream, &machine).await > 0);
}

#[tokio::test]
async fn a_shard_that_is_read_to_its_end_holds_nothing() {
    let machine = Machine::new();
    let (streams, stream) = filled(&machine).await;
    streams.add_reader("clicks", "lake").await.unwrap();
    let idle = stream.read_blocking(ShardId(1), 1, 100).unwrap()[0].position(0);
    stream.committed("lake", ShardId(1), idle);
    let middle = stream.read_blocking(ShardId(0), 30, 1).unwrap()[0].position(0);
    stream.committed("lake", ShardId(0), middle);
    machine.clock.forward(DAY * 2);
    assert!(retain(&stream, &machine).await > 0);
    assert!(
        (2..=31).contains(&stream.oldest_lsn()),
        "{}",
        stream.oldest_lsn()
    );
}

#[tokio::test]
async fn readers_hold_over_restarts_until_they_are_taken_out() {
    let machine = Machine::new();
    {
        let (streams, _) = filled(&machine).await;
        streams.add_reader("clicks", "lake").await.unwrap();
    }
    machine.clock.forward(DAY * 2);
    let streams = machine.open().await;
    let stream = streams.get("clicks").unwrap();
    assert_eq!(
        retain(&stream, &machine).await,
        0,
        "held before it is added again"
    );
    streams.add_reader("clicks", "lake").await.unwrap();
    streams.keep_readers("clicks", &["lake"]).await.unwrap();
    assert_eq!(retain(&stream, &machine).await, 0);
    streams.keep_readers("clicks", &[]).await.unwrap();
    assert!(retain(&stream, &machine).await > 0);
}

#[tokio::test]
async fn a_reader_that_was_away_is_told_what_it_missed() {
    let machine = Machine::new();
    let (streams, stream) = filled(&machine).await;
    let read = stream.read_blocking(ShardId(0), 1, 1).unwrap()[0].position(0);
    machine.clock.forward(DAY * 2);
    assert!(retain(&stream, &machine).await > 0);
    streams.add_reader("clicks", "lake").await.unwrap();
    let (start, keep) = (StartAt::TrimHorizon, Aggregates::KeepAll);
    let source = EmbeddedSource::new(stream.clone(), "lake", start, keep, machine.clock.clone());
    let lane = ShardId(0).lane();
    let account = Budget::new(1 << 30).account("test");
    let missed = source
        .read(&lane, read, 1 << 20, Duration::ZERO, &account)
        .await
        .err()
        .unwrap();
    let SourceError::Trimmed { after, through } = missed else {
        panic!("{missed}")
    };
    assert_eq!(after, read);
    assert_eq!(
        stream.index_of(ShardId(0), through).unwrap() + 1,
        stream.oldest_lsn()
    );
    let from_horizon = source.start(&lane).await.unwrap();
    let mut firsts = Vec::new();
    for after in [from_horizon, through] {
        let found = source.read(&lane, after, 1 << 30, Duration::ZERO, &account);
        firsts.push(found.await.unwrap().blocks[0].records.position(0));
    }
    assert_eq!(firsts[0], firsts[1], "all that is left comes after it");
    assert!(firsts[0] > through);
}

#[tokio::test]
async fn a_shard_of_which_all_was_freed_is_waited_on() {
    let machine = Machine::new();
    let (streams, stream) = filled(&machine).await;
    machine.clock.forward(DAY * 2);
    assert!(retain(&stream, &machine).await > 0);
    let idle = ShardId(1);
    assert!(!stream.has(idle, 1) && stream.has(ShardId(0), 1));
    assert_eq!(stream.behind_ms(idle, 1, 0, 1_700_000_000_000), 0);
    streams.add_reader("clicks", "lake").await.unwrap();
    let (start, keep) = (StartAt::TrimHorizon, Aggregates::KeepAll);
    let source = EmbeddedSource::new(stream.clone(), "lake", start, keep, machine.clock.clone());
    let account = Budget::new(1 << 30).account("test");
    let after = source.start(&idle.lane()).await.unwrap();
    let lane = idle.lane();
    let hour = Duration::from_hours(1);
    let (found, _) = tokio::join!(
        source.read(&lane, after, 1 << 20, hour, &account),
        put_at(&stream, u128::MAX, b"again"),
    );
    assert_eq!(found.unwrap().blocks[0].records.data(0), b"again");
}
