//! A frame: one block of one lane as bytes, and back.
//!
//! Layout (integers little-endian; frames start at multiples of 64 bytes, zeros between them):
//!
//! | bytes | field | meaning |
//! | --- | --- | --- |
//! | 4 | crc | CRC32C of all that follows, seeded with (log id, segment number) |
//! | 4 | len | bytes of the frame, this header included, padding not |
//! | 8 | lsn | of the first record; of a footer: the next one to come |
//! | 8 | `durable_lsn` | highest LSN known synced when the frame was written |
//! | 4 | lane | number of the lane in this log |
//! | 4 | count | records |
//! | 1 | type | 1 data, 2 state, 3 footer, 4 gap |
//! | 1 | flags | 0 |
//! | 2 | check | low half of the seeded CRC32C of `len` to `flags`, so that `len` can be trusted |
//!
//! Then the columns of `core::records` (data offsets, key offsets, arrivals), the data, the keys.

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use hydrant_core::records::{Columns, Positions};
use hydrant_core::{Position, Records};

/// Frames start at multiples of this.
pub(crate) const ALIGN: usize = 64;
/// Bytes before the columns.
pub(crate) const HEADER_BYTES: usize = 36;
/// A gap without its padding.
const GAP_BYTES: usize = HEADER_BYTES + 8;
/// A footer with its padding.
pub(crate) const FOOTER_BYTES: usize = 64;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Records of a stream.
    Data,
    /// Entries of the state store.
    State,
    /// The end of a sealed segment.
    Footer,
    /// Numbers of records that a repair found lost.
    Gap,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::State => 2,
            Self::Footer => 3,
            Self::Gap => 4,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Data, Self::State, Self::Footer, Self::Gap]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// The fixed part of a frame, without its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) len: u32,
    pub(crate) lsn: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) lane: u32,
    pub(crate) count: u32,
    pub(crate) kind: FrameKind,
}

/// A CRC32C that starts from `seed`.
pub(crate) fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(seed));
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize() & 0xffff_ffff).unwrap_or_default()
}

/// The seed of a segment's frames. For one log id, seeds of segment numbers below 2^32 all
/// differ, and so do the CRCs of equal bytes: what an earlier segment left never verifies.
pub(crate) fn seed(log_id: [u8; 16], segment: u64) -> u32 {
    crc32c(u32::MAX, &[&log_id, &segment.to_le_bytes()])
}

/// `bytes` rounded up to where the next frame starts.
pub(crate) fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Most bytes that these records take as one frame, with its padding.
pub(crate) fn frame_bytes(records: &Records) -> usize {
    let columns = records.columns();
    let keys = used(&columns.keys, &columns.key_offsets, records.len()).len();
    aligned(HEADER_BYTES + 8 + records.data_bytes() + keys + 16 * records.len())
}

/// Appends one frame of blocks of one lane to `out`, padded; gives its length without padding.
/// `header.len` and `header.count` are not looked at.
///
/// # Panics
/// Where the blocks together pass 4 GiB.
pub(crate) fn encode(
    out: &mut BytesMut,
    seed: u32,
    header: FrameHeader,
    arrival_ms: u64,
    blocks: &[Records],
) -> u32 {
    let start = out.len();
    let count: usize = blocks.iter().map(Records::len).sum();
    out.put_bytes(0, HEADER_BYTES);
    let columns: Vec<Columns> = blocks.iter().map(Records::columns).collect();
    put_offsets(
        out,
        columns
            .iter()
            .zip(blocks)
            .map(|(c, b)| (&c.data_offsets, b.len())),
    );
    put_offsets(
        out,
        columns
            .iter()
            .zip(blocks)
            .map(|(c, b)| (&c.key_offsets, b.len())),
    );
    for _ in 0..count {
        out.put_u64_le(arrival_ms);
    }
    for (columns, block) in columns.iter().zip(blocks) {
        out.put_slice(used(&columns.data, &columns.data_offsets, block.len()));
    }
    for (columns, block) in columns.iter().zip(blocks) {
        out.put_slice(used(&columns.keys, &columns.key_offsets, block.len()));
    }
    let len = u32::try_from(out.len() - start).expect("a frame stays below 4 GiB");
    let count = u32::try_from(count).expect("a frame holds fewer records than bytes");
    seal(
        &mut out[start..],
        seed,
        FrameHeader {
            len,
            count,
            ..header
        },
    );
    out.put_bytes(0, aligned(len as usize) - len as usize);
    len
}

