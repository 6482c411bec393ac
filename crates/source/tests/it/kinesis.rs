//! The source on a remote stream, against the fake: what passes is tried again inside a read, what
//! does not is said, and nothing is skipped or comes twice.

#![expect(
    clippy::disallowed_methods,
    reason = "the fast clock is made of the real one"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hydrant_aws::{AwsSettings, Credentials, RefusedKind};
use hydrant_core::budget::{Account, Budget};
use hydrant_core::stage::{Read, Source as _, SourceError};
use hydrant_core::state::{LaneState, LaneStore, StateError, StateStore};
use hydrant_core::{BoxFuture, Lane, LaneKey, Position};
use hydrant_source::kinesis::Reader;
use hydrant_source::{Aggregates, KinesisClient, KinesisSettings, KinesisSource, Pace, StartAt};
use hydrant_testkit::clock::FastClock;
use hydrant_testkit::sim::SimRng;

use crate::fake_kinesis::{FakeKinesis, Fault};
use crate::support::{Inline, START_MS};

/// How much faster than the real one the clock of these tests runs.
const SPEED: u32 = 50;
/// Longest wait of a read, by that clock.
const WAIT: Duration = Duration::from_mins(2);
const BYTES: usize = 1 << 20;

#[derive(Clone, Default)]
struct MemoryState(Arc<Mutex<BTreeMap<LaneKey, LaneState>>>);

struct MemoryLane(MemoryState, LaneKey, Option<LaneState>);

impl StateStore for MemoryState {
    fn open(&self, key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>> {
        let current = self.0.lock().unwrap().get(&key).cloned();
        let lane: Box<dyn LaneStore> = Box::new(MemoryLane(self.clone(), key, current));
        Box::pin(async { Ok(lane) })
    }
}

impl LaneStore for MemoryLane {
    fn current(&self) -> Option<&LaneState> {
        self.2.as_ref()
    }

    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>> {
        self.2 = Some(next.clone());
        self.0.0.lock().unwrap().insert(self.1.clone(), next);
        Box::pin(async { Ok(()) })
    }
}

struct World {
    fake: FakeKinesis,
    state: MemoryState,
    pace: Pace,
    account: Account,
}

impl World {
    async fn new() -> Self {
        Self {
            fake: FakeKinesis::start().await,
            state: MemoryState::default(),
            pace: Pace::default(),
            account: Budget::new(64 << 20).account("d"),
        }
    }

    async fn client(&self, wall_ms: u64) -> KinesisClient {
        let settings = KinesisSettings {
            stream: "s".to_owned(),
            aws: AwsSettings {
                region: Some("us-east-1".to_owned()),
                endpoint: Some(self.fake.endpoint.clone()),
                credentials: Credentials::Static {
                    access_key_id: "id".to_owned(),
                    secret_access_key: "key".to_owned(),
                    session_token: None,
                },
                role_arn: None,
            },
        };
        let clock = Arc::new(FastClock::new(SPEED, wall_ms));
        let rng = Arc::new(SimRng::new(7));
        KinesisClient::new(settings, clock, rng).await.unwrap()
    }

    async fn open(&self, start: StartAt, wall_ms: u64) -> (KinesisSource, KinesisClient) {
        let client = self.client(wall_ms).await;
        let reader = Reader {
            delivery_stream: "d".into(),
            start,
            aggregates: Aggregates::KeepAll,
            poll: Duration::from_secs(1),
            pace: self.pace.clone(),
            cpu: Arc::new(Inline),
        };
        let source = KinesisSource::open(client.clone(), reader, &self.state);
        (source.await.unwrap(), client)
    }

    async fn source(&self) -> KinesisSource {
        let source = self.open(StartAt::TrimHorizon, START_MS).await.0;
        source.lanes().await.unwrap();
        source
    }

    async fn read(
        &self,
        source: &KinesisSource,
        lane: &str,
        after: Position,
    ) -> Result<Read, SourceError> {
        let lane = Lane::new(lane);
        source.read(&lane, after, BYTES, WAIT, &self.account).await
    }

