//! Redacts fields of JSON records: replaces the values at dotted paths, or removes the fields.
//! All other bytes of a record stay as they are.

use hydrant_transform_sdk::json::{Object, Paths};
use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
use serde::Deserialize;

const REDACTED: &str = "\"[redacted]\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fields: Vec<String>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Replace,
    Remove,
}

struct Redact {
    paths: Paths,
    mode: Mode,
}

impl Transform for Redact {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Config = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if config.fields.is_empty() {
            return Err(
                "`fields` is empty: name at least one field, as in [\"email\", \"user.ip\"]"
                    .to_owned(),
            );
        }
        Ok(Self {
            paths: Paths::parse(&config.fields)?,
            mode: config.mode,
        })
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        let edited = Object::parse(&record.data).and_then(|object| match self.mode {
            Mode::Replace => self.paths.replace(&object, REDACTED),
            Mode::Remove => self.paths.remove(&object),
        });
        match edited {
            Ok(Some(text)) => Outcome::changed(text),
            Ok(None) => Outcome::Unchanged,
            Err(message) => Outcome::Failed(message),
        }
    }
}

hydrant_transform_sdk::export!(Redact);
