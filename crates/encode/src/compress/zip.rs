//! A zip archive (PKWARE APPNOTE 6.3) with one deflated entry named by the object's id, at a fixed
//! time. Sizes past 4 GiB take the zip64 forms.
//!
//! Up to 16 MiB the archive is one job, its sizes in the local header. A larger one streams, with
//! a data descriptor after the data; it is deflated in `write`, because the directory at the end
//! needs the deflated size, which jobs on other threads could not tell.

use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::stage::{Chunk, EncodeError};

use super::Compressor;
use super::deflate::{HOLD_BYTES, chunk, whole};
use super::window::Pending;

/// As gzip's default.
const LEVEL: u8 = 6;

/// Version that reads deflate, and version that reads zip64.
const DEFLATE_VERSION: u16 = 20;
const ZIP64_VERSION: u16 = 45;

/// Flag 3: sizes and checksum follow the data.
const DESCRIPTOR_FLAG: u16 = 8;

/// 1980-01-01 00:00:00, the first time that DOS knows: time 0, date 0x21.
const DOS_TIME: u32 = 0x21 << 16;

/// The largest value of the 32-bit fields; it says that the zip64 field has the real one.
const MAX32: u64 = u32::MAX as u64;

/// Holds up to 16 MiB for one job; a larger object streams.
pub(crate) struct Zip {
    pending: Pending,
    crc: crc32fast::Hasher,
    entry: Entry,
    streaming: bool,
}

/// What header, descriptor and directory say of the entry.
#[derive(Clone)]
struct Entry {
    name: String,
    crc: u32,
    plain: u64,
    deflated: u64,
}

impl Zip {
    pub(crate) fn new(id: &Digest) -> Self {
        let entry = Entry {
            name: id.to_uuid(),
            crc: 0,
            plain: 0,
            deflated: 0,
        };
        let crc = crc32fast::Hasher::new();
        Self {
            pending: Pending::default(),
            crc,
            entry,
            streaming: false,
        }
    }

    fn deflate(&mut self, pieces: Vec<Bytes>, last: bool, chunks: &mut Vec<Chunk>) {
        let deflated = chunk(LEVEL, pieces, last);
        self.entry.deflated += deflated.len() as u64;
        chunks.push(Chunk::Ready(deflated));
    }
}

impl Compressor for Zip {
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.crc.update(&plain);
        self.entry.plain += plain.len() as u64;
        self.pending.push(plain);
        if !self.streaming && self.pending.len() <= HOLD_BYTES {
            return Ok(());
        }
        if !self.streaming {
            self.streaming = true;
            chunks.push(Chunk::Ready(self.entry.header(DESCRIPTOR_FLAG).into()));
        }
        while let Some(step) = self.pending.take_step() {
            self.deflate(step, false, chunks);
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.pending.len()
    }

    fn finish(mut self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.entry.crc = self.crc.clone().finalize();
        let rest = self.pending.take(usize::MAX);
        if self.streaming {
            self.deflate(rest, true, chunks);
            let mut tail = self.entry.descriptor();
            tail.extend(self.entry.directory(DESCRIPTOR_FLAG, tail.len() as u64));
            chunks.push(Chunk::Ready(tail.into()));
        } else {
            let entry = self.entry;
            chunks.push(Chunk::Work(Box::new(move || archive(entry, rest))));
        }
        Ok(())
    }
}

/// A whole archive.
fn archive(mut entry: Entry, pieces: Vec<Bytes>) -> Bytes {
    let head = entry.header(0);
    let archive = whole(LEVEL, pieces, &head, |deflated| {
        entry.deflated = deflated;
        entry.directory(0, 0)
    });
    // The header came before the size was known; its place is fixed.
    let mut archive = Vec::from(archive);
    archive[..head.len()].copy_from_slice(&entry.header(0));
    archive.into()
}

