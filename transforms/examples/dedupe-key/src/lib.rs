//! Gives each JSON record a key by which repeated ones are found, and a partition for equal keys.

use hydrant_transform_sdk::json::Object;
use hydrant_transform_sdk::{BatchInfo, Outcome, Output, Record, Transform};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DedupeKey {
    fields: Vec<String>,
    #[serde(default = "usual_name")]
    name: String,
    #[serde(default = "usual_buckets")]
    buckets: u64,
}

fn usual_name() -> String {
    "dedupe_key".to_owned()
}

fn usual_buckets() -> u64 {
    16
}

impl Transform for DedupeKey {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if config.fields.is_empty() {
            return Err("`fields`: name at least one field".to_owned());
        }
        if config.buckets == 0 {
            return Err("`buckets` must be at least 1".to_owned());
        }
        Ok(config)
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        self.keyed(&record.data)
            .map_or_else(Outcome::Failed, Outcome::Changed)
    }
}

impl DedupeKey {
    fn keyed(&self, data: &[u8]) -> Result<Output, String> {
        let object = Object::parse(data)?;
        let mut hash = Fnv::default();
        for field in &self.fields {
            let value = object
                .get(field)
                .ok_or_else(|| format!("the record has no field `{field}`"))?;
            // With its length, so that no two lists of values are one text.
            hash.add(&(value.len() as u64).to_le_bytes());
            hash.add(value.as_bytes());
        }
        let key = format!("\"{:016x}\"", hash.0);
        let bucket = hash.0 % self.buckets;
        let text = object.with(&[(self.name.as_str(), key.as_str())]);
        Ok(Output::new(text).key("bucket", bucket.to_string()))
    }
}

/// FNV-1a of 64 bits: the same everywhere, and not for secrets.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

hydrant_transform_sdk::export!(DedupeKey);
