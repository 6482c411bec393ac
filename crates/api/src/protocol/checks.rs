//! Declarative validation: what is wrong with the members, gathered into one answer.

use super::Fault;

/// At most this many are reported, as Kinesis does.
const REPORTED_MAX: usize = 10;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<String>);

impl Checks {
    /// Notes that a member is wrong. `value` is shown in quotes, `null` where there is none; it
    /// must be a name or number, never payload.
    pub(crate) fn fail(&mut self, value: Option<&str>, path: &str, constraint: &str) {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        self.0.push(format!(
            "Value {value} at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    /// Notes that a member must not be absent.
    pub(crate) fn missing(&mut self, path: &str) {
        self.fail(None, path, "Member must not be null");
    }

    /// Notes a record whose data is longer than `limit` bytes allow.
    pub(crate) fn data_too_long(&mut self, bytes: usize, path: &str, limit: usize) {
        let shape = format!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]");
        let constraint = format!("Member must have length less than or equal to {limit}");
        self.fail(Some(&shape), path, &constraint);
    }

    /// Checks a text's length in characters. A value that is too long is not shown.
    pub(crate) fn length(&mut self, value: &str, path: &str, least: usize, most: usize) {
        let count = value.chars().count();
        if count < least {
            let constraint = format!("Member must have length greater than or equal to {least}");
            self.fail(Some(value), path, &constraint);
        } else if count > most {
            let constraint = format!("Member must have length less than or equal to {most}");
            self.fail(Some(&format!("({count} characters)")), path, &constraint);
        }
    }

    /// Checks a number's range.
    pub(crate) fn range(&mut self, value: i64, path: &str, least: i64, most: i64) {
        let (word, bound) = match value {
            _ if value < least => ("greater", least),
            _ if value > most => ("less", most),
            _ => return,
        };
        let constraint = format!("Member must have value {word} than or equal to {bound}");
        self.fail(Some(&value.to_string()), path, &constraint);
    }

    /// The answer, where anything is wrong.
    pub(crate) fn done(self) -> Result<(), Fault> {
        let count = self.0.len();
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let shown: Vec<String> = self.0.into_iter().take(REPORTED_MAX).collect();
        let message = format!("{count} validation {errors} detected: {}", shown.join("; "));
        Err(Fault::new("ValidationException", message))
    }
}

#[cfg(test)]
mod tests {
    use super::Checks;

    #[test]
    fn one_and_many() {
        assert_eq!(Checks::default().done(), Ok(()));
        let mut checks = Checks::default();
        checks.missing("streamName");
        assert_eq!(
            checks.done().expect_err("one").message,
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null"
        );
        let mut checks = Checks::default();
        checks.range(0, "limit", 1, 10_000);
        checks.range(10_001, "limit", 1, 10_000);
        checks.range(7, "limit", 1, 10_000);
        checks.length("", "name", 1, 128);
        checks.length(&"é".repeat(128), "name", 1, 128);
        checks.length(&"x".repeat(129), "name", 1, 128);
        let message = checks.done().expect_err("many").message;
        assert!(message.starts_with("4 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; Value '10001'"), "{message}");
        assert!(message.ends_with("Value '(129 characters)' at 'name' failed to satisfy constraint: Member must have length less than or equal to 128"), "{message}");
    }
}