impl Entry {
    /// The local header. With a descriptor it has no sizes and no checksum.
    fn header(&self, flags: u16) -> Vec<u8> {
        let held = flags & DESCRIPTOR_FLAG == 0;
        let field = |value: u64| u32::try_from(value).expect("a held entry is at most 16 MiB");
        let mut out = Vec::with_capacity(30 + self.name.len());
        out.extend(0x0403_4b50_u32.to_le_bytes());
        out.extend(DEFLATE_VERSION.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(8_u16.to_le_bytes());
        out.extend(DOS_TIME.to_le_bytes());
        out.extend(if held { self.crc } else { 0 }.to_le_bytes());
        out.extend(if held { field(self.deflated) } else { 0 }.to_le_bytes());
        out.extend(if held { field(self.plain) } else { 0 }.to_le_bytes());
        out.extend(length(self.name.len()));
        out.extend(0_u16.to_le_bytes());
        out.extend(self.name.as_bytes());
        out
    }

    /// Checksum and sizes after the data. The sizes have 8 bytes where one does not fit 4, as
    /// common readers of streams (Go, Java) expect.
    fn descriptor(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.extend(0x0807_4b50_u32.to_le_bytes());
        out.extend(self.crc.to_le_bytes());
        for size in [self.deflated, self.plain] {
            if self.is_zip64() {
                out.extend(size.to_le_bytes());
            } else {
                out.extend(clamp(size).to_le_bytes());
            }
        }
        out
    }

    /// The central directory and its end, `after` bytes behind the data.
    fn directory(&self, flags: u16, after: u64) -> Vec<u8> {
        let start = 30 + self.name.len() as u64 + self.deflated + after;
        let mut extra = Vec::new();
        let large = [self.plain, self.deflated]
            .into_iter()
            .filter(|size| *size >= MAX32);
        let fields: Vec<u8> = large.flat_map(u64::to_le_bytes).collect();
        if !fields.is_empty() {
            extra.extend(1_u16.to_le_bytes());
            extra.extend(length(fields.len()));
            extra.extend(fields);
        }
        let version = if self.is_zip64() {
            ZIP64_VERSION
        } else {
            DEFLATE_VERSION
        };
        let mut out = Vec::with_capacity(46 + self.name.len() + extra.len() + 98);
        out.extend(0x0201_4b50_u32.to_le_bytes());
        out.extend(version.to_le_bytes());
        out.extend(version.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(8_u16.to_le_bytes());
        out.extend(DOS_TIME.to_le_bytes());
        out.extend(self.crc.to_le_bytes());
        out.extend(clamp(self.deflated).to_le_bytes());
        out.extend(clamp(self.plain).to_le_bytes());
        out.extend(length(self.name.len()));
        out.extend(length(extra.len()));
        // No comment, disk 0, binary, no attributes, at offset 0.
        out.extend([0; 14]);
        out.extend(self.name.as_bytes());
        out.extend(extra);
        let size = out.len() as u64;
        end(&mut out, start, size);
        out
    }

    fn is_zip64(&self) -> bool {
        self.plain >= MAX32 || self.deflated >= MAX32
    }
}

/// The end of the central directory, with the zip64 records where its place needs them.
fn end(out: &mut Vec<u8>, start: u64, size: u64) {
    if start >= MAX32 {
        out.extend(0x0606_4b50_u32.to_le_bytes());
        out.extend(44_u64.to_le_bytes());
        out.extend(ZIP64_VERSION.to_le_bytes());
        out.extend(ZIP64_VERSION.to_le_bytes());
        out.extend([0; 8]);
        for value in [1, 1, size, start] {
            out.extend(value.to_le_bytes());
        }
        out.extend(0x0706_4b50_u32.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend((start + size).to_le_bytes());
        out.extend(1_u32.to_le_bytes());
    }
    out.extend(0x0605_4b50_u32.to_le_bytes());
    out.extend([0, 0, 0, 0, 1, 0, 1, 0]);
    out.extend(clamp(size).to_le_bytes());
    out.extend(clamp(start).to_le_bytes());
    out.extend(0_u16.to_le_bytes());
}

/// The value, or the mark that it is elsewhere.
fn clamp(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("a name has 36 characters, an extra field 20 bytes")
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Entry, MAX32};

    fn entry(plain: u64, deflated: u64) -> Entry {
        Entry {
            name: "n".repeat(36),
            crc: 7,
            plain,
            deflated,
        }
    }

    #[test]
    fn sizes_past_4_gib_take_the_zip64_forms() {
        let small = entry(MAX32 - 1, 5);
        assert_eq!(small.descriptor().len(), 16);
        assert_eq!(small.directory(8, 16).len(), 46 + 36 + 22);
        let large_plain = entry(MAX32 + 2, 5);
        assert_eq!(large_plain.descriptor().len(), 24);
        let directory = large_plain.directory(8, 24);
        assert_eq!(
            directory.len(),
            46 + 36 + 12 + 22,
            "one size in the extra field"
        );
        assert_eq!(directory[24..28], [0xff; 4], "the plain size is elsewhere");
        assert_eq!(directory[82..86], [1, 0, 8, 0]);
        assert_eq!(directory[86..94], (MAX32 + 2).to_le_bytes());
        let large = entry(MAX32 + 2, MAX32 + 1);
        let directory = large.directory(8, 24);
        assert_eq!(
            directory.len(),
            46 + 36 + 20 + 56 + 20 + 22,
            "and the zip64 end and locator"
        );
        let start = 30 + 36 + MAX32 + 1 + 24;
        let zip64_end = &directory[46 + 36 + 20..];
        assert_eq!(zip64_end[..4], [0x50, 0x4b, 6, 6]);
        assert_eq!(zip64_end[48..56], start.to_le_bytes());
        assert_eq!(zip64_end[56 + 8..56 + 16], (start + 102).to_le_bytes());
        assert_eq!(zip64_end[76 + 16..76 + 20], [0xff; 4]);
    }
}
