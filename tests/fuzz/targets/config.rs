//! Configuration files. The modules are included: their crates bring wasmtime and AWS SDKs.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "what else the included modules have"
)]

extern crate self as hydrant_sink;
extern crate self as hydrant_transform;

#[path = "../../../crates/transform/src/builtin/mod.rs"]
pub(crate) mod builtin;

#[path = "../../../crates/hydrant/src/config/mod.rs"]
mod config;
#[path = "../../../crates/sink/src/key/mod.rs"]
mod key;

pub(crate) use key::KeyRules;

#[path = "../../../crates/sink/src/s3"]
mod s3 {
    mod checksum;

    pub(crate) use checksum::Checksum;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::fuzzing::config(bytes));
