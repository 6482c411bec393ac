//! The pieces of an object before it has enough for an encoder.
//!
//! With many partitions most objects get a record or two of each micro-batch. An encoder for each
//! would hold far more than they do, and so would their pieces: so they are joined as they come, by
//! eights, and then eights of these.

use std::sync::Arc;

use hydrant_core::budget::Permit;
use hydrant_core::stage::{Encode, EncodeError, Piece};

use crate::object::PIECE_BYTES;

/// An object has enough for an encoder: a chunk that any of them compresses well.
const ENOUGH_BYTES: usize = 1 << 20;
/// Pieces that are joined at a time: few, for small pieces hold more than their bytes; and not two,
/// for each join copies.
const JOINED: usize = 8;

/// Pieces in order, and the bytes of the budget that they hold.
pub(crate) struct Gathered {
    /// With how often each was joined: never more often than the one before it.
    pieces: Vec<(Piece, u32)>,
    permit: Permit,
    plain_bytes: usize,
}

impl Gathered {
    /// None; `permit` is of 0 bytes.
    pub(crate) fn new(permit: Permit) -> Self {
        Self {
            pieces: Vec::new(),
            permit,
            plain_bytes: 0,
        }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Piece) {
        self.plain_bytes += piece.bytes;
        self.pieces.push((piece, 0));
        self.hold();
    }

    /// Whether they are enough for an encoder.
    pub(crate) fn is_enough(&self) -> bool {
        self.plain_bytes >= ENOUGH_BYTES
    }

    /// Whether the last of them are to be joined.
    pub(crate) fn may_join(&self) -> bool {
        let Some((_, last)) = self.pieces.last() else {
            return false;
        };
        let same = self
            .pieces
            .iter()
            .rev()
            .take_while(|(_, level)| level == last);
        same.take(JOINED).count() == JOINED
    }

    /// Joins the last of them, as long as there is something to join. Work for the CPU pool.
    pub(crate) fn join(mut self, encode: &Arc<dyn Encode>) -> Result<Self, EncodeError> {
        while self.may_join() {
            let level = self.pieces.last().map_or(0, |(_, level)| level + 1);
            let from = self.pieces.len() - JOINED;
            let pieces = self.pieces.drain(from..).map(|(piece, _)| piece).collect();
            self.pieces.push((encode.join(pieces)?, level));
        }
        self.hold();
        Ok(self)
    }

    /// The pieces, and what they hold.
    pub(crate) fn take(self) -> (Vec<Piece>, Permit) {
        let pieces = self.pieces.into_iter().map(|(piece, _)| piece).collect();
        (pieces, self.permit)
    }

    fn hold(&mut self) {
        let held = self
            .pieces
            .iter()
            .map(|(piece, _)| piece.held + PIECE_BYTES);
        self.permit.resize(held.sum());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hydrant_core::Digest;
    use hydrant_core::budget::Budget;
    use hydrant_core::stage::Encode;
    use hydrant_testkit::sim::SimEncode;

    use super::Gathered;

    #[test]
    fn pieces_are_joined_in_order_and_stay_few() {
        let encode: Arc<dyn Encode> = Arc::new(SimEncode);
        let account = Budget::new(1 << 20).account("test");
        let (mut gathered, mut most) = (Gathered::new(account.take_now(0)), 0);
        let mut expected = Vec::new();
        for i in 0..1_000 {
            let line = format!("{i}");
            expected.extend_from_slice(format!("{line}\n").as_bytes());
            gathered.push(
                encode
                    .prepare(&[line.as_bytes()])
                    .piece
                    .expect("one output"),
            );
            if gathered.may_join() {
                gathered = gathered.join(&encode).expect("joined");
            }
            most = most.max(gathered.pieces.len());
            let held: usize = gathered.pieces.iter().map(|(piece, _)| piece.held).sum();
            assert_eq!(held, expected.len());
            assert_eq!(
                account.held(),
                held + gathered.pieces.len() * super::PIECE_BYTES
            );
        }
        assert!(most <= 4 * super::JOINED, "{most}");
        let (pieces, permit) = gathered.take();
        assert_eq!(pieces.iter().map(|piece| piece.records).sum::<u64>(), 1_000);
        let (mut encoder, mut chunks) = (encode.encoder(&Digest::of(b"")), Vec::new());
        for piece in pieces {
            encoder.write(piece, &mut chunks).expect("written");
        }
        encoder.finish(&mut chunks).expect("finished");
        let object: Vec<u8> = chunks
            .into_iter()
            .flat_map(|chunk| match chunk {
                hydrant_core::stage::Chunk::Ready(bytes) => bytes,
                hydrant_core::stage::Chunk::Work(work) => work(),
            })
            .collect();
        assert_eq!(object, expected);
        drop(permit);
        assert_eq!(account.held(), 0);
    }
}
