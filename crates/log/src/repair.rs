//! Brings a damaged log back to where it opens: `hydrant log repair`. What is damaged is copied aside
//! first; what is lost is said to the record; numbers are never given out twice.
//!
//! A damaged segment is written anew under its name, with its good frames and, where records are
//! missing, gap frames that hold their numbers. Behind the last good record of a damaged newest
//! segment nobody knows how many were acknowledged, so that numbering goes on far above.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use hydrant_core::disk::{Disk, DiskFile};

use crate::error::Error;
use crate::frame::{self, FrameHeader, FrameKind};
use crate::scan::{Found, salvage, scan};
use crate::segment::{LOCK_NAME, SegmentHeader, UNFINISHED, segment_name, segment_number};
use crate::site::failed;

/// Where damaged files are copied to, below the log's directory.
const QUARANTINE: &str = "quarantine";
/// So many numbers are left out where nobody knows how many were given out: more records than the
/// largest segment could hold, many times.
const RENUMBER: u64 = 1 << 28;

/// What a repair finds and does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The damaged segments and what is wrong with each. None: the log is in order.
    pub damaged: Vec<(PathBuf, String)>,
    /// LSNs of the records that are lost, oldest first.
    pub lost: Vec<Range<u64>>,
    /// From this LSN on more may be lost, nobody knows how many; numbering goes on at the second.
    pub renumbered: Option<(u64, u64)>,
    /// The log is that of the state store: lost entries make positions older than they were.
    pub is_state: bool,
    /// Copies of the damaged files, once it was repaired.
    pub copies: Vec<PathBuf>,
}

/// A segment as it was found.
struct Piece {
    path: PathBuf,
    number: u64,
    base_lsn: u64,
    bytes: Bytes,
    frames: Vec<Found>,
    /// One past the last record up to which nothing is missing.
    end_lsn: u64,
    sealed: bool,
    durable_lsn: u64,
    instance: [u8; 16],
    wrong: Option<String>,
}

/// A segment to be written anew.
struct Rewrite {
    number: u64,
    content: Vec<u8>,
}

/// Looks at a log that nobody has open, and says what a repair would do; with `apply` it does it.
///
/// # Errors
/// `Locked`; `Version`; `Corrupt` where no segment can be read or files of two logs are mixed; `Io`,
/// `LowSpace`. The log is then as damaged as before, and may be repaired again.
pub fn repair(disk: &dyn Disk, dir: &Path, apply: bool) -> Result<Repair, Error> {
    let _lock = disk.lock(&dir.join(LOCK_NAME)).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            let dir = dir.to_owned();
            return Error::Locked { dir };
        }
        failed("locking", dir, error)
    })?;
    let (id, pieces) = read(disk, dir)?;
    let mut found = Repair::default();
    let pieces = usable(pieces, &mut found);
    let useless = found.damaged.clone();
    let mut rewrites = Vec::new();
    let durable_lsn = pieces
        .iter()
        .map(|piece| piece.durable_lsn.max(piece.base_lsn - 1))
        .max()
        .unwrap_or(0);
    for i in 0..pieces.len() {
        let next = pieces.get(i + 1).map(|next| next.base_lsn);
        let piece = &pieces[i];
        let mut kinds = piece.frames.iter().map(|frame| frame.header.kind);
        found.is_state |= kinds.any(|kind| kind == FrameKind::State);
        if let Some(wrong) = piece.wrong_before(next, durable_lsn) {
            found.damaged.push((piece.path.clone(), wrong));
            rewrites.push(piece.anew(id, next, durable_lsn, &mut found)?);
        }
    }
    if apply {
        for (path, _) in &found.damaged {
            found.copies.push(set_aside(disk, dir, path)?);
        }
        for rewrite in rewrites {
            write(disk, dir, &rewrite)?;
        }
        for (path, _) in useless {
            disk.remove(&path)
                .map_err(|e| failed("removing", &path, e))?;
        }
        disk.sync_dir(dir).map_err(|e| failed("syncing", dir, e))?;
    }
    Ok(found)
}

