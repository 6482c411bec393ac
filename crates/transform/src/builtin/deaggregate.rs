//! `record_deaggregation`: one record that holds several becomes several (Firehose's
//! `RecordDeAggregation`; reference, section 4). White space and delimiters between them are lost.

use std::fmt;
use std::sync::Arc;

use hydrant_core::stage::Transform;
use memchr::memmem;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::each::{Each, Fault, Outputs, Processor};

const CODE: &str = "RecordDeAggregation.InvalidRecord";

/// How records are told from each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SubRecords {
    /// JSON objects one after the other, with white space between them or not, or in an array.
    Json,
    /// Anything, with these bytes between it. Nothing between two of them is no record.
    Delimited(Vec<u8>),
}

/// The processor.
pub struct RecordDeaggregation(SubRecords);

impl RecordDeaggregation {
    /// Takes records apart so.
    ///
    /// # Panics
    /// Where the delimiter is empty.
    pub fn stage(kind: SubRecords) -> Arc<dyn Transform> {
        assert_ne!(
            kind,
            SubRecords::Delimited(Vec::new()),
            "the configuration has a delimiter"
        );
        Arc::new(Each(Self(kind)))
    }
}

impl Processor for RecordDeaggregation {
    const NAME: &'static str = "record_deaggregation";

    fn settings(&self) -> Vec<Vec<u8>> {
        match &self.0 {
            SubRecords::Json => vec![b"json".to_vec()],
            SubRecords::Delimited(delimiter) => vec![b"delimited".to_vec(), delimiter.clone()],
        }
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        match &self.0 {
            SubRecords::Json => json(record, outputs),
            SubRecords::Delimited(delimiter) => delimited(record, delimiter, outputs),
        }
    }
}

fn delimited(record: &[u8], delimiter: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
    let mut start = 0;
    let ends = memmem::find_iter(record, delimiter).chain([record.len()]);
    for end in ends {
        if end > start {
            outputs.push(&record[start..end])?;
        }
        start = end + delimiter.len();
    }
    Ok(())
}

/// Raw values are read without a call for each level, so that none is too deep; they are checked to
/// be JSON and UTF-8.
fn json(record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
    let mut any = false;
    for value in serde_json::Deserializer::from_slice(record).into_iter::<&RawValue>() {
        let value = value.map_err(|error| refused(&error.to_string()))?.get();
        any = true;
        match value.as_bytes().first() {
            Some(b'{') => outputs.push(value.as_bytes())?,
            Some(b'[') => array(value, outputs)?,
            _ => return Err(refused("it holds a value that is no object")),
        }
    }
    if any {
        return Ok(());
    }
    Err(refused("it is empty"))
}

fn array(array: &str, outputs: &mut Outputs) -> Result<(), Fault> {
    let mut elements = serde_json::Deserializer::from_str(array);
    elements
        .deserialize_seq(Elements(outputs))
        .map_err(|error| refused(&error.to_string()))?
}

/// Adds each element of an array.
struct Elements<'o>(&'o mut Outputs);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Result<(), Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut done = Ok(());
        // All are read, even behind a fault: the array was checked before.
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let element = element.get().as_bytes();
            done = done.and_then(|()| match element.first() {
                Some(b'{') => self.0.push(element),
                _ => Err(refused("its array holds a value that is no object")),
            });
        }
        Ok(done)
    }
}

fn refused(why: &str) -> Fault {
    Fault::processing(
        CODE,
        format!("the record cannot be taken apart as JSON: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::each::testing::{apply, lines};
    use super::{RecordDeaggregation, SubRecords};

    #[test]
    fn json_objects_in_every_form() {
        let stage = RecordDeaggregation::stage(SubRecords::Json);
        let records: [&[u8]; 6] = [
            br#"{"a":1}{"b":"}{"}"#,
            b" {\"a\":1}\n\n{\"b\": [1, {}]}\t",
            br#"[{"a":1}, {"b":"]"},{}]"#,
            br#"{"a":1} [{"b":2}]"#,
            br"[]",
            br#"{"a":{"b":{}}}"#,
        ];
        assert_eq!(
            lines(&*stage, &records),
            [
                r#"{"outputs":["{\"a\":1}","{\"b\":\"}{\"}"]}"#,
                r#"{"outputs":["{\"a\":1}","{\"b\": [1, {}]}"]}"#,
                r#"{"outputs":["{\"a\":1}","{\"b\":\"]\"}","{}"]}"#,
                r#"{"outputs":["{\"a\":1}","{\"b\":2}"]}"#,
                r#"{"dropped":true}"#,
                r#"{"outputs":["{\"a\":{\"b\":{}}}"]}"#,
            ]
        );
    }

    #[test]
    fn a_record_with_anything_else_in_it_fails_whole() {
        let stage = RecordDeaggregation::stage(SubRecords::Json);
        let deep = "[".repeat(500_000);
        let records: [&[u8]; 8] = [
            b"",
            b" \n",
            br#"{"a":1}{"b""#,
            br#"{"a":1} 7"#,
            br#"[{"a":1},7]"#,
            br#"{"a" 1}"#,
            b"{\"a\":\"\xff\"}",
            deep.as_bytes(),
        ];
        let outcomes = apply(&*stage, &records);
        assert_eq!(
            (outcomes.len(), outcomes.failures.len()),
            (0, records.len())
        );
        for failure in &outcomes.failures {
            assert_eq!(failure.code, super::CODE);
        }
    }

    #[test]
    fn a_record_of_any_depth_needs_little_stack() {
        let deep = ["[".repeat(500_000), "]".repeat(500_000)].concat();
        let inside = format!(r#"[{{"a":{deep}}},{{}}]"#);
        let alone = format!(r#"{{"a":{deep}}}"#);
        let work = move || {
            let stage = RecordDeaggregation::stage(SubRecords::Json);
            let records = [deep.as_bytes(), inside.as_bytes(), alone.as_bytes()];
            let outcomes = apply(&*stage, &records);
            assert_eq!((outcomes.len(), outcomes.failures.len()), (3, 1));
            assert_eq!(outcomes.data(1), b"{}");
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn delimited_records_leave_no_empty_ones() {
        let stage = RecordDeaggregation::stage(SubRecords::Delimited(b"||".to_vec()));
        assert_eq!(
            lines(&*stage, &[b"a||b|c||", b"||||", b"", b"a", b"|||x"]),
            [
                r#"{"outputs":["a","b|c"]}"#,
                r#"{"dropped":true}"#,
                r#"{"dropped":true}"#,
                r#"{"outputs":["a"]}"#,
                r#"{"outputs":["|x"]}"#,
            ]
        );
    }

    #[test]
    fn every_setting_is_of_the_digest() {
        let kinds = [
            SubRecords::Json,
            SubRecords::Delimited(b",".to_vec()),
            SubRecords::Delimited(b";".to_vec()),
        ];
        let digests = kinds.map(|kind| RecordDeaggregation::stage(kind).digest());
        assert!(digests[0] != digests[1] && digests[1] != digests[2]);
    }

    proptest! {
        #[test]
        fn what_is_joined_is_taken_apart(parts in prop::collection::vec("[a-z]{1,9}", 1..20)) {
            let stage = RecordDeaggregation::stage(SubRecords::Delimited(b"--".to_vec()));
            let outcomes = apply(&*stage, &[parts.join("--").as_bytes()]);
            let got: Vec<_> = (0..outcomes.len()).map(|i| outcomes.data(i)).collect();
            prop_assert_eq!(got, parts.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
    }
}
