//! The cases of a transform: `tests/*.yaml`, each a list `cases` of records and what becomes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use super::project::{Project, read_json, read_yaml};
use super::records::{Trial, lines};
use super::usage;
use super::verdict::{Output, Verdict};
use crate::config::canonical;

/// A case, ready to be run.
#[derive(Debug)]
pub(super) struct Case {
    /// The file that it stands in.
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) config_json: String,
    pub(super) records: Vec<Trial>,
    pub(super) wanted: Wanted,
    /// Its records may depend on each other, so they are not tried alone.
    pub(super) together_only: bool,
}

/// What a case wants.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The transform refuses its configuration with these words.
    Error(String),
    /// These verdicts, in order.
    Verdicts(Vec<Expected>),
    /// Those of this file, which `--update` writes.
    Golden(PathBuf),
}

/// What is expected of one record.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Unchanged(To),
    Outputs(Vec<(Body, To)>),
    Dropped,
    Failed { words: String, code: Option<String> },
}

/// The data of an output.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    /// The same value, however it is written.
    Value(Json),
}

/// Where an output goes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct To {
    partition_keys: BTreeMap<String, String>,
    target: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    config: Option<Json>,
    config_file: Option<PathBuf>,
    input: Option<Vec<Json>>,
    input_file: Option<PathBuf>,
    expected: Option<Vec<Json>>,
    expected_file: Option<PathBuf>,
    error: Option<String>,
    #[serde(default)]
    together_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    json: Option<Json>,
    base64: Option<String>,
    #[serde(default)]
    partition_key: String,
    arrival_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    outputs: Option<Vec<Json>>,
    #[serde(default)]
    unchanged: bool,
    #[serde(default)]
    dropped: bool,
    failed: Option<String>,
    code: Option<String>,
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    json: Option<Json>,
    base64: Option<String>,
    #[serde(default)]
    partition_keys: BTreeMap<String, String>,
    target: Option<String>,
}

/// What is there, `null` too: serde takes that for nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

/// All cases of a folder, in the order of their files.
///
/// # Errors
/// Where there are none, or a file has faults.
pub(super) fn read(project: &Project) -> anyhow::Result<Vec<Case>> {
    let folder = &project.folder;
    let tests = folder.join(
        project
            .manifest
            .tests
            .as_deref()
            .unwrap_or(Path::new("tests")),
    );
    let mut files: Vec<PathBuf> = fs::read_dir(&tests)
        .map_err(|e| usage(format!("{} cannot be read: {e}", tests.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            file.extension()
                .is_some_and(|ext| ext == "yaml" || ext == "yml")
        })
        .collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in &files {
        let raw: RawFile = read_yaml(file)?;
        for case in raw.cases {
            let name = case.name.clone();
            let case = checked(folder, file, case)
                .map_err(|what| usage(format!("{}: case `{name}`: {what}", file.display())))?;
            if cases
                .iter()
                .any(|one| one.file == case.file && one.name == name)
            {
                return Err(usage(format!(
                    "{}: two cases are called `{name}`",
                    file.display()
                )));
            }
            cases.push(case);
        }
    }
    if cases.is_empty() {
        return Err(usage(format!(
            "{} has no *.yaml with cases",
            tests.display()
        )));
    }
    Ok(cases)
}

fn checked(folder: &Path, file: &Path, raw: RawCase) -> Result<Case, String> {
    let at = |path: &PathBuf| folder.join(path);
    let config = match (raw.config, &raw.config_file) {
        (Some(_), Some(_)) => return Err("has both `config` and `config_file`".to_owned()),
        (Some(config), None) => config,
        (None, Some(path)) => read_json(&at(path)).map_err(|e| e.to_string())?,
        (None, None) => Json::Null,
    };
    let records = match (raw.input, &raw.input_file) {
        (Some(_), Some(_)) => return Err("has both `input` and `input_file`".to_owned()),
        (Some(input), None) => numbered("input", input, record)?,
        (None, Some(path)) => lines(&at(path)).map_err(|e| e.to_string())?,
        (None, None) => Vec::new(),
    };
    let wanted = match (raw.expected, &raw.expected_file, raw.error) {
        (Some(expected), None, None) => Wanted::Verdicts(numbered("expected", expected, expect)?),
        (None, Some(path), None) => Wanted::Golden(at(path)),
        (None, None, Some(words)) => Wanted::Error(words),
        _ => return Err("needs one of `expected`, `expected_file` and `error`".to_owned()),
    };
    let needs_records = !matches!(wanted, Wanted::Error(_));
    if needs_records == records.is_empty() {
        let what = if needs_records {
            "has no records: give `input` or `input_file`"
        } else {
            "wants an `error` of the configuration, so its records are never run"
        };
        return Err(what.to_owned());
    }
    if let Wanted::Verdicts(expected) = &wanted
        && expected.len() != records.len()
    {
        let (verdicts, records) = (expected.len(), records.len());
        return Err(format!("expects {verdicts} verdicts for {records} records"));
    }
    Ok(Case {
        file: file.to_owned(),
        name: raw.name,
        config_json: canonical(&config),
        records,
        wanted,
        together_only: raw.together_only,
    })
}

fn numbered<T>(
    what: &str,
    items: Vec<Json>,
    read: fn(Json) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let read = |(i, item)| read(item).map_err(|e| format!("{what}[{i}]: {e}"));
    items.into_iter().enumerate().map(read).collect()
}

fn record(json: Json) -> Result<Trial, String> {
    let raw: RawInput = match json {
        Json::String(text) => {
            return Ok(Trial {
                data: text.into_bytes(),
                ..Trial::default()
            });
        }
        Json::Object(_) => serde_json::from_value(json).map_err(|e| e.to_string())?,
        other => return Err(format!("is {other}: quote it to mean a text")),
    };
    let data = match body(raw.text, raw.json, raw.base64)? {
        Some(Body::Bytes(bytes)) => bytes,
        Some(Body::Value(value)) => value.to_string().into_bytes(),
        None => return Err("needs one of `text`, `json` and `base64`".to_owned()),
    };
    Ok(Trial {
        data,
        partition_key: raw.partition_key,
        arrival_ms: raw.arrival_ms,
        ..Trial::default()
    })
}

fn body(
    text: Option<String>,
    json: Option<Json>,
    base64: Option<String>,
) -> Result<Option<Body>, String> {
    match (text, json, base64) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => Ok(Some(Body::Bytes(text.into_bytes()))),
        (None, Some(value), None) => Ok(Some(Body::Value(value))),
        (None, None, Some(base64)) => match base64_simd::STANDARD.decode_to_vec(&base64) {
            Ok(bytes) => Ok(Some(Body::Bytes(bytes))),
            Err(_) => Err("`base64` is not base64".to_owned()),
        },
        _ => Err("has more than one of `text`, `json` and `base64`".to_owned()),
    }
}

