//! A simulated world: one thread, virtual time, everything decided by a seed.
//!
//! Futures are polled by hand; dropping one is a crash at whatever await it stands. Time jumps from
//! timer to timer.

pub mod world;

pub mod trace;

pub mod source;

pub mod store;

pub mod stages;

pub mod sink;

pub mod bucket;

pub mod upload;

pub use bucket::Bucket;
pub use sink::SimSink;
pub use source::SimSource;
pub use stages::{SimEncode, SimErrorFormat, SimTransform};
pub use store::SimStore;
pub use trace::Trace;
pub use upload::BucketSink;
pub use world::{Halt, Kind, SimOffload, SimRng, World};
