//! The kinds of single values that settings have: how each is read, and what the JSON Schema says
//! of it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hydrant_core::units::{ByteSize, parse_duration};
use serde_json::{Value as Json, json};

use super::context::Context;
use super::node::{Node, Scalar, Value};
use super::shapes::truth;

/// What a value may be.
pub(super) trait Kind {
    /// What it is read as.
    type Out;

    /// Reads it; `None` is a fault, which is noted.
    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Self::Out>;

    /// Its JSON Schema.
    fn schema(&self) -> Json;
}

/// Any text.
pub(super) struct Text;

impl Kind for Text {
    type Out = String;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<String> {
        scalar(node, path, cx, "a text").map(|scalar| scalar.text.clone())
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

/// A text with a meaning.
pub(super) struct Parsed<T> {
    pub(super) parse: fn(&str) -> Result<T, String>,
    /// What it is, as in "a URL".
    pub(super) what: &'static str,
    pub(super) example: &'static str,
}

impl<T> Kind for Parsed<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<T> {
        let scalar = scalar(node, path, cx, self.what)?;
        match (self.parse)(&scalar.text) {
            Ok(value) => Some(value),
            Err(message) => {
                let remedy = format!("write {} such as `{}`", self.what, self.example);
                cx.fault(node.mark, path, scalar.conceal(&message), remedy);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "examples": [self.example] })
    }
}

/// A size such as `5MiB`.
pub(super) struct Size(pub(super) RangeInclusive<ByteSize>);

impl Kind for Size {
    type Out = ByteSize;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<ByteSize> {
        let scalar = scalar(node, path, cx, "a size")?;
        match scalar.text.parse() {
            Ok(size) if self.0.contains(&size) => Some(size),
            Ok(_) => out_of_range(node, scalar, path, cx, self.0.start(), self.0.end()),
            Err(message) => {
                cx.fault(node.mark, path, scalar.conceal(&message), "");
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^\\s*[0-9_]+\\s*([KMGT]i?B|kB|B)?\\s*$|\\$\\{" })
    }
}

/// A length of time such as `60s`.
pub(super) struct Time(pub(super) RangeInclusive<Duration>);

impl Kind for Time {
    type Out = Duration;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Duration> {
        let scalar = scalar(node, path, cx, "a time")?;
        match parse_duration(&scalar.text) {
            Ok(time) if self.0.contains(&time) => Some(time),
            Ok(_) => {
                let (least, most) = (show_time(*self.0.start()), show_time(*self.0.end()));
                out_of_range(node, scalar, path, cx, &least, &most)
            }
            Err(message) => {
                cx.fault(node.mark, path, scalar.conceal(&message), "");
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^\\s*(0|[0-9_]+\\s*(ms|s|m|min|h|d))\\s*$|\\$\\{" })
    }
}

/// Shows a time in its largest whole unit.
fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, factor) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ] {
        if millis >= factor && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    if millis == 0 {
        "0".to_owned()
    } else {
        format!("{millis}ms")
    }
}

/// A whole number.
pub(super) struct Whole(pub(super) RangeInclusive<u32>);

impl Kind for Whole {
    type Out = u32;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<u32> {
        let scalar = scalar(node, path, cx, "a whole number")?;
        let number = scalar.text.parse::<i128>().ok().filter(|_| scalar.plain);
        let Some(number) = number else {
            let message = format!("{} is not a whole number", shown(scalar));
            cx.fault(node.mark, path, message, "");
            return None;
        };
        match u32::try_from(number) {
            Ok(number) if self.0.contains(&number) => Some(number),
            _ => out_of_range(node, scalar, path, cx, self.0.start(), self.0.end()),
        }
    }

    fn schema(&self) -> Json {
        let number =
            json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() });
        json!({ "anyOf": [number, variable()] })
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Out = bool;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<bool> {
        let scalar = scalar(node, path, cx, "`true` or `false`")?;
        if let (true, Some(flag)) = (scalar.plain, truth(&scalar.text)) {
            return Some(flag);
        }
        let message = format!("{} is neither `true` nor `false`", shown(scalar));
        cx.fault(node.mark, path, message, "");
        None
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "boolean" }, variable()] })
    }
}

/// One of some words.
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Clone> Kind for Word<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<T> {
        let scalar = scalar(node, path, cx, "a word")?;
        if let Some((_, value)) = self.0.iter().find(|(word, _)| *word == scalar.text) {
            return Some(value.clone());
        }
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        let message = format!("{} is not known", shown(scalar));
        cx.fault(
            node.mark,
            path,
            message,
            format!("use one of {}", words.join(", ")),
        );
        None
    }

    fn schema(&self) -> Json {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        json!({ "anyOf": [{ "enum": words }, variable()] })
    }
}

/// A path; a relative one counts from the folder of the file that names it.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Out = PathBuf;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<PathBuf> {
        let scalar = scalar(node, path, cx, "a path")?;
        if scalar.text.is_empty() {
            cx.fault(node.mark, path, "is an empty path", "name a file or folder");
            return None;
        }
        let resolved = cx.resolve(node.mark, &scalar.text);
        if resolved.to_str().is_none() {
            cx.fault(
                node.mark,
                path,
                "is below a folder whose name is not UTF-8",
                "use a path that is",
            );
            return None;
        }
        Some(resolved)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// The scalar; anything else is a fault.
pub(super) fn scalar<'n>(
    node: &'n Node,
    path: &str,
    cx: &mut Context,
    what: &str,
) -> Option<&'n Scalar> {
    match &node.value {
        Value::Faulty => None,
        Value::Scalar(scalar) if scalar.is_null() => {
            cx.fault(
                node.mark,
                path,
                "has no value",
                format!("write {what}, or remove it"),
            );
            None
        }
        Value::Scalar(scalar) => Some(scalar),
        Value::List(_) | Value::Map(_) => {
            let found = if matches!(node.value, Value::List(_)) {
                "list"
            } else {
                "map"
            };
            cx.fault(
                node.mark,
                path,
                format!("must be {what}, not a {found}"),
                "",
            );
            None
        }
    }
}

fn out_of_range<T>(
    node: &Node,
    scalar: &Scalar,
    path: &str,
    cx: &mut Context,
    least: &dyn std::fmt::Display,
    most: &dyn std::fmt::Display,
) -> Option<T> {
    let message = format!("{} is out of range, limit {least} to {most}", shown(scalar));
    cx.fault(node.mark, path, message, "");
    None
}

/// The text as it stands in the file.
fn shown(scalar: &Scalar) -> String {
    let text = scalar.original.as_ref().unwrap_or(&scalar.text);
    format!("`{}`", text.escape_debug())
}

fn variable() -> Json {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::show_time;

    #[test]
    fn times_show_in_their_largest_unit() {
        for (seconds, text) in [(0, "0"), (90, "90s"), (3600, "1h"), (86_400, "1d")] {
            assert_eq!(show_time(Duration::from_secs(seconds)), text);
        }
        assert_eq!(show_time(Duration::from_millis(1500)), "1500ms");
    }
}
