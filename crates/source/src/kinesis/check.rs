//! Tries everything that reading a stream does, and says which permission a refused step needs.
//! Nothing is changed at the stream. Every request is tried once.

use hydrant_aws::{Refused, RefusedKind};
use hydrant_core::retry::Class;

use super::client::{Failure, KinesisClient};
use super::start::Begin;

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
        let fault = failure.into_fault();
        Refused {
            step,
            kind: RefusedKind::of(&fault, action),
            error: fault.text,
        }
    })
}
