//! Every container is read back by another implementation where there is one here, and depends on
//! nothing but the plain bytes.

use std::io::Read as _;

use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::stage::Chunk;
use proptest::prelude::*;

use super::compressor;
use crate::settings::Compression;

const ALL: [Compression; 6] = [
    Compression::None,
    Compression::GZIP,
    Compression::Zip,
    Compression::Snappy,
    Compression::HadoopSnappy,
    Compression::ZSTD,
];

fn id() -> Digest {
    Digest::of(b"object")
}

/// Lines that compress about as events do.
fn lines(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut seed = 1_u64;
    while out.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        out.extend(format!("{{\"n\":{},\"event\":\"click\"}}\n", seed >> 40).as_bytes());
    }
    out.truncate(bytes);
    out
}

/// The object's bytes; `reversed` runs its jobs from last to first.
fn object<'a>(
    compression: Compression,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    reversed: bool,
) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut compressor = compressor(compression, &id());
    for piece in pieces {
        compressor
            .write(Bytes::copy_from_slice(piece), &mut chunks)
            .unwrap();
    }
    compressor.finish(&mut chunks).unwrap();
    let run = |chunk| match chunk {
        Chunk::Ready(bytes) => bytes,
        Chunk::Work(work) => work(),
    };
    let mut done: Vec<Bytes> = if reversed {
        chunks.into_iter().rev().map(run).collect()
    } else {
        chunks.into_iter().map(run).collect()
    };
    if reversed {
        done.reverse();
    }
    done.concat()
}

fn snappy_block(rest: &mut &[u8]) -> Vec<u8> {
    let block = take_length(rest);
    snap::raw::Decoder::new()
        .decompress_vec(rest.split_off(..block).unwrap())
        .unwrap()
}

fn take_length(rest: &mut &[u8]) -> usize {
    u32::from_be_bytes(rest.split_off(..4).unwrap().try_into().unwrap()) as usize
}

fn decode(compression: Compression, object: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match compression {
        Compression::None => plain.extend(object),
        Compression::Gzip { .. } => {
            let mut reader = flate2::bufread::GzDecoder::new(object);
            reader.read_to_end(&mut plain).unwrap();
            assert!(
                reader.into_inner().is_empty(),
                "one member and nothing after it"
            );
        }
        Compression::Zip => {
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(object)).unwrap();
            assert_eq!(archive.len(), 1);
            let mut entry = archive.by_index(0).unwrap();
            assert_eq!(entry.name(), id().to_uuid());
            assert_eq!(entry.compression(), zip::CompressionMethod::Deflated);
            entry.read_to_end(&mut plain).unwrap();
        }
        Compression::Snappy => {
            let mut rest = object
                .strip_prefix(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01")
                .unwrap();
            while !rest.is_empty() {
                plain.extend(snappy_block(&mut rest));
            }
        }
        Compression::HadoopSnappy => {
            let mut rest = object;
            while !rest.is_empty() {
                let size = take_length(&mut rest);
                let block = snappy_block(&mut rest);
                assert_eq!(block.len(), size);
                // So that even what grows fits the 256 KiB of Hadoop's decoder.
                assert!(size <= 128 << 10, "a block of {size} bytes");
                plain.extend(block);
            }
        }
        Compression::Zstd { .. } => {
            let mut reader = zstd::Decoder::new(object).unwrap().single_frame();
            reader.read_to_end(&mut plain).unwrap();
            assert!(
                reader.finish().fill_buf_is_empty(),
                "one frame and nothing after it"
            );
        }
    }
    plain
}

trait Rest {
    fn fill_buf_is_empty(self) -> bool;
}

impl<R: std::io::BufRead> Rest for R {
    fn fill_buf_is_empty(mut self) -> bool {
        self.fill_buf().unwrap().is_empty()
    }
}

#[test]
fn small_objects_round_trip() {
    for compression in ALL {
        for size in [0, 1, 100, 32 << 10, (32 << 10) + 1, 700_000, 1 << 20] {
            let plain = lines(size);
            let object = object(compression, plain.chunks(1000), false);
            assert_eq!(
                decode(compression, &object),
                plain,
                "{compression:?}, {size} bytes"
            );
        }
    }
}

#[test]
fn large_objects_stream_and_round_trip() {
    for size in [
        (16 << 20) - 1,
        16 << 20,
        (16 << 20) + 1,
        (18 << 20) + 12_345,
    ] {
        let plain = lines(size);
        for compression in ALL {
            let object = object(compression, plain.chunks(450_001), false);
            assert!(
                decode(compression, &object) == plain,
                "{compression:?}, {size} bytes"
            );
            assert!(compression == Compression::None || object.len() < plain.len() / 2);
        }
    }
}

#[test]
fn jobs_run_in_any_order() {
    let plain = lines((16 << 20) + 1_500_000);
    for compression in ALL {
        let forward = object(compression, plain.chunks(500_000), false);
        let backward = object(compression, plain.chunks(500_000), true);
        assert!(forward == backward, "{compression:?}");
    }
}

#[test]
fn a_large_gzip_object_is_never_held_whole() {
    let plain = lines(512 << 10);
    let mut gzip = compressor(Compression::GZIP, &id());
    let mut chunks = Vec::new();
    for step in 1..=40 {
        gzip.write(plain.clone().into(), &mut chunks).unwrap();
        let held = if step <= 32 {
            step << 19
        } else {
            (step % 2) << 19
        };
        assert_eq!(gzip.held_bytes(), held, "after {step} steps");
    }
    assert_eq!(chunks.len(), 1 + 20);
}

#[test]
fn headers_hold_no_time_and_no_name() {
    let gzip = object(Compression::GZIP, [&b"x"[..]], false);
    assert_eq!(gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let zip = object(Compression::Zip, [&b"x"[..]], false);
    assert_eq!(zip[10..14], [0, 0, 0x21, 0]);
}

#[test]
fn levels_are_used() {
    let plain = lines(300_000);
    let sizes = [(1, 12), (1, 22)].map(|(low, high)| {
        let gzip = |level| object(Compression::Gzip { level }, [&plain[..]], false).len();
        let zstd = |level| object(Compression::Zstd { level }, [&plain[..]], false).len();
        if high == 12 {
            (gzip(low), gzip(high))
        } else {
            (zstd(low), zstd(high))
        }
    });
    assert!(sizes.into_iter().all(|(low, high)| high < low), "{sizes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_split_of_pieces_leaves_no_trace(
        size in 0_usize..2_500_000,
        cuts in proptest::collection::vec(0.0..1.0_f64, 0..20),
    ) {
        let plain = lines(size);
        let mut rest = &plain[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                clippy::cast_precision_loss, reason = "a share of a length")]
            let (piece, after) = rest.split_at((rest.len() as f64 * cut * 0.5) as usize);
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        for compression in ALL {
            let whole = object(compression, [&plain[..]], false);
            prop_assert!(whole == object(compression, pieces.iter().copied(), true));
        }
    }

    #[test]
    fn any_bytes_round_trip(plain in proptest::collection::vec(any::<u8>(), 0..50_000)) {
        for compression in ALL {
            let object = object(compression, [&plain[..]], false);
            prop_assert_eq!(&decode(compression, &object), &plain);
        }
    }
}
