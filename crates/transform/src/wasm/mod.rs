//! The sandbox: one engine for the process, and in it one instance for every call.

mod engine;

mod bindings;

mod module;

mod limits;

mod gate;

mod call;

mod bisect;

mod transform;

pub use engine::WasmEngine;
pub use limits::{GuestLevel, GuestLog, Limits};
pub use transform::WasmTransform;
