//! `metadata_extraction`: partition keys of each record, by a query of jq (Firehose's
//! `MetadataExtraction`; reference, sections 4 and 6). The record itself passes as it is.
//!
//! A query that is an object of plain paths, as most are, is answered while the record is read,
//! without jaq. What is neither text, number nor truth value goes the long way, so that both
//! ways give the same.

use std::sync::Arc;

use hydrant_core::outcomes::PartitionKeys;
use hydrant_core::stage::Transform;
use jaq_json::Val;

use super::each::{Each, Fault, Outputs, Processor};
use super::jq::{self, Query};
use super::plain::Plain;

/// Firehose's code for whatever is wrong with a record's partition keys.
const CODE: &str = "DynamicPartitioning.MetadataExtractionFailed";
/// Firehose's words.
const NULL_OR_EMPTY: &str = "partitionKeys values must not be null or empty";

/// The processor.
pub struct MetadataExtraction {
    text: String,
    query: Query,
    plain: Option<Plain>,
}

impl MetadataExtraction {
    /// Takes keys from records by this query.
    ///
    /// # Errors
    /// With what is wrong with the query, or what of it is not allowed and why.
    pub fn stage(query: &str) -> Result<Arc<dyn Transform>, String> {
        let extraction = Self {
            text: query.to_owned(),
            query: Query::compile(query)?,
            plain: jq::plain_paths(query).map(Plain::new),
        };
        Ok(Arc::new(Each(extraction)))
    }

    /// The names of the keys that a query gives, where they stand in it.
    ///
    /// # Errors
    /// With what is wrong with the query.
    pub fn keys(query: &str) -> Result<Option<Vec<String>>, String> {
        jq::keys(query)
    }

    fn by_query(&self, record: &[u8]) -> Result<PartitionKeys, String> {
        let results = self.query.run(record, 2)?;
        let [Val::Obj(entries)] = &results[..] else {
            let what = match &results[..] {
                [] => "nothing",
                [_] => "something else",
                _ => "more than one value",
            };
            return Err(format!(
                "the query must give one object of partition keys, and gives {what}"
            ));
        };
        let key = |(name, value): (&Val, &Val)| {
            let name = text(name)?;
            let value = text(value)?;
            if value.is_empty() {
                return Err(format!("{NULL_OR_EMPTY}: `{name}`"));
            }
            Ok((name, value))
        };
        entries.iter().map(key).collect()
    }
}

impl Processor for MetadataExtraction {
    const NAME: &'static str = "metadata_extraction";

    fn settings(&self) -> Vec<Vec<u8>> {
        vec![self.text.clone().into_bytes()]
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let plain = self.plain.as_ref().and_then(|plain| plain.keys(record));
        let keys = plain.map_or_else(|| self.by_query(record), Ok);
        outputs.keep(keys.map_err(|message| Fault::processing(CODE, message))?);
        Ok(())
    }
}

