//! What became of one record, apart from those beside it.

use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::{Blocked, Transform as _};
use hydrant_transform::WasmTransform;
use serde_json::{Map, Value as Json, json};

use super::records::{Trial, block};

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) data: Vec<u8>,
    pub(crate) partition_keys: Vec<(String, String)>,
    pub(crate) target: Option<String>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is delivered as these.
    Outputs(Vec<Output>),
    /// It is delivered as nothing.
    Dropped,
    /// It goes to the error output.
    Failed { code: String, message: String },
}

impl Verdict {
    /// One word for it, given the record.
    pub(crate) fn word(&self, record: &[u8]) -> &'static str {
        match self {
            Self::Outputs(outputs) => match outputs.as_slice() {
                [one] if one.data == record => "unchanged",
                [_] => "changed",
                _ => "split",
            },
            Self::Dropped => "dropped",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether it follows from what the batch had left after others of its records, so that alone
    /// the record may get another one.
    pub(crate) fn is_of_the_batch(&self) -> bool {
        const CODES: [&str; 2] = ["Transform.TooManyPoisonRecords", "Transform.OutputLimit"];
        matches!(self, Self::Failed { code, .. } if CODES.contains(&code.as_str()))
    }

    /// As a line of an expected file.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Outputs(outputs) => {
                let outputs: Vec<Json> = outputs.iter().map(Output::to_json).collect();
                json!({ "outputs": outputs })
            }
            Self::Dropped => json!({ "dropped": true }),
            Self::Failed { code, message } => json!({ "failed": message, "code": code }),
        }
    }
}

impl Output {
    /// Text where it is text, else base64; keys and target where it has them.
    pub(crate) fn to_json(&self) -> Json {
        let mut json = Map::new();
        let (name, text) = match String::from_utf8(self.data.clone()) {
            Ok(text) => ("text", text),
            Err(bytes) => {
                let text = base64_simd::STANDARD.encode_to_string(bytes.as_bytes());
                ("base64", text)
            }
        };
        json.insert(name.to_owned(), Json::from(text));
        if !self.partition_keys.is_empty() {
            let keys = self.partition_keys.iter();
            let keys: Map<String, Json> = keys
                .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
                .collect();
            json.insert("partition_keys".to_owned(), Json::Object(keys));
        }
        if let Some(target) = &self.target {
            json.insert("target".to_owned(), Json::from(target.as_str()));
        }
        Json::Object(json)
    }
}

/// Runs records as one micro-batch; `first` is the number of the first.
///
/// # Errors
/// Where this machine cannot run the module.
pub(crate) fn run(
    transform: &WasmTransform,
    records: &[Trial],
    first: usize,
) -> Result<Vec<Verdict>, Blocked> {
    let outcomes = transform.apply(&block(records, first), Overruns::Decide)?;
    Ok(apart(&outcomes, records.len()))
}

fn apart(outcomes: &Outcomes, records: usize) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::Dropped; records];
    for i in 0..outcomes.len() {
        let output = Output {
            data: outcomes.data(i).to_owned(),
            partition_keys: outcomes.partition_keys(i).to_owned(),
            target: outcomes.target(i).map(str::to_owned),
        };
        if let Some(verdict) = verdicts.get_mut(outcomes.record(i) as usize) {
            match verdict {
                Verdict::Outputs(outputs) => outputs.push(output),
                _ => *verdict = Verdict::Outputs(vec![output]),
            }
        }
    }
    for failure in &outcomes.failures {
        if let Some(verdict) = verdicts.get_mut(failure.record as usize) {
            *verdict = Verdict::Failed {
                code: failure.code.clone(),
                message: failure.message.clone(),
            };
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use hydrant_core::outcomes::{Failure, OutcomesBuilder};

    use super::{Verdict, apart};

    #[test]
    fn verdicts_are_told_apart() {
        let mut builder = OutcomesBuilder::default();
        builder.output(0, b"a", &[]);
        builder.output(2, b"b", &[("k".into(), "v".into())]);
        builder.output(2, b"\xff", &[]);
        builder.target("t".to_owned());
        builder.failed(Failure {
            record: 3,
            output: 0,
            kind: "processing-failed",
            code: "C".to_owned(),
            message: "m".to_owned(),
            origin: String::new(),
        });
        let verdicts = apart(&builder.build(), 4);
        let words: Vec<&str> = verdicts.iter().map(|verdict| verdict.word(b"a")).collect();
        assert_eq!(words, ["unchanged", "dropped", "split", "failed"]);
        assert_eq!(
            verdicts[2].to_json().to_string(),
            r#"{"outputs":[{"partition_keys":{"k":"v"},"text":"b"},{"base64":"/w==","target":"t"}]}"#
        );
        assert_eq!(verdicts[1], Verdict::Dropped);
    }
}
