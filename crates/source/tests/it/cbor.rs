//! The fake's bodies as Kinesis writes them in CBOR: of indefinite length, data as bytes, times as
//! whole milliseconds.

use std::convert::Infallible;

use minicbor::data::{Tag, Type};
use minicbor::encode::Error;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Value};

/// The JSON of a request.
pub(crate) fn to_json(body: &[u8]) -> Value {
    let mut decoder = Decoder::new(body);
    let members = decoder.map().unwrap().unwrap();
    let mut map = Map::new();
    for _ in 0..members {
        let name = decoder.str().unwrap().to_owned();
        let value = match decoder.datatype().unwrap() {
            Type::String => decoder.str().unwrap().into(),
            _ => decoder.i64().unwrap().into(),
        };
        map.insert(name, value);
    }
    map.into()
}

/// The CBOR of an answer.
pub(crate) fn from_json(value: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    write("", value, &mut Encoder::new(&mut body)).unwrap();
    body
}

fn write(
    name: &str,
    value: &Value,
    encoder: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), Error<Infallible>> {
    match value {
        Value::Object(map) => {
            encoder.begin_map()?;
            for (name, value) in map {
                encoder.str(name)?;
                write(name, value, encoder)?;
            }
            encoder.end()?;
        }
        Value::Array(list) => {
            encoder.begin_array()?;
            for value in list {
                write("", value, encoder)?;
            }
            encoder.end()?;
        }
        Value::String(text) if name == "Data" => {
            let data = base64_simd::STANDARD.decode_to_vec(text).unwrap();
            encoder.bytes(&data)?;
        }
        Value::Number(seconds) if name.ends_with("Timestamp") => {
            let ms = std::time::Duration::from_secs_f64(seconds.as_f64().unwrap()).as_millis();
            encoder.tag(Tag::new(1))?.u64(u64::try_from(ms).unwrap())?;
        }
        Value::String(text) => drop(encoder.str(text)?),
        Value::Number(number) => drop(encoder.i64(number.as_i64().unwrap())?),
        Value::Bool(value) => drop(encoder.bool(*value)?),
        Value::Null => drop(encoder.null()?),
    }
    Ok(())
}
