//! The answers of puts, written by hand.

use hydrant_core::decimal::Decimals;
use hydrant_log::stream::{Placed, STRIDE, ShardId};
use serde_json::json;

/// Writes where records were put.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    /// Of each shard so far what stands before a number, and the writer of its numbers.
    shards: Vec<(ShardId, String, Decimals)>,
}

impl Answer {
    fn push(&mut self, placed: Placed) {
        let known = self.shards.iter().position(|one| one.0 == placed.shard);
        let at = known.unwrap_or_else(|| {
            let head = format!("\"ShardId\":\"{}\",\"SequenceNumber\":\"", placed.shard);
            self.shards
                .push((placed.shard, head, Decimals::new(STRIDE)));
            self.shards.len() - 1
        });
        let (_, head, numbers) = &mut self.shards[at];
        self.bytes.extend_from_slice(head.as_bytes());
        numbers.push(placed.position, &mut self.bytes);
        self.bytes.push(b'"');
    }
}

pub(super) fn one_placed(placed: Placed) -> Vec<u8> {
    let mut answer = Answer::default();
    answer.bytes.push(b'{');
    answer.push(placed);
    answer
        .bytes
        .extend_from_slice(b",\"EncryptionType\":\"NONE\"}");
    answer.bytes
}

pub(super) fn all_placed(placed: &[Placed]) -> Vec<u8> {
    let mut answer = Answer::default();
    answer.bytes.reserve(64 + placed.len() * 128);
    answer
        .bytes
        .extend_from_slice(b"{\"FailedRecordCount\":0,\"Records\":[");
    for (i, placed) in placed.iter().enumerate() {
        answer
            .bytes
            .extend_from_slice(if i == 0 { b"{" } else { b",{" });
        answer.push(*placed);
        answer.bytes.push(b'}');
    }
    answer
        .bytes
        .extend_from_slice(b"],\"EncryptionType\":\"NONE\"}");
    answer.bytes
}

pub(super) fn all_failed(failed: impl Iterator<Item = (&'static str, String)>) -> Vec<u8> {
    let records: Vec<_> = failed
        .map(|(code, message)| json!({ "ErrorCode": code, "ErrorMessage": message }))
        .collect();
    json!({ "FailedRecordCount": records.len(), "Records": records })
        .to_string()
        .into_bytes()
}
