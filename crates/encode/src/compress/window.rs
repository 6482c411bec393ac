//! Plain bytes that wait for a compressor, cut into windows counted from the first byte.

use std::collections::VecDeque;

use bytes::Bytes;

/// The step in which an object that is not held whole is compressed: large enough that what a
/// compressor forgets at a border costs little (0.1 % for deflate), small enough to bound memory.
pub(crate) const STEP_BYTES: usize = 1 << 20;

/// Pieces in order.
#[derive(Default)]
pub(crate) struct Pending {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Pending {
    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Takes the first `count` bytes, or all where there are not so many.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        while left > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            if piece.len() > left {
                self.pieces.push_front(piece.split_off(left));
            }
            left -= piece.len();
            taken.push(piece);
        }
        taken
    }

    /// Takes the first step, if there is a whole one.
    pub(crate) fn take_step(&mut self) -> Option<Vec<Bytes>> {
        (self.bytes >= STEP_BYTES).then(|| self.take(STEP_BYTES))
    }
}

/// The pieces as one run of bytes; copied only where there are several.
pub(crate) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() < 2 {
        return pieces.pop().unwrap_or_default();
    }
    let mut joined = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        joined.extend_from_slice(&piece);
    }
    joined.into()
}
