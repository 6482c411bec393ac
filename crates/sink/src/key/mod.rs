//! What an object is called: prefix and error prefix with their expressions, and the file name.
//!
//! Takes the settings of a delivery stream once and checks them; then gives the key of an object
//! as a pure function of its id (invariants I4 and I12). Rules are Firehose's (reference,
//! section 5). Making a key safe for a file system is left to the `directory` sink.

mod expression;

mod own;

mod time_pattern;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hydrant_core::Digest;
use hydrant_core::stage::ObjectId;

use self::expression::{Part, evaluate, parse};
use self::time_pattern::TimePattern;

pub use self::expression::KeyFrom;

/// Longest prefix as configured, in characters (Firehose's limit).
pub const PREFIX_MAX_CHARS: usize = 1024;
/// Longest prefix once evaluated, in characters (Firehose's limit).
pub const EVALUATED_MAX_CHARS: usize = 512;
/// Longest object key, in bytes (S3's limit).
pub const KEY_MAX_BYTES: usize = 1024;
/// Longest file extension, in characters (Firehose's limit).
pub const EXTENSION_MAX_CHARS: usize = 128;
/// Longest name of a delivery stream (Firehose's limit).
const STREAM_MAX_CHARS: usize = 64;
/// What follows a prefix without a time of its own.
const DEFAULT_TIME: &str = "yyyy/MM/dd/HH/";
/// A moment whose month and day names are the longest: Wednesday, 2026-09-30.
const SAMPLE_MS: u64 = 1_790_726_400_000;
/// The longest of the error kinds there are.
const SAMPLE_KIND: &str = "AmazonOpenSearchService-failed";

/// The checked rules by which objects of one delivery stream are named. Used by every object sink.
#[derive(Clone, Debug)]
pub struct KeyRules {
    stream: String,
    version_id: u32,
    prefix: Vec<Part>,
    error_prefix: Vec<Part>,
    file_extension: Option<String>,
    digest: Digest,
}

impl KeyRules {
    /// Checks the settings. An empty prefix or extension counts as none.
    ///
    /// # Errors
    /// With every fault there is, each naming its setting and the remedy.
    pub fn new(
        stream: &str,
        version_id: u32,
        prefix: Option<&str>,
        error_output_prefix: Option<&str>,
        file_extension: Option<&str>,
    ) -> Result<Self, Vec<String>> {
        let [prefix_text, error_text, file_extension] =
            [prefix, error_output_prefix, file_extension]
                .map(|text| text.filter(|t| !t.is_empty()));
        let mut faults = Vec::new();
        check_stream(stream, &mut faults);
        if let Some(extension) = file_extension {
            check_extension(extension, &mut faults);
        }
        let prefix = prefix_parts(prefix_text, &mut faults);
        let error_prefix = error_parts(error_text, &prefix, prefix_text, &mut faults);
        let parts: [&[u8]; 5] = [
            stream.as_bytes(),
            &version_id.to_le_bytes(),
            prefix_text.unwrap_or_default().as_bytes(),
            error_text.unwrap_or_default().as_bytes(),
            file_extension.unwrap_or_default().as_bytes(),
        ];
        let rules = Self {
            stream: stream.to_owned(),
            version_id,
            prefix,
            error_prefix,
            file_extension: file_extension.map(str::to_owned),
            digest: Digest::of_parts(&parts),
        };
        if faults.is_empty() {
            rules.check_lengths(&mut faults);
        }
        if faults.is_empty() {
            Ok(rules)
        } else {
            Err(faults)
        }
    }

    /// Digest of everything that decides names.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The key of an object: prefix, stream, version id, time of the first record, id, extension.
    pub fn key(&self, id: &ObjectId<'_>) -> String {
        let time = moment(id.arrival_ms);
        let parts = if id.error_kind.is_some() {
            &self.error_prefix
        } else {
            &self.prefix
        };
        let name = self.file_name(id, &time);
        // Partition keys alone can make a prefix this long; the id in the name keeps it unique.
        let mut key = shortened(evaluate(parts, id, &time), KEY_MAX_BYTES - name.len());
        key.push_str(&name);
        key
    }

    /// The prefix up to its first expression.
    pub fn static_prefix(&self) -> &str {
        first_text(&self.prefix)
    }

    /// The partition keys that the prefix needs, and which stage gives them.
    pub fn partition_keys(&self) -> impl Iterator<Item = (KeyFrom, &str)> {
        let keys = self.prefix.iter().filter_map(|part| match part {
            Part::PartitionKey(from, name) => Some((*from, name.as_str())),
            _ => None,
        });
        keys.collect::<BTreeSet<_>>().into_iter()
    }

    fn file_name(&self, id: &ObjectId<'_>, time: &DateTime<Utc>) -> String {
        // Error objects keep the extension of their own encoder: mostly none.
        let extension = match &self.file_extension {
            Some(extension) if id.error_kind.is_none() => extension,
            _ => id.extension,
        };
        let (stream, version) = (&self.stream, self.version_id);
        let time = time.format("%Y-%m-%d-%H-%M-%S");
        format!(
            "{stream}-{version}-{time}-{}{extension}",
            id.digest.to_uuid()
        )
    }

