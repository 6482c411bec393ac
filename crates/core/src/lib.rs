//! The nouns that cross a boundary, and the traits at the seams. No I/O, no runtime.
//!
//! Everything a stage takes or gives is defined here; how it is made is left to the stages.

pub mod records;

pub mod position;

pub mod decimal;

pub mod lane;

pub mod outcomes;

pub mod stage;

pub mod state;

pub mod budget;

pub mod disk;

pub mod offload;

pub mod clock;

pub mod rng;

pub mod planted;

pub mod backoff;

pub mod retry;

pub mod units;

pub mod digest;

pub mod error;

pub use digest::Digest;
pub use error::Action;
pub use lane::{Lane, LaneKey};
pub use position::Position;
pub use records::{Records, RecordsBuilder};
pub use units::ByteSize;

use std::future::Future;
use std::pin::Pin;

/// A boxed future that may move between threads: what an async method of a `dyn` seam returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
