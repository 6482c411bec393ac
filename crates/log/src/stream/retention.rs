//! Retention: what is old and read by every configured reader is freed; what a configured reader
//! has not committed is kept, however old.

use std::collections::BTreeMap;

use hydrant_core::{Position, planted};

use super::error::StreamError;
use super::registry::Stream;
use super::shard::ShardId;

/// A configured reader of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    /// The oldest LSN there was when it was first configured: what was freed before, it may have
    /// missed; from here on nothing is freed that it has not committed.
    pub(super) since_lsn: u64,
    /// By shard, the next LSN after its committed position. A shard that is absent holds from its
    /// first record on.
    pub(super) next: BTreeMap<ShardId, u64>,
}

impl Stream {
    /// Notes that a reader has durably committed everything up to `position` of a shard: called
    /// after each commit, and once with the stored position when a lane is taken up. Forgetting
    /// is safe; a reader that was not added is ignored.
    pub fn committed(&self, reader: &str, shard: ShardId, position: Position) {
        let Ok(index) = self.index_of(shard, position) else {
            tracing::warn!(stream = self.name(), reader, %shard, "commit of a foreign position");
            return;
        };
        if let Some(reader) = self.readers().get_mut(reader) {
            let next = reader.next.entry(shard).or_default();
            *next = (*next).max(index.saturating_add(1));
        }
    }

    /// The LSN from which on a reader has missed nothing; `None` for one that was not added.
    pub fn reader_since(&self, reader: &str) -> Option<u64> {
        self.readers().get(reader).map(|reader| reader.since_lsn)
    }

    /// Frees what is older than the retention and committed by every reader; gives the bytes
    /// freed. Runs nothing in the background: the owner calls it now and then.
    ///
    /// # Errors
    /// `NotFound` once deleted; what the log says.
    pub async fn retain(&self, now_ms: u64) -> Result<u64, StreamError> {
        self.check_alive()?;
        let before_ms = now_ms.saturating_sub(self.retention_ms());
        Ok(self.log().release(self.unread_from(), before_ms).await?)
    }

    /// The first LSN that a configured reader has not committed.
    fn unread_from(&self) -> u64 {
        // Before the lanes are looked at: what is appended meanwhile lies above.
        let end = self.log().end_lsn();
        if planted!("freed-before-committed") {
            return end;
        }
        let readers = self.readers();
        let mut unread = end;
        for reader in readers.values() {
            for shard in self.shards() {
                let next = reader.next.get(&shard.id).copied().unwrap_or_default();
                if self.log().lane_end(shard.id.0) > next {
                    unread = unread.min(next);
                }
            }
        }
        unread
    }
}
