//! Moments as JSON carries them: seconds since the epoch with a fraction.

use serde_json::Value;

/// Milliseconds since the epoch as seconds with a fraction.
pub(crate) fn seconds(ms: u64) -> Value {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Into::into)
}

/// Seconds to whole milliseconds; what is negative is 0, what is too large the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, as wanted"
)]
pub(crate) fn millis(seconds: f64) -> u64 {
    // Half a microsecond more, so that 0.123 is 123 ms although no float is exactly that.
    (seconds * 1000.0 + 0.000_5) as u64
}

#[cfg(test)]
mod tests {
    use super::{millis, seconds};

    #[test]
    fn there_and_back() {
        for ms in [0, 1, 999, 1_000, 1_700_000_000_123, 253_402_300_799_999] {
            assert_eq!(seconds(ms).as_f64().map(millis), Some(ms));
        }
        assert_eq!((millis(-1.0), millis(1e300)), (0, u64::MAX));
    }
}
