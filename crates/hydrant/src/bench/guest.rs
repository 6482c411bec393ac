//! `hydrant bench transform`: what a guest costs beside the same function in the host. All in one
//! run, in turn, as CPU time of this thread, so that the ratios hold on any machine.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hydrant_core::outcomes::{Outcomes, OutcomesBuilder, Overruns};
use hydrant_core::stage::{Blocked, Transform};
use hydrant_core::{Digest, Position, Records, RecordsBuilder};
use hydrant_transform::{Instances, Settings, WasmEngine, WasmTransform};
use serde_json::json;

use super::load::Load;
use super::measure::Series;
use crate::demo::report::{table, thread_cpu};
use crate::stages::silent;

/// The very source that the guest is built from.
#[path = "../../../../transforms/bench/src/edit.rs"]
#[expect(unreachable_pub, reason = "public in the guest")]
mod edit;

/// What chooses this among the stages.
pub(super) const NAME: &str = "transform";
/// Built from `transforms/bench`.
const MODULE: &[u8] = include_bytes!("../../../../transforms/bench/bench.wasm");
/// Records of a call.
const BATCHES: [usize; 3] = [1, 100, 1000];
/// Records that each way does in a round.
const RECORDS: usize = 10_000;
/// Calls of one record are few: each costs as much as many records.
const CALLS_MAX: usize = 1_000;
/// A sequence number of Kinesis (reference, section 1.1).
const FIRST: &str = "49571904859951697672938815047093113543517771024281110226";
/// The most that an edit may cost, as a ratio to the host's (issue of the transforms).
const EDIT_FRESH_MAX: f64 = 2.4;
const EDIT_REUSE_MAX: f64 = 1.9;
/// The most that a call which changes nothing may cost above the host's, nanoseconds a record.
const IDENTITY_MORE_MAX: f64 = 600.0;

/// What is done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Identity,
    Edit,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Edit => "edit",
        }
    }
}

/// The work in the host, as a built-in processor would do it.
struct Native(Work);

impl Transform for Native {
    fn digest(&self) -> Digest {
        Digest::of(self.0.name().as_bytes())
    }

    fn apply(&self, batch: &Records, _overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        let mut builder = OutcomesBuilder::with_capacity(batch.len(), batch.data_bytes());
        for (record, i) in (0..).zip(0..batch.len()) {
            let data = batch.data(i);
            match self.0 {
                Work::Identity => builder.output(record, data, &[]),
                Work::Edit => builder.output(record, &edit::edit(data).map_err(Blocked)?, &[]),
            }
        }
        Ok(builder.build())
    }
}

/// One line: nanoseconds a record, the best of the rounds.
pub(super) struct Line {
    work: Work,
    batch: usize,
    native: f64,
    fresh: f64,
    reuse: f64,
    noisy: bool,
}

/// Measures all works at all sizes of batches.
///
/// # Errors
/// Where a guest answers anything else than the host.
pub(super) fn lines(load: &Load, rounds: usize) -> anyhow::Result<Vec<Line>> {
    let engine = WasmEngine::new()?;
    let mut lines = Vec::new();
    for work in [Work::Identity, Work::Edit] {
        let ways: [Arc<dyn Transform>; 3] = [
            Arc::new(Native(work)),
            guest(&engine, work, Instances::Fresh)?,
            guest(&engine, work, Instances::Reuse)?,
        ];
        for batch in BATCHES {
            let records = RECORDS.min(load.records()).min(batch * CALLS_MAX);
            let batches = batches(load, records, batch);
            check(&ways, &batches)?;
            let mut series = [(); 3].map(|()| Series::default());
            for _ in 0..rounds {
                for (way, series) in ways.iter().zip(&mut series) {
                    series.add(time(&**way, &batches)?, records as u64)?;
                }
            }
            let [native, fresh, reuse] = series.each_ref().map(Series::best);
            lines.push(Line {
                work,
                batch,
                native,
                fresh,
                reuse,
                noisy: series.iter().any(Series::is_noisy),
            });
        }
    }
    Ok(lines)
}

fn guest(
    engine: &WasmEngine,
    work: Work,
    instances: Instances,
) -> anyhow::Result<Arc<WasmTransform>> {
    let settings = Settings {
        config_json: json!({ "work": work.name() }).to_string(),
        delivery_stream: "bench".to_owned(),
        instances,
        ..Settings::default()
    };
    Ok(WasmTransform::load(engine, MODULE, &settings, silent())?)
}

