//! What a guest with WASI sees of the world: a clock that stands at the arrival of the call's first
//! record, and random numbers that follow from the call. So a redo sees the same.

use hydrant_core::rng::{STEP, mix};
use hydrant_core::{Digest, Records};

use super::limits::truncated;

/// Bytes that are kept of what a guest writes to its standard error: its end counts, as tracebacks
/// say last what happened.
pub(super) const STDERR_MAX_BYTES: usize = 64 << 10;
/// What the monotonic clock shows first: Go's runtime takes 0 for a broken clock, and ends.
pub(super) const MONOTONIC_START_NS: u64 = 1_000_000_000;
/// Bytes of it that an error object gets.
const LAST_WORDS_BYTES: usize = 512;

/// The world of one call.
#[derive(Default)]
pub(super) struct World {
    arrival_ms: u64,
    /// Time that the guest has slept; nothing else takes time in there.
    pub(super) slept_ns: u64,
    random: u64,
    stderr: Vec<u8>,
}

impl World {
    /// The world of a call for these records of a batch.
    pub(super) fn of(batch: &Records, first: usize, count: usize) -> Self {
        let arrival_ms = batch.arrival_ms(first);
        let seed = Digest::of_parts(&[
            batch.position(first).as_bytes(),
            &arrival_ms.to_le_bytes(),
            &(count as u64).to_le_bytes(),
        ]);
        let mut random = [0; 8];
        random.copy_from_slice(&seed.as_bytes()[..8]);
        Self {
            arrival_ms,
            random: u64::from_le_bytes(random),
            ..Self::default()
        }
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub(super) fn wall_ns(&self) -> u64 {
        self.arrival_ms
            .saturating_mul(1_000_000)
            .saturating_add(self.slept_ns)
    }

    /// Nanoseconds since a moment before the call.
    pub(super) fn monotonic_ns(&self) -> u64 {
        MONOTONIC_START_NS.saturating_add(self.slept_ns)
    }

    /// The next random number: splitmix64, which is not for secrets.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(STEP);
        mix(self.random)
    }

    /// Fills a buffer with random bytes.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let random = self.random().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    /// Takes what the guest writes to its standard error.
    pub(super) fn write_stderr(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_MAX_BYTES)..];
        self.stderr.extend_from_slice(bytes);
        if self.stderr.len() > 2 * STDERR_MAX_BYTES {
            self.stderr.drain(..self.stderr.len() - STDERR_MAX_BYTES);
        }
    }

    /// Hands over the lines written so far, for the log of a call that went well.
    pub(super) fn take_stderr(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.stderr).into_owned();
        self.stderr.clear();
        text
    }

    /// The last lines that were written, for the error output.
    pub(super) fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stderr);
        let mut lines: Vec<&str> = Vec::new();
        let mut left = LAST_WORDS_BYTES;
        for line in text.lines().rev() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if line.len() > left {
                if lines.is_empty() {
                    lines.push(truncated(line, left));
                }
                break;
            }
            left -= line.len();
            lines.push(line);
        }
        lines.reverse();
        (!lines.is_empty()).then(|| lines.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::{Position, RecordsBuilder};

    use super::World;

    #[test]
    fn a_call_done_again_sees_the_same_world() {
        let mut batch = RecordsBuilder::default();
        for i in 0..4 {
            batch.push(Position::from_u64(i), 1_000 + i, b"", b"x");
        }
        let batch = batch.build();
        let world = |first, count| {
            let mut world = World::of(&batch, first, count);
            let mut bytes = [0; 11];
            world.fill(&mut bytes);
            (world.wall_ns(), bytes)
        };
        assert_eq!(world(2, 2), world(2, 2));
        assert_eq!(world(2, 2).0, 1_002_000_000);
        assert_ne!(world(2, 2).1, world(2, 1).1);
        assert_ne!(world(2, 2).1, world(1, 2).1);
    }

    #[test]
    fn the_last_words_are_the_last_lines() {
        let mut world = World::default();
        assert_eq!(world.last_words(), None);
        world.write_stderr("x".repeat(600).as_bytes());
        world.write_stderr(b"\nTraceback:\n\n  ValueError: no\n");
        assert_eq!(
            world.last_words().as_deref(),
            Some("Traceback: | ValueError: no")
        );
        world.write_stderr("y".repeat(600).as_bytes());
        assert_eq!(world.last_words(), Some("y".repeat(512)));
        world.write_stderr(&vec![b'z'; 1 << 20]);
        assert!(
            world.stderr.capacity() <= 256 << 10,
            "no more is ever taken"
        );
        assert!(world.take_stderr().len() <= 128 << 10);
    }
}
