//! Opens a log whose acknowledged records are damaged, without them: `on_corruption: quarantine`.

use crate::env::{Content, LogOptions, OnCorruption};
use crate::error::Error;
use crate::recovery::{self, Recovered};
use crate::repair::{Repair, repair_locked};
use crate::site::Site;

/// Recovers the log. Where acknowledged records are damaged, and that is allowed, it is repaired first;
/// what that cost is said to the record before it is done.
pub(crate) fn recover(site: &Site, new_id: [u8; 16]) -> Result<(Recovered, Repair), Error> {
    let LogOptions {
        content,
        on_corruption,
        ..
    } = site.options;
    let damage = match recovery::recover(site, new_id) {
        Err(damage @ Error::Corrupt { .. }) => damage,
        recovered => return Ok((recovered?, Repair::default())),
    };
    if content != Content::Data || on_corruption != OnCorruption::Quarantine {
        return Err(damage);
    }
    let (disk, dir) = (&*site.env.disk, site.dir.display());
    tracing::error!(%dir, error = &damage as &dyn std::error::Error, "acknowledged records are damaged");
    let looked = repair_locked(disk, &site.dir, false)?;
    if looked.damaged.is_empty() {
        return Err(damage);
    }
    say_lost(site, &looked);
    let done = repair_locked(disk, &site.dir, true)?;
    for copy in &done.copies {
        tracing::error!(%dir, copy = %copy.display(), "a damaged file was copied aside");
    }
    Ok((recovery::recover(site, new_id)?, done))
}

fn say_lost(site: &Site, looked: &Repair) {
    let dir = site.dir.display();
    for (file, wrong) in &looked.damaged {
        tracing::error!(file = %file.display(), wrong, "a file of the log is damaged");
    }
    for lost in &looked.lost {
        let (lane, first_lsn, last_lsn) = (lost.lane, lost.lsns.start, lost.lsns.end - 1);
        let records = lost.records();
        tracing::error!(%dir, lane, first_lsn, last_lsn, records, "records are lost; readers go on behind them");
    }
    if let Some(below_lsn) = looked.unknown_below {
        tracing::error!(%dir, below_lsn, "records below this may be lost, nobody knows how many");
    }
    if let Some((from_lsn, next_lsn)) = looked.renumbered {
        tracing::error!(
            %dir, from_lsn, next_lsn,
            "records from here on may be lost, nobody knows how many; numbering goes on at the next"
        );
    }
}
