//! A disk in memory that loses power (reliability design, section 8).
//!
//! Each file has what the process sees and what the platter holds. What was written and not synced
//! is, at a crash, kept, lost or torn at 512 bytes, each write by itself; a file that was created,
//! renamed or removed without syncing its directory may be so or not, each by itself.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hydrant_core::disk::{Abort, Disk, DiskFile, Space};
use hydrant_core::rng::Rng;

use crate::sim::{Kind, World};

/// A write below this size and not across such a border is whole or not there.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<State>>,
}

/// The state of the disk.
#[derive(Default)]
struct State {
    /// Names as the process sees them, and as the platter holds them.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<Entry>,
    files: BTreeMap<u64, File>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    next_file: u64,
    capacity_bytes: u64,
    /// Changes and syncs so far, and after how many of them the power goes.
    calls: u64,
    power_until: Option<u64>,
    fail_next_sync: bool,
    syncs: u64,
    /// Counts its steps, and can halt it.
    sim: Option<World>,
}

/// What becomes of what was not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Each write is kept, lost or torn, each entry kept or lost, by the dice.
    Any,
    /// All of it is there.
    Kept,
    /// Nothing of it is there.
    Lost,
    /// Sectors are kept or lost by the dice; so are entries.
    Torn,
}

/// A change of a directory that is not synced.
#[derive(Clone)]
enum Entry {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

/// One file.
#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of a file that is not synced.
#[derive(Clone)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl SimDisk {
    /// An empty disk.
    pub fn new(capacity_bytes: u64) -> Self {
        let world = State {
            capacity_bytes,
            ..State::default()
        };
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    /// An empty disk that takes part in a world: its changes and syncs are steps of that, and it
    /// answers no more while that is halted.
    pub fn in_world(world: &World, capacity_bytes: u64) -> Self {
        let disk = Self::new(capacity_bytes);
        disk.world().sim = Some(world.clone());
        disk
    }

    /// All directories that were made.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.world().dirs.iter().cloned().collect()
    }

    /// Bytes of all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    /// Changes and syncs so far.
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Lets the power go with the `calls`-th change or sync from now: that one and all later calls
    /// fail. 0 gives power for ever.
    pub fn power_off_after(&self, calls: u64) {
        let mut world = self.world();
        world.power_until = (calls > 0).then(|| world.calls + calls);
    }

    /// Whether the power went.
    pub fn is_off(&self) -> bool {
        self.world().is_off()
    }

    /// Lets the next sync of a file fail and its writes be forgotten, as the kernel does; a sync
    /// after it "succeeds".
    pub fn fail_next_sync(&self) {
        self.world().fail_next_sync = true;
    }

    /// Sets the size of the disk.
    pub fn set_capacity(&self, bytes: u64) {
        self.world().capacity_bytes = bytes;
    }

    /// Flips a bit of a file, on the platter too. Gives whether the file is that long.
    pub fn flip(&self, path: &Path, offset: usize, bit: u8) -> bool {
        let mut world = self.world();
        let Some(file) = world.names.get(path).copied() else {
            return false;
        };
        let Some(file) = world.files.get_mut(&file) else {
            return false;
        };
        for image in [&mut file.seen, &mut file.durable] {
            if let Some(byte) = image.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
        offset < file.seen.len()
    }

    /// The same disk for another test to spoil: everything as the process sees it, as if synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let world = self.world();
        let mut copy = State {
            names: world.names.clone(),
            durable_names: world.names.clone(),
            files: world.files.clone(),
            dirs: world.dirs.clone(),
            next_file: world.next_file,
            capacity_bytes: world.capacity_bytes,
            ..State::default()
        };
        for file in copy.files.values_mut() {
            file.durable.clone_from(&file.seen);
            file.pending.clear();
        }
        Self {
            world: Arc::new(Mutex::new(copy)),
        }
    }

    /// The disk after the power was lost now. This one answers no more.
    #[must_use]
    pub fn crash(&self, rng: &dyn Rng) -> Self {
        self.crash_as(Fate::Any, rng)
    }

