//! Failed records and outputs, as they wait for their error object.

use std::collections::BTreeMap;

use bytes::Bytes;
use hydrant_core::outcomes::Failure;
use hydrant_core::stage::{ErrorFormat, FailedRecord};
use hydrant_core::{Lane, Position, Records};

/// About what an error line says besides the record and the message.
const LINE_BYTES: usize = 320;
/// Lines are made and handed to the sink so many bytes at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// A failed record, or output of one, with what its error object says.
pub(crate) struct FailedRaw {
    pub(crate) failure: Failure,
    pub(crate) raw: Bytes,
    pub(crate) position: Position,
    pub(crate) arrival_ms: u64,
}

impl FailedRaw {
    /// Bytes of its line, without the record.
    pub(crate) fn words_bytes(&self) -> usize {
        self.failure.message.len() + LINE_BYTES
    }
}

/// Makes the failures of a micro-batch. A record is copied once, for all of its outputs: a copy,
/// so that one bad record does not hold its whole block.
pub(crate) struct Failing<'a> {
    pub(crate) batch: &'a Records,
    copies: BTreeMap<u32, Bytes>,
}

impl<'a> Failing<'a> {
    pub(crate) fn of(batch: &'a Records) -> Self {
        Self {
            batch,
            copies: BTreeMap::new(),
        }
    }

    /// Bytes of the copies.
    pub(crate) fn bytes(&self) -> usize {
        self.copies.values().map(Bytes::len).sum()
    }

    pub(crate) fn failed(&mut self, failure: Failure) -> FailedRaw {
        let (batch, at) = (self.batch, failure.record as usize);
        let copy = || Bytes::copy_from_slice(batch.data(at));
        FailedRaw {
            raw: self
                .copies
                .entry(failure.record)
                .or_insert_with(copy)
                .clone(),
            position: batch.position(at),
            arrival_ms: batch.arrival_ms(at),
            failure,
        }
    }
}

/// Bytes of the lines of failures, which come in the order of their records: in the error object of
/// its kind a record stands once, in base64, and what is said of each of its outputs.
pub(crate) fn lines_bytes(failures: &[FailedRaw]) -> usize {
    // The record that was counted last, by kind.
    let mut last: Vec<(&'static str, Position)> = Vec::new();
    let mut total = 0;
    for failed in failures {
        let (kind, position) = (failed.failure.kind, failed.position);
        let known = last.iter_mut().find(|(known, _)| *known == kind);
        let again = if let Some((_, last)) = known {
            std::mem::replace(last, position) == position
        } else {
            last.push((kind, position));
            false
        };
        total += failed.words_bytes();
        if !again {
            total += failed.raw.len().div_ceil(3) * 4;
        }
    }
    total
}

/// Failures by their kind, which have an error object each.
pub(crate) fn by_kind(failures: Vec<FailedRaw>) -> BTreeMap<&'static str, Vec<FailedRaw>> {
    let mut kinds: BTreeMap<&'static str, Vec<FailedRaw>> = BTreeMap::new();
    for failed in failures {
        kinds.entry(failed.failure.kind).or_default().push(failed);
    }
    kinds
}

/// The lines of an error object, in order.
pub(crate) struct Lines {
    failures: Vec<FailedRaw>,
    lane: Lane,
    at_ms: u64,
    next: usize,
    /// The record whose line was written last, and the output that it was written with.
    raw_in: Option<(Position, u32)>,
}

impl Lines {
    pub(crate) fn new(failures: Vec<FailedRaw>, lane: Lane, at_ms: u64) -> Self {
        Self {
            failures,
            lane,
            at_ms,
            next: 0,
            raw_in: None,
        }
    }

