//! Bodies of fuzz targets: run over a checked-in corpus as tests, and by `cargo xtask fuzz`.

use crate::intent::{Intent, OVERRUNS_FULL};

/// Reads a stored intent. One that is understood is written and read back.
///
/// # Panics
/// Where any of this is not so.
pub fn intent(bytes: &[u8]) {
    match Intent::decode(bytes) {
        Ok(read) => match read.encode() {
            Ok(written) => assert_eq!(Intent::decode(&written).ok(), Some(read)),
            Err(_) => assert!(read.overruns.len() > OVERRUNS_FULL),
        },
        Err(error) => assert!(error.to_string().contains("a stored intent ")),
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::{Digest, Position};
    use hydrant_testkit::corpus;

    use crate::intent::{Intent, StageCall};

    fn seed(overruns: u32) -> Vec<u8> {
        let call = |i| StageCall {
            batch: i,
            stage: 1,
            first: 1000 * i,
            count: 7,
        };
        let intent = Intent {
            cut: Position::from_u64(7).with_sub(3),
            version: Digest::of(b"v"),
            generation: 3,
            at_ms: 1_700_000_000_345,
            overruns: (0..overruns).map(call).collect(),
            first: (overruns > 0).then(|| Position::from_u64(5)),
            object_ms: (overruns > 0).then_some(1_700_000_000_123),
        };
        intent.encode().expect("it is short").to_vec()
    }

    #[test]
    fn the_corpus_of_intents() {
        let seeds = [("plain", seed(0)), ("overruns", seed(40))];
        corpus::run("intent", &seeds, super::intent);
    }
}
