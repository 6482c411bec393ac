//! Aggregates of the Kinesis Producer Library. The module is included: its crate brings an AWS SDK.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "what else the included modules have"
)]

#[path = "../../../crates/source/src/deaggregate/mod.rs"]
mod deaggregate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| deaggregate::fuzzing::aggregate(bytes));
