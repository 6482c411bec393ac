//! `GetShardIterator` and `GetRecords`: every type, every refusal, paging.

use serde_json::{Value, json};

use crate::support::{Api, START_MS, blob, data};

async fn put(api: &Api, text: &str) -> String {
    let call =
        json!({ "StreamName": "clicks", "Data": blob(text.as_bytes()), "PartitionKey": "a" });
    let answer = api.ok("PutRecord", call).await;
    answer["SequenceNumber"].as_str().unwrap().to_owned()
}

async fn get(api: &Api, iterator: &str) -> Value {
    api.ok("GetRecords", json!({ "ShardIterator": iterator }))
        .await
}

#[tokio::test]
async fn every_type_of_iterator() {
    let api = Api::with_stream(1).await;
    let one = put(&api, "one").await;
    api.clock.forward(2_000);
    let two = put(&api, "two").await;
    let latest = api.iterator(0, "LATEST", Value::Null).await;
    let shards = api
        .ok("ListShards", json!({ "StreamName": "clicks" }))
        .await;
    let starting = &shards["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"];
    let at = |ms: u64| json!({ "Timestamp": format!("{}.{:03}", ms / 1000, ms % 1000).parse::<serde_json::Number>().unwrap() });
    for (kind, more, expected) in [
        ("TRIM_HORIZON", Value::Null, &["one", "two"][..]),
        (
            "AT_SEQUENCE_NUMBER",
            json!({ "StartingSequenceNumber": one }),
            &["one", "two"],
        ),
        (
            "AT_SEQUENCE_NUMBER",
            json!({ "StartingSequenceNumber": starting }),
            &["one", "two"],
        ),
        (
            "AFTER_SEQUENCE_NUMBER",
            json!({ "StartingSequenceNumber": one }),
            &["two"],
        ),
        (
            "AFTER_SEQUENCE_NUMBER",
            json!({ "StartingSequenceNumber": two }),
            &[],
        ),
        ("AT_TIMESTAMP", at(START_MS), &["one", "two"]),
        ("AT_TIMESTAMP", at(START_MS + 1), &["two"]),
        ("AT_TIMESTAMP", json!({ "Timestamp": 1 }), &["one", "two"]),
    ] {
        let iterator = api.iterator(0, kind, more.clone()).await;
        let answer = get(&api, &iterator).await;
        assert_eq!(data(&answer), expected, "{kind} {more}");
        assert_eq!(answer["MillisBehindLatest"], 0);
        assert!(answer["NextShardIterator"].is_string() && answer.get("ChildShards").is_none());
    }
    assert_eq!(data(&get(&api, &latest).await), [""; 0]);
    put(&api, "three").await;
    for quoted in [latest.clone(), format!("\"{latest}\"")] {
        let answer = get(&api, &quoted).await;
        assert_eq!(
            data(&answer),
            ["three"],
            "an iterator may be used again, and in quotes"
        );
        let record = &answer["Records"][0];
        assert_eq!(record["ApproximateArrivalTimestamp"], 1_700_000_002.345);
        assert_eq!(record["PartitionKey"], "a");
    }
    assert!(api.stop().await);
}

#[tokio::test]
async fn reading_on_to_the_tip_and_beyond() {
    let api = Api::with_stream(1).await;
    let mut iterator = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    let empty = get(&api, &iterator).await;
    assert_eq!(
        (data(&empty).len(), &empty["MillisBehindLatest"]),
        (0, &json!(0))
    );
    let all: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    for chunk in all.chunks(7) {
        let records: Vec<Value> = chunk
            .iter()
            .map(|text| json!({ "Data": blob(text.as_bytes()), "PartitionKey": "k" }))
            .collect();
        api.ok(
            "PutRecords",
            json!({ "StreamName": "clicks", "Records": records }),
        )
        .await;
        api.clock.forward(100);
    }
    let (mut found, mut behind) = (Vec::new(), Vec::new());
    while found.len() < all.len() {
        let call = json!({ "ShardIterator": iterator, "Limit": 8 });
        let answer = api.ok("GetRecords", call).await;
        assert!((1..=8).contains(&data(&answer).len()));
        found.extend(data(&answer));
        behind.push(answer["MillisBehindLatest"].as_u64().unwrap());
        iterator = answer["NextShardIterator"].as_str().unwrap().to_owned();
    }
    assert_eq!(found, all);
    assert_eq!((behind[0], behind[behind.len() - 1]), (700, 0));
    assert!(
        behind.windows(2).all(|pair| pair[0] >= pair[1]),
        "{behind:?}"
    );
    assert!(data(&get(&api, &iterator).await).is_empty());
    put(&api, "more").await;
    assert_eq!(data(&get(&api, &iterator).await), ["more"]);
}

