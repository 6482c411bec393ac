//! Bodies in CBOR: the same answers as in JSON, but for blobs and moments.

use bytes::Bytes;
use hyper::HeaderMap;
use minicbor::Encoder;
use minicbor::data::IanaTag;
use serde_json::{Value, json};

use crate::support::{Api, START_MS, data};

const CBOR: &str = "application/x-amz-cbor-1.1";

/// How lengths are given.
#[derive(Clone, Copy)]
enum Lengths {
    Definite,
    /// Also chunks of one byte.
    Indefinite,
}

/// A value in CBOR; `{"$bytes": TEXT}` is a byte string, `{"$ms": NUMBER}` a moment.
fn encode(value: &Value, lengths: Lengths) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    put(value, lengths, &mut out).unwrap();
    out.into_writer()
}

type Out = Encoder<Vec<u8>>;

fn put(
    value: &Value,
    lengths: Lengths,
    out: &mut Out,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    let definite = matches!(lengths, Lengths::Definite);
    match value {
        Value::Null => out.null()?,
        Value::Bool(value) => out.bool(*value)?,
        Value::Number(number) => out.i64(number.as_i64().unwrap())?,
        Value::String(text) if definite => out.str(text)?,
        Value::String(text) => {
            out.begin_str()?;
            for one in text.chars() {
                out.str(one.encode_utf8(&mut [0; 4]))?;
            }
            out.end()?
        }
        Value::Array(list) => {
            if definite {
                out.array(list.len() as u64)?;
            } else {
                out.begin_array()?;
            }
            list.iter().try_for_each(|item| put(item, lengths, out))?;
            return if definite {
                Ok(())
            } else {
                out.end().map(drop)
            };
        }
        Value::Object(map) => {
            if let Some(ms) = map.get("$ms") {
                out.tag(IanaTag::Timestamp)?.i64(ms.as_i64().unwrap())?;
            } else if let Some(bytes) = map.get("$bytes") {
                let bytes = bytes.as_str().unwrap().as_bytes();
                if definite {
                    out.bytes(bytes)?;
                } else {
                    out.begin_bytes()?;
                    bytes
                        .chunks(1)
                        .try_for_each(|one| out.bytes(one).map(drop))?;
                    out.end()?;
                }
            } else {
                if definite {
                    out.map(map.len() as u64)?;
                } else {
                    out.begin_map()?;
                }
                for (name, value) in map {
                    put(&name.as_str().into(), lengths, out)?;
                    put(value, lengths, out)?;
                }
                if !definite {
                    out.end()?;
                }
            }
            return Ok(());
        }
    };
    Ok(())
}

/// An answer in JSON, in the notation for CBOR.
fn notation(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(list) => format!("[{}]", join(list.iter().map(notation).collect())),
        Value::Object(map) => {
            let member = |(name, value): (&String, &Value)| {
                let shown = if name == "StreamCreationTimestamp" {
                    format!("1({:.0})", value.as_f64().unwrap() * 1000.0)
                } else {
                    notation(value)
                };
                format!("\"{name}\": {shown}")
            };
            format!("{{{}}}", join(map.iter().map(member).collect()))
        }
        value => value.to_string(),
    }
}

impl Api {
    async fn send_cbor(&self, operation: &str, body: impl Into<Bytes>) -> (u16, HeaderMap, Bytes) {
        let answer = self.send_as(CBOR, operation, body).await;
        assert_eq!(answer.1["content-type"], CBOR);
        answer
    }

    /// A call that succeeds: the notation of the answer.
    async fn ok_cbor(&self, operation: &str, body: Value) -> String {
        let body = encode(&body, Lengths::Definite);
        let (status, _, answer) = self.send_cbor(operation, body).await;
        let shown = minicbor::display(&answer).to_string();
        assert_eq!(status, 200, "{operation}: {shown}");
        shown
    }

    /// A call that fails: the notation of the answer.
    async fn err_cbor(&self, operation: &str, body: impl Into<Bytes>) -> (u16, String) {
        let (status, headers, answer) = self.send_cbor(operation, body).await;
        let shown = minicbor::display(&answer).to_string();
        let kind = headers["x-amzn-errortype"].to_str().unwrap();
        assert!(
            shown.starts_with(&format!("{{\"__type\": \"{kind}\""))
                || shown.starts_with("{\"Message"),
            "{shown}"
        );
        (status, shown)
    }
}

