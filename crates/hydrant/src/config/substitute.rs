//! Replaces `${NAME}` and `${NAME:-default}` in scalars, after parsing: a value can never become
//! YAML. `$${` stands for `${`.

use super::context::{Context, join};
use super::node::{Node, Scalar, Value};

/// Replaces variables in all values below `node`; keys stay as they are.
pub(super) fn substitute(node: &mut Node, path: &str, cx: &mut Context) {
    match &mut node.value {
        Value::Faulty => {}
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                substitute(item, &format!("{path}[{index}]"), cx);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                substitute(&mut entry.node, &join(path, &entry.key), cx);
            }
        }
        Value::Scalar(scalar) => match replaced(&scalar.text, &cx.environment) {
            Ok(None) => {}
            Ok(Some(text)) => {
                let original = std::mem::replace(&mut scalar.text, text);
                let plain = scalar.plain;
                *scalar = Scalar {
                    text: std::mem::take(&mut scalar.text),
                    plain,
                    original: Some(original),
                };
            }
            Err((message, remedy)) => {
                cx.fault(node.mark, path, message, remedy);
                node.value = Value::Faulty;
            }
        },
    }
}

type Problem = (String, String);

/// `None` where there is nothing to replace.
fn replaced(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, Problem> {
    let (mut out, mut rest, mut found) = (String::new(), text, false);
    while let Some((before, after)) = rest.split_once("${") {
        found = true;
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let Some((inside, after)) = after.split_once('}') else {
            return Err(malformed());
        };
        out.push_str(before);
        out.push_str(&variable(inside, environment)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(found.then_some(out))
}

fn variable(inside: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(good) {
        return Err(malformed());
    }
    // As in a shell, an empty variable takes the default too.
    let value = environment(name).filter(|value| default.is_none() || !value.is_empty());
    value.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        let message = format!("the environment variable {name} is not set");
        (message, format!("set it, or write `${{{name}:-default}}`"))
    })
}

fn malformed() -> Problem {
    let remedy = "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`";
    (
        "has a `${` that names no variable".to_owned(),
        remedy.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::replaced;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("h1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        let cases = [
            ("http://${HOST}:9000", "http://h1:9000"),
            ("${HOST}${HOST}", "h1h1"),
            ("${NONE:-a b}", "a b"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("[${EMPTY}]", "[]"),
            ("$${HOST} costs $5", "${HOST} costs $5"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                replaced(text, &environment),
                Ok(Some(expected.to_owned())),
                "{text}"
            );
        }
        assert_eq!(replaced("!{timestamp:yyyy} $HOST", &environment), Ok(None));
    }

    #[test]
    fn what_cannot_be_replaced_is_a_fault() {
        for text in ["${NONE}", "${HOST", "${}", "${a b}", "${:-x}"] {
            assert!(replaced(text, &environment).is_err(), "{text}");
        }
    }
}
