//! Brings a damaged log back to where it opens: `hydrant log repair`, or the start itself where it may
//! (`on_corruption: quarantine`). What is damaged is copied aside first; what is lost is said to the
//! record; numbers are never given out twice.
//!
//! A damaged segment is written anew under its name, with its good frames and, where records are
//! missing, gap frames that hold their numbers. Behind the last good record of a damaged newest
//! segment nobody knows how many were acknowledged, so that numbering goes on far above.
//!
//! The state store is not repaired: one of its frames holds all streams and positions there are.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use hydrant_core::disk::{Disk, DiskFile};

use crate::error::Error;
use crate::frame::{self, FrameHeader, FrameKind};
use crate::scan::{Found, salvage, scan};
use crate::segment::{
    LOCK_NAME, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED, segment_name, segment_number,
};
use crate::site::failed;

/// Ends the name of the directory beside the log's that damaged files are copied to.
const QUARANTINE: &str = ".quarantine";
/// What cannot be read is looked for in pieces of this size: that is counted as zeros.
const PIECE_BYTES: usize = 4096;
/// So many numbers are left out where nobody knows how many were given out: more records than the
/// largest segment could hold, many times.
const RENUMBER: u64 = 1 << 28;

/// What a repair finds and does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The damaged segments and what is wrong with each. None: the log is in order.
    pub damaged: Vec<(PathBuf, String)>,
    /// Records that are lost, oldest first.
    pub lost: Vec<Lost>,
    /// Records below this LSN may be lost too: the oldest segment does not say where it began.
    pub unknown_below: Option<u64>,
    /// From this LSN on more may be lost, nobody knows how many; numbering goes on at the second.
    pub renumbered: Option<(u64, u64)>,
    /// Copies of the damaged files, once it was repaired.
    pub copies: Vec<PathBuf>,
}

/// Records that are lost, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Their LSNs.
    pub lsns: Range<u64>,
    /// The lane they were of, where what is left still says so.
    pub lane: Option<u32>,
}

impl Lost {
    /// How many they are.
    pub fn records(&self) -> u64 {
        self.lsns.end - self.lsns.start
    }
}

/// A segment as it was found.
struct Piece {
    path: PathBuf,
    header: SegmentHeader,
    frames: Vec<Found>,
    /// What is left of damaged frames.
    broken: Vec<FrameHeader>,
    /// One past the last record up to which nothing is missing.
    end_lsn: u64,
    sealed: bool,
    durable_lsn: u64,
    wrong: Option<String>,
}

/// What stands where in a segment that is written anew.
enum Part {
    Frame(Found),
    Lost(Range<u64>),
    Footer(u64),
}

/// Looks at a log that nobody has open, and says what a repair would do; with `apply` it does it.
///
/// # Errors
/// `Locked`; `Version`; `NotRepairable`; `Corrupt` where no segment can be read or files of two logs
/// are mixed; `Io`, `LowSpace`. The log is then as damaged as before, and may be repaired again.
pub fn repair(disk: &dyn Disk, dir: &Path, apply: bool) -> Result<Repair, Error> {
    let _lock = disk.lock(&dir.join(LOCK_NAME)).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            let dir = dir.to_owned();
            return Error::Locked { dir };
        }
        failed("locking", dir, error)
    })?;
    repair_locked(disk, dir, apply)
}

/// The same by whoever holds the log's lock.
pub(crate) fn repair_locked(disk: &dyn Disk, dir: &Path, apply: bool) -> Result<Repair, Error> {
    let pieces = read(disk, dir)?;
    let mut found = Repair::default();
    let (pieces, useless) = usable(pieces, &mut found);
    let durable_lsn = pieces
        .iter()
        .map(|piece| piece.durable_lsn.max(piece.header.base_lsn - 1))
        .max()
        .unwrap_or(0);
    let mut rewrites = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let next = pieces.get(i + 1).map(|next| next.header.base_lsn);
        let kinds = piece.frames.iter().map(|frame| frame.header.kind);
        if kinds.into_iter().any(|kind| kind == FrameKind::State) {
            return Err(Error::NotRepairable {
                dir: dir.to_owned(),
            });
        }
        if let Some(wrong) = piece.wrong_before(next, durable_lsn, useless.newest) {
            found.damaged.push((piece.path.clone(), wrong));
            rewrites.push((piece, piece.anew(next, durable_lsn, &mut found)));
        }
    }
    if apply && !found.damaged.is_empty() {
        let aside = aside(dir);
        for (path, _) in &found.damaged {
            found.copies.push(set_aside(disk, &aside, path)?);
        }
        for (piece, parts) in rewrites {
            write(disk, dir, piece.header.number, &piece.content(disk, parts)?)?;
        }
        for path in useless.paths {
            disk.remove(&path)
                .map_err(|e| failed("removing", &path, e))?;
        }
        disk.sync_dir(dir).map_err(|e| failed("syncing", dir, e))?;
    }
    Ok(found)
}