#[tokio::test]
async fn an_answer_stays_within_ten_mib() {
    let api = Api::with_stream(1).await;
    let (large, key) = (blob(&vec![b'x'; (1 << 20) - 1]), "k");
    for _ in 0..13 {
        api.ok(
            "PutRecord",
            json!({ "StreamName": "clicks", "Data": large, "PartitionKey": key }),
        )
        .await;
    }
    let iterator = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    let first = get(&api, &iterator).await;
    assert_eq!(first["Records"].as_array().unwrap().len(), 10);
    let rest = get(&api, first["NextShardIterator"].as_str().unwrap()).await;
    assert_eq!(rest["Records"].as_array().unwrap().len(), 3);
    assert!(api.stop().await);
}

#[tokio::test]
async fn refused_iterators() {
    let api = Api::with_stream(2).await;
    api.ok(
        "CreateStream",
        json!({ "StreamName": "other", "ShardCount": 1 }),
    )
    .await;
    let number = put(&api, "one").await;
    let call = |shard: &str, kind: &str, more: Value| {
        let mut call =
            json!({ "StreamName": "clicks", "ShardId": shard, "ShardIteratorType": kind });
        for (name, value) in more.as_object().into_iter().flatten() {
            call[name] = value.clone();
        }
        call
    };
    let numbered = |number: &str| json!({ "StartingSequenceNumber": number });
    let either = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified";
    let old = "49571904859951697672938815047093113543517771024281108482";
    for (body, kind, said) in [
        (call("0", "NEWEST", Value::Null), "ValidationException", "Value 'NEWEST' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]".to_owned()),
        (json!({ "StreamName": "clicks" }), "ValidationException", "2 validation errors detected".to_owned()),
        (call("shardId-000000000002", "LATEST", Value::Null), "ResourceNotFoundException", "Shard shardId-000000000002 in stream clicks under account 000000000000 does not exist".to_owned()),
        (call("x", "LATEST", Value::Null), "ResourceNotFoundException", "Could not find shard x in stream clicks under account 000000000000.".to_owned()),
        (call("0", "LATEST", numbered(&number)), "InvalidArgumentException", format!("{either} LATEST and also a StartingSequenceNumber.")),
        (call("0", "AT_SEQUENCE_NUMBER", Value::Null), "InvalidArgumentException", format!("{either} AT_SEQUENCE_NUMBER and no StartingSequenceNumber.")),
        (call("0", "AT_SEQUENCE_NUMBER", numbered("5")), "InvalidArgumentException", "StartingSequenceNumber 5 used in GetShardIterator on shard shardId-000000000000 in stream clicks under account 000000000000 is invalid.".to_owned()),
        (call("1", "AT_SEQUENCE_NUMBER", numbered(&number)), "InvalidArgumentException", "Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in a call to a shard with shardId-000000000001".to_owned()),
        (call("0", "AFTER_SEQUENCE_NUMBER", numbered(old)), "InvalidArgumentException", "is invalid".to_owned()),
        (call("0", "AT_TIMESTAMP", Value::Null), "InvalidArgumentException", "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.".to_owned()),
        (call("0", "AT_TIMESTAMP", json!({ "Timestamp": START_MS })), "InvalidArgumentException", "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.".to_owned()),
        (call("0", "AT_TIMESTAMP", json!({ "Timestamp": "now" })), "SerializationException", "class java.lang.String can not be converted to milliseconds since epoch".to_owned()),
    ] {
        let (status, found, message) = api.err("GetShardIterator", body.clone()).await;
        assert_eq!((status, found.as_str()), (400, kind), "{body}: {message}");
        assert!(message.contains(&said), "{message}");
    }

    let good = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    for (body, kind, said) in [
        (
            json!({}),
            "ValidationException",
            "Value null at 'shardIterator'",
        ),
        (
            json!({ "ShardIterator": "AAAA" }),
            "InvalidArgumentException",
            "Invalid ShardIterator.",
        ),
        (
            json!({ "ShardIterator": good, "Limit": 0 }),
            "ValidationException",
            "Value '0' at 'limit'",
        ),
        (
            json!({ "ShardIterator": good, "Limit": 10_001 }),
            "ValidationException",
            "Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
        ),
        (
            json!({ "ShardIterator": good, "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/other" }),
            "InvalidArgumentException",
            "names stream other",
        ),
    ] {
        let (status, found, message) = api.err("GetRecords", body.clone()).await;
        assert_eq!((status, found.as_str()), (400, kind), "{body}: {message}");
        assert!(message.contains(said), "{message}");
    }

    api.clock.forward(300_001);
    let (_, kind, message) = api
        .err("GetRecords", json!({ "ShardIterator": good }))
        .await;
    assert_eq!(kind, "ExpiredIteratorException");
    assert_eq!(
        message,
        "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023 while right now it is Tue Nov 14 22:18:20 UTC 2023 which is further in the future than the tolerated delay of 300000 milliseconds."
    );
}

