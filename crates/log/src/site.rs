//! Where a log lives: its directory, its seams and settings, and the few things that write there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hydrant_core::disk::DiskFile;
use hydrant_core::planted;

use crate::env::{Env, LogOptions, SyncPoint};
use crate::error::Error;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED, segment_name};

/// A log's directory with what is needed to work in it.
pub(crate) struct Site {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
}

/// A file that a spent segment left, to be used again.
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
}

/// A segment under its final name, durable with all that it holds.
pub(crate) struct Started {
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) allocated_bytes: u64,
}

/// What to make durable.
enum Target<'a> {
    File(&'a dyn DiskFile, &'a Path),
    Directory,
}

impl Site {
    /// Makes a segment that holds `frames` from the start. It gets its name only once all of that
    /// is synced, so that whatever is found under the name was whole once.
    pub(crate) fn start_segment(
        &self,
        spare: Option<Spare>,
        header: SegmentHeader,
        size_bytes: u64,
        frames: &[Bytes],
        (content, name): (SyncPoint, SyncPoint),
    ) -> Result<Started, Error> {
        let path = self.dir.join(segment_name(header.number));
        let (from, file, allocated_bytes) = if let Some(spare) = spare {
            (spare.path, spare.file, spare.bytes)
        } else {
            let from = self.dir.join(segment_name(header.number) + UNFINISHED);
            let file = self.create(&from, size_bytes)?;
            (from, file, size_bytes)
        };
        self.write(&*file, &from, 0, &header.encode())?;
        let mut offset = SEGMENT_HEADER_BYTES as u64;
        for frame in frames {
            self.write(&*file, &from, offset, frame)?;
            offset += frame.len() as u64;
        }
        self.sync_file(content, &*file, &from)?;
        self.env
            .disk
            .rename(&from, &path)
            .map_err(|e| failed("renaming", &from, e))?;
        self.sync_dir(name)?;
        Ok(Started {
            path: path.into(),
            file,
            allocated_bytes,
        })
    }

    fn create(&self, path: &Path, bytes: u64) -> Result<Arc<dyn DiskFile>, Error> {
        let created = match self.env.disk.create(path, bytes) {
            // Left by an attempt that failed after this point; it never had a segment's name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.env
                    .disk
                    .remove(path)
                    .map_err(|e| failed("removing", path, e))?;
                self.env.disk.create(path, bytes)
            }
            created => created,
        };
        match created {
            Ok(file) => Ok(file.into()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(Error::LowSpace),
            Err(error) => Err(failed("creating", path, error)),
        }
    }

    /// Writes bytes. What a failed write left is unknown, so it ends the process as a failed sync
    /// does.
    pub(crate) fn write(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        file.write_at(offset, bytes)
            .map_err(|error| self.give_up("write", path, &error))
    }

    /// Makes a file's contents durable.
    pub(crate) fn sync_file(
        &self,
        point: SyncPoint,
        file: &dyn DiskFile,
        path: &Path,
    ) -> Result<(), Error> {
        self.make_durable(point, &Target::File(file, path))
    }

    /// Makes the directory's entries durable.
    pub(crate) fn sync_dir(&self, point: SyncPoint) -> Result<(), Error> {
        self.make_durable(point, &Target::Directory)
    }

    /// The one place that syncs. An error ends the process: after a failed fsync the kernel marks
    /// pages clean and may drop them, so trying again proves nothing.
    fn make_durable(&self, point: SyncPoint, target: &Target<'_>) -> Result<(), Error> {
        if left_out(&self.options, point) {
            return Ok(());
        }
        let (sync, path): (&dyn Fn() -> io::Result<()>, &Path) = match *target {
            Target::File(file, path) => (&|| file.sync(), path),
            Target::Directory => (&|| self.env.disk.sync_dir(&self.dir), &self.dir),
        };
        let mut done = sync();
        if planted!("sync-retried") {
            done = done.or_else(|_| sync());
        }
        done.map_err(|error| self.give_up("sync", path, &error))
    }

    fn give_up(&self, doing: &str, path: &Path, error: &io::Error) -> Error {
        self.env
            .abort
            .abort(&format!("{doing} of {} failed: {error}", path.display()));
        Error::Failed
    }
}

/// The error of a call that failed and left nothing in doubt.
pub(crate) fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        doing,
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

#[cfg(feature = "planted")]
fn left_out(options: &LogOptions, point: SyncPoint) -> bool {
    options.skip_sync == Some(point) || planted(point)
}

#[cfg(not(feature = "planted"))]
fn left_out(_: &LogOptions, point: SyncPoint) -> bool {
    planted(point)
}

fn planted(point: SyncPoint) -> bool {
    let is = |of, planted| point == of && planted;
    is(SyncPoint::Group, planted!("group-not-synced"))
        || is(
            SyncPoint::SegmentHeader,
            planted!("segment-header-not-synced"),
        )
        || is(SyncPoint::SegmentName, planted!("segment-name-not-synced"))
        || is(SyncPoint::RelogData, planted!("relogged-data-not-synced"))
        || is(SyncPoint::RelogName, planted!("relogged-name-not-synced"))
        || is(SyncPoint::FoundName, planted!("found-name-not-synced"))
        || is(SyncPoint::Release, planted!("release-not-synced"))
}
