//! The edit that is measured: the same source in the guest and in the host.

use serde_json::Value;

/// Parses a JSON object, removes one field, sets one, adds 1 to one, and writes it again.
///
/// # Errors
/// With what is wrong, where the record is not such an object.
pub fn edit(record: &[u8]) -> Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(record).map_err(|e| e.to_string())?;
    let object = value.as_object_mut().ok_or("is not a JSON object")?;
    object.remove("session");
    object.insert("checked".to_owned(), Value::Bool(true));
    let seq = object.get("seq").and_then(Value::as_u64).unwrap_or(0);
    object.insert("seq".to_owned(), Value::from(seq.saturating_add(1)));
    serde_json::to_vec(&value).map_err(|e| e.to_string())
}
