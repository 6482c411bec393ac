//! Builders of Arrow columns that JSON is read straight into, each value once. A record that does
//! not fit is undone by cutting every column back to where the record began.

use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray,
    StructArray,
};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType};

use super::fault::Fault;
use super::json::Json;
use super::scalar;
use super::schema::{Fields, Type};

/// What a value is counted with, beside its text: the width of most.
const VALUE_BYTES: usize = 8;

/// What reading a record needs beside the columns.
pub(crate) struct Scope {
    /// Room for text with escapes.
    pub(crate) scratch: Vec<u8>,
    /// Bytes of columns that the record made so far.
    pub(crate) spent: usize,
    /// The most that it may make.
    pub(crate) limit: usize,
}

impl Scope {
    /// Counts a value with so many bytes of text.
    fn spend(&mut self, text: usize) -> Result<(), Fault> {
        self.spent += VALUE_BYTES + text;
        if self.spent > self.limit {
            let message = format!("the record fills more than {} bytes of columns", self.limit);
            return Err(Fault::unfit(message));
        }
        Ok(())
    }
}

/// The columns of a schema or of a struct, in their order.
pub(crate) struct Members<'s> {
    fields: &'s Fields,
    columns: Vec<Column<'s>>,
}

impl<'s> Members<'s> {
    /// With room for so many rows.
    pub(crate) fn new(fields: &'s Fields, rows: usize) -> Self {
        let columns = fields
            .list()
            .iter()
            .map(|(_, of)| Column::new(of, rows))
            .collect();
        Self { fields, columns }
    }

    /// Reads the object that is next as row number `row`. On a fault some columns have the row
    /// and some have not. Of several values for one column the last counts.
    pub(crate) fn read(
        &mut self,
        row: usize,
        json: &mut Json<'_>,
        scope: &mut Scope,
    ) -> Result<(), Fault> {
        json.expect(b'{', "`{`")?;
        let (mut first, mut expected) = (true, 0);
        while json.more(b'}', first)? {
            first = false;
            let key = json.key(&mut scope.scratch)?;
            let Some(at) = self.fields.find(key, expected) else {
                json.skip(&mut scope.scratch)?;
                continue;
            };
            expected = at + 1;
            let column = &mut self.columns[at];
            if column.len() > row {
                column.truncate(row);
            }
            let name = &self.fields.list()[at].0;
            column
                .read(json, scope)
                .map_err(|fault| fault.inside(name))?;
        }
        for column in &mut self.columns {
            if column.len() == row {
                column.null(scope)?;
            }
        }
        Ok(())
    }

    fn null(&mut self, scope: &mut Scope) -> Result<(), Fault> {
        self.columns
            .iter_mut()
            .try_for_each(|column| column.null(scope))
    }

    /// Cuts every column back to so many rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// The columns as arrays.
    pub(crate) fn build(self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(Column::build).collect()
    }
}

/// One column.
struct Column<'s> {
    of: &'s Type,
    rows: usize,
    nulls: NullBufferBuilder,
    values: Values<'s>,
}

