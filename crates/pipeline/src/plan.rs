//! What decides the output of a delivery stream, as one thing with a version.

use std::sync::Arc;

use hydrant_core::stage::{Encode, ErrorFormat, ObjectSink, Transform};
use hydrant_core::{BoxFuture, Digest};

/// Most records of a micro-batch. Decides where a transform sees borders: part of the version.
pub const MICRO_BATCH_RECORDS: usize = 1000;
/// A micro-batch is full once its data reaches this. Part of the version.
pub const MICRO_BATCH_BYTES: usize = 512 * 1024;

/// The stages of a delivery stream under one version of its settings.
#[derive(Clone)]
pub struct Plan {
    /// Digest of all that decides the output and where it goes.
    pub version: Digest,
    /// How the source reads: see `Source::in_mode`.
    pub read_mode: u8,
    /// Transforms, in order; none is a plain copy.
    pub transforms: Vec<Arc<dyn Transform>>,
    /// Format and compression of objects.
    pub encode: Arc<dyn Encode>,
    /// Where objects go.
    pub sink: Arc<dyn ObjectSink>,
    /// Where error objects go.
    pub error_sink: Arc<dyn ObjectSink>,
    /// How error objects are written.
    pub error_format: Arc<dyn ErrorFormat>,
    /// Size of an object, before compression; with partitions, of all objects of a range.
    pub size_hint_bytes: u64,
    /// How outputs are divided among objects; `None`: one object takes them all.
    pub partitioning: Option<Partitioning>,
    /// Borders of micro-batches: the constants above, smaller in simulations.
    pub micro_batch: MicroBatch,
}

/// One object for each combination of partition keys in a range, or several where it gets large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitioning {
    /// Names of the keys that tell partitions apart. An output without one of them fails.
    pub keys: Vec<String>,
    /// Size at which an object ends and the next of its partition begins, before compression.
    pub part_bytes: u64,
    /// Most partitions of a range; outputs of further ones fail. `None`: as many as there are.
    pub max_active: Option<usize>,
}

/// Where micro-batches end, counted from the first record of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// Most records.
    pub records: usize,
    /// Full once its data reaches so many bytes.
    pub bytes: usize,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self {
            records: MICRO_BATCH_RECORDS,
            bytes: MICRO_BATCH_BYTES,
        }
    }
}

/// The version in force, and earlier ones that an intent may still name.
pub trait Versions: Send + Sync {
    /// What new ranges are rendered with. It is stored by digest before this returns it.
    fn current(&self) -> Arc<Plan>;

    /// Completes once another plan than this is in force.
    fn replaced(&self, _plan: &Arc<Plan>) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The plan of an earlier version, as it was stored. The error says why it cannot be had.
    fn load(&self, version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>>;
}
