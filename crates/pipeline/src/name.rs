//! The ids of objects: what an object is called by follows from its lane, its range and its place in it.

use hydrant_core::{Digest, LaneKey, Position, planted};

/// What the kind of an object of data is called in its id.
pub(crate) const DATA: &str = "data";

/// What the id of an object says beside the range.
pub(crate) struct Named<'a> {
    pub(crate) keys: &'a [(String, String)],
    /// Its number among those of its partition.
    pub(crate) part: u32,
    pub(crate) kind: &'a str,
    /// Its first record, where its names must not be those of another try.
    pub(crate) from: Option<Position>,
}

impl<'a> Named<'a> {
    /// The one object of its kind.
    pub(crate) fn whole(kind: &'a str) -> Self {
        Self {
            keys: &[],
            part: 0,
            kind,
            from: None,
        }
    }

    /// The derived id in the range that begins with `first`: the same for whoever renders it again.
    pub(crate) fn id(&self, key: &LaneKey, generation: u64, first: &Position) -> Digest {
        let part = self.part.to_le_bytes();
        let mut partition = Vec::new();
        for (name, value) in self.keys {
            for text in [name, value] {
                partition.extend_from_slice(&(text.len() as u64).to_le_bytes());
                partition.extend_from_slice(text.as_bytes());
            }
        }
        let generation = generation.to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![
            key.delivery_stream.as_bytes(),
            key.source.as_bytes(),
            &generation,
            key.lane.as_str().as_bytes(),
            if planted!("name-reused") {
                &[]
            } else {
                first.as_bytes()
            },
            &partition,
            if planted!("parts-share-a-name") {
                &[0; 4]
            } else {
                &part
            },
            self.kind.as_bytes(),
        ];
        if let Some(from) = &self.from {
            parts.push(from.as_bytes());
        }
        Digest::of_parts(&parts)
    }
}
