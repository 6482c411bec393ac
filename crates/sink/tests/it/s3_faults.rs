//! The S3 sink through a fake that fails before it lets requests through to the real server.

use std::time::Duration;

use bytes::Bytes;
use hydrant_core::retry::BreakerState;
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
const SICK_PUTS: usize = 40;
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

/// Another request for the name was under way, says the server: that is no object yet.
#[tokio::test]
async fn a_conflict_does_not_mean_that_the_object_is_there() {
    let (server, sink, bucket, client) = proven(&[CONFLICT, CONFLICT], "conflict").await;
    assert_eq!(
        put(&sink, meta("p/x"), &[b"data"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!((server.left(), requests(&server).len()), (0, 3));
    // Begun, two parts, looked; then the completion.
    let pass = Step::Slow(Duration::ZERO);
    server.restart(&[pass, pass, pass, pass, CONFLICT]);
    let data = noise(9 << 20, 23);
    let completed = put(&sink, meta("p/y"), &[&data]).await.unwrap();
    assert_eq!((completed, server.left()), (Completed::Written, 0));
    for (key, bytes) in [("p/x", 4), ("p/y", data.len())] {
        let head = client.head_object().bucket(&bucket).key(key);
        let length = head.send().await.unwrap().content_length();
        assert_eq!(length, i64::try_from(bytes).ok(), "{key}");
    }
    // And where it is there, with other content, it is not taken for ours.
    taken(&client, &bucket, "p/z").await;
    server.restart(&[CONFLICT]);
    let error = put(&sink, meta("p/z"), &[b"data"]).await.unwrap_err();
    assert!(matches!(error, SinkError::Mismatch { .. }), "{error}");
}

/// The destination is sick: after ten failures in a row all but a probe waits, whichever object it is
/// for; with the first answer all go on at once, in whatever pause they are.
#[tokio::test]
async fn a_sick_server_is_left_alone_and_then_all_goes_on() {
    let (server, sink, bucket, client) = proven(&[INTERNAL; 60], "sick").await;
    // All are asked for while it seems well: who waits for a place must look again once it is sick.
    let puts = (0..SICK_PUTS).map(|number| {
        let sink = sink.clone();
        tokio::spawn(async move { put(&sink, meta(&format!("p/{number}")), &[b"data"]).await })
    });
    let puts: Vec<_> = puts.collect();
    let opened = async {
        while sink.status().snapshot().breaker != Some(BreakerState::Open) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened)
        .await
        .unwrap();
    let asked = requests(&server).len();
    assert!(
        (10..=14).contains(&asked),
        "{asked}: at most those under way beside the tenth"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(requests(&server).len(), asked, "it is left alone");
    server.restart(&[]);
    let well = std::time::Instant::now();
    for put in puts {
        assert_eq!(put.await.unwrap().unwrap(), Completed::Written);
    }
    assert!(
        well.elapsed() < Duration::from_secs(11),
        "{:?}",
        well.elapsed()
    );
    let status = sink.status().snapshot();
    assert_eq!(
        (status.breaker, status.breaker_openings),
        (Some(BreakerState::Closed), 1)
    );
    assert_eq!((status.last_error, status.retries_held), (None, 0));
    let list = client
        .list_objects_v2()
        .bucket(&bucket)
        .send()
        .await
        .unwrap();
    assert_eq!(list.contents().len(), SICK_PUTS);
}

#[tokio::test]
async fn what_the_server_refuses_of_one_object_is_no_sickness() {
    let taken_name = Step::Answer("412 Precondition Failed", "", "");
    let denied = Step::Answer(
        "403 Forbidden",
        "",
        "<Error><Code>AccessDenied</Code></Error>",
    );
    for (step, name) in [
        (taken_name, "taken"),
        (denied, "denied"),
        (CONFLICT, "conflicts"),
    ] {
        let (server, sink, ..) = proven(&[step; 40], name).await;
        let puts = (0..15).map(|number| {
            let sink = sink.clone();
            async move { put(&sink, meta(&format!("p/{number}")), &[b"data"]).await }
        });
        let all = futures_util::future::join_all(puts);
        drop(tokio::time::timeout(Duration::from_secs(2), all).await);
        assert!(requests(&server).len() >= 15, "{name}");
        let status = sink.status().snapshot();
        assert_eq!(
            (status.breaker, status.breaker_openings),
            (Some(BreakerState::Closed), 0)
        );
    }
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

/// How many requests a server has at once that answers nothing any more after `script`.
async fn at_once(script: &[Step], puts: usize, name: &str) -> usize {
    const SILENT: usize = 90;
    let silence = [Step::Slow(Duration::from_mins(10)); SILENT];
    let (server, sink, ..) = proven(&[script, &silence].concat(), name).await;
    for number in 0..puts {
        let sink = sink.clone();
        tokio::spawn(async move { put(&sink, meta(&format!("p/{number}")), &[b"data"]).await });
    }
    let answered = async {
        while server.left() >= SILENT {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, answered).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    SILENT - server.left()
}

#[tokio::test]
async fn it_is_asked_more_at_once_while_it_answers_and_less_once_it_asks_to_slow_down() {
    assert_eq!(at_once(&[], 30, "first").await, 4);
    let quick = [Step::Slow(Duration::from_millis(5)); 40];
    let more = at_once(&quick, 130, "more").await;
    assert!(more > 6, "{more}");
    // Four were under way together: that is one cut, from four to two.
    assert_eq!(at_once(&[SLOW_DOWN; 4], 30, "fewer").await, 2);
}

#[tokio::test]
async fn the_pause_that_a_server_asks_for_is_kept() {
    let asked = Step::Answer("429 Too Many Requests", "retry-after: 3\r\n", "");
    let (_server, sink, ..) = proven(&[asked], "asked").await;
    let began = std::time::Instant::now();
    put(&sink, meta("p/x"), &[b"data"]).await.unwrap();
    // Without its word the first pause is a fraction of a second.
    let pause = began.elapsed();
    assert!(pause >= Duration::from_secs(3), "{pause:?}");
}
