//! Brings records in, and commits a position when told: the sources of the pipeline.
//!
//! Each source gives blocks of one lane with positions that can be read again. De-aggregation
//! happens here, so that the pipeline sees user records only.

pub mod deaggregate;

pub mod local;

pub use deaggregate::{Deaggregation, deaggregate};
pub use local::{Aggregates, EmbeddedSource, StartAt};
