//! A value that nothing shows.

use std::fmt;

use serde_json::{Value as Json, json};

use super::context::{Context, join};
use super::fields::{Fields, Section};
use super::kinds::{FilePath, Kind, Text};
use super::load::read_text;
use super::node::{Node, Value};

/// Largest file of a secret: far more than a key has, and little to read where it is another file.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// A password or key. It has no `Display` and no serialized form, and `Debug` is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for whoever must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The kind of a secret: the text itself, `{ file: PATH }` or `{ env: NAME }`.
pub(super) struct SecretKind;

impl Kind for SecretKind {
    type Out = Secret;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<Secret> {
        let secret = match &node.value {
            Value::Map(_) => Section(reference).read(node, path, cx)?,
            _ => Secret(Text.read(node, path, cx)?),
        };
        if secret.0.is_empty() {
            cx.fault(node.mark, path, "is empty", "");
            return None;
        }
        Some(secret)
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, Section(reference).schema()] })
    }
}

fn reference(f: &mut Fields<'_>) -> Option<Secret> {
    let file = f.optional(
        "file",
        "a file that holds it; line ends after it do not count",
        FilePath,
    );
    let env = f.optional("env", "the environment variable that holds it", Text);
    if !f.exactly_one("place of the secret") {
        return None;
    }
    if let Some(file) = file? {
        return match read_text(&file, SECRET_MAX_BYTES) {
            Ok(text) => Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(what) => {
                f.fault("file", format!("{} {what}", file.display()), "");
                None
            }
        };
    }
    let name = env??;
    let value = (f.cx.environment)(&name);
    if value.is_none() {
        let (mark, path) = (f.mark_of("env"), join(f.path(), "env"));
        let message = format!("the environment variable {name} is not set");
        f.cx.fault(mark, &path, message, "set it, or use `file`");
    }
    value.map(Secret)
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret("hunter2".to_owned());
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(redacted) Some(Secret(redacted))"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
