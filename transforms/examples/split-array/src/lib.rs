//! Splits a record into the items of a JSON array.

use hydrant_transform_sdk::json::Object;
use hydrant_transform_sdk::{BatchInfo, Outcome, Output, Record, Transform};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitArray {
    field: Option<String>,
}

impl Transform for SplitArray {
    fn configure(config: &str) -> Result<Self, String> {
        serde_json::from_str(config).map_err(|e| e.to_string())
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        let items = match &self.field {
            Some(field) => of_field(&record.data, field),
            None => serde_json::from_slice::<Vec<&RawValue>>(&record.data)
                .map(outputs)
                .map_err(|_| "the record is not a JSON array".to_owned()),
        };
        items.map_or_else(Outcome::Failed, Outcome::Split)
    }
}

fn of_field(data: &[u8], field: &str) -> Result<Vec<Output>, String> {
    let object = Object::parse(data)?;
    let array = object
        .get(field)
        .map(serde_json::from_str::<Vec<&RawValue>>);
    match array {
        Some(Ok(items)) => Ok(outputs(items)),
        _ => Err(format!("the record has no array `{field}`")),
    }
}

fn outputs(items: Vec<&RawValue>) -> Vec<Output> {
    items
        .into_iter()
        .map(|item| Output::new(item.get()))
        .collect()
}

hydrant_transform_sdk::export!(SplitArray);
