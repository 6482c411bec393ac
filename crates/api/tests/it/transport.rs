//! HTTP: both versions on one port, heads and bodies that are wrong, slow or too many, shutdown.

use bytes::Bytes;
use http_body_util::Full;
use hydrant_api::{Auth, Error, Settings, bind};
use hyper::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Api, blob};

fn list(api: &Api) -> hyper::http::request::Builder {
    Request::post(format!("http://{}/", api.address))
        .header("host", api.address.to_string())
        .header("x-amz-target", "Kinesis_20131202.ListStreams")
        .header("content-type", "application/x-amz-json-1.1")
}

fn body(text: &str) -> Full<Bytes> {
    Full::new(Bytes::from(text.to_owned()))
}

#[tokio::test]
async fn http_1_and_2_on_one_port() {
    let api = Api::with_stream(1).await;
    let (status, _, first) = api.request(list(&api).body(body("{}")).unwrap()).await;
    let (status_h2, headers, second) = api.request_h2(list(&api).body(body("{}")).unwrap()).await;
    assert_eq!((status, status_h2, &first), (200, 200, &second));
    assert!(headers.contains_key("x-amzn-requestid"));
    let answer: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(answer["StreamNames"], json!(["clicks"]));
    assert!(api.stop().await);
}

#[tokio::test]
async fn heads_that_are_wrong() {
    let api = Api::start().await;
    let json_type = "application/x-amz-json-1.1";
    for (method, target, content_type, status, kind) in [
        (
            "POST",
            "Kinesis_20131202.MakeCoffee",
            json_type,
            400,
            "UnknownOperationException",
        ),
        (
            "POST",
            "Kinesis_20131202.",
            json_type,
            400,
            "UnknownOperationException",
        ),
        (
            "POST",
            "Other.ListStreams",
            json_type,
            400,
            "UnknownOperationException",
        ),
        ("POST", "", json_type, 400, "UnknownOperationException"),
        (
            "GET",
            "Kinesis_20131202.ListStreams",
            json_type,
            403,
            "AccessDeniedException",
        ),
        (
            "POST",
            "Kinesis_20131202.ListStreams",
            "text/plain",
            415,
            "UnknownOperationException",
        ),
        (
            "POST",
            "Kinesis_20131202.ListStreams",
            "application/cbor",
            415,
            "UnknownOperationException",
        ),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "localhost")
            .header("x-amz-target", target)
            .header("content-type", content_type)
            .body(body("{}"))
            .unwrap();
        let (found, headers, answer) = api.request(request).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(
            (found, answer["__type"].as_str()),
            (status, Some(kind)),
            "{method} {target}"
        );
        assert_eq!(headers["x-amzn-errortype"], kind);
        assert_eq!(headers["content-type"], json_type);
        if status == 415 {
            assert_eq!(
                answer["message"],
                "the content type must be application/x-amz-json-1.1 or application/x-amz-cbor-1.1"
            );
        }
    }
    let large = list(&api)
        .header("x-large", "x".repeat(20_000))
        .body(body("{}"))
        .unwrap();
    assert_eq!(api.request(large).await.0, 431);
    let cased = list(&api)
        .header("content-type", "x")
        .body(body("{}"))
        .unwrap();
    assert_eq!(
        api.request(cased).await.0,
        200,
        "the first content type counts"
    );
    let options = Request::options("/")
        .header("origin", "http://x")
        .body(body(""))
        .unwrap();
    let (status, headers, _) = api.request(options).await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (200, &"*".parse().unwrap())
    );
}

/// What the server sends on a connection until it closes it.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let api = Api::start().await;
    for said in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, "", "{said:?}");
    }
    assert!(api.stop().await);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecord\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("comes too slowly"));
    assert!(api.stop().await, "its bytes of the budget came back");
}

#[tokio::test]
async fn a_body_without_length() {
    let api = Api::with_stream(1).await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.ListStreams\r\ncontent-type: application/x-amz-json-1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("clicks"),
        "{answer}"
    );
}

