//! The log itself: append, read, wait, release.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hydrant_core::{Records, offload};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::env::{Content, Env, LogOptions};
use crate::error::Error;
use crate::frame::{self, FOOTER_BYTES};
use crate::mend;
use crate::queue::{Answer, Queue, bytes_of};
use crate::repair::Repair;
use crate::segment::{LOCK_NAME, SEGMENT_HEADER_BYTES};
use crate::site::{Site, Spare, failed};
use crate::view::{Cache, Piece, View};
use crate::writer::Writer;

/// A durable log of one stream, all its lanes in it. Clones share it.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
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
    /// The arrival that all of them were stamped with, milliseconds since the epoch. Arrivals
    /// never fall.
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

/// What the clones of a log share. Locks are taken in the order of the fields and never two of
/// `queue`, `view` and `spares` at once.
pub(crate) struct Inner {
    pub(crate) site: Site,
    pub(crate) id: [u8; 16],
    /// Room for what waits.
    room: Arc<Semaphore>,
    pub(crate) releasing: Mutex<()>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) view: Mutex<View>,
    pub(crate) spares: Mutex<Vec<Spare>>,
    pub(crate) measured: Mutex<Option<Duration>>,
    pub(crate) leader_wanted: Notify,
    pub(crate) published: Published,
    pub(crate) low: AtomicBool,
    pub(crate) failed: AtomicBool,
    repaired: Repair,
    _directory: Box<dyn Any + Send + Sync>,
}

/// Who waits for records, by lane: a busy lane wakes nobody who waits for another. As many as
/// there are lanes.
#[derive(Default)]
pub(crate) struct Published(Mutex<BTreeMap<u32, Arc<Notify>>>);

impl Published {
    fn of(&self, lane: u32) -> Arc<Notify> {
        lock(&self.0).entry(lane).or_default().clone()
    }

    /// Wakes who waits for these lanes.
    pub(crate) fn wake(&self, lanes: impl Iterator<Item = u32>) {
        let waiting = lock(&self.0);
        for lane in lanes {
            if let Some(lane) = waiting.get(&lane) {
                lane.notify_waiters();
            }
        }
    }
}

