//! `log_to_json`: a line of a log becomes a JSON object (the Kinesis Agent's `LOGTOJSON`, with its
//! formats and field names). Values are texts; what the line leaves out, or has as `-`, is null.

mod lines;

use std::sync::Arc;

use hydrant_core::stage::Transform;
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::each::{Each, Fault, Outputs, Processor};

const CODE: &str = "LogToJson.InvalidRecord";
/// Longest pattern, in bytes: Firehose's limit of a parameter's value.
const PATTERN_MAX_BYTES: usize = 5120;

/// Values of a line, in the order of their names; `None` is null.
type Fields<'a> = Vec<Option<&'a str>>;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LogFormat {
    /// Apache's `common`.
    CommonApache,
    /// Apache's `combined`.
    CombinedApache,
    /// Apache's error log.
    ApacheError,
    /// RFC 3164, or with a time as in RFC 3339.
    Syslog,
}

impl LogFormat {
    /// The names of its fields, as the Kinesis Agent has them.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::CommonApache => &lines::COMBINED_NAMES[..7],
            Self::CombinedApache => &lines::COMBINED_NAMES,
            Self::ApacheError => &lines::APACHE_ERROR_NAMES,
            Self::Syslog => &lines::SYSLOG_NAMES,
        }
    }

    fn parse(self, line: &str) -> Option<Fields<'_>> {
        match self {
            Self::CommonApache => lines::common(line),
            Self::CombinedApache => lines::combined(line),
            Self::ApacheError => lines::apache_error(line),
            Self::Syslog => lines::syslog(line),
        }
    }
}

enum Form {
    Known(LogFormat),
    Pattern(Regex),
}

/// The processor.
pub struct LogToJson {
    form: Form,
    names: Vec<String>,
}

impl LogToJson {
    /// Lines of a known form, under the agent's names or others.
    ///
    /// # Errors
    /// Where there are not as many names as fields.
    pub fn known(
        format: LogFormat,
        names: Option<Vec<String>>,
    ) -> Result<Arc<dyn Transform>, String> {
        let own = format.names().iter().map(ToString::to_string).collect();
        let names = names.unwrap_or(own);
        check_names(&names, format.names().len())?;
        Ok(Arc::new(Each(Self {
            form: Form::Known(format),
            names,
        })))
    }

    /// Lines in which a pattern is found; its groups are the fields, by their own names where it
    /// names them all and no others are given.
    ///
    /// # Errors
    /// With what is wrong with the pattern, or with the names.
    pub fn pattern(
        pattern: &str,
        names: Option<Vec<String>>,
    ) -> Result<Arc<dyn Transform>, String> {
        if pattern.len() > PATTERN_MAX_BYTES {
            return Err(format!(
                "is {} bytes, limit {PATTERN_MAX_BYTES}",
                pattern.len()
            ));
        }
        let regex = Regex::new(pattern);
        let regex = regex.map_err(|error| format!("is not a regular expression: {error}"))?;
        let groups: Vec<_> = regex.capture_names().skip(1).collect();
        if groups.is_empty() {
            return Err("has no group: each field is one".to_owned());
        }
        let own: Option<Vec<String>> = groups.iter().map(|name| name.map(str::to_owned)).collect();
        let Some(names) = names.or(own) else {
            return Err("has groups without a name: name the fields".to_owned());
        };
        check_names(&names, groups.len())?;
        Ok(Arc::new(Each(Self {
            form: Form::Pattern(regex),
            names,
        })))
    }
}

fn check_names(names: &[String], fields: usize) -> Result<(), String> {
    if names.len() != fields {
        return Err(format!(
            "{} names, where there are {fields} fields",
            names.len()
        ));
    }
    let twice = (1..names.len()).any(|i| names[..i].contains(&names[i]));
    if twice {
        return Err("a name comes twice".to_owned());
    }
    Ok(())
}

impl Processor for LogToJson {
    const NAME: &'static str = "log_to_json";

    fn settings(&self) -> Vec<Vec<u8>> {
        let form = match &self.form {
            Form::Known(format) => vec![vec![*format as u8]],
            Form::Pattern(regex) => vec![b"pattern".to_vec(), regex.as_str().as_bytes().to_vec()],
        };
        let names = self.names.iter().map(|name| name.clone().into_bytes());
        form.into_iter().chain(names).collect()
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let refused = |what: &str| Fault::processing(CODE, format!("the record {what}"));
        let line = std::str::from_utf8(record).map_err(|_| refused("is not UTF-8"))?;
        let line = line.trim_end_matches(['\r', '\n']);
        let fields = match &self.form {
            Form::Known(format) => format.parse(line),
            Form::Pattern(regex) => groups(regex, line),
        };
        let fields = fields.ok_or_else(|| refused("is not a line of the configured form"))?;
        outputs.write(|out| object(&self.names, &fields, out))
    }
}

fn groups<'a>(regex: &Regex, line: &'a str) -> Option<Fields<'a>> {
    let found = regex.captures(line)?;
    Some(
        found
            .iter()
            .skip(1)
            .map(|group| group.map(|group| group.as_str()))
            .collect(),
    )
}

fn object(names: &[String], fields: &Fields<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, field)) in names.iter().zip(fields).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name).expect("a text into memory");
        out.push(b':');
        let field = field.filter(|field| *field != "-");
        serde_json::to_writer(&mut *out, &field).expect("a text into memory");
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
