//! What was measured, as a table for people and as JSON for programs.

use std::io::{self, Write as _};

use serde_json::json;

use super::guest::{self, Line};
use super::measure::Series;
use crate::demo::report::table;

/// One line.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) budget: f64,
    pub(super) best: f64,
    pub(super) median: f64,
    pub(super) noisy: bool,
    pub(super) in_out: f64,
    pub(super) peak_rss: u64,
    /// Measured while all cores work: compared with a reference that does so, too.
    pub(super) crowded: bool,
}

/// What all is compared with.
#[derive(Default)]
pub(super) struct References {
    pub(super) copy: Series,
    pub(super) flate2: Series,
    pub(super) flate2_in_out: f64,
    /// flate2 on all cores at once.
    pub(super) crowded: Series,
}

impl References {
    fn of(&self, row: &Row) -> f64 {
        let series = if row.crowded {
            &self.crowded
        } else {
            &self.flate2
        };
        series.best()
    }
}

impl Row {
    /// One object of `stages`. `ratio` is to flate2's level 6, whose cost grows with the machine's
    /// as that of all here but a copy does; for a way, to flate2 on all cores at once.
    fn json(&self, references: &References) -> serde_json::Value {
        let reference = references.of(self);
        json!({
            "name": self.name,
            "cpu_s_per_gb": rounded(self.best),
            "budget": self.budget,
            "reference_cpu_s_per_gb": rounded(reference),
            "ratio": rounded(self.best / reference),
            "in_out": rounded(self.in_out),
            "peak_rss_bytes": self.peak_rss,
            "median_cpu_s_per_gb": rounded(self.median),
            "ratio_to_copy": rounded(self.best / references.copy.best()),
            "noisy": self.noisy,
        })
    }

    fn cells(&self, references: &References) -> [String; 10] {
        let note = match (self.best > self.budget, self.noisy) {
            (true, true) => "over, noisy",
            (true, false) => "over",
            (false, true) => "noisy",
            (false, false) => "",
        };
        [
            self.name.to_owned(),
            format!("{:.2}", self.best),
            format!("{:.2}", self.median),
            format!("{:.2}", self.budget),
            format!("{:.2}", self.best / self.budget),
            format!("{:.3}", self.best / references.of(self)),
            format!("{:.1}", self.best / references.copy.best()),
            format!("{:.2}", self.in_out),
            format!("{:.0} MiB", mebibytes(self.peak_rss)),
            note.to_owned(),
        ]
    }
}

/// Prints one JSON object.
pub(super) fn print_json(rows: &[Row], references: &References, guests: &[Line]) -> io::Result<()> {
    let stages: Vec<_> = rows.iter().map(|row| row.json(references)).collect();
    let object = json!({
        "stages": stages,
        "references": {
            "copy_cpu_s_per_gb": rounded(references.copy.best()),
            "flate2_6_cpu_s_per_gb": rounded(references.flate2.best()),
            "flate2_6_all_cores_cpu_s_per_gb": rounded(references.crowded.best()),
            "flate2_6_in_out": rounded(references.flate2_in_out),
            "noisy": references.flate2.is_noisy(),
        },
        "transform": guest::json(guests),
    });
    writeln!(io::stdout(), "{object:#}")
}

/// Prints the table.
pub(super) fn print_table(rows: &[Row], references: &References) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let head = [
        "CPU seconds per GB",
        "best",
        "median",
        "budget",
        "of it",
        "ratio",
        "x copy",
        "in/out",
        "peak RSS",
        "",
    ];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| row.cells(references)));
    table(&mut out, &cells)?;
    writeln!(
        out,
        "\nratio: to flate2 (zlib-rs) level 6 in the same rounds, {:.2} (median {:.2}) at in/out {:.2}; \
         a copy took {:.3}",
        references.flate2.best(),
        references.flate2.median(),
        references.flate2_in_out,
        references.copy.best(),
    )?;
    if rows.iter().any(|row| row.crowded) {
        writeln!(
            out,
            "ratio of whole ways: to the same on all cores at once, {:.2} (median {:.2})",
            references.crowded.best(),
            references.crowded.median(),
        )?;
    }
    if rows.iter().any(|row| row.noisy) || references.flate2.is_noisy() {
        writeln!(
            out,
            "noisy: best and median differ by more than 15 %; measure again on an idle machine"
        )?;
    }
    Ok(())
}

fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

#[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