/// Reads what is expected of a record; also a line of a golden file.
fn expect(json: Json) -> Result<Expected, String> {
    let raw: RawExpected = match json {
        Json::String(word) if word == "unchanged" => return Ok(Expected::Unchanged(To::default())),
        Json::String(word) if word == "dropped" => return Ok(Expected::Dropped),
        Json::String(text) => {
            let body = Body::Bytes(text.into_bytes());
            return Ok(Expected::Outputs(vec![(body, To::default())]));
        }
        Json::Object(_) => serde_json::from_value(json).map_err(|e| e.to_string())?,
        other => return Err(format!("is {other}: quote it to mean a text")),
    };
    let to = To {
        partition_keys: raw.partition_keys,
        target: raw.target,
    };
    let body = body(raw.text, raw.json, raw.base64)?;
    let has_to = to != To::default();
    let one_of =
        "needs one of `unchanged`, `dropped`, `failed`, `outputs`, `text`, `json` and `base64`";
    match (body, raw.outputs, raw.failed, raw.unchanged, raw.dropped) {
        (Some(body), None, None, false, false) => Ok(Expected::Outputs(vec![(body, to)])),
        (None, Some(outputs), None, false, false) if !has_to => {
            numbered("outputs", outputs, output).map(Expected::Outputs)
        }
        (None, None, Some(words), false, false) if !has_to => Ok(Expected::Failed {
            words,
            code: raw.code,
        }),
        (None, None, None, true, false) => Ok(Expected::Unchanged(to)),
        (None, None, None, false, true) if !has_to => Ok(Expected::Dropped),
        _ => Err(one_of.to_owned()),
    }
}

fn output(json: Json) -> Result<(Body, To), String> {
    match expect(json)? {
        Expected::Outputs(mut outputs) if outputs.len() == 1 => Ok(outputs.remove(0)),
        _ => Err("must be one output: `text`, `json` or `base64`".to_owned()),
    }
}

/// Reads a golden file.
pub(super) fn golden(file: &Path) -> anyhow::Result<Vec<Expected>> {
    let text = fs::read_to_string(file).map_err(|e| {
        let file = file.display();
        usage(format!("{file} cannot be read: {e}: `--update` writes it"))
    })?;
    let mut all = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let one = serde_json::from_str(line)
            .map_err(|e| e.to_string())
            .and_then(expect);
        all.push(one.map_err(|e| usage(format!("{}:{}: {e}", file.display(), i + 1)))?);
    }
    Ok(all)
}

impl Expected {
    /// Whether a verdict on a record is this.
    pub(super) fn holds(&self, record: &[u8], verdict: &Verdict) -> bool {
        match (self, verdict) {
            (Self::Unchanged(to), Verdict::Outputs(outputs)) => {
                matches!(outputs.as_slice(), [one] if one.data == record && to.holds(one))
            }
            (Self::Outputs(expected), Verdict::Outputs(outputs)) => {
                expected.len() == outputs.len()
                    && expected
                        .iter()
                        .zip(outputs)
                        .all(|((body, to), one)| body.holds(&one.data) && to.holds(one))
            }
            (Self::Dropped, Verdict::Dropped) => true,
            (Self::Failed { words, code }, Verdict::Failed { code: is, message }) => {
                message.contains(words.as_str()) && code.as_ref().is_none_or(|code| code == is)
            }
            _ => false,
        }
    }
}

