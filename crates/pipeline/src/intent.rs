//! The intent: the durable record of a range's cut and of every decision about it that its records
//! do not give. Written before anything of the range becomes visible (invariants I3 and I14).
//!
//! CBOR map: 0 format version, 1 cut (32 bytes), 2 version digest (32 bytes), 3 generation,
//! 4 `at_ms`, 5 overruns, 6 first (32 bytes), 7 `object_ms`; the last two may be absent.

use bytes::Bytes;
use hydrant_core::outcomes::Call;
use hydrant_core::state::INTENT_MAX_BYTES;
use hydrant_core::{Digest, Position};
use minicbor::bytes::ByteArray;

use crate::error::LaneError;

/// The only format there is so far; another one is refused, never guessed.
const FORMAT: u8 = 1;
/// A range with so many overruns is sealed, so that its intent stays below the limit: each takes
/// at most 16 bytes.
pub(crate) const OVERRUNS_FULL: usize = 200;

/// A guest call of a range that ran out of time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode,
)]
pub struct StageCall {
    /// Index of the micro-batch in the range.
    #[n(0)]
    pub batch: u32,
    /// Index of the transform among the stream's transforms.
    #[n(1)]
    pub stage: u8,
    /// First record of the call, in what that transform saw of the micro-batch.
    #[n(2)]
    pub first: u32,
    /// Number of its records.
    #[n(3)]
    pub count: u32,
}

impl StageCall {
    pub(crate) fn call(self) -> Call {
        Call {
            first: self.first,
            count: self.count,
        }
    }
}

/// See the module's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Position of the last record of the range.
    pub cut: Position,
    /// The version that the range is rendered with, by whoever.
    pub version: Digest,
    /// The lane's generation when the range opened.
    pub generation: u64,
    /// Wall clock when the range opened: the times inside its error objects.
    pub at_ms: u64,
    /// Calls that ran out of time, in order.
    pub overruns: Vec<StageCall>,
    /// Position of the first record of the range, of which its names are made: whoever redoes it
    /// sees by this whether the source still has its beginning. Absent in those of early builds.
    pub first: Option<Position>,
    /// The arrival that is in the key of the object without partition keys, if there is one: the
    /// key stays the same where the record that it came from is lost.
    pub object_ms: Option<u64>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct Wire {
    #[n(0)]
    format: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    cut: [u8; 32],
    #[cbor(n(2), with = "minicbor::bytes")]
    version: [u8; 32],
    #[n(3)]
    generation: u64,
    #[n(4)]
    at_ms: u64,
    #[n(5)]
    overruns: Vec<StageCall>,
    #[n(6)]
    first: Option<ByteArray<32>>,
    #[n(7)]
    object_ms: Option<u64>,
}

impl Intent {
    /// The encoded form, at most [`INTENT_MAX_BYTES`] long.
    ///
    /// # Errors
    /// Where it would be longer: ranges are sealed before that.
    pub fn encode(&self) -> Result<Bytes, LaneError> {
        let wire = Wire {
            format: FORMAT,
            cut: *self.cut.as_bytes(),
            version: *self.version.as_bytes(),
            generation: self.generation,
            at_ms: self.at_ms,
            overruns: self.overruns.clone(),
            first: self.first.map(|first| (*first.as_bytes()).into()),
            object_ms: self.object_ms,
        };
        let bytes = minicbor::to_vec(&wire).map_err(|error| {
            LaneError::Invariant(format!("an intent cannot be encoded: {error}"))
        })?;
        if bytes.len() > INTENT_MAX_BYTES {
            let text = format!(
                "an intent has {} bytes, limit {INTENT_MAX_BYTES}",
                bytes.len()
            );
            return Err(LaneError::Invariant(text));
        }
        Ok(bytes.into())
    }

    /// Reads the encoded form.
    ///
    /// # Errors
    /// Where it is not an intent, or one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, LaneError> {
        let refuse = |why: String| LaneError::Invariant(format!("a stored intent {why}"));
        let wire: Wire =
            minicbor::decode(bytes).map_err(|error| refuse(format!("is unreadable: {error}")))?;
        if wire.format != FORMAT {
            return Err(refuse(format!(
                "has format {}, known is {FORMAT}",
                wire.format
            )));
        }
        Ok(Self {
            cut: Position::from_bytes(wire.cut),
            version: Digest::from_bytes(wire.version),
            generation: wire.generation,
            at_ms: wire.at_ms,
            overruns: wire.overruns,
            first: wire.first.map(|first| Position::from_bytes(first.into())),
            object_ms: wire.object_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::state::INTENT_MAX_BYTES;
    use hydrant_core::{Digest, Position};

    use super::{Intent, OVERRUNS_FULL, StageCall};

    fn intent(overruns: usize) -> Intent {
        let call = StageCall {
            batch: u32::MAX,
            stage: 255,
            first: u32::MAX,
            count: u32::MAX,
        };
        Intent {
            cut: Position::from_u64(7).with_sub(3),
            version: Digest::of(b"v"),
            generation: u64::MAX,
            at_ms: u64::MAX,
            overruns: vec![call; overruns],
            first: Some(Position::END),
            object_ms: Some(u64::MAX),
        }
    }

    #[test]
    fn round_trip_and_limit() {
        let one = intent(1);
        assert_eq!(
            Intent::decode(&one.encode().expect("short")).expect("own form"),
            one
        );
        let full = intent(OVERRUNS_FULL)
            .encode()
            .expect("a full list still fits");
        assert!(full.len() <= INTENT_MAX_BYTES);
        assert!(intent(400).encode().is_err());
    }

    #[test]
    fn one_without_its_first_record_is_read() {
        let old = Intent {
            first: None,
            object_ms: None,
            ..intent(1)
        };
        let bytes = old.encode().expect("short");
        assert_eq!(bytes[0], 0xa6, "what is absent takes no room");
        assert_eq!(Intent::decode(&bytes).expect("own form"), old);
    }

    #[test]
    fn garbage_and_later_formats_are_refused() {
        assert!(Intent::decode(b"").is_err());
        assert!(Intent::decode(b"\xff\xff").is_err());
        let mut later = intent(0).encode().expect("short").to_vec();
        assert_eq!(&later[..3], &[0xa8, 0, 1]);
        later[2] = 2;
        let error = Intent::decode(&later).expect_err("format 2");
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
