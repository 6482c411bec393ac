//! The directory sink: objects as files below a root. Takes chunks, writes them to a hidden
//! temporary file as they come, and moves it into place once complete, only where nothing is there
//! (invariant I6); an object that is there already is compared byte by byte.
//!
//! Input and output block, so they run on a pool that is handed in. A failing disk is tried again
//! without an end, but for a failed sync of a folder, which ends this sink's work. Metadata and content encoding are not kept: the file is the content.

mod file;

mod path;

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{self, Offload};
use hydrant_core::rng::Rng;
use hydrant_core::stage::{Completed, ObjectId, ObjectMeta, ObjectSink, ObjectUpload, SinkError};
use hydrant_core::{BoxFuture, Digest};
use tracing::info;

use self::file::{Published, SyncedDirs, Trouble};
use self::path::path_of;
use crate::key::KeyRules;
use hydrant_core::retry::{Class, Fault, Retry, Status};

/// Chunks are gathered up to this before they are written: a hand-over to the pool costs about as
/// much as writing a few KiB.
const GATHER_BYTES: usize = 256 << 10;

/// Objects as files below a root.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    root: PathBuf,
    rules: KeyRules,
    io: Arc<dyn Offload>,
    retry: Retry,
    serial: AtomicU64,
    synced: SyncedDirs,
    /// Temporary files of uploads that were dropped; removed when the next object starts.
    orphans: Mutex<Vec<PathBuf>>,
}

impl Directory {
    /// A sink below `root`; `io` is where blocking calls run.
    pub fn new(
        root: impl Into<PathBuf>,
        rules: KeyRules,
        io: Arc<dyn Offload>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        Self(Arc::new(Inner {
            root: root.into(),
            rules,
            io,
            retry: Retry::new(clock, rng),
            serial: AtomicU64::new(0),
            synced: SyncedDirs::default(),
            orphans: Mutex::default(),
        }))
    }

    /// Creates the root, proves that it can be written to, and removes what a crash left behind.
    /// Returns how many leftovers that were. Safe while other writers use the same root.
    ///
    /// # Errors
    /// Where the file system does not let it; tried once.
    pub async fn prepare(&self) -> Result<u64, SinkError> {
        let (inner, serial) = (self.0.clone(), self.next_serial());
        let done = offload::run(self.0.io.clone(), move || {
            let removed = file::remove_leftovers(&inner.root)?;
            let (temp, file) = file::create_temp(&inner.root, serial, &inner.synced)?;
            file.sync_all()?;
            file::remove(&temp)?;
            Ok::<u64, io::Error>(removed)
        });
        let removed = done.await.map_err(unavailable)?.map_err(|error| {
            let text = format!("{} cannot be written to: {error}", self.0.root.display());
            unavailable(io::Error::new(error.kind(), text))
        })?;
        if removed > 0 {
            info!(root = %self.0.root.display(), removed, "temporary files of an earlier run were removed");
        }
        Ok(removed)
    }

    /// Tries everything that delivering does, with a file named after `name`, and removes it, and
    /// the root too where it was not there before.
    ///
    /// # Errors
    /// The step that did not pass, and why.
    pub async fn check(&self, name: &str) -> Result<(), String> {
        let (inner, serial) = (self.0.clone(), self.next_serial());
        let target = inner.root.join(format!(".hydrant-check-{name}"));
        let done = offload::run(self.0.io.clone(), move || {
            file::check(&inner.root, &target, serial, &inner.synced)
        });
        done.await.map_err(|lost| lost.to_string())?
    }

    /// The counters of this sink.
    pub fn status(&self) -> Status {
        self.0.retry.status().clone()
    }

    fn next_serial(&self) -> u64 {
        self.0.serial.fetch_add(1, Ordering::Relaxed)
    }
}

impl ObjectSink for Directory {
    fn digest(&self) -> Digest {
        let rules = self.0.rules.digest();
        Digest::of_parts(&[
            b"directory",
            self.0.root.as_os_str().as_bytes(),
            rules.as_bytes(),
        ])
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        self.0.rules.key(id)
    }

    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        let target = path_of(&self.0.root, &meta.key);
        let (sink, serial) = (self.clone(), self.next_serial());
        Box::new(FileUpload {
            sink,
            serial,
            target,
            temp: None,
            offset: 0,
            pending: Vec::new(),
            pending_bytes: 0,
        })
    }
}

