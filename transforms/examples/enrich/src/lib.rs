//! Adds places to JSON records, as GeoJSON, from a table in the configuration.

use std::collections::BTreeMap;

use hydrant_transform_sdk::json::Object;
use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrich {
    field: String,
    #[serde(default = "usual_name")]
    into: String,
    table: BTreeMap<String, (f64, f64)>,
    #[serde(default)]
    missing: Missing,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Missing {
    #[default]
    Keep,
    Drop,
    Fail,
}

fn usual_name() -> String {
    "location".to_owned()
}

impl Transform for Enrich {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(config).map_err(|e| e.to_string())?;
        let is_place = |(longitude, latitude): &(f64, f64)| {
            (-180.0..=180.0).contains(longitude) && (-90.0..=90.0).contains(latitude)
        };
        if let Some((name, _)) = config.table.iter().find(|(_, place)| !is_place(place)) {
            return Err(format!(
                "`table` of `{name}`: a longitude is -180 to 180, a latitude -90 to 90"
            ));
        }
        Ok(config)
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        let object = match Object::parse(&record.data) {
            Ok(object) => object,
            Err(message) => return Outcome::Failed(message),
        };
        let place = object
            .get_string(&self.field)
            .and_then(|name| self.table.get(&name));
        match (place, self.missing) {
            (Some((longitude, latitude)), _) => {
                let point = serde_json::json!([longitude, latitude]);
                let point = format!(r#"{{"type":"Point","coordinates":{point}}}"#);
                Outcome::changed(object.with(&[(self.into.as_str(), point.as_str())]))
            }
            (None, Missing::Keep) => Outcome::Unchanged,
            (None, Missing::Drop) => Outcome::Dropped,
            (None, Missing::Fail) => {
                Outcome::Failed(format!("`{}` is not in the table", self.field))
            }
        }
    }
}

hydrant_transform_sdk::export!(Enrich);
