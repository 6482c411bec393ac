//! Plain paths into a record, found while it is read once: no tree is built, and all of the record
//! is checked to be JSON and UTF-8 all the same. What is passed over is not checked for what has a
//! form and no value, where the long way fails: numbers beyond any double, halves of surrogate pairs,
//! and nesting of more than 128.

use std::fmt;

use hydrant_core::outcomes::PartitionKeys;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::jq::{Path, number};

/// The paths of a query, as the tree of their members.
pub(super) struct Plain {
    names: Vec<String>,
    /// Where each name's value is found.
    slots: Vec<usize>,
    slot_count: usize,
    root: Node,
}

#[derive(Default)]
struct Node {
    /// What is found here goes to this slot.
    slot: Option<usize>,
    members: Vec<(String, Node)>,
}

/// What was found of a slot.
#[derive(Clone, Debug, Default)]
enum Found {
    /// Nothing, or what the long way has to look at.
    #[default]
    Other,
    Text(String),
}

impl Plain {
    /// Of names and paths; a name that comes again counts, as jq has it.
    pub(super) fn new(entries: Vec<(String, Path)>) -> Self {
        let mut plain = Self {
            names: Vec::new(),
            slots: Vec::new(),
            slot_count: 0,
            root: Node::default(),
        };
        for (name, path) in entries {
            let mut node = &mut plain.root;
            for member in path {
                let at = node.members.iter().position(|(name, _)| *name == member);
                let at = at.unwrap_or_else(|| {
                    node.members.push((member, Node::default()));
                    node.members.len() - 1
                });
                node = &mut node.members[at].1;
            }
            let slot = *node.slot.get_or_insert(plain.slot_count);
            plain.slot_count = plain.slot_count.max(slot + 1);
            if let Some(at) = plain.names.iter().position(|known| *known == name) {
                plain.slots[at] = slot;
            } else {
                plain.names.push(name);
                plain.slots.push(slot);
            }
        }
        plain
    }

    /// The keys, where every value is a text, a number or a truth value, and none is empty.
    pub(super) fn keys(&self, record: &[u8]) -> Option<PartitionKeys> {
        let record = std::str::from_utf8(record).ok()?;
        let mut found = vec![Found::Other; self.slot_count];
        let mut json = serde_json::Deserializer::from_str(record);
        let seed = Seek {
            node: &self.root,
            found: &mut found,
        };
        seed.deserialize(&mut json).ok()?;
        json.end().ok()?;
        let key = |(name, slot): (&String, &usize)| match &found[*slot] {
            Found::Text(text) if !text.is_empty() => Some((name.clone(), text.clone())),
            _ => None,
        };
        self.names.iter().zip(&self.slots).map(key).collect()
    }
}

/// Reads a value for a node.
struct Seek<'p, 'f> {
    node: &'p Node,
    found: &'f mut [Found],
}

impl Seek<'_, '_> {
    fn found(self, found: Found) {
        if let Some(slot) = self.node.slot {
            self.found[slot] = found;
        }
    }
}

impl Node {
    /// Forgets what an earlier member of the same name gave.
    fn forget(&self, found: &mut [Found]) {
        if let Some(slot) = self.slot {
            found[slot] = Found::Other;
        }
        self.members.iter().for_each(|(_, node)| node.forget(found));
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.found(Found::Text(value.to_string()));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "jq knows doubles only")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "jq knows doubles only")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.found(Found::Text(number(value)));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.found(Found::Text(value.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(member) = members.next_key_seed(Name(self.node))? {
            match member {
                None => drop(members.next_value::<IgnoredAny>()?),
                Some(node) => {
                    node.forget(self.found);
                    let found = &mut *self.found;
                    members.next_value_seed(Seek { node, found })?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a member's name: the node for it, if there is one.
struct Name<'p>(&'p Node);

impl<'de, 'p> DeserializeSeed<'de> for Name<'p> {
    type Value = Option<&'p Node>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'p> {
    type Value = Option<&'p Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let members = &self.0.members;
        Ok(members
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, node)| node))
    }
}
