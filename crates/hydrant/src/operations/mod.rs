//! The operations server: health, readiness, metrics and status over HTTP.
//!
//! Takes a function that gives a snapshot of the service, and answers from it. Everything here only
//! reads; what the numbers count is decided where they are counted.

mod snapshot;

mod exposition;

mod metrics;

mod transforms;

mod server;

mod gather;

pub use self::gather::serve_service;
pub use self::metrics::render;
pub use self::server::{Server, SnapshotSource, bind};
pub use self::snapshot::{
    DeliveryStreamSnapshot, DestinationKind, MemoryHolder, MemorySnapshot, Snapshot,
    StreamSnapshot, TransformSnapshot,
};
