//! Reads JSON as a value of jaq, and spends for it while it is built.

use std::fmt;

use jaq_json::{Map, Num, Val};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::meter::Meter;

/// Whole numbers below this are the same as a double and as an integer.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads one JSON value, nested at most 128 deep.
pub(super) fn json(text: &[u8], meter: &Meter) -> Result<Val, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Read(meter).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Read<'m>(&'m Meter);

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Val, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Val, E> {
        self.0.build_leaf();
        Ok(Val::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Val, E> {
        self.0.build_leaf();
        Ok(Val::Num(Num::from_integral(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Val, E> {
        self.0.build_leaf();
        Ok(Val::Num(Num::from_integral(value)))
    }

    /// jq knows doubles only: `1e3` is an index, as `1000` is.
    fn visit_f64<E>(self, value: f64) -> Result<Val, E> {
        self.0.build_leaf();
        // Which is no integer, and is written as `-0`.
        let is_negative_zero = value == 0.0 && value.is_sign_negative();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole, and small enough"
        )]
        let number = if value.abs() < WHOLE_MAX && value.fract() == 0.0 && !is_negative_zero {
            Num::from_integral(value as i64)
        } else {
            Num::Float(value)
        };
        Ok(Val::Num(number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Val, E> {
        self.0.build_text(value.len());
        Ok(Val::utf8_str(value.as_bytes().to_vec()))
    }

    fn visit_unit<E>(self) -> Result<Val, E> {
        self.0.build_leaf();
        Ok(Val::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        self.0.build_array();
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into_iter().collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Val, A::Error> {
        self.0.build_object();
        let mut object = Map::default();
        while let Some(name) = members.next_key_seed(self)? {
            self.0.build_member();
            object.insert(name, members.next_value_seed(self)?);
        }
        Ok(Val::obj(object))
    }
}
