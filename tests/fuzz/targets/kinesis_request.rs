//! Requests of the Kinesis API, in JSON and CBOR.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hydrant_api::fuzzing::request(bytes));
