//! What the tests of the whole share: the simulator of the whole pipeline.
#![expect(clippy::unwrap_used, reason = "a test may stop at what cannot be")]

pub mod sim;
