//! The JSON Schema of the configuration file, made of the very functions that read it.

use serde_json::{Value as Json, json};

use super::fields::Section;
use super::kinds::Kind;
use super::sections::service;

/// The JSON Schema (draft 2020-12) of a configuration file. Values may also be `${NAME}`.
pub fn schema() -> Json {
    let mut schema = Section(service).schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("hydrant configuration");
    schema
}