/// Locks, also after a panic elsewhere: what is behind our locks is never left half changed by
/// code that can panic, and a flush that does fails the log.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Opens the log of a directory, or makes one there with the id `new_id`. Blocks.
    ///
    /// # Errors
    /// `Locked`; `Corrupt` where acknowledged data is damaged or missing, and may not be given up;
    /// `Version`; `LowSpace`; `Io`.
    pub fn open(
        env: Env,
        dir: &Path,
        new_id: [u8; 16],
        options: LogOptions,
    ) -> Result<Self, Error> {
        env.disk
            .create_dir_all(dir)
            .map_err(|e| failed("creating", dir, e))?;
        let lock_path = dir.join(LOCK_NAME);
        let directory = env
            .disk
            .lock(&lock_path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => Error::Locked {
                    dir: dir.to_owned(),
                },
                _ => failed("locking", &lock_path, error),
            })?;
        let site = Site {
            env,
            dir: dir.to_owned(),
            options,
        };
        let (found, repaired) = mend::recover(&site, new_id)?;
        let writer = Writer {
            active: found.active,
            next_lsn: found.end_lsn,
            last_arrival_ms: found.last_arrival_ms,
            buffers: Vec::new(),
        };
        let view = View {
            segments: found.segments,
            end_lsn: found.end_lsn,
            lane_ends: found.lane_ends,
            cache: Cache::new(site.options.cache_bytes),
        };
        let room = site
            .options
            .max_queued_bytes
            .clamp(1, Semaphore::MAX_PERMITS);
        let inner = Inner {
            site,
            id: found.id,
            room: Arc::new(Semaphore::new(room)),
            releasing: Mutex::default(),
            writer: Mutex::new(writer),
            queue: Mutex::default(),
            view: Mutex::new(view),
            spares: Mutex::new(found.spares),
            measured: Mutex::default(),
            leader_wanted: Notify::new(),
            published: Published::default(),
            low: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            repaired,
            _directory: directory,
        };
        inner.measure_space();
        let log = Self {
            inner: Arc::new(inner),
        };
        log.seal()?;
        Ok(log)
    }

    /// Puts an empty segment behind what there is, on this thread: it says that all of that is
    /// durable, so that damage to the last frame is not taken for a torn tail. Where the disk is
    /// full that has to wait for the next write.
    pub(crate) fn seal(&self) -> Result<(), Error> {
        match self.append_blocking(Vec::new(), true) {
            Ok(_) | Err(Error::LowSpace) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The identity that the log was made with.
    pub fn id(&self) -> [u8; 16] {
        self.inner.id
    }

    /// Appends all entries in one group commit; completes only after the sync that covers them.
    /// Waits while the queue is full. A dropped future leaves the entries either wholly appended
    /// or not at all.
    ///
    /// # Errors
    /// `LowSpace`, `TooLarge`, `Failed`, `Io`: nothing was acknowledged.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Appended>, Error> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = bytes_of(&entries);
        let taken = (SEGMENT_HEADER_BYTES + FOOTER_BYTES) as u64;
        let limit = self
            .inner
            .site
            .options
            .max_segment_bytes
            .saturating_sub(taken);
        if self.inner.site.options.content == Content::Data {
            if bytes as u64 > limit {
                return Err(Error::TooLarge {
                    bytes: bytes as u64,
                    limit,
                });
            }
            self.inner.admit().await?;
        }
        self.append_built(bytes, false, || Ok::<_, Error>(entries))
            .await
    }

    /// Appends what `build` makes while the queue is locked, so that it knows its place in the
    /// order of all appends; about `bytes` of it. With `roll` it begins a new segment.
    pub(crate) async fn append_built<E: From<Error>>(
        &self,
        bytes: usize,
        roll: bool,
        build: impl FnOnce() -> Result<Vec<Entry>, E>,
    ) -> Result<Vec<Appended>, E> {
        let permit = self.room_for(bytes).await?;
        let answer = self.inner.enqueue(Some(permit), roll, build)?;
        Ok(self.inner.answered(answer).await?)
    }

    /// Appends on this thread, before the log is shared: there is nobody else to flush.
    pub(crate) fn append_blocking(&self, entries: Vec<Entry>, roll: bool) -> Answer {
        let mut answer = self.inner.enqueue(None, roll, || Ok::<_, Error>(entries))?;
        if let Some(flush) = self.inner.lead() {
            flush();
        }
        answer.try_recv().unwrap_or(Err(Error::Failed))
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let most = self
            .inner
            .site
            .options
            .max_queued_bytes
            .clamp(1, Semaphore::MAX_PERMITS);
        let bytes = u32::try_from(bytes.clamp(1, most)).unwrap_or(u32::MAX);
        self.inner
            .room
            .clone()
            .acquire_many_owned(bytes)
            .await
            .map_err(|_| Error::Failed)
    }

    /// Reads blocks of a lane from the first record with an LSN of at least `from_lsn` on: about
    /// `max_bytes` of them, at least one where there is one. Blocks.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where a frame no longer matches its checksum.
    pub fn read(&self, lane: u32, from_lsn: u64, max_bytes: usize) -> Result<Vec<Stored>, Error> {
        loop {
            let pieces = lock(&self.inner.view).plan(lane, from_lsn, max_bytes);
            let blocks: Result<Vec<Option<Stored>>, Error> = pieces
                .into_iter()
                .map(|piece| self.fetch(piece, from_lsn))
                .collect();
            if let Some(blocks) = blocks?.into_iter().collect() {
                return Ok(blocks);
            }
            // A segment was released and used again meanwhile: what is left is looked up anew.
        }
    }

    /// One block, `None` where its segment was released meanwhile.
    fn fetch(&self, piece: Piece, from_lsn: u64) -> Result<Option<Stored>, Error> {
        let frame = piece.frame;
        let (bytes, trusted) = match piece.cached {
            Some(cached) if cached.small => (Bytes::copy_from_slice(&cached.bytes), true),
            Some(cached) => (cached.bytes, true),
            None => {
                let read = piece
                    .file
                    .read_at(u64::from(frame.offset), frame.len as usize);
                (
                    read.map_err(|e| failed("reading", &piece.path, e))?.into(),
                    false,
                )
            }
        };
        let header = frame::header(piece.seed, &bytes).filter(|header| {
            let same = header.lsn == frame.first_lsn && header.lane == piece.lane;
            same && (trusted || frame::verifies(piece.seed, &bytes))
        });
        let read = header.and_then(|header| frame::records(header, &bytes));
        if let Some((arrival_ms, records)) = read {
            let skip = from_lsn.saturating_sub(frame.first_lsn);
            let from = usize::try_from(skip)
                .unwrap_or(usize::MAX)
                .min(records.len());
            let records = records.slice(from, records.len());
            let first_lsn = frame.first_lsn + from as u64;
            return Ok(Some(Stored {
                first_lsn,
                arrival_ms,
                records,
            }));
        }
        let kept = lock(&self.inner.view)
            .segments
            .iter()
            .any(|s| s.number == piece.number);
        if !kept {
            return Ok(None);
        }
        Err(Error::Corrupt {
            file: piece.path.to_path_buf(),
            offset: u64::from(frame.offset),
            lsn: frame.first_lsn,
            what: "a frame does not match its checksum",
        })
    }

    /// Every record below this LSN is synced (and readable unless released).
    pub fn end_lsn(&self) -> u64 {
        lock(&self.inner.view).end_lsn
    }

    /// One past the last readable LSN of a lane; 0 where it has no record here.
    pub fn lane_end(&self, lane: u32) -> u64 {
        lock(&self.inner.view).lane_end(lane)
    }

    /// The oldest record that is kept (`end_lsn` where none is).
    pub fn oldest_lsn(&self) -> u64 {
        lock(&self.inner.view).oldest_lsn()
    }

    /// Completes once a record of the lane with an LSN of at least `from_lsn` is readable. Cancel
    /// safe.
    pub async fn wait(&self, lane: u32, from_lsn: u64) {
        loop {
            let lane_published = self.inner.published.of(lane);
            let mut published = pin!(lane_published.notified());
            published.as_mut().enable();
            if self.lane_end(lane) > from_lsn {
                return;
            }
            published.await;
        }
    }

    /// The first readable record of the lane that arrived at `arrival_ms` or later.
    pub fn first_lsn_at(&self, lane: u32, arrival_ms: u64) -> Option<u64> {
        lock(&self.inner.view).first_lsn_at(lane, arrival_ms)
    }

    /// When the newest record that is kept arrived, milliseconds since the epoch; 0 where none is.
    pub fn newest_arrival_ms(&self) -> u64 {
        lock(&self.inner.view).newest_arrival_ms()
    }

    /// Frees the sealed segments whose every record has an LSN below `below_lsn` and arrived
    /// before `before_ms`, oldest first; gives the bytes freed. When dropped midway it goes on by
    /// itself.
    ///
    /// # Errors
    /// `Io`, `Failed`.
    pub async fn release(&self, below_lsn: u64, before_ms: u64) -> Result<u64, Error> {
        if !lock(&self.inner.view).oldest_is_spent(below_lsn, before_ms) {
            return Ok(0);
        }
        let inner = self.inner.clone();
        let io = self.inner.site.env.io.clone();
        let released = offload::run(io, move || inner.release(below_lsn, before_ms)).await;
        released.unwrap_or(Err(Error::Failed))
    }

    /// The same on this thread.
    pub(crate) fn release_blocking(&self, below_lsn: u64) -> Result<u64, Error> {
        self.inner.release(below_lsn, u64::MAX)
    }

    /// Whether appends of data are refused for lack of space.
    pub fn low_space(&self) -> bool {
        self.inner.low_space()
    }

    /// Whether a write or sync failed, so that nothing is acknowledged any more.
    pub fn has_failed(&self) -> bool {
        self.inner.failed.load(Ordering::Acquire)
    }

    /// What was put aside and given up when it was opened; nothing, nearly always.
    pub fn repaired(&self) -> &Repair {
        &self.inner.repaired
    }

    /// Bytes of all segments, spare ones too.
    pub fn bytes_on_disk(&self) -> u64 {
        let segments: u64 = lock(&self.inner.view)
            .segments
            .iter()
            .map(|segment| segment.allocated_bytes)
            .sum();
        segments
            + lock(&self.inner.spares)
                .iter()
                .map(|spare| spare.bytes)
                .sum::<u64>()
    }
}
