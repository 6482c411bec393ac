//! A log whose only segment is these bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hydrant_log::fuzzing::segment(bytes));
