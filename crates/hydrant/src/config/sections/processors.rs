//! The processors that are built in. Words are Firehose's and the Kinesis Agent's.

use base64_simd::STANDARD;
use hydrant_transform::builtin::{
    Builtin, ColumnType, CsvSettings, LogForm, LogFormat, Packing, SubRecords,
};

use super::super::fields::{Fields, Section};
use super::super::kinds::{Flag, Parsed, Text, Word};
use super::super::shapes::{Either, List};

const SUB_RECORD_TYPES: &[(&str, SubRecordType)] = &[
    ("json", SubRecordType::Json),
    ("delimited", SubRecordType::Delimited),
];
const PACKINGS: &[(&str, Packing)] = &[
    ("gzip", Packing::Gzip),
    ("zlib", Packing::Zlib),
    ("zstd", Packing::Zstd),
    ("snappy", Packing::Snappy),
];
const COLUMN_TYPES: &[(&str, ColumnType)] = &[
    ("string", ColumnType::String),
    ("integer", ColumnType::Integer),
    ("number", ColumnType::Number),
    ("boolean", ColumnType::Boolean),
];
const LOG_FORMATS: &[(&str, LogFormat)] = &[
    ("commonapachelog", LogFormat::CommonApache),
    ("combinedapachelog", LogFormat::CombinedApache),
    ("apacheerrorlog", LogFormat::ApacheError),
    ("syslog", LogFormat::Syslog),
];
/// The only engine of Firehose.
const ENGINES: &[(&str, ())] = &[("jq-1.6", ())];

/// Most bytes of a delimiter: a line of text, as at the destination.
const DELIMITER_MAX_BYTES: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum SubRecordType {
    Json,
    Delimited,
}

pub(super) fn record_deaggregation(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "what a record holds: JSON objects, in an array or one after the other, or anything \
                 with a delimiter between it";
    let kind = f.required("sub_record_type", about, Word(SUB_RECORD_TYPES));
    let about = "between the records, with `sub_record_type: delimited`; as a text in which `\\n` \
                 is a newline, or as `{ base64: ... }`";
    let delimiter = f.optional("delimiter", about, delimiter_kind());
    let (kind, delimiter) = (kind?, delimiter?);
    let sub_records = match (kind, delimiter) {
        (SubRecordType::Json, None) => SubRecords::Json,
        (SubRecordType::Json, Some(_)) => {
            f.fault(
                "delimiter",
                "has no meaning with `sub_record_type: json`",
                "remove it",
            );
            return None;
        }
        (SubRecordType::Delimited, None) => {
            f.fault(
                "delimiter",
                "is missing",
                "set it to what stands between the records",
            );
            return None;
        }
        (SubRecordType::Delimited, Some(delimiter)) => SubRecords::Delimited(delimiter),
    };
    Some(Builtin::RecordDeaggregation(sub_records))
}

pub(super) fn decompression(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "how records are compressed";
    let packing = f.or("compression_format", about, Word(PACKINGS), "gzip");
    packing.map(Builtin::Decompression)
}

pub(super) fn cloudwatch_logs(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "whether each event's message becomes a record of its own; control messages are \
                 dropped in any case";
    let extract = f.or("data_message_extraction", about, Flag, "true");
    Some(Builtin::CloudwatchLogs {
        data_message_extraction: extract?,
    })
}

pub(super) fn metadata_extraction(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "the query of jq that gives an object of partition keys, as in `{user: .user.id}`";
    let query_kind = Parsed {
        parse: |text| {
            let query = text.to_owned();
            built(Builtin::MetadataExtraction { query })
        },
        what: "a query",
        example: "{user: .user.id}",
    };
    let query = f.required("metadata_extraction_query", about, query_kind);
    let engine = f.or(
        "json_parsing_engine",
        "Firehose's only one",
        Word(ENGINES),
        "jq-1.6",
    );
    engine?;
    query
}

pub(super) fn append_delimiter(f: &mut Fields<'_>) -> Option<Builtin> {
    let about =
        "behind each record; as a text in which `\\n` is a newline, or as `{ base64: ... }`";
    let delimiter = f.or("delimiter", about, delimiter_kind(), "\\n");
    Some(Builtin::AppendDelimiter {
        delimiter: delimiter?,
    })
}

pub(super) fn csv_to_json(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "the fields in their order, each a name, or a name and a type; with `header`, those \
                 whose type is not string";
    let named = Parsed {
        parse: |name| Ok((name.to_owned(), ColumnType::String)),
        what: "a name",
        example: "user",
    };
    let column_kind = Either {
        scalar: named,
        map: Section(column),
    };
    let columns = f.optional("columns", about, List(column_kind));
    let about = "whether the first line of each record names the fields";
    let header = f.or("header", about, Flag, "false");
    let byte_kind = Parsed {
        parse: one_byte,
        what: "one ASCII character",
        example: ";",
    };
    let delimiter = f.or("delimiter", "between fields", byte_kind, ",");
    let quote_kind = Parsed {
        parse: quote,
        what: "one ASCII character, or `none`,",
        example: "'",
    };
    let about = "around fields that hold a delimiter or a newline; `none` where no field is quoted";
    let quote = f.or("quote", about, quote_kind, "\"");
    let settings = CsvSettings {
        columns: columns?.unwrap_or_default(),
        header: header?,
        delimiter: delimiter?,
        quote: quote?,
    };
    check_columns(f, &settings).then_some(Builtin::CsvToJson(settings))
}

