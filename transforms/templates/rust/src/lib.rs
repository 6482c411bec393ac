//! Takes fields out of JSON records and drops health checks.

use hydrant_transform_sdk::{BatchInfo, Outcome, Output, Record, Transform};
use serde_json::Value;

struct Example {
    remove: Vec<String>,
}

impl Transform for Example {
    /// Runs before every batch, so keep it cheap.
    fn configure(config: &str) -> Result<Self, String> {
        let config: Value = serde_json::from_str(config).map_err(|e| e.to_string())?;
        let remove = match &config["remove"] {
            Value::Null => Vec::new(),
            Value::Array(names) if names.iter().all(Value::is_string) => names
                .iter()
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect(),
            _ => return Err("`remove` must be a list of names".to_owned()),
        };
        Ok(Self { remove })
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&record.data) else {
            return Outcome::failed("the record is not a JSON object");
        };
        let kind = fields
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("none")
            .to_owned();
        if kind == "health_check" {
            return Outcome::Dropped;
        }
        for name in &self.remove {
            fields.remove(name);
        }
        Outcome::Changed(Output::new(Value::Object(fields).to_string()).key("type", kind))
    }
}

hydrant_transform_sdk::export!(Example);
