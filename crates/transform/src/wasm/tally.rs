//! Counts what the calls of a transform do, for metrics and measurements. Decides nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::answer::Problem;
use super::bindings::Outcome;

/// What the calls of a transform have done. Several transforms may share one: the versions of a
/// delivery stream that have the same module do.
#[derive(Debug, Default)]
pub struct Tally {
    calls: AtomicU64,
    reused: AtomicU64,
    broken_promises: AtomicU64,
    records: AtomicU64,
    cpu_nanos: AtomicU64,
    last_nanos_per_record: AtomicU64,
    verdicts: [AtomicU64; VERDICTS.len()],
    problems: [AtomicU64; PROBLEMS.len()],
    /// Bytes: the most of one call, since the start and since it was last asked for.
    peak_memory: AtomicUsize,
    recent_peak_memory: AtomicUsize,
}

/// What a guest may say of a record.
pub const VERDICTS: [&str; 5] = ["unchanged", "changed", "split", "dropped", "failed"];

/// Why a call may give nothing.
pub const PROBLEMS: [&str; 7] = [
    "trap",
    "overrun",
    "memory_limit",
    "output_limit",
    "invalid_output",
    "refused",
    "machine",
];

/// A tally at one moment: counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TallySnapshot {
    /// Calls of the guest: one for each micro-batch, and more where one of them failed.
    pub calls: u64,
    /// Those of them that an earlier call's instance took (`instances: reuse`).
    pub reused: u64,
    /// Times that an instance which had answered before failed where a new one did not.
    pub broken_promises: u64,
    /// Records of all calls.
    pub records: u64,
    /// CPU time of all calls, with the making of instances.
    pub cpu: Duration,
    /// CPU time a record of the newest call, nanoseconds.
    pub last_nanos_per_record: u64,
    /// Verdicts of calls that went well, in the order of [`VERDICTS`].
    pub verdicts: [u64; VERDICTS.len()],
    /// Calls that gave nothing, in the order of [`PROBLEMS`].
    pub problems: [u64; PROBLEMS.len()],
    /// The most linear memory that a call had, bytes.
    pub peak_memory: usize,
}

impl Tally {
    /// What was counted.
    pub fn snapshot(&self) -> TallySnapshot {
        let all = |counts: &[AtomicU64]| -> Vec<u64> {
            counts.iter().map(|one| one.load(Relaxed)).collect()
        };
        let mut snapshot = TallySnapshot {
            calls: self.calls.load(Relaxed),
            reused: self.reused.load(Relaxed),
            broken_promises: self.broken_promises.load(Relaxed),
            records: self.records.load(Relaxed),
            cpu: Duration::from_nanos(self.cpu_nanos.load(Relaxed)),
            last_nanos_per_record: self.last_nanos_per_record.load(Relaxed),
            peak_memory: self.peak_memory.load(Relaxed),
            ..TallySnapshot::default()
        };
        snapshot.verdicts.copy_from_slice(&all(&self.verdicts));
        snapshot.problems.copy_from_slice(&all(&self.problems));
        snapshot
    }

    /// The most linear memory of a call since this was last asked, bytes.
    pub fn take_peak_memory(&self) -> usize {
        self.recent_peak_memory.swap(0, Relaxed)
    }

    /// Counts a call, and what it took.
    pub(super) fn called(&self, records: usize, cpu: Duration, memory: usize, reused: bool) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        let records = records as u64;
        self.calls.fetch_add(1, Relaxed);
        self.reused.fetch_add(u64::from(reused), Relaxed);
        self.records.fetch_add(records, Relaxed);
        self.cpu_nanos.fetch_add(nanos, Relaxed);
        self.last_nanos_per_record
            .store(nanos / records.max(1), Relaxed);
        self.peak_memory.fetch_max(memory, Relaxed);
        self.recent_peak_memory.fetch_max(memory, Relaxed);
    }

    /// Counts the verdicts of a call that went well.
    pub(super) fn answered(&self, outcomes: &[Outcome]) {
        let mut verdicts = [0; VERDICTS.len()];
        for outcome in outcomes {
            verdicts[verdict(outcome)] += 1;
        }
        for (counter, more) in self.verdicts.iter().zip(verdicts) {
            counter.fetch_add(more, Relaxed);
        }
    }

    /// Counts an instance that was used again and failed where a new one did not.
    pub(super) fn promise_broken(&self) {
        self.broken_promises.fetch_add(1, Relaxed);
    }

    /// Counts a call that gave nothing.
    pub(super) fn failed(&self, problem: &Problem) {
        self.problems[place(problem)].fetch_add(1, Relaxed);
    }
}

/// The place in [`VERDICTS`].
fn verdict(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Unchanged(_) => 0,
        Outcome::Ok(_) => 1,
        Outcome::Many(outputs) if outputs.is_empty() => 3,
        Outcome::Many(_) => 2,
        Outcome::Dropped => 3,
        Outcome::Failed(_) => 4,
    }
}

/// The place in [`PROBLEMS`].
fn place(problem: &Problem) -> usize {
    match problem {
        Problem::Trapped(_) => 0,
        Problem::TimedOut => 1,
        Problem::MemoryLimit | Problem::TableLimit => 2,
        Problem::OutputLimit => 3,
        Problem::InvalidOutput(_) => 4,
        Problem::Refused(_) => 5,
        Problem::Host(_) => 6,
    }
}

/// CPU time of this thread.
pub(super) fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0)) + Duration::from_nanos(nanos)
}
