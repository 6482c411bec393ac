//! Calls a guest for a micro-batch, and where that fails for its parts, down to the records that
//! cause it. What comes out is a function of the micro-batch and its overruns alone.

use std::ops::Range;
use std::time::Duration;

use hydrant_core::Records;
use hydrant_core::outcomes::{Call, Failure, Outcomes, OutcomesBuilder, Overruns};
use hydrant_core::stage::Blocked;

use super::answer::Problem;
use super::bindings::{Outcome, Routing};
use super::call::{Answer, Patience};
use super::limits::{MESSAGE_MAX_BYTES, TABLE_MAX_ENTRIES, truncated};
use super::transform::{OnTrap, WasmTransform};

/// The kind of failure, as object keys name it.
const KIND: &str = "processing-failed";
/// So many records of a micro-batch are searched for; then parts that fail do so as a whole.
const POISON_MAX: usize = 16;
/// The least time that a part gets, where the limit is not less: far above what a healthy part
/// takes on a machine that is busy with other things.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// A call that this machine could not run is tried so often, with growing pauses.
const HOST_TRIES: u32 = 3;
const HOST_PAUSE: Duration = Duration::from_millis(100);

/// The work on one micro-batch.
pub(super) struct Bisect<'a> {
    transform: &'a WasmTransform,
    batch: &'a Records,
    overruns: Overruns<'a>,
    builder: OutcomesBuilder,
    output_limit: usize,
    output_bytes: usize,
    isolated: usize,
    /// Records that are given up, not by the guest's own word.
    given_up: usize,
    /// A call has failed: from now on only what new instances say counts, so that it is not asked
    /// for twice.
    suspicious: bool,
}

impl<'a> Bisect<'a> {
    pub(super) fn new(
        transform: &'a WasmTransform,
        batch: &'a Records,
        overruns: Overruns<'a>,
    ) -> Self {
        Self {
            transform,
            batch,
            overruns,
            builder: OutcomesBuilder::with_capacity(batch.len(), batch.data_bytes()),
            output_limit: transform.limits.output_limit(batch.data_bytes()),
            output_bytes: 0,
            isolated: 0,
            given_up: 0,
            suspicious: false,
        }
    }

    pub(super) fn run(mut self) -> Result<Outcomes, Blocked> {
        if !self.batch.is_empty() {
            self.part(0..self.batch.len())?;
        }
        let outcomes = self.builder.build();
        // What a redo repeats was decided before.
        let pauses = self.transform.on_trap == OnTrap::Pause
            && matches!(self.overruns, Overruns::Decide)
            && self.given_up > 0
            && self.given_up == self.batch.len();
        if pauses {
            return Err(paused(&outcomes));
        }
        Ok(outcomes)
    }

    fn part(&mut self, part: Range<usize>) -> Result<(), Blocked> {
        let problem = match self.call(part.clone()) {
            Ok(answer) => {
                self.output_bytes += answer.weight;
                self.take(part, answer.outcomes);
                return Ok(());
            }
            // What this machine lacks is no verdict on a record.
            Err(Problem::Host(reason)) => return Err(cannot_run(&reason)),
            Err(problem) => problem,
        };
        self.suspicious = true;
        if problem == Problem::TimedOut && matches!(self.overruns, Overruns::Decide) {
            self.builder.overrun(place(&part));
        }
        if self.isolated == POISON_MAX {
            let message = format!(
                "the transform failed for a part of the batch, after {POISON_MAX} of its records \
                 failed one by one; the last reason: {}",
                self.message(&problem)
            );
            self.given_up += part.len();
            part.for_each(|i| self.failed(i, "Transform.TooManyPoisonRecords", &message));
            return Ok(());
        }
        if part.len() == 1 {
            self.isolated += 1;
            self.given_up += 1;
            let message = self.message(&problem);
            self.failed(part.start, code(&problem), &message);
            return Ok(());
        }
        let middle = part.start.midpoint(part.end);
        self.part(part.start..middle)?;
        self.part(middle..part.end)
    }

