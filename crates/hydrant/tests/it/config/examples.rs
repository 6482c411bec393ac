//! What is shipped under `deploy/` is right: the examples load, and the JSON Schema is of today.

use hydrant::config::{load_with, schema};

use super::repository;

#[test]
fn every_example_loads() {
    let folder = repository().join("deploy/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let config = load_with(&path, Box::new(|_| None))
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", path.display()));
        assert!(!config.delivery_streams.is_empty(), "{}", path.display());
        assert!(
            config.notes.is_empty(),
            "{}: {:?}",
            path.display(),
            config.notes
        );
        count += 1;
    }
    assert!(count >= 4, "{count} examples");
}

#[test]
fn the_committed_schema_is_of_today() {
    let path = repository().join("deploy/hydrant.schema.json");
    let mut text = serde_json::to_string_pretty(&schema()).unwrap();
    text.push('\n');
    if std::env::var_os("HYDRANT_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "deploy/hydrant.schema.json differs: run this test with HYDRANT_UPDATE=1"
    );
}

#[test]
fn the_schema_says_what_the_reader_wants() {
    let schema = schema();
    let destination = &schema["properties"]["delivery_streams"]["additionalProperties"]["properties"]
        ["destination"];
    assert_eq!(destination["maxProperties"], 1);
    assert_eq!(
        destination["properties"]["s3"]["required"],
        serde_json::json!(["bucket"])
    );
    assert_eq!(
        destination["properties"]["s3"]["additionalProperties"],
        false
    );
    assert_eq!(
        destination["properties"]["s3"]["properties"]["delimiter"]["default"],
        "newline"
    );
}
