//! One call of a guest: a new instance, `configure`, `transform`, and a look at the answer.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use hydrant_core::Records;
use hydrant_core::decimal::Decimals;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use super::answer::{Problem, weight};
use super::backtrace;
use super::bindings::{BatchInfo, Incoming, Outcome, Transform, TransformPre};
use super::command::{self, Command, Exit};
use super::engine::TICK;
use super::idle::Living;
use super::limits::{MESSAGE_MAX_BYTES, State, truncated};
use super::module::Ready;
use super::tally::thread_cpu;
use super::transform::WasmTransform;
use super::world::World;

/// What a line of a command may have beside its output.
const LINE_BYTES: usize = 1 << 10;
/// Bytes of a guest's last words in an error object: its functions need room, too.
const WORDS_MAX_BYTES: usize = 512;

/// What a call gave.
pub(super) struct Answer {
    /// As many as there were records.
    pub(super) outcomes: Vec<Outcome>,
    /// What they count against the limit of outputs.
    pub(super) weight: usize,
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
        let gate = self.engine.gate();
        let _entered = gate.enter(&self.delivery_stream, self.limits.memory_bytes);
        let began = thread_cpu();
        let mut store = self.store(patience, output_limit);
        store.data_mut().world = World::of(batch, part.start, count);
        let mut made = None;
        let answered = match &self.ready {
            Ready::Component(pre) => self.instance(pre, &mut store).and_then(|instance| {
                let outcomes = self.ask(&instance, &mut store, batch, part);
                made = Some(instance);
                outcomes
            }),
            Ready::Command(command) => self.run(command, &mut store, batch, part, output_limit),
        };
        let answer = answered.and_then(|all| checked(all, count, &mut store, output_limit));
        self.count(count, began, &store, &answer, false);
        if let (Ok(_), Some(instance)) = (&answer, made) {
            self.keep(Living { store, instance });
        }
        answer
    }

    /// Asks an instance that has answered before, if there is one. Where it gives no answer, that may
    /// come of earlier calls, so that it does not count against a record.
    pub(super) fn call_again(
        &self,
        batch: &Records,
        part: Range<usize>,
        limit: Duration,
        output_limit: usize,
    ) -> Option<Result<Answer, Problem>> {
        let idle = self.idle.as_ref()?;
        let gate = self.engine.gate();
        let _entered = gate.enter(&self.delivery_stream, self.limits.memory_bytes);
        let mut living = idle.take()?;
        let (began, count) = (thread_cpu(), part.len());
        let Living { store, instance } = &mut living;
        store.data_mut().begin_again();
        store.data_mut().world = World::of(batch, part.start, count);
        self.arm(store, Patience::Limited(limit), output_limit);
        let answer = self
            .ask(instance, store, batch, part)
            .and_then(|outcomes| checked(outcomes, count, store, output_limit));
        // It had less left than a new one has, so that it may have answered otherwise.
        let answer = match answer {
            Ok(_) if store.data().refused => Err(Problem::MemoryLimit),
            answer => answer,
        };
        self.count(count, began, store, &answer, true);
        if answer.is_ok() {
            self.keep(living);
        }
        Some(answer)
    }

    /// Keeps an instance for the next call where instances are used again, unless it has grown to
    /// where one of its next calls could meet the limit: memory of a guest never shrinks.
    fn keep(&self, living: Living) {
        let bytes = living.store.data().memory_used(&self.limits);
        if let Some(idle) = &self.idle
            && bytes <= self.limits.memory_bytes / 2
        {
            idle.keep(&self.engine, living, bytes);
        }
    }

    fn count(
        &self,
        records: usize,
        began: Duration,
        store: &Store<State>,
        answer: &Result<Answer, Problem>,
        reused: bool,
    ) {
        let memory = store.data().memory_used(&self.limits);
        let cpu = thread_cpu().saturating_sub(began);
        self.tally.called(records, cpu, memory, reused);
        match answer {
            Ok(answer) => self.tally.answered(&answer.outcomes),
            Err(problem) => self.tally.failed(problem),
        }
    }

    fn ask(
        &self,
        instance: &Transform,
        store: &mut Store<State>,
        batch: &Records,
        part: Range<usize>,
    ) -> Result<Vec<Outcome>, Problem> {
        let input = Input::of(batch, part);
        let info = BatchInfo {
            delivery_stream: &self.delivery_stream,
        };
        let outcomes = instance
            .call_transform(&mut *store, info, &input.incoming(batch))
            .map_err(|e| problem("transform", &e, store.data()))?;
        check_host(store.data())?;
        Ok(outcomes)
    }

    fn run(
        &self,
        command: &Command,
        store: &mut Store<State>,
        batch: &Records,
        part: Range<usize>,
        output_limit: usize,
    ) -> Result<Vec<Outcome>, Problem> {
        let count = part.len();
        let process = &mut store.data_mut().process;
        process.stdin = command::input(batch, part);
        // Base64 and the names of a line take more than the outputs themselves.
        process.stdout_max = output_limit
            .saturating_mul(2)
            .saturating_add(count.saturating_mul(LINE_BYTES));
        self.start(command, store)?;
        command::outcomes(&store.data().process.stdout, count, output_limit)
    }

    /// Lets a command read its configuration: it ends well when there are no records.
    pub(super) fn configure_command(
        &self,
        command: &Command,
        store: &mut Store<State>,
    ) -> Result<(), Problem> {
        store.data_mut().process.stdout_max = LINE_BYTES;
        let done = self.start(command, store);
        let is_exit = matches!(&done, Err(Problem::InvalidOutput(_)));
        match store.data().last_words() {
            Some(words) if is_exit => Err(Problem::Refused(words)),
            _ => done,
        }
    }

    fn start(&self, command: &Command, store: &mut Store<State>) -> Result<(), Problem> {
        let process = &mut store.data_mut().process;
        process.arguments = vec!["transform".to_owned(), self.config.clone()];
        let stream = &self.delivery_stream;
        process.environment = vec![format!("HYDRANT_DELIVERY_STREAM={stream}")];
        let instance = match command.instantiate(store) {
            Ok(instance) => instance,
            // Its start function did all, and ended well.
            Err(error) if Exit::is_success(&error) => return check_host(store.data()),
            Err(error) => return Err(not_started(&error, store.data())),
        };
        Command::run(&instance, store).map_err(|e| problem("_start", &e, store.data()))?;
        check_host(store.data())
    }

    /// Makes an instance that has its configuration.
    pub(super) fn instance(
        &self,
        pre: &TransformPre<State>,
        store: &mut Store<State>,
    ) -> Result<Transform, Problem> {
        let instance = pre
            .instantiate(&mut *store)
            .map_err(|e| not_started(&e, store.data()))?;
        let configured = instance
            .call_configure(&mut *store, &self.config)
            .map_err(|e| problem("configure", &e, store.data()))?;
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
        self.arm(&mut store, patience, output_limit);
        store
    }

    /// Sets the limits of the call that comes.
    fn arm(&self, store: &mut Store<State>, patience: Patience, output_limit: usize) {
        // Bounds what the host takes in before it can look at it. Each item costs less of it than
        // `weight` says, so that it never decides what `weight` would not.
        store.set_hostcall_fuel(output_limit);
        match patience {
            Patience::Limited(limit) => {
                store.epoch_deadline_trap();
                store.set_epoch_deadline(ticks(limit));
            }
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
    }
}

