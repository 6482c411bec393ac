//! A module that was built when contract 1.0 came out is loaded and run for ever.

use hydrant_core::Digest;
use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_transform::{GuestLevel, Limits, Settings, Targets, WasmTransform, verdicts};

use crate::support::{Answers as _, ENGINE, batch, failures, log};

static CONTRACT_1_0: &[u8] = include_bytes!("contract-1.0.wasm");
const DIGEST: &str = "5e900a417f03ec4e6e722570c6369395d9512a63a77b3d75865e9cccba7c4c7c";

fn run(targets: Targets, config: &str, records: &[&str]) -> (Outcomes, Vec<(GuestLevel, String)>) {
    let (sink, lines) = log();
    let settings = Settings {
        config_json: config.to_owned(),
        delivery_stream: "clicks".to_owned(),
        limits: Limits::default(),
        targets,
        ..Settings::default()
    };
    let transform = WasmTransform::load(&ENGINE, CONTRACT_1_0, &settings, sink).unwrap();
    let outcomes = transform.apply(&batch(records), Overruns::Decide);
    let lines = lines.lock().unwrap().clone();
    (outcomes, lines)
}

#[test]
fn it_is_the_module_of_then() {
    assert_eq!(
        Digest::of(CONTRACT_1_0).to_hex(),
        DIGEST,
        "never build it again: it stands for the modules that users have"
    );
}

#[test]
fn every_part_of_contract_1_0_works() {
    for none in ["", "null", "{}"] {
        let records = ["u", "k", "t", "o", "m", "d", "f"];
        let (outcomes, lines) = run(Targets::Passed, none, &records);
        assert_eq!(
            verdicts::lines(&outcomes, records.len()),
            [
                r#"{"outputs":["u"],"partition_keys":[{}]}"#,
                r#"{"outputs":["k"],"partition_keys":[{"a":"1","b":"2"}]}"#,
                r#"{"outputs":["t"],"partition_keys":[{}],"targets":["orders"]}"#,
                r#"{"outputs":["clicks key-3 103 1003"],"partition_keys":[{"c":"3"}]}"#,
                r#"{"outputs":["x","y"],"partition_keys":[{},{}]}"#,
                r#"{"dropped":true}"#,
                r#"{"failed":"as asked"}"#,
            ]
        );
        assert_eq!(lines, [(GuestLevel::Info, "7 records".to_owned())]);
    }
}

#[test]
fn a_target_fails_its_record_where_the_destination_does_not_route() {
    let (outcomes, _) = run(Targets::Refused, "", &["u", "t", "o"]);
    assert_eq!(outcomes.len(), 2);
    assert_eq!(failures(&outcomes), [(1, "Transform.TargetNotRouted")]);
    let message = &outcomes.failures[0].message;
    assert!(message.contains("the target `orders`"), "{message}");
}