#[tokio::test]
async fn control_operations() {
    let api = Api::start().await;
    let create = json!({ "StreamName": "clicks", "ShardCount": 2, "StreamModeDetails": { "StreamMode": "PROVISIONED" } });
    let create = encode(&create, Lengths::Indefinite);
    let (status, headers, body) = api.send_cbor("CreateStream", create).await;
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(headers["content-length"], "0");
    let clicks = json!({ "StreamName": "clicks" });
    for (operation, body) in [
        ("DescribeStream", clicks.clone()),
        ("DescribeStreamSummary", clicks.clone()),
        ("ListShards", clicks.clone()),
        (
            "ListShards",
            json!({ "StreamName": "clicks", "MaxResults": 2 }),
        ),
        ("ListStreams", json!({})),
        ("ListStreams", json!({ "Limit": 1, "NextToken": null })),
    ] {
        let wanted = notation(&api.ok(operation, body.clone()).await);
        assert_eq!(api.ok_cbor(operation, body).await, wanted, "{operation}");
    }
    let summary = api.ok_cbor("DescribeStreamSummary", clicks.clone()).await;
    let created = format!("\"StreamCreationTimestamp\": 1({START_MS})");
    assert!(summary.contains(&created), "{summary}");
    let of_age =
        |ms: u64| json!({ "StreamName": "clicks", "StreamCreationTimestamp": { "$ms": ms } });
    api.ok_cbor("ListShards", of_age(START_MS)).await;
    let (_, other) = api
        .err_cbor(
            "ListShards",
            encode(&of_age(START_MS - 1_000), Lengths::Definite),
        )
        .await;
    assert!(
        other.contains("created at 1699999999.345 not found"),
        "{other}"
    );
    assert_eq!(api.ok_cbor("DeleteStream", clicks).await, "");
    assert!(api.stop().await);
}