/// Looks at what a guest answered for `count` records.
fn checked(
    outcomes: Vec<Outcome>,
    count: usize,
    store: &mut Store<State>,
    output_limit: usize,
) -> Result<Answer, Problem> {
    store.data_mut().log_stderr();
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

/// The columns of a part that must be made for the guest.
struct Input<'a> {
    part: Range<usize>,
    keys: Vec<Cow<'a, str>>,
    /// One behind the other, and where each ends.
    sequence_numbers: String,
    ends: Vec<usize>,
}

impl<'a> Input<'a> {
    fn of(batch: &'a Records, part: Range<usize>) -> Self {
        let keys = part
            .clone()
            .map(|i| String::from_utf8_lossy(batch.key(i)))
            .collect();
        let (mut numbers, mut decimals) = (Vec::new(), Decimals::new(0));
        let mut ends = Vec::with_capacity(part.len());
        for i in part.clone() {
            let position = batch.position(i);
            decimals.push(position, &mut numbers);
            let sub = position.sub_sequence();
            if sub > 0 {
                numbers.extend_from_slice(format!(".{sub}").as_bytes());
            }
            ends.push(numbers.len());
        }
        Self {
            part,
            keys,
            sequence_numbers: String::from_utf8(numbers).expect("digits and dots"),
            ends,
        }
    }

