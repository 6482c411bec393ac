//! The state store of a machine: positions and intents of all lanes, and small entries such as the
//! catalogue of embedded streams, on a log of its own.
//!
//! The last record of a key counts; all keys share the log's group commit. A snapshot of what
//! lives goes into a fresh segment at the start, and again once the log exceeds four times that;
//! then the segments before it go.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hydrant_core::state::{INTENT_MAX_BYTES, LaneState, LaneStore, StateError, StateStore};
use hydrant_core::{BoxFuture, LaneKey, planted};

use crate::env::{Content, Env, LogOptions};
use crate::error::Error;
use crate::log::{Entry, Log, lock};
use crate::queue::bytes_of;

mod codec;

mod table;

use table::{Key, Table};

/// The log has one lane.
const LANE: u32 = 0;
/// Bytes of the log that are read at once at the start.
const REPLAY_BYTES: usize = 4 << 20;
/// The log is written anew once it exceeds so many times what lives in it.
const COMPACT_AT: u64 = 4;

/// The state store. Clones share it.
#[derive(Clone)]
pub struct StateLog {
    inner: Arc<Inner>,
}

struct Inner {
    log: Log,
    /// Locked inside the log's queue where a value is queued, so that both have one order.
    table: Mutex<Table>,
    compacting: AtomicBool,
    /// A log smaller than this is left alone.
    compact_from_bytes: u64,
}

/// Why nothing was written.
enum Unwritten {
    Fenced,
    Log(Error),
}

impl From<Error> for Unwritten {
    fn from(error: Error) -> Self {
        Self::Log(error)
    }
}

impl StateLog {
    /// Opens the store of a directory, or makes one there with the id `new_id`. Blocks.
    ///
    /// # Errors
    /// As [`Log::open`]; `Unreadable` where an entry was written by a later version.
    pub fn open(
        env: Env,
        dir: &Path,
        new_id: [u8; 16],
        mut options: LogOptions,
    ) -> Result<Self, Error> {
        let first_segment_bytes = options.first_segment_bytes;
        options.content = Content::State;
        // What lives is small: segments need not grow, and a snapshot may be larger than one.
        options.max_segment_bytes = first_segment_bytes;
        options.cache_bytes = 0;
        let log = Log::open(env, dir, new_id, options)?;
        let mut table = Table::default();
        let mut from_lsn = log.oldest_lsn();
        while from_lsn < log.lane_end(LANE) {
            for block in log.read(LANE, from_lsn, REPLAY_BYTES)? {
                table.replay(&block.records)?;
                from_lsn = block.first_lsn + block.records.len() as u64;
            }
        }
        let snapshot = table.snapshot();
        let appended = log.append_blocking(snapshot, true)?;
        if let Some(first) = appended.first() {
            log.release_blocking(first.first_lsn)?;
        }
        log.seal()?;
        let compact_from_bytes = first_segment_bytes / 2;
        let (table, compacting) = (Mutex::new(table), AtomicBool::new(false));
        Ok(Self {
            inner: Arc::new(Inner {
                log,
                table,
                compacting,
                compact_from_bytes,
            }),
        })
    }

    /// The store's own identity.
    pub fn id(&self) -> [u8; 16] {
        self.inner.log.id()
    }

    /// Bytes of its files.
    pub fn bytes_on_disk(&self) -> u64 {
        self.inner.log.bytes_on_disk()
    }

    /// The durable state of every lane, in order of the keys.
    pub fn all(&self) -> Vec<(LaneKey, LaneState)> {
        lock(&self.inner.table).lanes()
    }

    /// The durable state of a lane, without taking it.
    pub fn peek(&self, key: &LaneKey) -> Option<LaneState> {
        lock(&self.inner.table).lane(key)
    }

