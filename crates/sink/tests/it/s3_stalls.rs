//! Servers that stop in the middle: the request is ended long before its whole time is over. By a
//! clock that is fast enough for a test, and slow enough for a machine that is busy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hydrant_core::stage::Completed;
use hydrant_sink::S3;
use hydrant_testkit::clock::FastClock;

use crate::fake::{FaultServer, Step};
use crate::s3::{bucket, endpoint, noise, settings, sink, sink_by};
use crate::support::{meta, put};

/// How much faster than the real one the clock of these tests runs.
const SPEED: u32 = 10;
/// Put at once; its whole time is 38 s.
const BODY_BYTES: usize = 8 << 20;
/// The limit between two pieces.
const NO_PROGRESS: Duration = Duration::from_secs(15);

/// A sink on the fast clock that is ready, before the script begins.
async fn stalling(script: &[Step], name: &str) -> (FaultServer, S3) {
    let (_, bucket) = bucket(name).await;
    let server = FaultServer::start(&endpoint(), &[]);
    let clock = Arc::new(FastClock::new(SPEED, 0));
    let sink = sink_by(settings(&server.endpoint, &bucket), clock).await;
    sink.probe().await.unwrap();
    server.restart(script);
    (server, sink)
}

/// Puts, and gives the first failure on the way.
async fn put_past_failure(sink: &S3, bytes: usize) -> (Completed, String) {
    let data = noise(bytes, 19);
    let error = async {
        loop {
            match sink.status().snapshot().last_error {
                Some(error) => return error,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let chunks: [&[u8]; 1] = [&data];
    let (done, error) = tokio::join!(put(sink, meta("p/x"), &chunks), error);
    (done.unwrap(), error)
}

#[tokio::test]
async fn a_server_that_stops_reading_is_tried_again() {
    // Twice: while the second is waited for, what the first came to can be seen.
    let (server, sink) = stalling(&[Step::Stall(1 << 20); 2], "stops").await;
    let (done, error) = put_past_failure(&sink, BODY_BYTES).await;
    assert_eq!(done, Completed::Written);
    assert!(error.contains("no progress for 15 s"), "{error}");
    assert_eq!((server.left(), sink.status().snapshot().retries), (0, 2));
}

#[tokio::test]
async fn a_server_that_reads_slowly_is_waited_for() {
    let takes = Duration::from_secs(20) / SPEED;
    let (server, sink) = stalling(&[Step::Drip(takes)], "slowly").await;
    let (data, began) = (noise(BODY_BYTES, 19), Instant::now());
    let done = put(&sink, meta("p/x"), &[&data]).await.unwrap();
    assert_eq!(done, Completed::Written);
    assert!(began.elapsed() > NO_PROGRESS / SPEED);
    assert_eq!((server.left(), sink.status().snapshot().retries), (0, 0));
}

#[tokio::test]
async fn an_answer_that_stops_midway_is_given_up() {
    // A multipart upload is started: its answer has a body.
    let (server, sink) = stalling(&[Step::Half("<InitiateMultipart"); 2], "midway").await;
    let (done, error) = put_past_failure(&sink, BODY_BYTES + 1).await;
    assert_eq!(done, Completed::Written);
    assert!(error.contains("no progress for 15 s"), "{error}");
    assert_eq!((server.left(), sink.status().snapshot().retries), (0, 2));
}

/// The SDK's limit of connecting counts by the real clock.
#[tokio::test]
async fn tls_that_is_never_agreed_on_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let accepting = async {
        let mut open = Vec::new();
        loop {
            open.push(silent.accept().await.unwrap());
            if open.len() == 2 {
                return;
            }
        }
    };
    let sink = sink(settings(&endpoint, "any")).await;
    tokio::select! {
        biased;
        () = accepting => {}
        _ = put(&sink, meta("p/x"), &[b"data"]) => panic!("put, although nobody answered"),
        () = tokio::time::sleep(Duration::from_secs(8)) => panic!("no second attempt"),
    }
    let error = sink.status().snapshot().last_error.unwrap();
    assert!(error.contains("timeout"), "{error}");
}
