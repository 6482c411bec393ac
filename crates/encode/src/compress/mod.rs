//! Compression of an object's plain bytes, a container a file. Every compressor sees windows that
//! are counted from the object's first byte, so how the bytes came to it leaves no trace.

pub(crate) mod window;

mod deflate;

mod gzip;

mod zip;

mod snappy;

mod zstd;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::stage::{Chunk, EncodeError};

use crate::settings::Compression;

/// The compressor of one object.
pub(crate) trait Compressor: Send {
    /// Adds plain bytes; appends to `chunks` what is finished.
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError>;

    /// Bytes of memory that it holds now.
    fn held_bytes(&self) -> usize;

    /// Ends the object; appends the last chunks.
    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError>;
}

/// Makes the compressor of the object `id`.
pub(crate) fn compressor(compression: Compression, id: &Digest) -> Box<dyn Compressor> {
    match compression {
        Compression::None => Box::new(Plain),
        Compression::Gzip { level } => Box::new(gzip::Gzip::new(level)),
        Compression::Zip => Box::new(zip::Zip::new(id)),
        Compression::Snappy => Box::new(snappy::Snappy::new(snappy::Framing::Xerial)),
        Compression::HadoopSnappy => Box::new(snappy::Snappy::new(snappy::Framing::Hadoop)),
        Compression::Zstd { level } => Box::new(zstd::Zstd::new(level)),
    }
}

/// Passes the bytes on.
struct Plain;

impl Compressor for Plain {
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        if !plain.is_empty() {
            chunks.push(Chunk::Ready(plain));
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        0
    }

    fn finish(self: Box<Self>, _chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        Ok(())
    }
}
