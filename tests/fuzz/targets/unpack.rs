//! Compressed records, and records that hold several. The module is included: its crate brings wasmtime.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "what else the included modules have"
)]

#[path = "../../../crates/transform/src/builtin/mod.rs"]
mod builtin;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| builtin::fuzzing::unpack(bytes));
