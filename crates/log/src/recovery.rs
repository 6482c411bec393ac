//! Brings a directory back: what is acknowledged is kept, a torn tail is cut, damage is refused.
//!
//! Segments form a chain: each begins with the record after the last of the one before. A segment
//! that a later one begins at or below is void (that one holds its records again). Only the last
//! segment can end in doubt, and it has no footer: that is written once the next one has its name
//! for good, so behind a footer a segment is missing. Its records may live in the page cache alone, so they are written
//! again into a fresh, synced segment before anything is served; nothing is ever appended to a
//! recovered one.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hydrant_core::disk::DiskFile;
use hydrant_core::planted;

use crate::env::SyncPoint;
use crate::error::Error;
use crate::frame::{self, FOOTER_BYTES, FrameHeader, FrameKind};
use crate::scan::{Found, Scan, scan};
use crate::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::site::{Site, Spare, Started, failed};
use crate::view::{FrameRef, Segment};
use crate::writer::{self, Active};

/// What is wrong where the last segment that is there was followed by another.
pub(crate) const NEWEST_MISSING: &str =
    "it is missing, or the later segment that took its place: the one before it is sealed";

/// A log as it was found, ready to serve.
pub(crate) struct Recovered {
    pub(crate) id: [u8; 16],
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) lane_ends: BTreeMap<u32, u64>,
    pub(crate) end_lsn: u64,
    pub(crate) last_arrival_ms: u64,
    pub(crate) active: Active,
    pub(crate) spares: Vec<Spare>,
}

/// A segment's file with its header read.
struct SegmentFile {
    path: Arc<Path>,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
}

/// Recovers the log of the site's directory, or begins one with the id `new_id`.
pub(crate) fn recover(site: &Site, new_id: [u8; 16]) -> Result<Recovered, Error> {
    let (files, spares) = look_around(site)?;
    let files = drop_void(site, files)?;
    let id = files.first().map_or(new_id, |file| file.header.log_id);
    let mut segments = VecDeque::new();
    let mut durable_lsn = 0;
    let mut last = None;
    for (i, file) in files.iter().enumerate() {
        if file.header.log_id != id {
            return Err(corrupt(
                file,
                0,
                file.header.base_lsn,
                "it belongs to another log",
            ));
        }
        let bytes = read_whole(file)?;
        let found = scan(
            &bytes,
            frame::seed(id, file.header.number),
            file.header.base_lsn,
        );
        durable_lsn = durable_lsn
            .max(found.durable_lsn)
            .max(file.header.base_lsn - 1);
        if let Some(next) = files.get(i + 1) {
            check_chain(file, &found, next)?;
            segments.push_back(index(file, id, &found)?);
        } else {
            last = Some((file, bytes, found));
        }
    }
    let (segment, active, end_lsn, spares) = if let Some((file, bytes, found)) = last {
        if found.end_lsn <= durable_lsn && !planted!("damage-cut-as-torn") {
            return Err(damaged(file, &found));
        }
        if found.sealed {
            return Err(Error::Corrupt {
                file: site.dir.join(segment_name(file.header.number + 1)),
                offset: 0,
                lsn: found.end_lsn,
                what: NEWEST_MISSING,
            });
        }
        let (segment, active, spares) = relog(site, file, &bytes, &found, spares)?;
        (segment, active, found.end_lsn, spares)
    } else {
        let (segment, active) = begin(site, id)?;
        (segment, active, 1, spares)
    };
    segments.push_back(segment);
    let mut lane_ends = BTreeMap::new();
    for (lane, frames) in segments.iter().flat_map(|segment| &segment.lanes) {
        lane_ends.extend(frames.last().map(|frame| (*lane, frame.end_lsn())));
    }
    let last_arrival_ms = segments
        .iter()
        .map(|s| s.last_arrival_ms)
        .max()
        .unwrap_or(0);
    Ok(Recovered {
        id,
        segments,
        lane_ends,
        end_lsn,
        last_arrival_ms,
        active,
        spares,
    })
}

