//! `decompression`: a compressed record becomes its content (Firehose's `Decompression`; reference,
//! section 4). A record that grows too much is a failure of that record.

use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hydrant_core::stage::Transform;
use serde::{Deserialize, Serialize};

use super::each::{self, Each, Fault, Outputs, Processor};

/// Largest content of a record.
pub(super) const RECORD_MAX_BYTES: usize = 10 << 20;
/// Above [`RATIO_FREE_BYTES`] the content may be so many times as large as the record: logs reach
/// 100, and only what is made to fill memories goes beyond.
pub(super) const RATIO_MAX: usize = 200;
/// Content up to this size may come from a record of any size.
pub(super) const RATIO_FREE_BYTES: usize = 1 << 20;

const KIND: &str = "decompression-failed";
const CODE: &str = "Decompression.Failed";

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Packing {
    /// Gzip (RFC 1952), of one member or several.
    Gzip,
    /// Zlib (RFC 1950).
    Zlib,
    /// Zstandard (RFC 8878), of one frame or several.
    Zstd,
    /// Snappy without a frame.
    Snappy,
}

/// The processor.
pub struct Decompression(Packing);

impl Decompression {
    /// Decompresses so.
    pub fn stage(packing: Packing) -> Arc<dyn Transform> {
        Arc::new(Each(Self(packing)))
    }
}

impl Processor for Decompression {
    const NAME: &'static str = "decompression";

    fn settings(&self) -> Vec<Vec<u8>> {
        let word: &[u8] = match self.0 {
            Packing::Gzip => b"gzip",
            Packing::Zlib => b"zlib",
            Packing::Zstd => b"zstd",
            Packing::Snappy => b"snappy",
        };
        let limits = [RECORD_MAX_BYTES, RATIO_MAX, RATIO_FREE_BYTES];
        let mut settings = vec![word.to_vec()];
        settings.extend(limits.map(|limit| (limit as u64).to_le_bytes().to_vec()));
        settings
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let (own, room) = (limit(record.len()), outputs.room());
        let mut done = Ok(());
        outputs.write(|content| done = decompress(self.0, record, own.min(room), content))?;
        done.map_err(|failed| match failed {
            // Its neighbours took the room that it would have had.
            Failed::Over if room < own => each::too_large(),
            failed => Fault {
                kind: KIND,
                code: CODE,
                message: failed.message(own),
            },
        })
    }
}

/// The largest content that a record of this size may have.
pub(super) fn limit(record_bytes: usize) -> usize {
    let by_ratio = record_bytes.saturating_mul(RATIO_MAX);
    RATIO_FREE_BYTES.max(by_ratio).min(RECORD_MAX_BYTES)
}

/// Why a record has no content.
enum Failed {
    /// It is over the limit.
    Over,
    Broken(String),
}

impl Failed {
    fn message(self, limit: usize) -> String {
        match self {
            Self::Over => too_large(limit),
            Self::Broken(what) => what,
        }
    }
}

/// Appends the content of `record`, at most `limit` bytes and one.
fn decompress(
    packing: Packing,
    record: &[u8],
    limit: usize,
    content: &mut Vec<u8>,
) -> Result<(), Failed> {
    let broken = |error: io::Error| Failed::Broken(error.to_string());
    match packing {
        // A record without a byte has no member: the decoder would take it for empty content.
        Packing::Gzip | Packing::Zstd if record.is_empty() => {
            Err(Failed::Broken("the record is empty".into()))
        }
        Packing::Gzip => read(MultiGzDecoder::new(record), limit, content),
        Packing::Zlib => {
            let mut decoder = ZlibDecoder::new(record);
            read(&mut decoder, limit, content)?;
            let left = record.len() as u64 - decoder.total_in();
            if left == 0 {
                return Ok(());
            }
            let message = format!("{left} bytes follow the compressed content");
            Err(Failed::Broken(message))
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(record).map_err(broken)?;
            // A frame may not ask for a larger window than the content may be.
            decoder
                .window_log_max(RECORD_MAX_BYTES.next_power_of_two().ilog2())
                .map_err(broken)?;
            read(decoder, limit, content)
        }
        Packing::Snappy => snappy(record, limit, content),
    }
}

fn read(decoder: impl Read, limit: usize, content: &mut Vec<u8>) -> Result<(), Failed> {
    let start = content.len();
    let copied = io::copy(&mut decoder.take(limit as u64 + 1), content);
    let copied = copied.map_err(|error| wrong(&error))?;
    if copied <= limit as u64 {
        return Ok(());
    }
    content.truncate(start);
    Err(Failed::Over)
}

fn wrong(error: &dyn std::error::Error) -> Failed {
    Failed::Broken(format!("the record cannot be decompressed: {error}"))
}

