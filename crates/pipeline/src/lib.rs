//! Runs one delivery stream: the only place where the order of the stages is written.
//!
//! A lane's records are cut into micro-batches, rendered on the CPU pool, gathered into a range,
//! sealed, and delivered: intent, objects, commit. Time comes in through `core::clock`; nothing
//! here opens a file, a socket or a task.

pub mod plan;

pub mod hints;

mod batch;

mod failed;

mod render;

mod name;

mod range;

mod loss;

mod object;

mod gathered;

pub mod intent;

mod deliver;

mod engine;

pub mod lane;

pub mod stream;

pub mod status;

pub mod error;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use error::LaneError;
pub use hints::{Hints, SealReason};
pub use plan::{Partitioning, Plan, Versions};
pub use status::Status;
pub use stream::{DeliveryStream, Setting};
