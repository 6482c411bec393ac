//! What all clients do: connect, call, and enter in the ledger what the answers say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hydrant_core::Position;
use hydrant_core::rng::Rng as _;
use hydrant_testkit::sim::SimRng;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::{Value, json};
use turmoil::net::TcpStream;

use crate::ledger::Fate;
use crate::server::{HOST, PORT, STREAM};
use crate::world::{Shared, lock};

/// How long a client waits at all.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(15);

/// One client.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rng: Arc<SimRng>,
}

/// An answer in full.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A put that is about to be sent.
pub(crate) struct Put {
    pub(crate) ids: Vec<usize>,
    pub(crate) operation: &'static str,
    pub(crate) body: String,
}

/// A connection for calls.
pub(crate) struct Http {
    sender: Sender,
    /// Whether an answer came on it: it was taken.
    pub(crate) answered: Arc<AtomicBool>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

#[expect(clippy::disallowed_methods, reason = "the host's own simulated time")]
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[expect(clippy::disallowed_methods, reason = "the host's own simulated time")]
pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, future).await.ok()
}

/// Time since the start of the run, as the client's host has it.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap()
}

impl Client {
    pub(crate) fn new(id: u64, shared: &Arc<Shared>) -> Self {
        Self {
            id,
            rng: Arc::new(SimRng::new(shared.plan.seed << 8 | id)),
            shared: shared.clone(),
        }
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap()
    }

    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        let (id, now) = (self.id, now());
        self.shared
            .trace
            .note(format_args!("client {id} at {now:?}: {what}"));
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let connected = within(GIVE_UP, TcpStream::connect((HOST, PORT))).await;
        connected.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A connection of either version.
    pub(crate) async fn http(&self, two: bool) -> Option<Http> {
        let stream = TokioIo::new(self.connect().await.ok()?);
        let sender = if two {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            let (sender, connection) = builder.handshake(stream).await.ok()?;
            drop(tokio::spawn(connection));
            Sender::Two(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await.ok()?;
            drop(tokio::spawn(connection));
            Sender::One(sender)
        };
        Some(Http {
            sender,
            answered: Arc::default(),
        })
    }

    /// A put of some records with this key, entered in the ledger.
    pub(crate) fn put(&self, key: &str, records: usize, bytes: usize) -> Put {
        let mut ledger = lock(&self.shared.ledger);
        let (mut ids, mut entries) = (Vec::new(), Vec::new());
        for _ in 0..records {
            let (id, data) = ledger.open(self.id, key, bytes);
            ids.push(id);
            entries.push(json!({
                "Data": STANDARD.encode_to_string(data), "PartitionKey": key
            }));
        }
        if records == 1 {
            let mut body = entries.remove(0);
            body["StreamName"] = STREAM.into();
            return Put {
                ids,
                operation: "PutRecord",
                body: body.to_string(),
            };
        }
        Put {
            ids,
            operation: "PutRecords",
            body: json!({ "StreamName": STREAM, "Records": entries }).to_string(),
        }
    }

    /// A put of a random size.
    pub(crate) fn any_put(&self, key: &str) -> Put {
        let records = 1 + self.below(3) * self.below(6);
        let bytes = [0, 100, 2_000, 20_000][self.below(4)];
        self.put(key, records, bytes)
    }

    /// Enters what the answer to a put says of its records.
    pub(crate) fn settle(&self, put: &Put, answer: &Answer) {
        let mut ledger = lock(&self.shared.ledger);
        let one = std::slice::from_ref(&answer.body);
        let each = match answer.body["Records"].as_array() {
            Some(each) => each,
            None => one,
        };
        for (i, id) in put.ids.iter().enumerate() {
            let fate = match each.get(i) {
                _ if answer.status != 200 => Fate::Refused(answer.status),
                Some(placed) => match placed["SequenceNumber"].as_str() {
                    Some(number) => Fate::Acked(
                        placed["ShardId"].as_str().unwrap().to_owned(),
                        Position::from_decimal(number).unwrap(),
                    ),
                    None if placed["ErrorCode"] == "InternalFailure" => Fate::Refused(500),
                    None => Fate::Refused(400),
                },
                None => panic!("an answer to {} has too few records", put.operation),
            };
            ledger.settle(*id, fate);
        }
    }
}

impl Http {
    /// One call; `None` where no whole answer came.
    pub(crate) async fn call(&mut self, operation: &str, body: String) -> Option<Answer> {
        let request = request(operation, body);
        let answer = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()?
            }
            Sender::Two(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()?
            }
        };
        let answer = whole(answer).await;
        self.answered.fetch_or(answer.is_some(), Ordering::Relaxed);
        answer
    }

    /// The same connection for one more call at the same time, where it takes several.
    pub(crate) fn beside(&self) -> Option<Self> {
        let Sender::Two(sender) = &self.sender else {
            return None;
        };
        Some(Self {
            sender: Sender::Two(sender.clone()),
            answered: self.answered.clone(),
        })
    }
}

pub(crate) fn request(operation: &str, body: String) -> Request<Full<Bytes>> {
    Request::post(format!("http://{HOST}:{PORT}/"))
        .header("host", HOST)
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The head of a call over HTTP/1.1 whose body is so long.
pub(crate) fn head(operation: &str, length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nx-amz-target: Kinesis_20131202.{operation}\r\n\
         content-type: application/x-amz-json-1.1\r\ncontent-length: {length}\r\n\r\n"
    )
}

pub(crate) async fn whole(answer: Response<Incoming>) -> Option<Answer> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let body = serde_json::from_slice(&body).expect("answers are JSON");
    Some(Answer {
        status: head.status.as_u16(),
        body,
    })
}
