//! The operations pages, asked over HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hydrant::operations::{
    DeliveryStreamSnapshot, DestinationKind, MemoryHolder, MemorySnapshot, Snapshot,
    StreamSnapshot, bind, render,
};
use hydrant::runtime::RealClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

fn snapshot(ready: bool) -> Snapshot {
    let delivery = |name: &str, destination| DeliveryStreamSnapshot {
        name: name.to_owned(),
        source: "clicks".to_owned(),
        destination,
        records_read: 10,
        records_added: 1,
        records_delivered: 8,
        records_dropped: 2,
        records_failed: 1,
        bytes_delivered: 1 << 60,
        attempts: 4,
        successes: 3,
        data_freshness_seconds: 1.5,
        failing: [("transient", 0), ("auth", 3)].into(),
        breaker: (destination == DestinationKind::S3).then_some("half_open"),
        breaker_openings: 5,
        retries_held: 6,
        last_error: Some("the bucket is \"gone\"".to_owned()),
        ..DeliveryStreamSnapshot::default()
    };
    Snapshot {
        ready,
        uptime_seconds: 2.0,
        delivery_streams: vec![
            delivery("raw", DestinationKind::Directory),
            delivery("lake", DestinationKind::S3),
            delivery("other", DestinationKind::S3),
        ],
        streams: vec![StreamSnapshot {
            name: "clicks".to_owned(),
            shards: 2,
            ..StreamSnapshot::default()
        }],
        memory: MemorySnapshot {
            capacity_bytes: 100,
            used_bytes: 7,
            waiting: 0,
            holders: vec![MemoryHolder {
                name: "raw".to_owned(),
                bytes: 7,
                share_bytes: 50,
                waiting: 2,
            }],
        },
    }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn pages_answer_from_the_snapshot_of_the_moment() {
    let server = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr();
    let ready = Arc::new(AtomicBool::new(false));
    let source = {
        let ready = ready.clone();
        Arc::new(move || snapshot(ready.load(Ordering::Relaxed)))
    };
    let (end, ended) = oneshot::channel::<()>();
    let running = tokio::spawn(
        server.serve(source, Arc::new(RealClock::default()), async move {
            drop(ended.await);
        }),
    );

    assert!(
        ask(address, "GET /healthz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        ask(address, "GET /readyz")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    ready.store(true, Ordering::Relaxed);
    let readyz = ask(address, "GET /readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 200 "), "{readyz}");
    let named = "ready\nfailing: raw: the bucket is \"gone\"\nfailing: lake: ";
    assert!(readyz.contains(named), "{readyz}");
    assert!(
        ask(address, "POST /readyz")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    assert!(
        ask(address, "GET /nothing")
            .await
            .starts_with("HTTP/1.1 404 ")
    );

    let metrics = ask(address, "GET /metrics").await;
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{metrics}"
    );
    assert!(metrics.contains("hydrant_ready 1\n"));
    let streams = ask(address, "GET /api/v1/streams").await;
    let (_, body) = streams.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["delivery_streams"][1]["destination"], "s3");
    assert_eq!(
        body["delivery_streams"][0]["last_error"],
        "the bucket is \"gone\""
    );
    assert_eq!(body["delivery_streams"][1]["breaker"], "half_open");
    assert_eq!(body["memory"]["holders"][0]["bytes"], 7);

    // An idle connection does not hold the end up.
    let idle = TcpStream::connect(address).await.unwrap();
    drop(end);
    running.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[test]
fn metrics_mirror_firehose_and_hold_the_balance() {
    let text = render(&snapshot(true));
    for line in [
        "hydrant_delivery_to_s3_bytes_total{delivery_stream=\"lake\"} 1152921504606846976",
        "hydrant_delivery_to_s3_success_ratio{delivery_stream=\"other\"} 0.75",
        "hydrant_delivery_to_s3_data_freshness_seconds{delivery_stream=\"lake\"} 1.5",
        "hydrant_delivery_to_directory_records_total{delivery_stream=\"raw\"} 8",
        "hydrant_records_read_total{delivery_stream=\"raw\"} 10",
        "hydrant_records_added_total{delivery_stream=\"raw\"} 1",
        "hydrant_records_dropped_total{delivery_stream=\"raw\"} 2",
        "hydrant_records_failed_total{delivery_stream=\"raw\"} 1",
        "hydrant_delivery_failing{delivery_stream=\"raw\"} 1",
        "hydrant_stream_shards{stream=\"clicks\"} 2",
        "hydrant_memory_held_bytes{holder=\"raw\"} 7",
        "hydrant_memory_share_bytes{holder=\"raw\"} 50",
        "hydrant_memory_holder_waiting{holder=\"raw\"} 2",
        "hydrant_destination_failing{delivery_stream=\"lake\",class=\"auth\"} 1",
        "hydrant_destination_failing{delivery_stream=\"lake\",class=\"transient\"} 0",
        "hydrant_destination_breaker{delivery_stream=\"lake\",state=\"closed\"} 0",
        "hydrant_destination_breaker{delivery_stream=\"lake\",state=\"half_open\"} 1",
        "hydrant_destination_breaker{delivery_stream=\"lake\",state=\"open\"} 0",
        "hydrant_destination_breaker_openings_total{delivery_stream=\"lake\"} 5",
        "hydrant_destination_retries_held{delivery_stream=\"lake\"} 6",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
    assert!(!text.contains("stdout"), "no metric without samples");
    let of_directory = "hydrant_destination_breaker{delivery_stream=\"raw\"";
    assert!(!text.contains(of_directory), "nothing holds it back");
}

#[test]
fn every_metric_is_described_once_and_named_by_the_rules() {
    let text = render(&snapshot(true));
    let mut names = BTreeSet::new();
    let mut kind = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert_eq!(word == "counter", name.ends_with("_total"), "{name}");
            name.clone_into(&mut kind);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(name, kind, "samples follow their type");
        }
    }
    assert!(names.len() > 30, "{names:?}");
}
