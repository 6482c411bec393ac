//! Sequence numbers as Kinesis lays them out (version 2), made from a shard and an LSN.
//!
//! 186 bits, 47 hex digits, most significant first:
//!
//! | hex digits | meaning |
//! | --- | --- |
//! | 0 | constant 2 |
//! | 1-9 | creation of the shard, epoch seconds |
//! | 10 | low nibble of the shard's index |
//! | 11-26 | sequence index: here the LSN, which begins at 1; 0 is the starting number |
//! | 27-28 | 0 |
//! | 29-37 | arrival of the record, epoch seconds |
//! | 38-45 | index of the shard |
//! | 46 | version, 2 |
//!
//! The index decides the order, since everything above it is fixed within a shard; neighbours in
//! one frame of the log (one arrival) lie [`STRIDE`] apart. So LSN and position are arithmetic.

use hydrant_core::Position;

/// Distance of the numbers of two neighbouring LSNs that arrived in the same second.
pub const STRIDE: u128 = 1 << 80;

/// The index of a closed shard's ending number, and the largest there is.
pub const LAST_INDEX: u64 = i64::MAX as u64;

/// Largest value of the 36 bits that hold seconds.
const SECONDS_MAX: u64 = (1 << 36) - 1;

/// Seconds at and above this are refused in numbers that clients give (as Kinesis does).
const SECONDS_REFUSED: u64 = 16_025_175_000;

/// The numbers of one shard: all that is fixed in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardNumbers {
    /// Creation of the shard, epoch seconds.
    pub created_s: u64,
    /// Index of the shard.
    pub shard: u32,
}

/// What a sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Creation of the shard, epoch seconds.
    pub created_s: u64,
    /// Index of the shard.
    pub shard: u32,
    /// Sequence index: the LSN, or 0 in a starting number.
    pub index: u64,
    /// Arrival of the record, epoch seconds.
    pub time_s: u64,
}

impl ShardNumbers {
    /// The number of this index that arrived at `time_s` (epoch seconds).
    pub fn position(self, index: u64, time_s: u64) -> Position {
        let high = 2 << 56
            | self.created_s.min(SECONDS_MAX) << 20
            | u64::from(self.shard & 0xf) << 16
            | index.min(LAST_INDEX) >> 48;
        let low = u128::from(index.min(LAST_INDEX)) << 80
            | u128::from(time_s.min(SECONDS_MAX)) << 36
            | u128::from(self.shard) << 4
            | 2;
        let mut sequence = [0; 24];
        sequence[..8].copy_from_slice(&high.to_be_bytes());
        sequence[8..].copy_from_slice(&low.to_be_bytes());
        Position::new(sequence, 0)
    }

    /// The number of the record with this LSN.
    pub fn of_lsn(self, lsn: u64, arrival_ms: u64) -> Position {
        self.position(lsn, arrival_ms / 1000)
    }

    /// The starting number of the shard: below all its records.
    pub fn starting(self) -> Position {
        self.position(0, self.created_s)
    }

    /// The ending number of the shard, closed at `time_s`: above all its records.
    pub fn ending(self, time_s: u64) -> Position {
        self.position(LAST_INDEX, time_s)
    }

    /// Whether a number is of this shard in this incarnation of its stream.
    pub fn owns(self, parts: Parts) -> bool {
        parts.created_s == self.created_s && parts.shard == self.shard
    }
}

impl Parts {
    /// Takes a position apart; `None` where it is not a number of version 2.
    pub fn of(position: &Position) -> Option<Self> {
        let sequence = position.sequence();
        let (mut high, mut low) = ([0; 8], [0; 16]);
        high.copy_from_slice(&sequence[..8]);
        low.copy_from_slice(&sequence[8..]);
        let (high, low) = (u64::from_be_bytes(high), u128::from_be_bytes(low));
        let bits = |from: u32, width: u32| {
            u64::try_from(low >> from & ((1 << width) - 1)).unwrap_or(u64::MAX)
        };
        let parts = Self {
            created_s: high >> 20 & SECONDS_MAX,
            shard: u32::try_from(bits(4, 32)).ok()?,
            index: (high & 0xffff) << 48 | bits(80, 48),
            time_s: bits(36, 36),
        };
        let nibble = u32::try_from(high >> 16 & 0xf).ok()?;
        let fits = high >> 56 == 2
            && bits(0, 4) == 2
            && bits(72, 8) == 0
            && nibble == parts.shard & 0xf
            && parts.index <= LAST_INDEX
            && parts.time_s < SECONDS_REFUSED
            && parts.created_s < SECONDS_REFUSED
            && i32::try_from(parts.shard).is_ok();
        fits.then_some(parts)
    }

    /// Reads a decimal number (`0`, or digits that do not begin with 0).
    pub fn from_decimal(text: &str) -> Option<Self> {
        if text.len() > 1 && text.starts_with('0') {
            return None;
        }
        Self::of(&Position::from_decimal(text)?)
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::Position;

    use super::{LAST_INDEX, Parts, STRIDE, ShardNumbers};

    /// kinesis.md 1.1, a number that Kinesis gave out.
    const REAL: &str = "49571904859951697672938815047093113543517771024281110226";

    #[test]
    fn a_real_number_comes_apart_and_together() {
        let parts = Parts::from_decimal(REAL).expect("a number of version 2");
        assert_eq!(
            parts,
            Parts {
                created_s: 1_491_114_835,
                shard: 109,
                index: 496_846_253,
                time_s: 1_491_339_757,
            }
        );
        let numbers = ShardNumbers {
            created_s: parts.created_s,
            shard: parts.shard,
        };
        assert!(numbers.owns(parts));
        assert_eq!(
            numbers.position(parts.index, parts.time_s).to_decimal(),
            REAL
        );
    }

    #[test]
    fn neighbours_lie_a_stride_apart_and_the_index_decides() {
        let numbers = ShardNumbers {
            created_s: 1_700_000_000,
            shard: 3,
        };
        let first = numbers.of_lsn(41, 1_700_000_123_456);
        assert_eq!(
            first.advance(STRIDE, 7),
            numbers.of_lsn(48, 1_700_000_123_999)
        );
        let carried = numbers.of_lsn((1 << 48) - 2, 5_000);
        assert_eq!(
            carried.advance(STRIDE, 1),
            numbers.of_lsn((1 << 48) - 1, 5_000)
        );
        assert!(numbers.of_lsn(1, 9_000) < numbers.of_lsn(2, 1_000));
        assert!(numbers.starting() < numbers.of_lsn(1, 0));
        assert!(numbers.of_lsn(LAST_INDEX - 1, u64::MAX) < numbers.ending(0));
        let parts = Parts::of(&numbers.of_lsn(41, 1_700_000_123_456)).expect("ours");
        assert_eq!((parts.index, parts.time_s), (41, 1_700_000_123));
    }

    #[test]
    fn what_is_not_a_number_of_version_2_is_refused() {
        let zero_first = format!("0{REAL}");
        for bad in [
            "",
            "0",
            "1",
            "abc",
            zero_first.as_str(),
            "49571904859951697672938815047",
        ] {
            assert_eq!(Parts::from_decimal(bad), None, "{bad}");
        }
        let numbers = ShardNumbers {
            created_s: 16_025_175_000,
            shard: 0,
        };
        assert_eq!(Parts::of(&numbers.starting()), None, "seconds out of range");
        let negative = ShardNumbers {
            created_s: 1,
            shard: u32::MAX,
        };
        assert_eq!(Parts::of(&negative.starting()), None, "shard above 2^31");
        assert_eq!(Parts::of(&Position::END), None);
    }
}