    /// The same, with this fate for what was not synced.
    #[must_use]
    pub fn crash_as(&self, fate: Fate, rng: &dyn Rng) -> Self {
        let mut world = self.world();
        world.power_until = Some(0);
        let mut names = world.durable_names.clone();
        for entry in &world.pending_names {
            let kept = match fate {
                Fate::Kept => true,
                Fate::Lost => false,
                Fate::Any | Fate::Torn => rng.below(2) == 0,
            };
            if kept {
                apply(&mut names, entry);
            }
        }
        let mut files = BTreeMap::new();
        for (number, file) in &world.files {
            let image = file.after_crash(fate, rng);
            files.insert(
                *number,
                File {
                    seen: image.clone(),
                    durable: image,
                    pending: Vec::new(),
                },
            );
        }
        let after = State {
            durable_names: names.clone(),
            names,
            files,
            dirs: world.dirs.clone(),
            next_file: world.next_file,
            capacity_bytes: world.capacity_bytes,
            sim: world.sim.clone(),
            ..State::default()
        };
        Self {
            world: Arc::new(Mutex::new(after)),
        }
    }

    fn world(&self) -> MutexGuard<'_, State> {
        lock(&self.world)
    }

    /// The world, where there is power.
    fn on(&self) -> io::Result<MutexGuard<'_, State>> {
        let world = self.world();
        if world.is_off() {
            Err(no_power())
        } else {
            Ok(world)
        }
    }
}

impl State {
    fn is_off(&self) -> bool {
        self.power_until.is_some_and(|until| self.calls >= until)
            || self.sim.as_ref().is_some_and(World::is_halted)
    }

    /// Counts a change or sync of a directory.
    fn count_name(&mut self, what: fmt::Arguments<'_>) -> io::Result<()> {
        if let Some(sim) = &self.sim {
            sim.comes(Kind::Name);
        }
        self.count(what)
    }

    /// Counts a change or sync. The one at which the power goes happens and then fails.
    fn count(&mut self, what: fmt::Arguments<'_>) -> io::Result<()> {
        self.calls += 1;
        if let Some(sim) = &self.sim {
            sim.trace.note(format_args!("disk: {what}"));
            sim.step();
        }
        if self.is_off() {
            Err(no_power())
        } else {
            Ok(())
        }
    }

    fn used_bytes(&self) -> u64 {
        let held: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .collect();
        held.iter()
            .filter_map(|file| self.files.get(file))
            .map(|file| file.seen.len() as u64)
            .sum()
    }
}

impl File {
    /// What the platter holds once the power is back.
    fn after_crash(&self, fate: Fate, rng: &dyn Rng) -> Vec<u8> {
        let mut image = self.durable.clone();
        for change in &self.pending {
            let fate = match fate {
                Fate::Any => rng.below(3),
                Fate::Lost => 0,
                Fate::Kept => 1,
                Fate::Torn => 2,
            };
            match (change, fate) {
                (_, 0) => {}
                (Change::Length(len), _) => image.resize(image.len().max(*len), 0),
                (Change::Write(offset, bytes), fate) => {
                    write_torn(&mut image, *offset, bytes, |_| {
                        fate == 1 || rng.below(2) == 0
                    });
                }
            }
        }
        image
    }
}

