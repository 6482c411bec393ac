//! The S3 sink through a fake that fails before it lets requests through to the real server.

use std::time::Duration;

use bytes::Bytes;
use hydrant_core::stage::{Completed, ObjectSink as _, SinkError};
use hydrant_sink::S3;
use hydrant_sink::s3::S3Mode;

use crate::fake::{FaultServer, Step};
use crate::s3::{bucket, endpoint, noise, open_uploads, settings, sink};
use crate::support::{meta, put};

const SLOW_DOWN: Step = Step::Answer(
    "503 Slow Down",
    "retry-after: 1\r\n",
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
);
const CONFLICT: Step = Step::Answer(
    "409 Conflict",
    "",
    "<Error><Code>ConditionalRequestConflict</Code></Error>",
);
const INTERNAL: Step = Step::Answer("500 Internal Server Error", "", "");
const NOT_IMPLEMENTED: Step = Step::Answer(
    "501 Not Implemented",
    "",
    "<Error><Code>NotImplemented</Code></Error>",
);
const OK: Step = Step::Answer("200 OK", "etag: \"x\"\r\n", "");

async fn through(script: &[Step], name: &str) -> (FaultServer, S3, String, aws_sdk_s3::Client) {
    let (client, bucket) = bucket(name).await;
    let server = FaultServer::start(&endpoint(), script);
    let sink = sink(settings(&server.endpoint, &bucket)).await;
    (server, sink, bucket, client)
}

/// As [`through`], with a sink that has proven conditional writes before the script begins.
async fn proven(script: &[Step], name: &str) -> (FaultServer, S3, String, aws_sdk_s3::Client) {
    let (server, sink, bucket, client) = through(&[], name).await;
    assert_eq!(sink.probe().await.unwrap(), S3Mode::Conditional);
    server.restart(script);
    (server, sink, bucket, client)
}

/// Method of every request, with whether it had a condition.
fn requests(server: &FaultServer) -> Vec<(String, bool)> {
    let seen = server.seen.lock().unwrap();
    seen.iter()
        .filter_map(|(line, condition)| Some((line.split_once(' ')?.0.to_owned(), *condition)))
        .collect()
}

fn request(method: &str, condition: bool) -> (String, bool) {
    (method.to_owned(), condition)
}

#[tokio::test]
async fn passing_failures_are_tried_until_the_object_is_there() {
    let garbage = Step::Answer("502 Bad Gateway", "content-type: text/html\r\n", "<html>");
    let script = [
        INTERNAL,
        SLOW_DOWN,
        CONFLICT,
        Step::Reset,
        garbage,
        Step::Slow(Duration::from_millis(200)),
    ];
    let (server, sink, bucket, client) = proven(&script, "faults").await;
    let probed = sink.status().snapshot().attempts;
    let started = std::time::Instant::now();
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "Retry-After is honoured"
    );
    assert_eq!(server.left(), 0);
    let status = sink.status().snapshot();
    assert_eq!(
        (status.attempts - probed, status.retries, status.throttles),
        (6, 5, 1)
    );
    assert_eq!(status.last_error, None);
    client
        .head_object()
        .bucket(&bucket)
        .key("p/x")
        .send()
        .await
        .unwrap();
    let seen = server.seen.lock().unwrap().clone();
    assert!(
        seen.iter()
            .all(|(line, condition)| line.starts_with("PUT /") && *condition),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_recognised() {
    let (server, sink, ..) = proven(&[Step::LoseReply], "lost").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::AlreadyThere
    );
    let (put, head) = (request("PUT", true), request("HEAD", false));
    assert_eq!(requests(&server), [put.clone(), put, head]);
}

#[tokio::test]
async fn every_step_of_a_multipart_upload_survives_faults() {
    let script = [
        Step::Answer("404 Not Found", "content-type: text/html\r\n", "<html>"),
        // Started twice on the server: the first id is lost with its answer.
        Step::LoseReply,
        Step::Slow(Duration::ZERO),
        // The first part.
        SLOW_DOWN,
        Step::LoseReply,
        Step::Slow(Duration::ZERO),
        // The second part.
        Step::Reset,
        Step::Slow(Duration::ZERO),
        // The completion, which looks first.
        INTERNAL,
        Step::Slow(Duration::ZERO),
        INTERNAL,
        Step::Slow(Duration::ZERO),
        Step::LoseReply,
    ];
    let (server, sink, bucket, client) = through(&script, "steps").await;
    let data = noise(9 << 20, 11);
    let completed = put(&sink, meta("p/x"), &[&data]).await.unwrap();
    assert_eq!(completed, Completed::AlreadyThere);
    assert_eq!(server.left(), 0);
    let completions =
        |(line, _): &&(String, bool)| line.starts_with("POST ") && !line.contains("uploads");
    assert_eq!(
        server
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(completions)
            .count(),
        2
    );
    let object = client
        .get_object()
        .bucket(&bucket)
        .key("p/x")
        .send()
        .await
        .unwrap();
    assert!(object.body.collect().await.unwrap().to_vec() == data);
    assert_eq!(
        open_uploads(&client, &bucket).await,
        1,
        "only the one whose id was lost"
    );
}

