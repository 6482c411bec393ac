//! A server for the tests, and a client that says no more than it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hydrant_api::{Settings, bind};
use hydrant_core::BoxFuture;
use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock;
use hydrant_core::disk::{Disk, DiskFile, Space};
use hydrant_core::offload::{Job, Offload};
use hydrant_log::stream::{Catalogue, Streams};
use hydrant_log::{Env, Error, LogOptions, ProcessAbort, RealDisk};
use hydrant_testkit::sim::SimRng;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Wall time at the start, milliseconds.
pub(crate) const START_MS: u64 = 1_700_000_000_345;

/// Wall time stands still until it is moved; monotonic time runs `SPEED` times as fast.
pub(crate) struct TestClock(AtomicU64);

/// So that limits of several seconds are over in a moment.
const SPEED: u32 = 20;

impl TestClock {
    pub(crate) fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn back(&self, ms: u64) {
        self.0.fetch_sub(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration / SPEED))
    }
}

struct Blocking;

impl Offload for Blocking {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        drop(tokio::task::spawn_blocking(job));
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        2
    }
}

#[derive(Default)]
pub(crate) struct MemoryCatalogue {
    entries: Mutex<BTreeMap<(String, String), Bytes>>,
    /// Writes so far.
    pub(crate) writes: AtomicU64,
    /// Locked to let writes wait.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

impl Catalogue for MemoryCatalogue {
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        let entries = self.entries.lock().unwrap();
        let of_kind = entries.iter().filter(|((its, _), _)| its == kind);
        of_kind
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.entries
            .lock()
            .unwrap()
            .insert((kind.to_owned(), key.to_owned()), value);
        self.writes.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            drop(self.gate.lock().await);
            Ok(())
        })
    }

    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.entries
            .lock()
            .unwrap()
            .remove(&(kind.to_owned(), key.to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The real disk, which can be made to look full.
#[derive(Default)]
pub(crate) struct FillableDisk {
    pub(crate) full: AtomicBool,
}

impl Disk for FillableDisk {
    fn create_dir_all(&self, dir: &std::path::Path) -> std::io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
    fn list(&self, dir: &std::path::Path) -> std::io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create(&self, path: &std::path::Path, bytes: u64) -> std::io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path, bytes)
    }
    fn open(&self, path: &std::path::Path) -> std::io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &std::path::Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &std::path::Path) -> std::io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn space(&self, _: &std::path::Path) -> std::io::Result<Space> {
        let total = 1 << 40;
        let available = if self.full.load(Ordering::Relaxed) {
            1 << 20
        } else {
            total
        };
        Ok(Space { total, available })
    }
    fn lock(
        &self,
        path: &std::path::Path,
    ) -> std::io::Result<Box<dyn std::any::Any + Send + Sync>> {
        RealDisk.lock(path)
    }
}

