//! The requests that reading a stream takes, each tried once within a limit of time; and what their
//! errors mean.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{HashKeyRange, ShardIteratorType};
use hydrant_aws::{AwsSettings, refusal, sdk_config, stalled};
use hydrant_core::clock::Clock;
use hydrant_core::retry::{Class, Fault, Retry, Status};
use hydrant_core::rng::Rng;
use hydrant_core::{BoxFuture, Lane};
use hydrant_log::stream::HashRange;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::decode::Answer;
use super::start::Begin;
use super::wire::{Cbor, Exchange};
use crate::reading::first_of;

/// Limit of a call: an answer of 10 MiB comes at 340 KiB/s at least (reliability design, section 7).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Calls for shards of one delivery stream at a time, so that a thousand shards do not open a thousand
/// connections, and what comes larger than expected stays little.
const CALLS: usize = 16;
/// Pages of shards: 10 million shards, more than Kinesis allows.
const PAGES_MAX: usize = 10_000;

// What the server speaks, as far as is known: CBOR is tried first, since it costs a fifth of JSON.
const CBOR: u8 = 0;
const UNKNOWN: u8 = 1;
/// A call in CBOR failed, and not in JSON. That may have been a passing fault: once more decides.
const DOUBTED: u8 = 2;
const JSON: u8 = 3;

/// Which stream is read, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisSettings {
    /// Its name, or its ARN.
    pub stream: String,
    /// How Kinesis is reached.
    pub aws: AwsSettings,
}

/// Asks Kinesis on behalf of one delivery stream. Clones share the counters.
#[derive(Clone)]
pub struct KinesisClient(Arc<Inner>);

struct Inner {
    client: Client,
    /// For `GetRecords` in CBOR.
    cbor: Client,
    speaks: AtomicU8,
    stream: String,
    clock: Arc<dyn Clock>,
    retry: Retry,
    calls: Arc<Semaphore>,
}

/// What a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// ARN and time of creation: another stream of the same name has another one.
    pub(super) identity: String,
    pub(super) retention_ms: u64,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) lane: Lane,
    pub(super) parents: Vec<Lane>,
    pub(super) range: HashRange,
}

/// The right to a call for a shard.
pub(super) struct Slot(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The iterator is too old: another one is needed.
    Expired,
    /// The stream or the shard is not there.
    Gone(String),
    /// The request itself is refused: the position is of another stream.
    Refused(String),
    /// Another attempt may succeed.
    Fault(Fault),
    /// The same, where the answer is not one of Kinesis: the server may not have understood. With the
    /// status of the answer.
    Unclear(Fault, u16),
}

