//! Time patterns of `!{timestamp:...}`: the letters of Java's `DateTimeFormatter` that make sense
//! in a key, in English and UTC. Takes a pattern, gives text for a moment; knows nothing of keys.
//!
//! Widths follow the Java documentation of `DateTimeFormatterBuilder.appendPattern`. Left out are
//! letters whose text depends on a locale (`Y`, `w`, `W`, `e`, `c`), on a zone, or on an era.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimePattern(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Text(String),
    Field { letter: char, width: usize },
}

impl TimePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// With a text that names the letter or character that is not taken.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("the time pattern is empty: write one such as yyyy/MM/dd/HH".to_owned());
        }
        let mut items = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\'' => push_text(&mut items, &quoted(&mut chars)?),
                'a'..='z' | 'A'..='Z' => {
                    let mut width = 1;
                    while chars.next_if_eq(&char).is_some() {
                        width += 1;
                    }
                    check(char, width)?;
                    items.push(Item::Field {
                        letter: char,
                        width,
                    });
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(format!(
                        "`{char}` has a meaning of its own in a time pattern: put it in single quotes"
                    ));
                }
                other => push_text(&mut items, other.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(Self(items))
    }

    /// Appends the text for a moment.
    pub(crate) fn append(&self, time: &DateTime<Utc>, out: &mut String) {
        for item in &self.0 {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field { letter, width } => field(*letter, *width, time, out),
            }
        }
    }
}

/// Text up to the closing quote; two quotes stand for one, also outside of quoted text.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    while let Some(char) = chars.next() {
        if char != '\'' {
            text.push(char);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err("a single quote in the time pattern is not closed".to_owned())
}

fn push_text(items: &mut Vec<Item>, text: &str) {
    if let Some(Item::Text(last)) = items.last_mut() {
        last.push_str(text);
    } else {
        items.push(Item::Text(text.to_owned()));
    }
}

fn check(letter: char, width: usize) -> Result<(), String> {
    let widest = match letter {
        'y' | 'u' | 'n' | 'A' => 19,
        'S' => 9,
        'M' | 'L' | 'E' => 5,
        'D' => 3,
        'Q' => 4,
        'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' => 2,
        'a' => 1,
        'Y' => {
            return Err(
                "the letter `Y` (week-based year) is not supported in a time pattern: \
                        use `y`"
                    .to_owned(),
            );
        }
        _ => {
            return Err(format!(
                "the letter `{letter}` is not supported in a time pattern: use y u Q M L d D E a \
                 h H k K m s S A n, or put text in single quotes"
            ));
        }
    };
    if width > widest {
        return Err(format!(
            "the letter `{letter}` stands {width} times in a row in a time pattern, limit {widest}"
        ));
    }
    Ok(())
}

fn field(letter: char, width: usize, time: &DateTime<Utc>, out: &mut String) {
    let number = match letter {
        'y' | 'u' => return year(time, width, out),
        'M' | 'L' if width > 2 => return name(MONTHS[time.month0() as usize], width, out),
        'E' => {
            let day = DAYS[time.weekday().num_days_from_monday() as usize];
            return name(day, width.max(3), out);
        }
        'Q' if width > 2 => return quarter(time.month0() / 3, width, out),
        'a' => return out.push_str(if time.hour() < 12 { "AM" } else { "PM" }),
        'S' => {
            let nanos = format!("{:09}", nanos(time));
            return out.extend(nanos.chars().take(width));
        }
        'M' | 'L' => u64::from(time.month()),
        'Q' => u64::from(time.month0() / 3 + 1),
        'd' => u64::from(time.day()),
        'D' => u64::from(time.ordinal()),
        'H' => u64::from(time.hour()),
        'h' => u64::from(time.hour12().1),
        'K' => u64::from(time.hour() % 12),
        'k' => u64::from(if time.hour() == 0 { 24 } else { time.hour() }),
        'm' => u64::from(time.minute()),
        's' => u64::from(time.second()),
        'n' => u64::from(nanos(time)),
        'A' => {
            u64::from(time.num_seconds_from_midnight()) * 1_000 + u64::from(nanos(time)) / 1_000_000
        }
        _ => unreachable!("a letter that was checked"),
    };
    padded(number, width, out);
}

