//! The simulated stages: a transform whose outcomes the oracle can tell, lines for error objects, and
//! the versions that a configuration went through.

use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hydrant_core::outcomes::{Call, Failure, Outcomes, OutcomesBuilder, Overruns};
use hydrant_core::rng::Rng as _;
use hydrant_core::stage::{Blocked, ErrorFormat, FailedRecord, LostRecords, Transform};
use hydrant_core::{BoxFuture, Digest, Records};
use hydrant_pipeline::{Plan, Versions};
use hydrant_testkit::sim::World;

use super::record::{FAILED, OVERRAN, Verdict, hex, mix, number, verdict};

/// Splits, drops, fails and partitions by the record; now and then a call runs out of time.
pub(crate) struct Rewrite {
    pub(crate) version: char,
    pub(crate) partitions: u64,
    /// Percent of micro-batches with a call that runs out of time, as long as that may be decided.
    pub(crate) overruns: u64,
    /// Percent of micro-batches of which it says nothing yet.
    pub(crate) blocks: u64,
    pub(crate) world: World,
}

impl Rewrite {
    /// The calls that run out of time: whatever the clock says, so the dice.
    fn decide(&self, records: usize) -> Vec<Call> {
        let rng = &self.world.rng;
        if !rng.chance(self.overruns) {
            return Vec::new();
        }
        self.world.trace.fired("overrun");
        let records = u32::try_from(records).unwrap();
        let first = u32::try_from(rng.below(u64::from(records))).unwrap();
        let count = u32::try_from(rng.between(1, 2))
            .unwrap()
            .min(records - first);
        vec![Call { first, count }]
    }
}

impl Transform for Rewrite {
    fn digest(&self) -> Digest {
        Digest::of(&[u8::try_from(self.version).unwrap()])
    }

    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        if matches!(overruns, Overruns::Decide) && self.world.rng.chance(self.blocks) {
            self.world.trace.fired("blocked");
            return Err(Blocked("simulated".to_owned()));
        }
        let calls = match overruns {
            Overruns::Decide => self.decide(batch.len()),
            Overruns::Known(calls) => calls.to_vec(),
        };
        let mut outcomes = OutcomesBuilder::default();
        let text = |i| std::str::from_utf8(batch.data(i)).unwrap_or("damaged");
        let batch_number = number(text(0)).unwrap_or(0);
        let mut line = String::new();
        for i in 0..batch.len() {
            let record = u32::try_from(i).unwrap();
            let fail = |code: &str| Failure {
                record,
                output: 0,
                kind: "processing-failed",
                code: code.into(),
                message: self.version.to_string(),
                origin: String::new(),
            };
            let overran = |call: &Call| (call.first..call.first + call.count).contains(&record);
            if calls.iter().any(overran) {
                outcomes.failed(fail(OVERRAN));
                continue;
            }
            // What is damaged passes, so that the oracle sees it.
            let number = number(text(i));
            match number.map_or(Verdict::Outputs(1), |n| verdict(self.version, n)) {
                Verdict::Dropped => outcomes.dropped(),
                Verdict::Failed => outcomes.failed(fail(FAILED)),
                Verdict::Outputs(count) => {
                    let partition = mix(u64::from(crc(batch.key(i)))) % self.partitions;
                    let keys = [("p".to_owned(), partition.to_string())];
                    let keys = if self.partitions > 1 { &keys[..] } else { &[] };
                    for ordinal in 0..count {
                        line.clear();
                        write!(line, "{}|{batch_number}|{ordinal}|", self.version).unwrap();
                        hex(batch.position(i), &mut line);
                        line.push('|');
                        line.push_str(text(i));
                        outcomes.output(record, line.as_bytes(), keys);
                    }
                }
            }
        }
        for call in calls {
            outcomes.overrun(call);
        }
        Ok(outcomes.build())
    }
}

pub(crate) fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    })
}

/// Lines of error objects.
pub(crate) struct ErrorLines;

impl ErrorFormat for ErrorLines {
    fn line(&self, record: &FailedRecord<'_>, out: &mut Vec<u8>) {
        let failure = record.failure;
        let mut line = format!("{}|{}|{}|", failure.message, failure.code, record.at_ms);
        hex(record.position, &mut line);
        line.push('|');
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(record.raw);
        out.push(b'\n');
    }

    fn loss(&self, lost: &LostRecords<'_>, out: &mut Vec<u8>) {
        let mut line = String::new();
        hex(lost.after, &mut line);
        match lost.until {
            Bound::Included(position) | Bound::Excluded(position) => {
                let included = matches!(lost.until, Bound::Included(_));
                line.push_str(if included { "|through|" } else { "|before|" });
                hex(position, &mut line);
            }
            Bound::Unbounded => line.push_str("|without end|"),
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }
}

/// Longest time before the last version is in force, where it is not from the start.
const REPLACED_AFTER_MS: u64 = 3_000;

/// The versions there were. The last is in force, or comes to be while lanes run.
pub(crate) struct SimVersions {
    pub(crate) plans: Vec<Arc<Plan>>,
    /// The index of the one in force.
    pub(crate) in_force: AtomicUsize,
    /// Percent of loads that fail.
    pub(crate) fails: u64,
    pub(crate) world: World,
}

impl Versions for SimVersions {
    fn current(&self) -> Arc<Plan> {
        self.plans[self.in_force.load(Ordering::Relaxed)].clone()
    }

    fn replaced(&self, plan: &Arc<Plan>) -> BoxFuture<'_, ()> {
        let version = plan.version;
        Box::pin(async move {
            let last = self.plans.len() - 1;
            while self.current().version == version {
                if self.in_force.load(Ordering::Relaxed) == last {
                    return std::future::pending().await;
                }
                self.world.random_pause(REPLACED_AFTER_MS).await;
                self.world.trace.fired("version replaced");
                self.in_force.store(last, Ordering::Relaxed);
            }
        })
    }

    fn load(&self, version: Digest) -> BoxFuture<'_, Result<Arc<Plan>, String>> {
        Box::pin(async move {
            self.world.random_pause(5).await;
            if self.world.rng.chance(self.fails) {
                self.world.trace.fired("version not loaded");
                return Err("simulated".to_owned());
            }
            let plan = self.plans.iter().find(|plan| plan.version == version);
            plan.cloned().ok_or_else(|| "unknown".to_owned())
        })
    }
}
