//! What the source has lost of a lane: reported in the error output, beside what could be delivered.

use std::fmt;
use std::ops::Bound;

use hydrant_core::Position;

/// The word of the error output's kind.
pub(crate) const KIND: &str = "source-records-lost";

/// Records that the source no longer had when they were to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// They came after this position.
    pub(crate) after: Position,
    /// Where what is lost ends.
    pub(crate) until: Bound<Position>,
}

impl Loss {
    /// The position up to which nothing is left to read, where that is known.
    pub(crate) fn through(&self) -> Option<Position> {
        match self.until {
            Bound::Included(position) => Some(position),
            Bound::Excluded(_) | Bound::Unbounded => None,
        }
    }

    /// Bytes that tell it from every other loss of its lane.
    pub(crate) fn id(&self) -> Vec<u8> {
        let (kind, until) = match self.until {
            Bound::Included(position) => (0, position),
            Bound::Excluded(position) => (1, position),
            Bound::Unbounded => (2, Position::END),
        };
        [&self.after.as_bytes()[..], &[kind], until.as_bytes()].concat()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}", self.after)?;
        match self.until {
            Bound::Included(position) => write!(f, ", up to and with {position}"),
            Bound::Excluded(position) => write!(f, ", before {position}"),
            Bound::Unbounded => Ok(()),
        }
    }
}
