//! A disk on which the process dies at named moments.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hydrant_core::disk::{Disk, DiskFile, Space};
use hydrant_pipeline::lane::Hooks as _;

use super::kill::KillAt;

pub(super) struct Crashing<T> {
    inner: T,
    kill: Arc<KillAt>,
}

impl<T> Crashing<T> {
    pub(super) fn new(inner: T, kill: KillAt) -> Self {
        let kill = Arc::new(kill);
        Self { inner, kill }
    }

    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let (inner, kill) = (file?, self.kill.clone());
        Ok(Box::new(Crashing { inner, kill }))
    }
}

impl<T: Disk> Disk for Crashing<T> {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create(&self, path: &Path, allocate_bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.inner.create(path, allocate_bytes))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.inner.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)?;
        self.kill.reached("disk-after-rename");
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock(path)
    }
}

impl DiskFile for Crashing<Box<dyn DiskFile>> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        self.inner.write_at(offset, half)?;
        self.kill.reached("disk-torn-write");
        self.inner.write_at(offset + half.len() as u64, rest)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.kill.reached("disk-before-sync");
        self.inner.sync()?;
        self.kill.reached("disk-after-sync");
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
