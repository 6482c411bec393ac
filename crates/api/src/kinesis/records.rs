//! `GetRecords`: records as they were put (aggregates are not taken apart), base64 in JSON, as they
//! are in CBOR.

use std::sync::Arc;

use base64_simd::STANDARD;
use hydrant_core::decimal::Decimals;
use hydrant_core::{Position, Records, offload};
use hydrant_log::stream::{STRIDE, ShardId, Stream, StreamError};
use minicbor::Encoder;

use super::token::{Kind, TOLERATED_MS, Token, identity_of, utc};
use super::{Kinesis, fault, off_thread};
use crate::protocol::cbor::{self, Written};
use crate::protocol::{Checks, Fault, Members, Reply, Wire};

/// Most records of one answer, and the default.
const MAX_RECORDS: usize = 10_000;

/// Most bytes of data and keys of one answer; a single larger record is given all the same.
const MAX_BYTES: usize = 10 << 20;

/// Bytes asked of the log, which counts its columns too.
const READ_BYTES: usize = MAX_BYTES + MAX_BYTES / 8;

/// Bytes of the budget for one answer: what is read, and its JSON with base64, which is more than
/// its CBOR.
const HELD_BYTES: usize = MAX_BYTES * 5 / 2;

/// In CBOR, what a record has at most beside its data and key: names and heads, a number of 58 digits,
/// a moment.
const RECORD_BYTES: usize = 141;

/// In CBOR, what an answer has beside its records and iterator.
const FRAME_BYTES: usize = 64;

impl Kinesis {
    pub(super) async fn get_records(
        &self,
        wire: Wire,
        members: &Members<'_>,
    ) -> Result<Reply, Fault> {
        let (stream, token) = self.resume(members)?;
        let limit = members.integer("Limit")?;
        let mut checks = Checks::default();
        if let Some(limit) = limit {
            checks.range(limit, "limit", 1, 10_000);
        }
        checks.done()?;
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(MAX_RECORDS);
        let shard = ShardId(token.shard);
        let index = stream
            .index_of(shard, token.after)
            .map_err(|error| fault(&error))?;
        let from = index.saturating_add(1);
        let after = onward(&stream, shard, token.after, from)?;
        if !stream.has(shard, from) {
            let next = self.iterator(&stream, shard.0, after);
            return Ok(Reply::new(rendered(wire, &[], 0, &next)));
        }
        let mut permit = self.hold(HELD_BYTES).await?;
        let reader = stream.clone();
        let read = move || -> Result<(Vec<Records>, Position, u64), StreamError> {
            let blocks = taken(&reader.read_blocking(shard, from, READ_BYTES)?, limit);
            let last = blocks
                .last()
                .and_then(Records::last_position)
                .unwrap_or(after);
            let next = reader.index_of(shard, last)?.saturating_add(1);
            Ok((blocks, last, next))
        };
        let read = offload::run(stream.io(), read)
            .await
            .map_err(|lost| fault(&lost.into()))?;
        let (blocks, last, next) = read.map_err(|error| fault(&error))?;
        // Nothing: what was there has been freed meanwhile.
        let behind_ms = blocks.last().map_or(0, |block| {
            let examined_ms = block.arrival_ms(block.len() - 1);
            stream.behind_ms(shard, next, examined_ms, self.now_ms())
        });
        let iterator = self.iterator(&stream, shard.0, last);
        let bytes = blocks.iter().map(Records::held_bytes).sum();
        let work = move || rendered(wire, &blocks, behind_ms, &iterator);
        let body = off_thread(bytes, work).await?;
        permit.resize(body.len());
        Ok(Reply::new(body).holding(permit))
    }

    /// The stream and token of an iterator that may still be used.
    fn resume(&self, members: &Members<'_>) -> Result<(Arc<Stream>, Token), Fault> {
        let Some(text) = members.string("ShardIterator")? else {
            let mut checks = Checks::default();
            checks.missing("shardIterator");
            return Err(checks.done().expect_err("it was just found missing"));
        };
        let token = Token::decode(text).filter(|token| token.kind == Kind::Iterator);
        let token = token.ok_or_else(|| Fault::argument("Invalid ShardIterator."))?;
        let now_ms = self.now_ms();
        if token.expired(now_ms) {
            return Err(Fault::new(
                "ExpiredIteratorException",
                format!(
                    "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the future than the tolerated delay of {TOLERATED_MS} milliseconds.",
                    utc(token.issued_ms),
                    utc(now_ms)
                ),
            ));
        }
        let stream = self.find(Some(&token.name), members.string("StreamARN")?)?;
        if identity_of(stream.identity()) != token.identity {
            return Err(super::naming::not_found(&token.name));
        }
        Ok((stream, token))
    }
}

