//! A segment's file: its name, and its header of 64 bytes.
//!
//! `magic 8 | format version u32 | log id 16 | segment number u64 | base LSN u64 | instance 16 |
//! crc32c u32`, little-endian; the base LSN is that of the segment's first record. A file gets its
//! name only once its header is synced, so a header that does not hold is damage.

use std::path::Path;

use bytes::BufMut;

use crate::error::Error;
use crate::frame::{crc32c, u32_at, u64_at};

/// Bytes of the header; the first frame follows it.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// The file that is locked while a log is open.
pub(crate) const LOCK_NAME: &str = "lock";
/// Ends the names of files that are not finished.
pub(crate) const UNFINISHED: &str = ".tmp";

const MAGIC: &[u8; 8] = b"hydrlog\n";
const FORMAT: u32 = 1;
/// No log comes to half of all numbers, and what is counted on from there stays within them.
const BASE_LSN_MAX: u64 = 1 << 63;
const EXTENSION: &str = ".seg";
const SPARE: &str = "spare-";

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: [u8; 16],
    pub(crate) number: u64,
    pub(crate) base_lsn: u64,
    pub(crate) instance: [u8; 16],
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        {
            let mut rest = &mut bytes[..];
            rest.put_slice(MAGIC);
            rest.put_u32_le(FORMAT);
            rest.put_slice(&self.log_id);
            rest.put_u64_le(self.number);
            rest.put_u64_le(self.base_lsn);
            rest.put_slice(&self.instance);
        }
        let crc = crc32c(u32::MAX, &[&bytes[..60]]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of `file`, whose name says `number`.
    pub(crate) fn decode(file: &Path, number: u64, bytes: &[u8]) -> Result<Self, Error> {
        let corrupt = |what| Error::Corrupt {
            file: file.to_owned(),
            offset: 0,
            lsn: 0,
            what,
        };
        let bytes = bytes
            .get(..SEGMENT_HEADER_BYTES)
            .ok_or_else(|| corrupt("it is cut short"))?;
        if &bytes[..8] != MAGIC {
            return Err(corrupt("it does not begin as a segment does"));
        }
        let found = u32_at(bytes, 8);
        if found != FORMAT {
            return Err(Error::Version {
                file: file.to_owned(),
                found,
                known: FORMAT,
            });
        }
        if u32_at(bytes, 60) != crc32c(u32::MAX, &[&bytes[..60]]) {
            return Err(corrupt("its header does not match its checksum"));
        }
        let (mut log_id, mut instance) = ([0; 16], [0; 16]);
        log_id.copy_from_slice(&bytes[12..28]);
        instance.copy_from_slice(&bytes[44..60]);
        let header = Self {
            log_id,
            number: u64_at(bytes, 28),
            base_lsn: u64_at(bytes, 36),
            instance,
        };
        if header.number != number {
            return Err(corrupt("its header names another segment"));
        }
        if !(1..=BASE_LSN_MAX).contains(&header.base_lsn) {
            return Err(corrupt(
                "its first record has a number that no log comes to",
            ));
        }
        Ok(header)
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}{EXTENSION}")
}

/// The name of a spent segment's file that waits to be used again.
pub(crate) fn spare_name(number: u64) -> String {
    format!("{SPARE}{number:020}")
}

/// The number of a segment, from its file's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}

/// Whether a file waits to be used again.
pub(crate) fn is_spare(name: &str) -> bool {
    name.starts_with(SPARE)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SegmentHeader, is_spare, segment_name, segment_number, spare_name};
    use crate::error::Error;

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_refused() {
        let header = SegmentHeader {
            log_id: [7; 16],
            number: 9,
            base_lsn: 1000,
            instance: [3; 16],
        };
        let bytes = header.encode();
        let file = Path::new("x");
        assert_eq!(SegmentHeader::decode(file, 9, &bytes).ok(), Some(header));
        assert!(SegmentHeader::decode(file, 8, &bytes).is_err());
        for bit in 0..8 * bytes.len() {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            let version = (64..96).contains(&bit);
            match SegmentHeader::decode(file, 9, &bad) {
                Err(Error::Version { .. }) => assert!(version, "{bit}"),
                Err(Error::Corrupt { .. }) => assert!(!version, "{bit}"),
                other => panic!("bit {bit}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_header_whose_first_record_cannot_be_is_refused() {
        for base_lsn in [0, (1 << 63) + 1, u64::MAX] {
            let header = SegmentHeader {
                log_id: [7; 16],
                number: 9,
                base_lsn,
                instance: [3; 16],
            };
            let read = SegmentHeader::decode(Path::new("x"), 9, &header.encode());
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        }
    }

    #[test]
    fn names_order_as_numbers_do() {
        assert!(segment_name(9) < segment_name(10));
        assert_eq!(segment_number(&segment_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(segment_number(&spare_name(3)), None);
        assert!(is_spare(&spare_name(3)) && !is_spare(&segment_name(3)));
    }
}
