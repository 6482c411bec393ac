//! Runs the user's WebAssembly under limits, and the processors that are built in.
//!
//! Takes micro-batches of `Records`, gives `Outcomes`. The contract of host and guest is
//! `transforms/wit/transform.wit`. Reading modules from files, and when to log what a guest says,
//! are the caller's.

pub mod builtin;

pub mod wasm;

pub mod verdicts;

pub mod module_info;

pub mod error;

pub use error::Error;
pub use module_info::{ModuleInfo, ModuleKind};
pub use wasm::{
    Compiled, GuestLevel, GuestLog, Instances, Limits, OnTrap, PROBLEMS, Settings, Tally,
    TallySnapshot, Targets, VERDICTS, WasmEngine, WasmTransform,
};
