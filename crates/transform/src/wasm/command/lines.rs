//! The lines of stdio mode. A line for each record in, `data` as base64; out, lines that name the
//! record by `id`, one or (for several outputs) more of them, in any order.

use hydrant_core::Records;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::ops::Range;

use super::super::answer::{ITEM_BYTES, Problem, weight};
use super::super::bindings::{Outcome, Outgoing, Routing};
use super::keys;

/// A record as a command gets it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct In<'a> {
    id: usize,
    data: String,
    partition_key: &'a str,
    sequence_number: String,
    approximate_arrival_timestamp: u64,
}

/// A line as a command answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Out<'a> {
    id: usize,
    result: Verdict,
    /// Base64.
    data: Option<String>,
    /// Text as it is.
    text: Option<String>,
    /// Any JSON, `null` too, taken byte for byte.
    #[serde(borrow, default, deserialize_with = "present")]
    json: Option<&'a RawValue>,
    message: Option<String>,
    /// Names and values, which are counted while they are read.
    #[serde(borrow, default, deserialize_with = "present")]
    partition_keys: Option<&'a RawValue>,
    target: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Unchanged,
    Dropped,
    ProcessingFailed,
}

/// What is there, `null` too: serde takes that for nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

/// The lines of a part of a batch. Ids count from 0 in the part, so that they are the same wherever
/// the part stands.
pub(crate) fn input(batch: &Records, part: Range<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, i) in part.enumerate() {
        let line = In {
            id,
            data: base64_simd::STANDARD.encode_to_string(batch.data(i)),
            partition_key: &String::from_utf8_lossy(batch.key(i)),
            sequence_number: batch.position(i).to_string(),
            approximate_arrival_timestamp: batch.arrival_ms(i),
        };
        serde_json::to_writer(&mut out, &line).expect("numbers and texts into memory");
        out.push(b'\n');
    }
    out
}

/// Reads the answer for `count` records, whose outcomes may weigh `limit`. A record that has no line
/// failed; a line that cannot be understood spoils the call, which is then made again for parts of
/// the batch.
pub(crate) fn outcomes(stdout: &[u8], count: usize, limit: usize) -> Result<Vec<Outcome>, Problem> {
    let mut left = limit;
    let mut found: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
    for (number, line) in stdout.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = |what: String| {
            Problem::InvalidOutput(format!("line {} of its answer: {what}", number + 1))
        };
        let mut line: Out<'_> = serde_json::from_slice(line).map_err(|e| place(e.to_string()))?;
        let id = line.id;
        let Some(slot) = found.get_mut(id) else {
            return Err(place(format!("there is no record with the id {id}")));
        };
        let routing = Routing {
            partition_keys: match line.partition_keys {
                Some(json) => keys::read(json.get(), left)
                    .map_err(|e| place(e.to_string()))?
                    .ok_or(Problem::OutputLimit)?,
                None => Vec::new(),
            },
            target: line.target.take(),
        };
        let one = outcome(line, routing).map_err(place)?;
        // Before the next line is looked at: lines take less room than what is made of them. An
        // outcome of several outputs counts once itself.
        let more = weight(&one) - slot.as_ref().map_or(0, |_| ITEM_BYTES);
        left = left.checked_sub(more).ok_or(Problem::OutputLimit)?;
        *slot = Some(match (slot.take(), one) {
            (None, one) => one,
            (Some(before), one) => joined(before, one)
                .ok_or_else(|| place(format!("record {id} has two verdicts already")))?,
        });
    }
    let missing = || Outcome::Failed("the transform answered no line for the record".to_owned());
    Ok(found
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(missing))
        .collect())
}

/// Several outputs of a record are several lines with `Ok`.
fn joined(before: Outcome, next: Outcome) -> Option<Outcome> {
    match (before, next) {
        (Outcome::Ok(first), Outcome::Ok(second)) => Some(Outcome::Many(vec![first, second])),
        (Outcome::Many(mut outputs), Outcome::Ok(next)) => {
            outputs.push(next);
            Some(Outcome::Many(outputs))
        }
        _ => None,
    }
}

fn outcome(line: Out<'_>, routing: Routing) -> Result<Outcome, String> {
    let has_data = line.data.is_some() || line.text.is_some() || line.json.is_some();
    if has_data && line.result != Verdict::Ok {
        return Err("only `Ok` has `data`, `text` or `json`".to_owned());
    }
    if line.message.is_some() && line.result != Verdict::ProcessingFailed {
        return Err("only `ProcessingFailed` has a `message`".to_owned());
    }
    Ok(match line.result {
        Verdict::Ok => Outcome::Ok(Outgoing {
            data: data(line.data, line.text, line.json)?,
            routing,
        }),
        Verdict::Unchanged => Outcome::Unchanged(routing),
        Verdict::Dropped => Outcome::Dropped,
        Verdict::ProcessingFailed => {
            let none = || "ProcessingFailed status set for record".to_owned();
            Outcome::Failed(line.message.unwrap_or_else(none))
        }
    })
}

