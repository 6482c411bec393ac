//! The streams of this machine: made, found, deleted, and found again after a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hydrant_core::offload::{self, Offload};
use hydrant_core::rng::Rng;

use super::catalogue::{Catalogue, Life, READERS, STREAMS, ShardEntry, StreamEntry};
use super::error::StreamError;
use super::hash::HashRange;
use super::put::{DEFAULT_MAX_RECORD_BYTES, LARGEST_MAX_RECORD_BYTES};
use super::retention::Reader;
use super::shard::{Shard, ShardId};
use crate::env::{Env, LogOptions};
use crate::log::Log;
use crate::repair::Repair;

/// Most shards of a stream: each costs a little memory and a lane of every reader.
pub const MAX_SHARDS: u32 = 1000;

/// Longest name of a stream.
pub const MAX_NAME_BYTES: usize = 128;

/// What can be chosen about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Number of shards, 1 to [`MAX_SHARDS`].
    pub shards: u32,
    /// How long records are kept at least.
    pub retention: Duration,
    /// Most bytes of a record with its key, 1 to 10 MiB.
    pub max_record_bytes: usize,
    /// Whether it was asked for as an on-demand stream. Changes nothing but what is answered.
    pub on_demand: bool,
}

impl Default for StreamOptions {
    /// One shard, 24 hours, 1 MiB, as Kinesis.
    fn default() -> Self {
        Self {
            shards: 1,
            retention: Duration::from_hours(24),
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            on_demand: false,
        }
    }
}

/// All streams of a machine.
pub struct Streams {
    env: Env,
    dir: PathBuf,
    catalogue: Arc<dyn Catalogue>,
    rng: Arc<dyn Rng>,
    options: LogOptions,
    by_name: Mutex<BTreeMap<String, Arc<Stream>>>,
    /// Held while a stream is made, changed or deleted.
    changing: tokio::sync::Mutex<()>,
}

impl Streams {
    /// Opens all streams that the catalogue names, each in a directory below `dir`, and finishes
    /// deletions that were cut short.
    ///
    /// # Errors
    /// What a log or the catalogue says; `Catalogue` for an entry that cannot be read.
    pub async fn open(
        env: Env,
        dir: &Path,
        catalogue: Arc<dyn Catalogue>,
        rng: Arc<dyn Rng>,
        options: LogOptions,
    ) -> Result<Self, StreamError> {
        let all = Self {
            env,
            dir: dir.to_owned(),
            catalogue,
            rng,
            options,
            by_name: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        for (name, bytes) in all.catalogue.entries(STREAMS) {
            let entry = StreamEntry::from_bytes(&name, &bytes)?;
            match entry.life {
                Life::Deleted => {}
                Life::Deleting => all.remove_files(&name, entry).await?,
                Life::Active => {
                    let stream = all.open_stream(&name, &entry).await?;
                    all.map().insert(name, stream);
                }
            }
        }
        Ok(all)
    }

    /// The stream of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.map().get(name).cloned()
    }

