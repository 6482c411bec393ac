//! The S3 sink against a real S3 server.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use bytes::Bytes;
use hydrant_core::clock::Clock;
use hydrant_core::stage::{Completed, ObjectSink as _, SinkError};
use hydrant_sink::S3;
use hydrant_sink::s3::{Checksum, OpenUploads, S3Credentials, S3Mode, S3Settings};

use crate::support::{clock, meta, meta_of, put, rng, rules};

/// Keys of the test server.
const ACCESS_KEY: &str = "hydrant";
const SECRET_KEY: &str = "hydrant-secret";
const MIB: usize = 1 << 20;

/// The server's URL.
pub(crate) fn endpoint() -> String {
    std::env::var("HYDRANT_TEST_S3_ENDPOINT").expect(
        "HYDRANT_TEST_S3_ENDPOINT is not set: run cargo xtask test, which starts the S3 server",
    )
}

pub(crate) fn settings(endpoint: &str, bucket: &str) -> S3Settings {
    let credentials = S3Credentials::Static {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: SECRET_KEY.to_owned(),
        session_token: None,
    };
    let (bucket, endpoint) = (bucket.to_owned(), Some(endpoint.to_owned()));
    S3Settings {
        bucket,
        endpoint,
        credentials,
        ..S3Settings::default()
    }
}

pub(crate) async fn sink(settings: S3Settings) -> S3 {
    sink_by(settings, clock()).await
}

/// A sink that lives by this clock.
pub(crate) async fn sink_by(settings: S3Settings, clock: Arc<dyn Clock>) -> S3 {
    let (rng, uploads) = (rng(), OpenUploads::default());
    S3::new(settings, rules("p/"), clock, rng, uploads)
        .await
        .unwrap()
}

/// A client of the test's own, and a new bucket.
pub(crate) async fn bucket(name: &str) -> (Client, String) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(hydrant_aws::http_client(clock()))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .build();
    let client = Client::from_conf(config);
    let bucket = format!("{name}-{}-{}", std::process::id(), clock().wall_ms());
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    (client, bucket)
}

async fn read(client: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let object = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .unwrap();
    object.body.collect().await.unwrap().to_vec()
}

pub(crate) async fn open_uploads(client: &Client, bucket: &str) -> usize {
    let list = client
        .list_multipart_uploads()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    list.uploads().len()
}

async fn keys(client: &Client, bucket: &str) -> Vec<String> {
    let list = client
        .list_objects_v2()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    list.contents()
        .iter()
        .filter_map(|object| object.key().map(str::to_owned))
        .collect()
}