/// Opens the segments in order and the spare files, and removes what was never finished.
fn look_around(site: &Site) -> Result<(Vec<SegmentFile>, Vec<Spare>), Error> {
    let disk = &site.env.disk;
    let (mut files, mut spares) = (Vec::new(), Vec::new());
    for name in disk
        .list(&site.dir)
        .map_err(|e| failed("listing", &site.dir, e))?
    {
        let path = site.dir.join(&name);
        if name.ends_with(segment::UNFINISHED) {
            disk.remove(&path)
                .map_err(|e| failed("removing", &path, e))?;
        } else if segment::is_spare(&name) {
            let file: Arc<dyn DiskFile> = disk
                .open(&path)
                .map_err(|e| failed("opening", &path, e))?
                .into();
            let bytes = file.len().map_err(|e| failed("reading", &path, e))?;
            spares.push(Spare { path, file, bytes });
        } else if let Some(number) = segment::segment_number(&name) {
            let file: Arc<dyn DiskFile> = disk
                .open(&path)
                .map_err(|e| failed("opening", &path, e))?
                .into();
            let header = file.read_at(0, SEGMENT_HEADER_BYTES);
            let header = header.map_err(|e| failed("reading", &path, e))?;
            let header = SegmentHeader::decode(&path, number, &header)?;
            files.push(SegmentFile {
                path: path.into(),
                file,
                header,
            });
        }
    }
    Ok((files, spares))
}

/// Removes the segments whose records a later one holds. The names of those are made durable first:
/// a process that was killed may have left them in the page cache alone. The removal itself needs no
/// sync: where it is lost, they are void the next time too.
fn drop_void(site: &Site, files: Vec<SegmentFile>) -> Result<Vec<SegmentFile>, Error> {
    let (mut kept, mut void): (VecDeque<SegmentFile>, Vec<SegmentFile>) = Default::default();
    for file in files.into_iter().rev() {
        let next = kept.front().map(|next| next.header.base_lsn);
        if next.is_some_and(|next_lsn| next_lsn <= file.header.base_lsn) {
            void.push(file);
        } else {
            kept.push_front(file);
        }
    }
    if !void.is_empty() {
        site.sync_dir(SyncPoint::FoundName)?;
    }
    for file in void {
        let disk = &site.env.disk;
        disk.remove(&file.path)
            .map_err(|e| failed("removing", &file.path, e))?;
    }
    Ok(kept.into())
}

fn read_whole(file: &SegmentFile) -> Result<Bytes, Error> {
    let len = file
        .file
        .len()
        .map_err(|e| failed("reading", &file.path, e))?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok(file
        .file
        .read_at(0, len)
        .map_err(|e| failed("reading", &file.path, e))?
        .into())
}

/// A sealed segment must end where the next begins: it was synced before that one was made.
fn check_chain(file: &SegmentFile, found: &Scan, next: &SegmentFile) -> Result<(), Error> {
    if planted!("hole-in-chain-accepted") {
        return Ok(());
    }
    if found.end_lsn < next.header.base_lsn {
        return Err(damaged(file, found));
    }
    if found.end_lsn > next.header.base_lsn {
        return Err(corrupt(
            next,
            0,
            next.header.base_lsn,
            "it overlaps the segment before",
        ));
    }
    Ok(())
}

fn damaged(file: &SegmentFile, found: &Scan) -> Error {
    let what = if found.torn {
        "a frame does not match its checksum"
    } else {
        "frames are missing"
    };
    corrupt(file, found.end_offset, found.end_lsn, what)
}

fn corrupt(file: &SegmentFile, offset: usize, lsn: u64, what: &'static str) -> Error {
    Error::Corrupt {
        file: file.path.to_path_buf(),
        offset: offset as u64,
        lsn,
        what,
    }
}

fn index(file: &SegmentFile, id: [u8; 16], found: &Scan) -> Result<Segment, Error> {
    let allocated_bytes = file
        .file
        .len()
        .map_err(|e| failed("reading", &file.path, e))?;
    let started = Started {
        path: file.path.clone(),
        file: file.file.clone(),
        allocated_bytes,
    };
    let mut segment = writer::segment(&started, id, file.header.number, file.header.base_lsn);
    for frame in &found.frames {
        let offset = u32::try_from(frame.offset).map_err(|_| damaged(file, found))?;
        if frame.header.kind != FrameKind::Gap {
            segment.add(frame.header.lane, frame_ref(frame, offset));
        }
    }
    Ok(segment)
}

