//! What JSON means, against arrow-json; and bytes that are no JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::{object, rows, schema, stage};

/// JSON text of a string, every third character escaped. Surrogate pairs are not among them:
/// arrow-json 60 loses a bit of characters from U+20000 on.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (place, character) in text.chars().enumerate() {
        let must = character.is_control() || matches!(character, '"' | '\\');
        if must || (place % 3 == 0 && character < '\u{10000}') {
            write!(out, "\\u{:04x}", u32::from(character)).unwrap();
        } else {
            out.push(character);
        }
    }
    out + "\""
}

/// JSON that fits each column of `REFERENCE`, or null.
fn value(of: &'static str) -> BoxedStrategy<String> {
    let fitting = match of {
        "string" => any::<String>().prop_map(|text| quoted(&text)).boxed(),
        "boolean" => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        "bigint" => any::<i64>().prop_map(|value| value.to_string()).boxed(),
        "smallint" => any::<i16>().prop_map(|value| value.to_string()).boxed(),
        "double" => proptest::num::f64::NORMAL
            .prop_map(|value| format!("{value:e}"))
            .boxed(),
        "decimal(20,4)" => (any::<i32>(), 0..10_000_u16)
            .prop_map(|(whole, fraction)| format!("{whole}.{fraction:04}"))
            .boxed(),
        "date" => (1..9999_u16, 1..13_u8, 1..29_u8)
            .prop_map(|(year, month, day)| format!("\"{year:04}-{month:02}-{day:02}\""))
            .boxed(),
        "array<struct<x:bigint,y:string>>" => {
            let member = object_of(&[("x", "bigint"), ("y", "string")]);
            let items =
                proptest::collection::vec(prop_oneof![4 => member, 1 => Just("null".into())], 0..4);
            items
                .prop_map(|items| format!("[{}]", items.join(" , ")))
                .boxed()
        }
        _ => {
            let entries = proptest::collection::btree_map(any::<String>(), value("double"), 0..4);
            let entry = |(key, value): (String, String)| format!("{}:{value}", quoted(&key));
            entries
                .prop_map(move |entries| {
                    format!(
                        "{{{}}}",
                        entries.into_iter().map(entry).collect::<Vec<_>>().join(",")
                    )
                })
                .boxed()
        }
    };
    prop_oneof![6 => fitting, 1 => Just("null".to_owned())].boxed()
}

/// Objects with some of these members, some twice, in any order, and unknown ones.
fn object_of(columns: &'static [(&'static str, &'static str)]) -> BoxedStrategy<String> {
    let members: Vec<_> = columns
        .iter()
        .map(|(name, of)| {
            value(of)
                .prop_map(move |value| format!("\"{name}\":{value}"))
                .boxed()
        })
        .chain([Just("\"other\": {\"a\":[1,{\"b\":null}]}".to_owned()).boxed()])
        .collect();
    proptest::collection::vec(proptest::strategy::Union::new(members), 0..8)
        .prop_map(|members| format!("{{{}}}", members.join(", ")))
        .boxed()
}

const REFERENCE: [(&str, &str); 9] = [
    ("s", "string"),
    ("b", "boolean"),
    ("i", "bigint"),
    ("h", "smallint"),
    ("d", "double"),
    ("c", "decimal(20,4)"),
    ("y", "date"),
    ("l", "array<struct<x:bigint,y:string>>"),
    ("m", "map<string,double>"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json_means_what_arrow_json_says(
        records in proptest::collection::vec(object_of(&REFERENCE), 1..20)
    ) {
        let ours = rows(&REFERENCE, &records);
        let mut decoder = arrow_json::ReaderBuilder::new(Arc::new(schema(&REFERENCE).arrow()))
            .build_decoder()
            .unwrap();
        decoder.decode(records.join("\n").as_bytes()).unwrap();
        let reference = decoder.flush().unwrap().unwrap();
        prop_assert_eq!(ours.columns(), reference.columns());
    }

    #[test]
    fn no_bytes_of_a_record_break_the_stage(
        records in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "[\\[\\]{}:,\"a-b\\\\u0-9etrufalsn. ]{0,40}".prop_map(String::into_bytes),
                (object_of(&REFERENCE), any::<proptest::sample::Index>(), any::<u8>()).prop_map(
                    |(text, place, byte)| {
                        let mut bytes = text.into_bytes();
                        let place = place.index(bytes.len());
                        bytes[place] = byte;
                        bytes
                    }
                ),
            ],
            0..30,
        )
    ) {
        let stage = stage(&REFERENCE);
        let together = object(&*stage, &records, &[30]);
        let alone = object(&*stage, &records, &[1]);
        prop_assert_eq!(together.0, alone.0, "what is refused leaves no trace");
        prop_assert_eq!(together.1.len(), alone.1.len());
    }
}