#[tokio::test]
async fn shutdown_lets_calls_end_and_takes_no_more() {
    let api = Api::with_stream(1).await;
    let address = api.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let call = json!({ "StreamName": "clicks", "Data": blob(b"late"), "PartitionKey": "k" });
    let call = call.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecord\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The call has begun once its bytes are taken.
    while api.budget.used() == 0 {
        tokio::task::yield_now().await;
    }
    let (stopped, answer) = tokio::join!(api.stop(), async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        stream.write_all(call.as_bytes()).await.unwrap();
        rest(&mut stream).await
    });
    assert!(stopped);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("SequenceNumber"),
        "{answer}"
    );
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn many_calls_at_once() {
    let api = std::sync::Arc::new(Api::with_stream(4).await);
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..50 {
        let api = api.clone();
        calls.spawn(async move {
            let record = json!({ "Data": blob(b"x"), "PartitionKey": i.to_string() });
            let put = json!({ "StreamName": "clicks", "Records": vec![record; 20] });
            api.ok("PutRecords", put).await["FailedRecordCount"].clone()
        });
    }
    assert!(calls.join_all().await.iter().all(|failed| *failed == 0));
    let mut count = 0;
    for shard in 0..4 {
        let iterator = api.iterator(shard, "TRIM_HORIZON", Value::Null).await;
        let answer = api
            .ok("GetRecords", json!({ "ShardIterator": iterator }))
            .await;
        count += answer["Records"].as_array().unwrap().len();
    }
    assert_eq!(count, 1_000);
}

#[tokio::test]
async fn open_to_all_is_refused() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let settings = Settings::new(listen.parse().unwrap());
        assert_eq!(settings.auth, Auth::None);
        let error = bind(settings).await.err().unwrap();
        assert!(matches!(error, Error::OpenToAll { .. }));
        assert!(error.to_string().contains("api.auth is none"), "{error}");
    }
    let api = Api::start().await;
    let taken = bind(Settings::new(api.address)).await.err().unwrap();
    assert!(matches!(taken, Error::Bind { .. }));
}

/// A server with a stream that holds so many bytes that no socket takes the answer, and the body of a
/// call for it.
async fn with_a_large_answer() -> (Api, String) {
    let api = Api::with_stream(1).await;
    for _ in 0..4 {
        let put = json!({ "StreamName": "clicks", "Data": blob(&vec![7; 1_000_000]), "PartitionKey": "k" });
        api.ok("PutRecord", put).await;
    }
    let iterator = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    (api, json!({ "ShardIterator": iterator }).to_string())
}

/// What the answer of [`with_a_large_answer`] holds of the budget.
const ANSWER: std::ops::Range<usize> = 5_300_000..5_500_000;

/// Waits until the budget is held as wanted; four minutes of the server's time at most.
async fn until_held(api: &Api, wanted: impl Fn(usize) -> bool) -> bool {
    for _ in 0..1200 {
        if wanted(api.budget.used()) {
            return true;
        }
        pause().await;
    }
    false
}

#[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_held_and_given_up() {
    let (api, call) = with_a_large_answer().await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.GetRecords\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all((head + &call).as_bytes()).await.unwrap();
    assert!(until_held(&api, |bytes| ANSWER.contains(&bytes)).await);
    // Half the time that it has.
    for _ in 0..200 {
        pause().await;
        assert!(
            ANSWER.contains(&api.budget.used()),
            "what is not sent yet is not free"
        );
    }
    assert!(until_held(&api, |bytes| bytes == 0).await, "for ever");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.len() < ANSWER.start);
    assert!(api.stop().await);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_over_http_2_is_given_up() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (api, call) = with_a_large_answer().await;
    let stream = TcpStream::connect(api.address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1_000)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let get = list(&api).header("x-amz-target", "Kinesis_20131202.GetRecords");
    let mut get = get.body(body(&call)).unwrap();
    let target = "Kinesis_20131202.GetRecords".parse().unwrap();
    get.headers_mut().insert("x-amz-target", target);
    let answer = client.send_request(get).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(until_held(&api, |bytes| ANSWER.contains(&bytes)).await);
    // The connection is alive: others are answered on it.
    let other = client
        .send_request(list(&api).body(body("{}")).unwrap())
        .await;
    assert_eq!(other.unwrap().status(), 200);
    assert!(until_held(&api, |bytes| bytes == 0).await, "for ever");
    drop((connection.await.unwrap(), answer));
    assert!(api.stop().await);
}

#[tokio::test]
async fn a_slow_reader_gets_its_answer() {
    let (api, call) = with_a_large_answer().await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.GetRecords\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all((head + &call).as_bytes()).await.unwrap();
    let (mut read, mut some) = (0, vec![0; 64 << 10]);
    loop {
        // 320 KiB a second of the server's time; it must be 64 KiB.
        pause().await;
        match stream.read(&mut some).await.unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(ANSWER.contains(&read), "{read}");
    assert!(api.stop().await);
}
