//! `hydrant log verify` and `hydrant log dump`: look into a log, live or dead, without changing it.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hydrant_core::disk::Disk as _;
use hydrant_log::disk::RealDisk;
use hydrant_log::inspect::{self, FrameInfo, Report};
use serde_json::json;

use crate::cli::{BAD_CONFIG, FAILED, OK, finish, say};

/// How deep below `data_dir` a log may stand: `streams/NAME`.
const DEPTH: usize = 3;

/// Checks one log, or every log below a directory. Gives the exit code.
pub(crate) fn verify(dir: &Path) -> u8 {
    let mut logs = Vec::new();
    find(dir, DEPTH, &mut logs);
    if logs.is_empty() {
        say(&format!(
            "hydrant: {} holds no log: name data_dir or a directory in it",
            dir.display()
        ));
        return BAD_CONFIG;
    }
    let mut code = OK;
    for log in logs {
        match inspect::verify(&RealDisk, &log) {
            Ok(report) => {
                code = finish(print(&log, &report)).max(code);
                if !report.faults.is_empty() {
                    code = FAILED;
                }
            }
            Err(error) => {
                say(&format!("hydrant: {}: {error}", log.display()));
                code = FAILED;
            }
        }
    }
    code
}

/// Prints every frame of a log as a line of JSON.
pub(crate) fn dump(dir: &Path, records: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut failed = None;
    inspect::dump(&RealDisk, dir, &mut |frame| {
        if failed.is_none() {
            failed = line(&mut out, &frame, records).err();
        }
    })?;
    match failed {
        // Whoever reads has seen enough.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Some(error) => Err(error.into()),
        None => Ok(out.flush()?),
    }
}

fn line(out: &mut dyn Write, frame: &FrameInfo, records: bool) -> io::Result<()> {
    let mut value = json!({
        "file": frame.file.display().to_string(),
        "offset": frame.offset,
        "bytes": frame.frame_bytes,
        "kind": format!("{:?}", frame.kind).to_lowercase(),
        "lane": frame.lane,
        "first_lsn": frame.first_lsn,
        "durable_lsn": frame.durable_lsn,
        "arrival_ms": frame.arrival_ms,
        "records": frame.records.len(),
        "data_bytes": frame.records.data_bytes(),
    });
    if records {
        value["data"] = (0..frame.records.len())
            .map(|i| {
                json!({
                    "key": String::from_utf8_lossy(frame.records.key(i)),
                    "data": base64_simd::STANDARD.encode_to_string(frame.records.data(i)),
                })
            })
            .collect();
    }
    writeln!(out, "{value}")
}

/// Directories below `dir`, itself included, that hold segments.
fn find(dir: &Path, depth: usize, logs: &mut Vec<PathBuf>) {
    let is_log = |report: Report| !report.segments.is_empty() || !report.faults.is_empty();
    if inspect::verify(&RealDisk, dir).is_ok_and(is_log) {
        logs.push(dir.to_owned());
        return;
    }
    if depth > 0 {
        for name in RealDisk.list(dir).unwrap_or_default() {
            let below = dir.join(name);
            if below.is_dir() {
                find(&below, depth - 1, logs);
            }
        }
    }
}

fn print(dir: &Path, report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let records: u64 = report.lanes.values().map(|lane| lane.records).sum();
    let frames: usize = report.segments.iter().map(|segment| segment.frames).sum();
    let bytes: u64 = report
        .segments
        .iter()
        .map(|segment| segment.used_bytes)
        .sum();
    let verdict = if report.faults.is_empty() {
        "ok"
    } else {
        "DAMAGED"
    };
    writeln!(
        out,
        "{}: {verdict}, {} segments, {frames} frames, {records} records, {bytes} bytes",
        dir.display(),
        report.segments.len(),
    )?;
    for (lane, held) in &report.lanes {
        writeln!(
            out,
            "  lane {lane}: LSN {} to {}, {} records, {} bytes",
            held.first_lsn, held.last_lsn, held.records, held.data_bytes
        )?;
    }
    if let Some(torn) = &report.torn_tail {
        let (file, offset) = (torn.file.display(), torn.offset);
        writeln!(
            out,
            "  unfinished tail, never acknowledged: {file} at byte {offset}: {}",
            torn.what
        )?;
    }
    for fault in &report.faults {
        let (file, offset) = (fault.file.display(), fault.offset);
        writeln!(out, "  fault: {file} at byte {offset}: {}", fault.what)?;
    }
    Ok(())
}
