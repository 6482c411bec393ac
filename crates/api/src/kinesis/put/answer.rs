//! The answers of puts, written by hand.

use hydrant_core::decimal::Decimals;
use hydrant_log::stream::{Placed, STRIDE, ShardId};
use minicbor::Encoder;
use serde_json::json;

use crate::protocol::Wire;
use crate::protocol::cbor::{self, Written};

/// Where one record was put takes no more than this.
const PLACED_BYTES: usize = 128;

/// Where the record of a `PutRecord` was put.
pub(super) fn one_placed(wire: Wire, placed: Placed) -> Vec<u8> {
    let (mut body, mut members) = (Vec::with_capacity(2 * PLACED_BYTES), Members::new(wire));
    match wire {
        Wire::Json => {
            body.push(b'{');
            members.push(placed, &mut body);
            body.extend_from_slice(b",\"EncryptionType\":\"NONE\"}");
        }
        Wire::Cbor => cbor_one(&mut body, members, placed).expect("a vector takes all"),
    }
    body
}

fn cbor_one(body: &mut Vec<u8>, mut members: Members, placed: Placed) -> Written {
    Encoder::new(&mut *body).map(3)?;
    members.push(placed, body);
    Encoder::new(body).str("EncryptionType")?.str("NONE")?;
    Ok(())
}

/// Where the records of a `PutRecords` were put.
pub(super) fn all_placed(wire: Wire, placed: &[Placed]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + placed.len() * PLACED_BYTES);
    match wire {
        Wire::Json => json_all(&mut body, placed),
        Wire::Cbor => cbor_all(&mut body, placed).expect("a vector takes all"),
    }
    body
}

fn json_all(body: &mut Vec<u8>, placed: &[Placed]) {
    let mut members = Members::new(Wire::Json);
    body.extend_from_slice(b"{\"FailedRecordCount\":0,\"Records\":[");
    for (i, placed) in placed.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"{" } else { b",{" });
        members.push(*placed, body);
        body.push(b'}');
    }
    body.extend_from_slice(b"],\"EncryptionType\":\"NONE\"}");
}

fn cbor_all(body: &mut Vec<u8>, placed: &[Placed]) -> Written {
    let mut members = Members::new(Wire::Cbor);
    let mut out = Encoder::new(&mut *body);
    out.map(3)?.str("FailedRecordCount")?.u8(0)?;
    out.str("Records")?.array(placed.len() as u64)?;
    for placed in placed {
        Encoder::new(&mut *body).map(2)?;
        members.push(*placed, body);
    }
    Encoder::new(body).str("EncryptionType")?.str("NONE")?;
    Ok(())
}

/// Writes the members `ShardId` and `SequenceNumber`.
struct Members {
    wire: Wire,
    /// Of each shard so far what stands before a number, and the writer of its numbers.
    shards: Vec<(ShardId, Vec<u8>, Decimals)>,
    /// The digits of a number.
    number: Vec<u8>,
}

impl Members {
    fn new(wire: Wire) -> Self {
        Self {
            wire,
            shards: Vec::new(),
            number: Vec::new(),
        }
    }

    fn push(&mut self, placed: Placed, body: &mut Vec<u8>) {
        let known = self.shards.iter().position(|one| one.0 == placed.shard);
        let at = known.unwrap_or_else(|| {
            let head = head(self.wire, placed.shard);
            self.shards
                .push((placed.shard, head, Decimals::new(STRIDE)));
            self.shards.len() - 1
        });
        let (_, head, numbers) = &mut self.shards[at];
        body.extend_from_slice(head);
        match self.wire {
            Wire::Json => {
                numbers.push(placed.position, body);
                body.push(b'"');
            }
            Wire::Cbor => {
                self.number.clear();
                numbers.push(placed.position, &mut self.number);
                cbor::digits(&mut Encoder::new(body), &self.number).expect("a vector takes all");
            }
        }
    }
}

/// What stands before a number of this shard.
fn head(wire: Wire, shard: ShardId) -> Vec<u8> {
    match wire {
        Wire::Json => format!("\"ShardId\":\"{shard}\",\"SequenceNumber\":\"").into_bytes(),
        Wire::Cbor => {
            let mut head = Encoder::new(Vec::new());
            head.str("ShardId")
                .and_then(|head| head.str(&shard.to_string()))
                .and_then(|head| head.str("SequenceNumber"))
                .expect("a vector takes all");
            head.into_writer()
        }
    }
}

/// What became of records that were all refused: a code and a message each.
pub(super) fn all_failed(
    wire: Wire,
    failed: impl Iterator<Item = (&'static str, String)>,
) -> Vec<u8> {
    let records: Vec<_> = failed
        .map(|(code, message)| json!({ "ErrorCode": code, "ErrorMessage": message }))
        .collect();
    wire.write(&json!({ "FailedRecordCount": records.len(), "Records": records }))
}

#[cfg(test)]
mod tests {
    use hydrant_core::Position;
    use hydrant_log::stream::{Placed, STRIDE, ShardId};
    use serde_json::Value;

    use super::{PLACED_BYTES, all_failed, all_placed, one_placed};
    use crate::protocol::{Wire, cbor};

    fn placed(shard: u32, steps: u64) -> Placed {
        let first = "49671246667567228643283430150187087032206582658";
        let first = Position::from_decimal(first).expect("a number");
        Placed {
            shard: ShardId(shard),
            position: first.advance(STRIDE, steps),
        }
    }

    /// Renders an answer in both forms and expects the same members in them.
    fn same(render: impl Fn(Wire) -> Vec<u8>) -> Value {
        let (text, body) = (render(Wire::Json), render(Wire::Cbor));
        let json: Value = serde_json::from_slice(&text).expect("JSON");
        let read = cbor::parse(&body).expect("CBOR");
        assert_eq!(Value::from(read), json);
        json
    }

    #[test]
    fn both_forms_say_the_same() {
        let one = same(|wire| one_placed(wire, placed(3, 1)));
        assert_eq!(one["ShardId"], "shardId-000000000003");
        let places = [placed(0, 0), placed(1, 0), placed(0, 1), placed(1, 70)];
        let all = same(|wire| all_placed(wire, &places));
        for (found, place) in all["Records"]
            .as_array()
            .expect("a list")
            .iter()
            .zip(places)
        {
            assert_eq!(found["SequenceNumber"], place.position.to_decimal());
            assert_eq!(found["ShardId"], place.shard.to_string());
        }
        same(|wire| all_placed(wire, &[]));
        let failed = [("A", "first".to_owned()), ("B", "second".to_owned())];
        let failed = same(|wire| all_failed(wire, failed.clone().into_iter()));
        assert_eq!(failed["FailedRecordCount"], 2);
    }

    #[test]
    fn an_answer_is_as_long_as_reckoned_at_most() {
        let last = Placed {
            shard: ShardId(u32::MAX),
            position: Position::from_decimal(&"9".repeat(57)).expect("a number"),
        };
        for wire in [Wire::Json, Wire::Cbor] {
            let reckoned = 64 + 500 * PLACED_BYTES;
            let all = all_placed(wire, &vec![last; 500]);
            assert_eq!(all.capacity(), reckoned);
            assert_eq!(one_placed(wire, last).capacity(), 2 * PLACED_BYTES);
        }
    }
}
