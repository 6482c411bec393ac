//! The whole pipeline by seed: virtual clock, faults, crashes, and an oracle that reads everything
//! that became visible.
#![expect(clippy::unwrap_used, reason = "a test may stop at what cannot be")]

mod model;

mod two_workers;

mod neighbours;

mod pressure;

mod stalled_source;

mod lost_range;

mod outage;

mod whole;
