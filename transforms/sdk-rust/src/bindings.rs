//! What wit-bindgen makes of the contract, and the way from our types to its own. Not for users.

/// As wit-bindgen writes it.
pub mod generated {
    wit_bindgen::generate!({
        path: "../wit",
        world: "transform",
        pub_export_macro: true,
        export_macro_name: "export_world",
    });
}

pub use self::generated::Guest;
pub use self::generated::export_world;
pub use self::generated::hydrant::transform::types::Outcome as RawOutcome;
use self::generated::hydrant::transform::types::{Outgoing, Routing as RawRouting};
use crate::{BatchInfo, Level, Outcome, Output, Record, Routing, Transform, log};

/// Asks a transform for every record of a batch.
pub fn each(transform: &impl Transform, info: &BatchInfo, batch: Vec<Record>) -> Vec<RawOutcome> {
    batch
        .into_iter()
        .map(|record| raw(transform.transform(record, info)))
        .collect()
}

/// Sends the message of a panic to the log: the trap that follows carries none.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}

fn raw(outcome: Outcome) -> RawOutcome {
    match outcome {
        Outcome::Unchanged => RawOutcome::Unchanged(routing(Routing::default())),
        Outcome::Routed(to) => RawOutcome::Unchanged(routing(to)),
        Outcome::Changed(output) => RawOutcome::Ok(outgoing(output)),
        Outcome::Split(outputs) => RawOutcome::Many(outputs.into_iter().map(outgoing).collect()),
        Outcome::Dropped => RawOutcome::Dropped,
        Outcome::Failed(message) => RawOutcome::Failed(message),
    }
}

fn outgoing(output: Output) -> Outgoing {
    Outgoing {
        data: output.data,
        routing: routing(output.routing),
    }
}

fn routing(to: Routing) -> RawRouting {
    RawRouting {
        partition_keys: to.partition_keys,
        target: to.target,
    }
}
