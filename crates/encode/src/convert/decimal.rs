//! Decimal text to integers, exactly. Takes `-12.5e3` and its like; gives the value times a power
//! of ten.

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is no number.
    Syntax,
    /// It is too large.
    Range,
    /// It has a fraction where none may be.
    Fraction,
}

/// What becomes of digits beyond the scale.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// They round, half away from zero, as Hive does.
    Round,
    /// They must be zeros.
    Refuse,
}

/// Digits of an `i128` that are sure to fit.
const MAX_DIGITS: i64 = 38;

/// An exponent beyond this makes any number of a record zero or too large.
const MAX_EXPONENT: i64 = 1 << 40;

/// The value of `text` times ten to the `scale`.
pub(crate) fn parse(text: &[u8], scale: u8, beyond: Beyond) -> Result<i128, Bad> {
    let (negative, rest) = sign(text);
    let split = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match split {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if whole.is_empty() || !all_digits || (point.is_some() && fraction.is_empty()) {
        return Err(Bad::Syntax);
    }
    let mut digits = whole
        .iter()
        .chain(fraction)
        .map(|byte| byte - b'0')
        .skip_while(|digit| *digit == 0);
    let count = signed(digits.clone().count());
    if count == 0 {
        return Ok(0);
    }
    // So many of the digits, padded with zeros, are the value; what follows is beyond the scale.
    let keep = count + exponent + i64::from(scale) - signed(fraction.len());
    if keep > MAX_DIGITS {
        return Err(Bad::Range);
    }
    let mut value = 0_i128;
    for _ in 0..keep {
        value = value * 10 + i128::from(digits.next().unwrap_or(0));
    }
    if beyond == Beyond::Round {
        let up = keep >= 0 && digits.next().is_some_and(|digit| digit >= 5);
        value += i128::from(up);
    } else if digits.any(|digit| digit != 0) {
        return Err(Bad::Fraction);
    }
    Ok(if negative { -value } else { value })
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("a record fits memory")
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn exponent(text: &[u8]) -> Result<i64, Bad> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Syntax);
    }
    let add = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(MAX_EXPONENT);
    let value = digits.iter().fold(0, add);
    Ok(if negative { -value } else { value })
}

/// The integer of `text`, which may be written with an exponent or a fraction of zeros.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Bad> {
    let (negative, digits) = sign(text);
    // 18 digits cannot overflow.
    if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        let value = digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        return Ok(if negative { -value } else { value });
    }
    let value = parse(text, 0, Beyond::Refuse)?;
    i64::try_from(value).map_err(|_| Bad::Range)
}

#[cfg(test)]
mod tests {
    use super::{Bad, Beyond, integer, parse};

    #[test]
    fn decimals_are_exact_and_round_half_away_from_zero() {
        for (text, scale, value) in [
            ("0", 2, 0),
            ("-0.0", 2, 0),
            ("1.5", 2, 150),
            ("1.005", 2, 101),
            ("-1.005", 2, -101),
            ("1.0049999", 2, 100),
            ("0.004", 2, 0),
            ("0.005", 2, 1),
            ("0.0005", 2, 0),
            ("0.05", 0, 0),
            ("0.5", 0, 1),
            ("5e-1", 0, 1),
            ("1e-999999999999999999999", 2, 0),
            ("12.5e3", 1, 125_000),
            ("00012", 0, 12),
            ("+7", 0, 7),
            ("0e999999999999", 0, 0),
            (
                "99999999999999999999999999999999999999",
                0,
                99_999_999_999_999_999_999_999_999_999_999_999_999,
            ),
            ("0.30000000000000004", 2, 30),
        ] {
            assert_eq!(
                parse(text.as_bytes(), scale, Beyond::Round),
                Ok(value),
                "{text}"
            );
        }
    }

    #[test]
    fn integers_know_their_bounds() {
        assert_eq!(integer(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer(b"9223372036854775808"), Err(Bad::Range));
        assert_eq!(integer(b"1e40"), Err(Bad::Range));
        assert_eq!(integer(b"1.50e1"), Ok(15));
        assert_eq!(integer(b"1.5"), Err(Bad::Fraction));
        for text in [
            "", "-", "x", "1x", ".5", "5.", "1e", "--1", "1 ", "0x10", "NaN",
        ] {
            assert_eq!(integer(text.as_bytes()), Err(Bad::Syntax), "{text}");
        }
    }
}
