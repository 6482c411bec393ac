//! The seams: what a source, a transform, an encoder and a sink are to the pipeline. Each has a
//! real implementer and a simulated one.

use std::any::Any;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use crate::budget::{Account, Permit};
use crate::outcomes::{Failure, Outcomes, Overruns};
use crate::{Action, BoxFuture, Digest, Lane, Position, Records};

// ---------------------------------------------------------------------------------------------
// Source

/// A lane that a source has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInfo {
    /// Its name.
    pub lane: Lane,
    /// Lanes that must have ended and been delivered before this one is read.
    pub parents: Vec<Lane>,
}

/// What a read gave.
#[derive(Default)]
pub struct Read {
    /// Blocks in position order, all after the asked position; none where the wait was over.
    pub blocks: Vec<Block>,
    /// Nothing follows these blocks, ever: the lane has ended.
    pub ended: bool,
}

/// A block and the bytes of the budget that it holds.
pub struct Block {
    /// The records.
    pub records: Records,
    /// Given back when dropped.
    pub permit: Permit,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Throttled, unreachable, or anything else that passes.
    #[error("the source cannot be read now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Records after the asked position are gone, up to and with `through`: reading goes on there.
    #[error("records after {after} are no longer in the source, up to {through}")]
    Trimmed {
        /// What was asked for.
        after: Position,
        /// The last position that is gone; whatever is left comes after it.
        through: Position,
    },
    /// The stream or lane does not exist, credentials are wrong, data is corrupted.
    #[error("{0}")]
    Broken(String),
}

impl SourceError {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Unavailable(_) => Action::Retry { after: None },
            Self::Trimmed { .. } | Self::Broken(_) => Action::Stop,
        }
    }
}

/// Brings records in. Every source is a log with positions: reading again from a position gives
/// the same records.
pub trait Source: Send + Sync {
    /// Identity of what is read, unique over deletion and re-creation: part of every object's id.
    fn identity(&self) -> &str;

    /// The lanes there are now, parents first.
    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>>;

    /// Where a new lane starts: the configured start (`trim_horizon`, `latest`, a time), resolved
    /// to the position *after* which to read. The pipeline stores it before the first read.
    fn start<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>>;

    /// Reads records after `after`: at least one if there is any, up to about `max_bytes` of data,
    /// never a part of an aggregate. Waits up to `wait` for the first. Takes the bytes from
    /// `account` before it takes them from outside, and holds none while it waits, be it for
    /// records or for more bytes: what it has must get through first.
    /// Cancel safe: the position is the caller's.
    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>>;

    /// The same source in another reading mode (how aggregates are taken apart, say), for a range
    /// that began under it; `None` where this one reads so already, or there is only one way.
    /// Modes are the source's own; a plan carries one, since it decides what the records are.
    fn in_mode(&self, _mode: u8) -> Option<std::sync::Arc<dyn Source>> {
        None
    }

    /// Told after each durable commit: everything up to `position` is delivered. Lets a local log
    /// free what every reader has committed. Forgetting is safe.
    fn committed(&self, lane: &Lane, position: Position);
}

// ---------------------------------------------------------------------------------------------
// Transform

/// A stage that makes outputs of records. Runs on the CPU pool; many calls at once.
pub trait Transform: Send + Sync {
    /// Digest of everything that decides its outputs: module, configuration, limits.
    fn digest(&self) -> Digest;

    /// Processes one micro-batch. A pure function of the batch and the known overruns: the same
    /// call gives the same outcomes, on any thread. A record that cannot be processed is a
    /// failure in the outcomes, never an error of the batch.
    ///
    /// # Errors
    /// [`Blocked`] where nothing can be said of the batch now.
    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Result<Outcomes, Blocked>;
}

/// A micro-batch cannot be processed now, for this reason, which is none of its records'. It is to
/// be tried again later; until then its records stay where they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Blocked(pub String);

// ---------------------------------------------------------------------------------------------
// Encode

/// The outputs of one partition in one micro-batch, prepared for an encoder.
pub struct Piece {
    /// Bytes as buffering hints count them: after the transform, with delimiters, before
    /// compression and conversion.
    pub bytes: usize,
    /// Number of records in it.
    pub records: u64,
    /// Bytes of memory that it holds.
    pub held: usize,
    /// What the encoder of the same stage takes; opaque to the pipeline.
    pub body: Box<dyn Any + Send>,
}

/// A piece, and the outputs that the stage refused (they did not fit the schema). `record` and
/// `output` of the failures are filled in by the pipeline; on return `record` is the index of the
/// output in the list that was given.
pub struct Prepared {
    /// What was accepted; `None` where that is nothing.
    pub piece: Option<Piece>,
    /// What was refused.
    pub refused: Vec<Failure>,
}

/// Bytes of an object, in order.
pub enum Chunk {
    /// Ready to be sent.
    Ready(Bytes),
    /// Work that gives the bytes; several of one object may run at once on the CPU pool.
    Work(Box<dyn FnOnce() -> Bytes + Send>),
}

/// An encoder failed in a way that no record explains: a broken invariant.
#[derive(Debug, thiserror::Error)]
#[error("the object cannot be encoded: {0}")]
pub struct EncodeError(pub String);

/// Makes objects of outputs: format and compression. A pure function of the outputs: no time, no
/// random name, no thread order in the bytes.
pub trait Encode: Send + Sync {
    /// Digest of everything that decides the bytes: format, schema, compression, constants.
    fn digest(&self) -> Digest;

    /// Default file extension with its dot, or empty.
    fn extension(&self) -> &str;

