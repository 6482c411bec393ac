//! `PutRecord` and `PutRecords`: golden requests, limits, refusals.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Api, blob, data};

fn records(records: &[(&str, &[u8])]) -> Value {
    let records: Vec<Value> = records
        .iter()
        .map(|(key, data)| json!({ "Data": blob(data), "PartitionKey": key }))
        .collect();
    json!({ "StreamName": "clicks", "Records": records })
}

#[tokio::test]
async fn as_boto3_sends_it() {
    let api = Api::with_stream(2).await;
    // client.put_record(StreamName="clicks", Data=b"one", PartitionKey="a")
    let (status, headers, body) = api
        .send(
            "PutRecord",
            r#"{"StreamName": "clicks", "Data": "b25l", "PartitionKey": "a"}"#,
        )
        .await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &answer["ShardId"]),
        (200, &json!("shardId-000000000000"))
    );
    assert_eq!(answer["EncryptionType"], "NONE");
    let number = answer["SequenceNumber"].as_str().unwrap();
    assert_eq!(number.len(), 56);
    assert_eq!(headers["content-type"], "application/x-amz-json-1.1");
    let id = headers["x-amzn-requestid"].to_str().unwrap();
    assert!(
        id.len() == 36 && id.split('-').nth(2).unwrap().starts_with('4'),
        "{id}"
    );
    assert!(headers.contains_key("x-amz-id-2"));

    // client.put_records(StreamARN=..., Records=[...])
    let (status, _, body) = api
        .send("PutRecords", r#"{"Records": [{"Data": "dHdv", "PartitionKey": "b"}, {"Data": "dGhyZWU=", "ExplicitHashKey": "0", "PartitionKey": "b"}, {"Data": "", "PartitionKey": "\u00fc\"x"}], "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"}"#)
        .await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["FailedRecordCount"]), (200, &json!(0)));
    assert_eq!(answer["Records"][0]["ShardId"], "shardId-000000000001");
    assert_eq!(answer["Records"][1]["ShardId"], "shardId-000000000000");
    assert!(
        answer["Records"][1]["SequenceNumber"].as_str().unwrap() > number,
        "numbers rise"
    );
    let all = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    let read = api.ok("GetRecords", json!({ "ShardIterator": all })).await;
    assert!(data(&read).starts_with(&["one".to_owned(), "three".to_owned()]));
    assert_eq!(
        read["Records"][1]["PartitionKey"], "b",
        "the partition key is kept"
    );
    let ordered = json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "a", "SequenceNumberForOrdering": number });
    api.ok("PutRecord", ordered).await;
    assert!(api.stop().await);
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_no_number_one_of_the_future() {
    let api = Api::with_stream(1).await;
    let put = json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "a" });
    api.clock.forward(60_000);
    let answer = api.ok("PutRecord", put.clone()).await;
    api.clock.back(30_000);
    for _ in 0..2 {
        let mut next = put.clone();
        next["SequenceNumberForOrdering"] = answer["SequenceNumber"].clone();
        api.ok("PutRecord", next).await;
    }
    let arrived = (crate::support::START_MS + 60_000) / 1000;
    let from = api
        .iterator(0, "AT_TIMESTAMP", json!({ "Timestamp": arrived }))
        .await;
    let read = api.ok("GetRecords", json!({ "ShardIterator": from })).await;
    assert_eq!(data(&read), ["x", "x", "x"]);
    assert!(api.stop().await);
}

#[tokio::test]
async fn unknown_members_and_nulls_are_nothing() {
    let api = Api::with_stream(1).await;
    let put = json!({
        "StreamName": "clicks", "StreamARN": null, "StreamId": "x", "DryRun": null, "Deep": { "x": [[{}]] },
        "Records": [{ "Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": null, "More": [1, { "y": 2 }] }],
    });
    let answer = api.ok("PutRecords", put).await;
    assert_eq!(answer["Records"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let api = Api::with_stream(1).await;
    let one = |more: Value| {
        let mut call = json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "k" });
        for (name, value) in more.as_object().unwrap() {
            call[name] = value.clone();
        }
        call
    };
    let long = "k".repeat(257);
    let future = "99571904859951697672938815047093113543517771024281110226";
    let number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
    for (body, kind, said) in [
        (one(json!({ "Data": null, "PartitionKey": null })), "ValidationException", "2 validation errors detected: Value null at 'data' failed to satisfy constraint: Member must not be null; Value null at 'partitionKey'".to_owned()),
        (one(json!({ "PartitionKey": "" })), "ValidationException", "at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1".to_owned()),
        (one(json!({ "PartitionKey": long })), "ValidationException", "Member must have length less than or equal to 256".to_owned()),
        (one(json!({ "ExplicitHashKey": "01" })), "ValidationException", "Value '01' at 'explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})".to_owned()),
        (one(json!({ "ExplicitHashKey": "340282366920938463463374607431768211456" })), "InvalidArgumentException", "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was 340282366920938463463374607431768211456".to_owned()),
        (one(json!({ "SequenceNumberForOrdering": future })), "InvalidArgumentException", format!("ExclusiveMinimumSequenceNumber {future} used in PutRecord on stream clicks under account 000000000000 is invalid.")),
        (one(json!({ "Data": "eA=" })), "SerializationException", "Base64 encoded length is expected a multiple of 4 bytes but found: 3".to_owned()),
        (one(json!({ "Data": "e*==" })), "SerializationException", "Invalid Base64 character".to_owned()),
        (one(json!({ "Data": 5 })), "SerializationException", format!("{number} can not be converted to a Blob")),
        (one(json!({ "PartitionKey": true })), "SerializationException", "class java.lang.Boolean can not be converted to an String".to_owned()),
        (one(json!({ "PartitionKey": [] })), "SerializationException", "Start of list found where not expected".to_owned()),
        (json!([]), "SerializationException", "not a JSON object".to_owned()),
    ] {
        let (status, found, message) = api.err("PutRecord", body.clone()).await;
        assert_eq!((status, found.as_str()), (400, kind), "{body}: {message}");
        assert!(message.contains(&said), "{message}");
    }
    for (body, kind, said) in [
        (
            json!({ "StreamName": "clicks" }),
            "ValidationException",
            "Value null at 'records'",
        ),
        (
            records(&[]),
            "ValidationException",
            "at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            records(&[("k", &b"x"[..]); 501]),
            "ValidationException",
            "Member must have length less than or equal to 500",
        ),
        (
            json!({ "StreamName": "clicks", "Records": {} }),
            "SerializationException",
            "Start of structure or map found where not expected.",
        ),
        (
            json!({ "StreamName": "clicks", "Records": ["x"] }),
            "SerializationException",
            "Expected null",
        ),
        (
            json!({ "StreamName": "clicks", "Records": [{ "Data": "eA==", "PartitionKey": "k" }, { "Data": "eA==" }] }),
            "ValidationException",
            "Value null at 'records.2.member.partitionKey'",
        ),
    ] {
        let (status, found, message) = api.err("PutRecords", body).await;
        assert_eq!((status, found.as_str()), (400, kind), "{message}");
        assert!(message.contains(said), "{message}");
    }
    for body in [
        "",
        "{",
        "\u{0}",
        "{\"StreamName\":\"clicks\",\"Records\":[{\"Data\":\"eA==\"]}",
    ] {
        let (status, kind, message) = api.err_raw("PutRecords", body.to_owned()).await;
        assert_eq!(
            (status, kind.as_str()),
            (400, "SerializationException"),
            "{body}: {message}"
        );
    }
}