impl Expected {
    /// As it could be written in a case.
    pub(super) fn shown(&self) -> Json {
        let one = |body: &Body, to: &To| {
            let mut json = match body {
                Body::Value(value) => json!({ "json": value }),
                Body::Bytes(bytes) => {
                    let data = bytes.clone();
                    let output = Output {
                        data,
                        partition_keys: Vec::new(),
                        target: None,
                    };
                    output.to_json()
                }
            };
            to.add(&mut json);
            json
        };
        match self {
            Self::Unchanged(to) => {
                let mut json = json!({ "unchanged": true });
                to.add(&mut json);
                json
            }
            Self::Outputs(outputs) => {
                let outputs: Vec<Json> = outputs.iter().map(|(body, to)| one(body, to)).collect();
                json!({ "outputs": outputs })
            }
            Self::Dropped => json!({ "dropped": true }),
            Self::Failed { words, code: None } => json!({ "failed": words }),
            Self::Failed { words, code } => json!({ "failed": words, "code": code }),
        }
    }
}

impl Body {
    fn holds(&self, data: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == data,
            Self::Value(value) => serde_json::from_slice(data).is_ok_and(|is| same(&is, value)),
        }
    }
}

/// Whether two values are the same, however their numbers are written.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            let is_in_b = |(name, a): (&String, &Json)| b.get(name).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(is_in_b)
        }
        _ => one == other,
    }
}

impl To {
    fn add(&self, json: &mut Json) {
        if !self.partition_keys.is_empty() {
            json["partition_keys"] = json!(self.partition_keys);
        }
        if let Some(target) = &self.target {
            json["target"] = json!(target);
        }
    }

    fn holds(&self, output: &Output) -> bool {
        let keys: BTreeMap<String, String> = output.partition_keys.iter().cloned().collect();
        keys == self.partition_keys && output.target == self.target
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::{Output, Verdict};
    use super::{expect, record};

    fn outputs(data: &[&[u8]]) -> Verdict {
        let output = |data: &&[u8]| Output {
            data: data.to_vec(),
            partition_keys: Vec::new(),
            target: None,
        };
        Verdict::Outputs(data.iter().map(output).collect())
    }

    #[test]
    fn what_is_expected_is_compared() {
        let failed = Verdict::Failed {
            code: "C".into(),
            message: "it is bad".into(),
        };
        for (expected, verdict, holds) in [
            (json!("unchanged"), outputs(&[b"r"]), true),
            (json!("unchanged"), outputs(&[b"s"]), false),
            (json!("dropped"), Verdict::Dropped, true),
            (json!("dropped"), outputs(&[b"dropped"]), false),
            (json!("x"), outputs(&[b"x"]), true),
            (json!({ "text": "dropped" }), outputs(&[b"dropped"]), true),
            (
                json!({ "json": { "a": 1 } }),
                outputs(&[br#"{ "a":1}"#]),
                true,
            ),
            (
                json!({ "json": { "a": 1 } }),
                outputs(&[br#"{"a":2}"#]),
                false,
            ),
            (
                json!({ "json": [1.0, { "b": 2 }] }),
                outputs(&[br#"[1,{"b":2.0}]"#]),
                true,
            ),
            (json!({ "json": [1] }), outputs(&[b"[1,2]"]), false),
            (json!({ "json": null }), outputs(&[b"null"]), true),
            (json!({ "base64": "AP8=" }), outputs(&[b"\0\xff"]), true),
            (
                json!({ "outputs": ["x", { "text": "y" }] }),
                outputs(&[b"x", b"y"]),
                true,
            ),
            (json!({ "outputs": ["x"] }), outputs(&[b"x", b"y"]), false),
            (json!({ "failed": "bad" }), failed.clone(), true),
            (json!({ "failed": "bad", "code": "D" }), failed, false),
            (
                json!({ "text": "x", "target": "t" }),
                outputs(&[b"x"]),
                false,
            ),
            (
                json!({ "unchanged": true, "partition_keys": { "a": "b" } }),
                outputs(&[b"r"]),
                false,
            ),
        ] {
            let read = expect(expected.clone()).unwrap();
            assert_eq!(read.holds(b"r", &verdict), holds, "{expected}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (expected, words) in [
            (json!(1), "quote it"),
            (json!({}), "needs one of"),
            (json!({ "text": "a", "failed": "b" }), "needs one of"),
            (json!({ "text": "a", "json": 1 }), "more than one of"),
            (json!({ "txt": "a" }), "unknown field `txt`"),
            (
                json!({ "outputs": ["dropped"] }),
                "outputs[0]: must be one output",
            ),
        ] {
            let error = expect(expected).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(record(json!({ "json": null })).unwrap().data, b"null");
        assert!(record(json!(true)).unwrap_err().contains("quote it"));
        assert!(record(json!({})).unwrap_err().contains("needs one of"));
    }
}
