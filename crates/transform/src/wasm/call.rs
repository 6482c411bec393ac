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
        // Before the time of the call begins.
        let _entered = self.engine.gate().enter(self.limits.memory_bytes);
        let mut store = self.store(patience, output_limit);
        let instance = self.instance(&mut store)?;
        let input = Input::of(batch, part);
        let info = BatchInfo {
            source: &self.source,
        };
        let outcomes = instance
            .call_transform(&mut store, info, &input.incoming(batch))
            .map_err(|e| problem(&e, store.data()))?;
        check_host(store.data())?;
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
        let configured = instance
            .call_configure(&mut *store, &self.config)
            .map_err(|e| problem(&e, store.data()))?;
        check_host(store.data())?;
        configured
            .map(|()| instance)
            .map_err(|text| Problem::Refused(truncated(&text, MESSAGE_MAX_BYTES).to_owned()))
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

/// Whether the machine had what the guest was allowed to take. If not, nothing that the guest did
/// counts, not even an answer: it may be another one than with the memory.
fn check_host(state: &State) -> Result<(), Problem> {
    if state.exhausted {
        return Err(Problem::Host("the machine has no memory left".to_owned()));
    }
    Ok(())
}

fn problem(error: &wasmtime::Error, state: &State) -> Problem {
    let trap = error.downcast_ref::<Trap>();
    // Before all else: an overrun is recorded, whatever led to it.
    if trap == Some(&Trap::Interrupt) {
        return Problem::TimedOut;
    }
    if let Err(shortage) = check_host(state) {
        return shortage;
    }
    match trap {
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
    use std::sync::Arc;
    use std::time::Duration;

    use wasmtime::{Instance, Module, Store};

    use super::super::engine::{WasmEngine, cramped};
    use super::super::limits::{Limits, State};
    use super::{Outcome, Problem, check_host, problem, ticks};

    /// A core module with a memory of one page that asks for `pages` more (a LEB128 number of 3
    /// bytes) and goes on, be it without end or to its own.
    fn growing(pages: [u8; 3], endless: bool) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([1, 4, 1, 0x60, 0, 0]); // types: one, a function of nothing
        module.extend([3, 2, 1, 0]); // functions: one, of that type
        module.extend([5, 3, 1, 0, 1]); // memories: one, of a page or more
        module.extend([7, 5, 1, 1, b'f', 0, 0]); // exports: the function, as `f`
        module.extend([10, 16, 1, 14, 0]); // code: one body, no locals
        module.push(0x41); // i32.const
        module.extend(pages);
        module.extend([0x40, 0, 0x1a]); // memory.grow, drop
        let step = if endless { [0x0c, 0] } else { [1, 1] }; // br 0, or twice nop
        module.extend([0x03, 0x40]); // loop
        module.extend(step);
        module.extend([0x0b, 0x0b]); // end, end
        module
    }

    /// What came of a run, and the state after it.
    fn run(engine: &WasmEngine, module: &[u8]) -> (Option<Problem>, State) {
        let module = Module::from_binary(engine.raw(), module).expect("a valid module");
        let state = State::new(&Limits::default(), Arc::new(|_, _| ()));
        let mut store = Store::new(engine.raw(), state);
        store.limiter(|state| state);
        store.set_epoch_deadline(ticks(Duration::from_millis(50)));
        let instance = Instance::new(&mut store, &module, &[]).expect("a page is left");
        let called = instance
            .get_typed_func::<(), ()>(&mut store, "f")
            .and_then(|f| f.call(&mut store, ()));
        let problem = called.err().map(|e| problem(&e, store.data()));
        (problem, store.into_data())
    }

    /// 960 pages, within the limit; 65,535, together with the first all that 32 bits address, and
    /// 65,536, more than that.
    const ALLOWED: [u8; 3] = [0xc0, 0x87, 0];
    const ALL: [u8; 3] = [0xff, 0xff, 3];
    const TOO_MANY: [u8; 3] = [0x80, 0x80, 4];

    #[test]
    fn a_call_that_wants_memory_and_then_never_ends_is_an_overrun() {
        let engine = WasmEngine::new().expect("an engine");
        let cramped = cramped();
        for (engine, pages, exhausted) in [
            (&engine, ALLOWED, false),
            (&engine, ALL, false),
            (&engine, TOO_MANY, false),
            (&cramped, ALLOWED, true),
        ] {
            let (problem, state) = run(engine, &growing(pages, true));
            assert_eq!(problem, Some(Problem::TimedOut), "{pages:?}");
            assert_eq!(state.exhausted, exhausted, "{pages:?}");
        }
    }

    #[test]
    fn no_answer_counts_where_the_machine_had_no_memory() {
        let (problem, state) = run(&cramped(), &growing(ALLOWED, false));
        assert_eq!(problem, None);
        assert!(matches!(check_host(&state), Err(Problem::Host(_))));
        let engine = WasmEngine::new().expect("an engine");
        for pages in [ALLOWED, ALL, TOO_MANY] {
            let (problem, state) = run(&engine, &growing(pages, false));
            assert_eq!((problem, check_host(&state)), (None, Ok(())), "{pages:?}");
        }
    }

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
