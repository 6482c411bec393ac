//! `hydrant transform bench`: what a module costs a record on the records of a file, by the number of
//! records in a call, with instances for one call and, where it can be, for many. CPU time of this
//! thread, the best of several rounds.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use hydrant_core::Records;
use hydrant_core::outcomes::Overruns;
use hydrant_core::stage::{Blocked, Transform as _};
use hydrant_transform::{Instances, WasmTransform};
use serde_json::json;

use super::module::Module;
use super::project::InstancesWord;
use super::records::{self, Trial};
use super::{BenchArgs, usage};
use crate::bench::guest::time;
use crate::cli::OK;
use crate::demo::report::table;

/// Records of a call.
const BATCHES: [usize; 3] = [1, 100, 1000];
/// A round does each of the calls so often that it takes about so long.
const ROUND: Duration = Duration::from_millis(300);
/// Calls of one record are made for so many records at most.
const SINGLES_MAX: usize = 200;
/// Rounds, of which the best counts.
const ROUNDS: usize = 5;

/// What one way costs.
struct Line {
    instances: &'static str,
    batch: usize,
    nanos: f64,
    bytes: f64,
    memory: usize,
}

/// Measures a module; gives the exit code.
pub(super) fn main(args: &BenchArgs) -> anyhow::Result<u8> {
    let (module, config) = Module::of(&args.module)?;
    let trials = records::lines(&args.input)?;
    if trials.is_empty() {
        let file = args.input.display();
        return Err(usage(format!("{file} holds no records to measure with")));
    }
    let wanted = args.module.instances;
    let mut ways = Vec::new();
    if wanted != Some(InstancesWord::Reuse) {
        ways.push(("fresh", module.load_for(&config, Instances::Fresh)??.0));
    }
    if wanted != Some(InstancesWord::Fresh) {
        match module.load_for(&config, Instances::Reuse)? {
            Ok((transform, _log)) => ways.push(("reuse", transform)),
            // A WASI command cannot be used again.
            Err(error) if wanted.is_some() => return Err(error.into()),
            Err(_) => {}
        }
    }
    let mut lines = Vec::new();
    for (instances, transform) in &ways {
        for batch in BATCHES {
            lines.push(line(instances, transform, &trials, batch)?);
        }
    }
    let failed = failed(&ways[0].1, &trials)?;
    let mut out = io::stdout().lock();
    if args.json {
        let lines: Vec<_> = lines.iter().map(Line::json).collect();
        let all = json!({ "records": trials.len(), "failed": failed, "lines": lines });
        writeln!(out, "{all:#}")?;
        return Ok(OK);
    }
    let mut cells = vec![
        [
            "instances",
            "records a call",
            "CPU ns a record",
            "MB/s of a core",
            "memory",
        ]
        .map(str::to_owned),
    ];
    cells.extend(lines.iter().map(Line::cells));
    table(&mut out, &cells)?;
    if failed > 0 {
        writeln!(
            out,
            "{failed} of {} records fail: see `hydrant transform run`",
            trials.len()
        )?;
    }
    Ok(OK)
}

fn line(
    instances: &'static str,
    transform: &Arc<WasmTransform>,
    trials: &[Trial],
    batch: usize,
) -> anyhow::Result<Line> {
    // Few records are taken again and again, so that a call of 1,000 has as many.
    let wanted = if batch == 1 {
        trials.len().min(SINGLES_MAX)
    } else {
        trials.len().max(batch)
    };
    let all: Vec<&[u8]> = trials
        .iter()
        .map(|one| &one.data[..])
        .cycle()
        .take(wanted)
        .collect();
    let batches = crate::bench::guest::batches_of(all.iter().copied(), batch);
    let bytes: usize = all.iter().map(|data| data.len()).sum();
    // The first run warms, and says how often fits into a round.
    let once = time(&**transform, &batches)?.max(Duration::from_nanos(1));
    transform.tally().take_peak_memory();
    let times = (ROUND.as_nanos() / once.as_nanos()).clamp(1, 1000);
    let times = u32::try_from(times).unwrap_or(1);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        best = best.min(repeated(transform, &batches, times)? / times);
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    let (records, bytes) = (wanted as f64, bytes as f64);
    let seconds = best.as_secs_f64();
    Ok(Line {
        instances,
        batch,
        nanos: seconds * 1e9 / records,
        bytes: bytes / seconds,
        memory: transform.tally().take_peak_memory(),
    })
}

fn repeated(
    transform: &WasmTransform,
    batches: &[Records],
    times: u32,
) -> Result<Duration, Blocked> {
    (0..times).try_fold(Duration::ZERO, |sum, _| Ok(sum + time(transform, batches)?))
}

/// How many of the records fail.
fn failed(transform: &WasmTransform, trials: &[Trial]) -> Result<usize, Blocked> {
    let batches = crate::bench::guest::batches_of(trials.iter().map(|one| &one.data[..]), 1000);
    batches.iter().try_fold(0, |sum, batch| {
        Ok(sum + transform.apply(batch, Overruns::Decide)?.failures.len())
    })
}

impl Line {
    fn json(&self) -> serde_json::Value {
        json!({
            "instances": self.instances,
            "batch": self.batch,
            "ns_per_record": self.nanos,
            "bytes_per_second": self.bytes,
            "memory_bytes": self.memory,
        })
    }

    fn cells(&self) -> [String; 5] {
        [
            self.instances.to_owned(),
            self.batch.to_string(),
            format!("{:.0}", self.nanos),
            format!("{:.1}", self.bytes / 1e6),
            format!("{} KiB", self.memory >> 10),
        ]
    }
}
