//! The sandbox: one engine for the process, and in it one instance for every call.

mod effort;

mod engine;

mod bindings;

mod module;

mod limits;

mod targets;

mod gate;

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
pub use targets::Targets;
pub use transform::{Compiled, Settings, WasmTransform};
