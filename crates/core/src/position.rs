//! Where a record stands in its lane: fixed width, ordered as bytes.
//!
//! A position is 32 bytes, big-endian, so that comparing bytes compares positions: 24 bytes for the
//! sequence number (Kinesis: 186 bits; a log's LSN; a Kafka offset; file and byte offset), then 8
//! bytes for the sub-sequence (the index inside a KPL aggregate, else 0).

use std::fmt;

use crate::decimal::Decimals;

/// Bytes of the sequence part.
const SEQUENCE_BYTES: usize = 24;

/// A place in a lane. Orders as the lane does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position([u8; 32]);

impl Position {
    /// Before every record of every lane: what a lane that has delivered nothing is at.
    pub const START: Self = Self([0; 32]);
    /// After every record of every lane.
    pub const END: Self = Self([0xff; 32]);

    /// Builds a position from a sequence number's 24 big-endian bytes and a sub-sequence.
    pub fn new(sequence: [u8; SEQUENCE_BYTES], sub: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..SEQUENCE_BYTES].copy_from_slice(&sequence);
        bytes[SEQUENCE_BYTES..].copy_from_slice(&sub.to_be_bytes());
        Self(bytes)
    }

    /// Builds a position from a sequence number that fits 64 bits (an LSN, an offset).
    pub fn from_u64(sequence: u64) -> Self {
        let mut bytes = [0; SEQUENCE_BYTES];
        bytes[16..].copy_from_slice(&sequence.to_be_bytes());
        Self::new(bytes, 0)
    }

    /// The same 32 bytes that [`Position::as_bytes`] gives.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, big-endian.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The sequence number's 24 bytes, big-endian.
    pub fn sequence(&self) -> [u8; SEQUENCE_BYTES] {
        let mut sequence = [0; SEQUENCE_BYTES];
        sequence.copy_from_slice(&self.0[..SEQUENCE_BYTES]);
        sequence
    }

    /// The low 64 bits of the sequence number: the whole of it where it was made by `from_u64`.
    pub fn sequence_u64(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[16..SEQUENCE_BYTES]);
        u64::from_be_bytes(low)
    }

    /// The sub-sequence: the index inside an aggregate, else 0.
    pub fn sub_sequence(&self) -> u64 {
        let mut sub = [0; 8];
        sub.copy_from_slice(&self.0[SEQUENCE_BYTES..]);
        u64::from_be_bytes(sub)
    }

    /// Whether both came in one source record, so that no cut may stand between them.
    pub fn same_sequence(&self, other: &Self) -> bool {
        self.0[..SEQUENCE_BYTES] == other.0[..SEQUENCE_BYTES]
    }

    /// The position of the same sequence number with another sub-sequence.
    #[must_use]
    pub fn with_sub(&self, sub: u64) -> Self {
        Self::new(self.sequence(), sub)
    }

    /// The position `steps` times `stride` further in the sequence part, sub-sequence kept. Wraps
    /// at 192 bits, which no real sequence number reaches (Kinesis uses 186).
    #[must_use]
    pub fn advance(&self, stride: u128, steps: u64) -> Self {
        let (high, low) = self.split();
        // stride * steps as 192 bits: stride is below 2^128 and steps below 2^64.
        let low_product = (stride & u128::from(u64::MAX)) * u128::from(steps);
        let high_product = (stride >> 64) * u128::from(steps);
        let (sum, carry_a) = low.overflowing_add(low_product);
        let (sum, carry_b) = sum.overflowing_add(high_product << 64);
        let high = high
            .wrapping_add(u64::try_from(high_product >> 64).unwrap_or(u64::MAX))
            .wrapping_add(u64::from(carry_a))
            .wrapping_add(u64::from(carry_b));
        let mut sequence = [0; SEQUENCE_BYTES];
        sequence[..8].copy_from_slice(&high.to_be_bytes());
        sequence[8..].copy_from_slice(&sum.to_be_bytes());
        Self::new(sequence, self.sub_sequence())
    }

    /// How far its sequence number is above another's; `None` where it is below, or 2^128 away.
    pub fn sequence_above(&self, other: &Self) -> Option<u128> {
        let ((high, low), (other_high, other_low)) = (self.split(), other.split());
        let (apart, borrow) = low.overflowing_sub(other_low);
        let high = high.checked_sub(other_high)?.checked_sub(u64::from(borrow));
        (high? == 0).then_some(apart)
    }

    fn split(&self) -> (u64, u128) {
        let (mut high, mut low) = ([0; 8], [0; 16]);
        high.copy_from_slice(&self.0[..8]);
        low.copy_from_slice(&self.0[8..SEQUENCE_BYTES]);
        (u64::from_be_bytes(high), u128::from_be_bytes(low))
    }

    /// The sequence number in decimal, as Kinesis prints it, and `.sub` where that is not 0.
    pub fn to_decimal(&self) -> String {
        let mut text = Vec::with_capacity(58);
        Decimals::new(0).push(*self, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Reads a decimal sequence number (sub-sequence 0). `None` where it is not one of 192 bits.
    pub fn from_decimal(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 58 {
            return None;
        }
        let mut limbs = [0_u64; 6];
        for byte in text.bytes() {
            let mut carry = u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
            for limb in limbs.iter_mut().rev() {
                let value = *limb * 10 + carry;
                *limb = value & 0xffff_ffff;
                carry = value >> 32;
            }
            if carry != 0 {
                return None;
            }
        }
        let mut sequence = [0; SEQUENCE_BYTES];
        for (bytes, limb) in sequence.chunks_mut(4).zip(limbs) {
            bytes.copy_from_slice(&limb.to_be_bytes()[4..]);
        }
        Some(Self::new(sequence, 0))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub_sequence() {
            0 => f.write_str(&self.to_decimal()),
            sub => write!(f, "{}.{sub}", self.to_decimal()),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn orders_as_numbers_do_and_sub_sequence_last() {
        assert!(Position::from_u64(255) < Position::from_u64(256));
        assert!(Position::from_u64(1).with_sub(9) < Position::from_u64(2));
        assert!(Position::START < Position::from_u64(0).with_sub(1));
        assert!(Position::from_u64(u64::MAX).with_sub(u64::MAX) < Position::END);
    }

    #[test]
    fn decimal_round_trip_of_a_real_sequence_number() {
        // kinesis.md 1.1
        let text = "49571904859951697672938815047093113543517771024281110226";
        let position = Position::from_decimal(text).expect("a number of 186 bits");
        assert_eq!(position.to_decimal(), text);
        assert_eq!(Position::from_decimal("0"), Some(Position::START));
        assert_eq!(Position::START.to_decimal(), "0");
        for text in [
            "1000000000",
            "1000000000000000001",
            "999999999",
            "18446744073709551616",
        ] {
            assert_eq!(
                Position::from_decimal(text)
                    .map(|p| p.to_decimal())
                    .as_deref(),
                Some(text)
            );
        }
        for bad in ["", "-1", "1a", &"9".repeat(58), &"9".repeat(80)] {
            assert_eq!(Position::from_decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn advance_carries_across_both_borders() {
        let start = Position::from_u64(u64::MAX);
        assert_eq!(start.advance(1, 1).to_decimal(), "18446744073709551616");
        let stride = 1_u128 << 80;
        let far = Position::from_u64(5).advance(stride, u64::MAX);
        let mut step = Position::from_u64(5);
        for _ in 0..3 {
            step = step.advance(stride, 1);
        }
        assert_eq!(step, Position::from_u64(5).advance(stride, 3));
        assert!(far > step);
        assert_eq!(
            Position::from_u64(7).with_sub(3).advance(1, 2),
            Position::from_u64(9).with_sub(3)
        );
    }
}
