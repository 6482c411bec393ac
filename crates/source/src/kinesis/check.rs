//! Tries everything that reading a stream does, and says which permission a refused step needs.
//! Nothing is changed at the stream. Every request is tried once.

use hydrant_core::retry::Class;

use super::client::{Failure, KinesisClient};
use super::start::Begin;

/// A step that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was tried.
    pub step: &'static str,
    /// The server's words.
    pub error: String,
    /// Why, as far as it can be told.
    pub kind: RefusedKind,
}

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// The stream is not there.
    NoStream,
    /// The keys are not known, their signature is wrong, or there are none.
    Credentials,
    /// This IAM action is not allowed.
    Action(&'static str),
    /// The server cannot be reached, or answers what cannot be used.
    Server,
}

impl KinesisClient {
    /// Describes the stream, lists its shards, and reads one record of one.
    ///
    /// # Errors
    /// The first step that is refused: what follows needs it.
    pub async fn check(&self) -> Result<(), Refused> {
        let described = self.describe().await.map(drop);
        passed(
            "describing the stream",
            "kinesis:DescribeStreamSummary",
            described,
        )?;
        let shards = passed(
            "listing the shards",
            "kinesis:ListShards",
            self.shards().await,
        )?;
        // The newest: it is open, and not about to be trimmed.
        let Some(shard) = shards.last() else {
            return Ok(());
        };
        let iterator = self.iterator(&shard.lane, Begin::TrimHorizon).await;
        let iterator = passed(
            "asking for an iterator",
            "kinesis:GetShardIterator",
            iterator,
        )?;
        let read = self.records(self.slot().await, &iterator, 1).await;
        match read {
            // Someone else reads the shard: it may be read.
            Err(Failure::Fault(fault)) if fault.class == Class::Throttled => Ok(()),
            read => passed("reading a record", "kinesis:GetRecords", read.map(drop)),
        }
    }
}

fn passed<T>(
    step: &'static str,
    action: &'static str,
    done: Result<T, Failure>,
) -> Result<T, Refused> {
    done.map_err(|failure| {
        let kind = match &failure {
            Failure::Gone(_) => RefusedKind::NoStream,
            Failure::Fault(fault) if fault.class == Class::Auth => {
                if fault.text.contains("AccessDenied") {
                    RefusedKind::Action(action)
                } else {
                    RefusedKind::Credentials
                }
            }
            _ => RefusedKind::Server,
        };
        Refused {
            step,
            error: failure.to_string(),
            kind,
        }
    })
}
