//! What `run` prints: record by record, then totals.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::records::Trial;
use super::run::Cost;
use super::verdict::{Output, Verdict};

/// Characters of a record that are shown.
const SHOWN_MAX: usize = 2_000;

/// Gathers what became of records, and prints it.
pub(super) struct Report {
    json: bool,
    show: usize,
    records: usize,
    words: BTreeMap<&'static str, usize>,
    input_bytes: usize,
    output_bytes: usize,
    outputs: usize,
    targets: usize,
    differ: usize,
    time: Duration,
    memory_bytes: usize,
}

/// A record and what became of it.
pub(super) struct Shown<'a> {
    /// Its place in the file, from 0.
    pub(super) number: usize,
    pub(super) record: &'a Trial,
    pub(super) verdict: Verdict,
    /// Alone it got another verdict than among the others.
    pub(super) differs: bool,
    /// Of the record alone.
    pub(super) cost: Cost,
}

impl Report {
    pub(super) fn new(json: bool, show: usize, records: usize) -> Self {
        Self {
            json,
            show,
            records,
            words: BTreeMap::new(),
            input_bytes: 0,
            output_bytes: 0,
            outputs: 0,
            targets: 0,
            differ: 0,
            time: Duration::ZERO,
            memory_bytes: 0,
        }
    }

    /// Notes what a batch took.
    pub(super) fn batch(&mut self, batch: &[Trial], cost: Cost) {
        self.input_bytes += batch.iter().map(|record| record.data.len()).sum::<usize>();
        self.time += cost.time;
        self.memory_bytes = self.memory_bytes.max(cost.memory_bytes);
    }

    /// Notes a record, and prints it.
    pub(super) fn record(&mut self, out: &mut dyn Write, shown: &Shown<'_>) -> io::Result<()> {
        *self
            .words
            .entry(shown.verdict.word(&shown.record.data))
            .or_default() += 1;
        self.differ += usize::from(shown.differs);
        if let Verdict::Outputs(outputs) = &shown.verdict {
            self.outputs += outputs.len();
            self.output_bytes += outputs.iter().map(|one| one.data.len()).sum::<usize>();
            self.targets += usize::from(outputs.iter().any(|one| one.target.is_some()));
        }
        if self.json {
            return writeln!(out, "{}", as_json(shown));
        }
        if shown.number < self.show {
            as_text(out, shown)?;
        }
        Ok(())
    }

    /// Prints the totals.
    pub(super) fn totals(&self, out: &mut dyn Write) -> io::Result<()> {
        let count = u32::try_from(self.records.max(1)).unwrap_or(u32::MAX);
        let each = self.time / count;
        if self.json {
            let totals = json!({
                "records": self.records,
                "verdicts": self.words,
                "outputs": self.outputs,
                "input_bytes": self.input_bytes,
                "output_bytes": self.output_bytes,
                "time_us": micros(self.time),
                "time_us_a_record": micros(each),
                "memory_bytes": self.memory_bytes,
                "differ_alone": self.differ,
                "with_target": self.targets,
            });
            return writeln!(out, "{}", json!({ "totals": totals }));
        }
        if self.records > self.show {
            writeln!(
                out,
                "... {} more records (--show)",
                self.records - self.show
            )?;
        }
        let words: Vec<String> = self
            .words
            .iter()
            .map(|(word, n)| format!("{n} {word}"))
            .collect();
        writeln!(
            out,
            "{} records, {} bytes: {}; {} outputs, {} bytes",
            self.records,
            self.input_bytes,
            words.join(", "),
            self.outputs,
            self.output_bytes
        )?;
        writeln!(
            out,
            "in batches: {} us, {} us a record, {} KiB of memory at most",
            micros(self.time),
            micros(each),
            self.memory_bytes >> 10
        )?;
        if self.targets > 0 {
            writeln!(
                out,
                "note: {} records name a target; at a destination that does not route they fail",
                self.targets
            )?;
        }
        if self.differ > 0 {
            writeln!(
                out,
                "warning: {} records got another verdict alone than among the others: what a \
                 record becomes must not depend on those beside it",
                self.differ
            )?;
        }
        Ok(())
    }
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

fn as_json(shown: &Shown<'_>) -> Json {
    let mut json = shown.verdict.to_json();
    json["record"] = json!(shown.number + 1);
    json["verdict"] = json!(shown.verdict.word(&shown.record.data));
    json["time_us"] = json!(micros(shown.cost.time));
    json["memory_bytes"] = json!(shown.cost.memory_bytes);
    if shown.differs {
        json["differs_alone"] = json!(true);
    }
    if let Some(before) = &shown.record.before {
        json["before"] = json!({ "code": before.code, "message": before.message });
    }
    json
}

fn as_text(out: &mut dyn Write, shown: &Shown<'_>) -> io::Result<()> {
    let number = shown.number + 1;
    let word = shown.verdict.word(&shown.record.data);
    writeln!(
        out,
        "record {number}: {word}   (alone {} us, {} KiB)",
        micros(shown.cost.time),
        shown.cost.memory_bytes >> 10
    )?;
    if word != "unchanged" {
        writeln!(out, "  - {}", text(&shown.record.data))?;
    }
    match &shown.verdict {
        Verdict::Outputs(outputs) => {
            for output in outputs {
                output_text(out, output, word)?;
            }
        }
        Verdict::Dropped => {}
        Verdict::Failed { code, message } => writeln!(out, "  ! {code}: {message}")?,
    }
    if let Some(before) = &shown.record.before {
        let same = matches!(&shown.verdict, Verdict::Failed { code, .. } if *code == before.code);
        let how = if same {
            "as before"
        } else {
            "other than before"
        };
        writeln!(out, "  {how}: {}: {}", before.code, before.message)?;
    }
    if shown.differs {
        writeln!(out, "  warning: alone it gets another verdict")?;
    }
    Ok(())
}

fn output_text(out: &mut dyn Write, output: &Output, word: &str) -> io::Result<()> {
    let sign = if word == "unchanged" { "=" } else { "+" };
    writeln!(out, "  {sign} {}", text(&output.data))?;
    for (name, value) in &output.partition_keys {
        writeln!(out, "    partition key {name}={value}")?;
    }
    if let Some(target) = &output.target {
        writeln!(out, "    target {target}")?;
    }
    Ok(())
}

/// A record for people: one line, and not too much of it.
pub(super) fn text(data: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(data) else {
        let start = data.get(..256).unwrap_or(data);
        return format!(
            "{} bytes that are no text, base64 {}",
            data.len(),
            base64_simd::STANDARD.encode_to_string(start)
        );
    };
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let shown = shown.replace('\n', "\\n");
    if shown.len() < text.len() && text.chars().nth(SHOWN_MAX).is_some() {
        return format!("{shown}... ({} bytes)", text.len());
    }
    shown
}
