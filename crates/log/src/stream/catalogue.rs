//! What the state store keeps of each stream, so that it survives a restart: CBOR, one entry per
//! name, and one per reader of a stream.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use hydrant_core::BoxFuture;

use super::error::StreamError;
use super::hash::HashRange;
use super::shard::{Shard, ShardId};
use crate::Error;

/// A durable map of small entries: what the streams need of the state store.
pub trait Catalogue: Send + Sync {
    /// All entries of a kind.
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)>;

    /// Sets an entry; durable once it returns.
    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes an entry; durable once it returns.
    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>>;
}

/// The catalogue's kind of entry for streams; keyed by name.
pub(super) const STREAMS: &str = "stream";

/// The catalogue's kind of entry for readers; keyed by directory of the stream, `/`, name.
pub(super) const READERS: &str = "stream-reader";

/// Life of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Life {
    /// It takes and gives records.
    #[n(0)]
    Active,
    /// Its files are being removed.
    #[n(1)]
    Deleting,
    /// Only the entry is left, so that the next stream of this name is told apart from it.
    #[n(2)]
    Deleted,
}

/// The entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct StreamEntry {
    #[n(0)]
    pub(super) life: Life,
    /// Directory of its log below the streams' directory.
    #[n(1)]
    pub(super) dir: String,
    #[n(2)]
    pub(super) created_ms: u64,
    /// Creation as its first shards' numbers carry it; no two streams of a name share it.
    #[n(3)]
    pub(super) created_s: u64,
    #[n(4)]
    pub(super) retention_ms: u64,
    #[n(5)]
    pub(super) max_record_bytes: u64,
    #[n(6)]
    pub(super) on_demand: bool,
    #[n(7)]
    pub(super) shards: Vec<ShardEntry>,
}

/// A shard in the entry of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct ShardEntry {
    #[n(0)]
    id: ShardId,
    /// First and last hash key, as high and low halves.
    #[n(1)]
    range: [u64; 4],
    #[n(2)]
    parent: Option<ShardId>,
    #[n(3)]
    adjacent_parent: Option<ShardId>,
    #[n(4)]
    created_s: u64,
    #[n(5)]
    closed_s: Option<u64>,
}

impl StreamEntry {
    pub(super) fn to_bytes(&self) -> Bytes {
        minicbor::to_vec(self).expect("a vector takes all").into()
    }

    pub(super) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, StreamError> {
        minicbor::decode(bytes).map_err(|_| StreamError::Catalogue {
            name: name.to_owned(),
        })
    }
}

impl From<&Shard> for ShardEntry {
    fn from(shard: &Shard) -> Self {
        let half = |key: u128| u64::try_from(key).unwrap_or(u64::MAX);
        let halves = |key: u128| [half(key >> 64), half(key & u128::from(u64::MAX))];
        let ([a, b], [c, d]) = (halves(shard.range.first), halves(shard.range.last));
        Self {
            id: shard.id,
            range: [a, b, c, d],
            parent: shard.parent,
            adjacent_parent: shard.adjacent_parent,
            created_s: shard.created_s,
            closed_s: shard.closed_s,
        }
    }
}

impl From<ShardEntry> for Shard {
    fn from(entry: ShardEntry) -> Self {
        let [a, b, c, d] = entry.range.map(u128::from);
        Self {
            id: entry.id,
            range: HashRange {
                first: a << 64 | b,
                last: c << 64 | d,
            },
            parent: entry.parent,
            adjacent_parent: entry.adjacent_parent,
            created_s: entry.created_s,
            closed_s: entry.closed_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, Shard, ShardEntry, ShardId, StreamEntry};
    use crate::stream::HashRange;

    #[test]
    fn an_entry_comes_back_as_it_went() {
        let shard = Shard {
            id: ShardId(7),
            range: HashRange {
                first: 1 << 127,
                last: u128::MAX - 1,
            },
            parent: Some(ShardId(1)),
            adjacent_parent: None,
            created_s: 5,
            closed_s: Some(9),
        };
        let entry = StreamEntry {
            life: Life::Deleting,
            dir: "clicks-5".to_owned(),
            created_ms: 5_001,
            created_s: 5,
            retention_ms: 1,
            max_record_bytes: 2,
            on_demand: true,
            shards: vec![ShardEntry::from(&shard)],
        };
        let back = StreamEntry::from_bytes("clicks", &entry.to_bytes()).expect("reads");
        assert_eq!(back, entry);
        assert_eq!(Shard::from(back.shards[0].clone()), shard);
        let error = StreamEntry::from_bytes("clicks", b"\xff").expect_err("no entry");
        assert!(error.to_string().contains("clicks"));
    }
}