/// Where an iterator that finds nothing stays: where it is, or at the oldest record that is kept.
fn onward(stream: &Stream, shard: ShardId, after: Position, from: u64) -> Result<Position, Fault> {
    let oldest = stream.oldest_lsn();
    if from >= oldest {
        return Ok(after);
    }
    stream.before(shard, oldest).map_err(|error| fault(&error))
}

/// The first records of what was read, up to the limits, at least one.
fn taken(blocks: &[Records], limit: usize) -> Vec<Records> {
    let (mut count, mut bytes, mut taken) = (0, 0, Vec::new());
    for block in blocks {
        let mut end = 0;
        while end < block.len() && count < limit {
            let size = block.data_len(end) + block.key(end).len();
            if count > 0 && bytes + size > MAX_BYTES {
                break;
            }
            (count, bytes, end) = (count + 1, bytes + size, end + 1);
        }
        if end > 0 {
            taken.push(block.slice(0, end));
        }
        if end < block.len() {
            break;
        }
    }
    taken
}

fn rendered(wire: Wire, blocks: &[Records], behind_ms: u64, iterator: &str) -> Vec<u8> {
    match wire {
        Wire::Json => json(blocks, behind_ms, iterator),
        Wire::Cbor => cbor(blocks, behind_ms, iterator),
    }
}

/// The answer as JSON.
fn json(blocks: &[Records], behind_ms: u64, iterator: &str) -> Vec<u8> {
    let (count, bytes) = blocks.iter().fold((0, 0), |(count, bytes), block| {
        (count + block.len(), bytes + block.held_bytes())
    });
    let mut body = Vec::with_capacity(bytes * 4 / 3 + count * 192 + iterator.len() + 128);
    body.extend_from_slice(b"{\"Records\":[");
    let mut first = true;
    for block in blocks {
        for i in 0..block.len() {
            if !std::mem::take(&mut first) {
                body.push(b',');
            }
            json_record(block, i, &mut body);
        }
    }
    body.extend_from_slice(b"],\"NextShardIterator\":\"");
    body.extend_from_slice(iterator.as_bytes());
    body.extend_from_slice(b"\",\"MillisBehindLatest\":");
    body.extend_from_slice(behind_ms.to_string().as_bytes());
    body.push(b'}');
    body
}

fn json_record(block: &Records, i: usize, body: &mut Vec<u8>) {
    let (ms, key) = (block.arrival_ms(i), String::from_utf8_lossy(block.key(i)));
    body.extend_from_slice(b"{\"SequenceNumber\":\"");
    body.extend_from_slice(block.position(i).to_decimal().as_bytes());
    body.extend_from_slice(b"\",\"ApproximateArrivalTimestamp\":");
    body.extend_from_slice(format!("{}.{:03}", ms / 1000, ms % 1000).as_bytes());
    body.extend_from_slice(b",\"Data\":\"");
    STANDARD.encode_append(block.data(i), body);
    body.extend_from_slice(b"\",\"PartitionKey\":");
    body.extend_from_slice(serde_json::Value::from(key).to_string().as_bytes());
    body.push(b'}');
}

/// The answer as CBOR, in one piece of memory.
fn cbor(blocks: &[Records], behind_ms: u64, iterator: &str) -> Vec<u8> {
    let (mut count, mut bytes) = (0, FRAME_BYTES + iterator.len());
    for block in blocks {
        let of = |i| RECORD_BYTES + block.data_len(i) + block.key(i).len();
        bytes += (0..block.len()).map(of).sum::<usize>();
        count += block.len() as u64;
    }
    let mut body = Vec::with_capacity(bytes);
    let mut out = Encoder::new(&mut body);
    let mut write = || -> Written {
        out.map(3)?.str("Records")?.array(count)?;
        let (mut numbers, mut number) = (Decimals::new(STRIDE), Vec::new());
        for block in blocks {
            for i in 0..block.len() {
                number.clear();
                numbers.push(block.position(i), &mut number);
                cbor_record(&mut out, block, i, &number)?;
            }
        }
        out.str("NextShardIterator")?.str(iterator)?;
        out.str("MillisBehindLatest")?.u64(behind_ms)?;
        Ok(())
    };
    write().expect("a vector takes all");
    body
}

