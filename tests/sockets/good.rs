//! Clients that go by the rules. Where nothing is in their way they are answered, and soon.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, GIVE_UP, Http, now, pause, within};
use crate::plan::{Good, Kind};
use crate::server::STREAM;
use crate::world::lock;

/// Lives until the plan says that no more is called.
pub(crate) async fn live(client: Client, good: Good, near: bool) {
    match good {
        Good::Steady => putting(&client, near, false).await,
        Good::Fresh => putting(&client, near, true).await,
        Good::Many => many(&client, near).await,
        Good::Reader => reading(&client, near).await,
    }
}

/// One call on a connection, which is made where there is none, and dropped where it fails.
async fn call(
    client: &Client,
    http: &mut Option<Http>,
    near: bool,
    (operation, body): (&str, String),
) -> Option<Answer> {
    let answered = |http: &Http| http.answered.load(Ordering::Relaxed);
    let (began, had) = (now(), http.as_ref().is_some_and(answered));
    let answer = within(GIVE_UP, async {
        if http.is_none() {
            *http = client.http(false).await;
        }
        http.as_mut()?.call(operation, body).await
    });
    let answer = answer.await.flatten();
    judge(client, near, had, (began, operation), answer.as_ref());
    if answer.is_none() {
        *http = None;
    }
    answer
}

/// Says what is wrong with how a call went.
fn judge(
    client: &Client,
    near: bool,
    had_connection: bool,
    (began, operation): (Duration, &str),
    answer: Option<&Answer>,
) {
    let (shared, took) = (&client.shared, now().checked_sub(began).unwrap());
    let status = answer.map(|answer| answer.status);
    client.note(format_args!("{operation} after {took:?}: {status:?}"));
    let plan = &shared.plan;
    // A connection that was made is one that nothing but the server itself could break.
    let sure = near && (had_connection || !plan.may_break()) && plan.kind != Kind::Power;
    if shared.disturbed_since(began) {
        return;
    }
    match status {
        None if sure => shared.violation(format!("client {} got no answer", client.id)),
        Some(_) if sure && took > plan.patience() => {
            shared.violation(format!("client {} waited for {took:?}", client.id));
        }
        None | Some(200) => {}
        Some(400) if plan.may_refuse() => shared.trace.fired("throttled"),
        // Its body was held up on the way.
        Some(408) if !near && plan.kind == Kind::Net => {}
        // Which iterator or put this is, is known to be right.
        Some(status) => shared.violation(format!("client {} got {status}", client.id)),
    }
}

async fn putting(client: &Client, near: bool, fresh: bool) {
    let (key, mut http) = (format!("c{}", client.id), None);
    while now() < client.shared.plan.until && !*client.shared.stop.borrow() {
        let put = client.any_put(&key);
        let sent = (put.operation, put.body.clone());
        if let Some(answer) = call(client, &mut http, near, sent).await {
            client.settle(&put, &answer);
        }
        if fresh {
            http = None;
        }
        pause(client.below(1_500) as u64).await;
    }
}

/// Several puts at once, each with a key of its own, on one connection.
async fn many(client: &Client, near: bool) {
    let mut http = None;
    while now() < client.shared.plan.until && !*client.shared.stop.borrow() {
        if http.is_none() {
            http = within(GIVE_UP, client.http(true)).await.flatten();
        }
        let Some(shared) = &http else {
            pause(500).await;
            continue;
        };
        let mut calls = JoinSet::new();
        for slot in 0..=client.below(6) {
            let (client, mut http) = (client.clone(), shared.beside());
            calls.spawn_local(async move {
                let put = client.any_put(&format!("c{}-{slot}", client.id));
                let sent = (put.operation, put.body.clone());
                let answer = call(&client, &mut http, near, sent).await;
                if let Some(answer) = &answer {
                    client.settle(&put, answer);
                }
                answer.is_some()
            });
        }
        if calls.join_all().await.contains(&false) {
            http = None;
        }
        pause(client.below(2_000) as u64).await;
    }
}

/// Reads a shard from its start, again and again.
async fn reading(client: &Client, near: bool) {
    let (mut http, mut iterator, mut last) = (None, Value::Null, Value::Null);
    let shard = client.below(client.shared.plan.shards as usize);
    while now() < client.shared.plan.until && !*client.shared.stop.borrow() {
        if iterator.is_null() {
            last = Value::Null;
            let start = json!({
                "StreamName": STREAM,
                "ShardId": format!("shardId-{shard:012}"),
                "ShardIteratorType": "TRIM_HORIZON",
            });
            let sent = ("GetShardIterator", start.to_string());
            if let Some(answer) = call(client, &mut http, near, sent).await {
                iterator = answer.body["ShardIterator"].clone();
            }
            continue;
        }
        let limit = 1 + client.below(10);
        let next = json!({ "ShardIterator": iterator, "Limit": limit }).to_string();
        match call(client, &mut http, near, ("GetRecords", next)).await {
            Some(answer) if answer.status == 200 => {
                check_records(client, &answer.body, &mut last);
                iterator = answer.body["NextShardIterator"].clone();
            }
            Some(_) => {}
            None => iterator = Value::Null,
        }
        pause(client.below(1_000) as u64).await;
    }
}

/// What was read was put, and in order.
pub(crate) fn check_records(client: &Client, answer: &Value, last: &mut Value) {
    let number = |record: &Value| {
        let text = record["SequenceNumber"].as_str().unwrap_or("0");
        hydrant_core::Position::from_decimal(text)
    };
    for record in answer["Records"].as_array().unwrap() {
        let data = record["Data"].as_str().unwrap();
        let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
        let key = record["PartitionKey"].as_str().unwrap();
        let wrong = lock(&client.shared.ledger).check_read(key, &data);
        if let Some(wrong) = wrong {
            client.shared.violation(wrong);
        }
        if !last.is_null() && number(last) >= number(record) {
            client
                .shared
                .violation("records were read out of order".to_owned());
        }
        *last = record.clone();
    }
}