/// Two letters give two digits; other widths pad.
fn year(time: &DateTime<Utc>, width: usize, out: &mut String) {
    // Arrival times are not before 1970, so era and sign do not matter.
    let year = u64::from(time.year().unsigned_abs());
    if width == 2 {
        padded(year % 100, 2, out);
    } else {
        padded(year, width, out);
    }
}

fn name(full: &str, width: usize, out: &mut String) {
    let take = match width {
        3 => 3,
        4 => full.len(),
        _ => 1,
    };
    out.extend(full.chars().take(take));
}

fn quarter(index: u32, width: usize, out: &mut String) {
    let names = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
    if width == 3 {
        padded(u64::from(index + 1), 1, {
            out.push('Q');
            out
        });
    } else {
        out.push_str(names[index as usize]);
    }
}

/// Nanoseconds of the second; a leap second counts as the last of its minute.
fn nanos(time: &DateTime<Utc>) -> u32 {
    time.nanosecond().min(999_999_999)
}

fn padded(number: u64, width: usize, out: &mut String) {
    write!(out, "{number:0width$}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::TimePattern;

    fn at(pattern: &str, ms: i64) -> String {
        let mut out = String::new();
        let time = DateTime::from_timestamp_millis(ms).expect("in range");
        TimePattern::parse(pattern)
            .expect("a good pattern")
            .append(&time, &mut out);
        out
    }

    #[test]
    fn letters_as_java_prints_them() {
        // 2026-09-03T04:05:06.078Z, a Thursday, day 246 of the year.
        let ms = 1_788_408_306_078;
        for (pattern, text) in [
            ("yyyy/MM/dd/HH/", "2026/09/03/04/"),
            ("y-yy-yyy-yyyyy", "2026-26-2026-02026"),
            ("uuuu", "2026"),
            ("M MM MMM MMMM MMMMM", "9 09 Sep September S"),
            ("L LL", "9 09"),
            ("d dd D DD DDD", "3 03 246 246 246"),
            ("H HH h hh k K a", "4 04 4 04 4 4 AM"),
            ("m mm s ss", "5 05 6 06"),
            ("S SS SSS SSSSSS SSSSSSSSS", "0 07 078 078000 078000000"),
            ("E EE EEE EEEE EEEEE", "Thu Thu Thu Thursday T"),
            ("Q QQ QQQ QQQQ", "3 03 Q3 3rd quarter"),
            ("n nnnnnnnnn A", "78000000 078000000 14706078"),
            ("'dt='yyyy-MM-dd", "dt=2026-09-03"),
            ("''yyyy 'it''s' HH", "'2026 it's 04"),
            ("yyyy'T'HH:mm", "2026T04:05"),
            ("'y{e}ar'", "y{e}ar"),
        ] {
            assert_eq!(at(pattern, ms), text, "{pattern}");
        }
    }

    #[test]
    fn noon_and_midnight() {
        let midnight = 1_767_225_600_000;
        assert_eq!(at("HH hh kk KK a", midnight), "00 12 24 00 AM");
        assert_eq!(
            at("HH hh kk KK a", midnight + 12 * 3_600_000),
            "12 12 12 00 PM"
        );
        assert_eq!(at("D DD DDD", midnight), "1 01 001");
    }

    #[test]
    fn faults_name_the_letter() {
        for (pattern, part) in [
            ("YYYY", "`Y`"),
            ("yyyy-ww", "`w`"),
            ("dt=yyyy", "`t`"),
            ("VV", "`V`"),
            ("HHH", "`H` stands 3 times"),
            ("SSSSSSSSSS", "`S` stands 10 times"),
            ("'open", "not closed"),
            ("[yyyy]", "`[`"),
            ("", "empty"),
        ] {
            let error = TimePattern::parse(pattern).expect_err(pattern);
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