#[tokio::test]
async fn a_stream_made_again_does_not_take_the_old_ones_iterators_and_numbers() {
    let api = Api::with_stream(1).await;
    let number = put(&api, "gone").await;
    let iterator = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    api.ok("DeleteStream", json!({ "StreamName": "clicks" }))
        .await;
    let gone = api
        .err("GetRecords", json!({ "ShardIterator": iterator }))
        .await;
    assert_eq!(gone.1, "ResourceNotFoundException");
    api.ok(
        "CreateStream",
        json!({ "StreamName": "clicks", "ShardCount": 1 }),
    )
    .await;
    put(&api, "new").await;
    let stale = api
        .err("GetRecords", json!({ "ShardIterator": iterator }))
        .await;
    assert_eq!(stale.1, "ResourceNotFoundException");
    let (_, kind, message) = api
        .err("GetShardIterator", json!({ "StreamName": "clicks", "ShardId": "0", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": number }))
        .await;
    assert_eq!(kind, "InvalidArgumentException");
    assert!(
        message.ends_with("is invalid because it did not come from this stream."),
        "{message}"
    );
}

#[tokio::test]
async fn clocks_that_jump() {
    const HOUR: u64 = 3_600_000;
    let api = Api::with_stream(1).await;
    let one = put(&api, "one").await;
    let horizon = api.iterator(0, "TRIM_HORIZON", Value::Null).await;
    api.clock.back(HOUR);
    let two = put(&api, "two").await;
    let answer = get(&api, &horizon).await;
    assert_eq!(
        data(&answer),
        ["one", "two"],
        "an iterator of the future is good"
    );
    let arrival = |i: usize| answer["Records"][i]["ApproximateArrivalTimestamp"].as_f64();
    assert_eq!(arrival(0), arrival(1), "arrivals never fall");
    let next = answer["NextShardIterator"].as_str().unwrap().to_owned();

    api.clock.forward(25 * HOUR);
    let three = put(&api, "three").await;
    let call = json!({ "ShardIterator": next });
    assert_eq!(
        api.err("GetRecords", call).await.1,
        "ExpiredIteratorException"
    );
    let after = json!({ "StartingSequenceNumber": one });
    let after = api.iterator(0, "AFTER_SEQUENCE_NUMBER", after).await;
    assert_eq!(data(&get(&api, &after).await), ["two", "three"]);

    api.clock.back(24 * HOUR);
    let four = put(&api, "four").await;
    assert!(
        [&one, &two, &three].is_sorted() && three < four,
        "numbers rise"
    );
    let latest = api.iterator(0, "LATEST", Value::Null).await;
    let five = put(&api, "five").await;
    assert_eq!(data(&get(&api, &latest).await), ["five"]);
    let at = json!({ "StartingSequenceNumber": five });
    let at = api.iterator(0, "AT_SEQUENCE_NUMBER", at).await;
    assert_eq!(data(&get(&api, &at).await), ["five"]);
    assert!(api.stop().await);
}