    fn call(&self, part: Range<usize>) -> Result<Answer, Problem> {
        let patience = match self.overruns {
            Overruns::Known(calls) if calls.contains(&place(&part)) => {
                return Err(Problem::TimedOut);
            }
            Overruns::Known(_) => Patience::Endless(self.limit(&part)),
            Overruns::Decide => Patience::Limited(self.limit(&part)),
        };
        // What is left of the whole: many parts together stay within it too.
        let output_limit = self.output_limit.saturating_sub(self.output_bytes);
        if let (Patience::Limited(limit), false) = (patience, self.suspicious) {
            let transform = self.transform;
            match transform.call_again(self.batch, part.clone(), limit, output_limit) {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(problem)) => {
                    let answer = self.try_call(part, patience, output_limit);
                    if answer.is_ok() && is_the_guests(&problem) {
                        transform.tally.promise_broken();
                        tracing::warn!(
                            module = transform.module,
                            "an instance that was used again failed where a new one answers: the \
                             transform does not keep the promise of `instances: reuse`"
                        );
                    }
                    return answer;
                }
                None => {}
            }
        }
        self.try_call(part, patience, output_limit)
    }

    /// Asks a new instance, and tries again where this machine cannot run it.
    fn try_call(
        &self,
        part: Range<usize>,
        patience: Patience,
        output_limit: usize,
    ) -> Result<Answer, Problem> {
        let call = || {
            self.transform
                .call(self.batch, part.clone(), patience, output_limit)
        };
        for tried in 1..HOST_TRIES {
            match call() {
                Err(Problem::Host(reason)) => {
                    let module = &self.transform.module;
                    tracing::warn!(module, reason, tried, "transform cannot be run now");
                    std::thread::sleep(HOST_PAUSE * tried);
                }
                answer => return answer,
            }
        }
        call()
    }

    fn limit(&self, part: &Range<usize>) -> Duration {
        let whole = u32::try_from(self.batch.len()).unwrap_or(u32::MAX);
        let share = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let time = self.transform.limits.time;
        (time / whole)
            .saturating_mul(share)
            .max(LEAST_TIME)
            .min(time)
    }

    fn take(&mut self, part: Range<usize>, outcomes: Vec<Outcome>) {
        for (i, outcome) in part.zip(outcomes) {
            match outcome {
                Outcome::Unchanged(routing) => {
                    let batch = self.batch;
                    self.outputs(i, &[(batch.data(i), &routing)]);
                }
                Outcome::Ok(one) => self.outputs(i, &[(&one.data[..], &one.routing)]),
                Outcome::Many(outputs) if outputs.is_empty() => self.builder.dropped(),
                Outcome::Many(outputs) => {
                    let parts = outputs.iter().map(|one| (&one.data[..], &one.routing));
                    self.outputs(i, &parts.collect::<Vec<_>>());
                }
                Outcome::Dropped => self.builder.dropped(),
                Outcome::Failed(message) => {
                    self.failed(i, "Transform.ProcessingFailed", &message);
                }
            }
        }
    }

    /// Takes the outputs of a record, or fails it where one of them names a target that is none.
    fn outputs(&mut self, record: usize, outputs: &[(&[u8], &Routing)]) {
        let targets = self.transform.targets;
        let wrong = outputs
            .iter()
            .find_map(|(_, routing)| targets.fault(routing.target.as_deref()?));
        if let Some((code, message)) = wrong {
            return self.failed(record, code, &message);
        }
        for (data, routing) in outputs {
            self.builder
                .output(index(record), data, &routing.partition_keys);
            if let Some(target) = &routing.target {
                self.builder.target(target.clone());
            }
        }
    }

    fn failed(&mut self, record: usize, code: &str, message: &str) {
        self.builder.failed(Failure {
            record: index(record),
            output: 0,
            kind: KIND,
            code: code.to_owned(),
            message: truncated(message, MESSAGE_MAX_BYTES).to_owned(),
            origin: self.transform.module.clone(),
        });
    }

    /// What the error output says. It names no limit of time: that may change before a redo.
    fn message(&self, problem: &Problem) -> String {
        match problem {
            Problem::Trapped(reason) => format!("the transform trapped: {reason}"),
            Problem::TimedOut => "the transform did not end within its time limit".to_owned(),
            Problem::MemoryLimit => {
                let limit = self.transform.limits.memory_bytes;
                format!("the transform wanted more memory than its limit of {limit} bytes")
            }
            Problem::TableLimit => {
                format!("the transform wanted a table of more than {TABLE_MAX_ENTRIES} entries")
            }
            Problem::OutputLimit => format!(
                "the outputs pass what is left of the limit of {} bytes a batch",
                self.output_limit
            ),
            Problem::InvalidOutput(reason) => {
                format!("the answer of the transform cannot be used: {reason}")
            }
            Problem::Refused(reason) => {
                format!("the transform refused its configuration: {reason}")
            }
            Problem::Host(reason) => reason.clone(),
        }
    }
}

