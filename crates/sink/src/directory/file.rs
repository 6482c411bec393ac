//! The blocking half of the directory sink: temporary files, create-if-absent, syncing. Everything
//! here runs on the I/O pool.
//!
//! Temporary files lie in one hidden folder of the root, so that cleaning up reads one folder and
//! whoever watches the root sees whole objects only. Each is locked while it is in use; a leftover
//! of a crash is not, and is removed at the next start.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// The hidden folder below the root.
pub(super) const TEMP_DIR: &str = ".hydrant-tmp";
const TEMP_START: &str = "hydrant-";
const TEMP_END: &str = ".tmp";
/// Names tried for a temporary file before giving up; each one taken belongs to a live writer.
const NAME_TRIES: u64 = 10_000;
/// Bytes compared at once.
const COMPARE_BYTES: usize = 64 << 10;
/// Directories remembered as synced; beyond that all are forgotten, and synced again.
const SYNCED_MAX: usize = 4096;

/// Why a blocking step failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The same step may pass later.
    Io(io::Error),
    /// What was written is lost: only writing the object anew helps.
    Lost(io::Error),
    /// No waiting helps.
    Broken(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What publishing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Written,
    Same,
    Different,
}

/// Directories whose entry in their parent is durable.
#[derive(Default)]
pub(super) struct SyncedDirs(Mutex<BTreeSet<PathBuf>>);

/// Creates a temporary file that no other writer has, and locks it. `serial` is moved past the
/// names that are taken.
pub(super) fn create_temp(root: &Path, mut serial: u64) -> io::Result<(PathBuf, File)> {
    let dir = root.join(TEMP_DIR);
    fs::create_dir_all(&dir)?;
    for _ in 0..NAME_TRIES {
        let path = dir.join(format!(
            "{TEMP_START}{}-{serial}{TEMP_END}",
            std::process::id()
        ));
        match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(file) => {
                file.lock()?;
                return Ok((path, file));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => serial += 1,
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "{NAME_TRIES} temporary names are taken in {}",
        dir.display()
    )))
}

/// Removes temporary files that nobody has locked. Returns how many.
pub(super) fn remove_leftovers(root: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(root.join(TEMP_DIR)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMP_START) && name.ends_with(TEMP_END));
        if ours && entry.file_type()?.is_file() && remove_unlocked(&entry.path())? {
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove_unlocked(path: &Path) -> io::Result<bool> {
    let file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => remove(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a file; fine where it is gone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes chunks one after the other from `offset`. Doing it again is harmless.
pub(super) fn write_chunks(file: &File, offset: u64, chunks: &[bytes::Bytes]) -> io::Result<()> {
    let mut offset = offset;
    for chunk in chunks {
        file.write_all_at(chunk, offset)?;
        offset += chunk.len() as u64;
    }
    Ok(())
}

/// Makes a written temporary file visible as `target`, durably, unless something is there. Done
/// again after [`Trouble::Io`], it goes on where it stopped.
pub(super) fn publish(
    root: &Path,
    temp: &Path,
    file: &File,
    target: &Path,
    synced: &SyncedDirs,
) -> Result<Published, Trouble> {
    // After a failed sync the kernel may have dropped what it could not write, and says so once.
    file.sync_all().map_err(Trouble::Lost)?;
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    let found = match rename_if_absent(temp, target) {
        Ok(()) => Published::Written,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => compare(file, target)?,
        Err(error) if error.kind() == ErrorKind::NotFound && !temp.exists() => {
            // Renamed by this very upload before a later step failed, or removed by someone.
            match compare(file, target) {
                Ok(Published::Same) => Published::Written,
                _ => return Err(Trouble::Lost(error)),
            }
        }
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            return Err(Trouble::Broken(format!(
                "{} is on another file system than {}: objects can only be moved into place \
                 within one",
                parent.display(),
                root.join(TEMP_DIR).display()
            )));
        }
        Err(error) => return Err(error.into()),
    };
    if found != Published::Different {
        sync_dirs(root, parent, synced)?;
    }
    Ok(found)
}

/// `renameat2` with `RENAME_NOREPLACE`, or a hard link where the file system cannot.
fn rename_if_absent(temp: &Path, target: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, temp, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(temp, target)?;
            remove(temp)
        }
        Err(error) => Err(error.into()),
    }
}

fn compare(ours: &File, target: &Path) -> io::Result<Published> {
    let mut theirs = File::open(target)?;
    if ours.metadata()?.len() != theirs.metadata()?.len() {
        return Ok(Published::Different);
    }
    let (mut a, mut b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    let mut offset = 0;
    loop {
        let read = theirs.read(&mut b)?;
        if read == 0 {
            break;
        }
        ours.read_exact_at(&mut a[..read], offset)?;
        if a[..read] != b[..read] {
            return Ok(Published::Different);
        }
        offset += read as u64;
    }
    // Another writer may have ended between its rename and its sync.
    theirs.sync_all()?;
    Ok(Published::Same)
}

/// Syncs the folder that got the entry, and every folder up to the root's parent that is not known
/// to be durable.
fn sync_dirs(root: &Path, parent: &Path, synced: &SyncedDirs) -> io::Result<()> {
    let known = |dir: &Path| synced.lock().contains(dir);
    sync_dir(parent)?;
    let mut dir = parent;
    while dir.starts_with(root) && !known(dir) {
        let Some(above) = dir.parent() else { break };
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        match sync_dir(above) {
            // The root's parent may not be ours to read; its entry was made by whoever made it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && dir == root => {}
            other => other?,
        }
        synced.insert(dir);
        dir = above;
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl SyncedDirs {
    fn insert(&self, dir: &Path) {
        let mut dirs = self.lock();
        if dirs.len() >= SYNCED_MAX {
            dirs.clear();
        }
        dirs.insert(dir.to_path_buf());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
