//! The encoders: what is done to a micro-batch (join, or JSON to columns), and what is done to an
//! object of such pieces (compression, or writing Parquet).

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::stage::{Chunk, Encode, Piece};
use hydrant_encode::{Compression, Delimiter, Format, ParquetSettings, Schema, Type};
use hydrant_pipeline::plan::{MICRO_BATCH_BYTES, MICRO_BATCH_RECORDS};

use super::{Run, Stage};
use crate::bench::load::{COLUMNS, Load};
use crate::bench::verify::{Container, Found};

/// Which of the two halves is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Half {
    /// Micro-batches become pieces.
    Pieces,
    /// Pieces become an object.
    Object,
}

struct Encoding {
    load: Arc<Load>,
    encode: Arc<dyn Encode>,
    half: Half,
    container: Container,
}

/// A stage of records in this compression.
pub(in crate::bench) fn records(
    load: &Arc<Load>,
    half: Half,
    compression: Compression,
    container: Container,
) -> anyhow::Result<Box<dyn Stage>> {
    let format = Format::Records {
        delimiter: Delimiter::Newline,
        compression,
    };
    Ok(Box::new(Encoding {
        load: load.clone(),
        encode: hydrant_encode::build(format)?,
        half,
        container,
    }))
}

/// A stage of Parquet, compressed by snappy.
pub(in crate::bench) fn parquet(load: &Arc<Load>, half: Half) -> anyhow::Result<Box<dyn Stage>> {
    let column = |(name, kind): (&str, &str)| Ok((name.to_owned(), Type::parse(kind)?));
    let columns: Result<Vec<_>, hydrant_encode::Error> = COLUMNS.into_iter().map(column).collect();
    let settings = ParquetSettings::new(Schema::new(columns?)?);
    Ok(Box::new(Encoding {
        load: load.clone(),
        encode: hydrant_encode::build(Format::Parquet(settings))?,
        half,
        container: Container::Parquet,
    }))
}

impl Encoding {
    fn pieces(&self, records: Range<usize>, run: &mut Run) -> anyhow::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for batch in micro_batches(&self.load, records) {
            let outputs: Vec<&[u8]> = batch.map(|i| self.load.record(i)).collect();
            let prepared = run.time(|| self.encode.prepare(&outputs));
            if let Some(refused) = prepared.refused.first() {
                bail!("a record was refused: {}", refused.message);
            }
            pieces.push(prepared.piece.context("a micro-batch gave nothing")?);
        }
        Ok(pieces)
    }

    fn object(&self, pieces: Vec<Piece>, run: &mut Run) -> anyhow::Result<Vec<Bytes>> {
        run.time(|| {
            let mut chunks = Vec::new();
            let mut encoder = self.encode.encoder(&Digest::of(b"bench"));
            for piece in pieces {
                encoder.write(piece, &mut chunks)?;
            }
            encoder.finish(&mut chunks)?;
            let done = chunks.into_iter().map(|chunk| match chunk {
                Chunk::Ready(bytes) => bytes,
                Chunk::Work(work) => work(),
            });
            Ok(done.collect())
        })
    }
}

impl Stage for Encoding {
    fn check(&mut self) -> anyhow::Result<()> {
        let mut found = Found::default();
        for records in self.load.objects() {
            let pieces = self.pieces(records, &mut Run::default())?;
            let object = self.object(pieces, &mut Run::default())?.concat();
            found.add(self.container, &object)?;
        }
        found.must_be(&Found::of(&self.load, self.container, 1))
    }

    fn run(&mut self) -> anyhow::Result<Run> {
        let (mut first, mut second) = (Run::default(), Run::default());
        for records in self.load.objects() {
            let pieces = self.pieces(records, &mut first)?;
            first.bytes_out += pieces.iter().map(|piece| piece.held as u64).sum::<u64>();
            if self.half == Half::Object {
                let object = self.object(pieces, &mut second)?;
                second.bytes_out += object.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
            }
        }
        let run = match self.half {
            Half::Pieces => first,
            Half::Object => second,
        };
        Ok(Run {
            bytes_in: self.load.bytes() as u64,
            ..run
        })
    }
}

/// Cuts as the pipeline does.
fn micro_batches(load: &Load, records: Range<usize>) -> Vec<Range<usize>> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), records.start, 0);
    for i in records.clone() {
        bytes += load.record(i).len();
        if i + 1 - start >= MICRO_BATCH_RECORDS || bytes >= MICRO_BATCH_BYTES {
            batches.push(start..i + 1);
            (start, bytes) = (i + 1, 0);
        }
    }
    if start < records.end {
        batches.push(start..records.end);
    }
    batches
}