    fn check_lengths(&self, faults: &mut Vec<String>) {
        let time = moment(SAMPLE_MS);
        let id = |error_kind| ObjectId {
            arrival_ms: SAMPLE_MS,
            digest: Digest::of(b""),
            partition_keys: &[],
            error_kind,
            extension: "",
        };
        let cases = [
            ("prefix", &self.prefix, id(None)),
            (
                "error_output_prefix",
                &self.error_prefix,
                id(Some(SAMPLE_KIND)),
            ),
        ];
        for (setting, parts, id) in cases {
            let evaluated = evaluate(parts, &id, &time);
            let chars = evaluated.chars().count();
            if chars > EVALUATED_MAX_CHARS {
                faults.push(format!(
                    "{setting} is {chars} characters once evaluated, limit {EVALUATED_MAX_CHARS}"
                ));
            }
            let bytes = evaluated.len() + self.file_name(&id, &time).len();
            if bytes > KEY_MAX_BYTES {
                faults.push(format!(
                    "{setting} gives object keys of {bytes} bytes, limit {KEY_MAX_BYTES}"
                ));
            }
        }
    }
}

/// A template up to its first expression.
fn first_text(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}

/// The moment of an arrival; times past the calendar (the year 262142) count as its end.
fn moment(arrival_ms: u64) -> DateTime<Utc> {
    i64::try_from(arrival_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Cuts a prefix to its limits, between characters.
fn shortened(mut prefix: String, max_bytes: usize) -> String {
    let end = prefix
        .char_indices()
        .take(EVALUATED_MAX_CHARS)
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= max_bytes)
        .last();
    prefix.truncate(end.unwrap_or(0));
    prefix
}

fn prefix_parts(prefix: Option<&str>, faults: &mut Vec<String>) -> Vec<Part> {
    let mut parts = checked_parts("prefix", prefix.unwrap_or_default(), faults);
    if parts.contains(&Part::ErrorType) {
        faults.push(
            "prefix: `!{firehose:error-output-type}` belongs into error_output_prefix".to_owned(),
        );
    }
    if !has_expression(&parts) {
        parts.push(default_time());
    }
    parts
}

/// `prefix` are the parts of the prefix, with the default time where it has no expression.
fn error_parts(
    text: Option<&str>,
    prefix: &[Part],
    prefix_text: Option<&str>,
    faults: &mut Vec<String>,
) -> Vec<Part> {
    let Some(text) = text else {
        if prefix_text.is_some_and(|prefix| prefix.contains("!{")) {
            faults.push(
                "error_output_prefix: cannot be missing or empty when prefix contains \
                 expressions: set one such as `errors/!{firehose:error-output-type}/`"
                    .to_owned(),
            );
        }
        let literal = prefix
            .iter()
            .filter(|part| matches!(part, Part::Text(_)))
            .cloned();
        return literal.chain(default_error_parts()).collect();
    };
    let mut parts = checked_parts("error_output_prefix", text, faults);
    if parts
        .iter()
        .any(|part| matches!(part, Part::PartitionKey(..)))
    {
        faults.push("error_output_prefix: partition keys can be used in prefix only".to_owned());
    }
    if !has_expression(&parts) {
        parts.extend(default_error_parts());
    } else if !parts.contains(&Part::ErrorType) {
        faults.push(
            "error_output_prefix: contains expressions, so it must contain \
             `!{firehose:error-output-type}`"
                .to_owned(),
        );
    }
    parts
}

fn checked_parts(setting: &str, text: &str, faults: &mut Vec<String>) -> Vec<Part> {
    let chars = text.chars().count();
    if chars > PREFIX_MAX_CHARS {
        faults.push(format!(
            "{setting} is {chars} characters, limit {PREFIX_MAX_CHARS}"
        ));
    }
    if text.chars().any(char::is_control) {
        faults.push(format!("{setting}: contains a control character"));
    }
    parse(setting, text, faults)
}

fn has_expression(parts: &[Part]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Text(_)))
}

fn default_time() -> Part {
    Part::Timestamp(TimePattern::parse(DEFAULT_TIME).expect("a constant that the tests evaluate"))
}

fn default_error_parts() -> [Part; 3] {
    [Part::ErrorType, Part::Text("/".to_owned()), default_time()]
}

fn check_stream(stream: &str, faults: &mut Vec<String>) {
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    if stream.is_empty() || stream.len() > STREAM_MAX_CHARS || !stream.chars().all(good) {
        faults.push(format!(
            "the delivery stream's name must be 1 to {STREAM_MAX_CHARS} of the characters a-z A-Z \
             0-9 _ . - to be part of an object key"
        ));
    }
}

fn check_extension(extension: &str, faults: &mut Vec<String>) {
    let good = |char: char| {
        char.is_ascii_lowercase() || char.is_ascii_digit() || "!-_.*'()".contains(char)
    };
    let tail = extension.strip_prefix('.');
    if !tail.is_some_and(|tail| !tail.is_empty() && tail.chars().all(good)) {
        faults.push(
            "file_extension: must be a dot followed by characters of a-z 0-9 ! - _ . * ' ( )"
                .to_owned(),
        );
    }
    let chars = extension.chars().count();
    if chars > EXTENSION_MAX_CHARS {
        faults.push(format!(
            "file_extension is {chars} characters, limit {EXTENSION_MAX_CHARS}"
        ));
    }
}

#[cfg(test)]
mod tests;
