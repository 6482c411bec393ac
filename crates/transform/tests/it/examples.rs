//! The example guests give what their folders say.

use std::sync::Arc;

use hydrant_core::outcomes::Overruns;
use hydrant_transform::{WasmTransform, verdicts};

use crate::support::{Answers as _, apply, batch, example, load, texts};

fn guest(folder: &str, module: &str) -> Arc<WasmTransform> {
    let config = String::from_utf8(example(folder, "config.json")).unwrap();
    load(&example(folder, module), &config).unwrap()
}

fn gives_what_is_expected(folder: &str, module: &str) {
    let transform = guest(folder, module);
    let input = String::from_utf8(example(folder, "input.ndjson")).unwrap();
    let records: Vec<&str> = input.lines().collect();
    let outcomes = transform.apply(&batch(&records), Overruns::Decide);
    let lines = verdicts::lines(&outcomes, records.len());
    let expected = String::from_utf8(example(folder, "expected.ndjson")).unwrap();
    for (i, (line, wanted)) in lines.iter().zip(expected.lines()).enumerate() {
        assert_eq!(line, wanted, "{folder}, record {i}");
    }
    assert_eq!(lines.len(), expected.lines().count());
    assert!(
        outcomes
            .failures
            .iter()
            .all(|f| f.origin == transform.module_digest())
    );
}

#[test]
fn redact() {
    gives_what_is_expected("redact", "redact.wasm");
}

#[test]
fn web_events() {
    gives_what_is_expected("web-events", "web_events.wasm");
}

#[test]
fn redact_removes_fields_when_told_so() {
    let config = r#"{"fields":["email","user.ip"],"mode":"remove"}"#;
    let transform = load(&example("redact", "redact.wasm"), config).unwrap();
    let outcomes = apply(&transform, &[r#"{"email":"x", "user":{"id":1,"ip":"y"}}"#]);
    assert_eq!(texts(&outcomes), [r#"{"user":{"id":1}}"#]);
}

#[test]
fn a_wrong_configuration_is_refused_in_the_guests_words() {
    let module = example("redact", "redact.wasm");
    for (config, words) in [
        (r#"{"filds":["a"]}"#, "unknown field `filds`"),
        (r#"{"fields":[]}"#, "name at least one field"),
        (r#"{"fields":["a..b"]}"#, "`a..b` is not a path"),
        (
            r#"{"fields":["a"],"mode":"hide"}"#,
            "unknown variant `hide`",
        ),
        ("", "missing field `fields`"),
    ] {
        let error = load(&module, config).err().unwrap().to_string();
        assert!(
            error.starts_with("the transform refuses its configuration: "),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_digest_is_of_what_decides_outputs() {
    let module = example("redact", "redact.wasm");
    let digest = |config| load(&module, config).unwrap().digest();
    assert_eq!(digest(r#"{"fields":["a"]}"#), digest(r#"{"fields":["a"]}"#));
    assert_ne!(digest(r#"{"fields":["a"]}"#), digest(r#"{"fields":["b"]}"#));
}
