//! What is wrong with a configuration: where, what, and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// One fault of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 where the fault is the file's as a whole.
    pub line: usize,
    /// The setting, as in `delivery_streams.raw.destination.s3.prefix`; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where the message says it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    /// Writes `file:line: path: message — remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " — {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn shows_what_it_knows() {
        let mut fault = Fault {
            file: "hydrant.yaml".into(),
            line: 12,
            path: "streams.clicks.shards".into(),
            message: "is 0, limit 1 to 1000".into(),
            remedy: "use 1".into(),
        };
        let whole = "hydrant.yaml:12: streams.clicks.shards: is 0, limit 1 to 1000 — use 1";
        assert_eq!(fault.to_string(), whole);
        (fault.line, fault.path, fault.remedy) = (0, String::new(), String::new());
        assert_eq!(fault.to_string(), "hydrant.yaml: is 0, limit 1 to 1000");
    }
}
