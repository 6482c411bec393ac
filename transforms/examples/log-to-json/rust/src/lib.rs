//! Makes JSON objects of the lines that Apache and nginx write.

use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
use serde_json::Value;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

struct LogToJson;

impl Transform for LogToJson {
    fn configure(config: &str) -> Result<Self, String> {
        match config {
            "{}" => Ok(Self),
            _ => Err("this transform has no configuration".to_owned()),
        }
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        match std::str::from_utf8(&record.data).ok().and_then(object) {
            Some(object) => Outcome::changed(object),
            None => Outcome::failed("this is no line of the common or combined log format"),
        }
    }
}

fn object(line: &str) -> Option<String> {
    let mut line = Line(line.trim_end_matches('\r'));
    let (remote, _identity, user) = (line.word()?, line.word()?, line.word()?);
    let time = rfc3339(line.between('[', ']')?)?;
    let request = line.quoted()?;
    let [method, path, protocol] = request.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let status: u16 = line.word()?.parse().ok()?;
    let bytes = match line.word()? {
        "-" => Value::Null,
        number => Value::from(number.parse::<u64>().ok()?),
    };
    let (referer, agent) = match line.0 {
        "" => (Value::Null, Value::Null),
        _ => (text(&line.quoted()?), text(&line.quoted()?)),
    };
    let members = [
        ("remote", Value::from(remote)),
        ("user", text(user)),
        ("time", Value::from(time)),
        ("method", Value::from(method)),
        ("path", Value::from(path)),
        ("protocol", Value::from(protocol)),
        ("status", Value::from(status)),
        ("bytes", bytes),
        ("referer", referer),
        ("agent", agent),
    ];
    // In this order, as a map would not keep it.
    let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
    line.0
        .is_empty()
        .then(|| format!("{{{}}}", members.join(",")))
}

/// What is left of a line.
struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn between(&mut self, open: char, close: char) -> Option<&'a str> {
        let (inner, rest) = self.0.strip_prefix(open)?.split_once(close)?;
        self.0 = rest.strip_prefix(' ').or(rest.is_empty().then_some(""))?;
        Some(inner)
    }

    /// A text in quotes, in which a backslash stands before a quote and a backslash.
    fn quoted(&mut self) -> Option<String> {
        let inner = self.0.strip_prefix('"')?;
        let mut text = String::new();
        let mut characters = inner.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    let rest = &inner[at + 1..];
                    self.0 = rest.strip_prefix(' ').or(rest.is_empty().then_some(""))?;
                    return Some(text);
                }
                '\\' => match characters.next()?.1 {
                    escaped @ ('"' | '\\') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                _ => text.push(character),
            }
        }
        None
    }
}

/// `10/Oct/2025:13:55:36 -0700` as `2025-10-10T13:55:36-07:00`.
fn rfc3339(time: &str) -> Option<String> {
    let (date, zone) = time.split_once(' ')?;
    let [day, month, rest] = date.splitn(3, '/').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (year, clock) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let clock_fits = clock.len() == 8 && clock.split(':').all(|part| digits(part, 2));
    let zone_fits = zone.starts_with(['+', '-']) && zone.len() == 5 && digits(&zone[1..], 4);
    if !digits(day, 2) || !digits(year, 4) || !clock_fits || !zone_fits {
        return None;
    }
    Some(format!(
        "{year}-{month:02}-{day}T{clock}{}:{}",
        &zone[..3],
        &zone[3..]
    ))
}

/// `-` is none.
fn text(text: &str) -> Value {
    match text {
        "-" => Value::Null,
        text => Value::from(text),
    }
}

hydrant_transform_sdk::export!(LogToJson);
