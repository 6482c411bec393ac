//! Where positions and intents live: the seam between the pipeline and the state store of a
//! machine, or later a lease table or a consumer group.

use bytes::Bytes;

use crate::{Action, BoxFuture, LaneKey, Position};

/// An encoded intent is at most this long, so that every store can hold one (a Kafka offset's
/// metadata is limited to 4096 bytes).
pub const INTENT_MAX_BYTES: usize = 4096;

/// What is durably known of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Everything up to and including this position is delivered. The start position of a lane
    /// that has delivered nothing yet.
    pub position: Position,
    /// Raised when the position is moved on purpose, so that names differ from then on.
    pub generation: u64,
    /// The recorded cut of the range after `position`, encoded by the pipeline; opaque here.
    pub intent: Option<Bytes>,
    /// The lane ended (a closed shard, read to its end) and everything of it is delivered.
    pub ended: bool,
}

impl LaneState {
    /// A lane that starts after `position`.
    pub fn starting_after(position: Position) -> Self {
        Self {
            position,
            generation: 1,
            intent: None,
            ended: false,
        }
    }
}

/// Why a state was not read or stored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another owner has taken the lane: stop at once, commit nothing.
    #[error("another worker owns the lane")]
    Fenced,
    /// The store did not answer, or failed; what was asked may or may not have happened.
    #[error("the position store failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A broken promise: the position would move backward, or an intent is too long.
    #[error("{0}")]
    Invariant(String),
}

impl StateError {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Unavailable(_) => Action::Retry { after: None },
            Self::Fenced | Self::Invariant(_) => Action::Stop,
        }
    }
}

/// The store of positions and intents of all lanes.
pub trait StateStore: Send + Sync {
    /// Takes a lane: gives a handle that alone writes its state until someone else takes it.
    fn open(&self, key: LaneKey) -> BoxFuture<'_, Result<Box<dyn LaneStore>, StateError>>;
}

/// The state of one owned lane.
pub trait LaneStore: Send {
    /// What is stored; `None` where the lane is new.
    fn current(&self) -> Option<&LaneState>;

    /// Replaces the state; durable once this returns `Ok`. After `Unavailable`, or when dropped
    /// before it ended, either state may be found.
    fn store(&mut self, next: LaneState) -> BoxFuture<'_, Result<(), StateError>>;
}
