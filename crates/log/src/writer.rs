//! The flush: takes groups from the queue, writes each with one write and one sync, and publishes
//! it. Runs on an I/O thread.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use hydrant_core::disk::DiskFile;
use hydrant_core::{Records, planted};

use crate::env::{Content, SyncPoint};
use crate::error::Error;
use crate::frame::{self, FrameHeader, FrameKind, frame_bytes};
use crate::log::{Appended, Inner, lock};
use crate::queue::{Step, Waiting};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::site::{Spare, Started};
use crate::view::{FrameRef, Group, Segment};

/// After so many groups a job ends and another is handed over, so that one busy log does not keep
/// an I/O thread from the others.
const GROUPS_PER_JOB: usize = 16;
/// Neighbours of one lane in a group are written as one frame up to this size: small puts then
/// cost neither padding nor index, and a reader still gets pieces (a micro-batch is as large).
const MERGE_BYTES: usize = 512 << 10;
/// Buffers of groups that are kept to be filled again, and the smallest; sizes are powers of two, so
/// that one group's buffer fits another.
const KEPT_BUFFERS: usize = 2;
const BUFFER_BYTES: usize = 4 << 10;

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seed: u32,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// What only the flush touches.
pub(crate) struct Writer {
    pub(crate) active: Active,
    pub(crate) next_lsn: u64,
    pub(crate) last_arrival_ms: u64,
    pub(crate) buffers: Vec<BytesMut>,
}

impl Writer {
    /// An empty buffer for so many bytes. Not a smaller one made larger: that would copy its contents.
    fn buffer(&mut self, bytes: usize) -> BytesMut {
        let size = bytes.max(BUFFER_BYTES).next_power_of_two();
        let fits = |buffer: &BytesMut| buffer.capacity() == size;
        let Some(at) = self.buffers.iter().position(fits) else {
            return BytesMut::with_capacity(size);
        };
        let mut buffer = self.buffers.swap_remove(at);
        buffer.clear();
        buffer
    }
}

/// A group being laid out.
struct Layout<'a> {
    writer: &'a mut Writer,
    kind: FrameKind,
    durable_lsn: u64,
    arrival_ms: u64,
    buffer: BytesMut,
    frames: Vec<(u32, FrameRef)>,
    lane: u32,
    /// Blocks of `lane` that become the next frame, and the bytes they take.
    pending: Vec<Records>,
    pending_bytes: usize,
}

impl Inner {
    /// Flushes until nothing waits (`true`) or the job has run long enough (`false`).
    pub(crate) fn flush(&self) -> bool {
        let mut writer = lock(&self.writer);
        for _ in 0..GROUPS_PER_JOB {
            let room = writer.active.size.saturating_sub(writer.active.offset);
            match self.next_step(room, writer.active.offset == SEGMENT_HEADER_BYTES) {
                Step::Idle => return true,
                Step::Roll(bytes) => match self.roll(&mut writer, bytes) {
                    Ok(()) => {}
                    Err(Error::Failed) => self.fail(),
                    Err(error) => {
                        self.note_full(&error);
                        self.refuse_all(&error);
                    }
                },
                Step::Group(group) => self.commit(&mut writer, group),
            }
        }
        false
    }

    /// Writes, syncs, publishes and answers one group.
    fn commit(&self, writer: &mut Writer, group: Vec<Waiting>) {
        let now_ms = self.site.env.clock.wall_ms();
        let (appended, layout) = Layout::of(writer, self.kind(), now_ms, &group);
        let Layout {
            buffer,
            frames,
            writer,
            ..
        } = layout;
        let (file, path) = (writer.active.file.clone(), writer.active.path.clone());
        let written = if buffer.is_empty() {
            Ok(())
        } else {
            let offset = writer.active.offset as u64;
            self.site.write(&*file, &path, offset, &buffer)
        };
        let mut group: Vec<(Waiting, Vec<Appended>)> = group.into_iter().zip(appended).collect();
        let (mut buffer, empty) = (Some(buffer), written.is_ok() && frames.is_empty());
        if planted!("readable-before-synced") {
            self.publish(writer, buffer.take().unwrap_or_default(), &frames);
        }
        if planted!("acknowledged-before-synced") {
            answer(group.drain(..), written.is_err());
        }
        let synced = match written {
            Ok(()) if !empty => self.site.sync_file(SyncPoint::Group, &*file, &path),
            written => written,
        };
        match (&synced, buffer) {
            (Ok(()), Some(buffer)) => self.publish(writer, buffer, &frames),
            (Ok(()), None) => {}
            (Err(_), _) => self.fail(),
        }
        self.measure_space();
        answer(group.into_iter(), synced.is_err());
    }

