//! Which stream a call is about: `StreamName`, `StreamARN`, or both.

use std::sync::Arc;

use hydrant_log::stream::Stream;

use super::Kinesis;
use crate::protocol::{Checks, Fault, Members};
use crate::settings::ACCOUNT_ID;

/// The pattern of stream names, as Kinesis prints it.
pub(super) const NAME_PATTERN: &str = "[a-zA-Z0-9_.-]+";

/// Notes what is wrong with a stream's name.
pub(super) fn check_name(checks: &mut Checks, name: &str, path: &str) {
    checks.length(name, path, 1, 128);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.bytes().all(allowed) {
        let shown: String = name.chars().take(128).collect();
        let constraint = format!("Member must satisfy regular expression pattern: {NAME_PATTERN}");
        checks.fail(Some(&shown), path, &constraint);
    }
}

impl Kinesis {
    /// The ARN of a stream.
    pub(super) fn arn(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{ACCOUNT_ID}:stream/{name}", self.region)
    }

    /// The stream that a call's members name.
    pub(super) fn stream(&self, members: &Members<'_>) -> Result<Arc<Stream>, Fault> {
        let (name, arn) = (members.string("StreamName")?, members.string("StreamARN")?);
        self.find(name, arn)
    }

    /// The stream of this name or ARN.
    pub(super) fn find(&self, name: Option<&str>, arn: Option<&str>) -> Result<Arc<Stream>, Fault> {
        let name = self.name_of(name, arn)?;
        self.streams.get(name).ok_or_else(|| not_found(name))
    }

    /// The name in a name or ARN, which agree where both are given.
    pub(super) fn name_of<'a>(
        &self,
        name: Option<&'a str>,
        arn: Option<&'a str>,
    ) -> Result<&'a str, Fault> {
        let mut checks = Checks::default();
        if let Some(name) = name {
            check_name(&mut checks, name, "streamName");
        }
        checks.done()?;
        let from_arn = arn.map(|arn| self.name_in(arn)).transpose()?;
        match (name, from_arn) {
            (Some(name), Some(other)) if name != other => Err(Fault::argument(format!(
                "StreamARN names stream {other}, but StreamName is {name}"
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(Fault::argument(
                "Either StreamName or StreamARN should be provided.",
            )),
        }
    }

    fn name_in<'a>(&self, arn: &'a str) -> Result<&'a str, Fault> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [scheme, _, "kinesis", region, account, resource] = parts[..] else {
            return Err(invalid_arn());
        };
        let name = resource
            .strip_prefix("stream/")
            .filter(|name| !name.contains('/'));
        let (Some(name), "arn") = (name, scheme) else {
            return Err(invalid_arn());
        };
        if region != self.region {
            return Err(Fault::argument(format!(
                "StreamARN is of region {}, but this is {}",
                region.escape_debug(),
                self.region
            )));
        }
        let mut checks = Checks::default();
        check_name(&mut checks, name, "streamARN");
        checks.done()?;
        if account != ACCOUNT_ID {
            let message = format!(
                "Stream {name} under account {} not found.",
                account.escape_debug()
            );
            return Err(Fault::not_found(message));
        }
        Ok(name)
    }
}

fn invalid_arn() -> Fault {
    let mut checks = Checks::default();
    checks.fail(
        Some("(not an ARN of a stream)"),
        "streamARN",
        "Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
    );
    checks.done().expect_err("it was just found wrong")
}

/// There is no such stream.
pub(super) fn not_found(name: &str) -> Fault {
    Fault::not_found(format!(
        "Stream {name} under account {ACCOUNT_ID} not found."
    ))
}
