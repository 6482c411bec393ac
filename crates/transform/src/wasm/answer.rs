//! What a call of a guest gives, or why it gives nothing, and what it counts.

use super::bindings::{Outcome, Outgoing, Routing};

/// What an output or a verdict counts beside its bytes; no less than it takes in memory here.
pub(super) const ITEM_BYTES: usize = 96;

/// Why a call gave no outcomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The guest ended itself, with this reason.
    Trapped(String),
    /// It took too long.
    TimedOut,
    /// It wanted more memory than its limit.
    MemoryLimit,
    /// It wanted a larger table than there is.
    TableLimit,
    /// Its outputs are larger than the limit.
    OutputLimit,
    /// It answered what cannot be used, for this reason.
    InvalidOutput(String),
    /// It does not take its configuration, in its own words.
    Refused(String),
    /// This machine could not run it now, for this reason.
    Host(String),
}

/// What an outcome counts against the limit of outputs.
pub(super) fn weight(outcome: &Outcome) -> usize {
    let route = |routing: &Routing| -> usize {
        let keys = routing.partition_keys.iter();
        let keys: usize = keys
            .map(|(name, value)| ITEM_BYTES + name.len() + value.len())
            .sum();
        keys + routing.target.as_ref().map_or(0, String::len)
    };
    let output = |output: &Outgoing| ITEM_BYTES + output.data.len() + route(&output.routing);
    ITEM_BYTES
        + match outcome {
            Outcome::Unchanged(routing) => route(routing),
            Outcome::Ok(one) => output(one),
            Outcome::Many(outputs) => outputs.iter().map(output).sum(),
            Outcome::Dropped => 0,
            Outcome::Failed(message) => message.len(),
        }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::Outcome;

    #[test]
    fn an_item_weighs_no_less_than_its_size_in_memory() {
        assert!(size_of::<Outcome>() <= super::ITEM_BYTES);
    }
}