fn snappy(record: &[u8], limit: usize, content: &mut Vec<u8>) -> Result<(), Failed> {
    let size = snap::raw::decompress_len(record).map_err(|error| wrong(&error))?;
    if size > limit {
        return Err(Failed::Over);
    }
    let start = content.len();
    content.resize(start + size, 0);
    let done = snap::raw::Decoder::new().decompress(record, &mut content[start..]);
    match done {
        Ok(written) if written == size => Ok(()),
        Ok(_) => {
            let message = "the record is shorter than it says";
            Err(Failed::Broken(message.into()))
        }
        Err(error) => Err(wrong(&error)),
    }
}

fn too_large(limit: usize) -> String {
    format!(
        "the content of the record is over the limit of {limit} bytes (at most {RECORD_MAX_BYTES} \
         bytes, and above {RATIO_FREE_BYTES} bytes {RATIO_MAX} times the record)"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::super::each::testing::apply;
    use super::{Decompression, Packing, RECORD_MAX_BYTES};

    pub(crate) const ALL: [Packing; 4] =
        [Packing::Gzip, Packing::Zlib, Packing::Zstd, Packing::Snappy];

    pub(crate) fn pack(packing: Packing, content: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(content, 3).unwrap(),
            Packing::Snappy => snap::raw::Encoder::new().compress_vec(content).unwrap(),
        }
    }

    #[test]
    fn a_bomb_fails_and_its_neighbours_pass() {
        for packing in ALL {
            let stage = Decompression::stage(packing);
            let bomb = pack(packing, &vec![0; RECORD_MAX_BYTES + 1]);
            let outcomes = apply(&*stage, &[&pack(packing, b"a"), &bomb, &pack(packing, b"")]);
            let [failure] = &outcomes.failures[..] else {
                panic!("{packing:?}: one failure")
            };
            assert_eq!((failure.record, failure.kind), (1, "decompression-failed"));
            assert!(
                failure.message.contains("over the limit"),
                "{}",
                failure.message
            );
            // An empty content is a record all the same.
            assert_eq!(
                (outcomes.len(), outcomes.data(0), outcomes.data(1)),
                (2, &b"a"[..], &b""[..])
            );
        }
    }

    #[test]
    fn a_record_whose_room_its_neighbours_took_says_so() {
        // A little of it is noise: it compresses to about a fiftieth.
        let mut seed = 1_u64;
        let mut content: Vec<u8> = (0..200 << 10)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        content.resize(RECORD_MAX_BYTES, 0);
        for packing in ALL {
            let stage = Decompression::stage(packing);
            let packed = pack(packing, &content);
            let outcomes = apply(&*stage, &[&packed[..]; 7]);
            assert_eq!((outcomes.len(), outcomes.failures.len()), (6, 1));
            let failure = &outcomes.failures[0];
            assert_eq!(failure.record, 6);
            assert_eq!(failure.code, "Processing.OutputTooLarge");
        }
    }

    #[test]
    fn the_ratio_counts_above_one_mebibyte_only() {
        let stage = Decompression::stage(Packing::Gzip);
        let [free, over] = [1 << 20, (1 << 20) + 1].map(|size| pack(Packing::Gzip, &vec![0; size]));
        assert!(over.len() * 200 < 1 << 20);
        let outcomes = apply(&*stage, &[&free, &over]);
        assert_eq!((outcomes.len(), outcomes.failures.len()), (1, 1));
        let noise: Vec<u8> = (0..3_u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let outcomes = apply(&*stage, &[&pack(Packing::Gzip, &noise)]);
        assert_eq!(outcomes.data(0), noise);
    }

    #[test]
    fn many_members_are_one_content_and_rubbish_behind_them_a_failure() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let stage = Decompression::stage(packing);
            let two = [pack(packing, b"one "), pack(packing, b"two")].concat();
            let rubbish = [pack(packing, b"one"), b"rubbish".to_vec()].concat();
            let cut = &two[..two.len() - 3];
            let outcomes = apply(&*stage, &[&two, &rubbish, cut, b"", b"plain text"]);
            assert_eq!((outcomes.len(), outcomes.data(0)), (1, &b"one two"[..]));
            assert_eq!(outcomes.failures.len(), 4, "{:?}", outcomes.failures);
        }
        let zlib = Decompression::stage(Packing::Zlib);
        let rubbish = [pack(Packing::Zlib, b"one"), b"x".to_vec()].concat();
        assert_eq!(apply(&*zlib, &[&rubbish, b""]).failures.len(), 2);
    }

    #[test]
    fn the_packing_is_of_the_digest() {
        let digests = ALL.map(|packing| Decompression::stage(packing).digest());
        for (i, digest) in digests.iter().enumerate() {
            assert!(!digests[i + 1..].contains(digest));
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(content: Vec<u8>, which in 0..4_usize) {
            let stage = Decompression::stage(ALL[which]);
            let outcomes = apply(&*stage, &[&pack(ALL[which], &content)]);
            prop_assert_eq!(outcomes.len(), 1);
            prop_assert_eq!(outcomes.data(0), content);
        }
    }
}
