//! Making, describing, listing and deleting streams.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use serde_json::json;

use crate::support::{Api, START_MS};

#[tokio::test]
async fn a_stream_from_its_making_to_its_end() {
    let api = Api::start().await;
    let (status, headers, body) = api
        .send(
            "CreateStream",
            r#"{"StreamName": "clicks", "ShardCount": 2}"#,
        )
        .await;
    assert_eq!(
        (status, body.len(), &headers["content-length"]),
        (200, 0, &"0".parse().unwrap())
    );

    let described = api
        .ok("DescribeStream", json!({ "StreamName": "clicks" }))
        .await;
    let shard = |id: u32, first: &str, last: &str| {
        json!({
            "ShardId": format!("shardId-{id:012}"),
            "HashKeyRange": { "StartingHashKey": first, "EndingHashKey": last },
            "SequenceNumberRange": described["StreamDescription"]["Shards"][id as usize]["SequenceNumberRange"],
        })
    };
    let seconds = json!(1_700_000_000.345);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks";
    assert_eq!(
        described,
        json!({ "StreamDescription": {
            "StreamName": "clicks",
            "StreamARN": arn,
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
            "StreamCreationTimestamp": seconds,
            "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
            "EncryptionType": "NONE",
            "HasMoreShards": false,
            "Shards": [
                shard(0, "0", "170141183460469231731687303715884105727"),
                shard(1, "170141183460469231731687303715884105728", "340282366920938463463374607431768211455"),
            ],
        }})
    );
    let number = &described["StreamDescription"]["Shards"][1]["SequenceNumberRange"];
    let starting = number["StartingSequenceNumber"].as_str().unwrap();
    assert!(
        starting.starts_with("49") && starting.len() == 56,
        "{starting}"
    );
    assert!(number.get("EndingSequenceNumber").is_none());

    let summary = api
        .ok("DescribeStreamSummary", json!({ "StreamARN": arn }))
        .await;
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(
        (&summary["OpenShardCount"], &summary["ConsumerCount"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(
        (&summary["StreamStatus"], &summary["MaxRecordSizeInKiB"]),
        (&json!("ACTIVE"), &json!(1024))
    );

    let again = api
        .err(
            "CreateStream",
            json!({ "StreamName": "clicks", "ShardCount": 1 }),
        )
        .await;
    let said = "Stream clicks under account 000000000000 already exists.";
    assert_eq!(
        again,
        (400, "ResourceInUseException".to_owned(), said.to_owned())
    );

    api.ok(
        "DeleteStream",
        json!({ "StreamName": "clicks", "StreamARN": arn }),
    )
    .await;
    for (operation, body) in [
        ("DeleteStream", json!({ "StreamName": "clicks" })),
        ("DescribeStream", json!({ "StreamName": "clicks" })),
        ("DescribeStreamSummary", json!({ "StreamARN": arn })),
        ("ListShards", json!({ "StreamName": "clicks" })),
        (
            "PutRecord",
            json!({ "StreamName": "clicks", "Data": "eA==", "PartitionKey": "k" }),
        ),
        (
            "PutRecords",
            json!({ "StreamName": "clicks", "Records": [{ "Data": "eA==", "PartitionKey": "k" }] }),
        ),
        (
            "GetShardIterator",
            json!({ "StreamName": "clicks", "ShardId": "0", "ShardIteratorType": "LATEST" }),
        ),
    ] {
        let said = "Stream clicks under account 000000000000 not found.";
        let fault = api.err(operation, body).await;
        assert_eq!(
            fault,
            (400, "ResourceNotFoundException".to_owned(), said.to_owned()),
            "{operation}"
        );
    }
    assert!(api.stop().await);
}

#[tokio::test]
async fn create_options() {
    let api = Api::start().await;
    api.ok(
        "CreateStream",
        json!({
            "StreamName": "wide",
            "StreamModeDetails": { "StreamMode": "ON_DEMAND" },
            "MaxRecordSizeInKiB": 10240,
            "WarmThroughputMiBps": 100,
            "Tags": {},
            "Unknown": { "x": [1] },
            "ShardCount": null,
        }),
    )
    .await;
    let summary = api
        .ok("DescribeStreamSummary", json!({ "StreamName": "wide" }))
        .await;
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(summary["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    assert_eq!(
        (&summary["OpenShardCount"], &summary["MaxRecordSizeInKiB"]),
        (&json!(4), &json!(10240))
    );
    for (body, kind, said) in [
        (
            json!({}),
            "ValidationException",
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null",
        ),
        (
            json!({ "StreamName": "a b", "ShardCount": 0 }),
            "ValidationException",
            "2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            json!({ "StreamName": 5 }),
            "SerializationException",
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
        ),
        (
            json!({ "StreamName": "x", "ShardCount": "2" }),
            "SerializationException",
            "class java.lang.String can not be converted to an Integer",
        ),
        (
            json!({ "StreamName": "x" }),
            "InvalidArgumentException",
            "ShardCount must be set",
        ),
        (
            json!({ "StreamName": "x", "ShardCount": 100_000 }),
            "LimitExceededException",
            "1000 shards",
        ),
        (
            json!({ "StreamName": "x", "ShardCount": 1, "Tags": { "a": "b" } }),
            "InvalidArgumentException",
            "tags are not supported",
        ),
        (
            json!({ "StreamName": "x", "ShardCount": 1, "MaxRecordSizeInKiB": 99 }),
            "ValidationException",
            "'maxRecordSizeInKiB'",
        ),
        (
            json!({ "StreamName": "x", "StreamModeDetails": { "StreamMode": "OTHER" } }),
            "ValidationException",
            "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]",
        ),
    ] {
        let (status, found, message) = api.err("CreateStream", body.clone()).await;
        assert_eq!((status, found.as_str()), (400, kind), "{body}");
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn lists_page_by_page() {
    let api = Api::start().await;
    for name in ["b", "a", "c"] {
        api.ok(
            "CreateStream",
            json!({ "StreamName": name, "ShardCount": 5 }),
        )
        .await;
    }
    let first = api.ok("ListStreams", json!({ "Limit": 2 })).await;
    assert_eq!(
        (&first["StreamNames"], &first["HasMoreStreams"]),
        (&json!(["a", "b"]), &json!(true))
    );
    assert_eq!(
        first["StreamSummaries"][1]["StreamARN"],
        "arn:aws:kinesis:us-east-1:000000000000:stream/b"
    );
    for more in [
        json!({ "NextToken": first["NextToken"] }),
        json!({ "ExclusiveStartStreamName": "b" }),
    ] {
        let rest = api.ok("ListStreams", more).await;
        assert_eq!(
            (&rest["StreamNames"], &rest["HasMoreStreams"]),
            (&json!(["c"]), &json!(false))
        );
        assert!(rest.get("NextToken").is_none());
    }

    let ids = |answer: &serde_json::Value| -> Vec<String> {
        let shards = answer["Shards"].as_array().unwrap();
        shards
            .iter()
            .map(|it| {
                it["ShardId"]
                    .as_str()
                    .unwrap()
                    .replace("shardId-00000000000", "")
            })
            .collect()
    };
    let page = api.ok("ListShards", json!({ "StreamName": "a", "MaxResults": 2, "ShardFilter": { "Type": "AFTER_SHARD_ID", "ShardId": "0" } })).await;
    assert_eq!(ids(&page), ["1", "2"]);
    let next = json!({ "NextToken": page["NextToken"] });
    let rest = api.ok("ListShards", next.clone()).await;
    assert_eq!(
        (ids(&rest), rest.get("NextToken")),
        (vec!["3".to_owned(), "4".to_owned()], None)
    );
    let later = api
        .ok(
            "ListShards",
            json!({ "StreamName": "a", "ExclusiveStartShardId": "shardId-000000000003" }),
        )
        .await;
    assert_eq!(ids(&later), ["4"]);
    for kind in ["AT_LATEST", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON"] {
        let all = api
            .ok(
                "ListShards",
                json!({ "StreamName": "a", "ShardFilter": { "Type": kind } }),
            )
            .await;
        assert_eq!(ids(&all).len(), 5, "{kind}");
    }
    let some = api
        .ok(
            "DescribeStream",
            json!({ "StreamName": "a", "Limit": 3, "ExclusiveStartShardId": "1" }),
        )
        .await;
    assert_eq!(ids(&some["StreamDescription"]), ["2", "3", "4"]);
    let some = api
        .ok("DescribeStream", json!({ "StreamName": "a", "Limit": 3 }))
        .await;
    assert_eq!(some["StreamDescription"]["HasMoreShards"], true);

    api.clock.forward(300_001);
    let (_, kind, _) = api.err("ListShards", next.clone()).await;
    assert_eq!(kind, "ExpiredNextTokenException");
    for (body, said) in [
        (
            json!({}),
            "Either NextToken or StreamName should be provided.",
        ),
        (
            json!({ "StreamName": "a", "NextToken": next["NextToken"] }),
            "NextToken and StreamName cannot be provided together.",
        ),
        (json!({ "NextToken": "nonsense" }), "Invalid NextToken."),
        (
            json!({ "NextToken": first["NextToken"] }),
            "Invalid NextToken.",
        ),
    ] {
        let (_, kind, message) = api.err("ListShards", body).await;
        assert_eq!(
            (kind.as_str(), message.as_str()),
            ("InvalidArgumentException", said)
        );
    }
    let made = json!({ "StreamName": "a", "StreamCreationTimestamp": START_MS / 1000 });
    api.ok("ListShards", made).await;
    let earlier = json!({ "StreamName": "a", "StreamCreationTimestamp": 5 });
    assert_eq!(
        api.err("ListShards", earlier).await.1,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn names_and_arns() {
    let api = Api::with_stream(1).await;
    let arn = |region: &str, account: &str, name: &str| json!({ "StreamARN": format!("arn:aws:kinesis:{region}:{account}:stream/{name}") });
    api.ok("DescribeStream", arn("us-east-1", "000000000000", "clicks"))
        .await;
    for (body, kind, said) in [
        (
            json!({}),
            "InvalidArgumentException",
            "Either StreamName or StreamARN should be provided.",
        ),
        (
            arn("eu-west-1", "000000000000", "clicks"),
            "InvalidArgumentException",
            "region eu-west-1, but this is us-east-1",
        ),
        (
            arn("us-east-1", "111111111111", "clicks"),
            "ResourceNotFoundException",
            "under account 111111111111 not found",
        ),
        (
            arn("us-east-1", "000000000000", "clicks/consumer/x"),
            "ValidationException",
            "'streamARN'",
        ),
        (
            json!({ "StreamARN": "clicks" }),
            "ValidationException",
            "'streamARN'",
        ),
        (
            json!({ "StreamName": "other", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks" }),
            "InvalidArgumentException",
            "names stream clicks, but StreamName is other",
        ),
        (
            json!({ "StreamName": "clicks", "ExclusiveStartShardId": "x" }),
            "ResourceNotFoundException",
            "Could not find shard x in stream clicks",
        ),
    ] {
        let (status, found, message) = api.err("DescribeStream", body.clone()).await;
        assert_eq!((status, found.as_str()), (400, kind), "{body}");
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_change_half_done() {
    let api = Api::start().await;
    let moment = || api.clock.sleep(Duration::from_secs(1));
    // The deletion writes that it began, and that it ended.
    for (operation, names, writes_after) in [
        ("CreateStream", json!(["clicks"]), 1),
        ("DeleteStream", json!([]), 3),
    ] {
        let gate = api.catalogue.gate.lock().await;
        let writes = api.catalogue.writes.load(Ordering::Relaxed);
        {
            let body = json!({ "StreamName": "clicks", "ShardCount": 1 });
            let mut call = std::pin::pin!(api.send(operation, body.to_string()));
            while api.catalogue.writes.load(Ordering::Relaxed) == writes {
                tokio::select! {
                    biased;
                    _ = &mut call => panic!("{operation} was answered"),
                    () = moment() => {}
                }
            }
        }
        // The server notices that nobody waits for the answer.
        moment().await;
        drop(gate);
        let mut tries = 0;
        loop {
            let listed = api.ok("ListStreams", json!({})).await;
            let written = api.catalogue.writes.load(Ordering::Relaxed);
            if listed["StreamNames"] == names && written == writes_after {
                break;
            }
            tries += 1;
            assert!(tries < 100, "{operation}: {listed}, {written} writes");
            moment().await;
        }
    }
}