/// The log's segments in order, damaged or not.
fn read(disk: &dyn Disk, dir: &Path) -> Result<Vec<Piece>, Error> {
    let (mut files, mut id) = (Vec::new(), None);
    let corrupt = |what| Error::Corrupt {
        file: dir.to_owned(),
        offset: 0,
        lsn: 0,
        what,
    };
    for name in disk.list(dir).map_err(|e| failed("listing", dir, e))? {
        let Some(number) = segment_number(&name) else {
            continue;
        };
        let path = dir.join(name);
        let file = disk.open(&path).map_err(|e| failed("opening", &path, e))?;
        let start = read_piece(&*file, 0, SEGMENT_HEADER_BYTES);
        let header = match SegmentHeader::decode(&path, number, &start.unwrap_or_default()) {
            Ok(header) => Ok(header),
            Err(Error::Corrupt { what, .. }) => Err(what),
            Err(error) => return Err(error),
        };
        if let Ok(header) = &header
            && *id.get_or_insert(header.log_id) != header.log_id
        {
            return Err(corrupt("segments of two logs are mixed in it"));
        }
        files.push((path, number, header));
    }
    let id = id.ok_or_else(|| corrupt("it holds no segment whose header can be read"))?;
    let pieces = files
        .into_iter()
        .map(|(path, number, header)| Piece::of(disk, path, id, number, header));
    pieces.collect()
}

/// Files of which nothing is used.
#[derive(Default)]
struct Useless {
    paths: Vec<PathBuf>,
    /// The newest segment is among them, so that nobody knows where the log ended.
    newest: bool,
}

/// Leaves out the segments whose records a later one holds, which the next start removes; and those
/// without header of which nothing is needed.
fn usable(pieces: Vec<Piece>, found: &mut Repair) -> (Vec<Piece>, Useless) {
    let (mut kept, mut useless, mut next) = (Vec::<Piece>::new(), Useless::default(), u64::MAX);
    for piece in pieces.into_iter().rev() {
        if piece.header.base_lsn < next {
            next = piece.header.base_lsn;
            kept.push(piece);
        } else if let Some(wrong) = piece.wrong {
            useless.newest |= kept.is_empty();
            useless.paths.push(piece.path.clone());
            found.damaged.push((piece.path, wrong));
        }
    }
    kept.reverse();
    let oldest = kept.first();
    let before = |path: &PathBuf| oldest.is_some_and(|oldest| *path < oldest.path);
    let cut = |oldest: &Piece| {
        let first = oldest.frames.first();
        oldest.wrong.is_some() && first.is_none_or(|first| first.offset > SEGMENT_HEADER_BYTES)
    };
    if oldest.is_some_and(cut) || useless.paths.iter().any(before) {
        found.unknown_below = oldest.map(|oldest| oldest.header.base_lsn);
    }
    (kept, useless)
}

/// All of a file. What cannot be read is zeros; how many bytes that are.
fn read_whole(file: &dyn DiskFile, path: &Path) -> Result<(Bytes, usize), Error> {
    let len = file.len().map_err(|e| failed("reading", path, e))?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if let Some(bytes) = read_piece(file, 0, len) {
        return Ok((bytes.into(), 0));
    }
    let (mut bytes, mut unread) = (BytesMut::zeroed(len), 0);
    for start in (0..len).step_by(PIECE_BYTES) {
        let piece = &mut bytes[start..(start + PIECE_BYTES).min(len)];
        match read_piece(file, start, piece.len()) {
            Some(read) => piece.copy_from_slice(&read),
            None => unread += piece.len(),
        }
    }
    Ok((bytes.freeze(), unread))
}

