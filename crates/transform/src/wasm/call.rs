//! One call of a guest: a new instance, `configure`, `transform`, and a look at the answer.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use hydrant_core::Records;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::{BatchInfo, Incoming, Outcome, Outgoing, Transform};
use super::engine::TICK;
use super::limits::{MESSAGE_MAX_BYTES, State, truncated};
use super::transform::WasmTransform;

/// What an output or a verdict counts beside its bytes; no less than it takes in memory here.
const ITEM_BYTES: usize = 64;

/// What a call gave.
pub(super) struct Answer {
    /// As many as there were records.
    pub(super) outcomes: Vec<Outcome>,
    /// What they count against the limit of outputs.
    pub(super) weight: usize,
}

/// Why a call gave no outcomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The guest ended itself, with this reason.
    Trapped(String),
    /// It took too long.
    TimedOut,
    /// It wanted more memory than its limit.
    MemoryLimit,
    /// Its outputs are larger than the limit.
    OutputLimit,
    /// It answered what cannot be used, for this reason.
    InvalidOutput(String),
    /// It does not take its configuration, in its own words.
    Refused(String),
    /// This machine could not run it now, for this reason.
    Host(String),
}

/// What becomes of a call that takes too long.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// It is ended after this time.
    Limited(Duration),
    /// It gets as long as it needs; the log says when it passes this time, and each double of it.
    Endless(Duration),
}

impl WasmTransform {
    /// Asks a new instance for the outcomes of `part` of a batch.
    pub(super) fn call(
        &self,
        batch: &Records,
        part: Range<usize>,
        patience: Patience,
        output_limit: usize,
    ) -> Result<Answer, Problem> {
        let count = part.len();
        let mut store = self.store(patience, output_limit);
        let instance = self.instance(&mut store)?;
        let input = Input::of(batch, part);
        let info = BatchInfo {
            source: &self.source,
        };
        let outcomes = instance
            .call_transform(&mut store, info, &input.incoming(batch))
            .map_err(|e| problem(&e, store.data()))?;
        if outcomes.len() != count {
            let answered = outcomes.len();
            return Err(Problem::InvalidOutput(format!(
                "it answered with {answered} outcomes for {count} records"
            )));
        }
        let weight = outcomes.iter().map(weight).fold(0, usize::saturating_add);
        if weight > output_limit {
            return Err(Problem::OutputLimit);
        }
        Ok(Answer { outcomes, weight })
    }

    /// Makes an instance that has its configuration.
    pub(super) fn instance(&self, store: &mut Store<State>) -> Result<Transform, Problem> {
        let instance = self.pre.instantiate(&mut *store).map_err(|e| {
            let known = e.is::<Trap>() || store.data().refused;
            if known {
                problem(&e, store.data())
            } else {
                Problem::Host(format!("{e:#}"))
            }
        })?;
        match instance.call_configure(&mut *store, &self.config) {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(text)) => Err(Problem::Refused(
                truncated(&text, MESSAGE_MAX_BYTES).to_owned(),
            )),
            Err(e) => Err(problem(&e, store.data())),
        }
    }

    /// A store with its limits set, in the order that wasmtime wants.
    pub(super) fn store(&self, patience: Patience, output_limit: usize) -> Store<State> {
        let state = State::new(&self.limits, self.log.clone());
        let mut store = Store::new(self.engine.raw(), state);
        store.limiter(|state| state);
        // Bounds what the host takes in before it can look at it. Each item costs less of it than
        // `weight` says, so that it never decides what `weight` would not.
        store.set_hostcall_fuel(output_limit);
        match patience {
            Patience::Limited(limit) => store.set_epoch_deadline(ticks(limit)),
            Patience::Endless(limit) => {
                let (mut passed, module) = (limit, self.module.clone());
                store.set_epoch_deadline(ticks(limit));
                store.epoch_deadline_callback(move |_| {
                    let more = ticks(passed);
                    let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(module, ms, "transform is past its time limit in a redo");
                    passed = passed.saturating_mul(2);
                    Ok(UpdateDeadline::Continue(more))
                });
            }
        }
        store
    }
}

/// The columns of a part that must be made for the guest.
struct Input<'a> {
    part: Range<usize>,
    keys: Vec<Cow<'a, str>>,
    sequence_numbers: Vec<String>,
}

impl<'a> Input<'a> {
    fn of(batch: &'a Records, part: Range<usize>) -> Self {
        let keys = part
            .clone()
            .map(|i| String::from_utf8_lossy(batch.key(i)))
            .collect();
        let sequence_numbers = part
            .clone()
            .map(|i| batch.position(i).to_decimal())
            .collect();
        Self {
            part,
            keys,
            sequence_numbers,
        }
    }

    fn incoming<'b>(&'b self, batch: &'b Records) -> Vec<Incoming<'b>> {
        let columns = self.keys.iter().zip(&self.sequence_numbers);
        let records = self
            .part
            .clone()
            .zip(columns)
            .map(|(i, (key, sequence_number))| Incoming {
                data: batch.data(i),
                partition_key: key,
                sequence_number,
                approximate_arrival_ms: batch.arrival_ms(i),
            });
        records.collect()
    }
}

/// Ticks after which at least `limit` has passed.
fn ticks(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis().div_ceil(TICK.as_millis()))
        .unwrap_or(u64::MAX / 2)
        .max(1)
        + 1
}

/// What an outcome counts against the limit of outputs.
fn weight(outcome: &Outcome) -> usize {
    let keys = |keys: &[(String, String)]| -> usize {
        keys.iter()
            .map(|(name, value)| ITEM_BYTES + name.len() + value.len())
            .sum()
    };
    let output = |output: &Outgoing| ITEM_BYTES + output.data.len() + keys(&output.partition_keys);
    ITEM_BYTES
        + match outcome {
            Outcome::Unchanged(partition_keys) => keys(partition_keys),
            Outcome::Ok(one) => output(one),
            Outcome::Many(outputs) => outputs.iter().map(output).sum(),
            Outcome::Dropped => 0,
            Outcome::Failed(message) => message.len(),
        }
}

fn problem(error: &wasmtime::Error, state: &State) -> Problem {
    if state.exhausted {
        return Problem::Host("the machine has no memory left".to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Problem::TimedOut,
        _ if state.refused => Problem::MemoryLimit,
        Some(trap) => Problem::Trapped(match &state.last_error {
            Some(line) => format!("{trap}: {}", truncated(line, MESSAGE_MAX_BYTES)),
            None => trap.to_string(),
        }),
        None => {
            let text = format!("{error:#}");
            // wasmtime has no type for this one; a test sees when its words change.
            let is_fuel = text.contains("fuel allocated for hostcalls has been exhausted");
            if is_fuel {
                Problem::OutputLimit
            } else {
                Problem::InvalidOutput(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, ticks};

    #[test]
    fn a_limit_is_never_less_than_asked_for() {
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_millis(100)), 11);
        assert_eq!(ticks(Duration::ZERO), 2);
    }

    #[test]
    fn an_item_weighs_no_less_than_its_size_in_memory() {
        assert!(size_of::<Outcome>() <= super::ITEM_BYTES);
    }
}
