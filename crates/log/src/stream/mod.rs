//! Embedded streams: Kinesis streams that live on this machine, each on a log of its own whose
//! lanes are the shards.
//!
//! Takes records with partition keys, gives them back by shard and sequence number. The wire
//! protocol and de-aggregation are left to others.

pub mod registry;

pub mod catalogue;

pub mod shard;

pub mod hash;

pub mod sequence;

pub mod put;

pub mod read;

pub mod retention;

pub mod error;

pub use catalogue::Catalogue;
pub use error::StreamError;
pub use hash::{HashRange, hash_key, parse_hash_key};
pub use put::{Batch, Placed, PutEntry, PutOutline};
pub use read::Start;
pub use registry::{Stream, StreamOptions, Streams};
pub use sequence::{Parts, STRIDE, ShardNumbers};
pub use shard::{Shard, ShardId};
