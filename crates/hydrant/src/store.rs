//! Files kept by digest below `data_dir`: the settings of every version that an intent may name,
//! and the modules of their transforms. Written once, durably, before the first range that uses
//! them; never changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_core::Digest;
use hydrant_core::disk::Disk;

/// Largest file that is read back: a module (32 MiB) with room.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The files of one kind, in a directory of their own.
pub(crate) struct DigestStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl DigestStore {
    /// The store in this directory, which is made where missing. Blocking.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Self> {
        disk.create_dir_all(dir)?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
        })
    }

    /// Keeps `bytes`; durable when it returns. Blocking.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        if self.get(digest).is_ok() {
            // A crash may have come between its name and the directory's sync.
            self.disk.sync_dir(&self.dir)?;
            return Ok(digest);
        }
        let temporary = self.dir.join(format!(".{digest}.new"));
        match self.disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What a crash left behind, or nothing.
            _ => {}
        }
        let file = self.disk.create(&temporary, 0)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        self.disk.rename(&temporary, &self.path(digest))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(digest)
    }

    /// What was kept under this digest. Blocking.
    ///
    /// # Errors
    /// `NotFound`; `InvalidData` where the file is not what it was; as the file system says.
    pub(crate) fn get(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let file = self.disk.open(&self.path(digest))?;
        let len = file.len()?.min(MAX_FILE_BYTES);
        let bytes = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX))?;
        if Digest::of(&bytes) != digest {
            let text = format!("{} is damaged", self.path(digest).display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(digest.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Arc;

    use hydrant_core::Digest;
    use hydrant_log::disk::RealDisk;

    use super::DigestStore;

    #[test]
    fn what_was_kept_comes_back_and_damage_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let store =
            DigestStore::open(Arc::new(RealDisk), &dir.path().join("deep/er")).expect("made");
        let digest = store.put(b"module").expect("kept");
        assert_eq!(store.put(b"module").expect("kept already"), digest);
        assert_eq!(store.get(digest).expect("there"), b"module");
        assert_eq!(
            store.get(Digest::of(b"other")).expect_err("missing").kind(),
            ErrorKind::NotFound
        );
        let disk: Arc<dyn hydrant_core::disk::Disk> = Arc::new(RealDisk);
        disk.open(&store.path(digest))
            .expect("there")
            .write_at(0, b"M")
            .expect("written");
        assert_eq!(
            store.get(digest).expect_err("damaged").kind(),
            ErrorKind::InvalidData
        );
        // Damage is repaired by keeping it again.
        assert_eq!(store.put(b"module").expect("kept"), digest);
        assert_eq!(store.get(digest).expect("whole"), b"module");
    }
}
