//! Where reading starts the first time, fixed once for all shards of a stream.
//!
//! `latest` is the moment at which the delivery stream first saw the stream. Whatever the start, it is
//! stored before the first read, so that neither a restart, another setting, nor a shard that is split
//! meanwhile skips anything: every shard is read from there on, which for one that is made later is
//! its beginning.

use hydrant_core::stage::SourceError;
use hydrant_core::state::{LaneState, StateStore};
use hydrant_core::{Lane, LaneKey, Position};

use crate::reading::StartAt;

/// Under this name the start is stored, beside the shards, of which none is called so.
const START: &str = "@start";

/// The position after which a shard is read the first time: below all sequence numbers, with the time
/// in milliseconds where it starts at one.
pub(super) fn position(start_ms: Option<u64>) -> Position {
    Position::START.with_sub(start_ms.unwrap_or(0))
}

/// What a position asks Kinesis for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// All that is kept.
    TrimHorizon,
    /// What arrived at this time or later, milliseconds since the epoch.
    Time(u64),
    /// What follows this record.
    After(Position),
}

impl Begin {
    pub(super) fn of(after: Position) -> Self {
        match (after.same_sequence(&Position::START), after.sub_sequence()) {
            (false, _) => Self::After(after.with_sub(0)),
            (true, 0) => Self::TrimHorizon,
            (true, ms) => Self::Time(ms),
        }
    }
}

/// The time from which on shards are read, `None` for all that is kept: as it was stored, or else as
/// it is set, which is stored.
pub(super) async fn resolve(
    start: StartAt,
    key: LaneKey,
    state: &dyn StateStore,
    now_ms: u64,
) -> Result<Option<u64>, SourceError> {
    let failed = |error| SourceError::Unavailable(Box::new(error));
    let key = LaneKey {
        lane: Lane::new(START),
        ..key
    };
    let mut store = state.open(key).await.map_err(failed)?;
    if store.current().is_none() {
        let first = position(match start {
            StartAt::TrimHorizon => None,
            StartAt::Timestamp(ms) => Some(ms),
            StartAt::Latest => Some(now_ms),
        });
        let state = LaneState::starting_after(first);
        store.store(state).await.map_err(failed)?;
    }
    let stored = store.current().map(|state| state.position.sub_sequence());
    Ok(stored.filter(|ms| *ms > 0))
}

#[cfg(test)]
mod tests {
    use hydrant_core::Position;

    use super::{Begin, position};

    #[test]
    fn a_start_is_below_every_number_and_comes_back() {
        let start = position(Some(1_700_000_000_000));
        assert!(start < Position::from_u64(1) && position(None) < start);
        assert_eq!(Begin::of(start), Begin::Time(1_700_000_000_000));
        assert_eq!(Begin::of(position(None)), Begin::TrimHorizon);
        let record = Position::from_u64(9);
        assert_eq!(Begin::of(record.with_sub(4)), Begin::After(record));
    }
}
