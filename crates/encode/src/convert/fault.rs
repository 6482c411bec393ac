//! Why a record was refused: it is data, told to a person without a byte of the record.

use hydrant_core::outcomes::Failure;

/// The error output's folder for it.
const KIND: &str = "format-conversion-failed";

/// One fault of a record, and where in the schema it is.
#[derive(Debug)]
pub(crate) struct Fault {
    malformed: bool,
    reason: String,
    /// Names from the inside out.
    path: Vec<String>,
}

impl Fault {
    /// The record is no JSON.
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self {
            malformed: true,
            reason: reason.into(),
            path: Vec::new(),
        }
    }

    /// The record is JSON that does not fit the schema.
    pub(crate) fn unfit(reason: impl Into<String>) -> Self {
        Self {
            malformed: false,
            reason: reason.into(),
            path: Vec::new(),
        }
    }

    /// A value is not what the column takes.
    pub(crate) fn found(expected: &str, found: &str) -> Self {
        Self::unfit(format!("expected {expected}, found {found}"))
    }

    /// Notes that the fault is inside of this member.
    #[must_use]
    pub(crate) fn inside(mut self, name: &str) -> Self {
        self.path.push(name.into());
        self
    }

    /// What goes to the error output.
    pub(crate) fn failure(self, record: u32) -> Failure {
        let code = if self.malformed {
            "ParseError"
        } else {
            "MalformedData"
        };
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        let message = if path.is_empty() {
            self.reason
        } else {
            format!("column `{}`: {}", path.join("."), self.reason)
        };
        Failure {
            record,
            output: 0,
            kind: KIND,
            code: format!("DataFormatConversion.{code}"),
            message,
            origin: String::new(),
        }
    }
}