    /// All streams, by name.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.map().values().cloned().collect()
    }

    /// Makes a stream; durable when it returns.
    ///
    /// # Errors
    /// `Exists`; `Invalid` for a name or option outside its limits; what the log says.
    pub async fn create(
        &self,
        name: &str,
        options: StreamOptions,
    ) -> Result<Arc<Stream>, StreamError> {
        check_name(name)?;
        check_options(name, &options)?;
        let _changing = self.changing.lock().await;
        self.create_locked(name, options).await
    }

    /// The stream of this name as configured: made where it is missing, its retention and record
    /// limit changed where they differ.
    ///
    /// # Errors
    /// `Invalid` where it has another number of shards; else as [`Streams::create`].
    pub async fn ensure(
        &self,
        name: &str,
        options: StreamOptions,
    ) -> Result<Arc<Stream>, StreamError> {
        check_name(name)?;
        check_options(name, &options)?;
        let _changing = self.changing.lock().await;
        let Some(stream) = self.get(name) else {
            return self.create_locked(name, options).await;
        };
        let open = stream
            .shards()
            .iter()
            .filter(|shard| shard.closed_s.is_none())
            .count();
        if open != options.shards as usize {
            return Err(StreamError::Invalid(format!(
                "stream {name} has {open} shards, not {}: their number is fixed once it is made",
                options.shards
            )));
        }
        let retention_ms = millis(options.retention);
        if retention_ms != stream.retention_ms()
            || options.max_record_bytes != stream.max_record_bytes()
        {
            let mut entry = stream.entry(Life::Active);
            entry.retention_ms = retention_ms;
            entry.max_record_bytes = options.max_record_bytes as u64;
            self.catalogue
                .put_entry(STREAMS, name, entry.to_bytes())
                .await?;
            stream.retention_ms.store(retention_ms, Ordering::Relaxed);
            stream
                .max_record_bytes
                .store(options.max_record_bytes as u64, Ordering::Relaxed);
        }
        Ok(stream)
    }

    /// Deletes a stream with all its records; what still holds it gets `NotFound` from the start,
    /// also where this is dropped midway. Where its entry cannot be written the stream comes back.
    ///
    /// # Errors
    /// `NotFound`; what the catalogue or the disk says.
    pub async fn delete(&self, name: &str) -> Result<(), StreamError> {
        let _changing = self.changing.lock().await;
        let missing = || StreamError::NotFound {
            name: name.to_owned(),
        };
        let stream = self.get(name).ok_or_else(missing)?;
        let entry = stream.entry(Life::Deleting);
        // First in memory: the entry may count from the moment it is handed over, and what is
        // acknowledged after that would be lost.
        stream.deleted.store(true, Ordering::Release);
        self.map().remove(name);
        let noted = self.catalogue.put_entry(STREAMS, name, entry.to_bytes());
        if let Err(error) = noted.await {
            // Whatever was written of it: only an entry written behind it makes the stream safe.
            let active = stream.entry(Life::Active).to_bytes();
            if self
                .catalogue
                .put_entry(STREAMS, name, active)
                .await
                .is_ok()
            {
                stream.deleted.store(false, Ordering::Release);
                self.map().insert(name.to_owned(), stream);
            }
            return Err(error.into());
        }
        self.remove_files(name, entry).await
    }

    /// Adds a configured reader: nothing that it has not committed is freed from now on, over
    /// restarts too.
    ///
    /// # Errors
    /// `NotFound`; what the catalogue says.
    pub async fn add_reader(&self, name: &str, reader: &str) -> Result<(), StreamError> {
        let _changing = self.changing.lock().await;
        let missing = || StreamError::NotFound {
            name: name.to_owned(),
        };
        let stream = self.get(name).ok_or_else(missing)?;
        if stream.reader_since(reader).is_none() {
            // First in memory: from here on nothing more is freed.
            let since_lsn = {
                let mut readers = stream.readers();
                let entry = readers.entry(reader.to_owned()).or_default();
                entry.since_lsn = stream.oldest_lsn();
                entry.since_lsn
            };
            let key = reader_key(&stream.dir, reader);
            let value = since_lsn.to_le_bytes().to_vec().into();
            self.catalogue.put_entry(READERS, &key, value).await?;
        }
        Ok(())
    }

    /// Removes the readers of a stream that are not among `configured`: they hold nothing any
    /// more. Readers are remembered over restarts, so this is called once all are added.
    ///
    /// # Errors
    /// `NotFound`; what the catalogue says.
    pub async fn keep_readers(&self, name: &str, configured: &[&str]) -> Result<(), StreamError> {
        let _changing = self.changing.lock().await;
        let missing = || StreamError::NotFound {
            name: name.to_owned(),
        };
        let stream = self.get(name).ok_or_else(missing)?;
        let gone: Vec<String> = stream
            .readers()
            .keys()
            .filter(|reader| !configured.contains(&reader.as_str()))
            .cloned()
            .collect();
        for reader in gone {
            self.catalogue
                .remove_entry(READERS, &reader_key(&stream.dir, &reader))
                .await?;
            stream.readers().remove(&reader);
        }
        Ok(())
    }

    async fn create_locked(
        &self,
        name: &str,
        options: StreamOptions,
    ) -> Result<Arc<Stream>, StreamError> {
        if self.get(name).is_some() {
            return Err(StreamError::Exists {
                name: name.to_owned(),
            });
        }
        let now_ms = self.env.clock.wall_ms();
        let mut created_s = now_ms / 1000;
        // A deleted stream of this name: the new one must differ in its numbers.
        let earlier = self
            .catalogue
            .entries(STREAMS)
            .into_iter()
            .find(|(key, _)| key == name);
        if let Some((_, bytes)) = earlier {
            let last = StreamEntry::from_bytes(name, &bytes)?.created_s;
            created_s = created_s.max(last.saturating_add(1));
        }
        let shards = HashRange::split(options.shards)
            .into_iter()
            .zip(0..)
            .map(|(range, id)| Shard {
                id: ShardId(id),
                range,
                parent: None,
                adjacent_parent: None,
                created_s,
                closed_s: None,
            });
        let entry = StreamEntry {
            life: Life::Active,
            dir: format!("{name}-{created_s}"),
            created_ms: now_ms,
            created_s,
            retention_ms: millis(options.retention),
            max_record_bytes: options.max_record_bytes as u64,
            on_demand: options.on_demand,
            shards: shards.map(|shard| ShardEntry::from(&shard)).collect(),
        };
        // First the log, then the entry: what the catalogue names is always there.
        let stream = self.open_stream(name, &entry).await?;
        self.catalogue
            .put_entry(STREAMS, name, entry.to_bytes())
            .await?;
        self.map().insert(name.to_owned(), stream.clone());
        Ok(stream)
    }

    async fn open_stream(
        &self,
        name: &str,
        entry: &StreamEntry,
    ) -> Result<Arc<Stream>, StreamError> {
        let (env, dir, options) = (
            self.env.clone(),
            self.dir.join(&entry.dir),
            self.options.clone(),
        );
        let mut new_id = [0; 16];
        new_id[..8].copy_from_slice(&self.rng.next().to_le_bytes());
        new_id[8..].copy_from_slice(&self.rng.next().to_le_bytes());
        let open = move || Log::open(env, &dir, new_id, options);
        let log = offload::run(self.env.io.clone(), open).await??;
        let mut readers = BTreeMap::new();
        for (key, value) in self.catalogue.entries(READERS) {
            if let Some((dir, reader)) = key.split_once('/')
                && dir == entry.dir
                && let Ok(since) = <[u8; 8]>::try_from(&value[..])
            {
                let since_lsn = u64::from_le_bytes(since);
                readers.insert(
                    reader.to_owned(),
                    Reader {
                        since_lsn,
                        next: BTreeMap::new(),
                    },
                );
            }
        }
        let log_id = log
            .id()
            .iter()
            .take(8)
            .fold(0, |id, byte| id << 8 | u64::from(*byte));
        let identity = format!("{}-{log_id:016x}", entry.dir);
        Ok(Arc::new(Stream::new(
            name,
            entry,
            identity,
            log,
            self.env.io.clone(),
            readers,
        )))
    }

    /// Removes the files of a stream that is being deleted, and its readers. The directory stays.
    /// What is gone already was removed by an attempt that was cut short.
    async fn remove_files(&self, name: &str, mut entry: StreamEntry) -> Result<(), StreamError> {
        let (disk, dir) = (self.env.disk.clone(), self.dir.join(&entry.dir));
        let remove = move || -> Result<(), (PathBuf, io::Error)> {
            for file in disk.list(&dir).map_err(|error| (dir.clone(), error))? {
                let path = dir.join(file);
                unless_gone(disk.remove(&path)).map_err(|error| (path, error))?;
            }
            unless_gone(disk.sync_dir(&dir)).map_err(|error| (dir, error))
        };
        offload::run(self.env.io.clone(), remove)
            .await?
            .map_err(|(path, source)| crate::Error::Io {
                doing: "removing",
                path,
                source: Arc::new(source),
            })?;
        for (key, _) in self.catalogue.entries(READERS) {
            if key.split_once('/').is_some_and(|(dir, _)| dir == entry.dir) {
                self.catalogue.remove_entry(READERS, &key).await?;
            }
        }
        entry.life = Life::Deleted;
        entry.shards = Vec::new();
        Ok(self
            .catalogue
            .put_entry(STREAMS, name, entry.to_bytes())
            .await?)
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Stream>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An embedded stream.
pub struct Stream {
    name: String,
    identity: String,
    dir: String,
    created_ms: u64,
    created_s: u64,
    retention_ms: AtomicU64,
    max_record_bytes: AtomicU64,
    on_demand: bool,
    shards: Vec<Shard>,
    log: Log,
    io: Arc<dyn Offload>,
    readers: Mutex<BTreeMap<String, Reader>>,
    deleted: AtomicBool,
}

impl Stream {
    fn new(
        name: &str,
        entry: &StreamEntry,
        identity: String,
        log: Log,
        io: Arc<dyn Offload>,
        readers: BTreeMap<String, Reader>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            identity,
            dir: entry.dir.clone(),
            created_ms: entry.created_ms,
            created_s: entry.created_s,
            retention_ms: entry.retention_ms.into(),
            max_record_bytes: entry.max_record_bytes.into(),
            on_demand: entry.on_demand,
            shards: entry.shards.iter().cloned().map(Shard::from).collect(),
            log,
            io,
            readers: Mutex::new(readers),
            deleted: AtomicBool::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity: differs from that of every other stream, also one that had the same name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// When it was made, milliseconds since the epoch.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// How long records are kept at least, milliseconds.
    pub fn retention_ms(&self) -> u64 {
        self.retention_ms.load(Ordering::Relaxed)
    }

    /// Most bytes of a record with its key.
    pub fn max_record_bytes(&self) -> usize {
        usize::try_from(self.max_record_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether it was asked for as an on-demand stream.
    pub fn on_demand(&self) -> bool {
        self.on_demand
    }

    /// Its shards, by id, closed ones too.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of this id.
    ///
    /// # Errors
    /// `NoShard`.
    pub fn shard(&self, id: ShardId) -> Result<&Shard, StreamError> {
        let at = self.shards.binary_search_by_key(&id, |shard| shard.id);
        let missing = |_| StreamError::NoShard {
            name: self.name.clone(),
            shard: id,
        };
        Ok(&self.shards[at.map_err(missing)?])
    }

    /// The pool for blocking reads.
    pub fn io(&self) -> Arc<dyn Offload> {
        self.io.clone()
    }

    /// Whether puts are refused for lack of space.
    pub fn low_space(&self) -> bool {
        self.log.low_space()
    }

    /// What was put aside and given up when it was opened; nothing, nearly always.
    pub fn repaired(&self) -> &Repair {
        self.log.repaired()
    }

    /// Bytes of its files.
    pub fn bytes_on_disk(&self) -> u64 {
        self.log.bytes_on_disk()
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, BTreeMap<String, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_alive(&self) -> Result<(), StreamError> {
        if self.is_deleted() {
            return Err(StreamError::NotFound {
                name: self.name.clone(),
            });
        }
        Ok(())
    }

    fn entry(&self, life: Life) -> StreamEntry {
        StreamEntry {
            life,
            dir: self.dir.clone(),
            created_ms: self.created_ms,
            created_s: self.created_s,
            retention_ms: self.retention_ms(),
            max_record_bytes: self.max_record_bytes() as u64,
            on_demand: self.on_demand,
            shards: self.shards.iter().map(ShardEntry::from).collect(),
        }
    }
}

/// Checks the name of a stream: `[a-zA-Z0-9_.-]{1,128}`.
///
/// # Errors
/// `Invalid`.
pub fn check_name(name: &str) -> Result<(), StreamError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(allowed) {
        return Err(StreamError::Invalid(format!(
            "`{}` is no name of a stream: use 1 to {MAX_NAME_BYTES} letters, digits, `_`, `.` or `-`",
            name.chars()
                .take(MAX_NAME_BYTES)
                .collect::<String>()
                .escape_debug()
        )));
    }
    Ok(())
}

fn check_options(name: &str, options: &StreamOptions) -> Result<(), StreamError> {
    let StreamOptions {
        shards,
        max_record_bytes,
        ..
    } = options;
    if !(1..=MAX_SHARDS).contains(shards) {
        return Err(StreamError::Invalid(format!(
            "stream {name} has {shards} shards, limit 1 to {MAX_SHARDS}"
        )));
    }
    if !(1..=LARGEST_MAX_RECORD_BYTES).contains(max_record_bytes) {
        return Err(StreamError::Invalid(format!(
            "stream {name} has records of {max_record_bytes} bytes, limit 1 to {LARGEST_MAX_RECORD_BYTES}"
        )));
    }
    Ok(())
}

/// Removing what is not there is done.
fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn reader_key(dir: &str, reader: &str) -> String {
    format!("{dir}/{reader}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
