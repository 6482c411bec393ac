//! The kinds of values that are made of others, and what a plain scalar means.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json, json};

use super::context::{Context, join};
use super::kinds::Kind;
use super::node::{Entry, Node, Value};

/// Any value, as JSON.
pub(super) struct AnyJson;

impl Kind for AnyJson {
    type Out = Json;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Json> {
        match &node.value {
            Value::Faulty => None,
            Value::Scalar(scalar) if scalar.plain => {
                let json = plain_json(&scalar.text);
                if json.is_string() && special_float(&scalar.text) {
                    cx.fault(
                        node.mark,
                        path,
                        "is a number that JSON does not have",
                        "quote it to mean a text",
                    );
                    return None;
                }
                Some(json)
            }
            Value::Scalar(scalar) => Some(Json::String(scalar.text.clone())),
            Value::List(items) => {
                let read = |(index, item)| self.read(item, &format!("{path}[{index}]"), cx);
                all(items.iter().enumerate().map(read)).map(Json::Array)
            }
            Value::Map(entries) => {
                let read = |entry: &Entry| {
                    let value = self.read(&entry.node, &join(path, &entry.key), cx)?;
                    Some((entry.key.clone(), value))
                };
                all(entries.iter().map(read)).map(|pairs| Json::Object(Map::from_iter(pairs)))
            }
        }
    }

    fn schema(&self) -> Json {
        json!({})
    }
}

/// A list of one kind.
pub(super) struct List<K>(pub(super) K);

impl<K: Kind> Kind for List<K> {
    type Out = Vec<K::Out>;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Self::Out> {
        match &node.value {
            Value::List(items) => {
                let read = |(index, item)| self.0.read(item, &format!("{path}[{index}]"), cx);
                all(items.iter().enumerate().map(read))
            }
            Value::Faulty => None,
            Value::Scalar(_) | Value::Map(_) => {
                cx.fault(
                    node.mark,
                    path,
                    "must be a list",
                    "begin each item with `- `",
                );
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema() })
    }
}

/// A map from names of the user's to values of one kind.
pub(super) struct Named<K> {
    pub(super) kind: K,
    pub(super) max_chars: usize,
}

impl<K: Kind> Kind for Named<K> {
    type Out = BTreeMap<String, K::Out>;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Self::Out> {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(scalar) if scalar.is_null() => &[],
            Value::Faulty => return None,
            Value::Scalar(_) | Value::List(_) => {
                cx.fault(node.mark, path, "must be a map from names to settings", "");
                return None;
            }
        };
        let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
        let read = |entry: &Entry| {
            let inner = join(path, &entry.key);
            let named = !entry.key.is_empty()
                && entry.key.len() <= self.max_chars
                && entry.key.chars().all(good);
            if !named {
                let remedy = format!(
                    "use 1 to {} letters, digits, `_`, `.` or `-`",
                    self.max_chars
                );
                cx.fault(entry.mark, &inner, "is no name", remedy);
            }
            let value = self.kind.read(&entry.node, &inner, cx)?;
            named.then(|| (entry.key.clone(), value))
        };
        all(entries.iter().map(read)).map(BTreeMap::from_iter)
    }

    fn schema(&self) -> Json {
        let pattern = format!("^[a-zA-Z0-9_.-]{{1,{}}}$", self.max_chars);
        json!({ "type": "object", "propertyNames": { "pattern": pattern }, "additionalProperties": self.kind.schema() })
    }
}

/// A word or text, or a map that says more.
pub(super) struct Either<A, B> {
    pub(super) scalar: A,
    pub(super) map: B,
}

impl<A: Kind, B: Kind<Out = A::Out>> Kind for Either<A, B> {
    type Out = A::Out;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<A::Out> {
        match &node.value {
            Value::Map(_) => self.map.read(node, path, cx),
            _ => self.scalar.read(node, path, cx),
        }
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.scalar.schema(), self.map.schema()] })
    }
}

/// Reads everything, so that all faults are noted, and then gives all or nothing.
fn all<T>(read: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

/// `true` and `false` as the core schema has them.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// What a plain scalar means in YAML 1.2's core schema (specification, section 10.3.2).
pub(super) fn plain_json(text: &str) -> Json {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Json::Null;
    }
    if let Some(flag) = truth(text) {
        return Json::Bool(flag);
    }
    whole(text)
        .or_else(|| float(text))
        .map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

fn whole(text: &str) -> Option<Number> {
    for (mark, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text
            .strip_prefix(mark)
            .filter(|digits| !digits.starts_with(['+', '-']))
        {
            return u64::from_str_radix(digits, radix).ok().map(Number::from);
        }
    }
    text.parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from))
        .ok()
}

fn float(text: &str) -> Option<Number> {
    // Rust also reads `inf` and `nan`, which are words in YAML.
    let digits = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    digits
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .and_then(Number::from_f64)
}

/// `.inf` and `.nan`.
fn special_float(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    text == ".inf" || text == ".nan"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain_json;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let cases = [
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("0", json!(0)),
            ("-12", json!(-12)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("1.5e3", json!(1500.0)),
            ("inf", json!("inf")),
            ("1.2.3", json!("1.2.3")),
            ("2026-01-02", json!("2026-01-02")),
        ];
        for (text, expected) in cases {
            assert_eq!(plain_json(text), expected, "{text}");
        }
    }
}
