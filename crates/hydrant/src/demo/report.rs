//! What the demo says at its end: what was delivered, where, how fast, and a few rows read back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hydrant_core::clock::Clock;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use rustix::time::{ClockId, clock_gettime};

use super::producer::Produced;
use crate::service::Service;

/// Rows that are shown.
const ROWS: usize = 3;

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Measures the time and CPU of the run.
pub(super) struct Meter {
    wall: Duration,
    cpu: Duration,
}

/// What was measured.
pub(super) struct Measured {
    wall: Duration,
    /// CPU of the process without the generator's.
    cpu: Duration,
}

impl Meter {
    pub(super) fn start(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.monotonic(),
            cpu: cpu(ClockId::ProcessCPUTime),
        }
    }

    pub(super) fn end(self, clock: &dyn Clock, produced: &Produced) -> Measured {
        let cpu = cpu(ClockId::ProcessCPUTime).saturating_sub(self.cpu);
        Measured {
            wall: clock.monotonic().saturating_sub(self.wall),
            cpu: cpu.saturating_sub(produced.generating),
        }
    }
}

/// Prints the table and the rows.
pub(super) fn print(
    dir: &Path,
    service: &Service,
    produced: &Produced,
    measured: &Measured,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let columns = [
        "delivery stream",
        "in",
        "added",
        "out",
        "dropped",
        "failed",
        "objects",
        "errors",
        "bytes in",
        "bytes out",
        "ratio",
    ];
    let mut rows = vec![columns.map(str::to_owned)];
    for (name, status) in service.statuses() {
        let totals = status.snapshot().totals;
        rows.push([
            name,
            thousands(totals.read),
            thousands(totals.added),
            thousands(totals.delivered),
            thousands(totals.dropped),
            thousands(totals.failed),
            thousands(totals.objects),
            thousands(totals.error_objects),
            mebibytes(totals.read_bytes),
            mebibytes(totals.delivered_bytes),
            ratio(totals.delivered_plain_bytes, totals.delivered_bytes),
        ]);
    }
    writeln!(out)?;
    table(&mut out, &rows)?;
    let seconds = measured.wall.as_secs_f64().max(0.001);
    // Both delivery streams read everything.
    let delivered_gb =
        gigabytes(produced.bytes) * f64::from(u32::try_from(rows.len() - 1).unwrap_or(1));
    writeln!(
        out,
        "\n{} records, {} in {seconds:.1} s: {} records/s; {:.1} CPU seconds per GB delivered (transform, conversion and compression included)",
        thousands(produced.records),
        mebibytes(produced.bytes),
        thousands(per_second(produced.records, measured.wall)),
        measured.cpu.as_secs_f64() / delivered_gb.max(1e-9),
    )?;
    writeln!(out, "objects: {}", dir.join("objects").display())?;
    print_rows(&mut out, dir)
}

/// Reads rows of one Parquet object back.
fn print_rows(out: &mut dyn Write, dir: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    find_parquet(&dir.join("objects").join("parquet"), &mut files)?;
    files.sort();
    let Some(file) = files.last() else {
        return Ok(());
    };
    let reader = SerializedFileReader::new(File::open(file)?)
        .with_context(|| format!("{} cannot be read back", file.display()))?;
    writeln!(out, "\n{} rows of {}:", ROWS, file.display())?;
    for row in reader.get_row_iter(None)?.take(ROWS) {
        let row = row?;
        let cells: Vec<String> = row
            .get_column_iter()
            .map(|(name, field)| format!("{name}={field}"))
            .collect();
        writeln!(out, "  {}", cells.join("  "))?;
    }
    Ok(())
}

fn find_parquet(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find_parquet(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
pub(crate) fn table<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in rows {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            if i == 0 {
                write!(out, "{cell:<width$}")?;
            } else {
                write!(out, "  {cell:>width$}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A number with commas.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn ratio(plain: u64, stored: u64) -> String {
    format!("{:.1}", plain as f64 / (stored.max(1)) as f64)
}

fn per_second(records: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    records.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::{table, thousands};

    #[test]
    fn numbers_and_columns() {
        let shown: Vec<String> = [0, 999, 1000, 1_234_567]
            .into_iter()
            .map(thousands)
            .collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        let mut out = Vec::new();
        let rows = [["a", "n"], ["long", "100"]].map(|row| row.map(str::to_owned));
        table(&mut out, &rows).expect("a vector takes all");
        assert_eq!(String::from_utf8_lossy(&out), "a       n\nlong  100\n");
    }
}
