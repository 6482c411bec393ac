//! Runs a processor over a micro-batch, record by record.

use hydrant_core::outcomes::{Failure, Outcomes, OutcomesBuilder, Overruns, PartitionKeys};
use hydrant_core::stage::{Blocked, Transform};
use hydrant_core::{Digest, Records};

/// Outputs of a micro-batch may take so much, or twice what its records take, whichever is more:
/// what is rendered at once must fit the memory that is set aside for it.
pub(super) const OUTPUT_MAX_BYTES: usize = 64 << 20;
/// What an output takes beside its bytes, and each of its partition keys: its places in the columns.
const OUTPUT_BYTES: usize = 64;
/// What a micro-batch may take at once while it is processed, beside its records: all outputs, as
/// much again where they grow by doubling, and those of the record at hand.
pub(super) const HELD_MAX_BYTES: usize = 3 * OUTPUT_MAX_BYTES;
/// Raised when the same settings give other outputs than before.
const RULES: &[u8] = b"builtin 1";
/// Bytes that are kept of a message for the error output.
const MESSAGE_MAX_BYTES: usize = 512;

/// The word for failures of processors in the error output.
pub(super) const PROCESSING_FAILED: &str = "processing-failed";

/// What a processor makes of one record.
pub(super) trait Processor: Send + Sync {
    /// Its name in the configuration.
    const NAME: &'static str;

    /// All its settings, as bytes that differ where they do.
    fn settings(&self) -> Vec<Vec<u8>>;

    /// Processes a record. One that gives nothing and does not fail is dropped; what a record gave
    /// before it failed is forgotten.
    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault>;
}

/// Why a record failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The word in the path of the error output.
    pub(super) kind: &'static str,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Fault {
    /// Of a processor; most are.
    pub(super) fn processing(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: PROCESSING_FAILED,
            code,
            message: message.into(),
        }
    }
}

/// What one record gives.
#[derive(Default)]
pub(super) struct Outputs {
    data: Vec<u8>,
    ends: Vec<usize>,
    /// The record itself is the output.
    same: bool,
    keys: PartitionKeys,
    /// Bytes that are left of the micro-batch's limit.
    room: usize,
}

impl Outputs {
    /// Bytes that an output may have.
    pub(super) fn room(&self) -> usize {
        self.room.saturating_sub(self.taken() + OUTPUT_BYTES)
    }

    /// What the outputs take so far.
    fn taken(&self) -> usize {
        self.data.len() + self.ends.len() * OUTPUT_BYTES
    }

    /// What all of it takes, where the record is of so many bytes.
    fn taken_with(&self, record_bytes: usize) -> usize {
        let key = |(name, value): &(String, String)| OUTPUT_BYTES + name.len() + value.len();
        let same = if self.same {
            OUTPUT_BYTES + record_bytes + self.keys.iter().map(key).sum::<usize>()
        } else {
            0
        };
        self.taken() + same
    }

    /// Adds an output.
    pub(super) fn push(&mut self, output: &[u8]) -> Result<(), Fault> {
        self.write(|data| data.extend_from_slice(output))
    }

    /// Adds an output that is written in place; it may be a few KiB over before that is noticed.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Fault> {
        write(&mut self.data);
        self.ends.push(self.data.len());
        if self.taken() > self.room {
            return Err(too_large());
        }
        Ok(())
    }

    /// Passes the record on as it is, with these partition keys.
    pub(super) fn keep(&mut self, keys: PartitionKeys) {
        (self.same, self.keys) = (true, keys);
    }

    fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
        self.keys.clear();
        self.same = false;
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.same
    }

    fn move_into(&mut self, index: u32, record: &[u8], builder: &mut OutcomesBuilder) {
        if self.same {
            builder.output(index, record, &self.keys);
        }
        let mut start = 0;
        for end in &self.ends {
            builder.output(index, &self.data[start..*end], &[]);
            start = *end;
        }
    }
}

/// An output, or all of a micro-batch, is over the limit.
pub(super) fn too_large() -> Fault {
    Fault::processing(
        "Processing.OutputTooLarge",
        format!(
            "what the records of a micro-batch become is over the limit of {OUTPUT_MAX_BYTES} bytes"
        ),
    )
}

/// A processor as a stage.
pub(super) struct Each<P>(pub(super) P);

impl<P: Processor> Transform for Each<P> {
    fn digest(&self) -> Digest {
        let settings = self.0.settings();
        let mut parts = vec![P::NAME.as_bytes(), RULES];
        parts.extend(settings.iter().map(Vec::as_slice));
        Digest::of_parts(&parts)
    }

