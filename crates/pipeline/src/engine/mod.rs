//! The loop of one lane: read, cut into micro-batches, render ahead on the pool, gather in order,
//! seal, deliver. One future, hand-pollable; it names no runtime.

mod run;

mod reading;

mod delivering;

mod room;

pub(crate) use run::{Ended, Mode, pending, run};
