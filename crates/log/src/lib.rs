//! Keeps bytes on this machine: the durable log, the embedded streams on it, the store of
//! positions and intents.
//!
//! A log is a directory of segments (reliability design, section 6). It runs without a runtime and
//! starts no thread: what blocks is handed to `core::offload`, what the disk does is behind
//! `core::disk`, so that all of it runs simulated, through crashes.

pub mod env;

pub mod error;

mod frame;

mod segment;

mod scan;

mod site;

mod view;

mod queue;

mod writer;

mod recovery;

mod mend;

mod release;

pub mod log;

pub mod stream;

pub mod state;

pub mod inspect;

pub mod repair;

pub mod disk;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use disk::{ProcessAbort, RealDisk};
pub use env::{Content, Env, LogOptions, OnCorruption, SyncPoint};
pub use error::Error;
pub use frame::FrameKind;
pub use log::{Appended, Entry, Log, Stored};
pub use state::StateLog;
