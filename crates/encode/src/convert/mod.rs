//! Objects that are Parquet files: takes JSON records, gives a file with the schema's columns.
//!
//! A record is one JSON object, or several one after the other, each a row. Keys name columns,
//! ASCII case aside; a missing one is null, an unknown one is passed over. A record that does not
//! fit is refused alone. What each type takes is in `scalar` and `time`; arrays, objects and
//! booleans are never made of something else.

pub(crate) mod schema;

mod hive;

mod json;

mod scalar;

mod decimal;

mod time;

mod column;

mod fault;

mod encoding;

mod write;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_select::concat::concat_batches;
use hydrant_core::Digest;
use hydrant_core::stage::{Encode, EncodeError, Encoder, Piece, Prepared};

use self::column::{Members, Scope};
use self::fault::Fault;
use self::json::Json;
use self::write::{Layout, Writer};
use crate::Error;
use crate::settings::ParquetSettings;

/// Bytes of columns that any record may fill, and how many more per byte of it: a bound on what
/// `{}` in an array of structs with many members can do to memory. 2,000 columns of nulls and
/// one-digit numbers stay far below.
const COLUMN_BYTES: (usize, usize) = (256 << 10, 64);

/// Converts records.
pub(crate) struct Convert {
    settings: ParquetSettings,
    layout: Arc<Layout>,
    digest: Digest,
}

/// What a piece holds: rows, and what each fills of the columns, which the size of row groups is
/// counted by.
struct Rows {
    batch: RecordBatch,
    costs: Vec<u32>,
}

impl Rows {
    fn of(piece: Piece) -> Result<Self, EncodeError> {
        let body = piece.body.downcast::<Self>();
        body.map(|rows| *rows)
            .map_err(|_| EncodeError("the piece is not of converted rows".into()))
    }
}

impl Convert {
    pub(crate) fn new(settings: ParquetSettings, digest: Digest) -> Result<Self, Error> {
        let layout = Arc::new(Layout::new(&settings)?);
        Ok(Self {
            settings,
            layout,
            digest,
        })
    }
}

impl Encode for Convert {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn extension(&self) -> &'static str {
        ".parquet"
    }

    /// None: compression is inside of the file. Firehose sets `hadoop-snappy` on its Parquet
    /// objects, which is wrong, and makes clients that believe it fail.
    fn content_encoding(&self) -> Option<&str> {
        None
    }

    fn prepare(&self, outputs: &[&[u8]]) -> Prepared {
        let mut members = Members::new(self.settings.schema.fields(), outputs.len());
        let mut scope = Scope {
            scratch: Vec::new(),
            spent: 0,
            limit: 0,
        };
        let mut costs: Vec<u32> = Vec::with_capacity(outputs.len());
        let mut refused = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        for (index, output) in (0..).zip(outputs) {
            let before = costs.len();
            scope.limit = COLUMN_BYTES.0 + COLUMN_BYTES.1 * output.len();
            match read(output, &mut members, &mut scope, &mut costs) {
                Ok(()) => {
                    bytes += output.len() + 1;
                    records += 1;
                }
                Err(fault) => {
                    members.truncate(before);
                    costs.truncate(before);
                    refused.push(fault.failure(index));
                }
            }
        }
        if records == 0 {
            return Prepared {
                piece: None,
                refused,
            };
        }
        let columns = members
            .build()
            .expect("the columns are of the schema and have equal length");
        let held = held_bytes(&columns) + 4 * costs.len();
        let batch = RecordBatch::try_new(self.layout.schema(), columns)
            .expect("the columns are of the schema and have equal length");
        let body = Box::new(Rows { batch, costs });
        Prepared {
            piece: Some(Piece {
                bytes,
                records,
                held,
                body,
            }),
            refused,
        }
    }

    fn join(&self, pieces: Vec<Piece>) -> Result<Piece, EncodeError> {
        let (mut bytes, mut records) = (0, 0);
        let (mut batches, mut costs) = (Vec::with_capacity(pieces.len()), Vec::new());
        for piece in pieces {
            bytes += piece.bytes;
            records += piece.records;
            let rows = Rows::of(piece)?;
            batches.push(rows.batch);
            costs.extend(rows.costs);
        }
        let batch = concat_batches(&self.layout.schema(), &batches).map_err(write::failed)?;
        let held = held_bytes(batch.columns()) + 4 * costs.len();
        let body = Box::new(Rows { batch, costs });
        Ok(Piece {
            bytes,
            records,
            held,
            body,
        })
    }

    fn encoder(&self, _id: &Digest) -> Box<dyn Encoder> {
        Box::new(Writer::new(self.layout.clone()))
    }
}

fn held_bytes(columns: &[ArrayRef]) -> usize {
    columns.iter().map(Array::get_array_memory_size).sum()
}

/// Reads the objects of one record as rows. On a fault the columns are to be cut back.
fn read(
    output: &[u8],
    members: &mut Members<'_>,
    scope: &mut Scope,
    costs: &mut Vec<u32>,
) -> Result<(), Fault> {
    let text = std::str::from_utf8(output)
        .map_err(|error| Fault::malformed(format!("no utf-8 at byte {}", error.valid_up_to())))?;
    let mut json = Json::new(text);
    if json.peek().is_none() {
        return Err(Fault::unfit(
            "the record was empty or contained only white space",
        ));
    }
    scope.spent = 0;
    while let Some(next) = json.peek() {
        if next != b'{' {
            let found = if json.null()? {
                Err("null")
            } else {
                json.scalar(&mut scope.scratch)?
            };
            return Err(Fault::found("an object", scalar::name(&found)));
        }
        let before = scope.spent;
        members.read(costs.len(), &mut json, scope)?;
        costs.push(u32::try_from(scope.spent - before).unwrap_or(u32::MAX));
    }
    Ok(())
}
