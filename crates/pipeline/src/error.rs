//! Why a lane stopped.

use hydrant_core::Action;
use hydrant_core::offload::JobLost;
use hydrant_core::stage::{Blocked, EncodeError, SinkError, SourceError};
use hydrant_core::state::StateError;

/// What ended the work on a lane. Nothing is lost by any of them: what was not committed is read
/// and delivered again.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The source could not be read.
    #[error("reading the source failed")]
    Source(#[from] SourceError),
    /// The position store failed, or the lane has another owner.
    #[error("the position store refused")]
    State(#[from] StateError),
    /// The destination did not take an object.
    #[error("delivery failed")]
    Sink(#[from] SinkError),
    /// An encoder failed.
    #[error("encoding failed")]
    Encode(#[from] EncodeError),
    /// A job on the CPU pool panicked.
    #[error("rendering failed")]
    Job(#[from] JobLost),
    /// A transform says nothing of a micro-batch now.
    #[error("a processor cannot go on")]
    Blocked(#[from] Blocked),
    /// The version that a range began with cannot be had.
    #[error("the version {version} that an open intent names cannot be loaded: {reason}")]
    Version {
        /// Its digest, in hex.
        version: String,
        /// Why.
        reason: String,
    },
    /// Something that cannot be, was.
    #[error("broken invariant: {0}")]
    Invariant(String),
}

impl LaneError {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Source(error) => error.action(),
            Self::State(error) => error.action(),
            Self::Sink(error) => error.action(),
            Self::Encode(_) | Self::Job(_) | Self::Blocked(_) => Action::Retry { after: None },
            Self::Version { .. } | Self::Invariant(_) => Action::Stop,
        }
    }

    /// Whether another worker has taken the lane, so that this one must let go of it.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::State(StateError::Fenced))
    }
}
