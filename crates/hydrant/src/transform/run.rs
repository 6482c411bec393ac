//! `hydrant transform run`: records of a file through a module, as the service would, and each
//! alone for its time and memory.

use std::io::{self, Write as _};
use std::time::Duration;

use hydrant_core::clock::Clock as _;
use hydrant_transform::{GuestLevel, WasmTransform};

use super::module::{Lines, Module};
use super::records::{self, Trial};
use super::report::{Report, Shown};
use super::{RunArgs, usage, verdict};
use crate::cli::{OK, say};
use crate::runtime::clock::RealClock;

/// What one call cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) time: Duration,
    pub(super) memory_bytes: usize,
}

/// Runs a module; gives the exit code.
pub(super) fn main(args: &RunArgs) -> anyhow::Result<u8> {
    let (module, config) = Module::of(&args.module)?;
    let records = match (&args.input, &args.from_error_object) {
        (Some(input), _) => records::lines(input)?,
        (None, Some(object)) => records::of_error_object(object)?,
        (None, None) => return Err(usage("name the records: --input or --from-error-object")),
    };
    let (transform, lines) = module.load(&config)??;
    if args.from_error_object.is_some() {
        say(
            "note: an error object holds no partition key and no name of a delivery stream: records \
             are tried without a key, in `test`",
        );
    }
    note_other_modules(&records, &transform);
    let clock = RealClock::default();
    let mut report = Report::new(args.json, args.show, records.len());
    let mut out = io::stdout().lock();
    let mut first = 0;
    for batch in records::batches(&records) {
        let (verdicts, cost) = timed(&clock, &transform, batch, first)?;
        report.batch(batch, cost);
        print_log(&lines);
        for (i, (record, together)) in batch.iter().zip(verdicts).enumerate() {
            let number = first + i;
            let (alone, cost) = timed(&clock, &transform, std::slice::from_ref(record), number)?;
            // It was logged with the batch.
            drop(lines.take());
            let shown = Shown {
                number,
                record,
                differs: alone.first() != Some(&together) && !together.is_of_the_batch(),
                verdict: together,
                cost,
            };
            report.record(&mut out, &shown)?;
        }
        first += batch.len();
    }
    report.totals(&mut out)?;
    out.flush()?;
    Ok(OK)
}

fn timed(
    clock: &RealClock,
    transform: &WasmTransform,
    records: &[Trial],
    first: usize,
) -> anyhow::Result<(Vec<verdict::Verdict>, Cost)> {
    let started = clock.monotonic();
    let verdicts = verdict::run(transform, records, first)?;
    let cost = Cost {
        time: clock.monotonic().saturating_sub(started),
        memory_bytes: transform.tally().take_peak_memory(),
    };
    Ok((verdicts, cost))
}

/// Says so where an error object is another module's.
fn note_other_modules(records: &[Trial], transform: &WasmTransform) {
    let before = records.iter().filter_map(|record| record.before.as_ref());
    let mut others: Vec<&str> = before
        .filter_map(|before| before.module.as_deref())
        .filter(|digest| *digest != transform.module_digest())
        .collect();
    others.sort_unstable();
    others.dedup();
    for digest in others {
        say(&format!(
            "note: failures of module {digest} are tried with {}: another build, or another \
             processor of the delivery stream",
            transform.module_digest()
        ));
    }
}

fn print_log(lines: &Lines) {
    for (level, line) in lines.take() {
        let level = match level {
            GuestLevel::Debug => "debug",
            GuestLevel::Info => "info",
            GuestLevel::Warn => "warn",
            GuestLevel::Error => "error",
        };
        say(&format!("log {level}: {line}"));
    }
}
