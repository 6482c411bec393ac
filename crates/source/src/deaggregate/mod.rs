//! Takes aggregated records of the Kinesis Producer Library apart.
//!
//! An aggregate is `F3 89 9A C2`, a protobuf message (see `message`), and the message's MD5. It
//! comes in as one record of the stream and goes out as its user records, each at the aggregate's
//! position with its index as the sub-sequence. Whatever is not an aggregate in every respect is
//! a plain record and goes out as it came.

mod message;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use hydrant_core::{Records, RecordsBuilder};
use hydrant_log::stream::{HashRange, hash_key};
use md5::{Digest as _, Md5};

use message::{Message, UserRecord};

/// What an aggregate begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of the MD5 at an aggregate's end.
const DIGEST_BYTES: usize = 16;

/// User records name their keys in a table. Where the keys written out would take more than this
/// many times the aggregate's own bytes, they are left empty: no producer needs that (a key of 256
/// characters with one byte of data comes to about 30), and memory stays bounded.
const KEY_EXPANSION: usize = 64;

/// Which user records of an aggregate count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaggregation {
    /// All of them. One whose key is missing in the table has none; an aggregate without user
    /// records is a plain record. Nothing is ever lost.
    KeepAll,
    /// As the Kinesis Client Library does it, which loses records on purpose. A user record whose
    /// hash key is outside the range of the shard discards the whole aggregate (the producer has
    /// sent it again to the right shard); one whose key is missing in the table discards itself
    /// and the rest.
    StrictKcl(HashRange),
}

/// Replaces the aggregates of a block by their user records. A block without one is returned as
/// it is, sharing its buffers; else data is copied once. The outcome may be empty in strict mode.
pub fn deaggregate(block: &Records, mode: Deaggregation) -> Records {
    let Some(first) = (0..block.len()).find(|i| message_of(block.data(*i)).is_some()) else {
        return block.clone();
    };
    let mut builder = RecordsBuilder::with_capacity(block.len(), block.data_bytes());
    for i in 0..block.len() {
        let message = if i < first {
            None
        } else {
            message_of(block.data(i))
        };
        let users = message
            .and_then(Message::parse)
            .and_then(|it| users_of(&it, mode));
        match users {
            None => builder.push(
                block.position(i),
                block.arrival_ms(i),
                block.key(i),
                block.data(i),
            ),
            Some(users) => {
                let keyed = keys_fit(&users, block.data_len(i));
                for (sub, user) in (0_u64..).zip(users) {
                    let key = if keyed { user.key } else { &[] };
                    let position = block.position(i).with_sub(sub);
                    builder.push(position, block.arrival_ms(i), key, user.data);
                }
            }
        }
    }
    builder.build()
}

/// The protobuf message of an aggregate; `None` for a plain record.
fn message_of(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    (!message.is_empty() && Md5::digest(message)[..] == *digest).then_some(message)
}

/// A user record with its key looked up.
struct User<'a> {
    key: &'a [u8],
    data: &'a [u8],
}

/// The user records that count; `None` where the aggregate counts as a plain record.
fn users_of<'a>(message: &Message<'a>, mode: Deaggregation) -> Option<Vec<User<'a>>> {
    let range = match mode {
        Deaggregation::KeepAll => {
            let all = message.records.iter().map(|record| User {
                key: lookup(&message.keys, record.key_index).unwrap_or_default(),
                data: record.data,
            });
            return Some(all.collect()).filter(|users: &Vec<_>| !users.is_empty());
        }
        Deaggregation::StrictKcl(range) => range,
    };
    let mut users = Vec::with_capacity(message.records.len());
    for record in &message.records {
        let Some((key, hash)) = routing(message, record) else {
            break;
        };
        if hash.is_none_or(|hash| !range.contains(hash)) {
            return Some(Vec::new());
        }
        users.push(User {
            key,
            data: record.data,
        });
    }
    Some(users)
}

/// A user record's key and hash key (`None` for one beyond the hash space). `None` where an index
/// is outside its table, or the explicit hash key is not a number.
fn routing<'a>(message: &Message<'a>, record: &UserRecord<'a>) -> Option<(&'a [u8], Option<u128>)> {
    let key = lookup(&message.keys, record.key_index)?;
    let Some(index) = record.hash_index else {
        return Some((key, Some(hash_key(key))));
    };
    let text = std::str::from_utf8(lookup(&message.hash_keys, index)?).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let negative = text.starts_with('-') && digits.bytes().any(|byte| byte != b'0');
    Some((key, digits.parse().ok().filter(|_| !negative)))
}

fn lookup<'a>(table: &[&'a [u8]], index: u64) -> Option<&'a [u8]> {
    table.get(usize::try_from(index).ok()?).copied()
}

/// Whether the keys written out stay within [`KEY_EXPANSION`].
fn keys_fit(users: &[User<'_>], aggregate_bytes: usize) -> bool {
    let keys = users
        .iter()
        .fold(0_usize, |sum, user| sum.saturating_add(user.key.len()));
    keys <= aggregate_bytes.saturating_mul(KEY_EXPANSION)
}

#[cfg(test)]
mod tests;
