//! The real disk: the one file of this crate that names the file system.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hydrant_core::disk::{Abort, Disk, DiskFile, Space};
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, pread};

use crate::segment::LOCK_NAME;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// Ends the process at once, without unwinding or flushing anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessAbort;

impl Abort for ProcessAbort {
    fn abort(&self, reason: &str) {
        // Nothing can be done where stderr is closed; the process ends all the same.
        drop(writeln!(
            io::stderr(),
            "hydrant: {reason}; ending at once, restart to recover"
        ));
        std::process::abort()
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|path| named(path) && !path.exists())
            .collect();
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_directory(parent(path))?,
            }
        }
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // No file of ours has a name that is not UTF-8.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path, allocate_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        if allocate_bytes > 0
            && let Err(error) = allocate(&file, allocate_bytes)
        {
            fs::remove_file(path)?;
            return Err(error);
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(
            OpenOptions::new().read(true).write(true).open(path)?,
        )))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_directory(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space {
            total: stat.f_blocks * stat.f_frsize,
            available: stat.f_bavail * stat.f_frsize,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// Whether a process, this one included, has the log of a directory open.
pub fn in_use(dir: &Path) -> bool {
    let path = dir.join(LOCK_NAME);
    let taken = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    // Where there is no lock there is no log, and none is to be made.
    path.is_file() && RealDisk.lock(&path).is_err_and(taken)
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        // Not zeroed first: the allocator would give the pages back and fault them in again.
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match pread(&self.0, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // More than was asked for may have fitted.
        bytes.truncate(len);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Allocates a file's blocks, so that a full disk shows now and not at a sync. A file system that
/// cannot (some network and overlay ones) gets zeros written.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < bytes {
                let step = zeros
                    .len()
                    .min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
                file.write_all_at(&zeros[..step], at)?;
                at += step as u64;
            }
            Ok(())
        }
        allocated => Ok(allocated?),
    }
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// The directory that holds `path`, which for a bare name is the current one.
fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| named(parent))
        .unwrap_or(Path::new("."))
}
