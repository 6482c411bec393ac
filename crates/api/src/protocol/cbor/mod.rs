//! Bodies in CBOR (RFC 8949) as Kinesis has them: blobs are byte strings, moments are tag 1 on whole
//! milliseconds. Lengths may be indefinite, texts and byte strings may come in chunks.
//!
//! Takes bodies apart within bounds of depth and number, and makes of them what JSON would carry;
//! puts are read member by member instead, without a copy. The budget is left to the callers.

use std::borrow::Cow;
use std::convert::Infallible;

use base64_simd::STANDARD;
use minicbor::data::{IanaTag, Type};
use minicbor::encode::Error as Unwritten;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Number, Value};

use super::Fault;
use super::instant::{millis, seconds};

/// Arrays and maps within each other. Requests of Kinesis need four.
const MAX_DEPTH: usize = 64;

/// Values of a body that is read as a whole, which take far more memory than the shortest of them
/// do in CBOR. A put of 500 records has about 2,000.
const MAX_VALUES: usize = 4096;

/// Members of answers that are moments.
const MOMENTS: [&str; 3] = [
    "ApproximateArrivalTimestamp",
    "ConsumerCreationTimestamp",
    "StreamCreationTimestamp",
];

const NOT_CBOR: &str = "is not CBOR as it should be";

/// Writing into memory does not fail.
pub(crate) type Written = Result<(), Unwritten<Infallible>>;

/// Where a body cannot be read on, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Bytes before it.
    pub(crate) at: usize,
    what: &'static str,
}

/// Reads a body from its beginning to its end.
pub(crate) struct Reader<'b> {
    decoder: Decoder<'b>,
    depth: usize,
    values: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(body: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
            depth: 0,
            values: 0,
        }
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.decoder.position() < self.decoder.input().len() {
            return Err(self.malformed(NOT_CBOR));
        }
        Ok(())
    }

    /// Reads a map; `read` takes the value of each name.
    pub(crate) fn members(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let announced = self.take(Decoder::map)?;
        self.items(announced, |reader| {
            let name = reader.text_here()?;
            read(reader, &name)
        })
    }

    /// Reads an array; `read` takes each item.
    pub(crate) fn each(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let announced = self.take(Decoder::array)?;
        self.items(announced, read)
    }

    /// Reads a null, where there is one.
    pub(crate) fn null(&mut self) -> Result<bool, Malformed> {
        let null = matches!(self.kind()?, Type::Null | Type::Undefined);
        if null {
            self.step();
        }
        Ok(null)
    }

    /// Reads a text; a null is none.
    pub(crate) fn text(&mut self) -> Result<Option<Cow<'b, str>>, Malformed> {
        if self.null()? {
            return Ok(None);
        }
        self.text_here().map(Some)
    }

    /// Whether a byte string comes next.
    pub(crate) fn has_bytes(&self) -> Result<bool, Malformed> {
        Ok(matches!(self.kind()?, Type::Bytes | Type::BytesIndef))
    }

    /// Reads a byte string. Only one that comes in chunks is copied.
    pub(crate) fn bytes(&mut self) -> Result<Cow<'b, [u8]>, Malformed> {
        if self.kind()? == Type::Bytes {
            return self.take(Decoder::bytes).map(Cow::Borrowed);
        }
        let mut ahead = self.decoder.clone();
        self.take(|decoder| {
            let length = ahead
                .bytes_iter()?
                .try_fold(0, |sum, chunk| chunk.map(|chunk| sum + chunk.len()))?;
            let mut bytes = Vec::with_capacity(length);
            for chunk in decoder.bytes_iter()? {
                bytes.extend_from_slice(chunk?);
            }
            Ok(Cow::Owned(bytes))
        })
    }

    /// Reads past a value.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        while self.kind()? == Type::Tag {
            self.take(Decoder::tag)?;
        }
        match self.kind()? {
            Type::Array | Type::ArrayIndef => self.each(Self::skip),
            Type::Map | Type::MapIndef => {
                let announced = self.take(Decoder::map)?;
                self.items(announced, |reader| {
                    reader.skip()?;
                    reader.skip()
                })
            }
            Type::Break | Type::Unknown(_) => Err(self.malformed(NOT_CBOR)),
            // Of arrays and maps the library's own has no bound.
            _ => self.take(Decoder::skip),
        }
    }

    /// Reads a value as JSON would carry it: a byte string is base64, a moment is seconds.
    fn value(&mut self) -> Result<Value, Malformed> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.malformed("has more than 4,096 values"));
        }
        Ok(match self.kind()? {
            Type::Null | Type::Undefined => {
                self.step();
                Value::Null
            }
            Type::Bool => self.take(Decoder::bool)?.into(),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.take(Decoder::u64)?.into(),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => self.take(Decoder::i64)?.into(),
            // Below all of i64: only that it is negative counts.
            Type::Int => self.take(Decoder::int).map(|_| i64::MIN.into())?,
            Type::F16 | Type::F32 | Type::F64 => self.float()?,
            Type::Bytes | Type::BytesIndef => STANDARD.encode_to_string(self.bytes()?).into(),
            Type::Array | Type::ArrayIndef => {
                let mut list = Vec::new();
                self.each(|reader| reader.value().map(|value| list.push(value)))?;
                list.into()
            }
            Type::Map | Type::MapIndef => self.object()?.into(),
            Type::Tag => self.moment()?,
            _ => self.text_here()?.into(),
        })
    }

    fn object(&mut self) -> Result<Map<String, Value>, Malformed> {
        let mut object = Map::new();
        self.members(|reader, name| {
            let value = reader.value()?;
            object.insert(name.to_owned(), value);
            Ok(())
        })?;
        Ok(object)
    }

    fn float(&mut self) -> Result<Value, Malformed> {
        let number = self.take(Decoder::f64)?;
        let number = Number::from_f64(number).ok_or_else(|| self.malformed(NOT_CBOR))?;
        Ok(number.into())
    }

    /// A tag other than that of moments is not known; a moment that is not whole would be another
    /// time in seconds.
    fn moment(&mut self) -> Result<Value, Malformed> {
        let at = self.decoder.position();
        if self.take(Decoder::tag)? != IanaTag::Timestamp.tag() {
            let what = "has a tag that is not 1";
            return Err(Malformed { at, what });
        }
        let ms = self.take(Decoder::int).map_err(|malformed| Malformed {
            what: "has a moment that is not in whole milliseconds",
            ..malformed
        })?;
        // What lies before the epoch is the epoch.
        Ok(seconds(u64::try_from(ms).unwrap_or(0)))
    }

    fn text_here(&mut self) -> Result<Cow<'b, str>, Malformed> {
        if self.kind()? == Type::String {
            return self.take(Decoder::str).map(Cow::Borrowed);
        }
        let mut ahead = self.decoder.clone();
        self.take(|decoder| {
            let length = ahead
                .str_iter()?
                .try_fold(0, |sum, chunk| chunk.map(|chunk| sum + chunk.len()))?;
            let mut text = String::with_capacity(length);
            for chunk in decoder.str_iter()? {
                text.push_str(chunk?);
            }
            Ok(Cow::Owned(text))
        })
    }

    /// Reads as many items as announced, or up to the break.
    fn items(
        &mut self,
        announced: Option<u64>,
        mut read: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("is nested deeper than 64 levels"));
        }
        self.depth += 1;
        let mut left = announced;
        loop {
            match &mut left {
                Some(0) => break,
                Some(left) => *left -= 1,
                None if self.kind()? == Type::Break => {
                    self.step();
                    break;
                }
                None => {}
            }
            read(self)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn kind(&self) -> Result<Type, Malformed> {
        let kind = self.decoder.datatype();
        kind.map_err(|_| self.malformed(NOT_CBOR))
    }

    /// Steps over a value of one byte.
    fn step(&mut self) {
        self.decoder.set_position(self.decoder.position() + 1);
    }

    fn take<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, Malformed> {
        let malformed = self.malformed(NOT_CBOR);
        read(&mut self.decoder).map_err(|_| malformed)
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        let at = self.decoder.position();
        Malformed { at, what }
    }
}