    fn incoming<'b>(&'b self, batch: &'b Records) -> Vec<Incoming<'b>> {
        let mut start = 0;
        let columns = self.keys.iter().zip(&self.ends);
        let records = self.part.clone().zip(columns).map(|(i, (key, end))| {
            let sequence_number = self.sequence_numbers.get(start..*end).unwrap_or_default();
            start = *end;
            Incoming {
                data: batch.data(i),
                partition_key: key,
                sequence_number,
                approximate_arrival_ms: batch.arrival_ms(i),
            }
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

/// Whether the machine had what the guest was allowed to take. If not, nothing that the guest did
/// counts, not even an answer: it may be another one than with the memory.
fn check_host(state: &State) -> Result<(), Problem> {
    if state.exhausted {
        return Err(Problem::Host("the machine has no memory left".to_owned()));
    }
    Ok(())
}

fn problem(export: &str, error: &wasmtime::Error, state: &State) -> Problem {
    let trap = error.downcast_ref::<Trap>();
    // Before all else: an overrun is recorded, whatever led to it.
    if trap == Some(&Trap::Interrupt) {
        return Problem::TimedOut;
    }
    if let Err(shortage) = check_host(state) {
        return shortage;
    }
    match trap {
        _ if state.is_table => Problem::TableLimit,
        _ if state.refused => Problem::MemoryLimit,
        Some(trap) => Problem::Trapped(trapped(export, *trap, error, state)),
        None if state.process.flooded => Problem::OutputLimit,
        None => {
            let text = match (error.downcast_ref::<Exit>(), state.last_words()) {
                (Some(exit), Some(words)) => format!("{exit}: {words}"),
                _ => error.root_cause().to_string(),
            };
            // wasmtime has no type for this one; a test sees when its words change.
            let is_fuel = text.contains("fuel allocated for hostcalls has been exhausted");
            let is_inside = error.downcast_ref::<WasmBacktrace>().is_some();
            if is_fuel && is_inside {
                // Not its answer: the guest was still running.
                let what = "it gave the host megabytes at once, such as a log line";
                Problem::InvalidOutput(what.to_owned())
            } else if is_fuel {
                Problem::OutputLimit
            } else {
                Problem::InvalidOutput(text)
            }
        }
    }
}

/// Why there is no instance: unless the guest is at fault, the machine lacks something.
fn not_started(error: &wasmtime::Error, state: &State) -> Problem {
    // What is raised while the guest's own code runs, by itself or by what it calls, says where.
    let is_guests = error.is::<Trap>()
        || error.is::<Exit>()
        || error.downcast_ref::<WasmBacktrace>().is_some()
        || state.refused
        || state.process.flooded;
    let text = format!("{error:#}");
    if is_guests {
        problem("start", error, state)
    } else if text.contains("resource limit exceeded") {
        // wasmtime has no type for this one either.
        Problem::InvalidOutput(format!("it has too many parts: {text}"))
    } else {
        Problem::Host(text)
    }
}

/// What an error object says of a trap: the export, the trap, the guest's own words and where in
/// the guest it was. All of it follows from the module and the records.
fn trapped(export: &str, trap: Trap, error: &wasmtime::Error, state: &State) -> String {
    let words = match state.last_words() {
        Some(words) => format!(": {}", truncated(&words, WORDS_MAX_BYTES)),
        None => String::new(),
    };
    let place = match trap {
        // How deep it came depends on the machine code, and so does the function that it was in.
        Trap::StackOverflow => String::new(),
        _ => backtrace::shown(error),
    };
    format!("`{export}`: {trap}{words}{place}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use wasmtime::{Instance, Module, Store};

    use super::super::engine::{WasmEngine, cramped};
    use super::super::limits::{Limits, State};
    use super::{Problem, check_host, problem, ticks};

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
        let problem = called.err().map(|e| problem("f", &e, store.data()));
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
}
