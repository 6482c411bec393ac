//! What a log is given: the seams to the outside, and its settings.

use std::sync::Arc;

use hydrant_core::clock::Clock;
use hydrant_core::disk::{Abort, Disk};
use hydrant_core::offload::Offload;

/// The seams of a log. Cheap to clone; all logs of a process share one.
#[derive(Clone)]
pub struct Env {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// A few threads for writes and syncs, which serve all logs (inline when simulated).
    pub io: Arc<dyn Offload>,
    /// Wall clock for arrivals.
    pub clock: Arc<dyn Clock>,
    /// Called once durability can no longer be promised.
    pub abort: Arc<dyn Abort>,
}

/// What a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Records of a stream: refused while the disk is nearly full.
    Data,
    /// Entries of the state store: taken to the last byte, so that draining goes on.
    State,
}

/// What a start does about damage of acknowledged records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCorruption {
    /// It refuses: a person decides.
    #[default]
    Refuse,
    /// It copies the damaged files aside, says what is lost, and goes on without that. Only for records:
    /// damage of the state store is always refused.
    Quarantine,
}

/// Each place where something is made durable. A test leaves out one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPoint {
    /// A group of frames, before it is acknowledged and readable.
    Group,
    /// The header of a new or reused segment, before the file gets its name.
    SegmentHeader,
    /// The name of a new or reused segment, before a frame goes in.
    SegmentName,
    /// What recovery writes again, before the file gets its name.
    RelogData,
    /// The name of what recovery wrote again, before the recovered segment goes.
    RelogName,
    /// The names that recovery found, before a segment goes whose records another one holds.
    FoundName,
    /// The name of a spent segment that went, before the next one goes or its file is reused.
    Release,
}

impl SyncPoint {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Group,
        Self::SegmentHeader,
        Self::SegmentName,
        Self::RelogData,
        Self::RelogName,
        Self::FoundName,
        Self::Release,
    ];
}

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size of the first segment; each next one is twice as large.
    pub first_segment_bytes: u64,
    /// Where the doubling ends. One append of data is at most about this long.
    pub max_segment_bytes: u64,
    /// Most bytes of one group commit (a single larger append is a group of its own).
    pub max_group_bytes: usize,
    /// Bytes that may wait for a sync; more appends wait.
    pub max_queued_bytes: usize,
    /// Bytes of the newest groups that are kept in memory for readers.
    pub cache_bytes: usize,
    /// Spent segments that are kept for reuse.
    pub max_spare_segments: usize,
    /// Appends of data are refused while less than this share of the disk is free.
    pub low_space_percent: u64,
    /// Appends of data are refused while fewer bytes than this are free.
    pub low_space_bytes: u64,
    /// After a refusal, appends are taken again from this free share on.
    pub resume_percent: u64,
    /// Names the process in the headers of the segments it makes.
    pub instance: [u8; 16],
    /// What the log keeps.
    pub content: Content,
    /// What to do where acknowledged records are damaged.
    pub on_corruption: OnCorruption,
    /// A planted fault: this sync is left out.
    #[cfg(feature = "planted")]
    pub skip_sync: Option<SyncPoint>,
}

impl Default for LogOptions {
    /// The defaults of the reliability design (sections 6 and 11).
    fn default() -> Self {
        Self {
            first_segment_bytes: 1 << 20,
            max_segment_bytes: 64 << 20,
            max_group_bytes: 4 << 20,
            max_queued_bytes: 16 << 20,
            cache_bytes: 8 << 20,
            max_spare_segments: 2,
            low_space_percent: 10,
            low_space_bytes: 1 << 30,
            resume_percent: 15,
            instance: [0; 16],
            content: Content::Data,
            on_corruption: OnCorruption::Refuse,
            #[cfg(feature = "planted")]
            skip_sync: None,
        }
    }
}