    /// All entries of a kind, in order of their keys.
    pub fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        lock(&self.inner.table).entries(kind)
    }

    /// Sets an entry; durable once it returns. When dropped midway, either value may be found.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn put_entry(&self, kind: &str, key: &str, value: Bytes) -> Result<(), Error> {
        self.write_entry(kind, key, Some(codec::entry(&value)))
            .await
    }

    /// Removes an entry; durable once it returns.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn remove_entry(&self, kind: &str, key: &str) -> Result<(), Error> {
        self.write_entry(kind, key, None).await
    }

    async fn write_entry(&self, kind: &str, key: &str, value: Option<Bytes>) -> Result<(), Error> {
        let key = Key::Entry {
            kind: kind.into(),
            key: key.into(),
        };
        match self.write(key, None, value).await {
            Err(Unwritten::Log(error)) => Err(error),
            // Entries have no owner, so nobody is fenced off them.
            Ok(()) | Err(Unwritten::Fenced) => Ok(()),
        }
    }

    /// Appends a value and takes note of it: queued under the log's queue, settled once durable.
    async fn write(
        &self,
        key: Key,
        owner: Option<u64>,
        value: Option<Bytes>,
    ) -> Result<(), Unwritten> {
        let entries = vec![Entry {
            lane: LANE,
            records: codec::record(&key, value.as_ref()),
        }];
        let bytes = bytes_of(&entries);
        let mut number = 0;
        let build = || {
            let mut table = lock(&self.inner.table);
            number = table
                .queue(&key, owner, value.clone(), bytes)
                .ok_or(Unwritten::Fenced)?;
            Ok::<_, Unwritten>(entries)
        };
        self.inner.log.append_built(bytes, false, build).await?;
        let settled = lock(&self.inner.table).settle(&key, owner, number, value);
        settled.ok_or(Unwritten::Fenced)
    }

    /// Writes the log anew where it has grown. What fails here is tried again at the next write.
    async fn compact(&self) {
        let inner = &self.inner;
        let due = lock(&inner.table).is_due(COMPACT_AT, inner.compact_from_bytes);
        if !due || inner.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let done = Compacting(inner);
        if planted!("released-before-snapshot") {
            drop(inner.log.release(u64::MAX, u64::MAX).await);
        }
        let bytes = lock(&inner.table).live_bytes();
        let build = || Ok::<_, Error>(lock(&inner.table).snapshot());
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let compacted = match inner.log.append_built(bytes, true, build).await {
            Ok(appended) => match appended.first() {
                Some(first) => inner.log.release(first.first_lsn, u64::MAX).await.map(drop),
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = compacted {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "state store was not compacted"
            );
        }
        drop(done);
    }
}

/// Ends a compaction, also one that was dropped.
struct Compacting<'a>(&'a Inner);

impl Drop for Compacting<'_> {
    fn drop(&mut self) {
        self.0.compacting.store(false, Ordering::Release);
    }
}

impl StateStore for StateLog {
    fn open(&self, key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>> {
        Box::pin(async move {
            let table_key = Key::Lane(key.clone());
            let mut taken = None;
            // Where a write of the owner before is under way or was dropped, the state that is
            // known is written again behind it, so that it cannot win after all.
            let build = || {
                let mut table = lock(&self.inner.table);
                let (owner, again) = table.take(&table_key);
                let records = again.as_ref().map(|again| again.records.clone());
                taken = Some((owner, table.lane(&key), again));
                let entry = records.map(|records| Entry {
                    lane: LANE,
                    records,
                });
                Ok::<_, Error>(entry.into_iter().collect())
            };
            let hint = INTENT_MAX_BYTES;
            self.inner
                .log
                .append_built(hint, false, build)
                .await
                .map_err(unavailable)?;
            let (owner, current, again) = taken.ok_or(StateError::Fenced)?;
            if let Some(again) = again {
                let mut table = lock(&self.inner.table);
                let settled = table.settle(&table_key, Some(owner), again.number, again.value);
                settled.ok_or(StateError::Fenced)?;
            }
            let store = Lane {
                store: self.clone(),
                key,
                owner,
                current,
            };
            Ok(Box::new(store) as Box<dyn LaneStore>)
        })
    }
}

/// The handle of a lane's owner.
struct Lane {
    store: StateLog,
    key: LaneKey,
    owner: u64,
    current: Option<LaneState>,
}

impl LaneStore for Lane {
    fn current(&self) -> Option<&LaneState> {
        self.current.as_ref()
    }

    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(async move {
            check(&self.key, self.current.as_ref(), &next)?;
            let value = codec::lane(&next);
            let key = Key::Lane(self.key.clone());
            match self.store.write(key, Some(self.owner), Some(value)).await {
                Ok(()) => {}
                Err(Unwritten::Fenced) => return Err(StateError::Fenced),
                Err(Unwritten::Log(error)) => return Err(unavailable(error)),
            }
            self.current = Some(next);
            self.store.compact().await;
            Ok(())
        })
    }
}

/// A position moves forward, or backward as a new generation; an intent fits every store.
fn check(key: &LaneKey, current: Option<&LaneState>, next: &LaneState) -> Result<(), StateError> {
    let intent_bytes = next.intent.as_ref().map_or(0, Bytes::len);
    if intent_bytes > INTENT_MAX_BYTES {
        return Err(StateError::Invariant(format!(
            "intent of {key} is {intent_bytes} bytes, limit {INTENT_MAX_BYTES}"
        )));
    }
    let Some(current) = current else {
        return Ok(());
    };
    let back = next.position < current.position && next.generation == current.generation;
    if back || next.generation < current.generation {
        return Err(StateError::Invariant(format!(
            "position of {key} would move back from {} (generation {}) to {} (generation {})",
            current.position, current.generation, next.position, next.generation
        )));
    }
    Ok(())
}

fn unavailable(error: Error) -> StateError {
    StateError::Unavailable(Box::new(error))
}

impl crate::stream::Catalogue for StateLog {
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        Self::entries(self, kind)
    }

    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Self::put_entry(self, kind, key, value))
    }

    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Self::remove_entry(self, kind, key))
    }
}