    /// Value of Content-Encoding, if objects have one.
    fn content_encoding(&self) -> Option<&str>;

    /// Prepares the outputs of one partition of one micro-batch: joins them with delimiters, or
    /// parses them into columns. Runs on the CPU pool, many at once.
    fn prepare(&self, outputs: &[&[u8]]) -> Prepared;

    /// Makes one piece of several of one object, in their order: as it would have been had their
    /// outputs been prepared at once. Small pieces may hold far more than their bytes. Runs on the
    /// CPU pool.
    ///
    /// # Errors
    /// Where a piece is not of this stage, or the format's library fails.
    fn join(&self, pieces: Vec<Piece>) -> Result<Piece, EncodeError>;

    /// Starts an object. `id` is the object's derived id, for containers that need a name inside.
    fn encoder(&self, id: &Digest) -> Box<dyn Encoder>;
}

/// The encoder of one object. Sequential; runs on the CPU pool.
pub trait Encoder: Send {
    /// Adds a piece; appends to `chunks` what is finished.
    ///
    /// # Errors
    /// Where the piece is not of this stage, or the format's library fails.
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError>;

    /// Bytes of memory that it holds now.
    fn held_bytes(&self) -> usize;

    /// Ends the object; appends the last chunks.
    ///
    /// # Errors
    /// Where the format's library fails.
    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError>;
}

// ---------------------------------------------------------------------------------------------
// Sink

/// What decides an object's key. All of it is known from the object's first record.
#[derive(Clone, Debug)]
pub struct ObjectId<'a> {
    /// Arrival of the object's first record, milliseconds since the epoch.
    pub arrival_ms: u64,
    /// Derived from delivery stream, source, generation, lane, first position, partition key,
    /// part number and kind (reliability design, section 5).
    pub digest: Digest,
    /// Partition keys of the object; empty without partitioning.
    pub partition_keys: &'a [(String, String)],
    /// `processing-failed` and so on for an object of the error output, else `None`.
    pub error_kind: Option<&'a str>,
    /// The encoder's extension with its dot; a configured file extension replaces it.
    pub extension: &'a str,
}

/// What an object is called and what is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The key below the bucket or directory.
    pub key: String,
    /// Value of Content-Encoding, if any. Content-Type is always `application/octet-stream`.
    pub content_encoding: Option<String>,
    /// Names and values, lowercase ASCII: lane, first, generation, version.
    pub metadata: Vec<(&'static str, String)>,
}

/// How a completed object came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// Written by this call.
    Written,
    /// It was there already, and is the same.
    AlreadyThere,
}

/// Why an object could not be put, once trying again is over.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The name is taken by other content (invariant I6). Never overwritten.
    #[error("{place} holds other content than this range: it is left as it is")]
    Mismatch {
        /// Where.
        place: String,
    },
    /// Nothing that waits can help: a wrong configuration.
    #[error("{0}")]
    Broken(String),
    /// Retry time is over, or the sink has no retry.
    #[error("the destination did not take the object")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SinkError {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Unavailable(_) => Action::Retry { after: None },
            Self::Mismatch { .. } | Self::Broken(_) => Action::Stop,
        }
    }
}

/// Puts objects where they belong. Retries inside, with backoff.
pub trait ObjectSink: Send + Sync {
    /// Digest of everything that decides names and places: bucket, prefixes, extension.
    fn digest(&self) -> Digest;

    /// The key of an object: a pure function of its id.
    fn key(&self, id: &ObjectId<'_>) -> String;

    /// Starts an object. Nothing of it is visible before [`ObjectUpload::complete`].
    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload>;
}

/// One object on its way.
pub trait ObjectUpload: Send {
    /// Takes a chunk, and may send what it has gathered as an invisible part.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>>;

    /// Bytes of memory that it holds now.
    fn held_bytes(&self) -> usize;

    /// Makes the object visible, and durable, unless the same one is there already. Dropping the
    /// future cancels; the object may then be visible or not.
    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>>;

    /// Gives up: removes parts that were sent, as well as it can.
    fn abort(self: Box<Self>) -> BoxFuture<'static, ()>;
}

// ---------------------------------------------------------------------------------------------
// Error output

/// Everything that an error object says of one failed record.
#[derive(Clone, Debug)]
pub struct FailedRecord<'a> {
    /// What failed and how.
    pub failure: &'a Failure,
    /// The input record, before any transform.
    pub raw: &'a [u8],
    /// The output of the same record whose line in the same object has `raw` already: this line then
    /// leaves it out, as a record may have any number of outputs.
    pub raw_in: Option<u32>,
    /// Its position.
    pub position: Position,
    /// Its lane.
    pub lane: &'a Lane,
    /// Its arrival, milliseconds since the epoch.
    pub arrival_ms: u64,
    /// The range's `at_ms`, so that a redo repeats it.
    pub at_ms: u64,
}

/// Records that the source no longer had when they were to be read.
#[derive(Clone, Debug)]
pub struct LostRecords<'a> {
    /// Their lane.
    pub lane: &'a Lane,
    /// They came after this position.
    pub after: Position,
    /// Where what is lost ends: before the first record that was left, or with this position.
    pub until: Bound<Position>,
    /// The `at_ms` of the range that reports them.
    pub at_ms: u64,
}

/// Writes what an error object holds.
pub trait ErrorFormat: Send + Sync {
    /// Appends the line of a failed record, newline included.
    fn line(&self, record: &FailedRecord<'_>, out: &mut Vec<u8>);

    /// Appends the line that says what the source has lost, newline included.
    fn loss(&self, lost: &LostRecords<'_>, out: &mut Vec<u8>);
}