impl KinesisClient {
    /// Makes a client; asks nothing yet.
    ///
    /// # Errors
    /// With every fault of the settings.
    pub async fn new(
        settings: KinesisSettings,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, Vec<String>> {
        let faults = settings.aws.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let shared = sdk_config(&settings.aws, clock.clone())
            .await
            .map_err(|fault| vec![fault])?;
        let mut config = aws_sdk_kinesis::config::Builder::from(&shared);
        config.set_endpoint_url(settings.aws.endpoint.clone());
        Ok(Self(Arc::new(Inner {
            client: Client::from_conf(config.clone().build()),
            cbor: Client::from_conf(config.protocol(Cbor).build()),
            speaks: AtomicU8::new(UNKNOWN),
            stream: settings.stream,
            clock: clock.clone(),
            retry: Retry::new(clock, rng),
            calls: Arc::new(Semaphore::new(CALLS)),
        })))
    }

    /// The name or ARN of the stream.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }

    /// The counters of its requests.
    pub fn status(&self) -> Status {
        self.0.retry.status().clone()
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.0.retry
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Name and ARN as requests take them.
    fn reference(&self) -> (Option<String>, Option<String>) {
        let stream = self.0.stream.clone();
        if stream.starts_with("arn:") {
            (None, Some(stream))
        } else {
            (Some(stream), None)
        }
    }

    /// Asks what the stream is.
    pub(super) async fn describe(&self) -> Result<Described, Failure> {
        let (name, arn) = self.reference();
        let request = self.0.client.describe_stream_summary();
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = self.timed(request.send()).await?;
        let Some(summary) = answer.stream_description_summary() else {
            return Err(transient("the answer describes no stream"));
        };
        let created_ms = summary.stream_creation_timestamp().to_millis().unwrap_or(0);
        let hours = u64::try_from(summary.retention_period_hours()).unwrap_or(24);
        Ok(Described {
            identity: format!("{}:{created_ms}", summary.stream_arn()),
            retention_ms: hours * 3_600_000,
        })
    }

    /// Asks for all shards that are kept, parents first.
    pub(super) async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let (mut found, mut token) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            // A further page is asked for by its token alone.
            let (name, arn) = match token {
                None => self.reference(),
                Some(_) => (None, None),
            };
            let request = self.0.client.list_shards().set_next_token(token);
            let request = request.set_stream_name(name).set_stream_arn(arn);
            let answer = self.timed(request.send()).await?;
            for shard in answer.shards() {
                let lanes = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
                let range = shard.hash_key_range();
                let key = |text: Option<&str>| text.and_then(|text| text.parse().ok());
                found.push(Shard {
                    lane: Lane::new(shard.shard_id()),
                    parents: lanes.into_iter().flatten().map(Lane::new).collect(),
                    range: HashRange {
                        first: key(range.map(HashKeyRange::starting_hash_key)).unwrap_or(0),
                        last: key(range.map(HashKeyRange::ending_hash_key)).unwrap_or(u128::MAX),
                    },
                });
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                // Ids count up, so that parents come before their children.
                found.sort_by(|a, b| a.lane.cmp(&b.lane));
                return Ok(found);
            }
        }
        Err(transient("the list of shards does not end"))
    }

    /// Waits until a call for a shard may run.
    pub(super) async fn slot(&self) -> Slot {
        let slot = self.0.calls.clone().acquire_owned().await;
        Slot(slot.expect("the semaphore is never closed"))
    }

    /// The right to a call for a shard, if one is free.
    pub(super) fn try_slot(&self) -> Option<Slot> {
        self.0.calls.clone().try_acquire_owned().ok().map(Slot)
    }

