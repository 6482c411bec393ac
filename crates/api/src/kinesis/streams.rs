//! Making, deleting and describing streams. A stream is made and deleted within the call, so that
//! the states CREATING and DELETING are never seen.

use std::time::Duration;

use hydrant_log::stream::registry::MAX_SHARDS;
use hydrant_log::stream::{Stream, StreamError, StreamOptions};
use serde_json::{Value, json};

use super::naming::check_name;
use super::token::{Kind, TOLERATED_MS, Token};
use super::{Kinesis, fault};
use crate::protocol::instant::seconds;
use crate::protocol::{Checks, Fault, Members};

/// Shards of a stream that is asked for as on-demand, as Kinesis starts one.
const ON_DEMAND_SHARDS: u32 = 4;

/// Most streams in one answer of `ListStreams`, and the default.
const LIST_DEFAULT: usize = 100;
const LIST_MAX: i64 = 10_000;

/// Most shards in one answer of `DescribeStream`, and the default.
const DESCRIBE_MAX: usize = 100;

/// Bounds of `MaxRecordSizeInKiB`.
const RECORD_KIB: (i64, i64) = (1024, 10_240);

impl Kinesis {
    pub(super) async fn create_stream(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let name = members.string("StreamName")?;
        let count = members.integer("ShardCount")?;
        let record_kib = members.integer("MaxRecordSizeInKiB")?;
        let on_demand = on_demand(members)?;
        let mut checks = Checks::default();
        match name {
            Some(name) => check_name(&mut checks, name, "streamName"),
            None => checks.missing("streamName"),
        }
        if let Some(count) = count {
            checks.range(count, "shardCount", 1, i64::from(i32::MAX));
        }
        if let Some(kib) = record_kib {
            checks.range(kib, "maxRecordSizeInKiB", RECORD_KIB.0, RECORD_KIB.1);
        }
        checks.done()?;
        refuse_unsupported(members)?;
        let shards = match (count, on_demand) {
            (Some(_), true) => {
                return Err(Fault::argument(
                    "ShardCount can not be set for an ON_DEMAND stream.",
                ));
            }
            (None, true) => ON_DEMAND_SHARDS,
            (Some(count), false) => u32::try_from(count).unwrap_or(u32::MAX),
            (None, false) => {
                return Err(Fault::argument(
                    "ShardCount must be set for a PROVISIONED stream.",
                ));
            }
        };
        if shards > MAX_SHARDS {
            return Err(Fault::limit(format!(
                "a stream can have {MAX_SHARDS} shards, the request asks for {shards}"
            )));
        }
        let mut options = StreamOptions {
            shards,
            on_demand,
            ..StreamOptions::default()
        };
        if let Some(kib) = record_kib {
            options.max_record_bytes = usize::try_from(kib).unwrap_or(usize::MAX) << 10;
        }
        let (streams, name) = (self.streams.clone(), name.unwrap_or_default().to_owned());
        to_its_end(async move { streams.create(&name, options).await.map(drop) }).await
    }

    pub(super) async fn delete_stream(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let (name, arn) = (members.string("StreamName")?, members.string("StreamARN")?);
        let (streams, name) = (self.streams.clone(), self.name_of(name, arn)?.to_owned());
        to_its_end(async move { streams.delete(&name).await }).await
    }

    pub(super) fn describe_stream(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let limit = members.integer("Limit")?;
        let mut checks = Checks::default();
        if let Some(limit) = limit {
            checks.range(limit, "limit", 1, 10_000);
        }
        checks.done()?;
        let stream = self.stream(members)?;
        let from = super::shards::after(&stream, members.string("ExclusiveStartShardId")?)?;
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(DESCRIBE_MAX);
        let rest = &stream.shards()[from..];
        let shown = &rest[..rest.len().min(limit.min(DESCRIBE_MAX))];
        let mut description = self.described(&stream);
        description["Shards"] = shown.iter().map(super::shards::shape).collect();
        description["HasMoreShards"] = (shown.len() < rest.len()).into();
        Ok(json!({ "StreamDescription": description }))
    }

    pub(super) fn describe_stream_summary(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let stream = self.stream(members)?;
        let open = stream
            .shards()
            .iter()
            .filter(|shard| shard.closed_s.is_none())
            .count();
        let mut summary = self.described(&stream);
        summary["OpenShardCount"] = open.into();
        summary["ConsumerCount"] = 0.into();
        summary["MaxRecordSizeInKiB"] = (stream.max_record_bytes() >> 10).into();
        Ok(json!({ "StreamDescriptionSummary": summary }))
    }

