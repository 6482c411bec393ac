//! Gzip (RFC 1952), always one member: some readers stop silently after the first
//! (aws-sdk-java-v2#7046). The header has no time, no name and no system.

use bytes::Bytes;
use hydrant_core::stage::{Chunk, EncodeError};

use super::Compressor;
use super::deflate::{HOLD_BYTES, chunk, whole};
use super::window::Pending;

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Holds up to 16 MiB for one job; a larger object is made of chunks.
pub(crate) struct Gzip {
    level: u8,
    pending: Pending,
    crc: crc32fast::Hasher,
    bytes: u64,
    streaming: bool,
}

impl Gzip {
    pub(crate) fn new(level: u8) -> Self {
        Self {
            level,
            pending: Pending::default(),
            crc: crc32fast::Hasher::new(),
            bytes: 0,
            streaming: false,
        }
    }
}

impl Compressor for Gzip {
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.crc.update(&plain);
        self.bytes += plain.len() as u64;
        self.pending.push(plain);
        if !self.streaming && self.pending.len() <= HOLD_BYTES {
            return Ok(());
        }
        if !self.streaming {
            self.streaming = true;
            chunks.push(Chunk::Ready(Bytes::from_static(&HEADER)));
        }
        let level = self.level;
        while let Some(step) = self.pending.take_step() {
            chunks.push(Chunk::Work(Box::new(move || chunk(level, step, false))));
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.pending.len()
    }

    fn finish(mut self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        let level = self.level;
        let rest = self.pending.take(usize::MAX);
        let tail = trailer(self.crc.finalize(), self.bytes);
        if self.streaming {
            chunks.push(Chunk::Work(Box::new(move || chunk(level, rest, true))));
            chunks.push(Chunk::Ready(Bytes::copy_from_slice(&tail)));
        } else {
            let job = move || whole(level, rest, &HEADER, |_| tail.to_vec());
            chunks.push(Chunk::Work(Box::new(job)));
        }
        Ok(())
    }
}

/// CRC-32 and the size modulo 2^32, both little-endian.
fn trailer(crc: u32, bytes: u64) -> [u8; 8] {
    let size = bytes & u64::from(u32::MAX);
    (u64::from(crc) | size << 32).to_le_bytes()
}