fn read_piece(file: &dyn DiskFile, start: usize, len: usize) -> Option<Vec<u8>> {
    let read = file.read_at(start as u64, len).ok()?;
    (read.len() == len).then_some(read)
}

impl Piece {
    fn of(
        disk: &dyn Disk,
        path: PathBuf,
        id: [u8; 16],
        number: u64,
        header: Result<SegmentHeader, &'static str>,
    ) -> Result<Self, Error> {
        let file = disk.open(&path).map_err(|e| failed("opening", &path, e))?;
        let (bytes, unread) = read_whole(&*file, &path)?;
        let seed = frame::seed(id, number);
        let (frames, broken) = salvage(&bytes, seed);
        let mut wrong = header.as_ref().err().map(|wrong| (*wrong).to_owned());
        if unread > 0 {
            wrong = Some(format!("{unread} bytes of it cannot be read"));
        }
        let header = header.unwrap_or_else(|_| SegmentHeader {
            log_id: id,
            number,
            base_lsn: frames.first().map_or(u64::MAX, |frame| frame.header.lsn),
            instance: [0; 16],
        });
        let walked = scan(&bytes, seed, header.base_lsn);
        Ok(Self {
            path,
            header,
            frames,
            broken,
            end_lsn: walked.end_lsn,
            sealed: walked.sealed,
            durable_lsn: walked.durable_lsn,
            wrong,
        })
    }

    /// What is wrong with it, where the next segment begins at `next`.
    fn wrong_before(
        &self,
        next: Option<u64>,
        durable_lsn: u64,
        newest_useless: bool,
    ) -> Option<String> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        let end = self.end_lsn;
        match next {
            Some(next) if next != end => Some(format!(
                "its good records end before {end}, the next segment begins at {next}"
            )),
            None if self.sealed || newest_useless => Some(format!(
                "the segment behind it, from record {end} on, is missing"
            )),
            None if end <= durable_lsn => Some(format!(
                "records {end} to {durable_lsn} were acknowledged and are damaged"
            )),
            _ => None,
        }
    }

    /// What to write in its place.
    fn anew(&self, next: Option<u64>, durable_lsn: u64, found: &mut Repair) -> Vec<Part> {
        let after = |good: &Found| good.header.lsn + u64::from(good.header.count);
        // Behind damage of the newest segment every good frame counts: nobody knows which of them
        // were acknowledged.
        let last_good = self.frames.iter().map(after).max().unwrap_or(0);
        let end = next.unwrap_or(last_good.max(durable_lsn + 1).max(self.end_lsn));
        let (mut parts, mut lsn) = (Vec::new(), self.header.base_lsn);
        for good in &self.frames {
            if good.header.lsn < lsn || after(good) > end {
                continue;
            }
            self.lose(lsn..good.header.lsn, &mut parts, found);
            parts.push(Part::Frame(*good));
            lsn = after(good);
        }
        self.lose(lsn..end, &mut parts, found);
        if next.is_some() {
            parts.push(Part::Footer(end));
        } else {
            found.renumbered = Some((end, end + RENUMBER));
            parts.push(Part::Lost(end..end + RENUMBER));
        }
        parts
    }

    /// Gives records up, and says as far as it can be known whose they were.
    fn lose(&self, lsns: Range<u64>, parts: &mut Vec<Part>, found: &mut Repair) {
        if lsns.is_empty() {
            return;
        }
        let mut lose = |lsns: Range<u64>, lane| {
            if !lsns.is_empty() {
                found.lost.push(Lost { lsns, lane });
            }
        };
        let mut from = lsns.start;
        for broken in &self.broken {
            let end = broken.lsn.saturating_add(u64::from(broken.count));
            let data = broken.kind == FrameKind::Data;
            if data && broken.lsn >= from && end <= lsns.end {
                lose(from..broken.lsn, None);
                lose(broken.lsn..end, Some(broken.lane));
                from = end;
            }
        }
        lose(from..lsns.end, None);
        parts.push(Part::Lost(lsns));
    }

    /// The bytes of the segment that takes its place.
    fn content(&self, disk: &dyn Disk, parts: Vec<Part>) -> Result<Vec<u8>, Error> {
        let path = &self.path;
        let file = disk.open(path).map_err(|e| failed("opening", path, e))?;
        let (bytes, _) = read_whole(&*file, path)?;
        let seed = frame::seed(self.header.log_id, self.header.number);
        let durable_lsn = parts.last().map_or(0, Part::end) - 1;
        let mut out = BytesMut::from(&self.header.encode()[..]);
        for part in parts {
            match part {
                Part::Frame(good) => {
                    let (start, len) = (out.len(), good.header.len as usize);
                    out.extend_from_slice(&bytes[good.offset..good.offset + len]);
                    out.resize(start + frame::aligned(len), 0);
                }
                Part::Lost(lsns) => gap(&mut out, seed, lsns, durable_lsn),
                Part::Footer(lsn) => {
                    let footer = FrameHeader {
                        len: 0,
                        lsn,
                        durable_lsn,
                        lane: 0,
                        count: 0,
                        kind: FrameKind::Footer,
                    };
                    frame::encode(&mut out, seed, footer, 0, &[]);
                }
            }
        }
        if u32::try_from(out.len()).is_err() {
            return Err(Error::TooLarge {
                bytes: out.len() as u64,
                limit: u64::from(u32::MAX),
            });
        }
        Ok(out.into())
    }
}

