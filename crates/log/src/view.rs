//! What is readable: the index of all synced frames, and the newest of them in memory.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hydrant_core::disk::DiskFile;

/// Where a frame stands and what it holds: all that reading it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRef {
    pub(crate) first_lsn: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) count: u32,
}

impl FrameRef {
    pub(crate) fn end_lsn(&self) -> u64 {
        self.first_lsn + u64::from(self.count)
    }
}

/// A segment's file and the index of its synced frames.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seed: u32,
    pub(crate) base_lsn: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) last_arrival_ms: u64,
    pub(crate) lanes: BTreeMap<u32, Vec<FrameRef>>,
}

impl Segment {
    pub(crate) fn add(&mut self, lane: u32, frame: FrameRef) {
        self.last_arrival_ms = self.last_arrival_ms.max(frame.arrival_ms);
        self.lanes.entry(lane).or_default().push(frame);
    }
}

/// A frame to read: from memory, or from its file.
pub(crate) struct Piece {
    pub(crate) frame: FrameRef,
    pub(crate) lane: u32,
    pub(crate) number: u64,
    pub(crate) seed: u32,
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) cached: Option<Cached>,
}

/// A frame in memory.
pub(crate) struct Cached {
    pub(crate) bytes: Bytes,
    /// What is read of its group is a small part of it: to be copied, so that a slow reader does not
    /// hold all.
    pub(crate) small: bool,
    /// Where its group begins, and the bytes that the group holds.
    group: (usize, usize),
}

/// The readable part of a log, oldest segment first, the active one last.
pub(crate) struct View {
    pub(crate) segments: VecDeque<Segment>,
    /// One past the last synced record.
    pub(crate) end_lsn: u64,
    /// One past the last record of each lane that has one here.
    pub(crate) lane_ends: BTreeMap<u32, u64>,
    pub(crate) cache: Cache,
}

impl View {
    /// Frames of `lane` from the first that holds a record of at least `from_lsn`: one, or as
    /// many as fit `max_bytes`.
    pub(crate) fn plan(&self, lane: u32, from_lsn: u64, max_bytes: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.lane_end(lane) <= from_lsn {
            return pieces;
        }
        let mut bytes = 0_usize;
        let after = self
            .segments
            .partition_point(|segment| segment.base_lsn <= from_lsn);
        for segment in self.segments.iter().skip(after.saturating_sub(1)) {
            let frames = segment.lanes.get(&lane).map_or(&[][..], Vec::as_slice);
            let start = frames.partition_point(|frame| frame.end_lsn() <= from_lsn);
            for frame in &frames[start..] {
                bytes = bytes.saturating_add(frame.len as usize);
                if bytes > max_bytes && !pieces.is_empty() {
                    mark_small(&mut pieces);
                    return pieces;
                }
                pieces.push(Piece {
                    frame: *frame,
                    lane,
                    number: segment.number,
                    seed: segment.seed,
                    path: segment.path.clone(),
                    file: segment.file.clone(),
                    cached: self.cache.get(segment.number, frame),
                });
            }
        }
        mark_small(&mut pieces);
        pieces
    }

    pub(crate) fn lane_end(&self, lane: u32) -> u64 {
        self.lane_ends.get(&lane).copied().unwrap_or(0)
    }

    pub(crate) fn oldest_lsn(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.end_lsn, |segment| segment.base_lsn)
    }

    /// First record of `lane` that arrived at `arrival_ms` or later: arrivals never fall.
    pub(crate) fn first_lsn_at(&self, lane: u32, arrival_ms: u64) -> Option<u64> {
        let reaches = |segment: &&Segment| segment.last_arrival_ms >= arrival_ms;
        self.segments.iter().filter(reaches).find_map(|segment| {
            let frames = segment.lanes.get(&lane)?;
            let at = frames.partition_point(|frame| frame.arrival_ms < arrival_ms);
            frames.get(at).map(|frame| frame.first_lsn)
        })
    }

    /// When the newest record that is kept arrived; 0 where none is.
    pub(crate) fn newest_arrival_ms(&self) -> u64 {
        let mut arrivals = self.segments.iter().rev().map(|s| s.last_arrival_ms);
        arrivals.find(|ms| *ms > 0).unwrap_or(0)
    }

    /// Takes the oldest segment out. A lane of which nothing is left has no end any more.
    pub(crate) fn pop_oldest(&mut self) -> Option<Segment> {
        let oldest = self.segments.pop_front();
        let oldest_lsn = self.oldest_lsn();
        self.lane_ends.retain(|_, end_lsn| *end_lsn > oldest_lsn);
        oldest
    }

    /// Puts back what [`View::pop_oldest`] took out.
    pub(crate) fn push_oldest(&mut self, oldest: Segment) {
        for (lane, frames) in &oldest.lanes {
            if let Some(last) = frames.last() {
                self.lane_ends.entry(*lane).or_insert(last.end_lsn());
            }
        }
        self.segments.push_front(oldest);
    }

    /// Whether the oldest segment is sealed, and wholly below `below_lsn` and `before_ms`.
    pub(crate) fn oldest_is_spent(&self, below_lsn: u64, before_ms: u64) -> bool {
        match (self.segments.front(), self.segments.get(1)) {
            (Some(oldest), Some(next)) => {
                let empty = oldest.lanes.is_empty();
                next.base_lsn <= below_lsn && (empty || oldest.last_arrival_ms < before_ms)
            }
            _ => false,
        }
    }
}

/// Marks the pieces of each group of which no more than a quarter is read.
fn mark_small(pieces: &mut [Piece]) {
    let group = |piece: &Piece| Some((piece.number, piece.cached.as_ref()?.group));
    for run in pieces.chunk_by_mut(|one, next| group(one) == group(next)) {
        let read: usize = run.iter().map(|piece| piece.frame.len as usize).sum();
        for cached in run.iter_mut().filter_map(|piece| piece.cached.as_mut()) {
            cached.small = 4 * read < cached.group.1;
        }
    }
}

/// The newest groups as they were written, oldest first.
pub(crate) struct Cache {
    groups: VecDeque<Group>,
    bytes: usize,
    max_bytes: usize,
}

/// A group as it was written.
pub(crate) struct Group {
    /// Number of its segment, and where in it the group begins.
    pub(crate) number: u64,
    pub(crate) offset: usize,
    pub(crate) bytes: Bytes,
    /// Bytes of its buffer.
    pub(crate) held: usize,
}

impl Cache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            groups: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Keeps a group; gives the buffers of those that had to go and that nobody reads any more.
    pub(crate) fn push(&mut self, group: Group) -> Vec<BytesMut> {
        self.bytes += group.held;
        self.groups.push_back(group);
        let mut free = Vec::new();
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.groups.pop_front() else {
                break;
            };
            self.bytes -= oldest.held;
            free.extend(oldest.bytes.try_into_mut().ok());
        }
        free
    }

    fn get(&self, number: u64, frame: &FrameRef) -> Option<Cached> {
        let at = (number, frame.offset as usize);
        let after = self
            .groups
            .partition_point(|group| (group.number, group.offset) <= at);
        let group = self.groups.get(after.checked_sub(1)?)?;
        let from = (group.number == number).then(|| at.1 - group.offset)?;
        let to = from + frame.len as usize;
        (to <= group.bytes.len()).then(|| Cached {
            bytes: group.bytes.slice(from..to),
            small: false,
            group: (group.offset, group.held),
        })
    }
}
