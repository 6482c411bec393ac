//! The sandbox: one engine for the process, and in it one instance for every call.

mod effort;

mod engine;

mod cache;

mod bindings;

mod module;

mod limits;

mod targets;

mod gate;

mod tally;

mod idle;

mod world;

mod wasi;

mod command;

mod backtrace;

mod answer;

mod call;

mod bisect;

mod transform;

pub use engine::WasmEngine;
pub use limits::{GuestLevel, GuestLog, Limits};
pub use tally::{PROBLEMS, Tally, TallySnapshot, VERDICTS};
pub use targets::Targets;
pub use transform::{Compiled, Instances, OnTrap, Settings, WasmTransform};
