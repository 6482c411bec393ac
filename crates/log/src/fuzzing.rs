//! The body of the fuzz target `log_segment`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hydrant_core::disk::Disk;
use hydrant_core::{Position, RecordsBuilder};
use hydrant_testkit::clock::StoppedClock;
use hydrant_testkit::disk::{SimAbort, SimDisk};
use hydrant_testkit::inline::{InlineOffload, finish};

use crate::frame::{self, ALIGN, HEADER_BYTES, u32_at};
use crate::inspect::{Report, dump, verify};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::{Entry, Env, Error, Log, LogOptions};

const DIR: &str = "/log";
const NUMBER: u64 = 1;
/// Far more than what is read from a few KiB.
const DISK_BYTES: u64 = 8 << 20;
/// Bits of the first byte: checksums are put right, and so are LSNs.
const SEALED: u8 = 1;
const NUMBERED: u8 = 2;

/// A lane's records: LSN, arrival, key, data.
type Rows = BTreeMap<u32, Vec<(u64, u64, Vec<u8>, Vec<u8>)>>;

/// Opens a log whose only segment is these bytes; the first one says what is made right before.
/// What opens holds what `dump` shows and takes more, and so it does the next time; what does not
/// open is what `verify` finds damaged.
///
/// # Panics
/// Where any of this is not so.
pub fn segment(bytes: &[u8]) {
    let Some((head, bytes)) = bytes.split_first() else {
        return;
    };
    let mut segment = bytes.to_vec();
    if head & SEALED != 0 {
        seal(&mut segment, head & NUMBERED != 0);
    }
    let disk = holding(&segment);
    let (before, rows) = shown(&disk);
    let log = match open(&disk) {
        Ok(log) => log,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return assert!(!before.faults.is_empty(), "verify sees no fault: {error}");
        }
    };
    assert_eq!(before.faults, [], "it opens all the same");
    assert_eq!(read(&log, &rows), rows);
    assert_eq!(
        Some(log.end_lsn()),
        before.segments.last().map(|s| s.end_lsn)
    );
    let lane = rows.keys().next().copied().unwrap_or_default();
    let (lsn, arrival_ms) = append(&log, lane);
    assert_eq!(lsn, before.segments[0].end_lsn);
    drop(log);
    let mut more = rows;
    let appended = (lsn, arrival_ms, b"key".to_vec(), b"more".to_vec());
    more.entry(lane).or_default().push(appended);
    let (after, rows) = shown(&disk);
    assert_eq!((after.faults, after.torn_tail), (Vec::new(), None));
    assert_eq!(rows, more);
    let log = open(&disk).expect("a log that was open");
    assert_eq!(read(&log, &more), more);
}

fn holding(segment: &[u8]) -> SimDisk {
    let disk = SimDisk::new(DISK_BYTES);
    let dir = Path::new(DIR);
    disk.create_dir_all(dir).expect("the disk is empty");
    let file = disk.create(&dir.join(segment_name(NUMBER)), 0);
    let file = file.expect("the disk is empty");
    file.write_at(0, segment).expect("the disk is large");
    file.sync().expect("nothing fails");
    disk.sync_dir(dir).expect("nothing fails");
    disk
}

fn open(disk: &SimDisk) -> Result<Log, Error> {
    let env = Env {
        disk: Arc::new(disk.clone()),
        io: Arc::new(InlineOffload),
        clock: Arc::new(StoppedClock),
        abort: Arc::new(SimAbort::default()),
    };
    let options = LogOptions {
        first_segment_bytes: 1024,
        max_segment_bytes: 16 << 10,
        max_group_bytes: 4096,
        cache_bytes: 4096,
        low_space_percent: 0,
        low_space_bytes: 0,
        resume_percent: 0,
        ..LogOptions::default()
    };
    Log::open(env, Path::new(DIR), [9; 16], options)
}

/// What the readers of a log at rest find.
fn shown(disk: &SimDisk) -> (Report, Rows) {
    let report = verify(disk, Path::new(DIR)).expect("the disk is sound");
    let mut rows = Rows::new();
    let dumped = dump(disk, Path::new(DIR), &mut |frame| {
        let lane = rows.entry(frame.lane).or_default();
        for (lsn, i) in (frame.first_lsn..).zip(0..frame.records.len()) {
            let (key, data) = (frame.records.key(i).to_vec(), frame.records.data(i));
            lane.push((lsn, frame.records.arrival_ms(i), key, data.to_vec()));
        }
    });
    assert_eq!(dumped.expect("the disk is sound").lanes.len(), 0);
    let counted = report.lanes.iter().map(|(lane, it)| (*lane, it.records));
    assert!(counted.eq(rows.iter().map(|(lane, rows)| (*lane, rows.len() as u64))));
    (report, rows)
}

