//! The real clock, dice and thread pools that are handed to the crates below.

pub mod clock;

mod turns;

pub mod pool;

pub use clock::{RealClock, RealRng};
pub use pool::Pool;
