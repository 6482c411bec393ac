//! Prefix expressions: literal text with `!{namespace:value}` in it. Takes a prefix as configured,
//! gives a template; evaluating it for an object is a pure function of the object's id.

use chrono::{DateTime, Utc};
use hydrant_core::Digest;
use hydrant_core::stage::ObjectId;

use super::time_pattern::TimePattern;

/// Letters of a random string, as Firehose's emulators draw them.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Length of a random string (reference, section 5).
pub(crate) const RANDOM_LEN: usize = 11;
/// What stands for a partition key that the object does not have, as in Hive's folder names. The
/// pipeline lets no such object come to be.
pub(crate) const NO_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it stands.
    Text(String),
    /// The object's time, in UTC.
    Timestamp(TimePattern),
    /// Eleven letters and digits, derived from the object's id.
    Random,
    /// The error kind.
    ErrorType,
    /// A partition key's value: where it comes from, and its name.
    PartitionKey(KeyFrom, String),
}

/// The stage that a partition key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyFrom {
    /// A query on the record (`!{partitionKeyFromQuery:k}`).
    Query,
    /// A Lambda-compatible processor (`!{partitionKeyFromLambda:k}`).
    Lambda,
    /// A WebAssembly processor (`!{partitionKeyFromWasm:k}`).
    Wasm,
}

/// Reads a prefix; `setting` names it in faults.
pub(crate) fn parse(setting: &str, prefix: &str, faults: &mut Vec<String>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = prefix;
    while let Some((text, after)) = rest.split_once("!{") {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let Some((inside, after)) = split_expression(after) else {
            faults.push(format!(
                "{setting}: an expression `!{{` is not closed by `}}`"
            ));
            return parts;
        };
        match expression(inside) {
            Ok(part) => parts.push(part),
            Err(fault) => faults.push(format!("{setting}: `!{{{inside}}}`: {fault}")),
        }
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    parts
}

/// Splits at the closing brace, which does not count inside of single quotes.
fn split_expression(text: &str) -> Option<(&str, &str)> {
    let mut in_quotes = false;
    for (at, char) in text.char_indices() {
        match char {
            '\'' => in_quotes = !in_quotes,
            '}' if !in_quotes => {
                let (inside, brace_on) = text.split_at(at);
                return brace_on.strip_prefix('}').map(|after| (inside, after));
            }
            _ => {}
        }
    }
    // A quote that is never closed is a fault of the pattern, not of the braces.
    text.split_once('}')
}

fn expression(inside: &str) -> Result<Part, String> {
    let (namespace, value) = inside.split_once(':').unwrap_or((inside, ""));
    match (namespace, value) {
        ("timestamp", pattern) => TimePattern::parse(pattern).map(Part::Timestamp),
        ("firehose", "random-string") => Ok(Part::Random),
        ("firehose", "error-output-type") => Ok(Part::ErrorType),
        ("firehose", _) => {
            Err("use `firehose:random-string` or `firehose:error-output-type`".to_owned())
        }
        ("partitionKeyFromQuery", key) => partition_key(KeyFrom::Query, key),
        ("partitionKeyFromLambda", key) => partition_key(KeyFrom::Lambda, key),
        ("partitionKeyFromWasm", key) => partition_key(KeyFrom::Wasm, key),
        _ => Err(
            "the namespace is unknown: use timestamp, firehose, partitionKeyFromQuery, \
                  partitionKeyFromLambda or partitionKeyFromWasm"
                .to_owned(),
        ),
    }
}

fn partition_key(from: KeyFrom, key: &str) -> Result<Part, String> {
    if key.is_empty() {
        return Err("the name of the partition key is missing".to_owned());
    }
    Ok(Part::PartitionKey(from, key.to_owned()))
}

/// Evaluates a template for one object.
pub(crate) fn evaluate(parts: &[Part], id: &ObjectId<'_>, time: &DateTime<Utc>) -> String {
    let mut out = String::new();
    let mut random_count: u64 = 0;
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Timestamp(pattern) => pattern.append(time, &mut out),
            Part::Random => {
                random(&id.digest, random_count, &mut out);
                random_count += 1;
            }
            Part::ErrorType => out.push_str(id.error_kind.unwrap_or_default()),
            Part::PartitionKey(_, name) => partition_value(name, id.partition_keys, &mut out),
        }
    }
    out
}

/// Appends the random string number `instance` of an object. A redo repeats it (invariant I4).
fn random(id: &Digest, instance: u64, out: &mut String) {
    let drawn = Digest::of_parts(&[b"random-string", id.as_bytes(), &instance.to_le_bytes()]);
    out.extend(
        drawn
            .as_bytes()
            .chunks_exact(2)
            .take(RANDOM_LEN)
            .map(|pair| {
                let number = usize::from(pair[0]) << 8 | usize::from(pair[1]);
                char::from(ALPHABET[number % ALPHABET.len()])
            }),
    );
}

/// Appends a partition key's value as it is, but for control characters, which become `%XX`.
fn partition_value(name: &str, keys: &[(String, String)], out: &mut String) {
    use std::fmt::Write as _;
    let value = keys
        .iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value.as_str());
    if value.is_empty() {
        return out.push_str(NO_PARTITION);
    }
    for char in value.chars() {
        if char.is_control() {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                write!(out, "%{byte:02X}").expect("a string takes all");
            }
        } else {
            out.push(char);
        }
    }
}
