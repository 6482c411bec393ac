//! What a WASI command answers. The modules are included: their crate brings wasmtime, which makes the
//! types of `bindings` from the contract; here they are written out.
#![no_main]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "what else the included modules have"
)]

mod bindings {
    #[derive(Debug)]
    pub enum Outcome {
        Unchanged(Routing),
        Ok(Outgoing),
        Many(Vec<Outgoing>),
        Dropped,
        Failed(String),
    }

    #[derive(Debug)]
    pub struct Outgoing {
        pub data: Vec<u8>,
        pub routing: Routing,
    }

    #[derive(Debug)]
    pub struct Routing {
        pub partition_keys: Vec<(String, String)>,
        pub target: Option<String>,
    }
}

#[path = "../../../crates/transform/src/wasm/answer.rs"]
mod answer;

#[path = "../../../crates/transform/src/wasm/command"]
mod command {
    mod keys;
    mod lines;

    pub mod fuzzing;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command::fuzzing::answer(bytes));
