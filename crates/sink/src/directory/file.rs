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
use tracing::error;

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

/// Which directories have a durable entry in their parent, and whether that can be believed.
pub(super) struct SyncedDirs {
    state: Mutex<SyncState>,
    /// Syncs an open directory or file; a test puts its own.
    sync: fn(&Path, &File) -> io::Result<()>,
}

#[derive(Default)]
struct SyncState {
    known: BTreeSet<PathBuf>,
    /// Made by this sink, and the entry not synced yet.
    made: BTreeSet<PathBuf>,
    /// Counts makings: a sync that began before one proves nothing of what was made.
    makings: u64,
    /// Why no sync is believed any more.
    broken: Option<String>,
}

/// Creates a temporary file that no other writer has, and locks it. `serial` is moved past the
/// names that are taken.
pub(super) fn create_temp(
    root: &Path,
    mut serial: u64,
    synced: &SyncedDirs,
) -> io::Result<(PathBuf, File)> {
    let dir = root.join(TEMP_DIR);
    create_dirs(&dir, synced)?;
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

/// Writes a file, moves it into place twice, and removes it; leaves no folder that was not there.
pub(super) fn check(
    root: &Path,
    target: &Path,
    serial: u64,
    synced: &SyncedDirs,
) -> Result<(), String> {
    let (existed, hidden) = (root.exists(), root.join(TEMP_DIR));
    let had_hidden = hidden.exists();
    let done = check_steps(root, target, serial, synced);
    // Not empty where someone else has begun to use it.
    if !had_hidden {
        drop(fs::remove_dir(&hidden));
    }
    if !existed {
        drop(fs::remove_dir(root));
    }
    done
}

fn check_steps(root: &Path, target: &Path, serial: u64, synced: &SyncedDirs) -> Result<(), String> {
    let failed = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    for wanted in [Published::Written, Published::Different] {
        let (temp, file) =
            create_temp(root, serial, synced).map_err(failed("creating a temporary file"))?;
        // Two lengths, so that the second is another content.
        let body = bytes::Bytes::from_static(if wanted == Published::Written {
            b"1"
        } else {
            b"22"
        });
        let written = write_chunks(&file, 0, &[body]).map_err(failed("writing"));
        let published = written.and_then(|()| {
            publish(root, &temp, &file, target, synced).map_err(|trouble| match trouble {
                Trouble::Io(error) | Trouble::Lost(error) => format!("moving into place: {error}"),
                Trouble::Broken(text) => text,
            })
        });
        let removed = remove(&temp).map_err(failed("removing a file"));
        if wanted == Published::Different || published.is_err() {
            remove(target).map_err(failed("removing a file"))?;
        }
        removed?;
        if published? != wanted {
            return Err("moving into place: a file that was there was overwritten".to_owned());
        }
    }
    Ok(())
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
    synced.check()?;
    // After a failed sync the kernel may have dropped what it could not write, and says so once.
    file.sync_all().map_err(Trouble::Lost)?;
    let parent = target.parent().unwrap_or(root);
    create_dirs(parent, synced)?;
    let found = match rename_if_absent(temp, target) {
        Ok(()) => Published::Written,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => compare(file, target, synced)?,
        Err(error) if error.kind() == ErrorKind::NotFound && !temp.exists() => {
            // Renamed by this very upload before a later step failed, or removed by someone.
            match compare(file, target, synced) {
                Ok(Published::Same) => Published::Written,
                Err(Trouble::Broken(text)) => return Err(Trouble::Broken(text)),
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
        // A sync that failed meanwhile may have been the only one that the kernel told.
        synced.check()?;
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

fn compare(ours: &File, target: &Path, synced: &SyncedDirs) -> Result<Published, Trouble> {
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
    synced.sync(target, &theirs)?;
    Ok(Published::Same)
}

/// Creates a folder and those above it that are missing. What it creates has an entry that is not
/// durable, whatever was known of a folder of that name.
fn create_dirs(dir: &Path, synced: &SyncedDirs) -> io::Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && matches!(dir.try_exists(), Ok(false)))
        .collect();
    if missing.is_empty() {
        return fs::create_dir_all(dir);
    }
    // Before, for whoever finds them made; after, for whoever synced before they were.
    synced.forget(&missing);
    let created = fs::create_dir_all(dir);
    synced.forget(&missing);
    created
}

/// Syncs the folder that got the entry, and every folder up to the root's parent that is not known
/// to be durable; above that, where this sink made the folders.
fn sync_dirs(root: &Path, parent: &Path, synced: &SyncedDirs) -> Result<(), Trouble> {
    synced.sync(parent, &File::open(parent)?)?;
    let mut dir = parent;
    while let Some(makings) = synced.needs(dir, root) {
        let Some(above) = dir.parent() else { break };
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        match File::open(above) {
            Ok(open) => synced.sync(above, &open)?,
            // The root's parent may not be ours to read; its entry was made by whoever made it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && dir == root => {}
            Err(error) => return Err(error.into()),
        }
        synced.insert(dir, makings);
        dir = above;
    }
    Ok(())
}

impl Default for SyncedDirs {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            sync: |_, file| file.sync_all(),
        }
    }
}

impl SyncedDirs {
    /// # Errors
    /// [`Trouble::Broken`] once a sync has failed.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match &self.lock().broken {
            Some(text) => Err(Trouble::Broken(text.clone())),
            None => Ok(()),
        }
    }

    /// Syncs a directory, or a file that another wrote. The kernel tells of a failure once and may
    /// have dropped what it could not write, so that the next sync would pass: none is believed
    /// after that.
    fn sync(&self, path: &Path, file: &File) -> Result<(), Trouble> {
        let Err(fault) = (self.sync)(path, file) else {
            return Ok(());
        };
        let place = path.display();
        error!(%place, error = %fault, "a sync failed: what this sink moves into place is not known to be durable");
        let text = format!("a sync of {place} failed; restart hydrant after looking at the disk");
        let mut state = self.lock();
        Err(Trouble::Broken(state.broken.get_or_insert(text).clone()))
    }

    /// The count of makings, where the entry of `dir` is to be synced.
    fn needs(&self, dir: &Path, root: &Path) -> Option<u64> {
        let state = self.lock();
        let unknown = dir.starts_with(root) && !state.known.contains(dir);
        (unknown || state.made.contains(dir)).then_some(state.makings)
    }

    fn insert(&self, dir: &Path, makings: u64) {
        let mut state = self.lock();
        if state.makings != makings {
            return;
        }
        if state.known.len() >= SYNCED_MAX {
            state.known.clear();
        }
        state.made.remove(dir);
        state.known.insert(dir.to_path_buf());
    }

    fn forget(&self, made: &[&Path]) {
        let mut state = self.lock();
        state.makings += 1;
        for dir in made {
            state.known.remove(*dir);
            state.made.insert(dir.to_path_buf());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fs::{self, File};
    use std::io::{self, Write as _};
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::{Published, SyncedDirs, Trouble, create_temp, publish};

    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
        static FAILS: Cell<bool> = const { Cell::new(false) };
    }

    /// A fake: notes what is synced, and fails once where the test says so.
    fn dirs() -> SyncedDirs {
        SyncedDirs {
            sync: |path: &Path, _: &File| {
                SYNCED.with_borrow_mut(|synced| synced.push(path.to_path_buf()));
                if FAILS.take() {
                    return Err(io::Error::other("the disk is gone"));
                }
                Ok(())
            },
            ..SyncedDirs::default()
        }
    }

    fn put(root: &Path, key: &str, dirs: &SyncedDirs) -> Result<Published, Trouble> {
        let (temp, mut file) = create_temp(root, 0, dirs)?;
        file.write_all(b"data")?;
        publish(root, &temp, &file, &root.join(key), dirs)
    }

    /// What was synced since the last call, below `base`.
    fn synced(base: &Path) -> Vec<String> {
        let below = |path: PathBuf| {
            let below = path.strip_prefix(base).expect("below the test's folder");
            below.to_str().expect("text").to_owned()
        };
        SYNCED.take().into_iter().map(below).collect()
    }

    #[test]
    fn every_folder_that_was_made_gets_a_durable_entry() {
        let base = TempDir::new().expect("a folder");
        let (root, dirs) = (base.path().join("up/top"), dirs());
        let written = |key: &str| {
            let found = put(&root, key, &dirs).expect("it is moved into place");
            assert_eq!(found, Published::Written);
            synced(base.path())
        };
        // Folders above the root as well, up to the first one that was there.
        let (a, ab) = ("up/top/a", "up/top/a/b");
        assert_eq!(written("a/b/1"), [ab, a, "up/top", "up", ""]);
        assert_eq!(written("a/b/2"), [ab]);
        assert_eq!(written("a/c/1"), ["up/top/a/c", a]);
        // Removed by whoever reads the objects, and made again.
        fs::remove_dir_all(root.join("a")).expect("removed");
        assert_eq!(written("a/b/3"), [ab, a, "up/top"]);
        assert_eq!(written("a/b/4"), [ab]);
        fs::remove_dir_all(base.path().join("up")).expect("removed");
        assert_eq!(written("a/b/5"), [ab, a, "up/top", "up", ""]);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_believed() {
        for (key, place) in [("a/new", "a"), ("a/old", "a/old")] {
            let root = TempDir::new().expect("a folder");
            fs::create_dir(root.path().join("a")).expect("made");
            fs::write(root.path().join("a/old"), "data").expect("written");
            let dirs = dirs();
            FAILS.set(true);
            let place = root.path().join(place);
            let want = format!(
                "a sync of {} failed; restart hydrant after looking at the disk",
                place.display()
            );
            // The syncs after the first would pass.
            for key in [key, "a/old", "b/other"] {
                let trouble = put(root.path(), key, &dirs).expect_err("not durable");
                assert!(
                    matches!(&trouble, Trouble::Broken(text) if *text == want),
                    "{trouble:?}"
                );
                assert!(!FAILS.get());
            }
            assert!(!root.path().join("b").exists());
        }
    }
}
