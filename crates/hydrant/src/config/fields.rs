//! Reads the settings of one section, and describes them: each section is one function that asks
//! for its settings by name, and what it asks for is both what is known and what the JSON Schema
//! says. So neither can differ from what is read.
//!
//! A section's function asks for all its settings before it looks at any, for it is also called
//! with an empty section to be described.

use serde_json::{Map, Value as Json, json};

use super::context::{Context, join};
use super::kinds::Kind;
use super::node::{Entry, Mark, Node, Value};
use super::shapes::plain_json;

/// A section that is being read.
pub(super) struct Fields<'a> {
    entries: &'a [Entry],
    mark: Mark,
    path: &'a str,
    pub(super) cx: &'a mut Context,
    known: Vec<Known>,
    exactly_one: bool,
}

struct Known {
    name: &'static str,
    schema: Json,
    required: bool,
}

/// The kind of a section: a map of the settings that the function asks for.
pub(super) struct Section<T>(pub(super) fn(&mut Fields<'_>) -> Option<T>);

impl<T> Kind for Section<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &str, cx: &mut Context) -> Option<T> {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(scalar) if scalar.is_null() => &[],
            Value::Faulty => return None,
            Value::Scalar(_) | Value::List(_) => {
                let known = describe(self.0).known;
                let remedy = format!("known are {}", list(&known));
                cx.fault(node.mark, path, "must be a map of settings", remedy);
                return None;
            }
        };
        let mut fields = Fields {
            entries,
            mark: node.mark,
            path,
            cx,
            known: Vec::new(),
            exactly_one: false,
        };
        let section = (self.0)(&mut fields);
        fields.refuse_unknown();
        section
    }

    fn schema(&self) -> Json {
        let Description { known, exactly_one } = describe(self.0);
        let required: Vec<&str> = known
            .iter()
            .filter(|known| known.required)
            .map(|known| known.name)
            .collect();
        let properties: Map<String, Json> = known
            .iter()
            .map(|known| (known.name.to_owned(), known.schema.clone()))
            .collect();
        let mut schema =
            json!({ "type": "object", "additionalProperties": false, "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if exactly_one {
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
        }
        schema
    }
}

struct Description {
    known: Vec<Known>,
    exactly_one: bool,
}