    pub(super) fn list_streams(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let limit = members.integer("Limit")?;
        let mut checks = Checks::default();
        if let Some(limit) = limit {
            checks.range(limit, "limit", 1, LIST_MAX);
        }
        checks.done()?;
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(LIST_DEFAULT);
        let after = match members.string("NextToken")? {
            Some(text) => Some(self.page(text, Kind::Streams)?.name),
            None => members
                .string("ExclusiveStartStreamName")?
                .map(str::to_owned),
        };
        let mut streams = self.streams.list();
        streams.retain(|stream| after.as_deref().is_none_or(|after| stream.name() > after));
        let more = streams.len() > limit;
        streams.truncate(limit);
        let names: Vec<&str> = streams.iter().map(|stream| stream.name()).collect();
        let summaries: Vec<Value> = streams
            .iter()
            .map(|stream| self.summarised(stream))
            .collect();
        let mut answer =
            json!({ "StreamNames": names, "HasMoreStreams": more, "StreamSummaries": summaries });
        if let (true, Some(last)) = (more, names.last()) {
            answer["NextToken"] = Token {
                kind: Kind::Streams,
                identity: [0; 16],
                shard: 0,
                after: hydrant_core::Position::START,
                issued_ms: self.now_ms(),
                name: (*last).to_owned(),
            }
            .encode()
            .into();
        }
        Ok(answer)
    }

    /// Reads the token of a next page.
    pub(super) fn page(&self, text: &str, kind: Kind) -> Result<Token, Fault> {
        let token = Token::decode(text).filter(|token| token.kind == kind);
        let token = token.ok_or_else(|| Fault::argument("Invalid NextToken."))?;
        if token.expired(self.now_ms()) {
            return Err(Fault::new(
                "ExpiredNextTokenException",
                format!(
                    "NextToken expired: it was given more than {TOLERATED_MS} milliseconds ago."
                ),
            ));
        }
        Ok(token)
    }

    fn summarised(&self, stream: &Stream) -> Value {
        json!({
            "StreamName": stream.name(),
            "StreamARN": self.arn(stream.name()),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": mode(stream) },
            "StreamCreationTimestamp": seconds(stream.created_ms()),
        })
    }

    fn described(&self, stream: &Stream) -> Value {
        let mut description = self.summarised(stream);
        let retention = Duration::from_millis(stream.retention_ms());
        description["RetentionPeriodHours"] = retention.as_secs().div_ceil(3600).into();
        description["EnhancedMonitoring"] = json!([{ "ShardLevelMetrics": [] }]);
        description["EncryptionType"] = "NONE".into();
        description
    }
}

/// Runs a change on a task of its own: a client that goes away does not leave it half done. There
/// is no answer to it.
async fn to_its_end(
    change: impl Future<Output = Result<(), StreamError>> + Send + 'static,
) -> Result<Value, Fault> {
    match tokio::spawn(change).await {
        Ok(changed) => changed.map_err(|error| fault(&error))?,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a call panicked");
            return Err(Fault::internal());
        }
    }
    Ok(Value::Null)
}

fn mode(stream: &Stream) -> &'static str {
    if stream.on_demand() {
        "ON_DEMAND"
    } else {
        "PROVISIONED"
    }
}

/// Whether the mode that a call names is on-demand.
fn on_demand(members: &Members<'_>) -> Result<bool, Fault> {
    let Some(details) = members.structure("StreamModeDetails")? else {
        return Ok(false);
    };
    let mut checks = Checks::default();
    let mode = details.string("StreamMode")?;
    let path = "streamModeDetails.streamMode";
    match mode {
        Some("PROVISIONED" | "ON_DEMAND") => {}
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            let set = "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]";
            checks.fail(Some(&shown), path, set);
        }
        None => checks.missing(path),
    }
    checks.done()?;
    Ok(mode == Some("ON_DEMAND"))
}

/// Refuses what would be ignored otherwise.
fn refuse_unsupported(members: &Members<'_>) -> Result<(), Fault> {
    if members.map("Tags")?.is_some_and(|tags| !tags.is_empty()) {
        return Err(Fault::argument("tags are not supported: leave Tags out"));
    }
    if members
        .string("RecordDistributionStrategy")?
        .is_some_and(|it| it != "USER_PARTITION_KEY")
    {
        return Err(Fault::argument(
            "RecordDistributionStrategy can only be USER_PARTITION_KEY",
        ));
    }
    // There is no limit on throughput that could be warmed.
    members.integer("WarmThroughputMiBps").map(drop)
}
