//! Single values: which JSON each type takes. Numbers are taken from numeric strings as well, and
//! booleans from `"true"` and `"false"`, as `OpenXJsonSerDe` does.

use super::decimal::{self, Bad, Beyond};
use super::fault::Fault;
use super::json::{Json, Scalar};
use super::schema::Type;
use super::time;

/// What a value is, for a person.
pub(crate) fn name(found: &Result<Scalar<'_>, &'static str>) -> &'static str {
    match found {
        Ok(Scalar::Text(_)) => "a string",
        Ok(Scalar::Number(_)) => "a number",
        Ok(Scalar::Bool(_)) => "a boolean",
        Err(name) => name,
    }
}

/// Appends the text of any value: a string's own, else as it is written.
pub(crate) fn text(
    json: &mut Json<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match json.peek() {
        Some(b'{' | b'[') => out.extend_from_slice(json.raw(scratch)?),
        _ => match json.scalar(scratch)? {
            Ok(Scalar::Text(text) | Scalar::Number(text)) => out.extend_from_slice(text),
            Ok(Scalar::Bool(value)) => {
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Err(found) => return Err(Fault::found("string", found)),
        },
    }
    Ok(())
}

/// Appends what base64 text stands for.
pub(crate) fn binary(
    json: &mut Json<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let found = json.scalar(scratch)?;
    let Ok(Scalar::Text(text)) = found else {
        return Err(Fault::found("base64 text", name(&found)));
    };
    base64_simd::STANDARD
        .decode_append(text, out)
        .map_err(|_| Fault::found("base64 text", "other text"))
}

/// A boolean.
pub(crate) fn boolean(json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Result<bool, Fault> {
    let found = json.scalar(scratch)?;
    match &found {
        Ok(Scalar::Bool(value)) => Ok(*value),
        Ok(Scalar::Text(text)) if text.eq_ignore_ascii_case(b"true") => Ok(true),
        Ok(Scalar::Text(text)) if text.eq_ignore_ascii_case(b"false") => Ok(false),
        Ok(Scalar::Text(_)) => Err(Fault::found("boolean", "other text")),
        _ => Err(Fault::found("boolean", name(&found))),
    }
}

/// An integer of the type's width. One written with an exponent or a fraction of zeros is taken;
/// a fraction is never lost.
pub(crate) fn integer<T: TryFrom<i64>>(
    json: &mut Json<'_>,
    scratch: &mut Vec<u8>,
    of: &Type,
) -> Result<T, Fault> {
    let parse = |text: &[u8]| {
        let value = decimal::integer(text)?;
        T::try_from(value).map_err(|_| Bad::Range)
    };
    number(json, scratch, || of.to_string(), parse)
}

/// A 32-bit float; the nearest.
pub(crate) fn float(json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Result<f32, Fault> {
    number(
        json,
        scratch,
        || "float".into(),
        |text| {
            let value: f32 = plain_number(text)?.parse().map_err(|_| Bad::Syntax)?;
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Bad::Range)
            }
        },
    )
}

/// A 64-bit float; the nearest.
pub(crate) fn double(json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Result<f64, Fault> {
    number(
        json,
        scratch,
        || "double".into(),
        |text| {
            let value: f64 = plain_number(text)?.parse().map_err(|_| Bad::Syntax)?;
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Bad::Range)
            }
        },
    )
}

/// Text without the words that `parse` of a float knows, such as `inf`.
fn plain_number(text: &[u8]) -> Result<&str, Bad> {
    let plain = text
        .iter()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?;
    if plain { Ok(text) } else { Err(Bad::Syntax) }
}

/// A decimal, rounded half away from zero to its scale.
pub(crate) fn decimal(
    json: &mut Json<'_>,
    scratch: &mut Vec<u8>,
    precision: u8,
    scale: u8,
) -> Result<i128, Fault> {
    let expected = || format!("decimal({precision},{scale})");
    number(json, scratch, expected, |text| {
        let value = decimal::parse(text, scale, Beyond::Round)?;
        if value.unsigned_abs() < 10_u128.pow(precision.into()) {
            Ok(value)
        } else {
            Err(Bad::Range)
        }
    })
}

/// A date.
pub(crate) fn date(json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Result<i32, Fault> {
    const EXPECTED: &str = "a date as yyyy-MM-dd";
    let found = json.scalar(scratch)?;
    let Ok(Scalar::Text(text)) = found else {
        return Err(Fault::found(EXPECTED, name(&found)));
    };
    time::date(text).ok_or_else(|| Fault::found(EXPECTED, "other text"))
}

/// A timestamp.
pub(crate) fn timestamp(json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Result<i64, Fault> {
    const EXPECTED: &str = "a time as yyyy-MM-ddTHH:mm:ssZ or a number since 1970";
    let found = json.scalar(scratch)?;
    match &found {
        Ok(Scalar::Text(text)) => {
            time::instant(text).ok_or_else(|| Fault::found(EXPECTED, "other text"))
        }
        Ok(Scalar::Number(text)) => time::number(text)
            .ok_or_else(|| Fault::unfit("the value is out of the range of timestamp")),
        _ => Err(Fault::found(EXPECTED, name(&found))),
    }
}

fn number<T>(
    json: &mut Json<'_>,
    scratch: &mut Vec<u8>,
    expected: impl Fn() -> String,
    parse: impl Fn(&[u8]) -> Result<T, Bad>,
) -> Result<T, Fault> {
    let found = json.scalar(scratch)?;
    let Ok(Scalar::Text(text) | Scalar::Number(text)) = &found else {
        return Err(Fault::found(&expected(), name(&found)));
    };
    parse(text).map_err(|bad| match bad {
        Bad::Syntax => Fault::found(&expected(), "other text"),
        Bad::Range => Fault::unfit(format!("the value is out of the range of {}", expected())),
        Bad::Fraction => Fault::unfit(format!("the value has a fraction, {} has none", expected())),
    })
}
