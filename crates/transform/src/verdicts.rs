//! Outcomes as lines for people and tests: what `expected.ndjson` of an example holds.
//!
//! One line per input record, in order: `{"outputs":["...", ...]}` with each output as text,
//! `{"dropped":true}`, or `{"failed":"message"}`. Partition keys follow as
//! `"partition_keys":[{...}, ...]`, one object per output, where any output has them, and
//! `"targets":[...]` where any output of the record names one.

use hydrant_core::outcomes::Outcomes;
use serde_json::{Map, Value, json};

/// The lines of the outcomes of a micro-batch of `records` records. Bytes that are no UTF-8 are
/// shown as U+FFFD.
pub fn lines(outcomes: &Outcomes, records: usize) -> Vec<String> {
    let mut outputs = (0..outcomes.len()).peekable();
    let mut failures = outcomes.failures.iter().peekable();
    let mut lines = Vec::with_capacity(records);
    for record in 0..records {
        let is_here = |of: u32| of as usize == record;
        let (mut texts, mut keys, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(i) = outputs.next_if(|i| is_here(outcomes.record(*i))) {
            texts.push(Value::from(String::from_utf8_lossy(outcomes.data(i))));
            keys.push(partition_keys(outcomes.partition_keys(i)));
            targets.push(outcomes.target(i));
        }
        let failure = failures.next_if(|failure| is_here(failure.record));
        let mut line = match failure {
            Some(failure) => json!({ "failed": failure.message }),
            None if texts.is_empty() => json!({ "dropped": true }),
            None => json!({ "outputs": texts }),
        };
        if outcomes.is_partitioned() && !keys.is_empty() {
            line["partition_keys"] = Value::Array(keys);
        }
        if targets.iter().any(Option::is_some) {
            line["targets"] = json!(targets);
        }
        lines.push(line.to_string());
    }
    lines
}

fn partition_keys(keys: &[(String, String)]) -> Value {
    let pairs = keys
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    Value::Object(pairs.collect::<Map<_, _>>())
}
