//! Writes rows as one Parquet file. Rows are gathered into slabs, which are encoded a column at a
//! time; slabs and row groups end by count and size of rows from the object's first, so that
//! neither time nor the borders of pieces are in the file.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use hydrant_core::stage::{Chunk, EncodeError, Encoder, Piece};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use super::{Rows, encoding};
use crate::Error;
use crate::settings::{ParquetCompression, ParquetSettings};

/// Rows of a slab: enough that one column's dictionary stays in the cache while it is written.
const SLAB_ROWS: usize = 16_384;

/// Bytes of columns of a slab: what an encoder holds beside encoded pages.
const SLAB_BYTES: usize = 8 << 20;

/// What all files of the settings share.
pub(crate) struct Layout {
    schema: SchemaRef,
    columns: SchemaDescriptor,
    properties: WriterProperties,
    row_group_rows: usize,
    row_group_bytes: usize,
}

impl Layout {
    pub(crate) fn new(settings: &ParquetSettings) -> Result<Self, Error> {
        let schema = Arc::new(settings.schema.arrow());
        let compression = match settings.compression {
            ParquetCompression::Snappy => Compression::SNAPPY,
            ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
            ParquetCompression::Gzip => Compression::GZIP(GzipLevel::default()),
            ParquetCompression::None => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_created_by("hydrant".into())
            .set_max_row_group_row_count(None)
            .set_compression(compression)
            .build();
        let columns = ArrowSchemaConverter::new()
            .convert(&schema)
            .map_err(|error| Error::Setting(format!("parquet refuses the schema: {error}")))?;
        Ok(Self {
            schema,
            columns,
            properties,
            row_group_rows: settings.row_group_rows,
            row_group_bytes: settings.row_group_bytes,
        })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// A writer at the start of a file that begins with these rows. The Arrow form of the schema
    /// is left out: the Parquet one says all.
    fn start(&self, slab: &RecordBatch) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(encoding::choose(&self.properties, &self.columns, slab))
            .with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(Vec::new(), self.schema(), options)
    }
}

/// Rows and their bytes.
#[derive(Clone, Copy, Default)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, bytes: u32) {
        self.rows += 1;
        self.bytes += bytes as usize;
    }

    fn reaches(self, rows: usize, bytes: usize) -> bool {
        self.rows >= rows || self.bytes >= bytes
    }
}

/// The encoder of one file.
pub(crate) struct Writer {
    layout: Arc<Layout>,
    /// None before the first slab.
    file: Option<ArrowWriter<Vec<u8>>>,
    /// Slices that are the open slab.
    slab: Vec<RecordBatch>,
    slab_size: Size,
    group_size: Size,
    /// Memory of the slab's rows, in full for each piece of which a row is in it.
    slab_held: usize,
    /// Memory of the row group that is being encoded.
    file_held: usize,
}

impl Writer {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            file: None,
            slab: Vec::new(),
            slab_size: Size::default(),
            group_size: Size::default(),
            slab_held: 0,
            file_held: 0,
        }
    }

    /// Encodes the slab; ends the row group and gives its bytes where it is complete.
    fn end_slab(&mut self, ends_group: bool, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        let slab = concat_batches(&self.layout.schema, &self.slab).map_err(failed)?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.layout.start(&slab).map_err(failed)?,
        };
        self.slab.clear();
        self.slab_held = 0;
        self.slab_size = Size::default();
        file.write(&slab).map_err(failed)?;
        if ends_group {
            self.group_size = Size::default();
            file.flush().map_err(failed)?;
            file.sync().map_err(failed)?;
            let bytes = std::mem::take(file.inner_mut());
            chunks.push(Chunk::Ready(bytes.into()));
        }
        self.file_held = file.memory_size() + file.inner().capacity();
        self.file = Some(file);
        Ok(())
    }
}

impl Encoder for Writer {
    fn write(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        let held = piece.held;
        let rows = Rows::of(piece)?;
        let (group_rows, group_bytes) = (self.layout.row_group_rows, self.layout.row_group_bytes);
        let mut start = 0;
        for (row, cost) in rows.costs.iter().enumerate() {
            self.slab_size.add(*cost);
            self.group_size.add(*cost);
            let ends_group = self.group_size.reaches(group_rows, group_bytes);
            if ends_group || self.slab_size.reaches(SLAB_ROWS, SLAB_BYTES) {
                self.slab.push(rows.batch.slice(start, row + 1 - start));
                start = row + 1;
                self.end_slab(ends_group, chunks)?;
            }
        }
        if start < rows.costs.len() {
            self.slab
                .push(rows.batch.slice(start, rows.costs.len() - start));
            self.slab_held += held;
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.slab_held + self.file_held
    }

    fn finish(mut self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        if !self.slab.is_empty() || self.file.is_none() {
            self.end_slab(false, chunks)?;
        }
        if let Some(mut file) = self.file.take() {
            file.finish().map_err(failed)?;
            file.sync().map_err(failed)?;
            chunks.push(Chunk::Ready(std::mem::take(file.inner_mut()).into()));
        }
        Ok(())
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError(format!("parquet: {error}"))
}
