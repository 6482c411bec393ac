//! Prefixes and their expressions. The module is included: its crate brings an AWS SDK.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "what else the included modules have"
)]

#[path = "../../../crates/sink/src/key/mod.rs"]
mod key;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| key::fuzzing::prefix(bytes));