    /// Asks for an iterator.
    pub(super) async fn iterator(&self, shard: &Lane, begin: Begin) -> Result<String, Failure> {
        let _slot = self.slot().await;
        let (name, arn) = self.reference();
        let request = self.0.client.get_shard_iterator().shard_id(shard.as_str());
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let request = match begin {
            Begin::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Begin::Time(ms) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))),
            Begin::After(position) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(position.to_decimal()),
        };
        let answer = self.timed(request.send()).await?;
        let iterator = answer.shard_iterator().map(str::to_owned);
        iterator.ok_or_else(|| transient("the answer has no iterator"))
    }

    /// Reads up to `limit` records. A server that does not speak CBOR is asked in JSON from then on.
    pub(super) async fn records(
        &self,
        _slot: Slot,
        iterator: &str,
        limit: i32,
    ) -> Result<Answer, Failure> {
        let speaks = self.0.speaks.load(Ordering::Relaxed);
        if speaks == JSON {
            return self.records_in_json(iterator, limit).await;
        }
        let answer = self.records_in_cbor(iterator, limit).await;
        // An answer of 5xx may be that of a proxy which knows neither.
        let tells = match &answer {
            Err(Failure::Unclear(_, status)) => *status < 500,
            Err(Failure::Refused(_)) if speaks != CBOR => true,
            _ => return answer,
        };
        let answer = self.records_in_json(iterator, limit).await;
        if answer.is_ok() && tells {
            self.understood(false);
        }
        answer
    }

    /// Learns whether an answer in CBOR was one.
    pub(super) fn understood(&self, yes: bool) {
        let speaks = &self.0.speaks;
        if yes {
            speaks.store(CBOR, Ordering::Relaxed);
        } else if speaks.swap(DOUBTED, Ordering::Relaxed) >= DOUBTED {
            speaks.store(JSON, Ordering::Relaxed);
            let stream = self.stream();
            tracing::info!(
                stream,
                "the server's CBOR is not that of Kinesis: records are read in JSON"
            );
        }
    }

    async fn records_in_cbor(&self, iterator: &str, limit: i32) -> Result<Answer, Failure> {
        let exchange = Exchange::new(iterator, limit, self.reference().1.as_deref());
        let request = self.0.cbor.get_records().shard_iterator(iterator);
        let request = request.customize().interceptor(exchange.clone()).send();
        self.timed(request).await?;
        let answer = exchange.answer().map(Answer::Cbor);
        answer.ok_or_else(|| transient("the answer has no body"))
    }

    async fn records_in_json(&self, iterator: &str, limit: i32) -> Result<Answer, Failure> {
        let request = self.0.client.get_records().shard_iterator(iterator);
        let request = request.limit(limit).set_stream_arn(self.reference().1);
        let output = self.timed(request.send()).await?;
        Ok(Answer::Json(Box::new(output)))
    }

    /// Counts a call, and ends it once its time is over. Boxed here: a call's future has 20 KiB, which
    /// an idle shard must not hold.
    fn timed<'a, T, E>(
        &'a self,
        send: impl Future<Output = Result<T, SdkError<E>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + Error + Send + 'static,
    {
        Box::pin(async move {
            let inner = &*self.0;
            let status = inner.retry.status();
            status.attempt();
            let mut over = inner.clock.sleep(TIMEOUT);
            let mut done = None;
            first_of(pin!(async { done = Some(send.await) }), &mut over).await;
            match done {
                Some(Ok(answer)) => {
                    status.succeeded();
                    Ok(answer)
                }
                Some(Err(error)) => Err(failure(&error)),
                None => {
                    let limit = TIMEOUT.as_secs();
                    Err(transient(&format!("no answer within {limit} s")))
                }
            }
        })
    }
}

impl Failure {
    /// For calls where the special cases mean nothing special.
    pub(super) fn into_fault(self) -> Fault {
        let text = match self {
            Self::Fault(fault) | Self::Unclear(fault, _) => return fault,
            Self::Gone(text) => {
                return Fault {
                    class: Class::Missing,
                    after: None,
                    text,
                };
            }
            Self::Expired => "the iterator is too old".to_owned(),
            Self::Refused(text) => text,
        };
        Fault {
            class: Class::Transient,
            after: None,
            text,
        }
    }
}

fn failure<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> Failure {
    let refused = refusal(error);
    match refused.code.as_str() {
        "ExpiredIteratorException" => Failure::Expired,
        "ResourceNotFoundException" => Failure::Gone(refused.text),
        "InvalidArgumentException" | "ValidationException" => Failure::Refused(refused.text),
        code => {
            let throttled = matches!(
                code,
                "ProvisionedThroughputExceededException"
                    | "LimitExceededException"
                    | "KMSThrottlingException"
            );
            let refused_key = code.starts_with("KMS") && !throttled;
            let class = match (throttled, refused_key) {
                (true, _) => Class::Throttled,
                (_, true) => Class::Auth,
                _ => refused.class(),
            };
            let fault = Fault {
                class,
                after: refused.after,
                text: refused.text,
            };
            let foreign = matches!(
                code,
                "" | "SerializationException" | "UnknownOperationException"
            );
            if refused.status != 0 && class == Class::Transient && foreign && !stalled(error) {
                Failure::Unclear(fault, refused.status)
            } else {
                Failure::Fault(fault)
            }
        }
    }
}

fn transient(text: &str) -> Failure {
    Failure::Fault(Fault {
        class: Class::Transient,
        after: None,
        text: text.to_owned(),
    })
}
