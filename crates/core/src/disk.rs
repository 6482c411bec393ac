//! The file system as the log sees it, so that it runs on a simulated disk that loses and tears
//! what was not synced. Calls block; the log makes them on its own I/O threads.

use std::any::Any;
use std::io;
use std::path::Path;

/// Room on the file system that holds a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an unprivileged writer may still use.
    pub available: u64,
}

/// A file system. Directory entries (created, renamed, removed files) are durable only after
/// [`Disk::sync_dir`]; contents only after [`DiskFile::sync`].
pub trait Disk: Send + Sync {
    /// Creates a directory and its parents, durably. Not an error where it exists.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names of the entries of a directory, sorted. A missing directory has none.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist and allocates its blocks, reading as zeros.
    ///
    /// # Errors
    /// `AlreadyExists`; `StorageFull`, with no file left behind; else as the system says.
    fn create(&self, path: &Path, allocate_bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, replacing what stood there.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries durable.
    ///
    /// # Errors
    /// As the operating system says; the caller must then abort.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Room on the file system that holds `dir`.
    ///
    /// # Errors
    /// As the operating system says.
    fn space(&self, dir: &Path) -> io::Result<Space>;

    /// Takes an exclusive lock on a file (created where missing) until the answer is dropped.
    ///
    /// # Errors
    /// `WouldBlock` where another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`; not durable before [`DiskFile::sync`].
    ///
    /// # Errors
    /// As the operating system says. What was written is then unknown.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `len` bytes at `offset`; shorter only at the end of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Makes what was written durable (fdatasync; the length too).
    ///
    /// # Errors
    /// As the operating system says. Never retry: after a failed sync the kernel marks pages clean
    /// and may drop them. Abort the process instead.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is 0.
    ///
    /// # Errors
    /// As the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// What to do when durability can no longer be promised. The real one writes one line to stderr
/// and aborts the process; the simulated one takes note and returns, and the caller then never
/// acknowledges anything again.
pub trait Abort: Send + Sync {
    /// Ends the process because of `reason`.
    fn abort(&self, reason: &str);
}