    fn publish(&self, writer: &mut Writer, buffer: BytesMut, frames: &[(u32, FrameRef)]) {
        let free = {
            let mut view = lock(&self.view);
            if let Some(segment) = view.segments.back_mut() {
                for (lane, frame) in frames {
                    segment.add(*lane, *frame);
                }
            }
            for (lane, frame) in frames {
                view.lane_ends.insert(*lane, frame.end_lsn());
            }
            view.end_lsn = writer.next_lsn;
            let (number, offset) = (writer.active.number, writer.active.offset);
            writer.active.offset += buffer.len();
            let held = buffer.capacity();
            view.cache.push(Group {
                number,
                offset,
                bytes: buffer.freeze(),
                held,
            })
        };
        writer.buffers.extend(free);
        let older = writer.buffers.len().saturating_sub(KEPT_BUFFERS);
        writer.buffers.drain(..older);
        self.published.wake(frames.iter().map(|(lane, _)| *lane));
    }

    /// Begins a new segment with room for `bytes`, then seals the old one by a footer. The footer
    /// needs no sync: the new segment's base LSN says where the old one ends.
    fn roll(&self, writer: &mut Writer, bytes: usize) -> Result<(), Error> {
        let options = &self.site.options;
        let number = writer.active.number + 1;
        let needed = (SEGMENT_HEADER_BYTES + bytes) as u64;
        let doubled = (2 * writer.active.size as u64).min(options.max_segment_bytes);
        let size_bytes = needed.max(doubled);
        let header = SegmentHeader {
            log_id: self.id,
            number,
            base_lsn: writer.next_lsn,
            instance: options.instance,
        };
        if planted!("footer-before-next-segment") {
            self.write_footer(writer)?;
        }
        let spare = self.take_spare(size_bytes);
        let points = (SyncPoint::SegmentHeader, SyncPoint::SegmentName);
        let started = self
            .site
            .start_segment(spare, header, size_bytes, &[], points)?;
        self.write_footer(writer)?;
        let segment = segment(&started, self.id, header.number, header.base_lsn);
        writer.active = Active::of(&started, &segment, SEGMENT_HEADER_BYTES);
        lock(&self.view).segments.push_back(segment);
        Ok(())
    }

    fn write_footer(&self, writer: &Writer) -> Result<(), Error> {
        let mut footer = BytesMut::new();
        let header = FrameHeader {
            len: 0,
            lsn: writer.next_lsn,
            durable_lsn: writer.next_lsn - 1,
            lane: 0,
            count: 0,
            kind: FrameKind::Footer,
        };
        let active = &writer.active;
        frame::encode(&mut footer, active.seed, header, 0, &[]);
        self.site
            .write(&*active.file, &active.path, active.offset as u64, &footer)
    }

    /// The smallest spare file that has `bytes`.
    fn take_spare(&self, bytes: u64) -> Option<Spare> {
        let mut spares = lock(&self.spares);
        let fit = |spare: &(usize, &Spare)| spare.1.bytes >= bytes;
        let (at, _) = spares
            .iter()
            .enumerate()
            .filter(fit)
            .min_by_key(|(_, s)| s.bytes)?;
        Some(spares.swap_remove(at))
    }

