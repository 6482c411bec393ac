//! Makes JSON objects of lines of CSV.

use std::collections::BTreeMap;

use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    header: Vec<String>,
    #[serde(default = "comma")]
    separator: char,
    #[serde(default)]
    types: BTreeMap<String, Type>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    #[default]
    String,
    Int,
    Float,
    Bool,
}

struct CsvToJson {
    columns: Vec<(String, Type)>,
    separator: char,
}

fn comma() -> char {
    ','
}

impl Transform for CsvToJson {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Config = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if config.header.is_empty() {
            return Err("`header`: name at least one column".to_owned());
        }
        if let Some(name) = config
            .types
            .keys()
            .find(|name| !config.header.contains(name))
        {
            return Err(format!("`types`: there is no column `{name}`"));
        }
        let columns = config.header.into_iter();
        let columns = columns.map(|name| {
            let kind = config.types.get(&name).copied().unwrap_or_default();
            (name, kind)
        });
        Ok(Self {
            columns: columns.collect(),
            separator: config.separator,
        })
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        match self.object(&record.data) {
            Ok(object) => Outcome::changed(object),
            Err(message) => Outcome::Failed(message),
        }
    }
}

impl CsvToJson {
    /// Written by hand, so that the members stand in the order of the columns.
    fn object(&self, line: &[u8]) -> Result<String, String> {
        let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
        let values = split(line.trim_end_matches('\r'), self.separator)?;
        if values.len() != self.columns.len() {
            return Err(format!(
                "the line has {} columns, the header {}",
                values.len(),
                self.columns.len()
            ));
        }
        let mut object = String::from("{");
        for ((name, kind), value) in self.columns.iter().zip(values) {
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(&Value::from(name.as_str()).to_string());
            object.push(':');
            let value = typed(*kind, &value).map_err(|what| format!("column `{name}`: {what}"))?;
            object.push_str(&value.to_string());
        }
        object.push('}');
        Ok(object)
    }
}

fn typed(kind: Type, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("`{text}` is not {what}");
    match kind {
        Type::String => Ok(Value::from(text)),
        _ if text.is_empty() => Ok(Value::Null),
        Type::Int => text
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| wrong("an int")),
        Type::Float => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::from(number)),
            _ => Err(wrong("a float")),
        },
        Type::Bool => text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| wrong("a bool")),
    }
}

/// The values of a line, as RFC 4180 quotes them.
fn split(line: &str, separator: char) -> Result<Vec<String>, String> {
    let (mut values, mut value) = (Vec::new(), String::new());
    let mut characters = line.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' if quoted => quoted = false,
            '"' if value.is_empty() => quoted = true,
            _ if character == separator && !quoted => values.push(std::mem::take(&mut value)),
            _ => value.push(character),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    values.push(value);
    Ok(values)
}

hydrant_transform_sdk::export!(CsvToJson);
