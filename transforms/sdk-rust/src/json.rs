//! Edits JSON records in place: finds where values begin and end, and splices the record's bytes.
//! Whatever is not edited keeps its bytes: order, spaces, the way numbers are written.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Arrays inside arrays are followed to this depth.
const DEPTH: usize = 64;

/// The fields of a JSON object in their order, as slices of its text.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Object<'a> {
    /// Reads a record that is one JSON object.
    ///
    /// # Errors
    /// With what is wrong, and never with bytes of the record.
    pub fn parse(record: &'a [u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(record).map_err(|_| "the record is not UTF-8 text".to_owned())?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err("the record is not a JSON object".to_owned());
        }
        Self::of(text).map_err(|e| format!("the record is not valid JSON: {}", without_payload(&e)))
    }

    fn of(text: &'a str) -> Result<Self, serde_json::Error> {
        let Fields(fields) = serde_json::from_str(text)?;
        let fields = fields
            .into_iter()
            .map(|(key, value)| (key.get(), value.get()))
            .collect();
        Ok(Self { text, fields })
    }

    /// The JSON text of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields
            .iter()
            .find(|(key, _)| is_named(key, name))
            .map(|(_, value)| *value)
    }

    /// The first field of this name, where it is a string.
    pub fn get_string(&self, name: &str) -> Option<String> {
        self.get(name)
            .and_then(|value| serde_json::from_str(value).ok())
    }

    /// The elements of the first field of this name as JSON texts, where it is an array.
    pub fn get_array(&self, name: &str) -> Option<Vec<&'a str>> {
        self.get(name).and_then(elements)
    }

    /// The object's text with more fields (name, JSON text) after its last one.
    pub fn with(&self, added: &[(&str, &str)]) -> String {
        let (head, tail) = match self.fields.last() {
            Some((_, last)) => self.text.split_at(start_in(self.text, last) + last.len()),
            None => self
                .text
                .split_at(self.text.find('{').map_or(0, |brace| brace + 1)),
        };
        let mut text = head.to_owned();
        for (i, (name, value)) in added.iter().enumerate() {
            if i > 0 || !self.fields.is_empty() {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(*name).to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push_str(tail);
        text
    }
}

/// Dotted paths of fields, as `user.ip`. A path goes through arrays: it means the field in each
/// of their elements.
#[derive(Debug, Default)]
pub struct Paths {
    children: Vec<(String, Paths)>,
    ends: bool,
}

impl Paths {
    /// Reads dotted paths.
    ///
    /// # Errors
    /// For a path with an empty step.
    pub fn parse<S: AsRef<str>>(paths: &[S]) -> Result<Self, String> {
        let mut root = Self::default();
        for path in paths {
            let path = path.as_ref();
            let mut node = &mut root;
            for step in path.split('.') {
                if step.is_empty() {
                    return Err(format!(
                        "`{path}` is not a path of fields: write it as `user.ip`"
                    ));
                }
                node = node.child(step);
            }
            node.ends = true;
        }
        Ok(root)
    }

    fn child(&mut self, step: &str) -> &mut Self {
        let known = self.children.iter().position(|(name, _)| name == step);
        let at = known.unwrap_or_else(|| {
            self.children.push((step.to_owned(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    fn step(&self, raw_key: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|(name, _)| is_named(raw_key, name))
            .map(|(_, node)| node)
    }

    /// Puts the JSON text `value` in the place of every value that the paths name. `None` where
    /// they name none: the record stays as it is.
    ///
    /// # Errors
    /// Where arrays are nested deeper than 64.
    pub fn replace(&self, object: &Object<'_>, value: &str) -> Result<Option<String>, String> {
        let mut cuts = Cuts {
            text: object.text,
            cuts: Vec::new(),
            remove: false,
        };
        cuts.object(self, object, 0)?;
        Ok(cuts.splice(value))
    }

    /// Takes every field that the paths name out of the record. `None` where they name none.
    ///
    /// # Errors
    /// Where arrays are nested deeper than 64.
    pub fn remove(&self, object: &Object<'_>) -> Result<Option<String>, String> {
        let mut cuts = Cuts {
            text: object.text,
            cuts: Vec::new(),
            remove: true,
        };
        cuts.object(self, object, 0)?;
        Ok(cuts.splice(""))
    }
}

/// Stretches of the text that go away, in order.
struct Cuts<'a> {
    text: &'a str,
    cuts: Vec<(usize, usize)>,
    remove: bool,
}

impl<'a> Cuts<'a> {
    fn object(&mut self, paths: &Paths, object: &Object<'a>, depth: usize) -> Result<(), String> {
        // With `remove`, neighbours go together, with the comma on one side of them.
        let (mut run, fields) = (None, &object.fields);
        for (i, (key, value)) in fields.iter().enumerate() {
            let node = paths.step(key);
            if node.is_some_and(|node| node.ends) {
                if self.remove {
                    run = run.or(Some(i));
                } else {
                    let start = start_in(self.text, value);
                    self.cuts.push((start, start + value.len()));
                }
                continue;
            }
            if let Some(first) = run.take() {
                self.cuts.push((
                    start_in(self.text, fields[first].0),
                    start_in(self.text, key),
                ));
            }
            if let Some(node) = node {
                self.value(node, value, depth)?;
            }
        }
        if let Some(first) = run {
            let before = first.checked_sub(1).map(|i| fields[i].1);
            let start = match before {
                Some(value) => start_in(self.text, value) + value.len(),
                None => start_in(self.text, fields[first].0),
            };
            let last = fields[fields.len() - 1].1;
            self.cuts
                .push((start, start_in(self.text, last) + last.len()));
        }
        Ok(())
    }

    fn value(&mut self, paths: &Paths, value: &'a str, depth: usize) -> Result<(), String> {
        if depth == DEPTH {
            return Err(format!(
                "the record is nested deeper than {DEPTH} on the way to a field"
            ));
        }
        if value.starts_with('{') {
            let object = Object::of(value).map_err(|e| without_payload(&e))?;
            self.object(paths, &object, depth + 1)?;
        } else if value.starts_with('[') {
            for element in elements(value).unwrap_or_default() {
                self.value(paths, element, depth + 1)?;
            }
        }
        Ok(())
    }

    fn splice(&self, value: &str) -> Option<String> {
        if self.cuts.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.text.len() + self.cuts.len() * value.len());
        let mut kept = 0;
        for (start, end) in &self.cuts {
            text.push_str(&self.text[kept..*start]);
            text.push_str(value);
            kept = *end;
        }
        text.push_str(&self.text[kept..]);
        Some(text)
    }
}

struct Fields<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(entry) = map.next_entry::<&RawValue, &RawValue>()? {
                    if !entry.0.get().starts_with('"') {
                        return Err(A::Error::custom("key must be a string"));
                    }
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

fn elements(array: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// Whether a key, as it is written with its quotes, is this name.
fn is_named(raw_key: &str, name: &str) -> bool {
    if raw_key.contains('\\') {
        return serde_json::from_str::<String>(raw_key).is_ok_and(|key| key == name);
    }
    raw_key.len() == name.len() + 2 && &raw_key[1..raw_key.len() - 1] == name
}

/// Where `part`, a slice of `text`, begins in it.
fn start_in(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// serde_json's messages name a place and what was expected; some would quote a value.
fn without_payload(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "unexpected character",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::{Object, Paths};

    const RECORD: &str = r#" { "a" : 1.50, "user":{"ip":"::1","id":12345678901234567890}, "l":[{"x":1},{"y":2,"x":3}] } "#;

    fn replaced(paths: &[&str]) -> Option<String> {
        let object = Object::parse(RECORD.as_bytes()).unwrap();
        Paths::parse(paths).unwrap().replace(&object, "0").unwrap()
    }

    fn removed(record: &str, paths: &[&str]) -> Option<String> {
        let object = Object::parse(record.as_bytes()).unwrap();
        Paths::parse(paths).unwrap().remove(&object).unwrap()
    }

    #[test]
    fn replaces_values_and_keeps_all_other_bytes() {
        assert_eq!(replaced(&["b", "user.no", "a.b"]), None);
        assert_eq!(
            replaced(&["a", "user.ip"]).unwrap(),
            RECORD.replace("1.50", "0").replace("\"::1\"", "0")
        );
        assert_eq!(
            replaced(&["l.x"]).unwrap(),
            RECORD.replace(":1}", ":0}").replace(":3}", ":0}")
        );
    }

    #[test]
    fn removes_fields_with_their_commas() {
        assert_eq!(
            removed(r#"{"a":1, "b":2, "c":3}"#, &["a"]).unwrap(),
            r#"{"b":2, "c":3}"#
        );
        assert_eq!(
            removed(r#"{"a":1, "b":2, "c":3}"#, &["b", "c"]).unwrap(),
            r#"{"a":1}"#
        );
        assert_eq!(
            removed(r#"{"a":1, "b":2, "c":3}"#, &["a", "c"]).unwrap(),
            r#"{"b":2}"#
        );
        assert_eq!(removed(r#"{ "a":1 }"#, &["a"]).unwrap(), r#"{  }"#);
        assert_eq!(
            removed(r#"{"a":{"b":1},"c":2}"#, &["a.b", "c"]).unwrap(),
            r#"{"a":{}}"#
        );
    }

    #[test]
    fn names_may_be_written_with_escapes() {
        assert_eq!(
            removed(r#"{"\u0061":1,"b":2}"#, &["a"]).unwrap(),
            r#"{"b":2}"#
        );
    }

    #[test]
    fn adds_fields() {
        let with = |text: &str| {
            Object::parse(text.as_bytes())
                .unwrap()
                .with(&[("a\"b", "1"), ("c", "[]")])
        };
        assert_eq!(with("{ }"), r#"{"a\"b":1,"c":[] }"#);
        assert_eq!(with(r#"{"x":0}"#), r#"{"x":0,"a\"b":1,"c":[]}"#);
    }

    #[test]
    fn what_is_no_object_is_named_without_its_bytes() {
        for bad in [
            "",
            "[]",
            "1",
            "secret",
            r#"{"secret"}"#,
            r#"{"a":1"#,
            r#"{1:2}"#,
            r#"{"a":1}secret"#,
        ] {
            let error = Object::parse(bad.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        let object = Object::parse(deep.as_bytes()).unwrap();
        assert!(Paths::parse(&["a.b"]).unwrap().remove(&object).is_err());
    }
}
