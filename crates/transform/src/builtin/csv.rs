//! `csv_to_json`: the lines of CSV in a record (RFC 4180) become JSON objects, one each (the Kinesis
//! Agent's `CSVTOJSON`). Lines without a character are passed over.

use std::collections::BTreeSet;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use hydrant_core::stage::Transform;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::each::{Each, Fault, Outputs, Processor};

const CODE: &str = "CsvToJson.InvalidRecord";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnType {
    /// Text, as it stands. Nothing is an empty text.
    String,
    /// A whole number of any size. Nothing is null, as for all that follow.
    Integer,
    /// A number as JSON writes it.
    Number,
    /// `true` or `false`, in any case.
    Boolean,
}

/// How the lines are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct CsvSettings {
    /// Names and types, in the order of the fields. With `header`, those of the named fields whose
    /// type is not text.
    pub columns: Vec<(String, ColumnType)>,
    /// The first line of each record names the fields.
    pub header: bool,
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold what would end them; twice inside of them. `None`: no field is
    /// quoted.
    pub quote: Option<u8>,
}

/// The processor.
pub struct CsvToJson {
    settings: CsvSettings,
    columns: Vec<Column>,
}

/// A name as JSON, with its colon, and what is under it.
type Column = (Vec<u8>, ColumnType);

impl CsvToJson {
    /// Reads lines so.
    pub fn stage(settings: CsvSettings) -> Arc<dyn Transform> {
        let column = |(name, kind): &(String, _)| (member(name), *kind);
        let columns = settings.columns.iter().map(column).collect();
        Arc::new(Each(Self { settings, columns }))
    }

    /// Names and types of the fields of a record, by its first line.
    fn columns(&self, header: &StringRecord) -> Result<Vec<Column>, Fault> {
        let mut names = BTreeSet::new();
        if let Some(twice) = header.iter().position(|name| !names.insert(name)) {
            let field = twice + 1;
            return Err(refused(&format!(
                "has a header that names two fields the same: field {field} is the second"
            )));
        }
        let column = |name: &str| {
            let known = self
                .settings
                .columns
                .iter()
                .find(|(known, _)| known == name);
            (
                member(name),
                known.map_or(ColumnType::String, |(_, kind)| *kind),
            )
        };
        Ok(header.iter().map(column).collect())
    }
}

impl Processor for CsvToJson {
    const NAME: &'static str = "csv_to_json";

    fn settings(&self) -> Vec<Vec<u8>> {
        let CsvSettings {
            columns,
            header,
            delimiter,
            quote,
        } = &self.settings;
        let mut settings = vec![vec![
            u8::from(*header),
            *delimiter,
            u8::from(quote.is_some()),
            quote.unwrap_or(0),
        ]];
        for (name, kind) in columns {
            settings.push(name.clone().into_bytes());
            settings.push(vec![*kind as u8]);
        }
        settings
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let mut lines = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.settings.delimiter)
            .quote(self.settings.quote.unwrap_or(b'"'))
            .quoting(self.settings.quote.is_some())
            .buffer_capacity(record.len().clamp(1, 64 << 10))
            .from_reader(record);
        let mut line = StringRecord::new();
        let mut next = |line: &mut StringRecord| {
            let read = lines.read_record(line);
            read.map_err(|error| refused(&format!("is not CSV: {error}")))
        };
        let from_header;
        let columns = if self.settings.header {
            if !next(&mut line)? {
                return Ok(());
            }
            from_header = self.columns(&line)?;
            &from_header
        } else {
            &self.columns
        };
        let mut number = u64::from(self.settings.header);
        while next(&mut line)? {
            number += 1;
            let mut done = Ok(());
            outputs.write(|out| done = object(&line, columns, out))?;
            done.map_err(|what| refused(&format!("line {number}: {what}")))?;
        }
        Ok(())
    }
}

fn refused(what: &str) -> Fault {
    Fault::processing(CODE, format!("the record {what}"))
}

fn member(name: &str) -> Vec<u8> {
    let mut member = serde_json::to_vec(name).expect("a text into memory");
    member.push(b':');
    member
}

fn object(line: &StringRecord, columns: &[Column], out: &mut Vec<u8>) -> Result<(), String> {
    if line.len() != columns.len() {
        let (fields, columns) = (line.len(), columns.len());
        return Err(format!(
            "{fields} fields, where there are {columns} columns"
        ));
    }
    out.push(b'{');
    for (index, (field, (name, kind))) in line.iter().zip(columns).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        value(field, *kind, out).map_err(|what| format!("field {} is {what}", index + 1))?;
    }
    out.push(b'}');
    Ok(())
}

fn value(field: &str, kind: ColumnType, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let bare = field.trim_ascii();
    match kind {
        ColumnType::String => {
            serde_json::to_writer(out, field).expect("a text into memory");
            return Ok(());
        }
        _ if bare.is_empty() => out.extend_from_slice(b"null"),
        ColumnType::Integer if is_number(bare, false) => out.extend_from_slice(bare.as_bytes()),
        ColumnType::Integer => return Err("no whole number"),
        ColumnType::Number if is_number(bare, true) => out.extend_from_slice(bare.as_bytes()),
        ColumnType::Number => return Err("no number"),
        ColumnType::Boolean if bare.eq_ignore_ascii_case("true") => out.extend_from_slice(b"true"),
        ColumnType::Boolean if bare.eq_ignore_ascii_case("false") => {
            out.extend_from_slice(b"false");
        }
        ColumnType::Boolean => return Err("neither true nor false"),
    }
    Ok(())
}

