//! Answers of `GetRecords` in CBOR. The modules are included: their crate brings an AWS SDK.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "what else the included modules have"
)]

#[path = "../../../crates/source/src/kinesis"]
mod kinesis {
    mod cbor;
    mod gather;

    pub(crate) mod fuzzing;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinesis::fuzzing::get_records(bytes));
