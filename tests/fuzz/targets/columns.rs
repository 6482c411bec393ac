//! JSON records to columns.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hydrant_encode::fuzzing::columns(bytes));