fn cbor_record(
    out: &mut Encoder<&mut Vec<u8>>,
    block: &Records,
    i: usize,
    number: &[u8],
) -> Written {
    out.map(4)?.str("SequenceNumber")?;
    cbor::digits(out, number)?;
    out.str("ApproximateArrivalTimestamp")?;
    cbor::moment(out, block.arrival_ms(i))?;
    out.str("Data")?.bytes(block.data(i))?;
    let key = String::from_utf8_lossy(block.key(i));
    out.str("PartitionKey")?.str(&key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hydrant_core::{Position, Records, RecordsBuilder};

    use super::{FRAME_BYTES, MAX_BYTES, RECORD_BYTES, rendered, taken};
    use crate::protocol::Wire;

    fn block(first: u64, count: u64, bytes: usize) -> Records {
        let mut builder = RecordsBuilder::default();
        for i in 0..count {
            let at = Position::from_u64(first + i);
            builder.push(at, 1_700_000_000_045, "k\"é".as_bytes(), &vec![b'x'; bytes]);
        }
        builder.build()
    }

    #[test]
    fn the_limits_of_an_answer() {
        let lengths = |blocks: &[Records], limit| {
            taken(blocks, limit)
                .iter()
                .map(Records::len)
                .collect::<Vec<_>>()
        };
        let small = [block(0, 3, 1), block(3, 3, 1), block(6, 3, 1)];
        assert_eq!(lengths(&small, 100), [3, 3, 3]);
        assert_eq!(lengths(&small, 6), [3, 3]);
        assert_eq!(lengths(&small, 4), [3, 1]);
        assert_eq!(lengths(&[], 4), [0_usize; 0]);
        let large = [block(0, 1, MAX_BYTES), block(1, 1, 1)];
        assert_eq!(
            lengths(&large, 100),
            [1],
            "a record over the limit alone is given"
        );
        let halves = [block(0, 3, MAX_BYTES / 2 - 10)];
        assert_eq!(lengths(&halves, 100), [2]);
    }

    #[test]
    fn the_answer_is_json() {
        let body = rendered(Wire::Json, &[block(5, 2, 3)], 7, "abc=");
        let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(value["Records"][1]["SequenceNumber"], "6");
        assert_eq!(value["Records"][0]["Data"], "eHh4");
        assert_eq!(value["Records"][0]["PartitionKey"], "k\"é");
        assert_eq!(
            value["Records"][0]["ApproximateArrivalTimestamp"],
            1_700_000_000.045
        );
        assert_eq!(
            (&value["NextShardIterator"], &value["MillisBehindLatest"]),
            (&"abc=".into(), &7.into())
        );
        assert_eq!(
            rendered(Wire::Json, &[], 0, "i"),
            br#"{"Records":[],"NextShardIterator":"i","MillisBehindLatest":0}"#
        );
    }

    #[test]
    fn the_answer_is_cbor() {
        let body = rendered(Wire::Cbor, &[block(5, 1, 3), block(6, 1, 0)], 7, "abc=");
        let record = |number, data| {
            format!(
                r#"{{"SequenceNumber": "{number}", "ApproximateArrivalTimestamp": 1(1700000000045), "Data": h'{data}', "PartitionKey": "k"é"}}"#
            )
        };
        assert_eq!(
            minicbor::display(&body).to_string(),
            format!(
                r#"{{"Records": [{}, {}], "NextShardIterator": "abc=", "MillisBehindLatest": 7}}"#,
                record(5, "78 78 78"),
                record(6, "")
            )
        );
        let empty = rendered(Wire::Cbor, &[], 0, "i");
        assert_eq!(
            minicbor::display(&empty).to_string(),
            r#"{"Records": [], "NextShardIterator": "i", "MillisBehindLatest": 0}"#
        );
    }

    #[test]
    fn an_answer_in_cbor_is_as_long_as_reckoned_at_most() {
        let mut builder = RecordsBuilder::default();
        let first = "6277101735386680763835789423207666416102355444464034512800";
        let first = Position::from_decimal(first).expect("a number");
        let data = vec![0; 70_000];
        for i in 0..90 {
            builder.push(first.advance(1, i), u64::MAX, &[b'k'; 256], &data);
        }
        let body = rendered(Wire::Cbor, &[builder.build()], u64::MAX, "iterator");
        let reckoned = FRAME_BYTES + 8 + 90 * (RECORD_BYTES + 256 + 70_000);
        assert_eq!(body.capacity(), reckoned, "the buffer did not grow");
        assert!(body.len() + 10 > reckoned, "{} of {reckoned}", body.len());
    }
}