/// Bytes that no part of repeats at a part's length.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_small_object_is_put_once_and_compared_after_that() {
    let (client, bucket) = bucket("small").await;
    for checksum in [Checksum::Crc64Nvme, Checksum::Crc32, Checksum::RequiredOnly] {
        let sink = sink(S3Settings {
            checksum,
            ..settings(&endpoint(), &bucket)
        })
        .await;
        let key = format!("p/{checksum:?} ü=1/x.gz");
        let first = put(&sink, meta(&key), &[b"hello ", b"", b"world"])
            .await
            .unwrap();
        assert_eq!(first, Completed::Written, "{checksum:?}");
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_type(), Some("application/octet-stream"));
        assert_eq!(head.content_encoding(), Some("gzip"));
        let metadata = head.metadata().unwrap();
        assert_eq!(metadata["lane"], "shardId-0");
        assert_eq!(metadata["hydrant-rendered-by"], env!("CARGO_PKG_VERSION"));
        assert_eq!(metadata.len(), 5);

        let again = put(&sink, meta(&key), &[b"hello world"]).await.unwrap();
        assert_eq!(again, Completed::AlreadyThere, "{checksum:?}");
        for (other, what) in [(meta(&key), "hello w0rld"), (meta(&key), "shorter")] {
            let error = put(&sink, other, &[what.as_bytes()]).await.unwrap_err();
            let place = format!("s3://{bucket}/{key}");
            assert!(
                matches!(&error, SinkError::Mismatch { place: at } if *at == place),
                "{error}"
            );
        }
        let error = put(&sink, meta_of(&key, "8"), &[b"hello world"])
            .await
            .unwrap_err();
        assert!(
            matches!(error, SinkError::Mismatch { .. }),
            "another range: {error}"
        );
        assert_eq!(read(&client, &bucket, &key).await, b"hello world");
    }
    let sink = sink(settings(&endpoint(), &bucket)).await;
    assert_eq!(
        put(&sink, meta("p/empty"), &[]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(
        put(&sink, meta("p/empty"), &[]).await.unwrap(),
        Completed::AlreadyThere
    );
}

#[tokio::test]
async fn an_object_of_another_hydrant_version_is_kept() {
    let (client, bucket) = bucket("version").await;
    let sink = sink(settings(&endpoint(), &bucket)).await;
    let meta = meta("p/x");
    let mut object = client
        .put_object()
        .bucket(&bucket)
        .key("p/x")
        .metadata("hydrant-rendered-by", "0.0.1");
    for (name, value) in &meta.metadata {
        object = object.metadata(*name, value);
    }
    object
        .body(Bytes::from_static(b"rendered otherwise").into())
        .send()
        .await
        .unwrap();
    assert_eq!(
        put(&sink, meta, &[b"new bytes"]).await.unwrap(),
        Completed::AlreadyThere
    );
    assert_eq!(read(&client, &bucket, "p/x").await, b"rendered otherwise");
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_appears_at_its_end() {
    let (client, bucket) = bucket("parts").await;
    let data = noise(26 * MIB + 12_345, 1);
    for checksum in [Checksum::Crc64Nvme, Checksum::Crc32, Checksum::RequiredOnly] {
        let sink = sink(S3Settings {
            checksum,
            ..settings(&endpoint(), &bucket)
        })
        .await;
        let key = format!("p/{checksum:?}");
        let mut upload = sink.object(meta(&key));
        // Chunks of an odd size, and one that is larger than two parts.
        let (small, large) = data.split_at(7 * MIB);
        for chunk in small.chunks(999_983).chain([large]) {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            assert!(upload.held_bytes() <= 8 * MIB, "{}", upload.held_bytes());
        }
        assert_eq!(open_uploads(&client, &bucket).await, 1);
        assert!(
            !keys(&client, &bucket).await.contains(&key),
            "invisible before its end"
        );
        assert_eq!(
            upload.complete().await.unwrap(),
            Completed::Written,
            "{checksum:?}"
        );
        assert!(
            read(&client, &bucket, &key).await == data,
            "the bytes come back"
        );
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_encoding(), Some("gzip"));
        assert_eq!(head.metadata().unwrap().len(), 5);
        assert!(head.e_tag().unwrap().contains("-4"), "{:?}", head.e_tag());

        let again = put(&sink, meta(&key), &[&data]).await.unwrap();
        assert_eq!(again, Completed::AlreadyThere, "{checksum:?}");
        let other = noise(data.len(), 3);
        let error = put(&sink, meta(&key), &[&other]).await.unwrap_err();
        assert!(matches!(error, SinkError::Mismatch { .. }), "{error}");
        assert_eq!(open_uploads(&client, &bucket).await, 0);
    }
}

#[tokio::test]
async fn exactly_one_part_is_put_at_once_and_one_byte_more_is_not() {
    let (client, bucket) = bucket("border").await;
    let sink = sink(settings(&endpoint(), &bucket)).await;
    let data = noise(8 * MIB + 1, 5);
    for (key, bytes, tag) in [("p/a", 8 * MIB, None), ("p/b", 8 * MIB + 1, Some("-2\""))] {
        assert_eq!(
            put(&sink, meta(key), &[&data[..bytes]]).await.unwrap(),
            Completed::Written
        );
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_length(), Some(i64::try_from(bytes).unwrap()));
        assert_eq!(
            head.e_tag().unwrap().ends_with("-2\""),
            tag.is_some(),
            "{:?}",
            head.e_tag()
        );
    }
}

