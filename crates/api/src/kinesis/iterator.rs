//! `GetShardIterator`: where reading a shard begins.

use hydrant_log::stream::{Parts, Shard, Start, Stream};
use serde_json::{Value, json};

use super::token::{Kind, Token, identity_of};
use super::{Kinesis, fault};
use crate::protocol::{Checks, Fault, Members};
use crate::settings::ACCOUNT_ID;

/// The types, in the order that Kinesis prints.
const TYPES: [&str; 5] = [
    "AFTER_SEQUENCE_NUMBER",
    "LATEST",
    "AT_TIMESTAMP",
    "AT_SEQUENCE_NUMBER",
    "TRIM_HORIZON",
];

impl Kinesis {
    pub(super) fn get_shard_iterator(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let shard = members.string("ShardId")?;
        let kind = members.string("ShardIteratorType")?;
        let number = members.string("StartingSequenceNumber")?;
        let timestamp = members.timestamp("Timestamp")?;
        let mut checks = Checks::default();
        match shard {
            Some(shard) => checks.length(shard, "shardId", 1, 128),
            None => checks.missing("shardId"),
        }
        match kind {
            None => checks.missing("shardIteratorType"),
            Some(kind) if !TYPES.contains(&kind) => {
                let shown: String = kind.chars().take(64).collect();
                let set = format!("Member must satisfy enum value set: [{}]", TYPES.join(", "));
                checks.fail(Some(&shown), "shardIteratorType", &set);
            }
            Some(_) => {}
        }
        checks.done()?;
        let (shard, kind) = (shard.unwrap_or_default(), kind.unwrap_or_default());
        let stream = self.stream(members)?;
        let shard = super::shards::named(&stream, shard)?;
        let start = match (kind, number) {
            ("TRIM_HORIZON", None) => Start::TrimHorizon,
            ("LATEST", None) => Start::Latest,
            ("AT_TIMESTAMP", None) => Start::AtTimestamp(self.past(&stream, timestamp)?),
            ("AT_SEQUENCE_NUMBER", Some(number)) => {
                Start::AtSequence(sequence(&stream, shard, number)?)
            }
            ("AFTER_SEQUENCE_NUMBER", Some(number)) => {
                Start::AfterSequence(sequence(&stream, shard, number)?)
            }
            (kind, number) => return Err(contradiction(kind, number.is_some())),
        };
        let after = stream
            .start(shard.id, start)
            .map_err(|error| fault(&error))?;
        let token = self.iterator(&stream, shard.id.0, after);
        Ok(json!({ "ShardIterator": token }))
    }

    /// An iterator that reads on after a position.
    pub(super) fn iterator(
        &self,
        stream: &Stream,
        shard: u32,
        after: hydrant_core::Position,
    ) -> String {
        let token = Token {
            kind: Kind::Iterator,
            identity: identity_of(stream.identity()),
            shard,
            after,
            issued_ms: self.now_ms(),
            name: stream.name().to_owned(),
        };
        token.encode()
    }

    /// A time to start at must be given and not lie ahead.
    fn past(&self, stream: &Stream, timestamp: Option<u64>) -> Result<u64, Fault> {
        let Some(ms) = timestamp else {
            return Err(Fault::argument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.",
            ));
        };
        let now = stream.now_ms(self.now_ms());
        if ms > now {
            return Err(Fault::argument(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: {ms}, currentTimestampInMillis: {now}"
            )));
        }
        Ok(ms)
    }
}

/// A sequence number that this shard may have given out.
fn sequence(stream: &Stream, shard: &Shard, text: &str) -> Result<hydrant_core::Position, Fault> {
    let shown: String = text.chars().take(128).collect();
    let used = format!(
        "StartingSequenceNumber {shown} used in GetShardIterator on shard {} in stream {} under account {ACCOUNT_ID} is invalid",
        shard.id,
        stream.name()
    );
    let parts = Parts::from_decimal(text);
    let position = hydrant_core::Position::from_decimal(text);
    let (Some(parts), Some(position)) = (parts, position) else {
        return Err(Fault::argument(format!("{used}.")));
    };
    if parts.shard != shard.id.0 {
        let encoded = hydrant_log::stream::ShardId(parts.shard);
        return Err(Fault::argument(format!(
            "Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {}",
            shard.id
        )));
    }
    if !shard.numbers().owns(parts) {
        let message = format!("{used} because it did not come from this stream.");
        return Err(Fault::argument(message));
    }
    Ok(position)
}

fn contradiction(kind: &str, numbered: bool) -> Fault {
    let number = if numbered { "also a" } else { "no" };
    Fault::argument(format!(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {number} StartingSequenceNumber."
    ))
}
