//! Brings records in, and commits a position when told: the sources of the pipeline.
//!
//! Each source gives blocks of one lane with positions that can be read again. De-aggregation
//! happens here, so that the pipeline sees user records only.

pub mod deaggregate;

pub mod reading;

pub mod local;

pub mod kinesis;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing {
    //! Bodies of fuzz targets: run over a checked-in corpus as tests, and by `cargo xtask fuzz`.

    pub use crate::deaggregate::fuzzing::aggregate;
    pub use crate::kinesis::fuzzing::get_records;
}

pub use deaggregate::{Deaggregation, deaggregate};
pub use kinesis::{KinesisClient, KinesisSettings, KinesisSource, Pace};
pub use local::EmbeddedSource;
pub use reading::{Aggregates, StartAt};