    /// The data of a shard from a position on, until `count` records have come or it ended.
    async fn read_all(
        &self,
        source: &KinesisSource,
        lane: &str,
        count: usize,
    ) -> (Vec<String>, bool) {
        let lane_name = Lane::new(lane);
        let mut after = source.start(&lane_name).await.unwrap();
        let mut got = Vec::new();
        while got.len() < count {
            let read = self.read(source, lane, after).await.unwrap();
            for block in &read.blocks {
                let records = &block.records;
                let text = |i| String::from_utf8(records.data(i).to_vec()).unwrap();
                got.extend((0..records.len()).map(text));
                after = records.last_position().unwrap();
            }
            if read.ended {
                return (got, true);
            }
            assert!(!read.blocks.is_empty(), "{got:?} and no more");
        }
        (got, false)
    }
}

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn a_shard_is_read_to_its_end_and_its_children_name_it() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    world.fake.shard("shardId-1", &["shardId-0"], &["f"]);
    world
        .fake
        .shard("shardId-2", &["shardId-0", "shardId-1"], &[]);
    world
        .fake
        .state()
        .shards
        .get_mut("shardId-0")
        .unwrap()
        .closed = true;
    let source = world.source().await;
    let lanes = source.lanes().await.unwrap();
    let parents: Vec<usize> = lanes.iter().map(|lane| lane.parents.len()).collect();
    assert_eq!(parents, [0, 1, 2]);
    let (got, ended) = world.read_all(&source, "shardId-0", 6).await;
    assert!(ended);
    assert_eq!(got, FIVE);
    assert_eq!(world.read_all(&source, "shardId-1", 1).await.0, ["f"]);
    assert_eq!(world.fake.seen("GetShardIterator").len(), 2, "one each");
}

#[tokio::test]
async fn what_passes_is_tried_again_inside_the_read() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    let source = world.source().await;
    let throttled = Fault::Error(400, "ProvisionedThroughputExceededException");
    world
        .fake
        .fail("GetShardIterator", &[throttled, Fault::Reset]);
    let faults = [
        throttled,
        Fault::Error(400, "ExpiredIteratorException"),
        Fault::Error(500, "InternalFailure"),
        Fault::Reset,
        Fault::Error(503, "ServiceUnavailable"),
        Fault::Torn,
    ];
    world.fake.fail("GetRecords", &faults);
    assert_eq!(world.read_all(&source, "shardId-0", 5).await.0, FIVE);
    // Expired in the middle: the next iterator follows what was read.
    let after = Position::from_u64(3);
    world.fake.fail(
        "GetRecords",
        &[Fault::Error(400, "ExpiredIteratorException")],
    );
    let read = world.read(&source, "shardId-0", after).await.unwrap();
    assert_eq!(read.blocks[0].records.data(0), b"d");
    let last = world.fake.seen("GetShardIterator").pop().unwrap();
    assert_eq!(last["ShardIteratorType"], "AFTER_SEQUENCE_NUMBER");
    assert_eq!(last["StartingSequenceNumber"], "3");
}

#[tokio::test]
async fn a_server_that_speaks_no_cbor_is_asked_in_json() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    world.fake.state().cbor = false;
    let source = world.source().await;
    assert_eq!(world.read_all(&source, "shardId-0", 5).await.0, FIVE);
    let (cbor, json) = ("application/x-amz-cbor-1.1", "application/x-amz-json-1.1");
    assert_eq!(world.read_all(&source, "shardId-0", 5).await.0, FIVE);
    let spoken = world.fake.state().spoken.clone();
    assert_eq!(spoken, [cbor, json, cbor, json, json, json]);
}

#[tokio::test]
async fn cbor_that_cannot_be_read_is_asked_for_twice() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    let source = world.source().await;
    world.fake.fail("GetRecords", &[Fault::Torn, Fault::Torn]);
    assert_eq!(world.read_all(&source, "shardId-0", 5).await.0, FIVE);
    let (cbor, json) = ("application/x-amz-cbor-1.1", "application/x-amz-json-1.1");
    let spoken = world.fake.state().spoken.clone();
    assert_eq!(spoken, [cbor, cbor, json, json]);
}

#[tokio::test]
async fn a_fault_of_a_moment_is_not_taken_for_no_cbor() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    let source = world.source().await;
    // Behind a load balancer: an answer without a type.
    let faults = [Fault::Error(502, ""), Fault::Error(502, ""), Fault::Reset];
    world.fake.fail("GetRecords", &faults);
    assert_eq!(world.read_all(&source, "shardId-0", 5).await.0, FIVE);
    let spoken = world.fake.state().spoken.clone();
    assert_eq!(
        spoken.last().unwrap(),
        "application/x-amz-cbor-1.1",
        "{spoken:?}"
    );
}