/// Appends a gap frame, padded: the numbers of `header.count` records, none of which is there.
pub(crate) fn encode_gap(out: &mut BytesMut, seed: u32, header: FrameHeader) {
    let start = out.len();
    out.put_bytes(0, aligned(GAP_BYTES));
    let len = u32::try_from(GAP_BYTES).expect("less than a page");
    seal(
        &mut out[start..][..GAP_BYTES],
        seed,
        FrameHeader { len, ..header },
    );
}

/// Writes the fixed part into the first bytes of a whole frame, checks included.
pub(crate) fn seal(frame: &mut [u8], seed: u32, header: FrameHeader) {
    let mut fixed = [0; HEADER_BYTES];
    {
        let mut rest = &mut fixed[4..];
        rest.put_u32_le(header.len);
        rest.put_u64_le(header.lsn);
        rest.put_u64_le(header.durable_lsn);
        rest.put_u32_le(header.lane);
        rest.put_u32_le(header.count);
        rest.put_u8(header.kind.code());
        rest.put_u8(0);
    }
    let check = header_check(seed, &fixed);
    fixed[34..].copy_from_slice(&check);
    frame[..HEADER_BYTES].copy_from_slice(&fixed);
    let crc = crc32c(seed, &[&frame[4..]]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the fixed part. `None` unless it is one of this seed, of a known type.
pub(crate) fn header(seed: u32, bytes: &[u8]) -> Option<FrameHeader> {
    let fixed = bytes.get(..HEADER_BYTES)?;
    let kind = FrameKind::of(fixed[32])?;
    let len = u32_at(fixed, 4);
    let fits = match kind {
        // It holds nothing: a reader that took records from it would see what no log gives.
        FrameKind::Gap => len as usize == GAP_BYTES,
        _ => len as usize >= HEADER_BYTES + 8,
    };
    let fits = fits && fixed[33] == 0;
    (fits && fixed[34..] == header_check(seed, fixed)).then(|| FrameHeader {
        len,
        lsn: u64_at(fixed, 8),
        durable_lsn: u64_at(fixed, 16),
        lane: u32_at(fixed, 24),
        count: u32_at(fixed, 28),
        kind,
    })
}

/// Whether the bytes of a whole frame are the ones that were written.
pub(crate) fn verifies(seed: u32, frame: &[u8]) -> bool {
    frame.len() >= HEADER_BYTES && crc32c(seed, &[&frame[4..]]) == u32_at(frame, 0)
}

/// The arrival and the records of a frame, sharing its buffer. `None` where the columns
/// contradict each other.
pub(crate) fn records(header: FrameHeader, frame: &Bytes) -> Option<(u64, Records)> {
    let count = header.count as usize;
    let offsets = count.checked_add(1)?.checked_mul(4)?;
    let arrivals_at = offsets.checked_mul(2)?.checked_add(HEADER_BYTES)?;
    let data_at = count.checked_mul(8)?.checked_add(arrivals_at)?;
    if frame.len() < data_at {
        return None;
    }
    let data_offsets = frame.slice(HEADER_BYTES..HEADER_BYTES + offsets);
    let key_offsets = frame.slice(HEADER_BYTES + offsets..arrivals_at);
    let keys_at = data_at.checked_add(offset(&data_offsets, count))?;
    if frame.len() != keys_at.checked_add(offset(&key_offsets, count))? {
        return None;
    }
    let arrival_ms = if count == 0 {
        0
    } else {
        u64_at(frame, arrivals_at)
    };
    let columns = Columns {
        data: frame.slice(data_at..keys_at),
        data_offsets,
        keys: frame.slice(keys_at..),
        key_offsets,
        arrivals: frame.slice(arrivals_at..data_at),
    };
    let positions = Positions::Run {
        first: Position::from_u64(header.lsn),
        stride: 1,
    };
    Some((
        arrival_ms,
        Records::from_columns(count, columns, positions)?,
    ))
}

pub(crate) fn header_check(seed: u32, fixed: &[u8]) -> [u8; 2] {
    let crc = crc32c(seed, &[&fixed[4..34]]).to_le_bytes();
    [crc[0], crc[1]]
}

/// One column of offsets from those of several blocks, counted from the frame's own buffer.
fn put_offsets<'a>(out: &mut BytesMut, blocks: impl Iterator<Item = (&'a Bytes, usize)>) {
    let mut base = 0_u32;
    out.put_u32_le(0);
    for (offsets, count) in blocks {
        let first = u32_at(offsets, 0);
        if base == first {
            out.put_slice(&offsets[4..4 * (count + 1)]);
        } else {
            for i in 1..=count {
                out.put_u32_le(base + (u32_at(offsets, 4 * i) - first));
            }
        }
        base += u32_at(offsets, 4 * count) - first;
    }
}

