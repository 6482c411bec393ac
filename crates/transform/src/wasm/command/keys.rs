//! Partition keys of a line in stdio mode, counted while they are read: a short name takes far more
//! room in memory than in its line.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::super::answer::ITEM_BYTES;

/// Names and values, by name.
type Keys = Vec<(String, String)>;

/// Reads an object of texts; none where it counts more than `left`.
pub(super) fn read(json: &str, left: usize) -> serde_json::Result<Option<Keys>> {
    let mut counted = Counted { left, over: false };
    let mut from = serde_json::Deserializer::from_str(json);
    match (&mut counted).deserialize(&mut from) {
        Ok(keys) => Ok(Some(keys)),
        Err(_) if counted.over => Ok(None),
        Err(error) => Err(error),
    }
}

struct Counted {
    left: usize,
    over: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Counted {
    type Value = Keys;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Keys, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Counted {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names and values of partition keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            let Some(left) = self.left.checked_sub(ITEM_BYTES + name.len() + value.len()) else {
                self.over = true;
                return Err(A::Error::custom("too many partition keys"));
            };
            self.left = left;
            keys.insert(name, value);
        }
        Ok(keys.into_iter().collect())
    }
}