#[tokio::test]
async fn an_answer_that_stops_midway_is_given_up_before_the_call_is() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    let (source, client) = world.open(StartAt::TrimHorizon, START_MS).await;
    source.lanes().await.unwrap();
    world.fake.fail("GetRecords", &[Fault::Half; 2]);
    // While the second is waited for, what the first came to can be seen.
    let error = async {
        loop {
            match client.status().snapshot().last_error {
                Some(error) => return error,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let (read, error) = tokio::join!(world.read_all(&source, "shardId-0", 5), error);
    assert_eq!(read.0, FIVE);
    assert!(error.contains("no progress for 15 s"), "{error}");
    // That is no sign of a server that has no CBOR.
    let spoken = world.fake.state().spoken.clone();
    assert_eq!(spoken, vec!["application/x-amz-cbor-1.1"; 4]);
}

#[tokio::test]
async fn refused_permission_counts_and_passes_once_it_is_given() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let (source, client) = world.open(StartAt::TrimHorizon, START_MS).await;
    source.lanes().await.unwrap();
    world.fake.fail(
        "GetRecords",
        &[Fault::Error(400, "AccessDeniedException"); 2],
    );
    assert_eq!(world.read_all(&source, "shardId-0", 1).await.0, ["a"]);
    let status = client.status().snapshot();
    assert_eq!((status.auth_failures, status.last_error), (2, None));
}

#[tokio::test]
async fn a_stream_made_again_is_another_one() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let source = world.source().await;
    assert_eq!(world.read_all(&source, "shardId-0", 1).await.0, ["a"]);
    world.fake.state().created += 100.0;
    world.fake.fail(
        "GetRecords",
        &[Fault::Error(400, "ResourceNotFoundException")],
    );
    let read = world
        .read(&source, "shardId-0", Position::from_u64(1))
        .await;
    // What was read before must be delivered: an error would give it up.
    let read = read.unwrap();
    assert!(read.blocks.is_empty() && !read.ended && source.is_deleted());
    assert!(matches!(source.lanes().await, Err(SourceError::Broken(_))));
    let again = world.source().await;
    assert_ne!(again.identity(), source.identity());
}

#[tokio::test]
async fn a_shard_that_is_gone_has_ended() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let source = world.source().await;
    world.fake.state().shards.clear();
    let read = world
        .read(&source, "shardId-0", Position::START)
        .await
        .unwrap();
    assert!(read.ended && read.blocks.is_empty());
    assert!(!source.is_deleted());
}

#[tokio::test]
async fn a_shard_that_is_not_listed_any_more_is_read_to_its_end() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &FIVE);
    world.fake.shard("shardId-1", &["shardId-0"], &[]);
    let source = world.source().await;
    {
        let mut state = world.fake.state();
        let shard = state.shards.get_mut("shardId-0").unwrap();
        (shard.closed, shard.unlisted) = (true, true);
    }
    assert_eq!(source.lanes().await.unwrap().len(), 1);
    let (got, ended) = world.read_all(&source, "shardId-0", 6).await;
    assert!(ended);
    assert_eq!(got, FIVE);
}

#[tokio::test]
async fn a_new_stream_under_the_old_name_is_noticed_by_its_shards() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let source = world.source().await;
    tokio::time::sleep(Duration::from_secs(6) / SPEED).await;
    world.fake.state().created += 100.0;
    world.fake.shard("shardId-1", &[], &["b"]);
    assert!(matches!(source.lanes().await, Err(SourceError::Broken(_))));
    // Asked again at once, it says the same, from memory.
    let asked = world.fake.seen("DescribeStreamSummary").len();
    assert!(matches!(source.lanes().await, Err(SourceError::Broken(_))));
    assert_eq!(world.fake.seen("DescribeStreamSummary").len(), asked);
    assert!(source.is_deleted());
}

#[tokio::test]
async fn a_start_that_is_set_later_does_not_move_what_was_begun() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    world.fake.shard("shardId-1", &["shardId-0"], &["b"]);
    for (start, lane) in [
        (StartAt::TrimHorizon, "shardId-0"),
        (StartAt::Latest, "shardId-1"),
    ] {
        let (source, _) = world.open(start, START_MS).await;
        source.lanes().await.unwrap();
        world.read_all(&source, lane, 1).await;
    }
    for asked in world.fake.seen("GetShardIterator") {
        assert_eq!(asked["ShardIteratorType"], "TRIM_HORIZON");
    }
}

#[tokio::test]
async fn a_start_in_the_future_is_waited_for() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let later = START_MS + 90_000;
    let (source, _) = world.open(StartAt::Timestamp(later), START_MS).await;
    source.lanes().await.unwrap();
    let began = Instant::now();
    world.read_all(&source, "shardId-0", 1).await;
    assert!(began.elapsed() * SPEED > Duration::from_secs(80));
    assert_eq!(world.fake.seen("GetShardIterator").len(), 1);
}

