//! `PutRecord` and `PutRecords`: the hot path. Text is borrowed from the body, data is decoded
//! into one arena per call, and the answer is written by hand.

mod call;

mod cbor;

mod answer;

use std::sync::Arc;

use base64_simd::STANDARD;
use bytes::Bytes;
use hydrant_log::stream::put::{MAX_CALL_BYTES, MAX_KEY_CHARS, MAX_RECORDS};
use hydrant_log::stream::{Batch, Parts, PutOutline, ShardId, Stream, StreamError, parse_hash_key};

use self::answer::{all_failed, all_placed, one_placed};
use self::call::{Data, Entries, Entry, NotBase64, text};
use super::{Kinesis, fault, off_thread};
use crate::protocol::{Checks, Fault, Reply, Wire};
use crate::settings::ACCOUNT_ID;

impl Kinesis {
    pub(super) async fn put_record(
        self: &Arc<Self>,
        wire: Wire,
        body: Bytes,
    ) -> Result<Reply, Fault> {
        let (this, bytes) = (self.clone(), body.len());
        let (stream, batch) = off_thread(bytes, move || this.prepare_one(wire, &body)).await??;
        let placed = stream.append(batch).await.map_err(|error| fault(&error))?;
        let [placed] = placed[..] else {
            return Err(Fault::internal());
        };
        Ok(Reply::new(one_placed(wire, placed)))
    }

    pub(super) async fn put_records(
        self: &Arc<Self>,
        wire: Wire,
        body: Bytes,
    ) -> Result<Reply, Fault> {
        let (this, bytes) = (self.clone(), body.len());
        let (stream, batch) = off_thread(bytes, move || this.prepare_many(wire, &body)).await??;
        let shards: Vec<ShardId> = batch.shards().collect();
        match stream.append(batch).await {
            Ok(placed) => Ok(Reply::new(all_placed(wire, &placed))),
            Err(StreamError::Log(hydrant_log::Error::LowSpace)) => {
                let error = "ProvisionedThroughputExceededException";
                let message = |shard| {
                    format!(
                        "Rate exceeded for shard {shard} in stream {} under account {ACCOUNT_ID}.",
                        stream.name()
                    )
                };
                Ok(Reply::new(all_failed(
                    wire,
                    shards.into_iter().map(|it| (error, message(it))),
                )))
            }
            Err(error @ StreamError::NotFound { .. }) => Err(fault(&error)),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a put failed");
                let each = |_| ("InternalFailure", "Internal Service Failure".to_owned());
                Ok(Reply::new(all_failed(wire, shards.into_iter().map(each))))
            }
        }
    }

    fn prepare_one(&self, wire: Wire, body: &[u8]) -> Result<(Arc<Stream>, Batch), Fault> {
        let call = call::one(wire, body)?;
        let entry = Entry {
            data: call.data,
            partition_key: call.partition_key,
            explicit_hash_key: call.explicit_hash_key,
        };
        let mut checks = Checks::default();
        check_entry(&mut checks, &entry, "");
        checks.done()?;
        let stream = self.find(
            text(call.stream_name.as_ref()),
            text(call.stream_arn.as_ref()),
        )?;
        if let Some(number) = text(call.sequence_number_for_ordering.as_ref()) {
            self.check_ordering(&stream, number)?;
        }
        let batch = prepare(&stream, &[entry], |_| String::new())?;
        Ok((stream, batch))
    }

    pub(crate) fn prepare_many(
        &self,
        wire: Wire,
        body: &[u8],
    ) -> Result<(Arc<Stream>, Batch), Fault> {
        let call = call::many(wire, body)?;
        let mut checks = Checks::default();
        let entries = match &call.records {
            None => {
                checks.missing("records");
                &[][..]
            }
            Some(Entries { count, .. }) if !(1..=MAX_RECORDS).contains(count) => {
                let (word, bound) = if *count == 0 {
                    ("greater", 1)
                } else {
                    ("less", MAX_RECORDS)
                };
                let constraint = format!("Member must have length {word} than or equal to {bound}");
                checks.fail(Some(&format!("[{count} records]")), "records", &constraint);
                &[][..]
            }
            Some(Entries { kept, .. }) => kept,
        };
        for (i, entry) in (1..).zip(entries) {
            if entry.is_sound() {
                continue;
            }
            check_entry(&mut checks, entry, &format!("records.{i}.member."));
        }
        checks.done()?;
        let stream = self.find(
            text(call.stream_name.as_ref()),
            text(call.stream_arn.as_ref()),
        )?;
        let batch = prepare(&stream, entries, |i| format!("records.{}.member.", i + 1))?;
        Ok((stream, batch))
    }

    /// A number to be above of must be one, and not of the future.
    fn check_ordering(&self, stream: &Stream, number: &str) -> Result<(), Fault> {
        let now_s = stream.now_ms(self.now_ms()) / 1000;
        if Parts::from_decimal(number).is_some_and(|parts| parts.time_s <= now_s) {
            return Ok(());
        }
        let shown: String = number.chars().take(128).collect();
        Err(Fault::argument(format!(
            "ExclusiveMinimumSequenceNumber {shown} used in PutRecord on stream {} under account {ACCOUNT_ID} is invalid.",
            stream.name()
        )))
    }
}