    fn apply(&self, batch: &Records, _overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        let mut builder = OutcomesBuilder::with_capacity(batch.len(), batch.data_bytes());
        let mut outputs = Outputs::default();
        let twice = 2 * (batch.data_bytes() + OUTPUT_BYTES * batch.len());
        let mut room = OUTPUT_MAX_BYTES.max(twice);
        for i in 0..batch.len() {
            let index = u32::try_from(i).expect("a micro-batch has far fewer than 2^32 records");
            let record = batch.data(i);
            outputs.clear();
            outputs.room = room;
            let done = self.0.process(record, &mut outputs);
            let taken = outputs.taken_with(record.len());
            let fits = if taken <= room {
                Ok(())
            } else {
                Err(too_large())
            };
            match done.and(fits) {
                Err(fault) => builder.failed(failure(index, fault)),
                Ok(()) if outputs.is_empty() => builder.dropped(),
                Ok(()) => {
                    room -= taken;
                    outputs.move_into(index, record, &mut builder);
                }
            }
        }
        Ok(builder.build())
    }
}

fn failure(record: u32, fault: Fault) -> Failure {
    let mut message = fault.message;
    if message.len() > MESSAGE_MAX_BYTES {
        let end = (0..=MESSAGE_MAX_BYTES)
            .rev()
            .find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
    Failure {
        record,
        output: 0,
        kind: fault.kind,
        code: fault.code.to_owned(),
        message,
        origin: String::new(),
    }
}

/// Runs a processor over records; for tests.
#[cfg(test)]
pub(super) mod testing {
    use hydrant_core::outcomes::{Outcomes, Overruns};
    use hydrant_core::stage::Transform;
    use hydrant_core::{Position, RecordsBuilder};

    use crate::verdicts;

    pub(crate) fn apply(transform: &dyn Transform, records: &[&[u8]]) -> Outcomes {
        let mut batch = RecordsBuilder::default();
        for (i, record) in (0_u64..).zip(records) {
            batch.push(Position::from_u64(i), 0, b"", record);
        }
        transform
            .apply(&batch.build(), Overruns::Decide)
            .expect("built in, never blocked")
    }

    /// The verdicts as lines: see [`verdicts::lines`].
    pub(crate) fn lines(transform: &dyn Transform, records: &[&[u8]]) -> Vec<String> {
        verdicts::lines(&apply(transform, records), records.len())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{apply, lines};
    use super::{Each, Fault, OUTPUT_MAX_BYTES, Outputs, Processor};

    /// Gives as many outputs as the record says; fails after two where it is not a number.
    struct Repeat;

    impl Processor for Repeat {
        const NAME: &'static str = "repeat";

        fn settings(&self) -> Vec<Vec<u8>> {
            Vec::new()
        }

        fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
            let count = std::str::from_utf8(record)
                .ok()
                .and_then(|text| text.parse().ok());
            for _ in 0..count.unwrap_or(2) {
                outputs.push(b"x")?;
            }
            if count.is_none() {
                return Err(Fault::processing("Test.Failed", "ü".repeat(600)));
            }
            Ok(())
        }
    }

    #[test]
    fn a_failed_record_leaves_no_output_behind() {
        let outcomes = apply(&Each(Repeat), &[b"1", b"bad", b"0", b"3"]);
        assert_eq!((outcomes.len(), outcomes.dropped), (4, 1));
        assert_eq!([0, 3], [outcomes.record(0), outcomes.record(1)]);
        let [failure] = &outcomes.failures[..] else {
            panic!("one failure")
        };
        assert_eq!((failure.record, failure.output), (1, 0));
        assert!(failure.message.len() <= 520 && failure.message.ends_with('…'));
    }

    #[test]
    fn a_record_that_goes_over_the_limit_fails_alone() {
        struct Large;
        impl Processor for Large {
            const NAME: &'static str = "large";

            fn settings(&self) -> Vec<Vec<u8>> {
                Vec::new()
            }

            fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
                let size = if record == b"large" {
                    OUTPUT_MAX_BYTES
                } else {
                    1
                };
                outputs.write(|data| data.resize(size, b'x'))
            }
        }
        let most = OUTPUT_MAX_BYTES / 65;
        let outcomes = apply(&Each(Repeat), &[most.to_string().as_bytes(), b"1000"]);
        assert_eq!((outcomes.len(), outcomes.failures.len()), (most, 1));
        let outcomes = apply(&Each(Large), &[b"a", b"large", b"b"]);
        assert_eq!((outcomes.len(), outcomes.failures.len()), (2, 1));
        assert_eq!(outcomes.failures[0].code, "Processing.OutputTooLarge");
        assert_eq!(lines(&Each(Large), &[b"a"]), [r#"{"outputs":["x"]}"#]);
    }
}
