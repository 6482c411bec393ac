//! Dates and instants as records write them, to days and microseconds since 1970.
//!
//! | text | is |
//! | --- | --- |
//! | `2026-3-1` | a date (as an instant: its midnight) |
//! | `2026-03-01 04:05:06.789`, `2026-03-01T04:05:06Z`, `2026-03-01T04:05:06+02:00` | an instant; without a zone UTC |
//! | `1772337906`, `1772337906.5`, `1772337906500` | seconds below 10^12, else milliseconds |
//!
//! Digits beyond microseconds are cut off (written out) or rounded (numbers).

use super::decimal::{self, Beyond};

const MICROS: i64 = 1_000_000;

/// Microseconds of 10^12 seconds: numbers from there on are milliseconds, as in `OpenXJsonSerDe`.
const LEAST_MILLIS: i128 = 1_000_000_000_000 * MICROS as i128;

/// Days since 1970 of `yyyy-M-d`.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let mut rest = text;
    let days = day(&mut rest)?;
    rest.is_empty().then_some(days)
}

/// Microseconds since 1970 of a date and time or a number.
pub(crate) fn instant(text: &[u8]) -> Option<i64> {
    if text.get(4) == Some(&b'-') {
        return civil(text);
    }
    number(text)
}

/// Microseconds since 1970 of seconds or milliseconds.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let micros = decimal::parse(text, 6, Beyond::Round).ok()?;
    let micros = if micros.abs() < LEAST_MILLIS {
        micros
    } else {
        decimal::parse(text, 3, Beyond::Round).ok()?
    };
    i64::try_from(micros).ok()
}

fn civil(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let seconds = i64::from(day(&mut rest)?) * 86_400;
    if rest.is_empty() {
        return Some(seconds * MICROS);
    }
    if !pass(&mut rest, b"Tt ") {
        return None;
    }
    let hour = field(&mut rest, 2, 23)?;
    let minute = pass(&mut rest, b":").then(|| field(&mut rest, 2, 59))??;
    let second = if pass(&mut rest, b":") {
        field(&mut rest, 2, 59)?
    } else {
        0
    };
    let micros = if pass(&mut rest, b".") {
        fraction(&mut rest)?
    } else {
        0
    };
    let local = seconds + hour * 3600 + minute * 60 + second;
    Some((local - zone(rest)?) * MICROS + micros)
}

/// Takes `yyyy-M-d` from the front.
fn day(rest: &mut &[u8]) -> Option<i32> {
    let (year, after) = rest.split_first_chunk::<4>()?;
    if !year.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year = year
        .iter()
        .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    *rest = after;
    let month = pass(rest, b"-").then(|| field(rest, 2, 12))??;
    let day = pass(rest, b"-").then(|| field(rest, 2, 31))??;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if month == 0 || day == 0 || day > last {
        return None;
    }
    i32::try_from(days(year, month, day)).ok()
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years begin in March, so that the
/// leap day is the last of its year; 400 years have 146,097 days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Takes up to `width` digits, at least one.
fn field(rest: &mut &[u8], width: usize, most: i64) -> Option<i64> {
    let count = rest
        .iter()
        .take(width)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, after) = rest.split_at(count);
    let value = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    *rest = after;
    (count > 0 && value <= most).then_some(value)
}

/// Takes the digits of a fraction of a second; gives microseconds.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    let padded = digits
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(6);
    let micros = padded.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (count > 0).then_some(micros)
}

/// Seconds east of UTC of a zone that is all that is left.
fn zone(mut rest: &[u8]) -> Option<i64> {
    if rest.is_empty() || rest == b"Z" || rest == b"z" {
        return Some(0);
    }
    let west = rest[0] == b'-';
    if !pass(&mut rest, b"+-") {
        return None;
    }
    let hours = field(&mut rest, 2, 23)?;
    pass(&mut rest, b":");
    let minutes = if rest.is_empty() {
        0
    } else {
        field(&mut rest, 2, 59)?
    };
    let seconds = hours * 3600 + minutes * 60;
    rest.is_empty()
        .then_some(if west { -seconds } else { seconds })
}

fn pass(rest: &mut &[u8], any: &[u8]) -> bool {
    match rest.split_first() {
        Some((byte, after)) if any.contains(byte) => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{date, instant};

    #[test]
    fn dates_count_days() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-3-1", 20_513),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(date(text.as_bytes()), Some(days), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-01-01x",
            "26-01-01",
            "20260101",
        ] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn instants_are_microseconds_in_utc() {
        let noon = 1_772_366_706_000_000;
        for (text, micros) in [
            ("2026-03-01T12:05:06Z", noon),
            ("2026-03-01t12:05:06z", noon),
            ("2026-03-01 12:05:06", noon),
            ("2026-3-1 12:5:6", noon),
            ("2026-03-01T14:05:06+02:00", noon),
            ("2026-03-01T14:05:06+0200", noon),
            ("2026-02-28T18:35:06-1730", noon),
            ("2026-03-01T12:05:06.1", noon + 100_000),
            ("2026-03-01T12:05:06.123456789Z", noon + 123_456),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-03-01", noon - 43_506_000_000),
            ("2026-03-01T12:05Z", noon - 6_000_000),
            ("1772366706", noon),
            ("1772366706.25", noon + 250_000),
            ("1772366706000", noon),
            ("1772366706000.5", noon + 500),
            ("999999999999", 999_999_999_999_000_000),
            ("1000000000000", 1_000_000_000_000_000),
            ("-1", -1_000_000),
            ("1.772366706e9", noon),
        ] {
            assert_eq!(instant(text.as_bytes()), Some(micros), "{text}");
        }
        for text in [
            "",
            "x",
            "2026-03-01T",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00 Z",
            "2026-03-01T12:00:00+",
            "2026-03-01T12:00:00+2:000",
            "2026-02-30T00:00:00Z",
            "1e30",
            "2026-03-01T12:00:61Z",
        ] {
            assert_eq!(instant(text.as_bytes()), None, "{text}");
        }
    }
}
