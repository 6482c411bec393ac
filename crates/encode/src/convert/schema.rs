//! The columns of an object and their types, in Hive's words, as a Glue table has them. Takes type
//! strings such as `array<struct<a:int,b:string>>`; gives checked types and their Arrow form.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use crate::Error;

/// Deepest nesting of a type: real schemas stay below 10, and parsing goes down as deep.
const MAX_DEPTH: usize = 16;

/// Most columns, those inside of structs, arrays and maps counted: each has buffers of its own.
const MAX_COLUMNS: usize = 2000;

/// Most bytes of a name, as Glue has it.
const MAX_NAME_BYTES: usize = 255;

/// Digits that 128 bits hold: the most of a decimal.
const MAX_PRECISION: u8 = 38;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text; takes every JSON value: objects and arrays as their JSON text.
    String,
    /// Bytes; takes base64 text.
    Binary,
    /// `true` or `false`.
    Boolean,
    /// 8 bits with sign.
    TinyInt,
    /// 16 bits with sign.
    SmallInt,
    /// 32 bits with sign.
    Int,
    /// 64 bits with sign.
    BigInt,
    /// 32 bits, floating point.
    Float,
    /// 64 bits, floating point.
    Double,
    /// So many digits, so many of them after the point.
    Decimal {
        /// 1 to 38.
        precision: u8,
        /// At most the precision.
        scale: u8,
    },
    /// A day.
    Date,
    /// An instant, in microseconds, UTC.
    Timestamp,
    /// A list.
    Array(Box<Type>),
    /// Text keys and values.
    Map(Box<Type>),
    /// Named members.
    Struct(Fields),
}

/// Names and types: the columns of a schema or the members of a struct. Names differ in more than
/// ASCII case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    list: Vec<(String, Type)>,
    /// Places in `list`, by name in lowercase.
    sorted: Vec<usize>,
}

/// The columns of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(Fields);

impl Schema {
    /// Checks the columns: 1 to 2,000 of them, members included, at most 16 deep.
    ///
    /// # Errors
    /// Where a name is empty, too long, there twice but for ASCII case, or has a control character
    /// or a backtick; where there are too many columns or they are too deep.
    pub fn new(columns: Vec<(String, Type)>) -> Result<Self, Error> {
        for (name, of) in &columns {
            let depth = of.depth();
            if depth > MAX_DEPTH {
                let reason = format!("it is nested {depth} deep, limit {MAX_DEPTH}");
                return Err(Error::Column {
                    column: name.clone(),
                    reason,
                });
            }
        }
        let count: usize = columns.iter().map(|(_, of)| of.leaves()).sum();
        if count > MAX_COLUMNS {
            let message = format!("the schema has {count} columns, limit {MAX_COLUMNS}");
            return Err(Error::Setting(message));
        }
        Fields::new(columns).map(Self)
    }

    /// The columns.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    pub(crate) fn arrow(&self) -> arrow_schema::Schema {
        arrow_schema::Schema::new(self.0.arrow())
    }
}

impl Fields {
    /// Checks the names.
    ///
    /// # Errors
    /// As [`Schema::new`] says of names.
    pub fn new(list: Vec<(String, Type)>) -> Result<Self, Error> {
        if list.is_empty() {
            return Err(Error::Setting("a schema or struct needs a column".into()));
        }
        for (name, _) in &list {
            if let Some(reason) = refuse(name) {
                return Err(Error::Column {
                    column: name.escape_debug().to_string(),
                    reason,
                });
            }
        }
        let mut sorted: Vec<usize> = (0..list.len()).collect();
        sorted.sort_by(|a, b| by_lowercase(list[*a].0.as_bytes(), list[*b].0.as_bytes()));
        for pair in sorted.windows(2) {
            let (one, other) = (&list[pair[0]].0, &list[pair[1]].0);
            if one.eq_ignore_ascii_case(other) {
                let reason = "the name is there twice; upper and lower case are the same".into();
                return Err(Error::Column {
                    column: other.clone(),
                    reason,
                });
            }
        }
        Ok(Self { list, sorted })
    }