/// The log's id and its segments in order, damaged or not.
fn read(disk: &dyn Disk, dir: &Path) -> Result<([u8; 16], Vec<Piece>), Error> {
    let mut files = Vec::new();
    let names = disk.list(dir).map_err(|e| failed("listing", dir, e))?;
    for name in names {
        if let Some(number) = segment_number(&name) {
            let path = dir.join(name);
            let file = disk.open(&path).map_err(|e| failed("opening", &path, e))?;
            let bytes = read_whole(&*file, &path)?;
            let header = match SegmentHeader::decode(&path, number, &bytes) {
                Ok(header) => Ok(header),
                Err(Error::Corrupt { what, .. }) => Err(what),
                Err(error) => return Err(error),
            };
            files.push((path, number, bytes, header));
        }
    }
    let corrupt = |what| Error::Corrupt {
        file: dir.to_owned(),
        offset: 0,
        lsn: 0,
        what,
    };
    let mut ids = files.iter().filter_map(|(.., header)| header.as_ref().ok());
    let Some(id) = ids.next().map(|header| header.log_id) else {
        return Err(corrupt("it holds no segment whose header can be read"));
    };
    if ids.any(|header| header.log_id != id) {
        return Err(corrupt("segments of two logs are mixed in it"));
    }
    let pieces = files.into_iter().map(|(path, number, bytes, header)| {
        Piece::of(path, number, bytes, header, frame::seed(id, number))
    });
    Ok((id, pieces.collect()))
}

/// Leaves out the segments whose records a later one holds, which the next start removes; and those
/// without header of which nothing is needed.
fn usable(pieces: Vec<Piece>, found: &mut Repair) -> Vec<Piece> {
    let (mut kept, mut next) = (Vec::new(), u64::MAX);
    for piece in pieces.into_iter().rev() {
        if piece.base_lsn < next {
            next = piece.base_lsn;
            kept.push(piece);
        } else if let Some(wrong) = piece.wrong {
            found.damaged.push((piece.path, wrong));
        }
    }
    kept.reverse();
    kept
}

fn read_whole(file: &dyn DiskFile, path: &Path) -> Result<Bytes, Error> {
    let len = file.len().map_err(|e| failed("reading", path, e))?;
    let bytes = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX));
    Ok(bytes.map_err(|e| failed("reading", path, e))?.into())
}

impl Piece {
    fn of(
        path: PathBuf,
        number: u64,
        bytes: Bytes,
        header: Result<SegmentHeader, &'static str>,
        seed: u32,
    ) -> Self {
        let frames = salvage(&bytes, seed);
        let first = frames.first().map_or(u64::MAX, |frame| frame.header.lsn);
        let base_lsn = header.as_ref().map_or(first, |header| header.base_lsn);
        let walked = scan(&bytes, seed, base_lsn);
        Self {
            path,
            number,
            base_lsn,
            end_lsn: walked.end_lsn,
            sealed: walked.sealed,
            durable_lsn: walked.durable_lsn,
            instance: header.as_ref().map_or([0; 16], |header| header.instance),
            wrong: header.err().map(str::to_owned),
            bytes,
            frames,
        }
    }

