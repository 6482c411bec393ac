//! The whole pipeline in a simulated world: the real log, streams, state store, source and pipeline on
//! a disk that loses and tears, with simulated transforms and buckets; every decision from a seed.
//!
//! A scenario and a seed give a [`Plan`]: sizes, and faults by time. [`run`] lives through it, an
//! [`Oracle`](oracle::Oracle) watches all that becomes durable or visible.

mod record;

mod stages;

pub mod oracle;

mod watched;

pub mod plan;

mod process;

mod remote;

mod run;

pub mod campaign;

pub mod points;

#[cfg(feature = "planted")]
pub mod plants;

pub use plan::{Event, Plan, SCENARIOS};
pub use run::{Outcome, Points, run, run_points, run_traced};
