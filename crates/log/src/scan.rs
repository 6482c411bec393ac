//! Walks the frames of a segment's bytes: what is good, where that ends, and what stands behind.

use bytes::Bytes;
use hydrant_core::planted;

use crate::frame::{self, ALIGN, FrameHeader, FrameKind};
use crate::segment::SEGMENT_HEADER_BYTES;

/// A good frame and where it stands in its segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) offset: usize,
    pub(crate) header: FrameHeader,
    pub(crate) arrival_ms: u64,
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The good frames from the start on, footer not among them.
    pub(crate) frames: Vec<Found>,
    /// One past the last good record.
    pub(crate) end_lsn: u64,
    /// Where the good frames end.
    pub(crate) end_offset: usize,
    /// The highest `durable_lsn` of any frame that verifies, also behind a bad one.
    pub(crate) durable_lsn: u64,
    /// The segment was sealed by a footer.
    pub(crate) sealed: bool,
    /// Something of this segment follows the good frames: a frame that does not verify, or whole
    /// frames behind a hole.
    pub(crate) torn: bool,
}

/// Walks `bytes`, a whole segment whose first record is `base_lsn`.
pub(crate) fn scan(bytes: &Bytes, seed: u32, base_lsn: u64) -> Scan {
    let mut scan = Scan {
        frames: Vec::new(),
        end_lsn: base_lsn,
        end_offset: SEGMENT_HEADER_BYTES,
        durable_lsn: 0,
        sealed: false,
        torn: false,
    };
    while let Some(found) = good(bytes, seed, scan.end_offset, scan.end_lsn) {
        scan.durable_lsn = scan.durable_lsn.max(found.header.durable_lsn);
        scan.end_offset += frame::aligned(found.header.len as usize);
        if found.header.kind == FrameKind::Footer {
            scan.sealed = true;
            return scan;
        }
        scan.end_lsn += u64::from(found.header.count);
        scan.frames.push(found);
    }
    look_behind(bytes, seed, &mut scan);
    scan
}

/// All good frames of a segment in order, those behind damage too; the footer not. And the headers of
/// those that are damaged otherwise.
pub(crate) fn salvage(bytes: &Bytes, seed: u32) -> (Vec<Found>, Vec<FrameHeader>) {
    let (mut frames, mut broken): (Vec<Found>, _) = (Vec::new(), Vec::new());
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < bytes.len() {
        let header = frame::header(seed, &bytes[offset..]);
        let Some(found) = header.and_then(|header| good(bytes, seed, offset, header.lsn)) else {
            broken.extend(header);
            offset += ALIGN;
            continue;
        };
        offset += frame::aligned(found.header.len as usize);
        if found.header.kind != FrameKind::Footer {
            frames.push(found);
        }
    }
    (frames, broken)
}

/// The frame at `offset` where it is whole and holds record `lsn`.
fn good(bytes: &Bytes, seed: u32, offset: usize, lsn: u64) -> Option<Found> {
    let header = frame::header(seed, bytes.get(offset..)?)?;
    let whole = whole(bytes, offset, header)?;
    let footer = header.kind == FrameKind::Footer;
    let verifies = frame::verifies(seed, &whole) || planted!("bad-frame-accepted");
    if header.lsn != lsn || (header.count == 0) != footer || !verifies {
        return None;
    }
    let arrival_ms = match header.kind {
        FrameKind::Gap => 0,
        _ => frame::records(header, &whole)?.0,
    };
    Some(Found {
        offset,
        header,
        arrival_ms,
    })
}

fn whole(bytes: &Bytes, offset: usize, header: FrameHeader) -> Option<Bytes> {
    let end = offset.checked_add(header.len as usize)?;
    (end <= bytes.len()).then(|| bytes.slice(offset..end))
}

/// Looks for frames of this segment behind the first bad one. They are never used, but their
/// `durable_lsn` tells a torn tail from damage. Headers carry a seeded check of their own, so
/// neither payloads nor what an earlier segment left is taken for one.
fn look_behind(bytes: &Bytes, seed: u32, scan: &mut Scan) {
    let mut offset = scan.end_offset;
    while offset < bytes.len() {
        let mut step = ALIGN;
        if let Some(header) = frame::header(seed, &bytes[offset..]) {
            scan.torn = true;
            let whole = whole(bytes, offset, header);
            if whole.is_some_and(|whole| frame::verifies(seed, &whole)) {
                scan.durable_lsn = scan.durable_lsn.max(header.durable_lsn);
                step = frame::aligned(header.len as usize);
            }
        }
        offset += step;
    }
}