fn check_columns(f: &mut Fields<'_>, settings: &CsvSettings) -> bool {
    let names: Vec<&String> = settings.columns.iter().map(|(name, _)| name).collect();
    let twice = (1..names.len()).find(|i| names[..*i].contains(&names[*i]));
    if names.is_empty() && !settings.header {
        f.fault(
            "columns",
            "is empty",
            "name the fields, or set `header: true`",
        );
    } else if let Some(at) = twice {
        let message = format!("names `{}` twice", names[at]);
        f.fault("columns", message, "give each field a name of its own");
    } else if settings.quote == Some(settings.delimiter) {
        f.fault(
            "quote",
            "is the delimiter too",
            "use another character for one of them",
        );
    } else {
        return true;
    }
    false
}

pub(super) fn log_to_json(f: &mut Fields<'_>) -> Option<Builtin> {
    let format = f.optional("log_format", "a form that is known", Word(LOG_FORMATS));
    let about = "a form of one's own: a regular expression that is looked for in each record, whose \
                 groups are the fields";
    let pattern = f.optional("match_pattern", about, Text);
    let about = "names of the fields, instead of the form's own";
    let names = f.optional("custom_field_names", about, List(Text));
    let (format, pattern, names) = (format?, pattern?, names?);
    let (setting, form) = match (format, pattern) {
        (Some(format), None) => ("custom_field_names", LogForm::Known(format)),
        (None, Some(pattern)) => ("match_pattern", LogForm::Pattern(pattern)),
        _ => {
            let remedy = "set one of `log_format` and `match_pattern`";
            let (mark, path) = (f.mark_of(""), f.path().to_owned());
            let message = "does not say which form the lines have";
            f.cx.fault(mark, &path, message, remedy);
            return None;
        }
    };
    match built(Builtin::LogToJson { form, names }) {
        Ok(builtin) => Some(builtin),
        Err(message) => {
            f.fault(setting, message, "");
            None
        }
    }
}

pub(super) fn filter(f: &mut Fields<'_>) -> Option<Builtin> {
    let about = "the condition in jq's words that a record must meet to be kept, as in `.ms > 100`";
    let condition_kind = Parsed {
        parse: |text| {
            let condition = text.to_owned();
            built(Builtin::Filter { condition })
        },
        what: "a condition",
        example: ".ms > 100",
    };
    f.required("condition", about, condition_kind)
}

/// The processor, if it can be built: queries and patterns are.
fn built(builtin: Builtin) -> Result<Builtin, String> {
    builtin.build().map(|_| builtin)
}

fn column(f: &mut Fields<'_>) -> Option<(String, ColumnType)> {
    let name = f.required("name", "the field's name", Text);
    let about = "what it holds; a field with nothing in it is null, but for a string";
    let kind = f.or("type", about, Word(COLUMN_TYPES), "string");
    Some((name?, kind?))
}

fn delimiter_kind() -> Either<Parsed<Vec<u8>>, Section<Vec<u8>>> {
    Either {
        scalar: Parsed {
            parse: delimiter_text,
            what: "a delimiter",
            example: "\\n",
        },
        map: Section(delimiter_base64),
    }
}

fn delimiter_text(text: &str) -> Result<Vec<u8>, String> {
    delimiter(unescaped(text).into_bytes())
}

fn delimiter_base64(f: &mut Fields<'_>) -> Option<Vec<u8>> {
    let kind = Parsed {
        parse: |text| {
            let bytes = STANDARD
                .decode_to_vec(text)
                .map_err(|_| "is not base64".to_owned())?;
            delimiter(bytes)
        },
        what: "base64",
        example: "Cg==",
    };
    f.required(
        "base64",
        "the delimiter in base64, as Firehose has it",
        kind,
    )
}

fn delimiter(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if (1..=DELIMITER_MAX_BYTES).contains(&bytes.len()) {
        return Ok(bytes);
    }
    let length = bytes.len();
    Err(format!(
        "is {length} bytes, limit 1 to {DELIMITER_MAX_BYTES}"
    ))
}

/// With `\n`, `\r`, `\t` and `\\` as what they mean: Firehose writes a newline so.
fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars().peekable());
    while let Some(char) = chars.next() {
        let meant = match (char, chars.peek()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('\\')) => '\\',
            _ => {
                out.push(char);
                continue;
            }
        };
        chars.next();
        out.push(meant);
    }
    out
}

fn one_byte(text: &str) -> Result<u8, String> {
    match unescaped(text).as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err("is not one ASCII character".to_owned()),
    }
}

fn quote(text: &str) -> Result<Option<u8>, String> {
    if text == "none" {
        return Ok(None);
    }
    one_byte(text).map(Some)
}
