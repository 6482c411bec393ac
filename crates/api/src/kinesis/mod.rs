//! The Kinesis Data Streams operations on embedded streams: shapes and messages as Kinesis has
//! them (target `Kinesis_20131202`).

mod naming;

mod streams;

mod shards;

mod put;

mod iterator;

mod records;

mod token;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_core::budget::{Account, Permit};
use hydrant_core::clock::Clock;
use hydrant_log::stream::{StreamError, Streams};

use crate::protocol::{Fault, Members, Reply, Wire};
use crate::settings::ACCOUNT_ID;

/// What `X-Amz-Target` begins with.
pub(crate) const TARGET: &str = "Kinesis_20131202.";

/// Bodies of calls that carry no records; none of them needs more.
const SMALL_BODY_BYTES: usize = 1 << 20;

/// How long a call waits for memory before it is told to come back.
const BUDGET_WAIT: Duration = Duration::from_secs(2);

/// Work on fewer bytes than this stays on its thread: below 1 ms. A call of 500 records of the usual
/// size is 0.4 MiB and takes 0.3 ms; another thread for it would cost a tenth of that.
const INLINE_BYTES: usize = 1 << 20;

/// Serves the operations.
pub(crate) struct Kinesis {
    streams: Arc<Streams>,
    account: Account,
    clock: Arc<dyn Clock>,
    region: String,
}

impl Kinesis {
    pub(crate) fn new(
        streams: Arc<Streams>,
        account: Account,
        clock: Arc<dyn Clock>,
        region: String,
    ) -> Self {
        Self {
            streams,
            account,
            clock,
            region,
        }
    }

    /// Whether there is such an operation.
    pub(crate) fn knows(operation: &str) -> bool {
        matches!(
            operation,
            "PutRecord"
                | "PutRecords"
                | "GetRecords"
                | "GetShardIterator"
                | "CreateStream"
                | "DeleteStream"
                | "DescribeStream"
                | "DescribeStreamSummary"
                | "ListStreams"
                | "ListShards"
        )
    }

    /// Serves one call, whose body and answer are in the form `wire`.
    pub(crate) async fn call(
        self: &Arc<Self>,
        operation: &str,
        wire: Wire,
        body: Bytes,
    ) -> Result<Reply, Fault> {
        match operation {
            "PutRecord" => return self.put_record(wire, body).await,
            "PutRecords" => return self.put_records(wire, body).await,
            _ => {}
        }
        if body.len() > SMALL_BODY_BYTES {
            return Err(Fault::serialization(format!(
                "the request body of {operation} is {} bytes, limit {SMALL_BODY_BYTES}",
                body.len()
            )));
        }
        let map = wire.parse(&body)?;
        let members = Members::new(&map);
        let answer = match operation {
            "GetRecords" => return self.get_records(wire, &members).await,
            "GetShardIterator" => self.get_shard_iterator(&members)?,
            "CreateStream" => self.create_stream(&members).await?,
            "DeleteStream" => self.delete_stream(&members).await?,
            "DescribeStream" => self.describe_stream(&members)?,
            "DescribeStreamSummary" => self.describe_stream_summary(&members)?,
            "ListStreams" => self.list_streams(&members)?,
            "ListShards" => self.list_shards(&members)?,
            _ => return Err(Fault::unknown_operation()),
        };
        Ok(Reply::of(&answer, wire))
    }

    fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Takes bytes of the budget; gives up when they are not free soon.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<Permit, Fault> {
        tokio::select! {
            biased;
            permit = self.account.take(bytes) => Ok(permit),
            () = self.clock.sleep(BUDGET_WAIT) => Err(Fault::throttled(
                "the memory budget is full; calls are taken again once deliveries catch up",
            )),
        }
    }
}

/// What an error of a stream is to the client. What broke here is logged, once.
fn fault(error: &StreamError) -> Fault {
    match error {
        StreamError::NotFound { name } => Fault::not_found(format!(
            "Stream {name} under account {ACCOUNT_ID} not found."
        )),
        StreamError::Exists { name } => Fault::in_use(format!(
            "Stream {name} under account {ACCOUNT_ID} already exists."
        )),
        StreamError::NoShard { name, shard } => Fault::not_found(format!(
            "Shard {shard} in stream {name} under account {ACCOUNT_ID} does not exist"
        )),
        StreamError::Invalid(message) => Fault::argument(message.clone()),
        StreamError::Log(hydrant_log::Error::LowSpace) => {
            Fault::throttled("the disk is nearly full; puts are taken again once space is free")
        }
        StreamError::Foreign { .. }
        | StreamError::Catalogue { .. }
        | StreamError::JobLost(_)
        | StreamError::Log(_) => {
            tracing::error!(error = error as &dyn std::error::Error, "a stream failed");
            Fault::internal()
        }
    }
}

/// Runs work that holds the CPU off the async threads, unless it is short.
async fn off_thread<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    if bytes < INLINE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a call panicked");
        Fault::internal()
    })
}
