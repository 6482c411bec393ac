//! `decompression`: a compressed record becomes its content (Firehose's `Decompression`; reference,
//! section 4). A record that grows too much is a failure of that record.

use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hydrant_core::stage::Transform;
use serde::{Deserialize, Serialize};

use super::each::{Each, Fault, Outputs, Processor};

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
        let limit = limit(record.len()).min(outputs.room());
        let mut done = Ok(());
        outputs.write(|content| done = decompress(self.0, record, limit, content))?;
        done.map_err(|message| Fault {
            kind: KIND,
            code: CODE,
            message,
        })
    }
}

/// The largest content that a record of this size may have.
pub(super) fn limit(record_bytes: usize) -> usize {
    let by_ratio = record_bytes.saturating_mul(RATIO_MAX);
    RATIO_FREE_BYTES.max(by_ratio).min(RECORD_MAX_BYTES)
}

/// Appends the content of `record`, at most `limit` bytes and one.
pub(super) fn decompress(
    packing: Packing,
    record: &[u8],
    limit: usize,
    content: &mut Vec<u8>,
) -> Result<(), String> {
    match packing {
        // A record without a byte has no member: the decoder would take it for empty content.
        Packing::Gzip | Packing::Zstd if record.is_empty() => Err("the record is empty".into()),
        Packing::Gzip => read(MultiGzDecoder::new(record), limit, content),
        Packing::Zlib => {
            let mut decoder = ZlibDecoder::new(record);
            read(&mut decoder, limit, content)?;
            let left = record.len() as u64 - decoder.total_in();
            if left == 0 {
                return Ok(());
            }
            Err(format!("{left} bytes follow the compressed content"))
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(record)
                .map_err(|error| error.to_string())?;
            // A frame may not ask for a larger window than the content may be.
            decoder
                .window_log_max(RECORD_MAX_BYTES.next_power_of_two().ilog2())
                .map_err(|error| error.to_string())?;
            read(decoder, limit, content)
        }
        Packing::Snappy => snappy(record, limit, content),
    }
}

fn read(decoder: impl Read, limit: usize, content: &mut Vec<u8>) -> Result<(), String> {
    let start = content.len();
    let copied = io::copy(&mut decoder.take(limit as u64 + 1), content);
    let copied = copied.map_err(|error| format!("the record cannot be decompressed: {error}"))?;
    if copied <= limit as u64 {
        return Ok(());
    }
    content.truncate(start);
    Err(too_large(limit))
}

fn snappy(record: &[u8], limit: usize, content: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |error: snap::Error| format!("the record cannot be decompressed: {error}");
    let size = snap::raw::decompress_len(record).map_err(wrong)?;
    if size > limit {
        return Err(too_large(limit));
    }
    let start = content.len();
    content.resize(start + size, 0);
    let done = snap::raw::Decoder::new().decompress(record, &mut content[start..]);
    match done {
        Ok(written) if written == size => Ok(()),
        Ok(_) => Err("the record is shorter than it says".into()),
        Err(error) => Err(wrong(error)),
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
