//! The members of a put: text is borrowed from the body where it has no escapes and is in one piece.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64_simd::STANDARD;
use hydrant_log::stream::put::MAX_RECORDS;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::cbor;
use crate::protocol::{Fault, Members, Wire};

/// Bodies up to this length are parsed a second time for the exact message when they are wrong.
const EXPLAINED_BYTES: usize = 1 << 20;

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The bytes of a record, as they come.
pub(super) enum Data<'a> {
    Base64(Cow<'a, str>),
    Plain(Cow<'a, [u8]>),
}

/// Data that is not base64.
pub(super) struct NotBase64;

impl Data<'_> {
    /// How many bytes there are, as far as the length of the text tells.
    pub(super) fn len(&self) -> Result<usize, NotBase64> {
        match self {
            Self::Base64(text) => STANDARD
                .decoded_length(text.as_bytes())
                .map_err(|_| NotBase64),
            Self::Plain(bytes) => Ok(bytes.len()),
        }
    }

    /// Appends the bytes to a block.
    pub(super) fn append(&self, block: &mut Vec<u8>) -> Result<(), NotBase64> {
        match self {
            Self::Base64(text) => {
                let decoded = STANDARD.decode_append(text.as_bytes(), block);
                decoded.map(drop).map_err(|_| NotBase64)
            }
            Self::Plain(bytes) => {
                block.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self::Base64(text.0))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord<'a> {
    #[serde(borrow)]
    pub(super) stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<Text<'a>>,
    pub(super) data: Option<Data<'a>>,
    pub(super) partition_key: Option<Text<'a>>,
    pub(super) explicit_hash_key: Option<Text<'a>>,
    pub(super) sequence_number_for_ordering: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords<'a> {
    #[serde(borrow)]
    pub(super) stream_name: Option<Text<'a>>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<Text<'a>>,
    pub(super) records: Option<Entries<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) data: Option<Data<'a>>,
    pub(super) partition_key: Option<Text<'a>>,
    pub(super) explicit_hash_key: Option<Text<'a>>,
}

/// The records of a call; of more than the limit only the number is kept.
#[derive(Default)]
pub(super) struct Entries<'a> {
    pub(super) kept: Vec<Entry<'a>>,
    pub(super) count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for List<'a> {
            type Value = Entries<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MAX_RECORDS {
                    let Some(entry) = list.next_element()? else {
                        let count = kept.len();
                        return Ok(Entries { kept, count });
                    };
                    kept.push(entry);
                }
                let mut count = kept.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Entries { kept, count })
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Reads the body of a `PutRecord`.
pub(super) fn one(wire: Wire, body: &[u8]) -> Result<PutRecord<'_>, Fault> {
    let read = match wire {
        Wire::Json => sonic_rs::from_slice(body).map_err(|error| error.offset()),
        Wire::Cbor => cbor::one(body).map_err(|malformed| malformed.at),
    };
    read.map_err(|offset| explained(wire, body, offset, explain_entry))
}

/// Reads the body of a `PutRecords`.
pub(super) fn many(wire: Wire, body: &[u8]) -> Result<PutRecords<'_>, Fault> {
    let read = match wire {
        Wire::Json => sonic_rs::from_slice(body).map_err(|error| error.offset()),
        Wire::Cbor => cbor::many(body).map_err(|malformed| malformed.at),
    };
    read.map_err(|offset| explained(wire, body, offset, explain_list))
}

pub(super) fn text<'a>(member: Option<&'a Text<'_>>) -> Option<&'a str> {
    member.map(|text| &*text.0)
}

/// The exact message for a body that was not understood; `check` looks at its records by type.
fn explained(
    wire: Wire,
    body: &[u8],
    offset: usize,
    check: fn(&Members<'_>) -> Result<(), Fault>,
) -> Fault {
    let general = || {
        Fault::serialization(format!(
            "the request body is not as expected at byte {offset}"
        ))
    };
    if body.len() > EXPLAINED_BYTES {
        return general();
    }
    let found = wire.parse(body).and_then(|map| {
        let members = Members::new(&map);
        members.string("StreamName")?;
        members.string("StreamARN")?;
        members.string("SequenceNumberForOrdering")?;
        check(&members)
    });
    found.err().unwrap_or_else(general)
}

fn explain_entry(members: &Members<'_>) -> Result<(), Fault> {
    members.blob("Data")?;
    members.string("PartitionKey")?;
    members.string("ExplicitHashKey").map(drop)
}

fn explain_list(members: &Members<'_>) -> Result<(), Fault> {
    for record in members.list("Records")?.unwrap_or_default() {
        match record {
            serde_json::Value::Object(map) => explain_entry(&Members::new(map))?,
            serde_json::Value::Null => {}
            serde_json::Value::Array(_) => {
                return Err(Fault::serialization(
                    "Start of list found where not expected",
                ));
            }
            _ => return Err(Fault::serialization("Expected null")),
        }
    }
    Ok(())
}
