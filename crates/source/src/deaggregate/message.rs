//! The protobuf message inside an aggregate, read without copying:
//!
//! ```text
//! AggregatedRecord { repeated string partition_key_table = 1;
//!                    repeated string explicit_hash_key_table = 2; repeated Record records = 3; }
//! Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!          required bytes data = 3; repeated Tag tags = 4; }
//! Tag { required string key = 1; optional string value = 2; }
//! ```
//!
//! Read as proto2: of a scalar that is given twice the last counts; fields that are not known, or
//! have another wire type, are skipped; a message without a required field is refused.

/// The wire types of protobuf.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED_32: u8 = 5;

/// Groups nest at most this deep, as in Google's own readers.
const GROUP_DEPTH_MAX: usize = 100;

/// An aggregate's tables and user records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) keys: Vec<&'a [u8]>,
    pub(super) hash_keys: Vec<&'a [u8]>,
    pub(super) records: Vec<UserRecord<'a>>,
}

/// One user record; its keys are indexes into the tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserRecord<'a> {
    pub(super) key_index: u64,
    pub(super) hash_index: Option<u64>,
    pub(super) data: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message; `None` where it is malformed.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut message = Self::default();
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            match reader.field()? {
                (1, Value::Bytes(key)) => message.keys.push(key),
                (2, Value::Bytes(key)) => message.hash_keys.push(key),
                (3, Value::Bytes(record)) => message.records.push(UserRecord::parse(record)?),
                _ => {}
            }
        }
        Some(message)
    }
}

impl<'a> UserRecord<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (mut key_index, mut hash_index, mut data) = (None, None, None);
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            match reader.field()? {
                (1, Value::Number(index)) => key_index = Some(index),
                (2, Value::Number(index)) => hash_index = Some(index),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                (4, Value::Bytes(tag)) => check_tag(tag)?,
                _ => {}
            }
        }
        Some(Self {
            key_index: key_index?,
            hash_index,
            data: data?,
        })
    }
}

/// A tag is not used, but a malformed one makes the message malformed.
fn check_tag(bytes: &[u8]) -> Option<()> {
    let (mut reader, mut keyed) = (Reader(bytes), false);
    while !reader.0.is_empty() {
        keyed |= matches!(reader.field()?, (1, Value::Bytes(_)));
    }
    keyed.then_some(())
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Skipped,
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field's number and value.
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let (number, wire) = self.tag()?;
        let value = match wire {
            VARINT => Value::Number(self.varint()?),
            LENGTH => Value::Bytes(self.bytes()?),
            _ => {
                self.skip(number, wire)?;
                Value::Skipped
            }
        };
        Some((number, value))
    }

    fn tag(&mut self) -> Option<(u64, u8)> {
        let tag = self.varint()?;
        let number = tag >> 3;
        // Field numbers have 29 bits and begin at 1.
        let wire = u8::try_from(tag & 7).ok()?;
        (1..1 << 29).contains(&number).then_some((number, wire))
    }

    /// Passes over a value that is neither a number nor bytes.
    fn skip(&mut self, number: u64, wire: u8) -> Option<()> {
        let mut open = match wire {
            FIXED_64 => return self.take(8).map(drop),
            FIXED_32 => return self.take(4).map(drop),
            GROUP_START => vec![number],
            _ => return None,
        };
        while !open.is_empty() {
            let (number, wire) = self.tag()?;
            match wire {
                VARINT => drop(self.varint()?),
                LENGTH => drop(self.bytes()?),
                FIXED_64 => drop(self.take(8)?),
                FIXED_32 => drop(self.take(4)?),
                GROUP_START if open.len() < GROUP_DEPTH_MAX => open.push(number),
                GROUP_END if open.last() == Some(&number) => drop(open.pop()),
                _ => return None,
            }
        }
        Some(())
    }

    /// Up to 10 bytes of 7 bits, the lowest first; bits above 64 are dropped.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(at + 1..)?;
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
