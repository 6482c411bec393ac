//! Values as text, as jq 1.6 writes them: it knows doubles only, so `1e3` is `1000`, and so are the
//! whole results of a division.

use std::borrow::Cow;

use jaq_json::{Num, Val};

/// Whole numbers below this are written without an exponent.
const PLAIN_MAX: f64 = 1e17;

/// A number as jq 1.6 writes it: as few digits as give it back; "not a number" as null, and the
/// infinities as the largest doubles.
pub(in super::super) fn number(value: f64) -> String {
    if value.is_nan() {
        return "null".to_owned();
    }
    let value = value.clamp(f64::MIN, f64::MAX);
    if value.fract() == 0.0 && value.abs() < PLAIN_MAX {
        return format!("{value:.0}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a whole number");
    let count = i32::try_from(digits.bytes().filter(u8::is_ascii_digit).count())
        .expect("a double has at most 17 digits");
    // Where its decimal point stands; jq's borders, as in its `jv_dtoa.c`.
    let point = exponent + 1;
    if point > -4 && point <= count + 15 {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The number of a value, as a double.
pub(super) fn double(number: &Num) -> f64 {
    match number {
        Num::Float(value) => *value,
        other => other.to_string().parse().unwrap_or(f64::NAN),
    }
}

/// The value as JSON, piece by piece.
pub(in super::super) fn json(value: &Val, put: &mut dyn FnMut(&[u8])) {
    match value {
        Val::Null => put(b"null"),
        Val::Bool(value) => put(if *value { b"true" } else { b"false" }),
        Val::Num(value) => put(number(double(value)).as_bytes()),
        Val::TStr(text) | Val::BStr(text) => quoted(&String::from_utf8_lossy(text), put),
        Val::Arr(items) => {
            put(b"[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    put(b",");
                }
                json(item, put);
            }
            put(b"]");
        }
        Val::Obj(entries) => {
            put(b"{");
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    put(b",");
                }
                json(key, put);
                put(b":");
                json(value, put);
            }
            put(b"}");
        }
    }
}

fn quoted(text: &str, put: &mut dyn FnMut(&[u8])) {
    let quoted = serde_json::to_vec(&Cow::Borrowed(text)).expect("a text into memory");
    put(&quoted);
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_as_jq_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (-7.0, "-7"),
            (1e3, "1000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (12_345_678_909_876_543_212_345.0, "12345678909876543000000"),
            (0.5, "0.5"),
            (-1.5, "-1.5"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "null"),
            (f64::INFINITY, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-1.7976931348623157e+308"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
