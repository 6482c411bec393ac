//! The body of the fuzz target `kinesis_request`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hydrant_core::BoxFuture;
use hydrant_core::budget::Budget;
use hydrant_log::stream::{Catalogue, ShardId, Stream, StreamOptions, Streams};
use hydrant_log::{Env, Error, LogOptions};
use hydrant_testkit::clock::StoppedClock;
use hydrant_testkit::disk::{SimAbort, SimDisk};
use hydrant_testkit::inline::InlineOffload;
use hydrant_testkit::sim::SimRng;
use serde_json::{Map, Value};

use crate::kinesis::Kinesis;
use crate::protocol::{Wire, cbor};

const OPERATIONS: [&str; 10] = [
    "PutRecords",
    "PutRecord",
    "GetRecords",
    "GetShardIterator",
    "CreateStream",
    "DeleteStream",
    "DescribeStream",
    "DescribeStreamSummary",
    "ListStreams",
    "ListShards",
];
/// The bit of the first byte that says CBOR; those below name the operation.
const CBOR: u8 = 0x80;
const DISK_BYTES: u64 = 64 << 20;
const BUDGET_BYTES: usize = 16 << 20;
/// An answer beside what it repeats of the request: a stream of many shards, described.
const ANSWER_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Memory(Mutex<BTreeMap<(String, String), Bytes>>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<(String, String), Bytes>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Catalogue for Memory {
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        self.with(|entries| {
            let of_kind = entries.iter().filter(|((its, _), _)| its == kind);
            of_kind
                .map(|((_, key), it)| (key.clone(), it.clone()))
                .collect()
        })
    }

    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.with(|entries| entries.insert((kind.to_owned(), key.to_owned()), value));
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.with(|entries| entries.remove(&(kind.to_owned(), key.to_owned())));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Serves one request to a machine with one stream of two shards. The first byte names the form of
/// the body and the operation. The answer is of the same form, and no longer than it should be; a
/// put that is taken is there to read, as a slower reader of its body understands it.
///
/// # Panics
/// Where any of this is not so.
pub fn request(bytes: &[u8]) {
    let Some((head, body)) = bytes.split_first() else {
        return;
    };
    let wire = if head & CBOR == 0 {
        Wire::Json
    } else {
        Wire::Cbor
    };
    let operation = OPERATIONS[usize::from(head & !CBOR) % OPERATIONS.len()];
    if wire == Wire::Cbor {
        rewritten(body);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without drivers");
    runtime.block_on(serve(operation, wire, body));
}

/// A body that is understood is written and understood again.
fn rewritten(body: &[u8]) {
    let Ok(map) = cbor::parse(body) else {
        return;
    };
    let written = cbor::write(&Value::Object(map.clone()));
    let again = cbor::parse(&written).expect("our own form");
    // Moments and numbers of several forms come back in one of them.
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&again), keys(&map));
    assert_eq!(cbor::write(&Value::Object(again)), written);
}

async fn serve(operation: &'static str, wire: Wire, body: &[u8]) {
    let streams = streams().await;
    let stream = streams.get("s").expect("it was made");
    let account = Budget::new(BUDGET_BYTES).account("api");
    let region = "us-east-1".to_owned();
    let kinesis = Kinesis::new(streams, account, Arc::new(StoppedClock), region);
    let answer = Arc::new(kinesis)
        .call(operation, wire, Bytes::copy_from_slice(body))
        .await;
    let text = match answer {
        Ok(reply) => {
            let text = reply.collect().await.expect("no error is possible");
            if operation.starts_with("Put") {
                let mut stored = Vec::new();
                for shard in 0..2 {
                    stored.extend(read(&stream, ShardId(shard)));
                }
                stored.sort();
                assert_eq!(stored, wanted(operation, wire, body));
            }
            text.to_bytes().to_vec()
        }
        Err(fault) => {
            assert_ne!(fault.kind, "InternalFailure");
            assert!(!fault.message.is_empty() && fault.status.is_client_error());
            fault.body(wire)
        }
    };
    assert!(text.is_empty() || wire.parse(&text).is_ok(), "{text:?}");
    assert!(text.len() <= ANSWER_BYTES + 6 * body.len());
}

/// Key and data of each record of a put.
type Stored = Vec<(Vec<u8>, Vec<u8>)>;

fn read(stream: &Stream, shard: ShardId) -> Stored {
    let blocks = stream.read_blocking(shard, 0, usize::MAX);
    let mut rows = Vec::new();
    for block in blocks.expect("there are two shards") {
        let row = |i| (block.key(i).to_vec(), block.data(i).to_vec());
        rows.extend((0..block.len()).map(row));
    }
    rows
}

