//! Keys and values of the state store as CBOR arrays; the first element is the format version.
//! An empty value says that the key was removed.

use bytes::Bytes;
use hydrant_core::state::LaneState;
use hydrant_core::{Lane, LaneKey, Position, Records, RecordsBuilder};
use minicbor::{Decode, Encode};

use super::table::Key;
use crate::error::Error;

const VERSION: u8 = 1;
const LANE: u8 = 0;
const ENTRY: u8 = 1;

/// A key: three texts for a lane, two for an entry (the third is then empty).
#[derive(Encode, Decode)]
struct KeyWire {
    #[n(0)]
    version: u8,
    #[n(1)]
    of: u8,
    #[n(2)]
    first: String,
    #[n(3)]
    second: String,
    #[n(4)]
    third: String,
}

/// A lane's state.
#[derive(Encode, Decode)]
struct LaneWire {
    #[n(0)]
    version: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    position: [u8; 32],
    #[n(2)]
    generation: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    intent: Option<Vec<u8>>,
    #[n(4)]
    ended: bool,
}

/// An entry's value.
#[derive(Encode, Decode)]
struct EntryWire {
    #[n(0)]
    version: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: Vec<u8>,
}

/// A key and its value as a record; without a value, the record that removes it.
pub(super) fn record(of: &Key, value: Option<&Bytes>) -> Records {
    let mut builder = RecordsBuilder::default();
    builder.push_unplaced(0, &key(of), value.map_or(&[], |value| &value[..]));
    builder.build_run(Position::START, 1)
}

pub(super) fn key(key: &Key) -> Vec<u8> {
    let version = VERSION;
    encode(&match key {
        Key::Lane(key) => KeyWire {
            version,
            of: LANE,
            first: key.delivery_stream.to_string(),
            second: key.source.to_string(),
            third: key.lane.to_string(),
        },
        Key::Entry { kind, key } => KeyWire {
            version,
            of: ENTRY,
            first: kind.to_string(),
            second: key.to_string(),
            third: String::new(),
        },
    })
}

pub(super) fn read_key(bytes: &[u8]) -> Result<Key, Error> {
    let wire: KeyWire = decode(bytes, "key")?;
    known(wire.version, "key")?;
    match wire.of {
        LANE => Ok(Key::Lane(LaneKey {
            delivery_stream: wire.first.into(),
            source: wire.second.into(),
            lane: Lane::new(wire.third),
        })),
        ENTRY => Ok(Key::Entry {
            kind: wire.first.into(),
            key: wire.second.into(),
        }),
        _ => Err(Error::Unreadable { what: "key" }),
    }
}

pub(super) fn lane(state: &LaneState) -> Bytes {
    let wire = LaneWire {
        version: VERSION,
        position: *state.position.as_bytes(),
        generation: state.generation,
        intent: state.intent.as_ref().map(|intent| intent.to_vec()),
        ended: state.ended,
    };
    encode(&wire).into()
}

pub(super) fn read_lane(bytes: &[u8]) -> Result<LaneState, Error> {
    let wire: LaneWire = decode(bytes, "lane state")?;
    known(wire.version, "lane state")?;
    Ok(LaneState {
        position: Position::from_bytes(wire.position),
        generation: wire.generation,
        intent: wire.intent.map(Bytes::from),
        ended: wire.ended,
    })
}

pub(super) fn entry(value: &Bytes) -> Bytes {
    encode(&EntryWire {
        version: VERSION,
        value: value.to_vec(),
    })
    .into()
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<Bytes, Error> {
    let wire: EntryWire = decode(bytes, "entry")?;
    known(wire.version, "entry")?;
    Ok(wire.value.into())
}

fn encode(wire: &impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(wire).expect("encoding into memory does not fail")
}

fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8], what: &'static str) -> Result<T, Error> {
    minicbor::decode(bytes).map_err(|_| Error::Unreadable { what })
}

fn known(version: u8, what: &'static str) -> Result<(), Error> {
    if version == VERSION {
        Ok(())
    } else {
        Err(Error::Unreadable { what })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hydrant_core::state::LaneState;
    use hydrant_core::{Lane, LaneKey, Position};

    use super::{Key, entry, key, lane, read_entry, read_key, read_lane};

    #[test]
    fn keys_and_values_read_back() {
        let lane_key = Key::Lane(LaneKey {
            delivery_stream: "a".into(),
            source: "b".into(),
            lane: Lane::new("shard-1"),
        });
        let entry_key = Key::Entry {
            kind: "stream".into(),
            key: "clicks".into(),
        };
        for one in [lane_key, entry_key] {
            assert_eq!(read_key(&key(&one)).ok(), Some(one));
        }
        for intent in [None, Some(Bytes::from_static(b"cut")), Some(Bytes::new())] {
            let state = LaneState {
                position: Position::from_u64(77).with_sub(3),
                generation: 2,
                intent,
                ended: true,
            };
            assert_eq!(read_lane(&lane(&state)).ok(), Some(state));
        }
        for value in [Bytes::new(), Bytes::from_static(b"x")] {
            assert!(!entry(&value).is_empty());
            assert_eq!(read_entry(&entry(&value)).ok(), Some(value));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = lane(&LaneState::starting_after(Position::START)).to_vec();
        assert_eq!(bytes[1], 1, "the version is the first element");
        bytes[1] = 2;
        assert!(read_lane(&bytes).is_err());
        assert!(read_key(&[0xff]).is_err());
    }
}
