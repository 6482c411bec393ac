//! The settings of the processors, as one thing that is kept with a version and built from.

use std::sync::Arc;

use hydrant_core::stage::Transform;
use serde::{Deserialize, Serialize};

use super::{
    AppendDelimiter, CloudWatchLogs, CsvSettings, CsvToJson, Decompression, Filter, LogFormat,
    LogToJson, MetadataExtraction, Packing, RecordDeaggregation, SubRecords, each, jq,
};

/// A processor that needs no code of the user's, and its settings. Its serialized form is part of
/// versions: it only ever grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Builtin {
    /// Takes records apart.
    RecordDeaggregation(SubRecords),
    /// Decompresses records.
    Decompression(Packing),
    /// Takes apart what `CloudWatch` Logs sends.
    CloudwatchLogs {
        /// Whether each event's message becomes a record.
        data_message_extraction: bool,
    },
    /// Finds partition keys.
    MetadataExtraction {
        /// The query of jq that gives them.
        query: String,
    },
    /// Puts a delimiter behind each record.
    AppendDelimiter {
        /// The delimiter.
        delimiter: Vec<u8>,
    },
    /// Makes JSON of CSV.
    CsvToJson(CsvSettings),
    /// Makes JSON of lines of logs.
    LogToJson {
        /// The form of the lines.
        form: LogForm,
        /// Names of the fields, where they are not the form's own.
        names: Option<Vec<String>>,
    },
    /// Keeps some records and drops the others.
    Filter {
        /// The query of jq that tells which.
        condition: String,
    },
}

/// The form of a log's lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LogForm {
    /// One that many programs write.
    Known(LogFormat),
    /// One of the user's own, as a regular expression.
    Pattern(String),
}

impl Builtin {
    /// Makes the stage.
    ///
    /// # Errors
    /// With what is wrong with a query, a pattern, or the names for it.
    pub fn build(&self) -> Result<Arc<dyn Transform>, String> {
        Ok(match self {
            Self::RecordDeaggregation(kind) => RecordDeaggregation::stage(kind.clone()),
            Self::Decompression(packing) => Decompression::stage(*packing),
            Self::CloudwatchLogs {
                data_message_extraction,
            } => CloudWatchLogs::stage(*data_message_extraction),
            Self::MetadataExtraction { query } => MetadataExtraction::stage(query)?,
            Self::AppendDelimiter { delimiter } => AppendDelimiter::stage(delimiter.clone()),
            Self::CsvToJson(settings) => CsvToJson::stage(settings.clone()),
            Self::LogToJson { form, names } => match form {
                LogForm::Known(format) => LogToJson::known(*format, names.clone())?,
                LogForm::Pattern(pattern) => LogToJson::pattern(pattern, names.clone())?,
            },
            Self::Filter { condition } => Filter::stage(condition)?,
        })
    }

    /// What a micro-batch may take at once while it is processed, beside its records.
    pub fn held_max_bytes(&self) -> usize {
        match self {
            // A record passes as it is, or does not.
            Self::Filter { .. } => jq::HELD_MAX_BYTES,
            Self::MetadataExtraction { .. } => jq::HELD_MAX_BYTES + each::HELD_MAX_BYTES,
            Self::RecordDeaggregation(_)
            | Self::Decompression(_)
            | Self::CloudwatchLogs { .. }
            | Self::AppendDelimiter { .. }
            | Self::CsvToJson(_)
            | Self::LogToJson { .. } => each::HELD_MAX_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Builtin, LogForm};
    use crate::builtin::{ColumnType, CsvSettings, LogFormat, Packing, SubRecords};

    #[test]
    fn every_one_comes_back_from_its_serialized_form() {
        let names = Some(vec!["a".to_owned()]);
        let all = [
            Builtin::RecordDeaggregation(SubRecords::Json),
            Builtin::RecordDeaggregation(SubRecords::Delimited(b"\n".to_vec())),
            Builtin::Decompression(Packing::Gzip),
            Builtin::Decompression(Packing::Zstd),
            Builtin::CloudwatchLogs {
                data_message_extraction: true,
            },
            Builtin::MetadataExtraction {
                query: "{a}".to_owned(),
            },
            Builtin::AppendDelimiter {
                delimiter: b"\n".to_vec(),
            },
            Builtin::CsvToJson(CsvSettings {
                columns: vec![("a".to_owned(), ColumnType::Integer)],
                header: false,
                delimiter: b',',
                quote: Some(b'"'),
            }),
            Builtin::LogToJson {
                form: LogForm::Known(LogFormat::Syslog),
                names: None,
            },
            Builtin::LogToJson {
                form: LogForm::Pattern("(a)".to_owned()),
                names,
            },
            Builtin::Filter {
                condition: ".a".to_owned(),
            },
        ];
        let mut digests = Vec::new();
        for one in all {
            let json = serde_json::to_value(&one).expect("texts, numbers and lists");
            let back: Builtin = serde_json::from_value(json).expect("it was written");
            assert!(back.held_max_bytes() >= 64 << 20, "{back:?} can grow");
            assert_eq!(back, one);
            let digest = back.build().expect("good").digest();
            assert!(!digests.contains(&digest), "{one:?}");
            digests.push(digest);
        }
    }
}
