//! The two streams of snappy blocks that Firehose writes; neither is the official framing.
//!
//! | stream | begins with | block |
//! | --- | --- | --- |
//! | xerial (snappy-java `SnappyOutputStream`) | magic, version 1, compatible 1 | 32 KiB: BE u32 compressed length, raw snappy |
//! | Hadoop (`BlockCompressorStream`) | nothing | 128 KiB: BE u32 plain length, BE u32 compressed length, raw snappy |

use bytes::Bytes;
use hydrant_core::stage::{Chunk, EncodeError};

use super::Compressor;
use super::window::{Pending, join};

/// `82 'SNAPPY' 00`, then version 1, readable by version 1.
const XERIAL_HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Which stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// snappy-java's.
    Xerial,
    /// Hadoop's.
    Hadoop,
}

impl Framing {
    /// Plain bytes of a block. A step holds a whole number. Hadoop's decoder takes at most 256 KiB
    /// of compressed bytes at once, and its own compressor stays below 213 KiB of plain ones, since
    /// what does not compress grows; half of the buffer is safe. snappy-java's is its default.
    fn block_bytes(self) -> usize {
        match self {
            Self::Xerial => 32 << 10,
            Self::Hadoop => 128 << 10,
        }
    }
}

/// Compresses steps of blocks, each as a job.
pub(crate) struct Snappy {
    framing: Framing,
    pending: Pending,
    begun: bool,
}

impl Snappy {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            pending: Pending::default(),
            begun: false,
        }
    }

    fn begin(&mut self, chunks: &mut Vec<Chunk>) {
        if !self.begun && self.framing == Framing::Xerial {
            chunks.push(Chunk::Ready(Bytes::from_static(XERIAL_HEADER)));
        }
        self.begun = true;
    }
}

impl Compressor for Snappy {
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.begin(chunks);
        self.pending.push(plain);
        let framing = self.framing;
        while let Some(step) = self.pending.take_step() {
            chunks.push(Chunk::Work(Box::new(move || blocks(framing, step))));
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.pending.len()
    }

    fn finish(mut self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.begin(chunks);
        let framing = self.framing;
        let rest = self.pending.take(usize::MAX);
        if !rest.is_empty() {
            chunks.push(Chunk::Work(Box::new(move || blocks(framing, rest))));
        }
        Ok(())
    }
}

fn blocks(framing: Framing, pieces: Vec<Bytes>) -> Bytes {
    let plain = join(pieces);
    let mut snappy = snap::raw::Encoder::new();
    let mut out = Vec::with_capacity(plain.len() / 2);
    for block in plain.chunks(framing.block_bytes()) {
        if framing == Framing::Hadoop {
            out.extend(length(block.len()));
        }
        let start = out.len() + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let size = snappy
            .compress(block, &mut out[start..])
            .expect("the block is small and the room enough");
        out[start - 4..start].copy_from_slice(&length(size));
        out.truncate(start + size);
    }
    out.shrink_to_fit();
    out.into()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a block is below 4 GiB")
        .to_be_bytes()
}
