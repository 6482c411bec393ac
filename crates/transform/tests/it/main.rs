//! The crate's public face: the example guests, a hostile one, and modules that are none of ours.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

mod builtin_speed;
mod contract;

mod drift;

mod examples;

mod hostile;

mod kinds;

mod modules;

mod poison;

mod reuse;

mod overruns;

mod speed;

mod worlds;
