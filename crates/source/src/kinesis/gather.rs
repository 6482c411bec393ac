//! What comes of an answer of `GetRecords`, in whatever form it came.

use hydrant_core::{Position, Records, RecordsBuilder};

/// Gathers records whose numbers must rise.
pub(super) struct Gather {
    builder: RecordsBuilder,
    after: Position,
    last: Option<Position>,
    seen: Seen,
}

impl Gather {
    pub(super) fn new(records: usize, bytes: usize, after: Position) -> Self {
        Self {
            builder: RecordsBuilder::with_capacity(records, bytes),
            after,
            last: None,
            seen: Seen::default(),
        }
    }

    /// Adds a record, unless it stands at or before the asked position.
    pub(super) fn push(
        &mut self,
        number: &str,
        arrival_ms: u64,
        key: &[u8],
        data: &[u8],
    ) -> Result<(), Wrong> {
        let position = Position::from_decimal(number)
            .filter(|position| *position > Position::START)
            .ok_or_else(|| {
                let number = number.escape_debug();
                Wrong::Numbers(format!("`{number}` is no sequence number"))
            })?;
        if self.last.is_some_and(|last| position <= last) {
            return Err(Wrong::Numbers(format!(
                "sequence numbers do not rise at {number}"
            )));
        }
        self.last = Some(position);
        self.seen.records += 1;
        self.seen.bytes += data.len();
        if position > self.after && !position.same_sequence(&self.after) {
            self.builder.push(position, arrival_ms, key, data);
        }
        Ok(())
    }

    pub(super) fn done(self) -> (Records, Seen) {
        (self.builder.build(), self.seen)
    }
}

/// What an answer says beside its records.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The next iterator; none at the end of the shard.
    pub(super) next: Option<String>,
    pub(super) behind_ms: u64,
}

/// How much an answer had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) records: usize,
    /// Bytes of data.
    pub(super) bytes: usize,
}

/// Why an answer cannot be used.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is not what Kinesis sends: another one may be.
    Malformed(String),
    /// Sequence numbers are none, or do not rise.
    Numbers(String),
}

impl From<minicbor::decode::Error> for Wrong {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
