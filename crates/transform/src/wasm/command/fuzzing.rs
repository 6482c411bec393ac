//! The body of the fuzz target `answer`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use hydrant_core::{Position, RecordsBuilder};
use serde_json::{Value, json};

use super::super::answer::{Problem, weight};
use super::super::bindings::Outcome;
use super::lines::{input, outcomes};

const LIMITS: [usize; 2] = [1 << 20, 1 << 10];
/// Records of a call, at most.
const RECORDS: usize = 8;

/// Reads the bytes as what a command answered: whatever it is, each record has one outcome, all of
/// them within the limit, or there is a reason. Then as records, which come back from a command that
/// answers what it was given.
///
/// # Panics
/// Where any of this is not so.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let count = usize::from(*first) % RECORDS;
    for limit in LIMITS {
        match outcomes(bytes, count, limit) {
            Ok(found) => {
                assert_eq!(found.len(), count);
                let missing =
                    Outcome::Failed("the transform answered no line for the record".into());
                let answered = found
                    .iter()
                    .filter(|one| format!("{one:?}") != format!("{missing:?}"));
                assert!(answered.map(weight).sum::<usize>() <= limit);
            }
            Err(Problem::InvalidOutput(reason)) => assert!(!reason.is_empty()),
            Err(problem) => assert_eq!(problem, Problem::OutputLimit),
        }
    }
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(RECORDS).collect();
    let mut batch = RecordsBuilder::default();
    for (i, record) in (1..).zip(&records) {
        batch.push(Position::from_u64(i), i, record, record);
    }
    let lines = input(&batch.build(), 0..records.len());
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let same: Vec<String> = lines
        .map(|line| {
            let line: Value = serde_json::from_slice(line).expect("JSON");
            json!({ "id": line["id"], "result": "Ok", "data": line["data"] }).to_string()
        })
        .collect();
    let back = outcomes(same.join("\n").as_bytes(), records.len(), usize::MAX);
    let back = back.expect("what a command may answer");
    for (one, record) in back.iter().zip(&records) {
        assert!(matches!(one, Outcome::Ok(one) if one.data == *record));
    }
    assert_eq!(back.len(), records.len());
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;

    #[test]
    fn the_corpus_of_answers() {
        let seeds = [
            (
                "verdicts",
                concat!(
                    "\u{4}",
                    r#"{"id":2,"result":"Dropped"}"#,
                    "\n\n",
                    r#"{"id":0,"result":"Ok","data":"aGk=","partitionKeys":{"k":"v"}}"#,
                    "\r\n",
                    r#"{"id":1,"result":"ProcessingFailed","message":"no"}"#,
                    "\n",
                    r#"{"id":3,"result":"Unchanged","target":"t"}"#,
                ),
            ),
            (
                "several",
                concat!(
                    "\u{1}",
                    r#"{"id":0,"result":"Ok","json":{"a":[null,1e3]}}"#,
                    "\n",
                    r#"{"id":0,"result":"Ok","text":"\u00fc"}"#,
                ),
            ),
            ("cut", "\u{2}{\"id\":0,\"result\":\"O"),
        ];
        let seeds = seeds.map(|(name, text)| (name, text.as_bytes().to_vec()));
        corpus::run("answer", &seeds, super::answer);
    }
}