#[tokio::test]
async fn what_is_put_is_got() {
    let api = Api::with_stream(1).await;
    let records = json!({ "StreamName": "clicks", "Other": { "$ms": 1 }, "Records": [
        { "Data": { "$bytes": "one" }, "PartitionKey": "ü\"x" },
        { "Data": { "$bytes": "" }, "PartitionKey": "k", "ExplicitHashKey": "7", "Other": [null] },
    ] });
    let mut wanted = Vec::new();
    for lengths in [Lengths::Definite, Lengths::Indefinite] {
        let (status, _, answer) = api.send_cbor("PutRecords", encode(&records, lengths)).await;
        let answer = minicbor::display(&answer).to_string();
        assert_eq!(status, 200, "{answer}");
        assert!(
            answer.starts_with("{\"FailedRecordCount\": 0, \"Records\": [{\"ShardId\": \"shardId-000000000000\", \"SequenceNumber\": \"49"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\"}], \"EncryptionType\": \"NONE\"}"),
            "{answer}"
        );
        wanted.extend([("6f 6e 65", "ü\"x"), ("", "k")]);
        api.clock.forward(1_001);
    }
    let one = json!({ "StreamName": "clicks", "Data": { "$bytes": "last" }, "PartitionKey": "k" });
    let answer = api.ok_cbor("PutRecord", one).await;
    assert!(answer.starts_with("{\"ShardId\": \"shardId-000000000000\", \"SequenceNumber\": \"49"));
    wanted.push(("6c 61 73 74", "k"));

    let iterator = |kind: &str, ms: u64| {
        let mut call = json!({ "StreamName": "clicks", "ShardId": "shardId-000000000000", "ShardIteratorType": kind });
        if ms > 0 {
            call["Timestamp"] = json!({ "$ms": ms });
        }
        call
    };
    for (kind, ms, skipped) in [
        ("TRIM_HORIZON", 0, 0),
        ("AT_TIMESTAMP", START_MS, 0),
        ("AT_TIMESTAMP", START_MS + 1, 2),
        ("AT_TIMESTAMP", START_MS + 1_001, 2),
        ("AT_TIMESTAMP", START_MS + 1_002, 4),
    ] {
        let answer = api.ok_cbor("GetShardIterator", iterator(kind, ms)).await;
        let token = answer.split('"').nth(3).unwrap();
        let call = json!({ "ShardIterator": token });
        let read = api.ok_cbor("GetRecords", call.clone()).await;
        let mut rest = read.as_str();
        for (i, (data, key)) in wanted.iter().enumerate().skip(skipped) {
            let arrived = START_MS + i as u64 / 2 * 1_001;
            let shown = format!(
                "\"ApproximateArrivalTimestamp\": 1({arrived}), \"Data\": h'{data}', \"PartitionKey\": \"{key}\"}}"
            );
            let at = rest
                .find(&shown)
                .unwrap_or_else(|| panic!("{shown} in {rest}"));
            rest = rest.get(at + shown.len()..).unwrap();
        }
        assert_eq!(
            read.matches("SequenceNumber").count(),
            wanted.len() - skipped
        );
        assert!(rest.starts_with("], \"NextShardIterator\": \""), "{rest}");
        assert!(rest.ends_with("\"MillisBehindLatest\": 0}"), "{rest}");
        let in_json = api.ok("GetRecords", call).await;
        assert_eq!(data(&in_json).len(), wanted.len() - skipped);
    }
    let ahead = encode(
        &iterator("AT_TIMESTAMP", START_MS + 60_000),
        Lengths::Definite,
    );
    let (_, said) = api.err_cbor("GetShardIterator", ahead).await;
    assert!(
        said.contains(&format!("timestampInMillis: {},", START_MS + 60_000)),
        "{said}"
    );
    assert!(api.stop().await);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_cbor() {
    let api = Api::with_stream(1).await;
    let record = json!({ "Data": { "$bytes": "x" }, "PartitionKey": "k" });
    let many = |records: Vec<Value>| json!({ "StreamName": "clicks", "Records": records });
    let number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
    for (operation, body, said) in [
        ("DescribeStream", json!({ "StreamName": "absent" }), r#"{"__type": "ResourceNotFoundException", "message": "Stream absent under account 000000000000 not found."}"#.to_owned()),
        ("ListShards", json!({ "StreamName": "clicks", "MaxResults": 0 }), r#""message": "1 validation error detected: Value '0' at 'maxResults'"#.to_owned()),
        ("GetRecords", json!({ "ShardIterator": 7 }), format!(r#""Message": "{number} can not be converted to an String""#)),
        ("GetRecords", json!([]), r#""Message": "the request body is not a CBOR map: see byte 0""#.to_owned()),
        ("GetShardIterator", json!({ "StreamName": "clicks", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": "now" }), "class java.lang.String can not be converted to milliseconds since epoch".to_owned()),
        ("MakeCoffee", json!({}), r#"{"__type": "UnknownOperationException"}"#.to_owned()),
        ("PutRecord", json!({ "StreamName": "clicks", "Data": 5, "PartitionKey": "k" }), format!("{number} can not be converted to a Blob")),
        ("PutRecord", json!({ "StreamName": "clicks", "Data": "eA=", "PartitionKey": "k" }), "Base64 encoded length is expected a multiple of 4 bytes".to_owned()),
        ("PutRecord", json!({ "StreamName": "clicks", "Data": { "$bytes": "x" }, "PartitionKey": { "$bytes": "k" } }), "the request body is not as expected at byte ".to_owned()),
        ("PutRecord", json!({ "StreamName": "clicks", "PartitionKey": "" }), "2 validation errors detected: Value null at 'data'".to_owned()),
        ("PutRecords", many(vec![]), "Member must have length greater than or equal to 1".to_owned()),
        ("PutRecords", many(vec![record.clone(); 501]), "Value '[501 records]' at 'records'".to_owned()),
        ("PutRecords", many(vec![record.clone(), json!({ "Data": { "$bytes": "x" } })]), "Value null at 'records.2.member.partitionKey'".to_owned()),
        ("PutRecords", many(vec![record.clone(), json!("x")]), "\"Message\": \"Expected null\"".to_owned()),
        ("PutRecords", json!({ "StreamName": "clicks", "Records": 1 }), "Expected list or null".to_owned()),
    ] {
        for lengths in [Lengths::Definite, Lengths::Indefinite] {
            let (status, shown) = api.err_cbor(operation, encode(&body, lengths)).await;
            assert_eq!(status, 400);
            assert!(shown.contains(&said), "{operation}: {shown}");
        }
    }
    let bytes_as_key = b"\xa1\x6cPartitionKey\x41k".to_vec();
    let (_, shown) = api.err_cbor("PutRecord", bytes_as_key).await;
    assert!(shown.contains("not as expected at byte 14"), "{shown}");
    let whole = encode(&many(vec![record]), Lengths::Definite);
    for body in [
        &b""[..],
        b"{}",
        b"\xff",
        &whole[..whole.len() - 1],
        &[&whole[..], b"\x00"].concat(),
    ] {
        for operation in ["PutRecords", "PutRecord", "ListStreams"] {
            let (status, shown) = api.err_cbor(operation, body.to_vec()).await;
            assert_eq!(status, 400);
            assert!(
                shown.contains("SerializationException"),
                "{operation}: {shown}"
            );
        }
    }
    assert!(api.stop().await);
}

#[tokio::test]
async fn limits_of_size() {
    let api = Api::with_stream(1).await;
    let record =
        |bytes: usize| json!({ "Data": { "$bytes": "x".repeat(bytes) }, "PartitionKey": "k" });
    let many = |records: Vec<Value>| {
        encode(
            &json!({ "StreamName": "clicks", "Records": records }),
            Lengths::Definite,
        )
    };
    let mib = 1 << 20;
    let (status, _, _) = api
        .send_cbor("PutRecords", many(vec![record(mib - 1); 10]))
        .await;
    assert_eq!(status, 200);
    let (_, shown) = api
        .err_cbor("PutRecords", many(vec![record(1), record(mib)]))
        .await;
    assert!(shown.contains("Value 'java.nio.HeapByteBuffer[pos=0 lim=1048576 cap=1048576]' at 'records.2.member.data'"), "{shown}");
    let (_, shown) = api
        .err_cbor("PutRecords", many(vec![record(mib - 1); 11]))
        .await;
    assert!(
        shown.contains("exceeds the limit of 10485760 bytes"),
        "{shown}"
    );
    let (status, _) = api.err_cbor("PutRecords", vec![0; (16 << 20) + 1]).await;
    assert_eq!(status, 413);
    let held = api.budget.account("other").take_now(64 << 20);
    let (_, shown) = api.err_cbor("PutRecords", many(vec![record(1)])).await;
    assert!(
        shown.contains(
            "\"ProvisionedThroughputExceededException\", \"message\": \"the memory budget"
        ),
        "{shown}"
    );
    drop(held);
    assert!(api.stop().await);
}