/// A key's text, as jq 1.6 writes it; null has none, and "not a number" is null.
fn text(value: &Val) -> Result<String, String> {
    let mut out = Vec::new();
    match value {
        Val::Null => {}
        Val::TStr(text) | Val::BStr(text) => out.extend_from_slice(text),
        other => jq::json(other, &mut |part| out.extend_from_slice(part)),
    }
    if matches!(value, Val::Num(_)) && out == b"null" {
        out.clear();
    }
    String::from_utf8(out).map_err(|_| "a partition key is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use hydrant_core::stage::Transform;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::each::Each;
    use super::super::each::testing::{apply, lines};
    use super::{CODE, MetadataExtraction};
    use crate::builtin::jq::Query;

    fn stage(query: &str) -> std::sync::Arc<dyn Transform> {
        MetadataExtraction::stage(query).expect("a good query")
    }

    #[test]
    fn keys_are_texts_and_the_record_stays() {
        let records: [&[u8]; 2] = [
            br#"{"user": {"id": 7}, "kind": "a\u00fc/b", "on": true, "ts": 1700000000}"#,
            br#"{"ts":1700000000.5,"user":{"id":12345678901234},"kind":1.50,"on":[1,{"a":"b"}]}"#,
        ];
        let query = r#"{u: .user.id, k: .kind, "on": .on, y: .ts | strftime("%Y-%m-%d")}"#;
        let outcomes = apply(&*stage(query), &records);
        assert!(outcomes.failures.is_empty(), "{:?}", outcomes.failures);
        assert_eq!(outcomes.data(0), records[0]);
        let keys = |i| {
            let pairs = outcomes.partition_keys(i).iter();
            pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(0), ["u=7", "k=aü/b", "on=true", "y=2023-11-14"]);
        assert_eq!(
            keys(1),
            [
                "u=12345678901234",
                "k=1.5",
                r#"on=[1,{"a":"b"}]"#,
                "y=2023-11-14"
            ]
        );
    }

    /// The keys of a record by a query, as `name=value`; `None` where it fails.
    fn keys(query: &str, record: &str) -> Option<Vec<String>> {
        let outcomes = apply(&*stage(query), &[record.as_bytes()]);
        let pairs = (!outcomes.is_empty()).then(|| outcomes.partition_keys(0).iter());
        Some(
            pairs?
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        )
    }

    #[test]
    fn numbers_are_as_jq_1_6_writes_them() {
        for (query, record, expected) in [
            ("{a}", r#"{"a":1e3}"#, Some("a=1000")),
            ("{a}", r#"{"a":7.0}"#, Some("a=7")),
            ("{a}", r#"{"a":-0.5}"#, Some("a=-0.5")),
            ("{a}", r#"{"a":1e17}"#, Some("a=1e+17")),
            (
                "{a}",
                r#"{"a":9007199254740993}"#,
                Some("a=9007199254740992"),
            ),
            (
                "{a}",
                r#"{"a":18446744073709551615}"#,
                Some("a=18446744073709552000"),
            ),
            ("{a: (.a / 2)}", r#"{"a":14}"#, Some("a=7")),
            (r#"{a: "\(.a / 2)-\(.a)"}"#, r#"{"a":14.0}"#, Some("a=7-14")),
            ("{a: (.a / 2 | tostring)}", r#"{"a":14}"#, Some("a=7")),
            ("{a: [.a / 2]}", r#"{"a":14}"#, Some("a=[7]")),
            (
                "{a: (.a * 1e300)}",
                r#"{"a":1e300}"#,
                Some("a=1.7976931348623157e+308"),
            ),
            (
                "{a: (.a * -1e300)}",
                r#"{"a":1e300}"#,
                Some("a=-1.7976931348623157e+308"),
            ),
            ("{a: (.a * 1e300 * 0)}", r#"{"a":1e300}"#, None),
        ] {
            let expected = expected.map(|one| vec![one.to_owned()]);
            assert_eq!(keys(query, record), expected, "{query} {record}");
            // The short way, where there is one, gives what the long way gives.
            if query == "{a}" {
                assert_eq!(keys("{a: (.a | .)}", record), expected, "{record}");
            }
        }
    }

    #[test]
    fn what_has_no_keys_fails_as_with_firehose() {
        let records: [&[u8]; 10] = [
            br#"{"a":null}"#,
            br#"{"a":""}"#,
            br"{}",
            br#"{"a":1"#,
            b"",
            br#"{"a":1}{"a":2}"#,
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"x\",\"b\":\"\xff\"}",
            br"[1]",
            br#"{"a":1,"x":01}"#,
        ];
        for query in ["{a}", "{a: (.a, empty)}"] {
            let outcomes = apply(&*stage(query), &records);
            assert_eq!(outcomes.failures.len(), records.len(), "{query}");
            for failure in &outcomes.failures {
                assert_eq!(
                    (failure.code.as_str(), failure.kind),
                    (CODE, "processing-failed")
                );
            }
            for failure in &outcomes.failures[..3] {
                assert!(
                    failure.message.starts_with(super::NULL_OR_EMPTY),
                    "{failure:?}"
                );
            }
        }
        for (query, what) in [
            ("{a: .[]}", "more than one"),
            (".a", "something else"),
            ("empty", "nothing"),
        ] {
            let failure = apply(&*stage(query), &[br#"{"a":1,"b":2}"#])
                .failures
                .remove(0);
            assert!(failure.message.contains(what), "{failure:?}");
        }
    }

    #[test]
    fn names_are_known_where_they_stand_in_the_query() {
        let keys = |query| MetadataExtraction::keys(query).expect("a query");
        let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(
            keys(r#"{a, "b-c": .d, $e, f: 1}"#),
            names(&["a", "b-c", "e", "f"])
        );
        assert_eq!(keys("{(.a): 1}"), None);
        assert_eq!(keys(". as $x | {a}"), None);
        assert_ne!(stage("{a}").digest(), stage("{a: .a}").digest());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z\"\\\\ü\n]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// Both ways give the same keys, or fail both.
        #[test]
        fn the_short_way_gives_what_the_long_way_gives(value in values(), cut in 0..200_usize) {
            let query = "{k: .a.b, d: .c, e: .a.b.c, a}";
            for query in [query, "{a}", "{k: .a.b, d: .c}"] {
                let long = Each(MetadataExtraction {
                    text: query.to_owned(),
                    query: Query::compile(query).unwrap(),
                    plain: None,
                });
                let text = value.to_string();
                let twice = format!("{{\"a\":1,\"a\":{text},\"c\":\"x\"}}");
                let cut = &text.as_bytes()[..cut.min(text.len())];
                let records = [text.as_bytes(), twice.as_bytes(), cut];
                let short = lines(&*stage(query), &records);
                prop_assert_eq!(short, lines(&long, &records));
            }
        }
    }
}