fn used<'a>(buffer: &'a Bytes, offsets: &Bytes, count: usize) -> &'a [u8] {
    &buffer[offset(offsets, 0)..offset(offsets, count)]
}

fn offset(offsets: &[u8], index: usize) -> usize {
    u32_at(offsets, 4 * index) as usize
}

/// The little-endian u32 at byte `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// The little-endian u64 at byte `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use hydrant_core::{Records, RecordsBuilder};
    use proptest::prelude::*;

    use super::{
        FrameHeader, FrameKind, aligned, encode, frame_bytes, header, records, seed, verifies,
    };

    fn block(rows: &[(Vec<u8>, Vec<u8>)]) -> Records {
        let mut builder = RecordsBuilder::default();
        for (key, data) in rows {
            builder.push_unplaced(7, key, data);
        }
        builder.build_run(hydrant_core::Position::START, 1)
    }

    const HEADER: FrameHeader = FrameHeader {
        len: 0,
        lsn: 41,
        durable_lsn: 40,
        lane: 3,
        count: 0,
        kind: FrameKind::Data,
    };

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    fn rows() -> impl Strategy<Value = Rows> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        proptest::collection::vec((bytes(), bytes()), 1..9)
    }

    proptest! {
        #[test]
        fn decode_of_encode_is_the_slices_joined(
            blocks in proptest::collection::vec((rows(), 0_usize..9, 0_usize..9), 1..5),
            id in any::<[u8; 16]>(),
            segment in 0_u64..1000,
        ) {
            let slices: Vec<Records> = blocks.iter().map(|(rows, a, b)| {
                let (from, to) = (a % (rows.len() + 1), b % (rows.len() + 1));
                block(rows).slice(from.min(to), from.max(to))
            }).collect();
            let mut out = BytesMut::new();
            let len = encode(&mut out, seed(id, segment), HEADER, 99, &slices) as usize;
            prop_assert_eq!(out.len(), aligned(len));
            prop_assert!(out.len() <= slices.iter().map(frame_bytes).sum());
            let frame = out.freeze().slice(..len);
            prop_assert!(verifies(seed(id, segment), &frame));
            prop_assert!(!verifies(seed(id, segment + 1), &frame));
            let read = header(seed(id, segment), &frame).expect("a header");
            let (arrival, whole) = records(read, &frame).expect("columns");
            let count: usize = slices.iter().map(Records::len).sum();
            prop_assert_eq!(whole.len(), count);
            prop_assert_eq!(arrival, if count == 0 { 0 } else { 99 });
            let mut at = 0;
            for slice in &slices {
                for i in 0..slice.len() {
                    prop_assert_eq!(whole.data(at), slice.data(i));
                    prop_assert_eq!(whole.key(at), slice.key(i));
                    prop_assert_eq!(whole.arrival_ms(at), 99);
                    prop_assert_eq!(whole.position(at).sequence_u64(), 41 + at as u64);
                    at += 1;
                }
            }
        }

        #[test]
        fn a_flipped_byte_is_seen(rows in rows(), at in any::<usize>(), bit in 0_u8..8) {
            let mut out = BytesMut::new();
            let len = encode(&mut out, 5, HEADER, 99, &[block(&rows)]) as usize;
            out.truncate(len);
            out[at % len] ^= 1 << bit;
            prop_assert!(!verifies(5, &out));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in any::<u32>()) {
            prop_assert!(header(1, &bytes).is_none_or(|header| header.len >= 44));
            let made = FrameHeader { count, ..HEADER };
            drop(records(made, &bytes.into()));
        }
    }
}
