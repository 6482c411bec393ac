//! A simulated record as text, and the lines that the pipeline makes of it.
//!
//! Record: `number.key.padding.checksum`. Line of an object: `version|batch|ordinal|position|record`,
//! where `batch` is the first number of the micro-batch and the ordinal says which output it is; of an error object:
//! `version|code|at_ms|position|record`.

use std::ops::Bound;

use hydrant_core::{Position, rng};

/// What becomes of a record, by its number and the version of the transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many outputs.
    Outputs(u64),
    /// Dropped: the same in every version, so that nothing that is missing is taken for it.
    Dropped,
    /// Failed.
    Failed,
}

/// The code of a record that failed by its verdict.
pub(crate) const FAILED: &str = "failed";
/// The code of a record whose call ran out of time.
pub(crate) const OVERRAN: &str = "overran";

/// What a version makes of a record.
pub(crate) fn verdict(version: char, number: u64) -> Verdict {
    if mix(number).is_multiple_of(16) {
        return Verdict::Dropped;
    }
    match mix(number ^ u64::from(u32::from(version)) << 32) % 16 {
        0 => Verdict::Failed,
        1 | 2 => Verdict::Outputs(3),
        _ => Verdict::Outputs(1),
    }
}

/// The text of a record.
pub(crate) fn text(number: u64, key: &str, padding: usize) -> String {
    let body = format!("{number}.{key}.{:x<padding$}.", "");
    let sum = checksum(body.as_bytes());
    format!("{body}{sum:08x}")
}

/// The number in a record's text; `None` where it is not as it was written.
pub(crate) fn number(text: &str) -> Option<u64> {
    let (body, sum) = text.rsplit_once('.')?;
    let whole = text.get(..=body.len())?;
    let same = u32::from_str_radix(sum, 16).ok()? == checksum(whole.as_bytes());
    let digits = body.split('.').next()?;
    digits.parse().ok().filter(|_| same)
}

/// A line, taken apart.
pub(crate) struct Line<'a> {
    pub(crate) version: char,
    /// The batch, or the code of a failure.
    pub(crate) second: &'a str,
    pub(crate) third: &'a str,
    pub(crate) position: Position,
    pub(crate) number: u64,
    pub(crate) key: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` where it is damaged.
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(5, '|');
        let version = parts.next()?.chars().next()?;
        let (second, third) = (parts.next()?, parts.next()?);
        let position = position(parts.next()?)?;
        let record = parts.next()?;
        let (number, key) = (number(record)?, record.split('.').nth(1)?);
        Some(Self {
            version,
            second,
            third,
            position,
            number,
            key,
        })
    }
}

/// A position as 64 hex digits.
pub(crate) fn hex(position: Position, out: &mut String) {
    for byte in position.as_bytes() {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

/// The line of a loss: after what it comes, and the last that is lost.
pub(crate) fn loss(line: &str) -> Option<(Position, Bound<Position>)> {
    let mut parts = line.split('|');
    let after = position(parts.next()?)?;
    let included = parts.next()? == "through";
    let end = position(parts.next()?)?;
    let until = if included {
        Bound::Included(end)
    } else {
        Bound::Excluded(end)
    };
    (after < end).then_some((after, until))
}

fn position(text: &str) -> Option<Position> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(Position::from_bytes(bytes))
}

/// FNV-1a with a key of ours.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32 ^ 0x5eed;
    for byte in bytes {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash
}

/// Spreads a number over all bits.
pub(crate) fn mix(number: u64) -> u64 {
    rng::mix(number.wrapping_add(rng::STEP))
}

#[cfg(test)]
mod tests {
    use hydrant_core::Position;

    use super::{Line, hex, number, text};

    #[test]
    fn a_record_reads_back_and_damage_is_seen() {
        let record = text(77, "key", 3);
        assert_eq!(number(&record), Some(77));
        for at in 0..record.len() {
            let mut bytes = record.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert_eq!(number(&damaged), None, "{damaged}");
        }
        let mut line = "A|7|0|".to_owned();
        hex(Position::from_u64(9).with_sub(2), &mut line);
        line.push('|');
        line.push_str(&record);
        let line = Line::read(&line).unwrap();
        assert_eq!(line.position, Position::from_u64(9).with_sub(2));
        assert_eq!((line.version, line.number), ('A', 77));
    }
}
