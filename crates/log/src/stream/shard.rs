//! A shard of an embedded stream: its id, hash range, lineage and numbers.

use std::fmt;

use hydrant_core::{Lane, Position};
use minicbor::{Decode, Encode};

use super::hash::HashRange;
use super::sequence::ShardNumbers;

/// The id of a shard: a counter that grows for ever in its stream, and the lane of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ShardId(#[n(0)] pub u32);

impl ShardId {
    /// Reads an id in any form that Kinesis takes: `shardId-000000000001`, `shardId-1`, `1`,
    /// `anything-1`; up to 2147483647.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = match text.split_once('-') {
            Some((_, rest)) => rest,
            None => text,
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let index: i32 = if plain {
            digits.parse().ok()?
        } else {
            return None;
        };
        u32::try_from(index).ok().map(Self)
    }

    /// Its lane: the id as text.
    pub fn lane(self) -> Lane {
        Lane::new(self.to_string())
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The hash keys that it takes.
    pub range: HashRange,
    /// The shard that it came from by a split or a merge.
    pub parent: Option<ShardId>,
    /// The other shard of a merge.
    pub adjacent_parent: Option<ShardId>,
    /// Its creation, epoch seconds: part of its sequence numbers.
    pub created_s: u64,
    /// When it was closed, epoch seconds; `None` while it takes records.
    pub closed_s: Option<u64>,
}

impl Shard {
    /// Its numbers.
    pub fn numbers(&self) -> ShardNumbers {
        ShardNumbers {
            created_s: self.created_s,
            shard: self.id.0,
        }
    }

    /// The number below all its records.
    pub fn starting(&self) -> Position {
        self.numbers().starting()
    }

    /// The number above all its records, where it is closed.
    pub fn ending(&self) -> Option<Position> {
        self.closed_s.map(|time_s| self.numbers().ending(time_s))
    }
}

#[cfg(test)]
mod tests {
    use super::ShardId;

    #[test]
    fn ids_in_every_form_that_kinesis_takes() {
        assert_eq!(ShardId(7).to_string(), "shardId-000000000007");
        for text in ["shardId-000000000007", "shardId-7", "7", "anything-7", "-7"] {
            assert_eq!(ShardId::parse(text), Some(ShardId(7)), "{text}");
        }
        assert_eq!(ShardId::parse("2147483647"), Some(ShardId(2_147_483_647)));
        for bad in [
            "",
            "shardId-",
            "shardId-x",
            "2147483648",
            "a-b-1",
            "shardId--1",
            "+1",
            "1 ",
        ] {
            assert_eq!(ShardId::parse(bad), None, "{bad}");
        }
    }
}