/// Whether it says that an instance was changed by earlier calls. Time and memory may have run out for
/// other reasons.
fn is_the_guests(problem: &Problem) -> bool {
    match problem {
        Problem::Trapped(_) | Problem::OutputLimit | Problem::InvalidOutput(_) => true,
        Problem::TimedOut
        | Problem::MemoryLimit
        | Problem::TableLimit
        | Problem::Refused(_)
        | Problem::Host(_) => false,
    }
}

fn cannot_run(reason: &str) -> Blocked {
    Blocked(format!(
        "a transform cannot be run on this machine now, and the batch waits: {reason}"
    ))
}

/// Why a batch waits of which every record failed.
fn paused(outcomes: &Outcomes) -> Blocked {
    let (module, message) = outcomes
        .failures
        .first()
        .map_or(("", ""), |one| (&one.origin, &one.message));
    Blocked(format!(
        "it pauses (`on_trap: pause`), as every record of a micro-batch failed in the module \
         {module}: {message}; mend the module and reload, or let them go to the error output with \
         `on_trap: error_output`"
    ))
}

fn code(problem: &Problem) -> &'static str {
    match problem {
        Problem::Trapped(_) => "Transform.Trapped",
        Problem::TimedOut => "Transform.TimedOut",
        Problem::MemoryLimit | Problem::TableLimit => "Transform.MemoryLimit",
        Problem::OutputLimit => "Transform.OutputLimit",
        Problem::InvalidOutput(_) | Problem::Refused(_) | Problem::Host(_) => {
            "Transform.InvalidOutput"
        }
    }
}

fn place(part: &Range<usize>) -> Call {
    Call {
        first: index(part.start),
        count: index(part.len()),
    }
}

fn index(i: usize) -> u32 {
    u32::try_from(i).expect("a block has fewer than 2^32 records, as its offsets take 4 bytes each")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hydrant_core::outcomes::Overruns;
    use hydrant_core::stage::{Blocked, Transform};
    use hydrant_core::{Position, RecordsBuilder};

    use super::super::engine::cramped;
    use super::super::transform::{Settings, WasmTransform};

    #[test]
    fn a_machine_without_memory_makes_no_verdict() {
        let module = include_bytes!("../../tests/it/hostile.wasm");
        let log = Arc::new(|_, _: &str| ());
        let transform = WasmTransform::load(&cramped(), module, &Settings::default(), log)
            .expect("it starts in 4 MiB");
        let mut batch = RecordsBuilder::default();
        batch.push(Position::from_u64(1), 1, b"", b"same");
        batch.push(Position::from_u64(2), 1, b"", b"alloc");
        let blocked = transform.apply(&batch.build(), Overruns::Decide);
        let Blocked(reason) = blocked.expect_err("no verdict");
        assert!(
            reason.contains("cannot be run on this machine now"),
            "{reason}"
        );
    }
}