fn data(
    base64: Option<String>,
    text: Option<String>,
    json: Option<&RawValue>,
) -> Result<Vec<u8>, String> {
    match (base64, text, json) {
        (Some(base64), None, None) => base64_simd::STANDARD
            .decode_to_vec(base64)
            .map_err(|_| "`data` is not base64".to_owned()),
        (None, Some(text), None) => Ok(text.into_bytes()),
        (None, None, Some(json)) => Ok(json.get().as_bytes().to_vec()),
        _ => Err("`Ok` needs one of `data` (base64), `text` and `json`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::Problem;
    use super::super::super::bindings::Outcome;
    use super::outcomes;

    fn read(lines: &str, count: usize) -> Result<String, String> {
        let read = outcomes(lines.as_bytes(), count, 1 << 20);
        let read = read.map_err(|problem| match problem {
            Problem::InvalidOutput(reason) => reason,
            other => format!("{other:?}"),
        });
        read.map(|outcomes| {
            let show = |outcome: &Outcome| match outcome {
                Outcome::Ok(one) => String::from_utf8_lossy(&one.data).into_owned(),
                Outcome::Many(all) => format!("{} outputs", all.len()),
                Outcome::Unchanged(to) => format!("{:?}{:?}", to.partition_keys, to.target),
                Outcome::Dropped => "dropped".to_owned(),
                Outcome::Failed(message) => message.clone(),
            };
            outcomes.iter().map(show).collect::<Vec<_>>().join(", ")
        })
    }

    #[test]
    fn every_verdict_is_read_in_any_order() {
        let lines = concat!(
            r#"{"id":2,"result":"Dropped"}"#,
            "\n\n",
            r#"{"id":0,"result":"Ok","data":"aGk="}"#,
            "\r\n",
            r#"{"id":1,"result":"Ok","json":{"b": 1.50}}"#,
            "\n",
            r#"{"id":3,"result":"ProcessingFailed","message":"no"}"#,
            "\n",
            r#"{"id":4,"result":"Ok","text":"a"}"#,
            "\n",
            r#"{"id":4,"result":"Ok","text":"b"}"#,
            "\n",
            r#"{"id":4,"result":"Ok","text":"c"}"#,
            "\n",
            r#"{"id":5,"result":"Unchanged","partitionKeys":{"k":"v"},"target":"t"}"#,
            "\n",
            r#"{"id":7,"result":"Ok","json":null}"#,
        );
        assert_eq!(
            read(lines, 8).expect("an answer"),
            r#"hi, {"b": 1.50}, dropped, no, 3 outputs, [("k", "v")]Some("t"), the transform answered no line for the record, null"#
        );
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_line() {
        for (line, words) in [
            ("no", "line 1 of its answer: expected"),
            (r#"{"id":1,"result":"Dropped"}"#, "no record with the id 1"),
            (r#"{"id":0,"result":"Maybe"}"#, "unknown variant `Maybe`"),
            (r#"{"id":0,"result":"Ok"}"#, "`Ok` needs one of"),
            (
                r#"{"id":0,"result":"Ok","text":"a","data":""}"#,
                "`Ok` needs one of",
            ),
            (r#"{"id":0,"result":"Ok","data":"?"}"#, "not base64"),
            (r#"{"id":0,"result":"Dropped","text":"a"}"#, "only `Ok` has"),
            (
                r#"{"id":0,"result":"Dropped","message":"a"}"#,
                "has a `message`",
            ),
            (
                r#"{"id":0,"result":"Dropped","json":null}"#,
                "only `Ok` has",
            ),
            (
                r#"{"id":0,"result":"Unchanged","partitionKeys":null}"#,
                "expected names and values of partition keys",
            ),
            (
                r#"{"id":0,"result":"Ok","text":"a","more":1}"#,
                "unknown field `more`",
            ),
        ] {
            let error = read(line, 1).expect_err(line);
            assert!(error.contains(words), "{line}: {error}");
        }
        let twice = "{\"id\":0,\"result\":\"Dropped\"}\n".repeat(2);
        let error = read(&twice, 1).expect_err("two verdicts");
        assert!(
            error.contains("line 2") && error.contains("two verdicts"),
            "{error}"
        );
    }
    #[test]
    fn an_answer_stops_at_its_limit_line_by_line_and_key_by_key() {
        let lines = |n: usize| "{\"id\":0,\"result\":\"Ok\",\"text\":\"a\"}\n".repeat(n);
        let limit = 96 + 10 * 97;
        assert!(outcomes(lines(10).as_bytes(), 1, limit).is_ok());
        // What follows is not looked at any more.
        let too_many = lines(11) + "no JSON";
        let stopped = outcomes(too_many.as_bytes(), 1, limit).err();
        assert_eq!(stopped, Some(Problem::OutputLimit));
        let keys = |n: usize| {
            let keys: Vec<String> = (0..n).map(|i| format!("\"{i}\":\"\"")).collect();
            let keys = keys.join(",");
            format!(r#"{{"id":0,"result":"Unchanged","partitionKeys":{{{keys}}}}}"#)
        };
        assert!(outcomes(keys(5).as_bytes(), 1, 6 * 97).is_ok());
        for n in [7, 10_000] {
            let stopped = outcomes(keys(n).as_bytes(), 1, 6 * 97).err();
            assert_eq!(stopped, Some(Problem::OutputLimit), "{n}");
        }
    }
}