#[tokio::test]
async fn limits_of_size() {
    let api = Api::with_stream(1).await;
    let mib = vec![b'x'; 1 << 20];
    api.ok("PutRecords", records(&[("k", &mib[1..]); 10])).await;
    api.ok("PutRecords", records(&[("k", &b"x"[..]); 500]))
        .await;
    let (_, kind, message) = api
        .err("PutRecords", records(&[("k", b"x"), ("k", &mib)]))
        .await;
    assert_eq!(kind, "ValidationException");
    assert!(message.contains("Value 'java.nio.HeapByteBuffer[pos=0 lim=1048576 cap=1048576]' at 'records.2.member.data' failed to satisfy constraint: Member must have length less than or equal to 1048576"), "{message}");
    let (_, kind, message) = api
        .err("PutRecords", records(&[("k", &mib[1..]); 11]))
        .await;
    assert_eq!(kind, "InvalidArgumentException");
    assert!(
        message.contains("exceeds the limit of 10485760 bytes"),
        "{message}"
    );
    let (status, kind, _) = api.err_raw("PutRecords", " ".repeat((16 << 20) + 1)).await;
    assert_eq!((status, kind.as_str()), (413, "SerializationException"));
    api.ok(
        "CreateStream",
        json!({ "StreamName": "large", "ShardCount": 1, "MaxRecordSizeInKiB": 2048 }),
    )
    .await;
    let two = vec![b'x'; (2 << 20) - 1];
    api.ok(
        "PutRecord",
        json!({ "StreamName": "large", "Data": blob(&two), "PartitionKey": "k" }),
    )
    .await;
    assert!(api.stop().await);
}

#[tokio::test]
async fn a_full_disk_throttles() {
    let api = Api::with_stream(1).await;
    api.ok("PutRecords", records(&[("k", b"x")])).await;
    api.disk.full.store(true, Ordering::Relaxed);
    let mut answer = Value::Null;
    // The log looks at the disk now and then only.
    for _ in 0..2_000 {
        api.clock.forward(1_000);
        answer = api
            .ok(
                "PutRecords",
                records(&[("k", &[b'x'; 10_000]), ("k", b"y")]),
            )
            .await;
        if answer["FailedRecordCount"] != 0 {
            break;
        }
    }
    assert_eq!(answer["FailedRecordCount"], 2, "{answer}");
    assert_eq!(
        answer["Records"][1],
        json!({
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": "Rate exceeded for shard shardId-000000000000 in stream clicks under account 000000000000.",
        })
    );
    let put = json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "k" });
    assert_eq!(
        api.err("PutRecord", put).await.1,
        "ProvisionedThroughputExceededException"
    );
}

#[tokio::test]
async fn a_full_budget_throttles_after_a_while() {
    let api = Api::with_stream(1).await;
    let held = api.budget.account("other").take_now(64 << 20);
    let put = json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "k" });
    let (_, kind, message) = api.err("PutRecord", put.clone()).await;
    assert_eq!(kind, "ProvisionedThroughputExceededException");
    assert!(message.contains("memory budget"), "{message}");
    // Also to a client that sends far more than the buffers between the two hold.
    let data = "QUJD".repeat(3 << 20);
    let large = json!({ "StreamName": "clicks", "Data": data, "PartitionKey": "k" });
    let (_, kind, _) = api.err("PutRecord", large).await;
    assert_eq!(kind, "ProvisionedThroughputExceededException");
    drop(held);
    api.ok("PutRecord", put).await;
    assert!(api.stop().await);
}
