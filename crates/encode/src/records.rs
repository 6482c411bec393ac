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

    fn join(&self, pieces: Vec<Piece>) -> Result<Piece, EncodeError> {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        let records = pieces.iter().map(|piece| piece.records).sum();
        let mut joined = Vec::with_capacity(bytes);
        for piece in pieces {
            joined.extend_from_slice(&plain(piece)?);
        }
        let body = Box::new(Bytes::from(joined));
        Ok(Piece {
            bytes,
            records,
            held: bytes,
            body,
        })
    }

    fn encoder(&self, id: &Digest) -> Box<dyn Encoder> {
        Box::new(JoinedEncoder(compress::compressor(self.compression, id)))
    }
}

/// The encoder of one object: hands the pieces' bytes to the compressor.
struct JoinedEncoder(Box<dyn Compressor>);

impl Encoder for JoinedEncoder {
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.0.write(plain(piece)?, chunks)
    }

    fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }

    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.0.finish(chunks)
    }
}

fn plain(piece: Piece) -> Result<Bytes, EncodeError> {
    let body = piece.body.downcast::<Bytes>();
    body.map(|plain| *plain)
        .map_err(|_| EncodeError("the piece is not of joined records".into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hydrant_core::Digest;
    use hydrant_core::stage::{Chunk, Encode as _, Piece};

    use super::Joined;
    use crate::settings::{Compression, Delimiter};

    fn joined(delimiter: Delimiter) -> Joined {
        Joined::new(delimiter, Compression::None, Digest::of(b""))
    }

    #[test]
    fn a_delimiter_follows_every_record() {
        for (delimiter, text) in [
            (Delimiter::Newline, "a\n\nb\n\n"),
            (Delimiter::None, "ab\n"),
            (Delimiter::Custom(b"\r\n".to_vec()), "a\r\n\r\nb\n\r\n"),
        ] {
            let prepared = joined(delimiter).prepare(&[b"a", b"", b"b\n"]);
            assert!(prepared.refused.is_empty());
            let piece = prepared.piece.unwrap();
            assert_eq!(
                (piece.bytes, piece.held, piece.records),
                (text.len(), text.len(), 3)
            );
            assert_eq!(*piece.body.downcast::<Bytes>().unwrap(), text.as_bytes());
        }
        assert!(joined(Delimiter::Newline).prepare(&[]).piece.is_none());
    }

    #[test]
    fn pieces_pass_as_they_are_without_compression() {
        let stage = joined(Delimiter::Newline);
        let mut encoder = stage.encoder(&Digest::of(b"object"));
        let mut chunks = Vec::new();
        encoder
            .write(stage.prepare(&[b"x"]).piece.unwrap(), &mut chunks)
            .unwrap();
        assert_eq!(encoder.held_bytes(), 0);
        encoder.finish(&mut chunks).unwrap();
        let [Chunk::Ready(bytes)] = &chunks[..] else {
            panic!("one chunk, ready")
        };
        assert_eq!(bytes, "x\n");
    }

    #[test]
    fn joined_pieces_are_as_if_prepared_at_once() {
        let stage = joined(Delimiter::Newline);
        let one = |outputs: &[&[u8]]| stage.prepare(outputs).piece.unwrap();
        let piece = stage.join(vec![one(&[b"a", b"b"]), one(&[b""]), one(&[b"c"])]);
        let (piece, whole) = (piece.unwrap(), one(&[b"a", b"b", b"", b"c"]));
        assert_eq!(
            (piece.bytes, piece.held, piece.records),
            (whole.bytes, whole.held, 4)
        );
        assert_eq!(*piece.body.downcast::<Bytes>().unwrap(), "a\nb\n\nc\n");
    }

    #[test]
    fn a_piece_of_another_stage_is_an_error() {
        let piece = Piece {
            bytes: 0,
            records: 0,
            held: 0,
            body: Box::new(()),
        };
        let mut encoder = joined(Delimiter::None).encoder(&Digest::of(b"object"));
        assert!(encoder.write(piece, &mut Vec::new()).is_err());
    }
}