fn frame_ref(found: &Found, offset: u32) -> FrameRef {
    FrameRef {
        first_lsn: found.header.lsn,
        arrival_ms: found.arrival_ms,
        offset,
        len: found.header.len,
        count: found.header.count,
    }
}

/// The first segment of a new log.
fn begin(site: &Site, id: [u8; 16]) -> Result<(Segment, Active), Error> {
    let header = SegmentHeader {
        log_id: id,
        number: 1,
        base_lsn: 1,
        instance: site.options.instance,
    };
    let points = (SyncPoint::SegmentHeader, SyncPoint::SegmentName);
    let size_bytes = site
        .options
        .first_segment_bytes
        .max(4 * SEGMENT_HEADER_BYTES as u64);
    let started = site.start_segment(None, header, size_bytes, &[], points)?;
    let segment = writer::segment(&started, id, 1, 1);
    let active = Active::of(&started, &segment, SEGMENT_HEADER_BYTES);
    Ok((segment, active))
}

/// What recovery must not do: goes on behind the good frames of the last segment.
fn append_to(
    file: &SegmentFile,
    found: &Scan,
    spares: Vec<Spare>,
) -> Result<(Segment, Active, Vec<Spare>), Error> {
    let segment = index(file, file.header.log_id, found)?;
    let started = Started {
        path: file.path.clone(),
        file: file.file.clone(),
        allocated_bytes: segment.allocated_bytes,
    };
    let active = Active::of(&started, &segment, found.end_offset);
    Ok((segment, active, spares))
}

/// Writes the good frames of the last segment again, into a fresh one that takes its place.
///
/// Each says that all of them are durable, which holds: the file gets its name only once it is
/// synced. The file is never a spare: an attempt that a crash cut short may have left frames of
/// the same number in it.
fn relog(
    site: &Site,
    file: &SegmentFile,
    bytes: &Bytes,
    found: &Scan,
    mut spares: Vec<Spare>,
) -> Result<(Segment, Active, Vec<Spare>), Error> {
    if planted!("recovered-segment-appended-to") {
        return append_to(file, found, spares);
    }
    let number = file.header.number + 1;
    let header = SegmentHeader {
        number,
        instance: site.options.instance,
        ..file.header
    };
    let seed = frame::seed(header.log_id, number);
    let mut out = BytesMut::new();
    let mut frames = Vec::with_capacity(found.frames.len());
    for frame in &found.frames {
        let (start, len) = (out.len(), frame.header.len as usize);
        out.extend_from_slice(&bytes[frame.offset..frame.offset + len]);
        let durable = FrameHeader {
            durable_lsn: found.end_lsn - 1,
            ..frame.header
        };
        frame::seal(&mut out[start..], seed, durable);
        out.resize(start + frame::aligned(len), 0);
        let offset = u32::try_from(SEGMENT_HEADER_BYTES + start);
        let offset = offset.map_err(|_| damaged(file, found))?;
        if frame.header.kind != FrameKind::Gap {
            frames.push((frame.header.lane, frame_ref(frame, offset)));
        }
    }
    let end = SEGMENT_HEADER_BYTES + out.len();
    let options = &site.options;
    let roomy = (2 * end as u64)
        .next_power_of_two()
        .min(options.max_segment_bytes);
    let needed = (end + FOOTER_BYTES) as u64;
    let size_bytes = roomy.max(options.first_segment_bytes).max(needed);
    let points = (SyncPoint::RelogData, SyncPoint::RelogName);
    let frames_bytes = [out.freeze()];
    let mut started = site.start_segment(None, header, size_bytes, &frames_bytes, points);
    if matches!(started, Err(Error::LowSpace)) && !spares.is_empty() {
        for spare in spares.drain(..) {
            site.env
                .disk
                .remove(&spare.path)
                .map_err(|e| failed("removing", &spare.path, e))?;
        }
        started = site.start_segment(None, header, needed, &frames_bytes, points);
    }
    let started = started?;
    site.env
        .disk
        .remove(&file.path)
        .map_err(|e| failed("removing", &file.path, e))?;
    let mut segment = writer::segment(&started, header.log_id, number, header.base_lsn);
    for (lane, frame) in frames {
        segment.add(lane, frame);
    }
    let active = Active::of(&started, &segment, end);
    Ok((segment, active, spares))
}