/// Records in calls of `size`.
pub(crate) fn batches_of<'a>(records: impl Iterator<Item = &'a [u8]>, size: usize) -> Vec<Records> {
    let first = Position::from_decimal(FIRST).unwrap_or(Position::START);
    let (mut all, mut builder, mut gathered) = (Vec::new(), RecordsBuilder::default(), 0);
    for (i, record) in (0_u64..).zip(records) {
        // As those of an embedded stream: of 56 digits, 2^80 apart.
        let position = first.advance(1 << 80, i);
        let key = format!("user-{}", i % 1000);
        builder.push(position, 1_700_000_000_000 + i, key.as_bytes(), record);
        gathered += 1;
        if gathered == size {
            all.push(std::mem::take(&mut builder).build());
            gathered = 0;
        }
    }
    if gathered > 0 {
        all.push(builder.build());
    }
    all
}

fn batches(load: &Load, records: usize, size: usize) -> Vec<Records> {
    batches_of((0..records).map(|i| load.record(i)), size)
}

/// The guest answers what the host does.
fn check(ways: &[Arc<dyn Transform>; 3], batches: &[Records]) -> anyhow::Result<()> {
    let batch = batches.first().context("there are no records")?;
    let [native, guests @ ..] = ways;
    let expected = native.apply(batch, Overruns::Decide)?;
    for guest in guests {
        let outcomes = guest.apply(batch, Overruns::Decide)?;
        let same = outcomes.len() == expected.len()
            && (0..expected.len()).all(|i| outcomes.data(i) == expected.data(i));
        if !same {
            bail!("the guest of the benchmark answers anything else than the host")
        }
    }
    Ok(())
}

/// CPU time of this thread for all batches.
pub(crate) fn time(transform: &dyn Transform, batches: &[Records]) -> Result<Duration, Blocked> {
    let before = thread_cpu();
    for batch in batches {
        std::hint::black_box(transform.apply(batch, Overruns::Decide)?);
    }
    Ok(thread_cpu().saturating_sub(before))
}

impl Line {
    /// What is held to: the name, what it is, and the most that it may be.
    fn held_to(&self) -> Vec<(&'static str, f64, f64)> {
        match (self.work, self.batch) {
            (Work::Edit, 1000) => vec![
                ("fresh ratio", self.fresh / self.native, EDIT_FRESH_MAX),
                ("reuse ratio", self.reuse / self.native, EDIT_REUSE_MAX),
            ],
            (Work::Identity, 1000) => {
                vec![(
                    "fresh above native, ns",
                    self.fresh - self.native,
                    IDENTITY_MORE_MAX,
                )]
            }
            _ => Vec::new(),
        }
    }

    fn json(&self) -> serde_json::Value {
        let limits = self.held_to();
        let limits = limits
            .iter()
            .map(|(what, is, most)| json!({ "what": what, "is": is, "at_most": most }));
        json!({
            "work": self.work.name(),
            "batch": self.batch,
            "native_ns": self.native,
            "fresh_ns": self.fresh,
            "reuse_ns": self.reuse,
            "fresh_ratio": self.fresh / self.native,
            "reuse_ratio": self.reuse / self.native,
            "held_to": limits.collect::<Vec<_>>(),
            "noisy": self.noisy,
        })
    }

    fn cells(&self) -> [String; 7] {
        let over = self.held_to().iter().any(|(_, is, most)| is > most);
        let note = match (over, self.noisy) {
            (true, true) => "over, noisy",
            (true, false) => "over",
            (false, true) => "noisy",
            (false, false) => "",
        };
        [
            format!("{}, {} a call", self.work.name(), self.batch),
            format!("{:.0}", self.native),
            format!("{:.0}", self.fresh),
            format!("{:.0}", self.reuse),
            format!("{:.2}", self.fresh / self.native),
            format!("{:.2}", self.reuse / self.native),
            note.to_owned(),
        ]
    }
}

/// As one list of objects.
pub(super) fn json(lines: &[Line]) -> serde_json::Value {
    lines.iter().map(Line::json).collect()
}

/// Prints the table, if there is anything in it.
pub(super) fn print_table(lines: &[Line]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let head = [
        "CPU ns a record",
        "native",
        "fresh",
        "reuse",
        "fresh ratio",
        "reuse ratio",
        "",
    ];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(lines.iter().map(Line::cells));
    table(&mut out, &cells)?;
    for (what, is, most) in lines.iter().flat_map(Line::held_to) {
        writeln!(out, "{what}: {is:.2}, at most {most:.2}")?;
    }
    Ok(())
}