/// What a put that is taken says, by the reader of all other requests.
fn wanted(operation: &str, wire: Wire, body: &[u8]) -> Stored {
    let map = wire.parse(body).expect("a body that is understood twice");
    let record = |record: &Map<String, Value>| {
        let text = |name| record.get(name).and_then(Value::as_str).expect("a text");
        let data = STANDARD.decode_to_vec(text("Data")).expect("base64");
        (text("PartitionKey").as_bytes().to_vec(), data)
    };
    if operation == "PutRecord" {
        return vec![record(&map)];
    }
    let records = map["Records"].as_array().expect("a list");
    let records = records
        .iter()
        .map(|it| record(it.as_object().expect("a record")));
    let mut records: Vec<_> = records.collect();
    records.sort();
    records
}

async fn streams() -> Arc<Streams> {
    let env = Env {
        disk: Arc::new(SimDisk::new(DISK_BYTES)),
        io: Arc::new(InlineOffload),
        clock: Arc::new(StoppedClock),
        abort: Arc::new(SimAbort::default()),
    };
    let options = LogOptions {
        first_segment_bytes: 1024,
        max_segment_bytes: 64 << 10,
        low_space_percent: 0,
        low_space_bytes: 0,
        resume_percent: 0,
        ..LogOptions::default()
    };
    let (catalogue, rng) = (Arc::new(Memory::default()), Arc::new(SimRng::new(7)));
    let streams = Streams::open(env, Path::new("/data"), catalogue, rng, options).await;
    let streams = streams.expect("an empty disk");
    let options = StreamOptions {
        shards: 2,
        ..StreamOptions::default()
    };
    streams.create("s", options).await.expect("an empty disk");
    Arc::new(streams)
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;
    use serde_json::{Value, json};

    use super::{CBOR, OPERATIONS, request};
    use crate::protocol::cbor;

    fn bodies() -> Vec<(&'static str, Value)> {
        let record = |key: &str| json!({"Data": "bmV3", "PartitionKey": key});
        vec![
            (
                "PutRecords",
                json!({"StreamName": "s", "Records": [record("a"), record("b"), {
                    "Data": "", "PartitionKey": "é", "ExplicitHashKey": "7"}]}),
            ),
            (
                "PutRecord",
                json!({"StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
                    "Data": "AAA=", "PartitionKey": "k", "SequenceNumberForOrdering": "1"}),
            ),
            ("GetRecords", json!({"ShardIterator": "AAAA", "Limit": 5})),
            (
                "GetShardIterator",
                json!({"StreamName": "s", "ShardId": "shardId-000000000001",
                    "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_700_000_000.5}),
            ),
            (
                "CreateStream",
                json!({"StreamName": "t", "ShardCount": 3, "Tags": {"a": "b"},
                    "StreamModeDetails": {"StreamMode": "PROVISIONED"}}),
            ),
            (
                "DeleteStream",
                json!({"StreamName": "s", "EnforceConsumerDeletion": true}),
            ),
            (
                "DescribeStream",
                json!({"StreamName": "s", "Limit": 1,
                    "ExclusiveStartShardId": "shardId-000000000000"}),
            ),
            ("DescribeStreamSummary", json!({"StreamName": "s"})),
            (
                "ListStreams",
                json!({"ExclusiveStartStreamName": "a", "Limit": 10, "NextToken": "AAAA"}),
            ),
            (
                "ListShards",
                json!({"StreamName": "s", "MaxResults": 1, "ShardFilter": {
                    "Type": "AT_TIMESTAMP", "Timestamp": 1_700_000_000}}),
            ),
        ]
    }

    #[test]
    fn the_corpus_of_requests() {
        let mut seeds = Vec::new();
        for (operation, body) in bodies() {
            let number = OPERATIONS.iter().position(|it| *it == operation);
            let number = u8::try_from(number.expect("it is known")).expect("there are few");
            let json = [&[number], body.to_string().as_bytes()].concat();
            let cbor = [&[number | CBOR], &cbor::write(&body)[..]].concat();
            seeds.push((format!("{operation}.json"), json));
            seeds.push((format!("{operation}.cbor"), cbor));
        }
        let seeds: Vec<_> = seeds
            .iter()
            .map(|(name, it)| (&**name, it.clone()))
            .collect();
        corpus::run("kinesis_request", &seeds, request);
    }
}