/// Whether JSON has this number as it is written.
fn is_number(text: &str, fraction: bool) -> bool {
    let starts = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let whole = text.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    starts && (fraction || whole) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::each::testing::{apply, lines};
    use super::{ColumnType, CsvSettings, CsvToJson};

    fn settings(columns: &[(&str, ColumnType)]) -> CsvSettings {
        CsvSettings {
            columns: columns
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), *kind))
                .collect(),
            header: false,
            delimiter: b',',
            quote: Some(b'"'),
        }
    }

    fn typed() -> CsvSettings {
        use ColumnType::{Boolean, Integer, Number, String};
        settings(&[
            ("a\"b", String),
            ("i", Integer),
            ("n", Number),
            ("t", Boolean),
        ])
    }

    #[test]
    fn fields_become_members_of_their_type() {
        let outcomes = apply(
            &*CsvToJson::stage(typed()),
            &[b"x,1,1.5e3,TRUE\r\n\n\"y, \"\"z\"\"\nw\",-12345678901234567890, 0 ,false\n,,,"],
        );
        let got: Vec<_> = (0..outcomes.len()).map(|i| outcomes.data(i)).collect();
        assert_eq!(
            got,
            [
                &br#"{"a\"b":"x","i":1,"n":1.5e3,"t":true}"#[..],
                br#"{"a\"b":"y, \"z\"\nw","i":-12345678901234567890,"n":0,"t":false}"#,
                br#"{"a\"b":"","i":null,"n":null,"t":null}"#,
            ]
        );
    }

    #[test]
    fn a_line_that_does_not_fit_fails_the_record_and_is_named() {
        for (record, what) in [
            (
                &b"x,1,2,true\nx,1"[..],
                "line 2: 2 fields, where there are 4 columns",
            ),
            (b"x,1.0,2,true", "line 1: field 2 is no whole number"),
            (b"x,01,2,true", "field 2 is no whole number"),
            (b"x,1,nan,true", "field 3 is no number"),
            (b"x,1,+1,true", "field 3 is no number"),
            (b"x,1,2,yes", "field 4 is neither true nor false"),
            (b"\xff,1,2,true", "is not CSV"),
        ] {
            let mut outcomes = apply(&*CsvToJson::stage(typed()), &[record]);
            assert_eq!((outcomes.len(), outcomes.failures.len()), (0, 1));
            let failure = outcomes.failures.remove(0);
            assert!(failure.message.contains(what), "{failure:?}");
            assert_eq!(failure.code, super::CODE);
        }
    }

    #[test]
    fn a_header_names_the_fields() {
        let with_header = CsvToJson::stage(CsvSettings {
            header: true,
            delimiter: b';',
            quote: None,
            ..settings(&[("n", ColumnType::Integer)])
        });
        assert_eq!(
            lines(&*with_header, &[b"n;s\n1;\"a\n2;b", b"s\nx", b"n;s\n", b""]),
            [
                r#"{"outputs":["{\"n\":1,\"s\":\"\\\"a\"}","{\"n\":2,\"s\":\"b\"}"]}"#,
                r#"{"outputs":["{\"s\":\"x\"}"]}"#,
                r#"{"dropped":true}"#,
                r#"{"dropped":true}"#,
            ]
        );
    }

    #[test]
    fn a_header_that_names_two_fields_the_same_fails_the_record() {
        let stage = CsvToJson::stage(CsvSettings {
            header: true,
            ..settings(&[])
        });
        let mut outcomes = apply(&*stage, &[b"a,b,a\n1,2,3", b"a,b\n1,2"]);
        assert_eq!((outcomes.len(), outcomes.failures.len()), (1, 1));
        let failure = outcomes.failures.remove(0);
        assert!(
            failure.message.contains("field 3 is the second"),
            "{failure:?}"
        );
    }

    #[test]
    fn every_setting_is_of_the_digest() {
        let base = typed();
        let mut digests = vec![CsvToJson::stage(base.clone()).digest()];
        for other in [
            CsvSettings {
                header: true,
                ..base.clone()
            },
            CsvSettings {
                delimiter: b';',
                ..base.clone()
            },
            CsvSettings {
                quote: None,
                ..base.clone()
            },
            CsvSettings {
                quote: Some(b'\''),
                ..base.clone()
            },
            settings(&[("a", ColumnType::String)]),
            settings(&[("a", ColumnType::Integer)]),
            settings(&[("b", ColumnType::Integer)]),
        ] {
            let digest = CsvToJson::stage(other).digest();
            assert!(!digests.contains(&digest));
            digests.push(digest);
        }
    }

    proptest! {
        /// What another writer wrote is read back.
        #[test]
        fn fields_come_back(rows in prop::collection::vec([".*", "[\",\r\n a]{0,6}"], 1..6)) {
            // A byte order mark before the first field is passed over.
            prop_assume!(!rows[0][0].starts_with('\u{feff}'));
            let stage = CsvToJson::stage(settings(&[
                ("a", ColumnType::String),
                ("b", ColumnType::String),
            ]));
            let mut writer = csv::Writer::from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let outcomes = apply(&*stage, &[&writer.into_inner().unwrap()]);
            prop_assert_eq!(outcomes.len(), rows.len());
            for (i, [a, b]) in rows.iter().enumerate() {
                let value: serde_json::Value = serde_json::from_slice(outcomes.data(i)).unwrap();
                prop_assert_eq!(value, serde_json::json!({ "a": a, "b": b }));
            }
        }
    }
}