    /// Names and types in their order.
    pub fn list(&self) -> &[(String, Type)] {
        &self.list
    }

    /// The place of the field that a JSON key names, ASCII case aside. `expected` is looked at
    /// first: records of one stream have their keys in one order.
    pub(crate) fn find(&self, key: &[u8], expected: usize) -> Option<usize> {
        let next = self.list.get(expected);
        let same = |name: &[u8]| name == key || name.eq_ignore_ascii_case(key);
        if next.is_some_and(|(name, _)| same(name.as_bytes())) {
            return Some(expected);
        }
        let place = |at: &usize| by_lowercase(self.list[*at].0.as_bytes(), key);
        self.sorted
            .binary_search_by(place)
            .ok()
            .map(|found| self.sorted[found])
    }

    pub(crate) fn arrow(&self) -> arrow_schema::Fields {
        self.list
            .iter()
            .map(|(name, of)| Field::new(name, of.arrow(), true))
            .collect()
    }
}

fn by_lowercase(one: &[u8], other: &[u8]) -> Ordering {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    one.iter().map(lower).cmp(other.iter().map(lower))
}

fn refuse(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Some(format!(
            "the name is {} bytes, limit {MAX_NAME_BYTES}",
            name.len()
        ));
    }
    let bad = name.chars().find(|c| c.is_control() || *c == '`')?;
    Some(format!(
        "the name has the character {:?}",
        bad.escape_unicode().to_string()
    ))
}

impl Type {
    /// Reads a type as Hive writes it: `string`, `binary`, `boolean`, `tinyint`, `smallint`,
    /// `int`, `bigint`, `float`, `double`, `decimal(10,2)`, `date`, `timestamp`, `array<T>`,
    /// `map<string,T>`, `struct<name:T,..>`. A name with signs of its own stands in backticks.
    ///
    /// # Errors
    /// Where the text is not a type; the error names the place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        super::hive::parse(text)
    }

    fn depth(&self) -> usize {
        1 + match self {
            Self::Array(item) => item.depth(),
            Self::Map(value) => value.depth(),
            Self::Struct(fields) => fields
                .list
                .iter()
                .map(|(_, of)| of.depth())
                .max()
                .unwrap_or(0),
            _ => 0,
        }
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Array(item) => item.leaves(),
            Self::Map(value) => 1 + value.leaves(),
            Self::Struct(fields) => fields.list.iter().map(|(_, of)| of.leaves()).sum(),
            _ => 1,
        }
    }

    /// The Arrow type. Inner names are those of the Parquet format: `element`, `key_value`.
    pub(crate) fn arrow(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => {
                let scale = i8::try_from(*scale).expect("a scale is at most 38");
                DataType::Decimal128(*precision, scale)
            }
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Array(item) => {
                DataType::List(Arc::new(Field::new("element", item.arrow(), true)))
            }
            Self::Map(value) => {
                let key = Field::new("key", DataType::Utf8, false);
                let value = Field::new("value", value.arrow(), true);
                let entry = DataType::Struct([key, value].into_iter().collect());
                DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
            }
            Self::Struct(fields) => DataType::Struct(fields.arrow()),
        }
    }

    /// Checks a decimal's digits.
    pub(crate) fn decimal(precision: u8, scale: u8) -> Result<Self, String> {
        if !(1..=MAX_PRECISION).contains(&precision) {
            return Err(format!(
                "the precision is {precision}, must be 1 to {MAX_PRECISION}"
            ));
        }
        if scale > precision {
            return Err(format!(
                "the scale {scale} is larger than the precision {precision}"
            ));
        }
        Ok(Self::Decimal { precision, scale })
    }

    /// The deepest that a type can be.
    pub(crate) const fn max_depth() -> usize {
        MAX_DEPTH
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Array(item) => write!(f, "array<{item}>"),
            Self::Map(value) => write!(f, "map<string,{value}>"),
            Self::Struct(fields) => write!(f, "struct<{fields}>"),
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, of)) in self.list.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}`{name}`:{of}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
