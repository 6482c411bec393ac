//! Reads a log without locking or changing it, dead or alive: `hydrant log verify` and `dump`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hydrant_core::Records;
use hydrant_core::disk::{Disk, DiskFile};

use crate::error::Error;
use crate::frame::{self, FrameKind};
use crate::recovery::NEWEST_MISSING;
use crate::scan::{Scan, scan};
use crate::segment::{self, SegmentHeader};
use crate::site::failed;

/// What a log holds and whether it holds together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The log's id, where a segment could be read.
    pub id: Option<[u8; 16]>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// What each lane holds.
    pub lanes: BTreeMap<u32, LaneReport>,
    /// Where the last segment ends in something unfinished: never acknowledged, cut at the next
    /// start. On a live log it is a group being written.
    pub torn_tail: Option<Fault>,
    /// Damage of acknowledged data: such a log does not open.
    pub faults: Vec<Fault>,
}

/// One segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its file.
    pub file: PathBuf,
    /// Its number.
    pub number: u64,
    /// LSN of its first record.
    pub base_lsn: u64,
    /// One past its last good record.
    pub end_lsn: u64,
    /// Good frames.
    pub frames: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes up to the end of its last good frame.
    pub used_bytes: u64,
    /// It ends in a footer.
    pub sealed: bool,
    /// A later segment holds its records again; it goes at the next start.
    pub void: bool,
}

/// What a lane holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// LSN of the oldest record kept.
    pub first_lsn: u64,
    /// LSN of the newest record.
    pub last_lsn: u64,
    /// Records kept.
    pub records: u64,
    /// Bytes of their data.
    pub data_bytes: u64,
    /// Arrival of the oldest, milliseconds since the epoch.
    pub first_arrival_ms: u64,
    /// Arrival of the newest.
    pub last_arrival_ms: u64,
}

/// A place that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The segment's file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The first record concerned, where it is known.
    pub lsn: Option<u64>,
    /// What does not hold.
    pub what: String,
}

/// One good frame.
#[derive(Clone, Debug)]
pub struct FrameInfo {
    /// The segment's file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// Its length in bytes, without padding.
    pub frame_bytes: u32,
    /// What it holds.
    pub kind: FrameKind,
    /// Its lane.
    pub lane: u32,
    /// LSN of its first record.
    pub first_lsn: u64,
    /// Highest LSN known synced when it was written.
    pub durable_lsn: u64,
    /// Arrival of its records, milliseconds since the epoch.
    pub arrival_ms: u64,
    /// The records.
    pub records: Records,
}

/// Checks every frame of a log.
///
/// # Errors
/// `Io` where the directory or a file cannot be read. Damage is not an error but in the report.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut durable_lsn = 0;
    walk(disk, dir, &mut report, |report, read| {
        durable_lsn = durable_lsn
            .max(read.scan.durable_lsn)
            .max(read.header.base_lsn - 1);
        if !read.void {
            for info in read.infos() {
                report.lanes.entry(info.lane).or_default().add(&info);
            }
        }
    })?;
    check_chain(&mut report);
    check_newest(disk, dir, &mut report)?;
    let last = report
        .segments
        .last()
        .map(|last| (last.file.clone(), last.used_bytes, last.end_lsn));
    if let Some((file, offset, lsn)) = last
        && lsn <= durable_lsn
    {
        report.torn_tail = None;
        let what = format!("records {lsn} to {durable_lsn} were acknowledged and are damaged");
        report.faults.push(Fault {
            file,
            offset,
            lsn: Some(lsn),
            what,
        });
    }
    Ok(report)
}

/// Gives every good frame to `sink`, oldest first, and then the report on the segments.
///
/// # Errors
/// `Io` where the directory or a file cannot be read.
pub fn dump(disk: &dyn Disk, dir: &Path, sink: &mut dyn FnMut(FrameInfo)) -> Result<Report, Error> {
    let mut report = Report::default();
    walk(disk, dir, &mut report, |_, read| {
        if !read.void {
            read.infos().for_each(&mut *sink);
        }
    })?;
    Ok(report)
}

/// A segment that was read whole.
struct Read<'a> {
    file: &'a Path,
    header: SegmentHeader,
    bytes: Bytes,
    scan: Scan,
    void: bool,
}

impl Read<'_> {
    fn infos(&self) -> impl Iterator<Item = FrameInfo> + '_ {
        self.scan.frames.iter().filter_map(|found| {
            let (from, len) = (found.offset, found.header.len);
            let frame = self.bytes.slice(from..from + len as usize);
            let (arrival_ms, records) = frame::records(found.header, &frame)?;
            Some(FrameInfo {
                file: self.file.to_owned(),
                offset: from as u64,
                frame_bytes: len,
                kind: found.header.kind,
                lane: found.header.lane,
                first_lsn: found.header.lsn,
                durable_lsn: found.header.durable_lsn,
                arrival_ms,
                records,
            })
        })
    }
}

