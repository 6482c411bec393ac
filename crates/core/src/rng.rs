//! Randomness, handed in: for jitter only, never for anything that an object contains.

/// A source of random numbers, seeded in tests.
pub trait Rng: Send + Sync {
    /// A number from all of u64, evenly.
    fn next(&self) -> u64;

    /// A number below `bound` (0 for a bound of 0), even enough for jitter.
    fn below(&self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}
