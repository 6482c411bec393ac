//! Stored intents.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hydrant_pipeline::fuzzing::intent(bytes));