/// Writes the sectors that `keep` says.
fn write_torn(image: &mut Vec<u8>, offset: usize, bytes: &[u8], keep: impl Fn(usize) -> bool) {
    let mut at = offset;
    let end = offset + bytes.len();
    while at < end {
        let border = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let to = border.min(end);
        if keep(at) {
            if image.len() < to {
                image.resize(to, 0);
            }
            image[at..to].copy_from_slice(&bytes[at - offset..to - offset]);
        }
        at = to;
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, entry: &Entry) {
    match entry {
        Entry::Create(path, file) => {
            names.insert(path.clone(), *file);
        }
        Entry::Rename(from, to, file) => {
            // Whatever else has the old name by now keeps it.
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        Entry::Remove(path) => {
            names.remove(path);
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the simulated power is off")
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("no file {}", path.display()),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.on()?.dirs.insert(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.on()?;
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn create(&self, path: &Path, allocate_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.on()?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_none_or(|dir| !world.dirs.contains(dir)) {
            return Err(missing(path));
        }
        if world.used_bytes() + allocate_bytes > world.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(allocate_bytes).map_err(io::Error::other)?;
        let number = world.next_file;
        world.next_file += 1;
        let pending = vec![Change::Length(len)];
        world.files.insert(
            number,
            File {
                seen: vec![0; len],
                durable: Vec::new(),
                pending,
            },
        );
        world.names.insert(path.to_owned(), number);
        world
            .pending_names
            .push(Entry::Create(path.to_owned(), number));
        world.count_name(format_args!("create {} {len}", path.display()))?;
        Ok(Box::new(SimFile {
            world: self.world.clone(),
            number,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let number = *self.on()?.names.get(path).ok_or_else(|| missing(path))?;
        Ok(Box::new(SimFile {
            world: self.world.clone(),
            number,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.on()?;
        let file = world.names.remove(from).ok_or_else(|| missing(from))?;
        world.names.insert(to.to_owned(), file);
        world
            .pending_names
            .push(Entry::Rename(from.to_owned(), to.to_owned(), file));
        world.count_name(format_args!("rename {} {}", from.display(), to.display()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.on()?;
        world.names.remove(path).ok_or_else(|| missing(path))?;
        world.pending_names.push(Entry::Remove(path.to_owned()));
        world.count_name(format_args!("remove {}", path.display()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.on()?;
        // The call at which the power goes has not happened yet.
        world.count_name(format_args!("sync_dir {}", dir.display()))?;
        world.syncs += 1;
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        let of_dir = |entry: &Entry| match entry {
            Entry::Create(path, _) | Entry::Remove(path) => inside(path),
            Entry::Rename(from, to, _) => inside(from) || inside(to),
        };
        let (synced, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut world.pending_names)
            .into_iter()
            .partition(of_dir);
        world.pending_names = kept;
        for entry in &synced {
            apply(&mut world.durable_names, entry);
        }
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let world = self.on()?;
        let available = world.capacity_bytes.saturating_sub(world.used_bytes());
        Ok(Space {
            total: world.capacity_bytes,
            available,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !self.on()?.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            world: self.world.clone(),
            path: path.to_owned(),
        }))
    }
}

/// A held lock.
struct SimLock {
    world: Arc<Mutex<State>>,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        lock(&self.world).locks.remove(&self.path);
    }
}

/// An open file. It stays readable when it is renamed or removed.
struct SimFile {
    world: Arc<Mutex<State>>,
    number: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, &mut File) -> io::Result<T>) -> io::Result<T> {
        let mut world = lock(&self.world);
        if world.is_off() {
            return Err(no_power());
        }
        let mut file = world.files.remove(&self.number).unwrap_or_default();
        let done = act(&mut world, &mut file);
        world.files.insert(self.number, file);
        done
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|world, file| {
            write_torn(&mut file.seen, offset, bytes, |_| true);
            file.pending.push(Change::Write(offset, bytes.to_vec()));
            let (number, sum) = (self.number, crc32fast::hash(bytes));
            world.count(format_args!("write {number} {offset} {sum:08x}"))
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.with(|_, file| {
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(file.seen.len());
            let to = from.saturating_add(len).min(file.seen.len());
            Ok(file.seen[from..to].to_vec())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let sim = lock(&self.world).sim.clone();
        if let Some(sim) = sim {
            // A sync takes its time, and others run meanwhile.
            sim.interleave();
            sim.comes(Kind::Sync);
        }
        self.with(|world, file| {
            // The call at which the power goes has not happened yet.
            world.count(format_args!("sync {}", self.number))?;
            world.syncs += 1;
            let pending = std::mem::take(&mut file.pending);
            if std::mem::take(&mut world.fail_next_sync) {
                if let Some(sim) = &world.sim {
                    sim.trace.fired("sync failed");
                }
                return Err(io::Error::other("the simulated sync failed"));
            }
            for change in pending {
                match change {
                    Change::Length(len) => {
                        let len = file.durable.len().max(len);
                        file.durable.resize(len, 0);
                    }
                    Change::Write(offset, bytes) => {
                        write_torn(&mut file.durable, offset, &bytes, |_| true);
                    }
                }
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|_, file| Ok(file.seen.len() as u64))
    }
}

/// Takes note of why the process would have ended.
#[derive(Clone, Default)]
pub struct SimAbort {
    reasons: Arc<Mutex<Vec<String>>>,
}

impl SimAbort {
    /// All reasons so far.
    pub fn reasons(&self) -> Vec<String> {
        lock(&self.reasons).clone()
    }
}

impl Abort for SimAbort {
    fn abort(&self, reason: &str) {
        lock(&self.reasons).push(reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::Path;

    use hydrant_core::disk::Disk;

    use super::SimDisk;
    use crate::sim::SimRng;

    #[test]
    fn what_was_synced_stays_and_the_rest_has_every_fate() {
        let dir = Path::new("d");
        let path = dir.join("f");
        let (mut fates, mut names) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..300 {
            let disk = SimDisk::new(1 << 20);
            disk.create_dir_all(dir).expect("made");
            let file = disk.create(&path, 4096).expect("created");
            file.write_at(0, &[1; 1000]).expect("written");
            file.sync().expect("synced");
            disk.sync_dir(dir).expect("synced");
            file.write_at(500, &[2; 1036]).expect("written");
            disk.rename(&path, &dir.join("g")).expect("renamed");
            assert_eq!(file.read_at(500, 2).expect("read"), [2, 2]);
            let after = disk.crash(&SimRng::new(seed));
            assert!(file.read_at(0, 1).is_err(), "the old disk has no power");
            let name = after.list(dir).expect("listed");
            assert_eq!(name.len(), 1, "a rename happens or not");
            let bytes = after.open(&dir.join(&name[0])).expect("opened");
            let bytes = bytes.read_at(0, 5000).expect("read");
            assert_eq!(bytes.len(), 4096);
            assert_eq!(bytes[..500], [1; 500]);
            fates.insert([bytes[511], bytes[512], bytes[1024]]);
            names.insert(name);
        }
        assert_eq!(names.len(), 2);
        assert!(
            fates.len() == 8,
            "kept, lost, and torn at each sector: {fates:?}"
        );
    }

    #[test]
    fn a_failed_sync_loses_the_writes_even_if_repeated() {
        let dir = Path::new("d");
        let disk = SimDisk::new(1 << 20);
        disk.create_dir_all(dir).expect("made");
        let file = disk.create(&dir.join("f"), 512).expect("created");
        file.sync().expect("synced");
        disk.sync_dir(dir).expect("synced");
        file.write_at(0, &[7; 512]).expect("written");
        disk.fail_next_sync();
        assert!(file.sync().is_err());
        file.sync().expect("it lies");
        for seed in 0..10 {
            let after = disk.copy_of_platter(seed);
            let bytes = after
                .open(&dir.join("f"))
                .expect("opened")
                .read_at(0, 1)
                .expect("read");
            assert_eq!(bytes, [0]);
        }
    }

    #[test]
    fn full_and_locked_and_off() {
        let dir = Path::new("d");
        let disk = SimDisk::new(1000);
        disk.create_dir_all(dir).expect("made");
        let full = disk.create(&dir.join("f"), 1001).err().expect("full");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(disk.list(dir).expect("listed").is_empty());
        let held = disk.lock(&dir.join("lock")).expect("locked");
        let second = disk.lock(&dir.join("lock")).expect_err("held");
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(disk.lock(&dir.join("lock")).is_ok());
        disk.power_off_after(2);
        let file = disk.create(&dir.join("f"), 10).expect("created");
        assert!(file.sync().is_err(), "the second call is the last");
        assert!(disk.is_off() && disk.list(dir).is_err());
    }

    impl SimDisk {
        fn copy_of_platter(&self, seed: u64) -> Self {
            let world = self.world();
            let copy = super::State {
                names: world.names.clone(),
                durable_names: world.durable_names.clone(),
                files: world.files.clone(),
                ..super::State::default()
            };
            drop(world);
            let copy = Self {
                world: std::sync::Arc::new(std::sync::Mutex::new(copy)),
            };
            copy.crash(&SimRng::new(seed))
        }
    }
}