/// A running server.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) disk: Arc<FillableDisk>,
    pub(crate) budget: Budget,
    pub(crate) catalogue: Arc<MemoryCatalogue>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(START_MS.into()));
        let disk = Arc::new(FillableDisk::default());
        let rng = Arc::new(SimRng::new(7));
        let env = Env {
            disk: disk.clone(),
            io: Arc::new(Blocking),
            clock: clock.clone(),
            abort: Arc::new(ProcessAbort),
        };
        let catalogue = Arc::new(MemoryCatalogue::default());
        let options = LogOptions::default();
        let streams = Streams::open(env, dir.path(), catalogue.clone(), rng.clone(), options)
            .await
            .unwrap();
        let budget = Budget::new(64 << 20);
        let server = bind(Settings::new("127.0.0.1:0".parse().unwrap()))
            .await
            .unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(
            Arc::new(streams),
            budget.account("api"),
            clock.clone(),
            rng,
            async move { drop(stopped.await) },
        ));
        Self {
            address,
            clock,
            disk,
            budget,
            catalogue,
            stop: Some(stop),
            task,
            _dir: dir,
        }
    }

    /// A server with a stream `clicks` of so many shards.
    pub(crate) async fn with_stream(shards: u32) -> Self {
        let api = Self::start().await;
        api.ok(
            "CreateStream",
            json!({ "StreamName": "clicks", "ShardCount": shards }),
        )
        .await;
        api
    }

    /// Stops the server, and says whether all memory came back.
    pub(crate) async fn stop(mut self) -> bool {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        self.budget.used() == 0
    }

    /// Sends a request as boto3 does, on a connection of its own.
    pub(crate) async fn send(
        &self,
        operation: &str,
        body: impl Into<Bytes>,
    ) -> (u16, HeaderMap, Bytes) {
        self.send_as("application/x-amz-json-1.1", operation, body)
            .await
    }

    pub(crate) async fn send_as(
        &self,
        content_type: &str,
        operation: &str,
        body: impl Into<Bytes>,
    ) -> (u16, HeaderMap, Bytes) {
        let request = Request::post("/")
            .header("host", self.address.to_string())
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("content-type", content_type)
            .header("user-agent", "Boto3/1.44.5 md/Botocore#1.44.5 lang/python#3.11")
            .header("x-amz-date", "20231114T221320Z")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20231114/us-east-1/kinesis/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=0")
            .header("amz-sdk-invocation-id", "f1e2d3c4-0000-4000-8000-000000000000")
            .header("amz-sdk-request", "attempt=1")
            .body(Full::new(body.into()))
            .unwrap();
        self.request(request).await
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> (u16, HeaderMap, Bytes) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let answer = read(client.send_request(request).await.unwrap()).await;
        drop(client);
        // An answer that comes before the whole request was sent breaks the connection.
        drop(connection.await.unwrap());
        answer
    }

    /// The same over HTTP/2 without upgrade.
    pub(crate) async fn request_h2(
        &self,
        request: Request<Full<Bytes>>,
    ) -> (u16, HeaderMap, Bytes) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let answer = read(client.send_request(request).await.unwrap()).await;
        drop(client);
        connection.await.unwrap().unwrap();
        answer
    }

    /// A call that succeeds.
    pub(crate) async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, _, answer) = self.send(operation, body.to_string()).await;
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{operation}: {text}");
        if answer.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer).unwrap()
        }
    }

    /// A call that fails: the status, type and message.
    pub(crate) async fn err(&self, operation: &str, body: Value) -> (u16, String, String) {
        self.err_raw(operation, body.to_string()).await
    }

    pub(crate) async fn err_raw(&self, operation: &str, body: String) -> (u16, String, String) {
        let (status, headers, answer) = self.send(operation, body).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let kind = answer["__type"].as_str().unwrap().to_owned();
        assert_eq!(headers["x-amzn-errortype"], kind.as_str());
        let member = if kind == "SerializationException" {
            "Message"
        } else {
            "message"
        };
        let message = answer[member].as_str().unwrap_or_default().to_owned();
        (status, kind, message)
    }

    /// An iterator of a shard of `clicks`.
    pub(crate) async fn iterator(&self, shard: u32, kind: &str, more: Value) -> String {
        let mut call = json!({
            "StreamName": "clicks",
            "ShardId": format!("shardId-{shard:012}"),
            "ShardIteratorType": kind,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            call[name] = value.clone();
        }
        let answer = self.ok("GetShardIterator", call).await;
        answer["ShardIterator"].as_str().unwrap().to_owned()
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> (u16, HeaderMap, Bytes) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, body)
}

/// Base64 of data.
pub(crate) fn blob(data: &[u8]) -> String {
    STANDARD.encode_to_string(data)
}

/// Data of the records of an answer.
pub(crate) fn data(answer: &Value) -> Vec<String> {
    let records = answer["Records"].as_array().unwrap();
    let decode = |record: &Value| {
        let bytes = STANDARD
            .decode_to_vec(record["Data"].as_str().unwrap())
            .unwrap();
        String::from_utf8(bytes).unwrap()
    };
    records.iter().map(decode).collect()
}
