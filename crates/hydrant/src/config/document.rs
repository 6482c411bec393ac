//! A YAML file that is no configuration of the service: its values as JSON, with the same rules for
//! scalars. Variables are not replaced.

use std::path::Path;

use serde_json::Value as Json;

use super::context::Context;
use super::fault::Fault;
use super::kinds::Kind as _;
use super::load::read_text;
use super::node::parse;
use super::shapes::AnyJson;

/// Largest file: cases of a transform with their records.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Reads a YAML or JSON file.
///
/// # Errors
/// With every fault there is.
pub fn document(path: &Path) -> Result<Json, Vec<Fault>> {
    let mut cx = Context::new(Box::new(|_| None));
    cx.files.push(path.to_owned());
    let text = read_text(path, FILE_MAX_BYTES).map_err(|message| {
        vec![Fault {
            file: path.to_owned(),
            line: 0,
            path: String::new(),
            message,
            remedy: String::new(),
        }]
    })?;
    let json = parse(&text, 0, &mut cx).and_then(|node| AnyJson.read(&node, "", &mut cx));
    match json {
        Some(json) if cx.faults.is_empty() => Ok(json),
        _ => Err(cx.faults),
    }
}