    fn kind(&self) -> FrameKind {
        match self.site.options.content {
            Content::Data => FrameKind::Data,
            Content::State => FrameKind::State,
        }
    }
}

/// Answers the appends of a group.
fn answer(group: impl Iterator<Item = (Waiting, Vec<Appended>)>, failed: bool) {
    for (one, appended) in group {
        drop(one.permit);
        // Nobody listens where the future was dropped.
        drop(one.reply.send(if failed {
            Err(Error::Failed)
        } else {
            Ok(appended)
        }));
    }
}

impl Active {
    pub(crate) fn of(started: &Started, segment: &Segment, offset: usize) -> Self {
        Self {
            number: segment.number,
            path: started.path.clone(),
            file: started.file.clone(),
            seed: segment.seed,
            offset,
            size: usize::try_from(started.allocated_bytes).unwrap_or(usize::MAX),
        }
    }
}

/// The index of a segment without frames.
pub(crate) fn segment(started: &Started, id: [u8; 16], number: u64, base_lsn: u64) -> Segment {
    Segment {
        number,
        path: started.path.clone(),
        file: started.file.clone(),
        seed: frame::seed(id, number),
        base_lsn,
        allocated_bytes: started.allocated_bytes,
        last_arrival_ms: 0,
        lanes: std::collections::BTreeMap::new(),
    }
}

impl<'a> Layout<'a> {
    /// Lays a group out in a buffer, numbers its records, and says what to answer each append.
    fn of(
        writer: &'a mut Writer,
        kind: FrameKind,
        now_ms: u64,
        group: &[Waiting],
    ) -> (Vec<Vec<Appended>>, Self) {
        // Arrivals never fall, whatever the wall clock does.
        writer.last_arrival_ms = if planted!("arrivals-fall") {
            now_ms
        } else {
            writer.last_arrival_ms.max(now_ms)
        };
        let buffer = writer.buffer(group.iter().map(|one| one.bytes).sum());
        let mut layout = Layout {
            kind,
            durable_lsn: if planted!("durable-lsn-ahead") {
                writer.next_lsn + 7
            } else {
                writer.next_lsn - 1
            },
            arrival_ms: writer.last_arrival_ms,
            buffer,
            frames: Vec::new(),
            lane: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            writer,
        };
        let appended = group
            .iter()
            .map(|one| {
                one.entries
                    .iter()
                    .map(|e| layout.add(e.lane, &e.records))
                    .collect()
            })
            .collect();
        layout.end_frame();
        (appended, layout)
    }

    fn add(&mut self, lane: u32, records: &Records) -> Appended {
        let bytes = frame_bytes(records);
        if lane != self.lane || self.pending_bytes + bytes > MERGE_BYTES {
            self.end_frame();
        }
        self.lane = lane;
        let waiting: usize = self.pending.iter().map(Records::len).sum();
        let first_lsn = self.writer.next_lsn + waiting as u64;
        if !records.is_empty() {
            self.pending_bytes += bytes;
            self.pending.push(records.clone());
        }
        Appended {
            first_lsn,
            arrival_ms: self.arrival_ms,
        }
    }

    fn end_frame(&mut self) {
        let blocks = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let count: usize = blocks.iter().map(Records::len).sum();
        if count == 0 {
            return;
        }
        let header = FrameHeader {
            len: 0,
            lsn: self.writer.next_lsn,
            durable_lsn: self.durable_lsn,
            lane: self.lane,
            count: 0,
            kind: self.kind,
        };
        let offset = self.writer.active.offset + self.buffer.len();
        let seed = self.writer.active.seed;
        let len = frame::encode(&mut self.buffer, seed, header, self.arrival_ms, &blocks);
        let frame = FrameRef {
            first_lsn: header.lsn,
            arrival_ms: self.arrival_ms,
            offset: u32::try_from(offset).expect("a segment stays below 4 GiB"),
            len,
            count: u32::try_from(count).expect("a frame holds fewer records than bytes"),
        };
        self.frames.push((self.lane, frame));
        self.writer.next_lsn += count as u64;
    }
}