#[tokio::test]
async fn aborted_and_dropped_uploads_leave_nothing() {
    let (client, bucket) = bucket("abort").await;
    let sink = sink(settings(&endpoint(), &bucket)).await;
    let chunk = Bytes::from(noise(9 * MIB, 7));
    let mut aborted = sink.object(meta("p/aborted"));
    aborted.write(chunk.clone()).await.unwrap();
    assert_eq!(open_uploads(&client, &bucket).await, 1);
    aborted.abort().await;
    assert_eq!(open_uploads(&client, &bucket).await, 0);

    let mut dropped = sink.object(meta("p/dropped"));
    dropped.write(chunk.clone()).await.unwrap();
    drop(dropped);
    let mut next = sink.object(meta("p/next"));
    next.write(chunk).await.unwrap();
    assert_eq!(
        open_uploads(&client, &bucket).await,
        1,
        "only the one that is open"
    );
    next.complete().await.unwrap();
    assert_eq!(keys(&client, &bucket).await, ["p/next"]);
    sink.object(meta("p/unused")).abort().await;
}

#[tokio::test]
async fn an_upload_that_the_server_forgot_asks_for_a_redo() {
    let (client, bucket) = bucket("forgot").await;
    let sink = sink(settings(&endpoint(), &bucket)).await;
    let mut upload = sink.object(meta("p/x"));
    upload.write(Bytes::from(noise(9 * MIB, 9))).await.unwrap();
    let list = client
        .list_multipart_uploads()
        .bucket(&bucket)
        .send()
        .await
        .unwrap();
    let id = list.uploads()[0].upload_id().unwrap();
    client
        .abort_multipart_upload()
        .bucket(&bucket)
        .key("p/x")
        .upload_id(id)
        .send()
        .await
        .unwrap();
    let error = upload.complete().await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable(_)), "{error}");
    assert!(keys(&client, &bucket).await.is_empty());
}

#[tokio::test]
async fn the_probe_proves_conditional_writes_and_removes_itself() {
    let (client, bucket) = bucket("probe").await;
    let sink = sink(settings(&endpoint(), &bucket)).await;
    assert_eq!(sink.mode(), S3Mode::Unprobed);
    assert_eq!(sink.probe().await.unwrap(), S3Mode::Conditional);
    assert_eq!(sink.probe().await.unwrap(), S3Mode::Conditional);
    assert_eq!(sink.mode(), S3Mode::Conditional);
    assert!(keys(&client, &bucket).await.is_empty());
}

/// Puts for a moment; the put must still be trying when it is dropped.
async fn keeps_trying(sink: &S3) {
    let trying = put(sink, meta("p/x"), &[b"data"]);
    let ended = tokio::time::timeout(Duration::from_millis(700), trying).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn wrong_credentials_are_tried_again_and_counted() {
    let (client, bucket) = bucket("keys").await;
    let wrong = S3Credentials::Static {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: "not-the-secret".to_owned(),
        session_token: None,
    };
    let sink = sink(S3Settings {
        credentials: wrong,
        ..settings(&endpoint(), &bucket)
    })
    .await;
    keeps_trying(&sink).await;
    let status = sink.status().snapshot();
    assert_eq!((status.auth_failures, status.retries), (1, 1), "slowly");
    let error = status.last_error.unwrap();
    // A HEAD has no body that would say more.
    assert!(
        error.starts_with("403: ") && error.contains("s3:ListBucket"),
        "{error}"
    );
    assert!(!error.contains("not-the-secret"), "{error}");
    let refused = sink.probe().await.unwrap_err();
    assert!(
        std::error::Error::source(&refused)
            .unwrap()
            .to_string()
            .starts_with("403")
    );
    assert!(keys(&client, &bucket).await.is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_waited_for() {
    let sink = sink(settings(&endpoint(), "no-such-bucket")).await;
    keeps_trying(&sink).await;
    let status = sink.status().snapshot();
    // It looks first, which says no more than that there is no object.
    assert_eq!((status.missing_places, status.attempts), (1, 2), "slowly");
    assert!(status.last_error.unwrap().starts_with("404 NoSuchBucket"));
}
