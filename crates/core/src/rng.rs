//! Randomness, handed in: for jitter only, never for anything that an object contains. And numbers that
//! follow from a seed, the same on every machine.

/// What a state of `SplitMix64` moves by.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads a state of `SplitMix64` over all bits: not for secrets.
pub fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A source of random numbers, seeded in tests.
pub trait Rng: Send + Sync {
    /// A number from all of u64, evenly.
    fn next(&self) -> u64;

    /// A number below `bound` (0 for a bound of 0), even enough for jitter.
    fn below(&self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}