#[tokio::test]
async fn a_cancelled_write_loses_no_bytes() {
    let script = [
        Step::Slow(Duration::ZERO),
        Step::Slow(Duration::from_mins(10)),
    ];
    let (server, sink, bucket, client) = through(&script, "cancel").await;
    let data = noise(20 << 20, 13);
    let mut upload = sink.object(meta("p/x"));
    let write = upload.write(Bytes::copy_from_slice(&data));
    assert!(
        tokio::time::timeout(Duration::from_secs(2), write)
            .await
            .is_err()
    );
    assert_eq!(server.left(), 0, "the first part is under way");
    assert_eq!(upload.held_bytes(), data.len());
    upload.write(Bytes::new()).await.unwrap();
    assert!(upload.held_bytes() <= 8 << 20);
    assert_eq!(upload.complete().await.unwrap(), Completed::Written);
    let object = client
        .get_object()
        .bucket(&bucket)
        .key("p/x")
        .send()
        .await
        .unwrap();
    assert!(object.body.collect().await.unwrap().to_vec() == data);
}

#[tokio::test]
async fn a_server_without_conditional_writes_is_told_from_one_with() {
    let (server, sink, ..) = through(&[OK; 6], "ignores").await;
    assert_eq!(sink.probe().await.unwrap(), S3Mode::Overwrite);
    assert_eq!(server.left(), 0);
    // Now it looks first, and never overwrites other content.
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::AlreadyThere
    );
    let error = put(&sink, meta("p/x"), &[b"other"]).await.unwrap_err();
    assert!(matches!(error, SinkError::Mismatch { .. }), "{error}");
    let seen = server.seen.lock().unwrap().clone();
    let conditions: Vec<bool> = seen.iter().map(|(_, condition)| *condition).collect();
    assert_eq!(conditions[..6], [true; 6]);
    assert!(
        conditions[6..].iter().all(|condition| !condition),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_server_that_refuses_conditions_gets_none() {
    let (_server, sink, ..) =
        through(&[Step::Slow(Duration::ZERO), NOT_IMPLEMENTED], "refuses").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(sink.mode(), S3Mode::Overwrite);
}

#[tokio::test]
async fn an_unproven_sink_looks_before_it_writes() {
    let (server, sink, bucket, client) = through(&[], "unproven").await;
    assert_eq!(sink.mode(), S3Mode::Unprobed);
    put(&sink, meta("p/x"), &[b"data"]).await.unwrap();
    assert_eq!(
        requests(&server),
        [request("HEAD", false), request("PUT", true)]
    );
    taken(&client, &bucket, "p/y").await;
    server.restart(&[]);
    let error = put(&sink, meta("p/y"), &[b"data"]).await.unwrap_err();
    assert!(matches!(error, SinkError::Mismatch { .. }), "{error}");
    assert_eq!(requests(&server), [request("HEAD", false)]);
}

/// Puts an object that is not the sink's.
async fn taken(client: &aws_sdk_s3::Client, bucket: &str, key: &str) {
    let object = client.put_object().bucket(bucket).key(key);
    let body = Bytes::from_static(b"of someone else").into();
    object.body(body).send().await.unwrap();
}

#[tokio::test]
async fn a_completion_looks_first_whatever_the_probe_proved() {
    let (server, sink, bucket, client) = proven(&[], "looks").await;
    taken(&client, &bucket, "p/x").await;
    let data = noise(9 << 20, 17);
    let error = put(&sink, meta("p/x"), &[&data]).await.unwrap_err();
    assert!(matches!(error, SinkError::Mismatch { .. }), "{error}");
    // Started, two parts, looked, aborted: a server that ignores the condition was not asked.
    let plain = |method| request(method, false);
    let methods = ["POST", "PUT", "PUT", "HEAD", "DELETE"].map(plain);
    assert_eq!(requests(&server), methods);

    server.restart(&[]);
    put(&sink, meta("p/y"), &[&data]).await.unwrap();
    let mut methods = ["POST", "PUT", "PUT", "HEAD", "POST"].map(plain);
    methods[4].1 = true;
    assert_eq!(requests(&server), methods, "the condition is still sent");
}

#[tokio::test]
async fn one_refusal_does_not_undo_what_was_proven() {
    let (server, sink, ..) = proven(&[NOT_IMPLEMENTED], "proven").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(sink.mode(), S3Mode::Conditional);
    assert_eq!(requests(&server), vec![request("PUT", true); 2]);
    assert_eq!(sink.status().snapshot().retries, 1);
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_tried_again() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let sink = sink(settings(&endpoint, "any")).await;
    let trying = put(&sink, meta("p/x"), &[b"data"]);
    assert!(
        tokio::time::timeout(Duration::from_millis(800), trying)
            .await
            .is_err()
    );
    let status = sink.status().snapshot();
    assert!(status.retries >= 2, "{status:?}");
    assert!(status.last_error.unwrap().contains("onnect"));
}
