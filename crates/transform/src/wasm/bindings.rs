//! The contract as wasmtime's types, made from the WIT file at compile time.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../transforms/wit",
        world: "transform",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The contract's name: what decides outputs beside module and configuration.
pub(super) const CONTRACT: &str = "hydrant:transform@1.0.0";
/// The one interface that the host offers.
pub(super) const LOG: &str = "hydrant:transform/log@1.0.0";
/// An interface of types alone, which guests import to share them.
pub(super) const TYPES: &str = "hydrant:transform/types@1.0.0";

pub(super) use self::generated::hydrant::transform::log::Level;
pub(super) use self::generated::hydrant::transform::types::{
    BatchInfo, Incoming, Outcome, Outgoing, Routing,
};
pub(super) use self::generated::{Transform, TransformPre};