    /// Writes the next of them. Gives whether there are more.
    pub(crate) fn write(&mut self, format: &dyn ErrorFormat, out: &mut Vec<u8>) -> bool {
        while let Some(failed) = self.failures.get(self.next)
            && out.len() < CHUNK_BYTES
        {
            self.next += 1;
            let before = self.raw_in.filter(|(last, _)| *last == failed.position);
            if before.is_none() {
                self.raw_in = Some((failed.position, failed.failure.output));
            }
            let record = FailedRecord {
                failure: &failed.failure,
                raw: &failed.raw,
                raw_in: before.map(|(_, output)| output),
                position: failed.position,
                lane: &self.lane,
                arrival_ms: failed.arrival_ms,
                at_ms: self.at_ms,
            };
            format.line(&record, out);
        }
        self.next < self.failures.len()
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::outcomes::Failure;
    use hydrant_core::stage::{ErrorFormat, FailedRecord, LostRecords};
    use hydrant_core::{Lane, Position, Records, RecordsBuilder};

    use super::{CHUNK_BYTES, FailedRaw, Failing, LINE_BYTES, Lines, lines_bytes};

    struct Raw;

    impl ErrorFormat for Raw {
        fn line(&self, record: &FailedRecord<'_>, out: &mut Vec<u8>) {
            match record.raw_in {
                None => out.extend_from_slice(record.raw),
                Some(output) => out.extend_from_slice(format!("as {output}").as_bytes()),
            }
            out.push(b'\n');
        }

        fn loss(&self, _: &LostRecords<'_>, _: &mut Vec<u8>) {}
    }

    fn batch(records: &[&[u8]]) -> Records {
        let mut builder = RecordsBuilder::default();
        for (i, record) in (1..).zip(records) {
            builder.push(Position::from_u64(i), 7, b"", record);
        }
        builder.build()
    }

    fn failure(record: u32, output: u32, kind: &'static str) -> Failure {
        Failure {
            record,
            output,
            kind,
            code: String::new(),
            message: "no".to_owned(),
            origin: String::new(),
        }
    }

    fn all(failures: Vec<FailedRaw>) -> (Vec<usize>, String) {
        let mut lines = Lines::new(failures, Lane::new("0"), 7);
        let (mut sizes, mut text) = (Vec::new(), String::new());
        let mut more = true;
        while more {
            let mut out = Vec::new();
            more = lines.write(&Raw, &mut out);
            sizes.push(out.len());
            text.push_str(std::str::from_utf8(&out).expect("text"));
        }
        (sizes, text)
    }

    #[test]
    fn a_record_stands_once_for_all_of_its_outputs() {
        let batch = batch(&[b"first", b"second"]);
        let mut failing = Failing::of(&batch);
        let failures = [(0, 1), (0, 3), (0, 9), (1, 0)]
            .map(|(record, output)| failing.failed(failure(record, output, "a")));
        assert_eq!(failing.bytes(), 11);
        assert_eq!(lines_bytes(&failures), 8 + 8 + 4 * (2 + LINE_BYTES));
        let (_, text) = all(failures.into());
        assert_eq!(text, "first\nas 1\nas 1\nsecond\n");
    }

    #[test]
    fn kinds_that_alternate_count_a_record_once_each() {
        let batch = batch(&[b"abc"]);
        let mut failing = Failing::of(&batch);
        let failures: Vec<FailedRaw> = (0..100)
            .map(|output| failing.failed(failure(0, output, ["a", "b"][output as usize % 2])))
            .collect();
        assert_eq!(lines_bytes(&failures), 2 * 4 + 100 * (2 + LINE_BYTES));
    }

    #[test]
    fn lines_come_in_pieces() {
        let large = vec![b'x'; CHUNK_BYTES / 2 + 1];
        let batch = batch(&[&large, &large, &large]);
        let mut failing = Failing::of(&batch);
        let failures = [0, 1, 2].map(|record| failing.failed(failure(record, 0, "a")));
        let (sizes, _) = all(failures.into());
        assert_eq!(sizes, [2 * (large.len() + 1), large.len() + 1]);
    }
}
