//! A YAML document as a tree in which every value knows its file and line.
//!
//! Scalars stay text until someone asks for a number or a word; only YAML 1.2's core schema says
//! what a plain one means. Aliases are copied in, within bounds.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};

use super::context::{Context, join};

/// Most values of a file, aliases copied in: far more than a configuration has, so that a few
/// lines of nested aliases cannot fill the memory.
const MAX_NODES: usize = 200_000;

/// Deepest nesting: keeps every walk over the tree within the stack.
const MAX_DEPTH: usize = 64;

/// A place in the files that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index of the file.
    pub(super) file: usize,
    /// Line, counted from 1.
    pub(super) line: usize,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something whose fault is noted already: whoever reads it stays quiet.
    Faulty,
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) node: Node,
}

/// A text, number, truth value or null.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Neither quoted nor a block: it may mean a number, a truth value or null.
    pub(super) plain: bool,
    /// The text as it stands in the file, where variables were replaced in it. Messages show it
    /// instead, for the value may be a secret in the wrong place.
    pub(super) original: Option<String>,
}

impl Node {
    /// A plain scalar that stands in no file.
    pub(super) fn plain(text: &str) -> Self {
        let scalar = Scalar {
            text: text.to_owned(),
            plain: true,
            original: None,
        };
        Self {
            mark: Mark::default(),
            value: Value::Scalar(scalar),
        }
    }

    /// An empty map.
    pub(super) fn empty(mark: Mark) -> Self {
        Self {
            mark,
            value: Value::Map(Vec::new()),
        }
    }

    /// How many values it has, itself included, and how deep they nest.
    fn extent(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.value {
            Value::Scalar(_) | Value::Faulty => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|entry| &entry.node).collect(),
        };
        let mut extent = (1, 1);
        for child in children {
            let (nodes, depth) = child.extent();
            extent = (extent.0 + nodes, extent.1.max(depth + 1));
        }
        extent
    }
}

impl Scalar {
    /// Whether it means null.
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Takes a replaced value out of a message again.
    pub(super) fn conceal(&self, message: &str) -> String {
        match &self.original {
            // Messages show texts escaped, which those with quotes in them are not the same as.
            Some(original) if !self.text.is_empty() => message
                .replace(&self.text, original)
                .replace(&self.text.escape_debug().to_string(), original),
            _ => message.to_owned(),
        }
    }
}

/// Reads a file's text; an empty one is an empty map. `None` where it is not YAML.
pub(super) fn parse(text: &str, file: usize, cx: &mut Context) -> Option<Node> {
    let parser = Parser::new_from_str_with_options(text, Options::default());
    let mut builder = Builder {
        parser,
        file,
        anchors: BTreeMap::new(),
        nodes: 0,
        cx,
    };
    match builder.document() {
        Ok(node) => Some(node),
        Err(Broken { line, message }) => {
            let in_braces = text
                .lines()
                .nth(line.saturating_sub(1))
                .is_some_and(in_braces);
            let remedy = if in_braces {
                "quote `${NAME}` where it stands inside { } or [ ]"
            } else {
                ""
            };
            cx.fault(Mark { file, line }, "", message, remedy);
            None
        }
    }
}

fn in_braces(line: &str) -> bool {
    line.split_once("${")
        .is_some_and(|(before, _)| before.contains(['{', '[']))
}

/// Nothing more can be read of the file.
struct Broken {
    line: usize,
    message: String,
}

struct Builder<'a, 'c> {
    parser: Parser<'a, StrInput<'a>>,
    file: usize,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    cx: &'c mut Context,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Node, Broken> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(broken(&span, "holds a second document"));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, "", 0)?);
                }
                _ => return Err(broken(&span, "is not a YAML document")),
            }
        }
        let empty = Node::empty(Mark {
            file: self.file,
            line: 1,
        });
        Ok(match root {
            Some(Node {
                value: Value::Scalar(scalar),
                ..
            }) if scalar.is_null() => empty,
            Some(root) => root,
            None => empty,
        })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Broken {
                line: error.marker().line(),
                message: format!("is not YAML: {}", error.info()),
            }),
            None => Err(Broken {
                line: 0,
                message: "ends early".to_owned(),
            }),
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: &Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, Broken> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(broken(
                span,
                &format!("holds too many values, limit {MAX_NODES}"),
            ));
        }
        if depth > MAX_DEPTH {
            return Err(broken(span, &format!("nests too deep, limit {MAX_DEPTH}")));
        }
        let mark = Mark {
            file: self.file,
            line: span.start.line(),
        };
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = tag
                    .as_deref()
                    .is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let value = if text_tag || self.untagged(tag.as_deref(), mark, path) {
                    let plain = style == ScalarStyle::Plain && !text_tag;
                    Value::Scalar(Scalar {
                        text: text.into_owned(),
                        plain,
                        original: None,
                    })
                } else {
                    Value::Faulty
                };
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let items = self.list(path, depth)?;
                let plain = self.untagged(tag.as_deref(), mark, path);
                (
                    anchor,
                    if plain {
                        Value::List(items)
                    } else {
                        Value::Faulty
                    },
                )
            }
            Event::MappingStart(_, anchor, tag) => {
                let entries = self.map(path, depth)?;
                let plain = self.untagged(tag.as_deref(), mark, path);
                (
                    anchor,
                    if plain {
                        Value::Map(entries)
                    } else {
                        Value::Faulty
                    },
                )
            }
            _ => return Err(broken(span, "is not a YAML document")),
        };
        let node = Node { mark, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Node, Broken> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(broken(
                span,
                "has an alias to a value that is not complete yet",
            ));
        };
        let (nodes, height) = node.extent();
        self.nodes += nodes;
        if self.nodes > MAX_NODES || depth + height > MAX_DEPTH {
            return Err(broken(
                span,
                "has aliases that make it too large or too deep",
            ));
        }
        Ok(node.clone())
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let path = format!("{path}[{}]", items.len());
            items.push(self.node(event, &span, &path, depth + 1)?);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<Entry>, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, &span, path, depth + 1)?;
            let Value::Scalar(Scalar { text: name, .. }) = key.value else {
                return Err(broken(&span, "has a key that is not a plain word"));
            };
            let inner = join(path, &name);
            let (event, span) = self.next()?;
            let mut node = self.node(event, &span, &inner, depth + 1)?;
            // A section's place is the line of its name, not that of its first setting.
            node.mark = key.mark;
            match entries.iter().find(|entry| entry.key == name) {
                Some(first) => {
                    let message = format!("is set twice, first in line {}", first.mark.line);
                    self.cx
                        .fault(key.mark, &inner, message, "remove one of them");
                }
                None => entries.push(Entry {
                    key: name,
                    mark: key.mark,
                    node,
                }),
            }
        }
    }

    fn untagged(&mut self, tag: Option<&Tag>, mark: Mark, path: &str) -> bool {
        if tag.is_some() {
            self.cx
                .fault(mark, path, "has a YAML tag", "remove the tag");
        }
        tag.is_none()
    }
}

fn broken(span: &Span, message: &str) -> Broken {
    Broken {
        line: span.start.line(),
        message: message.to_owned(),
    }
}
