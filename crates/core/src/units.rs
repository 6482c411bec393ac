//! Sizes and times as people write them: `5MiB`, `64 KiB`, `60s`, `24h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, read from and shown as `5MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl ByteSize {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes, at most `usize::MAX`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => {
                return Err(format!(
                    "`{text}` is not a size: use a unit such as KiB, MiB or GiB"
                ));
            }
        };
        whole(number)
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is not a size: write a whole number and a unit, as in 5MiB")
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{name}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Reads a length of time such as `250ms`, `60s`, `15m`, `24h` or `7d`. A bare `0` is allowed.
///
/// # Errors
/// With a text that says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == "0" => 1,
        _ => {
            return Err(format!(
                "`{text}` is not a time: use a unit such as ms, s, m, h or d"
            ));
        }
    };
    whole(number)
        .and_then(|n| n.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("`{text}` is not a time: write a whole number and a unit, as in 60s")
        })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

fn whole(number: &str) -> Option<u64> {
    number.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ByteSize, parse_duration};

    #[test]
    fn sizes_and_times_as_people_write_them() {
        for (text, bytes) in [
            ("5MiB", 5 << 20),
            ("64 KiB", 64 << 10),
            ("1_000", 1000),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
        assert_eq!(ByteSize(1025).to_string(), "1025B");
        for (text, ms) in [
            ("60s", 60_000),
            ("250ms", 250),
            ("24h", 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_size_or_time_is_named() {
        for bad in ["", "MiB", "5 apples", "99999999999TiB", "-1MiB", "1.5MiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["", "60", "s", "1.5s", "-1s", "5 weeks"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