impl Part {
    /// One past its last record.
    fn end(&self) -> u64 {
        match self {
            Self::Frame(good) => good.header.lsn + u64::from(good.header.count),
            Self::Lost(lsns) => lsns.end,
            Self::Footer(lsn) => *lsn,
        }
    }
}

/// Appends gap frames that hold the numbers of lost records.
fn gap(out: &mut BytesMut, seed: u32, mut lsns: Range<u64>, durable_lsn: u64) {
    while !lsns.is_empty() {
        let count = u32::try_from(lsns.end - lsns.start).unwrap_or(u32::MAX);
        let header = FrameHeader {
            len: 0,
            lsn: lsns.start,
            durable_lsn,
            lane: 0,
            count,
            kind: FrameKind::Gap,
        };
        frame::encode_gap(out, seed, header);
        lsns.start += u64::from(count);
    }
}

/// The directory for copies of damaged files: not in the log's own, which goes with its stream.
fn aside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(QUARANTINE);
    dir.with_file_name(name)
}

/// Copies a damaged file aside, durably, under a name that is free.
fn set_aside(disk: &dyn Disk, aside: &Path, path: &Path) -> Result<PathBuf, Error> {
    disk.create_dir_all(aside)
        .map_err(|e| failed("creating", aside, e))?;
    let file = disk.open(path).map_err(|e| failed("opening", path, e))?;
    let (bytes, _) = read_whole(&*file, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut copy = aside.join(format!("{name}.damaged"));
    let mut more = 1;
    let created = loop {
        match disk.create(&copy, bytes.len() as u64) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                more += 1;
                copy = aside.join(format!("{name}.damaged.{more}"));
            }
            created => break made(&copy, created)?,
        }
    };
    created
        .write_at(0, &bytes)
        .map_err(|e| failed("writing", &copy, e))?;
    created.sync().map_err(|e| failed("syncing", &copy, e))?;
    disk.sync_dir(aside)
        .map_err(|e| failed("syncing", aside, e))?;
    Ok(copy)
}

/// Puts a segment in the place of the damaged one. It gets the name only once it is synced.
fn write(disk: &dyn Disk, dir: &Path, number: u64, content: &[u8]) -> Result<(), Error> {
    let path = dir.join(segment_name(number));
    let unfinished = dir.join(segment_name(number) + UNFINISHED);
    let bytes = content.len() as u64;
    let file = match disk.create(&unfinished, bytes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a repair that broke off.
            disk.remove(&unfinished)
                .map_err(|e| failed("removing", &unfinished, e))?;
            disk.create(&unfinished, bytes)
        }
        created => created,
    };
    let file = made(&unfinished, file)?;
    file.write_at(0, content)
        .map_err(|e| failed("writing", &unfinished, e))?;
    file.sync().map_err(|e| failed("syncing", &unfinished, e))?;
    disk.rename(&unfinished, &path)
        .map_err(|e| failed("renaming", &unfinished, e))?;
    disk.sync_dir(dir).map_err(|e| failed("syncing", dir, e))
}

fn made(path: &Path, created: io::Result<Box<dyn DiskFile>>) -> Result<Box<dyn DiskFile>, Error> {
    created.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => Error::LowSpace,
        _ => failed("creating", path, error),
    })
}
