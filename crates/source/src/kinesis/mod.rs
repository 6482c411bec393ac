//! The source on a stream of Kinesis, or of any server with its API: lanes are shards.
//!
//! Shards are polled, each within Kinesis's limit of five calls a second over all that read it here.
//! What passes (throttling, timeouts, refused permission) is tried again inside a read, so that an
//! open range is not given up for it. Positions are sequence numbers, with the index inside an
//! aggregate; a lane that has a start and no record yet is at a position below all numbers.

mod client;

mod wire;

mod cbor;

mod cursor;

mod decode;

mod gather;

mod pace;

mod source;

mod start;

mod stream;

mod read;

mod check;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use client::{KinesisClient, KinesisSettings};
pub use pace::Pace;
pub use source::{KinesisSource, Reader};
