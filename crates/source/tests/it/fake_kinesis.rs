//! A fake: a Kinesis of two or three shards that fails by a script, which no real server does when
//! asked. One request a connection. What it knows of Kinesis is what these tests need.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use hydrant_testkit::http::Request;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::cbor;

/// Largest answer, in records.
const PAGE: usize = 3;

/// What happens to one request instead of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// An error of this status and type.
    Error(u16, &'static str),
    /// The connection closes.
    Reset,
    /// An answer of status 200 that breaks off.
    Torn,
    /// The first half of an answer comes, and nothing more.
    Half,
}

#[derive(Clone, Default)]
pub(crate) struct FakeShard {
    pub(crate) parents: Vec<&'static str>,
    pub(crate) records: Vec<String>,
    pub(crate) closed: bool,
    /// `ListShards` does not name it any more.
    pub(crate) unlisted: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) created: f64,
    /// Whether it speaks CBOR too.
    pub(crate) cbor: bool,
    /// Content types of the calls for records.
    pub(crate) spoken: Vec<String>,
    pub(crate) shards: BTreeMap<&'static str, FakeShard>,
    /// By operation: what happens to its next requests.
    pub(crate) script: BTreeMap<&'static str, VecDeque<Fault>>,
    /// Every request: operation and body.
    pub(crate) seen: Vec<(String, Value)>,
}

pub(crate) struct FakeKinesis {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeKinesis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeKinesis {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            created: 1_700_000_000.5,
            cbor: true,
            ..State::default()
        }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                // A client that goes away is no fault of the test.
                connections.spawn(async move { drop(serve(stream, &state).await) });
            }
        });
        Self {
            endpoint,
            state,
            task,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes the next requests of an operation fail.
    pub(crate) fn fail(&self, operation: &'static str, faults: &[Fault]) {
        let mut state = self.state();
        let script = state.script.entry(operation).or_default();
        script.extend(faults.iter().copied());
    }

    /// Adds a shard of these records.
    pub(crate) fn shard(&self, id: &'static str, parents: &[&'static str], records: &[&str]) {
        let shard = FakeShard {
            parents: parents.to_vec(),
            records: records.iter().map(|data| (*data).to_owned()).collect(),
            closed: false,
            unlisted: false,
        };
        self.state().shards.insert(id, shard);
    }

    /// The bodies of all requests of an operation.
    pub(crate) fn seen(&self, operation: &str) -> Vec<Value> {
        let state = self.state();
        let of_it = state.seen.iter().filter(|(name, _)| name == operation);
        of_it.map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(mut client: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let request = Request::read(&mut client).await?;
    let target = request.header("x-amz-target").unwrap_or_default();
    let operation = target.strip_prefix("Kinesis_20131202.").unwrap_or_default();
    let content_type = request.header("content-type").unwrap_or_default();
    let answer = answer(
        &mut state.lock().unwrap(),
        operation,
        content_type,
        &request.body,
    );
    if let Some((status, body)) = answer {
        let length = body.len();
        let half = status == HALF;
        let status = if half { 200 } else { status };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await?;
        if half {
            client.write_all(&body[..length / 2]).await?;
            return std::future::pending().await;
        }
        client.write_all(&body).await?;
    }
    client.shutdown().await
}

/// Status and body, or none where the connection just closes.
fn answer(
    state: &mut State,
    operation: &str,
    content_type: &str,
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    if operation == "GetRecords" {
        state.spoken.push(content_type.to_owned());
    }
    let in_cbor = content_type == "application/x-amz-cbor-1.1";
    if in_cbor && !state.cbor {
        return Some((
            415,
            error(415, "UnknownOperationException").1.to_string().into(),
        ));
    }
    let body = if in_cbor {
        cbor::to_json(body)
    } else {
        serde_json::from_slice(body).unwrap()
    };
    let (status, value) = reply(state, operation, &body)?;
    let mut body = if in_cbor {
        cbor::from_json(&value)
    } else {
        value.to_string().into_bytes()
    };
    if status == TORN {
        body.truncate(body.len() / 2);
        return Some((200, body));
    }
    Some((status, body))
}

/// Stands for status 200 with half of the body.
const TORN: u16 = 0;
/// Stands for the same, where the other half is promised.
const HALF: u16 = 1;

fn reply(state: &mut State, operation: &str, body: &Value) -> Option<(u16, Value)> {
    state.seen.push((operation.to_owned(), body.clone()));
    let planned = state.script.get_mut(operation);
    let planned = planned.and_then(VecDeque::pop_front);
    match planned {
        Some(Fault::Reset) => return None,
        Some(Fault::Error(status, kind)) => return Some(error(status, kind)),
        Some(Fault::Torn | Fault::Half) | None => {}
    }
    let answer = match operation {
        "DescribeStreamSummary" => json!({ "StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "OpenShardCount": 1,
            "StreamCreationTimestamp": state.created, "EnhancedMonitoring": [],
        } }),
        "ListShards" => {
            let named = state.shards.iter().filter(|(_, shard)| !shard.unlisted);
            json!({ "Shards": named.map(listed).collect::<Vec<_>>() })
        }
        "GetShardIterator" => {
            let shard = body["ShardId"].as_str().unwrap();
            if !state.shards.contains_key(shard) {
                return Some(error(400, "ResourceNotFoundException"));
            }
            let next = body["StartingSequenceNumber"].as_str();
            let next: usize = next.map_or(0, |number| number.parse().unwrap());
            json!({ "ShardIterator": format!("{shard}/{next}") })
        }
        "GetRecords" => {
            let (shard, from) = body["ShardIterator"].as_str()?.split_once('/')?;
            let Some(found) = state.shards.get(shard) else {
                return Some(error(400, "ResourceNotFoundException"));
            };
            records(shard, found, from.parse().unwrap(), body)
        }
        other => panic!("{other} is not expected"),
    };
    let status = match planned {
        Some(Fault::Torn) => TORN,
        Some(Fault::Half) => HALF,
        _ => 200,
    };
    Some((status, answer))
}

fn listed((id, shard): (&&str, &FakeShard)) -> Value {
    let mut listed = json!({
        "ShardId": id,
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() },
        "SequenceNumberRange": { "StartingSequenceNumber": "1" },
    });
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"]
        .iter()
        .zip(&shard.parents)
    {
        listed[name] = json!(parent);
    }
    listed
}

/// Record `i` has the number `i + 1`.
fn records(id: &str, shard: &FakeShard, from: usize, body: &Value) -> Value {
    let limit = body["Limit"]
        .as_u64()
        .map_or(PAGE, |limit| usize::try_from(limit).unwrap().min(PAGE));
    let to = (from + limit).min(shard.records.len());
    let record = |i: usize| {
        json!({
            "SequenceNumber": (i + 1).to_string(), "ApproximateArrivalTimestamp": 1_700_000_001.25,
            "PartitionKey": "k", "Data": base64_simd::STANDARD.encode_to_string(&shard.records[i]),
        })
    };
    let left = shard.records.len() - to;
    let mut answer = json!({
        "Records": (from..to).map(record).collect::<Vec<_>>(), "MillisBehindLatest": left,
    });
    if !(shard.closed && left == 0) {
        answer["NextShardIterator"] = json!(format!("{id}/{to}"));
    }
    answer
}

fn error(status: u16, kind: &str) -> (u16, Value) {
    let body = json!({ "__type": kind, "message": "as the script says" });
    (status, body)
}