/// Reads the body of a request as JSON would carry it.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    let mut reader = Reader::new(body);
    let read = match reader.kind() {
        Ok(Type::Map | Type::MapIndef) => reader.object(),
        Ok(_) => Err(reader.malformed("is not a CBOR map")),
        Err(malformed) => Err(malformed),
    };
    read.and_then(|object| reader.end().map(|()| object))
        .map_err(|Malformed { at, what }| {
            Fault::serialization(format!("the request body {what}: see byte {at}"))
        })
}

/// An answer in CBOR.
pub(crate) fn write(answer: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut Encoder::new(&mut body), answer).expect("a vector takes all");
    body
}

fn put(out: &mut Encoder<&mut Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Null => out.null()?,
        Value::Bool(value) => out.bool(*value)?,
        Value::String(text) => out.str(text)?,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => out.u64(number)?,
            (None, Some(number)) => out.i64(number)?,
            (None, None) => out.f64(number.as_f64().unwrap_or(f64::NAN))?,
        },
        Value::Array(list) => {
            out.array(list.len() as u64)?;
            return list.iter().try_for_each(|item| put(out, item));
        }
        Value::Object(object) => {
            out.map(object.len() as u64)?;
            for (name, value) in object {
                out.str(name)?;
                match value.as_f64() {
                    Some(seconds) if MOMENTS.contains(&name.as_str()) => {
                        moment(out, millis(seconds))?;
                    }
                    _ => put(out, value)?,
                }
            }
            return Ok(());
        }
    };
    Ok(())
}

/// Writes a moment, milliseconds since the epoch.
pub(crate) fn moment(out: &mut Encoder<&mut Vec<u8>>, ms: u64) -> Written {
    out.tag(IanaTag::Timestamp)?.u64(ms)?;
    Ok(())
}

/// Writes digits as text.
pub(crate) fn digits(out: &mut Encoder<&mut Vec<u8>>, digits: &[u8]) -> Written {
    debug_assert!(digits.is_ascii());
    out.str_len(digits.len() as u64)?;
    out.writer_mut().extend_from_slice(digits);
    Ok(())
}

#[cfg(test)]
mod tests;
