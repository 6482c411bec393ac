//! Objects that are records one after the other, each followed by the delimiter. Takes outputs,
//! gives chunks; the container is the compressor's.
//!
//! The delimiter follows every record, also one that ends with it already: what a reader splits
//! off is then the record, byte for byte.

use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::stage::{Chunk, Encode, EncodeError, Encoder, Piece, Prepared};

use crate::compress::{self, Compressor};
use crate::settings::{Compression, Delimiter};

/// Joins records and compresses them.
pub(crate) struct Joined {
    delimiter: Delimiter,
    compression: Compression,
    digest: Digest,
}

impl Joined {
    pub(crate) fn new(delimiter: Delimiter, compression: Compression, digest: Digest) -> Self {
        Self {
            delimiter,
            compression,
            digest,
        }
    }
}

impl Encode for Joined {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn extension(&self) -> &str {
        self.compression.extension()
    }

    fn content_encoding(&self) -> Option<&str> {
        self.compression.content_encoding()
    }

    fn prepare(&self, outputs: &[&[u8]]) -> Prepared {
        let delimiter = self.delimiter.bytes();
        let bytes = outputs
            .iter()
            .map(|output| output.len() + delimiter.len())
            .sum();
        if outputs.is_empty() {
            return Prepared {
                piece: None,
                refused: Vec::new(),
            };
        }
        let mut joined = Vec::with_capacity(bytes);
        for output in outputs {
            joined.extend_from_slice(output);
            joined.extend_from_slice(delimiter);
        }
        let body = Box::new(Bytes::from(joined));
        let piece = Piece {
            bytes,
            records: outputs.len() as u64,
            held: bytes,
            body,
        };
        Prepared {
            piece: Some(piece),
            refused: Vec::new(),
        }
    }

    fn encoder(&self, id: &Digest) -> Box<dyn Encoder> {
        Box::new(JoinedEncoder(compress::compressor(self.compression, id)))
    }
}

/// The encoder of one object: hands the pieces' bytes to the compressor.
struct JoinedEncoder(Box<dyn Compressor>);

impl Encoder for JoinedEncoder {
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        let body = piece.body.downcast::<Bytes>();
        let plain = body.map_err(|_| EncodeError("the piece is not of joined records".into()))?;
        self.0.write(*plain, chunks)
    }

    fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }

    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.0.finish(chunks)
    }
}