fn describe<T>(read: fn(&mut Fields<'_>) -> Option<T>) -> Description {
    let mut cx = Context::new(Box::new(|_| None));
    let mut fields = Fields {
        entries: &[],
        mark: Mark::default(),
        path: "",
        cx: &mut cx,
        known: Vec::new(),
        exactly_one: false,
    };
    // Only what it asked for counts; its faults are those of an empty section.
    drop(read(&mut fields));
    Description {
        known: fields.known,
        exactly_one: fields.exactly_one,
    }
}

impl Fields<'_> {
    /// A setting that may be missing. The outer `None` is a fault, which is noted.
    #[expect(clippy::needless_pass_by_value, reason = "kinds are written in place")]
    #[expect(clippy::option_option, reason = "absent is not faulty")]
    pub(super) fn optional<K: Kind>(
        &mut self,
        name: &'static str,
        about: &str,
        kind: K,
    ) -> Option<Option<K::Out>> {
        self.know(name, about, &kind, false);
        match self.entry(name) {
            None => Some(None),
            Some(entry) => self.read(entry, &kind).map(Some),
        }
    }

    /// A setting that must be there. `None` is a fault, which is noted.
    #[expect(clippy::needless_pass_by_value, reason = "kinds are written in place")]
    pub(super) fn required<K: Kind>(
        &mut self,
        name: &'static str,
        about: &str,
        kind: K,
    ) -> Option<K::Out> {
        self.know(name, about, &kind, true);
        match self.entry(name) {
            None => {
                self.fault(name, "is missing", format!("set it: {about}"));
                None
            }
            Some(entry) => self.read(entry, &kind),
        }
    }

    /// A setting with a default, given as it would be written. `None` is a fault, which is noted.
    #[expect(clippy::needless_pass_by_value, reason = "kinds are written in place")]
    pub(super) fn or<K: Kind>(
        &mut self,
        name: &'static str,
        about: &str,
        kind: K,
        default: &str,
    ) -> Option<K::Out> {
        self.know(name, about, &kind, false);
        if let Some(known) = self.known.last_mut() {
            known.schema["default"] = plain_json(default);
        }
        match self.entry(name) {
            None => kind.read(&Node::plain(default), &join(self.path, name), self.cx),
            Some(entry) => self.read(entry, &kind),
        }
    }

    /// A section that counts as empty where it is missing.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        about: &str,
        read: fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let kind = Section(read);
        self.know(name, about, &kind, false);
        match self.entry(name) {
            None => kind.read(&Node::empty(self.mark), &join(self.path, name), self.cx),
            Some(entry) => self.read(entry, &kind),
        }
    }

    /// Says that exactly one of the settings asked for so far must be there. Gives whether it is.
    pub(super) fn exactly_one(&mut self, what: &str) -> bool {
        self.exactly_one = true;
        let known = list(&self.known);
        let present: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| self.knows(&entry.key))
            .collect();
        match present.as_slice() {
            [_] => return true,
            // Something unknown stands in its place, which is fault enough.
            [] if !self.entries.is_empty() => {}
            [] => self.cx.fault(
                self.mark,
                self.path,
                format!("names no {what}"),
                format!("use one of {known}"),
            ),
            [first, second, ..] => {
                let message = format!(
                    "names more than one {what}: `{}` and `{}`",
                    first.key, second.key
                );
                self.cx
                    .fault(second.mark, self.path, message, "keep one of them");
            }
        }
        false
    }

    /// Whether a setting is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Notes a fault of a setting, or of the section where it is missing.
    pub(super) fn fault(
        &mut self,
        name: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let mark = self.mark_of(name);
        self.cx.fault(mark, &join(self.path, name), message, remedy);
    }

    /// The place of a setting, or of the section where it is missing.
    pub(super) fn mark_of(&self, name: &str) -> Mark {
        self.entry(name).map_or(self.mark, |entry| entry.mark)
    }

    /// The section's path, as in `delivery_streams.raw.destination.s3`.
    pub(super) fn path(&self) -> &str {
        self.path
    }

    fn know<K: Kind>(&mut self, name: &'static str, about: &str, kind: &K, required: bool) {
        let mut schema = kind.schema();
        schema["description"] = json!(about);
        self.known.push(Known {
            name,
            schema,
            required,
        });
    }

    fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|known| known.name == name)
    }

    fn refuse_unknown(&mut self) {
        for entry in self.entries {
            if !self.knows(&entry.key) {
                let remedy = match nearest(&entry.key, &self.known) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known here: {}", list(&self.known)),
                };
                let path = join(self.path, &entry.key);
                self.cx
                    .fault(entry.mark, &path, "is not a known setting", remedy);
            }
        }
    }

    fn read<K: Kind>(&mut self, entry: &Entry, kind: &K) -> Option<K::Out> {
        let path = join(self.path, &entry.key);
        self.cx.marks.insert(path.clone(), entry.mark);
        kind.read(&entry.node, &path, self.cx)
    }
}

impl<'a> Fields<'a> {
    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == name)
    }
}

fn list(known: &[Known]) -> String {
    known
        .iter()
        .map(|known| format!("`{}`", known.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The known name that a wrong one was surely meant to be.
fn nearest(name: &str, known: &[Known]) -> Option<&'static str> {
    let same_start =
        |other: &str| !name.is_empty() && (other.starts_with(name) || name.starts_with(other));
    let distances = known
        .iter()
        .map(|known| (distance(name, known.name), known.name));
    let (distance, nearest) = distances.min()?;
    if distance <= nearest.len().max(3) / 3 {
        return Some(nearest);
    }
    known
        .iter()
        .map(|known| known.name)
        .find(|other| same_start(other))
}

/// Letters to change, add or remove (Levenshtein), without regard to case and dashes.
pub(super) fn distance(one: &str, two: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars()
            .filter(|char| !matches!(char, '_' | '-'))
            .map(|char| char.to_ascii_lowercase())
            .collect()
    };
    let (one, two) = (letters(one), letters(two));
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in two.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_letters() {
        for (one, two, expected) in [
            ("prefix", "prefix", 0),
            ("prefx", "prefix", 1),
            ("bufferingHints", "buffering_hints", 0),
            ("", "ab", 2),
            ("retention", "retry", 6),
        ] {
            assert_eq!(distance(one, two), expected, "{one} {two}");
        }
    }
}