impl LaneReport {
    fn add(&mut self, info: &FrameInfo) {
        let count = info.records.len() as u64;
        if self.records == 0 {
            self.first_lsn = info.first_lsn;
            self.first_arrival_ms = info.arrival_ms;
        }
        self.last_lsn = info.first_lsn + count - 1;
        self.last_arrival_ms = info.arrival_ms;
        self.records += count;
        self.data_bytes += info.records.data_bytes() as u64;
    }
}

/// Reads the segments in order, one in memory at a time.
fn walk(
    disk: &dyn Disk,
    dir: &Path,
    report: &mut Report,
    mut visit: impl FnMut(&mut Report, &Read<'_>),
) -> Result<(), Error> {
    let headers = headers(disk, dir, report)?;
    for (i, (path, header)) in headers.iter().enumerate() {
        let Some(file) = open(disk, path)? else {
            continue;
        };
        let len = file.len().map_err(|e| failed("reading", path, e))?;
        let bytes = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX));
        let bytes = Bytes::from(bytes.map_err(|e| failed("reading", path, e))?);
        let id = *report.id.get_or_insert(header.log_id);
        if id != header.log_id {
            let what = "it belongs to another log".to_owned();
            report.faults.push(Fault {
                file: path.clone(),
                offset: 0,
                lsn: None,
                what,
            });
            continue;
        }
        let scan = scan(&bytes, frame::seed(id, header.number), header.base_lsn);
        let void = headers[i + 1..]
            .iter()
            .any(|(_, later)| later.base_lsn <= header.base_lsn);
        report.segments.push(SegmentReport {
            file: path.clone(),
            number: header.number,
            base_lsn: header.base_lsn,
            end_lsn: scan.end_lsn,
            frames: scan.frames.len(),
            file_bytes: len,
            used_bytes: scan.end_offset as u64,
            sealed: scan.sealed,
            void,
        });
        if i + 1 == headers.len() && scan.torn {
            let what = "unfinished frames, never acknowledged".to_owned();
            let (offset, lsn) = (scan.end_offset as u64, Some(scan.end_lsn));
            report.torn_tail = Some(Fault {
                file: path.clone(),
                offset,
                lsn,
                what,
            });
        }
        visit(
            report,
            &Read {
                file: path,
                header: *header,
                bytes,
                scan,
                void,
            },
        );
    }
    Ok(())
}

/// Opens a file; `None` where a live log has released it since it was listed.
fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn DiskFile>>, Error> {
    match disk.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(|e| failed("opening", path, e)),
    }
}

fn headers(
    disk: &dyn Disk,
    dir: &Path,
    report: &mut Report,
) -> Result<Vec<(PathBuf, SegmentHeader)>, Error> {
    let mut headers = Vec::new();
    for name in disk.list(dir).map_err(|e| failed("listing", dir, e))? {
        let Some(number) = segment::segment_number(&name) else {
            continue;
        };
        let path = dir.join(name);
        let Some(file) = open(disk, &path)? else {
            continue;
        };
        let bytes = file.read_at(0, segment::SEGMENT_HEADER_BYTES);
        let bytes = bytes.map_err(|e| failed("reading", &path, e))?;
        match SegmentHeader::decode(&path, number, &bytes) {
            Ok(header) => headers.push((path, header)),
            Err(Error::Corrupt {
                file, offset, what, ..
            }) => {
                report.faults.push(Fault {
                    file,
                    offset,
                    lsn: None,
                    what: what.to_owned(),
                });
            }
            Err(error) => {
                let what = error.to_string();
                report.faults.push(Fault {
                    file: path,
                    offset: 8,
                    lsn: None,
                    what,
                });
            }
        }
    }
    Ok(headers)
}

/// A sealed segment is followed by another. One that a live log began since the directory was
/// listed counts.
fn check_newest(disk: &dyn Disk, dir: &Path, report: &mut Report) -> Result<(), Error> {
    let Some(last) = report.segments.last().filter(|last| last.sealed) else {
        return Ok(());
    };
    let names = disk.list(dir).map_err(|e| failed("listing", dir, e))?;
    let mut numbers = names
        .iter()
        .filter_map(|name| segment::segment_number(name));
    if numbers.all(|number| number <= last.number) {
        report.faults.push(Fault {
            file: dir.join(segment::segment_name(last.number + 1)),
            offset: 0,
            lsn: Some(last.end_lsn),
            what: NEWEST_MISSING.to_owned(),
        });
    }
    Ok(())
}

/// Each segment ends where the next begins.
fn check_chain(report: &mut Report) {
    let chain: Vec<&SegmentReport> = report.segments.iter().filter(|s| !s.void).collect();
    for pair in chain.windows(2) {
        if let [one, next] = pair
            && one.end_lsn != next.base_lsn
        {
            report.faults.push(Fault {
                file: one.file.clone(),
                offset: one.used_bytes,
                lsn: Some(one.end_lsn),
                what: format!(
                    "good records end before {}, the next segment begins at {}",
                    one.end_lsn, next.base_lsn
                ),
            });
        }
    }
}