impl Entry<'_> {
    /// Whether nothing declared is wrong: the common case, without a path to make.
    fn is_sound(&self) -> bool {
        let key = text(self.partition_key.as_ref()).unwrap_or_default();
        // As many bytes as characters at most, so that few keys are counted.
        let fits =
            !key.is_empty() && (key.len() <= MAX_KEY_CHARS || key.chars().count() <= MAX_KEY_CHARS);
        fits && self.data.is_some() && self.explicit_hash_key.is_none()
    }
}

/// Notes what is declared wrong about a record.
fn check_entry(checks: &mut Checks, entry: &Entry<'_>, path: &str) {
    if entry.data.is_none() {
        checks.missing(&format!("{path}data"));
    }
    match text(entry.partition_key.as_ref()) {
        Some(key) => checks.length(key, &format!("{path}partitionKey"), 1, MAX_KEY_CHARS),
        None => checks.missing(&format!("{path}partitionKey")),
    }
    if let Some(key) = text(entry.explicit_hash_key.as_ref()) {
        let plain = key == "0" || !key.starts_with('0');
        if key.is_empty() || !plain || !key.bytes().all(|byte| byte.is_ascii_digit()) {
            let shown: String = key.chars().take(64).collect();
            let constraint = "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})";
            checks.fail(Some(&shown), &format!("{path}explicitHashKey"), constraint);
        }
    }
}

/// Why the records of a call are not taken.
enum Refused {
    Stream(StreamError),
    /// A record is not base64, or a hash key is beyond the space, or something is too long.
    Records,
}

impl From<NotBase64> for Refused {
    fn from(_: NotBase64) -> Self {
        Self::Records
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// Groups the records by shard, each decoded into the block of its shard.
fn prepare(
    stream: &Stream,
    entries: &[Entry<'_>],
    path: impl Fn(usize) -> String,
) -> Result<Batch, Fault> {
    decode(stream, entries).map_err(|refused| match refused {
        Refused::Stream(error) => fault(&error),
        Refused::Records => match check_records(stream, entries, path) {
            Err(fault) => fault,
            Ok(()) => Fault::internal(),
        },
    })
}

fn decode(stream: &Stream, entries: &[Entry<'_>]) -> Result<Batch, Refused> {
    let (mut outlines, mut total) = (Vec::with_capacity(entries.len()), 0);
    let limit = stream.max_record_bytes();
    for entry in entries {
        let bytes = entry.data.as_ref().map_or(Ok(0), Data::len)?;
        let explicit_hash_key = match text(entry.explicit_hash_key.as_ref()) {
            Some(key) => Some(parse_hash_key(key).ok_or(Refused::Records)?),
            None => None,
        };
        let partition_key = text(entry.partition_key.as_ref()).unwrap_or_default();
        if bytes + partition_key.len() > limit {
            return Err(Refused::Records);
        }
        total += bytes + partition_key.len();
        outlines.push(PutOutline {
            bytes,
            partition_key,
            explicit_hash_key,
        });
    }
    if total > MAX_CALL_BYTES {
        return Err(Refused::Records);
    }
    stream.prepare_written(&outlines, |i, block| {
        let data = entries[i].data.as_ref();
        Ok(data.map_or(Ok(()), |data| data.append(block))?)
    })
}

/// What is wrong with records that are not taken: the first fault in Kinesis' order.
fn check_records(
    stream: &Stream,
    entries: &[Entry<'_>],
    path: impl Fn(usize) -> String,
) -> Result<(), Fault> {
    let (mut checks, mut total, limit) = (Checks::default(), 0, stream.max_record_bytes());
    for (i, entry) in entries.iter().enumerate() {
        let data_bytes = match &entry.data {
            Some(Data::Base64(data)) => STANDARD
                .decode_to_vec(&**data)
                .map_err(|_| not_base64(data, &path(i)))?
                .len(),
            Some(Data::Plain(data)) => data.len(),
            None => 0,
        };
        let bytes = data_bytes + text(entry.partition_key.as_ref()).map_or(0, str::len);
        if bytes > limit {
            checks.data_too_long(data_bytes, &format!("{}data", path(i)), limit);
        }
        total += bytes;
        if let Some(key) = text(entry.explicit_hash_key.as_ref()) {
            parse_hash_key(key).ok_or_else(|| beyond_the_space(key))?;
        }
    }
    checks.done()?;
    if total > MAX_CALL_BYTES {
        return Err(Fault::argument(format!(
            "Records size of {total} bytes with partition keys exceeds the limit of {MAX_CALL_BYTES} bytes of one call"
        )));
    }
    Ok(())
}

fn beyond_the_space(key: &str) -> Fault {
    Fault::argument(format!(
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {key}"
    ))
}

fn not_base64(data: &str, path: &str) -> Fault {
    let at = if path.is_empty() {
        "data".to_owned()
    } else {
        format!("{path}data")
    };
    let length = data.len();
    if !length.is_multiple_of(4) {
        return Fault::serialization(format!(
            "'{at}' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        ));
    }
    Fault::serialization(format!(
        "'{at}' can not be converted to a Blob: Invalid Base64 character"
    ))
}
