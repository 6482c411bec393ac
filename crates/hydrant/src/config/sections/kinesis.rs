//! A Kinesis stream as a source: one of this service, or one at AWS or a compatible server.

use std::time::Duration;

use chrono::DateTime;

use super::super::fields::{Fields, Section};
use super::super::kinds::{Parsed, Text, Time, Word};
use super::super::types::{Deaggregation, KinesisConfig, RemoteConfig, Start, StreamPlace};
use super::destination::{self, credentials, region_kind};

/// The words for what happens to aggregates.
pub(in super::super) const DEAGGREGATIONS: &[(&str, Deaggregation)] = &[
    ("keep_all", Deaggregation::KeepAll),
    ("strict", Deaggregation::Strict),
    ("none", Deaggregation::None),
];

/// What stands for the service itself as an endpoint.
const EMBEDDED: &str = "embedded";
/// What stands for AWS as an endpoint.
const AWS: &str = "aws";
/// How often an idle shard is asked: Kinesis takes five calls a second, Firehose makes one.
const POLL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(1));
/// Settings that only a remote stream has.
const REMOTE: [&str; 4] = ["region", "credentials", "role_arn", "poll_interval"];

/// Where a stream is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Embedded,
    Aws,
    Url(String),
}

/// Reads a Kinesis source.
pub(super) fn kinesis(f: &mut Fields<'_>) -> Option<KinesisConfig> {
    let name = Parsed {
        parse: stream_name,
        what: "the name or ARN of a stream",
        example: "clicks",
    };
    let stream = f.required("stream", "the stream's name, or its ARN at AWS", name);
    let kind = Parsed {
        parse: endpoint,
        what: "an endpoint",
        example: EMBEDDED,
    };
    let about = "where the stream is: `embedded` in this service, `aws`, or the URL of a compatible \
                 server; by default `aws` where a region or an ARN is given, else `embedded`";
    let endpoint = f.optional("endpoint", about, kind);
    let about = "its region; by default the ARN's, or what the environment says";
    let region = f.optional("region", about, region_kind());
    let about = "fixed keys; by default what the environment, the profile or the machine gives";
    let keys = f.optional("credentials", about, Section(credentials));
    let about = "ARN of a role to take on, to read a stream of another account";
    let role_arn = f.optional("role_arn", about, Text);
    let about = "how often a shard at its tip is asked for more; an idle one is asked more rarely";
    let poll = f.or("poll_interval", about, Time(POLL.0..=POLL.1), "1s");
    let start = Parsed {
        parse: start,
        what: "a start",
        example: "trim_horizon",
    };
    let about =
        "where reading starts the first time: `trim_horizon`, `latest`, or a time as of RFC 3339";
    let start = f.or("start", about, start, "trim_horizon");
    let about = "what happens to aggregates of the Kinesis Producer Library: taken apart and all \
                 kept, taken apart as the Kinesis Client Library does, or passed on";
    let deaggregation = f.or("deaggregation", about, Word(DEAGGREGATIONS), "keep_all");
    let remote = RemoteConfig {
        region: region?,
        endpoint: None,
        credentials: keys?,
        role_arn: role_arn?,
        poll_interval: poll?,
    };
    let stream = stream?;
    let place = place(f, &stream, endpoint?, remote)?;
    Some(KinesisConfig {
        stream,
        place,
        start: start?,
        deaggregation: deaggregation?,
    })
}

/// Brings together what was said about where the stream is.
fn place(
    f: &mut Fields<'_>,
    stream: &str,
    endpoint: Option<Endpoint>,
    mut remote: RemoteConfig,
) -> Option<StreamPlace> {
    let arn_region = arn_region(stream);
    let at_aws = remote.region.is_some() || arn_region.is_some();
    let endpoint = endpoint.unwrap_or(if at_aws {
        Endpoint::Aws
    } else {
        Endpoint::Embedded
    });
    match endpoint {
        Endpoint::Embedded => {
            if arn_region.is_some() {
                let remedy = "give its name, or set `endpoint: aws`";
                f.fault(
                    "stream",
                    "is an ARN, and the endpoint is `embedded`",
                    remedy,
                );
                return None;
            }
            let odd = REMOTE.into_iter().find(|name| f.has(name));
            if let Some(name) = odd {
                let remedy = "set `endpoint: aws` or the URL of a server, or remove it";
                f.fault(name, "is only for a stream that is not embedded", remedy);
                return None;
            }
            return Some(StreamPlace::Embedded);
        }
        Endpoint::Aws => {}
        Endpoint::Url(url) => remote.endpoint = Some(url),
    }
    match (&remote.region, arn_region) {
        (Some(given), Some(named)) if *given != named => {
            let message = format!("`{given}` is not the region of the stream's ARN, `{named}`");
            f.fault("region", message, "remove it");
            return None;
        }
        (None, named) => remote.region = named,
        _ => {}
    }
    Some(StreamPlace::Remote(remote))
}

/// The region of an ARN as [`stream_name`] takes it.
fn arn_region(stream: &str) -> Option<String> {
    let mut parts = stream.split(':');
    (parts.next() == Some("arn")).then(|| parts.nth(2).unwrap_or_default().to_owned())
}

fn stream_name(text: &str) -> Result<String, String> {
    let mut name = text;
    if text.starts_with("arn:") {
        let parts: Vec<&str> = text.split(':').collect();
        let wrong = || {
            let text = text.escape_debug();
            format!(
                "`{text}` is not the ARN of a stream, as in arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
            )
        };
        let [_, _, "kinesis", region, _, resource] = parts[..] else {
            return Err(wrong());
        };
        destination::region(region).map_err(|_| wrong())?;
        name = resource.strip_prefix("stream/").ok_or_else(wrong)?;
    }
    hydrant_log::stream::registry::check_name(name).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text {
        EMBEDDED => Ok(Endpoint::Embedded),
        AWS => Ok(Endpoint::Aws),
        url if url.contains("://") => destination::endpoint(url).map(Endpoint::Url),
        other => Err(format!(
            "`{}` is neither `{EMBEDDED}`, `{AWS}` nor a URL",
            other.escape_debug()
        )),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => return Ok(Start::TrimHorizon),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    let time = DateTime::parse_from_rfc3339(text).ok();
    time.and_then(|time| u64::try_from(time.timestamp_millis()).ok()).map(Start::At).ok_or_else(|| {
        let text = text.escape_debug();
        format!("`{text}` is neither `trim_horizon`, `latest` nor a time such as 2026-01-31T12:00:00Z")
    })
}
