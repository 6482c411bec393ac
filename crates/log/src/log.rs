//! The log itself: append, read, wait, release.

use std::path::Path;
use std::sync::Arc;

use hydrant_core::Records;

use crate::env::{Env, LogOptions};
use crate::error::Error;

/// A durable log of one stream, all its lanes in it. Clones share it.
#[derive(Clone)]
pub struct Log {
    _inner: Arc<()>,
}

/// Records to append to one lane.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The lane's number in this log.
    pub lane: u32,
    /// What to append; positions and arrivals are not looked at.
    pub records: Records,
}

/// Where an entry's records stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// LSN of the entry's first record; the others follow one by one. The first of a log is 1.
    pub first_lsn: u64,
    /// The arrival that all of them were stamped with, milliseconds since the epoch.
    pub arrival_ms: u64,
}

/// A block that was read back.
#[derive(Clone, Debug)]
pub struct Stored {
    /// LSN of its first record.
    pub first_lsn: u64,
    /// Arrival of all its records, milliseconds since the epoch.
    pub arrival_ms: u64,
    /// The records, at positions `Position::from_u64(lsn)`.
    pub records: Records,
}

impl Log {
    /// Opens the log of a directory, or makes one there with the id `new_id`. Blocks.
    ///
    /// # Errors
    /// `Locked`, `Corrupt`, `Version`, `Io`.
    pub fn open(env: Env, dir: &Path, new_id: [u8; 16], options: LogOptions) -> Result<Self, Error> {
        todo!("{:?} {new_id:?} {options:?} {}", dir, env.io.width())
    }

    /// The identity that the log was made with.
    pub fn id(&self) -> [u8; 16] {
        todo!()
    }

    /// Appends all entries in one group commit; completes only after the sync that covers them.
    /// A dropped future leaves them either wholly appended or not at all.
    ///
    /// # Errors
    /// `LowSpace`, `TooLarge`, `Failed`, `Io`: nothing was acknowledged.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Appended>, Error> {
        todo!("{entries:?}")
    }

    /// Reads blocks of a lane from the first record with an LSN of at least `from_lsn`, about
    /// `max_bytes` of them and at least one where there is one. Blocks.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    pub fn read(&self, lane: u32, from_lsn: u64, max_bytes: usize) -> Result<Vec<Stored>, Error> {
        todo!("{lane} {from_lsn} {max_bytes}")
    }

    /// Every record below this LSN is synced (and readable unless released).
    pub fn end_lsn(&self) -> u64 {
        todo!()
    }

    /// One past the last readable LSN of a lane; 0 where it has no record here.
    pub fn lane_end(&self, lane: u32) -> u64 {
        todo!("{lane}")
    }

    /// The oldest record that is kept (`end_lsn` where none is).
    pub fn oldest_lsn(&self) -> u64 {
        todo!()
    }

    /// Completes once a record of the lane with an LSN of at least `from_lsn` is readable. Cancel
    /// safe.
    pub async fn wait(&self, lane: u32, from_lsn: u64) {
        todo!("{lane} {from_lsn}")
    }

    /// The first readable record of the lane that arrived at `arrival_ms` or later.
    pub fn first_lsn_at(&self, lane: u32, arrival_ms: u64) -> Option<u64> {
        todo!("{lane} {arrival_ms}")
    }

    /// Frees the sealed segments whose every record has an LSN below `below_lsn` and arrived
    /// before `before_ms`, oldest first; gives the bytes freed.
    ///
    /// # Errors
    /// `Io`, `Failed`.
    pub async fn release(&self, below_lsn: u64, before_ms: u64) -> Result<u64, Error> {
        todo!("{below_lsn} {before_ms}")
    }

    /// Whether appends of data are refused for lack of space.
    pub fn low_space(&self) -> bool {
        todo!()
    }

    /// Bytes of all segments, spare ones too.
    pub fn bytes_on_disk(&self) -> u64 {
        todo!()
    }
}
