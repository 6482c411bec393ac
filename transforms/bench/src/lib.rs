//! What `hydrant bench transform` measures: a record edited by the usual means of the language, or
//! given back as it came.

use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
use serde_json::Value;

pub mod edit;

enum Bench {
    Identity,
    Edit,
}

impl Transform for Bench {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Value = serde_json::from_str(config).map_err(|e| e.to_string())?;
        match config["work"].as_str() {
            Some("identity") => Ok(Self::Identity),
            Some("edit") => Ok(Self::Edit),
            _ => Err("`work` is `identity` or `edit`".to_owned()),
        }
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        match self {
            Self::Identity => Outcome::changed(record.data),
            Self::Edit => match edit::edit(&record.data) {
                Ok(text) => Outcome::changed(text),
                Err(message) => Outcome::Failed(message),
            },
        }
    }
}

hydrant_transform_sdk::export!(Bench);