    /// What is wrong with it, where the next segment begins at `next`.
    fn wrong_before(&self, next: Option<u64>, durable_lsn: u64) -> Option<String> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        let end = self.end_lsn;
        match next {
            Some(next) if next != end => Some(format!(
                "its good records end before {end}, the next segment begins at {next}"
            )),
            None if self.sealed => Some(format!(
                "the segment behind it, from record {end} on, is missing"
            )),
            None if end <= durable_lsn => Some(format!(
                "records {end} to {durable_lsn} were acknowledged and are damaged"
            )),
            _ => None,
        }
    }

    /// What to write in its place.
    fn anew(
        &self,
        id: [u8; 16],
        next: Option<u64>,
        durable_lsn: u64,
        found: &mut Repair,
    ) -> Result<Rewrite, Error> {
        let seed = frame::seed(id, self.number);
        // What was never acknowledged, behind the last that was, stays cut.
        let end = next.unwrap_or(durable_lsn.max(self.end_lsn - 1) + 1);
        let header = SegmentHeader {
            log_id: id,
            number: self.number,
            base_lsn: self.base_lsn,
            instance: self.instance,
        };
        let mut out = BytesMut::from(&header.encode()[..]);
        let (mut lsn, durable) = (self.base_lsn, end - 1);
        for good in &self.frames {
            let after = good.header.lsn + u64::from(good.header.count);
            if good.header.lsn < lsn || after > end {
                continue;
            }
            found.lose(lsn..good.header.lsn);
            gap(&mut out, seed, lsn..good.header.lsn, durable);
            let len = good.header.len as usize;
            let start = out.len();
            out.extend_from_slice(&self.bytes[good.offset..good.offset + len]);
            out.resize(start + frame::aligned(len), 0);
            lsn = after;
        }
        found.lose(lsn..end);
        gap(&mut out, seed, lsn..end, durable);
        if next.is_some() {
            let footer = FrameHeader {
                len: 0,
                lsn: end,
                durable_lsn: durable,
                lane: 0,
                count: 0,
                kind: FrameKind::Footer,
            };
            frame::encode(&mut out, seed, footer, 0, &[]);
        } else {
            found.renumbered = Some((end, end + RENUMBER));
            gap(&mut out, seed, end..end + RENUMBER, end + RENUMBER - 1);
        }
        if u32::try_from(out.len()).is_err() {
            return Err(Error::TooLarge {
                bytes: out.len() as u64,
                limit: u64::from(u32::MAX),
            });
        }
        Ok(Rewrite {
            number: self.number,
            content: out.to_vec(),
        })
    }
}

impl Repair {
    fn lose(&mut self, lsns: Range<u64>) {
        if !lsns.is_empty() {
            self.lost.push(lsns);
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

/// Copies a damaged file aside, durably, under a name that is free.
fn set_aside(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<PathBuf, Error> {
    let aside = dir.join(QUARANTINE);
    disk.create_dir_all(&aside)
        .map_err(|e| failed("creating", &aside, e))?;
    let file = disk.open(path).map_err(|e| failed("opening", path, e))?;
    let bytes = read_whole(&*file, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut copy = aside.join(format!("{name}.damaged"));
    let mut more = 1;
    let created = loop {
        match disk.create(&copy, bytes.len() as u64) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                more += 1;
                copy = aside.join(format!("{name}.damaged.{more}"));
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                return Err(Error::LowSpace);
            }
            created => break created.map_err(|e| failed("creating", &copy, e))?,
        }
    };
    created
        .write_at(0, &bytes)
        .map_err(|e| failed("writing", &copy, e))?;
    created.sync().map_err(|e| failed("syncing", &copy, e))?;
    disk.sync_dir(&aside)
        .map_err(|e| failed("syncing", &aside, e))?;
    Ok(copy)
}

/// Puts a segment in the place of the damaged one. It gets the name only once it is synced.
fn write(disk: &dyn Disk, dir: &Path, rewrite: &Rewrite) -> Result<(), Error> {
    let path = dir.join(segment_name(rewrite.number));
    let unfinished = dir.join(segment_name(rewrite.number) + UNFINISHED);
    let bytes = rewrite.content.len() as u64;
    let file = match disk.create(&unfinished, bytes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a repair that broke off.
            disk.remove(&unfinished)
                .map_err(|e| failed("removing", &unfinished, e))?;
            disk.create(&unfinished, bytes)
        }
        created => created,
    };
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => Error::LowSpace,
        _ => failed("creating", &unfinished, error),
    })?;
    file.write_at(0, &rewrite.content)
        .map_err(|e| failed("writing", &unfinished, e))?;
    file.sync().map_err(|e| failed("syncing", &unfinished, e))?;
    disk.rename(&unfinished, &path)
        .map_err(|e| failed("renaming", &unfinished, e))?;
    disk.sync_dir(dir).map_err(|e| failed("syncing", dir, e))
}
