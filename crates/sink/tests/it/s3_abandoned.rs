//! Uploads that a killed process left behind at a real S3 server: only those that are this delivery
//! stream's, old, and under way nowhere in this process are given up.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use hydrant_core::clock::Clock;
use hydrant_core::rng::Rng;
use hydrant_core::stage::{Completed, ObjectId, ObjectSink as _};
use hydrant_core::{BoxFuture, Digest};
use hydrant_sink::s3::{OpenUploads, S3Settings};
use hydrant_sink::{KeyRules, S3};

use crate::fake::{FaultServer, Step};
use crate::s3::{bucket, endpoint, noise, settings};
use crate::support::{clock, meta, rng};

const DAY: Duration = Duration::from_hours(24);
const PREFIX: &str = "data/dt=!{timestamp:yyyy-MM-dd}/";
const ERRORS: &str = "errors/!{firehose:error-output-type}/";

/// The real clock, some time later.
struct Later(Arc<dyn Clock>, Duration);

impl Clock for Later {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms() + u64::try_from(self.1.as_millis()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

fn rules_of(stream: &str) -> KeyRules {
    KeyRules::new(stream, 1, Some(PREFIX), Some(ERRORS), None).unwrap()
}

async fn sink_later(settings: S3Settings, by: Duration, uploads: &OpenUploads) -> S3 {
    let (clock, rng): (_, Arc<dyn Rng>) = (Arc::new(Later(clock(), by)), rng());
    let made = S3::new(settings, rules_of("clicks"), clock, rng, uploads.clone());
    made.await.unwrap()
}

fn key_of(stream: &str, object: &str, error_kind: Option<&str>) -> String {
    rules_of(stream).key(&ObjectId {
        arrival_ms: clock().wall_ms(),
        digest: Digest::of(object.as_bytes()),
        partition_keys: &[],
        error_kind,
        extension: ".gz",
    })
}

/// Begins an upload, as a process that is killed then.
async fn leave(client: &Client, bucket: &str, key: &str) {
    let begun = client.create_multipart_upload().bucket(bucket).key(key);
    let id = begun.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket(bucket).key(key).upload_id(id);
    let part = part.part_number(1).body(Bytes::from_static(b"part").into());
    part.send().await.unwrap();
}

/// Keys of the uploads that are open, in their order.
async fn open(client: &Client, bucket: &str) -> Vec<String> {
    let list = client.list_multipart_uploads().bucket(bucket);
    let list = list.send().await.unwrap();
    assert_ne!(list.is_truncated(), Some(true));
    let keys = list
        .uploads()
        .iter()
        .map(|one| one.key().unwrap().to_owned());
    keys.collect()
}

fn sorted<const N: usize>(keys: [&str; N]) -> Vec<String> {
    let mut keys = keys.map(str::to_owned).to_vec();
    keys.sort();
    keys
}

#[tokio::test]
async fn only_old_ones_of_this_stream_are_given_up() {
    let (client, bucket) = bucket("abandoned").await;
    let (own, error) = (
        key_of("clicks", "a", None),
        key_of("clicks", "a", Some("processing-failed")),
    );
    let others = [
        key_of("views", "a", None),
        key_of("my-clicks", "a", None),
        own.replace("data/", "elsewhere/"),
        own.replace("clicks-1-", "clicks-2-"),
        "data/backup.tar".to_owned(),
    ];
    let (other, checked) = (
        others.each_ref().map(String::as_str),
        "data/dt=.hydrant-probe/check-x-parts",
    );
    for key in [&own, &error, &own].into_iter().chain(&others) {
        leave(&client, &bucket, key).await;
    }
    leave(&client, &bucket, checked).await;
    let uploads = OpenUploads::default();
    let settings = settings(&endpoint(), &bucket);

    let young = sink_later(
        settings.clone(),
        DAY.saturating_sub(Duration::from_mins(5)),
        &uploads,
    )
    .await;
    assert_eq!(young.clean(DAY).await.unwrap(), 0);
    assert_eq!(open(&client, &bucket).await.len(), 4 + others.len());

    let old = sink_later(settings, DAY + Duration::from_mins(5), &uploads).await;
    assert_eq!(old.clean(DAY).await.unwrap(), 4);
    assert_eq!(open(&client, &bucket).await, sorted(other));
    assert_eq!((old.aborted_uploads(), young.aborted_uploads()), (4, 0));
    assert_eq!(old.clean(DAY).await.unwrap(), 0, "none is left");
}

#[tokio::test]
async fn what_this_process_has_under_way_is_kept() {
    let (client, bucket) = bucket("under-way").await;
    let (mine, left) = (key_of("clicks", "a", None), key_of("clicks", "b", None));
    let uploads = OpenUploads::default();
    let settings = settings(&endpoint(), &bucket);
    // A sink of an earlier version of the stream has it under way, this one looks.
    let other = sink_later(settings.clone(), Duration::ZERO, &uploads).await;
    let mut upload = other.object(meta(&mine));
    upload.write(Bytes::from(noise(9 << 20, 3))).await.unwrap();
    leave(&client, &bucket, &left).await;
    let sink = sink_later(settings.clone(), 2 * DAY, &uploads).await;
    assert_eq!(sink.clean(DAY).await.unwrap(), 1);
    assert_eq!(open(&client, &bucket).await, [mine.as_str()]);
    assert_eq!(upload.complete().await.unwrap(), Completed::Written);

    // One that was dropped is under way no more.
    let mut dropped = other.object(meta(&left));
    dropped.write(Bytes::from(noise(9 << 20, 5))).await.unwrap();
    drop(dropped);
    assert_eq!(sink.clean(DAY).await.unwrap(), 1);
    assert!(open(&client, &bucket).await.is_empty());
}

#[tokio::test]
async fn more_than_a_page_is_looked_at() {
    let (client, bucket) = bucket("pages").await;
    // Pages are of 1,000: the fake answers the first with a cut that the server would make later.
    for number in 0..5 {
        leave(
            &client,
            &bucket,
            &key_of("clicks", &number.to_string(), None),
        )
        .await;
    }
    let first = open(&client, &bucket).await.remove(0);
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListMultipartUploadsResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>{bucket}</Bucket>\
         <NextKeyMarker>{first}</NextKeyMarker><NextUploadIdMarker>x</NextUploadIdMarker>\
         <IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"
    );
    let step = Step::Answer("200 OK", "content-type: application/xml\r\n", page.leak());
    let server = FaultServer::start(&endpoint(), &[step]);
    let uploads = OpenUploads::default();
    let sink = sink_later(settings(&server.endpoint, &bucket), 2 * DAY, &uploads).await;
    assert_eq!(
        sink.clean(DAY).await.unwrap(),
        4,
        "what the first page has passed over stays"
    );
    assert_eq!(open(&client, &bucket).await, [first.as_str()]);
    let lists = |(line, _): &&(String, bool)| line.starts_with("GET ");
    assert_eq!(server.seen.lock().unwrap().iter().filter(lists).count(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_let_it_harms_nothing() {
    let (client, bucket) = bucket("refused").await;
    let key = key_of("clicks", "a", None);
    leave(&client, &bucket, &key).await;
    let denied = "<Error><Code>AccessDenied</Code></Error>";
    let unknown = "<Error><Code>NotImplemented</Code></Error>";
    for answer in [
        Step::Answer("403 Forbidden", "", denied),
        Step::Answer("501 Not Implemented", "", unknown),
        Step::Answer("405 Method Not Allowed", "", ""),
    ] {
        let server = FaultServer::start(&endpoint(), &[answer]);
        let uploads = OpenUploads::default();
        let mut settings = settings(&server.endpoint, &bucket);
        settings.abort_uploads_after = Some(DAY);
        let sink = sink_later(settings, 2 * DAY, &uploads).await;
        let once = tokio::time::timeout(Duration::from_secs(2), sink.keep_clean());
        assert!(once.await.is_err(), "it goes on for ever");
        assert_eq!(
            server.seen.lock().unwrap().len(),
            1,
            "asked once, and in an hour"
        );
        let status = sink.status().snapshot();
        assert_eq!((status.last_error, status.retries), (None, 0), "no alarm");
        assert_eq!(open(&client, &bucket).await, [key.as_str()]);
    }
}

#[tokio::test]
async fn the_first_look_is_at_once_and_never_means_never() {
    let (client, bucket) = bucket("at-once").await;
    let key = key_of("clicks", "a", None);
    leave(&client, &bucket, &key).await;
    for (age, want) in [(None, 1), (Some(DAY), 0)] {
        let mut settings = settings(&endpoint(), &bucket);
        settings.abort_uploads_after = age;
        let sink = sink_later(settings, 2 * DAY, &OpenUploads::default()).await;
        let looking = tokio::time::timeout(Duration::from_secs(2), sink.keep_clean());
        assert!(looking.await.is_err());
        assert_eq!(open(&client, &bucket).await.len(), want);
    }
}
