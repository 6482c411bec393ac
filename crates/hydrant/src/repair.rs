//! `hydrant log repair`: what a damaged log lost, and how it opens again.

use std::io::{self, Write as _};
use std::path::Path;

use hydrant_log::RealDisk;
use hydrant_log::inspect;
use hydrant_log::repair::{Repair, repair};

use crate::cli::{BAD_CONFIG, FAILED, OK, finish, say};

/// Looks at one log, and repairs it where that is wanted. Gives the exit code.
pub(crate) fn main(dir: &Path, apply: bool, accept_duplicates: bool) -> u8 {
    if !inspect::verify(&RealDisk, dir)
        .is_ok_and(|report| !report.segments.is_empty() || !report.faults.is_empty())
    {
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
    let damaged = !looked.damaged.is_empty();
    let allowed = accept_duplicates || !looked.is_state;
    let done = if damaged && apply && allowed {
        match repair(&RealDisk, dir, true) {
            Ok(done) => done,
            Err(error) => return finish(Err(error.into())),
        }
    } else {
        looked
    };
    let code = finish(print(dir, &done));
    if damaged && done.copies.is_empty() {
        if apply && !allowed {
            say(
                "hydrant: this is the state store: what it lost makes positions older, so that records may be delivered twice; repeat with --accept-duplicates, or restore the files",
            );
        }
        return FAILED;
    }
    if code == OK { OK } else { FAILED }
}

fn print(dir: &Path, done: &Repair) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let dir = dir.display();
    if done.damaged.is_empty() {
        writeln!(out, "{dir}: in order, nothing to repair")?;
        return Ok(());
    }
    for (file, wrong) in &done.damaged {
        writeln!(out, "{}: {wrong}", file.display())?;
    }
    for lsns in &done.lost {
        let (count, last) = (lsns.end - lsns.start, lsns.end - 1);
        writeln!(out, "  lost: records {} to {last} ({count})", lsns.start)?;
    }
    if let Some((from, next)) = done.renumbered {
        writeln!(
            out,
            "  lost: what may have been acknowledged from record {from} on, nobody knows how much; numbering goes on at {next}"
        )?;
    }
    for copy in &done.copies {
        writeln!(out, "  kept: {}", copy.display())?;
    }
    if done.copies.is_empty() {
        writeln!(
            out,
            "{dir}: damaged; nothing was changed: restore the files, or give up what is lost with --apply"
        )?;
    } else {
        writeln!(out, "{dir}: repaired; consumers go on behind what is lost")?;
    }
    Ok(())
}
