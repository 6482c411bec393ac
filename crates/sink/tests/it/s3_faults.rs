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
    let server = FaultServer::start(&endpoint(), script).await;
    let sink = sink(settings(&server.endpoint, &bucket)).await;
    (server, sink, bucket, client)
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
    let (server, sink, bucket, client) = through(&script, "faults").await;
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
        (status.attempts, status.retries, status.throttles),
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
    let (server, sink, ..) = through(&[Step::LoseReply], "lost").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::AlreadyThere
    );
    let methods: Vec<String> = server
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter_map(|(line, _)| line.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(methods, ["PUT", "PUT", "HEAD"]);
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
        // The second part, and the completion.
        Step::Reset,
        Step::Slow(Duration::ZERO),
        INTERNAL,
        Step::LoseReply,
    ];
    let (server, sink, bucket, client) = through(&script, "steps").await;
    let data = noise(9 << 20, 11);
    let completed = put(&sink, meta("p/x"), &[&data]).await.unwrap();
    // Some servers answer the completion, asked again, as they did before; others say 412.
    assert!(matches!(
        completed,
        Completed::Written | Completed::AlreadyThere
    ));
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
        3
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
    let (_server, sink, ..) = through(&[NOT_IMPLEMENTED], "refuses").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(sink.mode(), S3Mode::Overwrite);
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