struct FileUpload {
    sink: Directory,
    serial: u64,
    target: PathBuf,
    temp: Option<Temp>,
    /// Bytes that are in the temporary file.
    offset: u64,
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

/// A temporary file. Dropped before it was moved into place, it is handed to the orphans.
struct Temp {
    inner: Arc<Inner>,
    path: PathBuf,
    file: Arc<File>,
    done: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.done {
            self.inner.orphans().push(std::mem::take(&mut self.path));
        }
    }
}

impl Inner {
    fn orphans(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a blocking step on the pool until it passes, or fails in a way that trying again does
    /// not mend. Dropping it cancels between attempts; a step that has begun runs to its end.
    async fn until_done<T: Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        place: &Path,
        step: impl Fn() -> Result<T, Trouble> + Clone + Send + 'static,
    ) -> Result<T, SinkError> {
        let mut attempts = self.retry.attempts();
        loop {
            self.retry.status().attempt();
            let step = step.clone();
            let error = match offload::run(self.io.clone(), step).await {
                Err(lost) => return Err(unavailable(lost)),
                Ok(Ok(done)) => {
                    attempts.succeeded();
                    return Ok(done);
                }
                Ok(Err(Trouble::Lost(error))) => return Err(unavailable(error)),
                Ok(Err(Trouble::Broken(text))) => return Err(SinkError::Broken(text)),
                Ok(Err(Trouble::Io(error))) => error,
            };
            let text = format!("{what}: {error}");
            let fault = Fault {
                class: Class::Transient,
                after: None,
                text,
            };
            let place = place.display().to_string();
            attempts.pause(what, &place, &fault).await;
        }
    }
}

impl FileUpload {
    /// The temporary file, created where there is none yet.
    async fn temp(&mut self) -> Result<&Temp, SinkError> {
        if self.temp.is_none() {
            let inner = self.sink.0.clone();
            let (worker, serial) = (inner.clone(), self.serial);
            let (path, file) = inner
                .until_done("creating a temporary file", &inner.root, move || {
                    let orphans = std::mem::take(&mut *worker.orphans());
                    for orphan in orphans {
                        file::remove(&orphan)?;
                    }
                    Ok(file::create_temp(&worker.root, serial, &worker.synced)?)
                })
                .await?;
            self.temp = Some(Temp {
                inner,
                path,
                file: Arc::new(file),
                done: false,
            });
        }
        Ok(self.temp.as_ref().expect("created just now"))
    }

    /// Writes what is gathered. Cancelled, it keeps it, and writes the same bytes again.
    async fn flush(&mut self) -> Result<(), SinkError> {
        let (offset, chunks) = (self.offset, Arc::new(self.pending.clone()));
        let inner = self.sink.0.clone();
        let target = self.target.clone();
        let file = self.temp().await?.file.clone();
        inner
            .until_done("writing", &target, move || {
                Ok(file::write_chunks(&file, offset, &chunks)?)
            })
            .await?;
        self.offset += self.pending_bytes as u64;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    async fn publish(mut self) -> Result<Completed, SinkError> {
        let inner = self.sink.0.clone();
        // Before the disk is asked for more: its syncs are not believed any more.
        if let Err(Trouble::Broken(text)) = inner.synced.check() {
            return Err(SinkError::Broken(text));
        }
        self.flush().await?;
        let (worker, target) = (inner.clone(), self.target.clone());
        let temp = self.temp().await?;
        let (path, file) = (temp.path.clone(), temp.file.clone());
        let publish = move || file::publish(&worker.root, &path, &file, &target, &worker.synced);
        let found = inner
            .until_done("moving into place", &self.target, publish)
            .await?;
        if let (Published::Written, Some(temp)) = (found, &mut self.temp) {
            temp.done = true;
        } else {
            self.discard().await;
        }
        match found {
            Published::Written => Ok(Completed::Written),
            Published::Same => Ok(Completed::AlreadyThere),
            Published::Different => Err(SinkError::Mismatch {
                place: self.target.display().to_string(),
            }),
        }
    }

    /// Removes the temporary file; left to the orphans where that fails.
    async fn discard(&mut self) {
        if let Some(mut temp) = self.temp.take() {
            let path = temp.path.clone();
            let removed = offload::run(temp.inner.io.clone(), move || file::remove(&path)).await;
            temp.done = matches!(removed, Ok(Ok(())));
        }
    }
}

impl ObjectUpload for FileUpload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.pending_bytes += chunk.len();
            self.pending.push(chunk);
            if self.pending_bytes < GATHER_BYTES {
                Ok(())
            } else {
                self.flush().await
            }
        })
    }

    fn held_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        Box::pin(self.publish())
    }

    fn abort(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.discard().await })
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> SinkError {
    SinkError::Unavailable(Box::new(error))
}