#[tokio::test]
async fn a_reader_that_waits_does_not_hold_another_up() {
    let world = World::new().await;
    let many = vec!["x"; 30];
    world.fake.shard("shardId-0", &[], &many);
    let (idle, busy) = (world.source().await, world.source().await);
    // At the tip, and refused: its next call is many seconds away.
    let refused = Fault::Error(400, "AccessDeniedException");
    world.fake.fail("GetRecords", &[refused]);
    let tip = Position::from_u64(30);
    let lane = Lane::new("shardId-0");
    let waiting = idle.read(&lane, tip, BYTES, WAIT, &world.account);
    let busy = async {
        tokio::time::sleep(Duration::from_secs(2) / SPEED).await;
        let began = Instant::now();
        world.read_all(&busy, "shardId-0", many.len()).await;
        began.elapsed() * SPEED
    };
    let (_, took) = tokio::join!(waiting, busy);
    // Ten calls; the fast clock makes each request some hundred milliseconds long.
    assert!(took < Duration::from_secs(14), "{took:?}");
}

#[tokio::test]
async fn latest_is_one_moment_for_all_shards_and_all_restarts() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    world.fake.shard("shardId-1", &["shardId-0"], &["b"]);
    for (later, lane) in [
        (0, "shardId-0"),
        (60_000, "shardId-0"),
        (90_000, "shardId-1"),
    ] {
        let (source, _) = world.open(StartAt::Latest, START_MS + later).await;
        source.lanes().await.unwrap();
        world.read_all(&source, lane, 1).await;
    }
    let asked = world.fake.seen("GetShardIterator");
    let times: Vec<u64> = asked
        .iter()
        .map(|body| {
            assert_eq!(body["ShardIteratorType"], "AT_TIMESTAMP");
            let seconds = body["Timestamp"].as_f64().unwrap();
            format!("{:.0}", seconds * 1000.0).parse().unwrap()
        })
        .collect();
    assert_eq!(times.len(), 3);
    assert!((START_MS..START_MS + 60_000).contains(&times[0]));
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
}

#[tokio::test]
async fn an_idle_shard_is_asked_rarely_and_holds_nothing() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &[]);
    let source = world.source().await;
    let lane = Lane::new("shardId-0");
    let began = Instant::now();
    let reading = source.read(&lane, Position::START, BYTES, WAIT, &world.account);
    let held = async {
        tokio::time::sleep(WAIT / SPEED / 2).await;
        world.account.held()
    };
    let (read, held) = tokio::join!(reading, held);
    assert!(read.unwrap().blocks.is_empty() && began.elapsed() >= WAIT / SPEED);
    assert_eq!(held, 0);
    let calls = world.fake.seen("GetRecords").len();
    // Every second at first, every ten in the end: at most 10 + 110 / 2 or so, and at least 12.
    assert!((6..=40).contains(&calls), "{calls} calls in two minutes");
}

#[tokio::test]
async fn two_readers_of_a_shard_share_its_calls() {
    let world = World::new().await;
    let many = vec!["x"; 60];
    world.fake.shard("shardId-0", &[], &many);
    let (one, two) = (world.source().await, world.source().await);
    let began = Instant::now();
    let reading = |source| world.read_all(source, "shardId-0", many.len());
    let (first, second) = tokio::join!(reading(&one), reading(&two));
    assert_eq!((first.0.len(), second.0.len()), (60, 60));
    // 40 calls of three records, 200 ms apart by the fast clock.
    let least = Duration::from_millis(200) * 38 / SPEED;
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_check_names_the_permission_that_is_missing() {
    let world = World::new().await;
    world.fake.shard("shardId-0", &[], &["a"]);
    let client = world.client(START_MS).await;
    assert_eq!(client.check().await, Ok(()));
    let cases = [
        (
            "DescribeStreamSummary",
            "ResourceNotFoundException",
            RefusedKind::Missing,
        ),
        (
            "ListShards",
            "AccessDeniedException",
            RefusedKind::Action("kinesis:ListShards"),
        ),
        (
            "GetShardIterator",
            "AccessDeniedException",
            RefusedKind::Action("kinesis:GetShardIterator"),
        ),
        (
            "GetRecords",
            "UnrecognizedClientException",
            RefusedKind::Credentials,
        ),
        ("GetRecords", "InternalFailure", RefusedKind::Server),
    ];
    for (operation, error, kind) in cases {
        world.fake.fail(operation, &[Fault::Error(400, error)]);
        let refused = client.check().await.unwrap_err();
        assert_eq!(refused.kind, kind, "{operation}: {}", refused.error);
    }
    let throttled = Fault::Error(400, "ProvisionedThroughputExceededException");
    world.fake.fail("GetRecords", &[throttled]);
    assert_eq!(client.check().await, Ok(()), "it may be read");
}
