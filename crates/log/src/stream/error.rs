//! Why an embedded stream did not do what it was asked.

use hydrant_core::Action;
use hydrant_core::offload::JobLost;

use super::shard::ShardId;

/// Errors of embedded streams.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no such stream, or it was deleted.
    #[error("stream {name} does not exist")]
    NotFound {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("stream {name} exists already")]
    Exists {
        /// The name.
        name: String,
    },
    /// The stream has no such shard.
    #[error("stream {name} has no shard {shard}")]
    NoShard {
        /// The stream.
        name: String,
        /// The shard.
        shard: ShardId,
    },
    /// A position that this shard never gave out.
    #[error("position {position} is not of shard {shard} of stream {name} as it is now")]
    Foreign {
        /// The stream.
        name: String,
        /// The shard.
        shard: ShardId,
        /// The position.
        position: hydrant_core::Position,
    },
    /// A name, option or record outside its limits.
    #[error("{0}")]
    Invalid(String),
    /// An entry of the catalogue cannot be read.
    #[error("the catalogue entry of stream {name} cannot be read by this version")]
    Catalogue {
        /// The stream.
        name: String,
    },
    /// A job on the I/O pool panicked.
    #[error(transparent)]
    JobLost(#[from] JobLost),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] crate::Error),
}

impl StreamError {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Log(error) => error.action(),
            Self::Invalid(_) => Action::Reject,
            Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::NoShard { .. }
            | Self::Foreign { .. }
            | Self::Catalogue { .. }
            | Self::JobLost(_) => Action::Stop,
        }
    }
}
