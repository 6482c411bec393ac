//! Simulated stages whose output can be checked by hand: a transform that splits, drops, fails and
//! partitions by what the record says, and an encoder of lines.

use bytes::Bytes;
use hydrant_core::outcomes::{Failure, Outcomes, OutcomesBuilder, Overruns};
use hydrant_core::stage::{
    Blocked, Chunk, Encode, EncodeError, Encoder, ErrorFormat, FailedRecord, LostRecords, Piece,
    Prepared, Transform,
};
use hydrant_core::{Digest, Records};

/// What the transform makes of one record: a pure function of its bytes and the variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Outputs, each with its partition.
    Outputs(Vec<(String, String)>),
    /// Dropped.
    Dropped,
    /// Failed.
    Failed,
}

/// A transform in variants: each tags its outputs with its name and decides otherwise.
#[derive(Clone, Debug)]
pub struct SimTransform {
    /// The tag.
    pub variant: &'static str,
    /// Number of partitions.
    pub partitions: u64,
}

impl SimTransform {
    /// What becomes of a record.
    pub fn make(&self, data: &[u8]) -> Made {
        let text = String::from_utf8_lossy(data);
        let digest = Digest::of_parts(&[self.variant.as_bytes(), data]);
        let dice = u64::from(digest.as_bytes()[0]);
        let partition = (u64::from(digest.as_bytes()[1]) % self.partitions.max(1)).to_string();
        match dice % 16 {
            0 => Made::Dropped,
            1 => Made::Failed,
            2 | 3 => Made::Outputs(
                (0..3)
                    .map(|i| (partition.clone(), format!("{}:{text}#{i}", self.variant)))
                    .collect(),
            ),
            _ => Made::Outputs(vec![(partition, format!("{}:{text}", self.variant))]),
        }
    }
}

impl Transform for SimTransform {
    fn digest(&self) -> Digest {
        Digest::of(self.variant.as_bytes())
    }

    fn apply(&self, batch: &Records, _overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        let mut outcomes = OutcomesBuilder::default();
        for i in 0..batch.len() {
            let record = u32::try_from(i).expect("a small batch");
            match self.make(batch.data(i)) {
                Made::Dropped => outcomes.dropped(),
                Made::Failed => outcomes.failed(Failure {
                    record,
                    output: 0,
                    kind: "processing-failed",
                    code: "Sim".into(),
                    message: self.variant.into(),
                    origin: String::new(),
                }),
                Made::Outputs(outputs) => {
                    for (partition, data) in outputs {
                        outcomes.output(record, data.as_bytes(), &[("p".into(), partition)]);
                    }
                }
            }
        }
        Ok(outcomes.build())
    }
}

/// Passes everything on, with these partition keys: what comes after it has to keep or replace them.
#[derive(Clone, Copy, Debug)]
pub struct Passing(pub &'static [(&'static str, &'static str)]);

impl Transform for Passing {
    fn digest(&self) -> Digest {
        Digest::of(b"passing")
    }

    fn apply(&self, batch: &Records, _overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        let keys = self.0.iter();
        let keys: Vec<_> = keys
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let mut outcomes = OutcomesBuilder::default();
        for (record, i) in (0..).zip(0..batch.len()) {
            outcomes.output(record, batch.data(i), &keys);
        }
        Ok(outcomes.build())
    }
}

/// Lines as they are; chunks by work and ready ones in turn.
#[derive(Clone, Debug, Default)]
pub struct SimEncode;

impl Encode for SimEncode {
    fn digest(&self) -> Digest {
        Digest::of(b"sim encode")
    }

    fn extension(&self) -> &'static str {
        ".txt"
    }

    fn content_encoding(&self) -> Option<&str> {
        None
    }

    fn prepare(&self, outputs: &[&[u8]]) -> Prepared {
        let mut lines = Vec::new();
        for output in outputs {
            lines.extend_from_slice(output);
            lines.push(b'\n');
        }
        let piece = (!outputs.is_empty()).then(|| Piece {
            bytes: lines.len(),
            records: outputs.len() as u64,
            held: lines.len(),
            body: Box::new(lines),
        });
        Prepared {
            piece,
            refused: Vec::new(),
        }
    }

    fn join(&self, pieces: Vec<Piece>) -> Result<Piece, EncodeError> {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        let records = pieces.iter().map(|piece| piece.records).sum();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(lines(piece)?);
        }
        Ok(Piece {
            bytes,
            records,
            held: bytes,
            body: Box::new(all),
        })
    }

    fn encoder(&self, _id: &Digest) -> Box<dyn Encoder> {
        Box::new(SimEncoder(Vec::new()))
    }
}

fn lines(piece: Piece) -> Result<Vec<u8>, EncodeError> {
    let lines = piece.body.downcast::<Vec<u8>>();
    lines
        .map(|lines| *lines)
        .map_err(|_| EncodeError("the piece is not of this encoder".into()))
}

struct SimEncoder(Vec<u8>);

impl Encoder for SimEncoder {
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.0.extend(lines(piece)?);
        // Chunks of 64 bytes, whatever the pieces were.
        while self.0.len() >= 64 {
            let rest = self.0.split_off(64);
            let chunk = Bytes::from(std::mem::replace(&mut self.0, rest));
            chunks.push(Chunk::Work(Box::new(move || chunk)));
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.0.len()
    }

    fn finish(self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        chunks.push(Chunk::Ready(self.0.into()));
        Ok(())
    }
}

/// Error lines: variant, position and record.
#[derive(Clone, Debug, Default)]
pub struct SimErrorFormat;

impl ErrorFormat for SimErrorFormat {
    fn line(&self, record: &FailedRecord<'_>, out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(record.raw);
        let line = format!("{}:{text} at {}\n", record.failure.message, record.at_ms);
        out.extend_from_slice(line.as_bytes());
    }

    fn loss(&self, lost: &LostRecords<'_>, out: &mut Vec<u8>) {
        let line = format!(
            "lost: {} after {} at {}\n",
            lost.lane, lost.after, lost.at_ms
        );
        out.extend_from_slice(line.as_bytes());
    }
}
