//! Tells by its key whether an object is one of this delivery stream's, as far as that can be told: for
//! cleaning up, so in doubt it is not.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;
use hydrant_core::Digest;
use hydrant_core::stage::ObjectId;

use super::expression::{Part, RANDOM_LEN, evaluate};
use super::{EXTENSION_MAX_CHARS, KeyRules, first_text, moment};

/// The time in a file name, and its length.
const TIME: &str = "%Y-%m-%d-%H-%M-%S";
const TIME_LEN: usize = 19;
/// What all error kinds end with (reference, section 5).
const KIND_END: &str = "-failed";
/// Lengths of the groups of an id.
const ID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl KeyRules {
    /// Whether these rules give this key: its file name is the stream's, with a time and an id in
    /// it, and what stands before is the prefix or the error prefix of that time. Not recognised is a
    /// prefix that was cut to its limit, or that has fractions of seconds in it.
    pub fn is_own(&self, key: &str) -> bool {
        let start = format!("{}-{}-", self.stream, self.version_id);
        key.match_indices(&start).any(|(at, _)| {
            let (prefix, name) = key.split_at(at);
            let Some(arrival_ms) = name.get(start.len()..).and_then(time_of) else {
                return false;
            };
            [&self.prefix, &self.error_prefix]
                .into_iter()
                .any(|parts| gives(parts, prefix, arrival_ms))
        })
    }

    /// What all keys begin with: those of objects, those of error objects. Of two of which one begins
    /// with the other, the shorter alone.
    pub fn static_prefixes(&self) -> Vec<&str> {
        let (data, errors) = (first_text(&self.prefix), first_text(&self.error_prefix));
        if errors.starts_with(data) {
            vec![data]
        } else if data.starts_with(errors) {
            vec![errors]
        } else {
            vec![data, errors]
        }
    }
}

/// The time in what follows the stream and its version in a file name; `None` where that is not a
/// time, an id and an extension.
fn time_of(rest: &str) -> Option<u64> {
    let time = rest.get(..TIME_LEN)?;
    let ms = NaiveDateTime::parse_from_str(time, TIME).ok()?;
    let mut rest = rest.get(TIME_LEN..)?;
    for digits in ID_GROUPS {
        rest = rest.strip_prefix('-')?;
        let group = rest.get(..digits)?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !group.bytes().all(hex) {
            return None;
        }
        rest = rest.get(digits..)?;
    }
    let extension = rest.is_empty()
        || (rest.starts_with('.') && !rest.contains('/') && rest.len() <= EXTENSION_MAX_CHARS);
    let ms = u64::try_from(ms.and_utc().timestamp_millis()).ok()?;
    extension.then_some(ms)
}

/// Whether a template gives this text at this time. Follows all ways of reading it at once: a key in a
/// bucket may be anything.
fn gives(parts: &[Part], text: &str, arrival_ms: u64) -> bool {
    let mut ends = BTreeSet::from([0]);
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let (mut next, mut covered) = (BTreeSet::new(), 0);
        for at in ends {
            // What begins within a piece that may be anything ends where that does.
            if at < covered {
                continue;
            }
            let rest = text.get(at..).unwrap_or_default();
            let lengths = lengths(part, rest, arrival_ms);
            if matches!(part, Part::ErrorType | Part::PartitionKey(..)) {
                covered = at + lengths.last().copied().unwrap_or(0);
            }
            let fits = |length: &usize| {
                !is_last
                    || rest
                        .get(..*length)
                        .is_some_and(|taken| ends_well(part, taken))
            };
            next.extend(lengths.into_iter().filter(fits).map(|length| at + length));
        }
        ends = next;
    }
    ends.contains(&text.len())
}

/// How many bytes of the text may be this part.
fn lengths(part: &Part, text: &str, arrival_ms: u64) -> Vec<usize> {
    let all_of = |good: fn(char) -> bool| -> Vec<usize> {
        let taken = text.char_indices().take_while(|(_, char)| good(*char));
        taken.map(|(at, char)| at + char.len_utf8()).collect()
    };
    match part {
        Part::Text(_) | Part::Timestamp(_) => {
            let id = ObjectId {
                arrival_ms,
                digest: Digest::of(b""),
                partition_keys: &[],
                error_kind: None,
                extension: "",
            };
            let exact = evaluate(std::slice::from_ref(part), &id, &moment(arrival_ms));
            Vec::from_iter(text.starts_with(&exact).then_some(exact.len()))
        }
        Part::Random => {
            let drawn = text.get(..RANDOM_LEN).unwrap_or_default();
            let good = drawn.bytes().all(|byte| byte.is_ascii_alphanumeric());
            Vec::from_iter((good && !drawn.is_empty()).then_some(RANDOM_LEN))
        }
        Part::ErrorType => {
            let mut words = all_of(|char| char.is_ascii_alphanumeric() || char == '-');
            let is_kind = |word: &str| word.len() > KIND_END.len() && word.ends_with(KIND_END);
            words.retain(|length| text.get(..*length).is_some_and(is_kind));
            words
        }
        Part::PartitionKey(..) => all_of(|char| !char.is_control()),
    }
}

/// Where something that may be anything stands directly before the file name, its end may be a part of
/// another stream's name: then it has to end a folder.
fn ends_well(part: &Part, taken: &str) -> bool {
    matches!(part, Part::Text(_) | Part::Timestamp(_)) || taken.ends_with('/')
}
