//! Chooses how a column is encoded, by a look at its first values. Takes the first slab of a file;
//! gives the file's writer properties. A dictionary of ids or times costs time and makes the file
//! larger; differences of integers are small whatever they are.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_primitive_array};
use arrow_buffer::ToByteSlice as _;
use arrow_schema::DataType;
use parquet::basic::{Encoding, Type as Physical};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

/// Values that are looked at: enough to tell 10,000 names from ids, cheap beside encoding a slab.
const SAMPLE: usize = 2048;

/// Text with more distinct values of a hundred than this is taken for ids.
const MOST_DISTINCT_TEXT_PERCENT: usize = 95;

/// Numbers have a dictionary where each comes at least so often, on average.
const NUMBERS_PER_DISTINCT: usize = 16;

/// The properties of a file that begins with these rows.
pub(crate) fn choose(
    base: &WriterProperties,
    columns: &SchemaDescriptor,
    slab: &RecordBatch,
) -> WriterProperties {
    let mut leaves = Vec::with_capacity(columns.num_columns());
    for column in slab.columns() {
        gather(column, &mut leaves);
    }
    let mut properties = base.clone().into_builder();
    for (column, leaf) in columns.columns().iter().zip(leaves) {
        let path = column.path().clone();
        let dictionary = dictionary(column, &leaf);
        properties = properties.set_column_dictionary_enabled(path.clone(), dictionary);
        let integer = matches!(column.physical_type(), Physical::INT32 | Physical::INT64);
        if integer {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

/// The arrays without arrays inside, in the order of the file's columns. A slab may be a slice:
/// of what is inside only its own part counts.
fn gather(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                gather(column, leaves);
            }
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            gather(&part(list.values(), list.value_offsets()), leaves);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            gather(&part(map.keys(), map.value_offsets()), leaves);
            gather(&part(map.values(), map.value_offsets()), leaves);
        }
        _ => leaves.push(array.clone()),
    }
}

fn part(values: &ArrayRef, offsets: &[i32]) -> ArrayRef {
    let at = |offset: Option<&i32>| {
        usize::try_from(offset.copied().unwrap_or(0)).expect("offsets count from zero")
    };
    let (start, end) = (at(offsets.first()), at(offsets.last()));
    values.slice(start, end - start)
}

/// Whether a dictionary pays.
fn dictionary(column: &ColumnDescPtr, leaf: &dyn Array) -> bool {
    let (seen, distinct) = distinct(leaf);
    match column.physical_type() {
        Physical::BOOLEAN => false,
        Physical::BYTE_ARRAY => distinct * 100 <= seen * MOST_DISTINCT_TEXT_PERCENT,
        _ => seen > 0 && distinct * NUMBERS_PER_DISTINCT <= seen,
    }
}

/// How many values are there in the sample, and how many different ones.
fn distinct(leaf: &dyn Array) -> (usize, usize) {
    downcast_primitive_array!(
        leaf => count(leaf.values().iter().enumerate().take(SAMPLE)
            .filter(|(place, _)| leaf.is_valid(*place))
            .map(|(_, value)| value.to_byte_slice())),
        DataType::Utf8 => count(leaf.as_string::<i32>().iter().take(SAMPLE).flatten().map(str::as_bytes)),
        DataType::Binary => count(leaf.as_binary::<i32>().iter().take(SAMPLE).flatten()),
        _ => (0, 0)
    )
}

fn count<'a>(values: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    let mut set: HashSet<&[u8], BuildHasherDefault<Quick>> =
        HashSet::with_capacity_and_hasher(SAMPLE, BuildHasherDefault::default());
    let mut seen = 0;
    for value in values {
        seen += 1;
        set.insert(value);
    }
    (seen, set.len())
}

/// A hash that is quick on short values, as in rustc. The count does not depend on it, and of a
/// bounded sample even the worst of collisions cost little.
#[derive(Default)]
struct Quick(u64);

impl Quick {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let last = rest.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.add(last);
    }

    fn write_usize(&mut self, length: usize) {
        self.add(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table looks at the high bits and the low ones.
        self.0 ^ self.0 >> 32
    }
}
