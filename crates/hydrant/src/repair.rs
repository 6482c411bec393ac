//! `hydrant log repair`: what a damaged log lost, and how it opens again.

use std::io::{self, Write as _};
use std::path::Path;

use hydrant_core::disk::Disk as _;
use hydrant_log::RealDisk;
use hydrant_log::repair::{Repair, repair};
use hydrant_log::stream::ShardId;

use crate::cli::{BAD_CONFIG, FAILED, OK, finish, say};

/// Looks at one log, and repairs it where that is wanted. Gives the exit code.
pub(crate) fn main(dir: &Path, apply: bool) -> u8 {
    let names = RealDisk.list(dir).unwrap_or_default();
    let is_segment = |name: &String| Path::new(name).extension().is_some_and(|it| it == "seg");
    if !names.iter().any(is_segment) {
        let dir = dir.display();
        say(&format!(
            "hydrant: {dir} holds no log: name the directory of one, as `hydrant log verify` prints it"
        ));
        return BAD_CONFIG;
    }
    let looked = match repair(&RealDisk, dir, false) {
        Ok(looked) => looked,
        Err(error) => return finish(Err(error.into())),
    };
    // Before anything is done: a repair that breaks off must not be the only one who knew.
    if finish(print(dir, &looked)) != OK {
        return FAILED;
    }
    if looked.damaged.is_empty() {
        return OK;
    }
    let dir_shown = dir.display();
    if !apply {
        say(&format!(
            "{dir_shown}: damaged; nothing was changed: restore the files, or give up what is lost with --apply"
        ));
        return FAILED;
    }
    match repair(&RealDisk, dir, true) {
        Ok(done) => {
            for copy in &done.copies {
                say(&format!("kept: {}", copy.display()));
            }
            say(&format!(
                "{dir_shown}: repaired; consumers go on behind what is lost"
            ));
            OK
        }
        Err(error) => finish(Err(error.into())),
    }
}

fn print(dir: &Path, looked: &Repair) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if looked.damaged.is_empty() {
        writeln!(out, "{}: in order, nothing to repair", dir.display())?;
        return Ok(());
    }
    for (file, wrong) in &looked.damaged {
        writeln!(out, "{}: {wrong}", file.display())?;
    }
    if let Some(below) = looked.unknown_below {
        writeln!(
            out,
            "  lost: what may have been kept below record {below}, nobody knows how much"
        )?;
    }
    for lost in &looked.lost {
        let (first, last, count) = (lost.lsns.start, lost.lsns.end - 1, lost.records());
        let of = lost
            .lane
            .map_or(String::new(), |lane| format!(" of {}", ShardId(lane)));
        writeln!(out, "  lost: records {first} to {last} ({count}){of}")?;
    }
    if let Some((from, next)) = looked.renumbered {
        writeln!(
            out,
            "  lost: what may have been acknowledged from record {from} on, nobody knows how much; numbering goes on at {next}"
        )?;
    }
    Ok(())
}