/// The values of a column; a null has a default value here.
enum Values<'s> {
    String(Text),
    Binary(Text),
    Boolean(BooleanBufferBuilder),
    TinyInt(Vec<i8>),
    SmallInt(Vec<i16>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    Array {
        ends: Vec<i32>,
        items: Box<Column<'s>>,
    },
    Map {
        ends: Vec<i32>,
        keys: Text,
        values: Box<Column<'s>>,
    },
    Struct(Members<'s>),
}

/// Text of many values, one after the other, and where each ends, behind a zero.
struct Text {
    ends: Vec<i32>,
    data: Vec<u8>,
}

impl<'s> Column<'s> {
    fn new(of: &'s Type, rows: usize) -> Self {
        let inner = |of| Box::new(Column::new(of, 0));
        let values = match of {
            Type::String => Values::String(Text::new(rows)),
            Type::Binary => Values::Binary(Text::new(rows)),
            Type::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            Type::TinyInt => Values::TinyInt(Vec::with_capacity(rows)),
            Type::SmallInt => Values::SmallInt(Vec::with_capacity(rows)),
            Type::Int => Values::Int(Vec::with_capacity(rows)),
            Type::BigInt => Values::BigInt(Vec::with_capacity(rows)),
            Type::Float => Values::Float(Vec::with_capacity(rows)),
            Type::Double => Values::Double(Vec::with_capacity(rows)),
            Type::Decimal { precision, scale } => {
                let values = Vec::with_capacity(rows);
                Values::Decimal {
                    values,
                    precision: *precision,
                    scale: *scale,
                }
            }
            Type::Date => Values::Date(Vec::with_capacity(rows)),
            Type::Timestamp => Values::Timestamp(Vec::with_capacity(rows)),
            Type::Array(item) => Values::Array {
                ends: vec![0],
                items: inner(item),
            },
            Type::Map(value) => Values::Map {
                ends: vec![0],
                keys: Text::new(0),
                values: inner(value),
            },
            Type::Struct(fields) => Values::Struct(Members::new(fields, rows)),
        };
        Self {
            of,
            rows: 0,
            nulls: NullBufferBuilder::new(rows),
            values,
        }
    }

    fn len(&self) -> usize {
        self.rows
    }

    /// Reads the value that is next.
    fn read(&mut self, json: &mut Json<'_>, scope: &mut Scope) -> Result<(), Fault> {
        if json.null()? {
            return self.null(scope);
        }
        scope.spend(0)?;
        let row = self.len();
        let scratch = &mut scope.scratch;
        match &mut self.values {
            Values::String(text) => text.read(json, scope, scalar::text)?,
            Values::Binary(text) => text.read(json, scope, scalar::binary)?,
            Values::Boolean(values) => values.append(scalar::boolean(json, scratch)?),
            Values::TinyInt(values) => values.push(scalar::integer(json, scratch, self.of)?),
            Values::SmallInt(values) => values.push(scalar::integer(json, scratch, self.of)?),
            Values::Int(values) => values.push(scalar::integer(json, scratch, self.of)?),
            Values::BigInt(values) => values.push(scalar::integer(json, scratch, self.of)?),
            Values::Float(values) => values.push(scalar::float(json, scratch)?),
            Values::Double(values) => values.push(scalar::double(json, scratch)?),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                values.push(scalar::decimal(json, scratch, *precision, *scale)?);
            }
            Values::Date(values) => values.push(scalar::date(json, scratch)?),
            Values::Timestamp(values) => values.push(scalar::timestamp(json, scratch)?),
            Values::Array { ends, items } => {
                open(json, b'[', "an array", scratch)?;
                let mut first = true;
                while json.more(b']', first)? {
                    first = false;
                    items
                        .read(json, scope)
                        .map_err(|fault| fault.inside("element"))?;
                }
                ends.push(end(items.len())?);
            }
            Values::Map { ends, keys, values } => {
                open(json, b'{', "an object", scratch)?;
                let mut first = true;
                while json.more(b'}', first)? {
                    first = false;
                    let key = json.key(&mut scope.scratch)?;
                    let length = key.len();
                    keys.data.extend_from_slice(key);
                    keys.end()?;
                    scope.spend(length)?;
                    values
                        .read(json, scope)
                        .map_err(|fault| fault.inside("value"))?;
                }
                ends.push(end(values.len())?);
            }
            Values::Struct(members) => {
                if json.peek() != Some(b'{') {
                    return Err(unlike("an object", json, scratch));
                }
                members.read(row, json, scope)?;
            }
        }
        self.nulls.append_non_null();
        self.rows += 1;
        Ok(())
    }

    /// Appends a null.
    fn null(&mut self, scope: &mut Scope) -> Result<(), Fault> {
        scope.spend(0)?;
        match &mut self.values {
            Values::String(text) | Values::Binary(text) => text.end()?,
            Values::Boolean(values) => values.append(false),
            Values::TinyInt(values) => values.push(0),
            Values::SmallInt(values) => values.push(0),
            Values::Int(values) | Values::Date(values) => values.push(0),
            Values::BigInt(values) | Values::Timestamp(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Array { ends, items } => ends.push(end(items.len())?),
            Values::Map { ends, values, .. } => ends.push(end(values.len())?),
            Values::Struct(members) => members.null(scope)?,
        }
        self.nulls.append_null();
        self.rows += 1;
        Ok(())
    }

    /// Cuts back to so many rows; nothing where there are not more.
    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.rows = self.rows.min(rows);
        match &mut self.values {
            Values::String(text) | Values::Binary(text) => text.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::TinyInt(values) => values.truncate(rows),
            Values::SmallInt(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::BigInt(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Array { ends, items } => items.truncate(cut(ends, rows)),
            Values::Map { ends, keys, values } => {
                let entries = cut(ends, rows);
                keys.truncate(entries);
                values.truncate(entries);
            }
            Values::Struct(members) => members.truncate(rows),
        }
    }

    fn build(self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.build();
        Ok(match self.values {
            Values::String(text) => {
                let (offsets, data) = text.build();
                Arc::new(StringArray::try_new(offsets, data, nulls)?)
            }
            Values::Binary(text) => {
                let (offsets, data) = text.build();
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            Values::TinyInt(values) => Arc::new(primitive::<Int8Type>(values, nulls)?),
            Values::SmallInt(values) => Arc::new(primitive::<Int16Type>(values, nulls)?),
            Values::Int(values) => Arc::new(primitive::<Int32Type>(values, nulls)?),
            Values::BigInt(values) => Arc::new(primitive::<Int64Type>(values, nulls)?),
            Values::Float(values) => Arc::new(primitive::<Float32Type>(values, nulls)?),
            Values::Double(values) => Arc::new(primitive::<Float64Type>(values, nulls)?),
            Values::Decimal { values, .. } => {
                let array = primitive::<Decimal128Type>(values, nulls)?;
                Arc::new(array.with_data_type(self.of.arrow()))
            }
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls)?),
            Values::Timestamp(values) => {
                let array = primitive::<TimestampMicrosecondType>(values, nulls)?;
                Arc::new(array.with_data_type(self.of.arrow()))
            }
            Values::Array { ends, items } => {
                let DataType::List(field) = self.of.arrow() else {
                    unreachable!("an array")
                };
                Arc::new(ListArray::try_new(
                    field,
                    offsets(ends),
                    items.build()?,
                    nulls,
                )?)
            }
            Values::Map { ends, keys, values } => {
                let DataType::Map(field, _) = self.of.arrow() else {
                    unreachable!("a map")
                };
                let DataType::Struct(entry) = field.data_type() else {
                    unreachable!("entries")
                };
                let (ends_of_keys, data) = keys.build();
                let keys = Arc::new(StringArray::try_new(ends_of_keys, data, None)?);
                let entries =
                    StructArray::try_new(entry.clone(), vec![keys, values.build()?], None)?;
                Arc::new(MapArray::try_new(
                    field,
                    offsets(ends),
                    entries,
                    nulls,
                    false,
                )?)
            }
            Values::Struct(members) => {
                let fields = members.fields.arrow();
                Arc::new(StructArray::try_new(fields, members.build()?, nulls)?)
            }
        })
    }
}

impl Text {
    fn new(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self {
            ends,
            data: Vec::new(),
        }
    }

    /// Appends what `read` makes of the value that is next.
    fn read(
        &mut self,
        json: &mut Json<'_>,
        scope: &mut Scope,
        read: impl Fn(&mut Json<'_>, &mut Vec<u8>, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let before = self.data.len();
        read(json, &mut scope.scratch, &mut self.data)?;
        self.end()?;
        scope.spend(self.data.len() - before)
    }

    /// Ends the value whose bytes were appended to `data`.
    fn end(&mut self) -> Result<(), Fault> {
        self.ends.push(end(self.data.len())?);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        let bytes = cut(&mut self.ends, rows);
        self.data.truncate(bytes);
    }

    fn build(self) -> (OffsetBuffer<i32>, Buffer) {
        (offsets(self.ends), Buffer::from_vec(self.data))
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(values.into(), nulls)
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ends.into())
}

/// An end as Arrow has it.
fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::unfit("a micro-batch fills more than 2 GiB with it"))
}

/// Cuts ends back to so many rows; gives the last that is left.
fn cut(ends: &mut Vec<i32>, rows: usize) -> usize {
    ends.truncate(rows + 1);
    let last = ends.last().copied().unwrap_or(0);
    usize::try_from(last).expect("ends count from zero")
}

fn open(json: &mut Json<'_>, byte: u8, expected: &str, scratch: &mut Vec<u8>) -> Result<(), Fault> {
    if json.peek() != Some(byte) {
        return Err(unlike(expected, json, scratch));
    }
    json.expect(byte, expected)
}

/// What was found instead of an array or object.
fn unlike(expected: &str, json: &mut Json<'_>, scratch: &mut Vec<u8>) -> Fault {
    match json.scalar(scratch) {
        Ok(found) => Fault::found(expected, scalar::name(&found)),
        Err(fault) => fault,
    }
}