fn read(log: &Log, lanes: &Rows) -> Rows {
    let lanes = lanes.keys().map(|lane| {
        let (mut rows, mut next) = (Vec::new(), 0);
        loop {
            let blocks = log.read(*lane, next, 700).expect("it was verified");
            if blocks.is_empty() {
                return (*lane, rows);
            }
            for block in blocks {
                for (lsn, i) in (block.first_lsn..).zip(0..block.records.len()) {
                    let (key, data) = (block.records.key(i), block.records.data(i));
                    let arrival_ms = block.records.arrival_ms(i);
                    rows.push((lsn, arrival_ms, key.to_vec(), data.to_vec()));
                    next = lsn + 1;
                }
            }
        }
    });
    lanes.collect()
}

fn append(log: &Log, lane: u32) -> (u64, u64) {
    let mut builder = RecordsBuilder::default();
    builder.push_unplaced(1, b"key", b"more");
    let records = builder.build_run(Position::START, 1);
    let appended = finish(log.append(vec![Entry { lane, records }]));
    let appended = appended.expect("there is room")[0];
    (appended.first_lsn, appended.arrival_ms)
}

/// Puts checksums right, the number of the segment, and on demand the LSNs of frames: what is
/// behind them is not reached by chance.
fn seal(segment: &mut [u8], number: bool) {
    let Some((header, frames)) = segment.split_at_mut_checked(SEGMENT_HEADER_BYTES) else {
        return;
    };
    let mut sealed = SegmentHeader {
        log_id: [7; 16],
        number: NUMBER,
        base_lsn: frame::u64_at(header, 36),
        instance: [0; 16],
    };
    if number {
        sealed.base_lsn = sealed.base_lsn.clamp(1, 1 << 40);
    }
    header.copy_from_slice(&sealed.encode());
    let seed = frame::seed(sealed.log_id, NUMBER);
    let (mut at, mut lsn) = (0, sealed.base_lsn);
    while let Some(rest) = frames.get_mut(at..).filter(|it| it.len() >= HEADER_BYTES) {
        let len = u32_at(rest, 4) as usize;
        if number {
            rest[8..16].copy_from_slice(&lsn.to_le_bytes());
            lsn = lsn.saturating_add(u64::from(u32_at(rest, 28)));
        }
        let check = frame::header_check(seed, rest);
        rest[34..36].copy_from_slice(&check);
        let whole = len.clamp(HEADER_BYTES, rest.len());
        let crc = frame::crc32c(seed, &[&rest[4..whole]]);
        rest[..4].copy_from_slice(&crc.to_le_bytes());
        at += frame::aligned(len.max(ALIGN));
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use hydrant_core::{Position, RecordsBuilder};
    use hydrant_testkit::corpus;

    use super::{NUMBER, NUMBERED, SEALED, segment};
    use crate::frame::{self, FrameHeader, FrameKind};
    use crate::segment::SegmentHeader;

    /// Frames of so many records each, in two lanes.
    fn seed(head: u8, counts: &[u64], kind: FrameKind) -> Vec<u8> {
        let header = SegmentHeader {
            log_id: [7; 16],
            number: NUMBER,
            base_lsn: 5,
            instance: [0; 16],
        };
        let mut out = BytesMut::new();
        out.put_slice(&header.encode());
        let mut lsn = header.base_lsn;
        for (i, count) in (0..).zip(counts) {
            let mut builder = RecordsBuilder::default();
            for n in 0..*count {
                builder.push_unplaced(1, b"key", format!("data {n}").as_bytes());
            }
            let block = builder.build_run(Position::START, 1);
            let header = FrameHeader {
                len: 0,
                lsn,
                durable_lsn: lsn - 1,
                lane: i % 2,
                count: 0,
                kind: if *count == 0 { FrameKind::Footer } else { kind },
            };
            let seed = frame::seed([7; 16], NUMBER);
            frame::encode(&mut out, seed, header, 1_000, &[block]);
            lsn += count;
        }
        [&[head], &out[..]].concat()
    }

    #[test]
    fn the_corpus_of_segments() {
        let plain = seed(0, &[2, 1, 3], FrameKind::Data);
        let cut = plain[..plain.len() - 70].to_vec();
        let seeds = [
            ("empty", seed(0, &[], FrameKind::Data)),
            ("plain", plain),
            ("cut", cut),
            ("state", seed(SEALED, &[1, 1], FrameKind::State)),
            ("mended", seed(SEALED | NUMBERED, &[1, 4], FrameKind::Data)),
            ("footer", seed(0, &[1, 0], FrameKind::Data)),
        ];
        corpus::run("log_segment", &seeds, segment);
    }
}
