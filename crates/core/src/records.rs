//! A block: many records of one lane in one contiguous buffer, metadata in fixed-width columns.
//!
//! The unit of work everywhere. Cloning and slicing share the buffers. Column layout (integers
//! little-endian), the same in memory and in a frame of the log:
//!
//! | column | bytes | meaning |
//! | --- | --- | --- |
//! | data offsets | 4 x (n + 1) | where record i begins and ends in the data buffer |
//! | key offsets | 4 x (n + 1) | the same for partition keys in the key buffer |
//! | arrivals | 8 x n | approximate arrival, milliseconds since the epoch |

use bytes::Bytes;

use crate::Position;

/// Where the records of a block stand.
#[derive(Clone, Debug)]
pub enum Positions {
    /// Record `i` is `i` strides after the first: logs and offsets.
    Run {
        /// Position of record 0.
        first: Position,
        /// Distance in the sequence part between neighbours.
        stride: u128,
    },
    /// One position each, from this index on: Kinesis, de-aggregated records.
    Each(std::sync::Arc<[Position]>, usize),
}

/// Many records of one lane. See the module's header for the layout.
#[derive(Clone, Debug)]
pub struct Records {
    count: usize,
    data: Bytes,
    data_offsets: Bytes,
    keys: Bytes,
    key_offsets: Bytes,
    arrivals: Bytes,
    positions: Positions,
}

/// The raw columns of a block, to write into a frame or to build a block from one.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Record bytes, one after the other.
    pub data: Bytes,
    /// n + 1 offsets into `data`, u32 little-endian, never falling.
    pub data_offsets: Bytes,
    /// Partition keys, one after the other; an absent key is an empty one.
    pub keys: Bytes,
    /// n + 1 offsets into `keys`, u32 little-endian, never falling.
    pub key_offsets: Bytes,
    /// n arrivals, u64 little-endian milliseconds.
    pub arrivals: Bytes,
}

impl Records {
    /// A block without records.
    pub fn empty() -> Self {
        RecordsBuilder::default().build()
    }

    /// Builds a block over columns that came from a frame. `None` where they contradict each
    /// other: wrong lengths, falling offsets, or offsets past the buffer.
    pub fn from_columns(count: usize, columns: Columns, positions: Positions) -> Option<Self> {
        let whole = |offsets: &Bytes, buffer: &Bytes| {
            offsets.len() == 4 * (count + 1)
                && (0..count).all(|i| offset(offsets, i) <= offset(offsets, i + 1))
                && offset(offsets, count) <= buffer.len()
        };
        let positions_fit = match &positions {
            Positions::Run { .. } => true,
            Positions::Each(each, from) => each.len() >= from + count,
        };
        let fits = positions_fit
            && columns.arrivals.len() == 8 * count
            && whole(&columns.data_offsets, &columns.data)
            && whole(&columns.key_offsets, &columns.keys);
        fits.then_some(Self {
            count,
            data: columns.data,
            data_offsets: columns.data_offsets,
            keys: columns.keys,
            key_offsets: columns.key_offsets,
            arrivals: columns.arrivals,
            positions,
        })
    }

    /// The columns, sharing the buffers. Offsets of a slice keep counting from the whole block's
    /// buffer.
    pub fn columns(&self) -> Columns {
        Columns {
            data: self.data.clone(),
            data_offsets: self.data_offsets.clone(),
            keys: self.keys.clone(),
            key_offsets: self.key_offsets.clone(),
            arrivals: self.arrivals.clone(),
        }
    }

    /// The same records at other positions (a log gives positions when it takes a block).
    #[must_use]
    pub fn with_positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of record data (keys and columns not counted).
    pub fn data_bytes(&self) -> usize {
        offset(&self.data_offsets, self.count) - offset(&self.data_offsets, 0)
    }

    /// Bytes that this view stands for in the memory budget: data, keys, columns.
    pub fn held_bytes(&self) -> usize {
        let keys = offset(&self.key_offsets, self.count) - offset(&self.key_offsets, 0);
        let each = match self.positions {
            Positions::Run { .. } => 0,
            Positions::Each(..) => 32 * self.count,
        };
        self.data_bytes() + keys + 16 * self.count + each
    }

    /// The data of record `index`.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn data(&self, index: usize) -> &[u8] {
        &self.data[offset(&self.data_offsets, index)..offset(&self.data_offsets, index + 1)]
    }

    /// The data of record `index`, sharing the block's buffer.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn data_shared(&self, index: usize) -> Bytes {
        self.data
            .slice(offset(&self.data_offsets, index)..offset(&self.data_offsets, index + 1))
    }

    /// All record data of this view, one after the other without separator.
    pub fn contiguous(&self) -> Bytes {
        self.data
            .slice(offset(&self.data_offsets, 0)..offset(&self.data_offsets, self.count))
    }

    /// The length of record `index`'s data in bytes.
    pub fn data_len(&self, index: usize) -> usize {
        offset(&self.data_offsets, index + 1) - offset(&self.data_offsets, index)
    }

    /// The partition key of record `index`, empty where it has none.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn key(&self, index: usize) -> &[u8] {
        &self.keys[offset(&self.key_offsets, index)..offset(&self.key_offsets, index + 1)]
    }

    /// Approximate arrival of record `index`, milliseconds since the epoch.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn arrival_ms(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.arrivals[8 * index..8 * index + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Position of record `index`.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn position(&self, index: usize) -> Position {
        assert!(
            index < self.count,
            "record {index} of a block of {}",
            self.count
        );
        match &self.positions {
            Positions::Run { first, stride } => first.advance(*stride, index as u64),
            Positions::Each(each, from) => each[from + index],
        }
    }

    /// Position of the last record, `None` for an empty block.
    pub fn last_position(&self) -> Option<Position> {
        self.count.checked_sub(1).map(|last| self.position(last))
    }

    /// Records `from..to` as a view on the same buffers.
    ///
    /// # Panics
    /// Where `from <= to <= len()` does not hold.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        assert!(
            from <= to && to <= self.count,
            "slice {from}..{to} of {}",
            self.count
        );
        let positions = match &self.positions {
            Positions::Run { first, stride } => Positions::Run {
                first: first.advance(*stride, from as u64),
                stride: *stride,
            },
            Positions::Each(each, start) => Positions::Each(each.clone(), start + from),
        };
        Self {
            count: to - from,
            data: self.data.clone(),
            data_offsets: self.data_offsets.slice(4 * from..4 * (to + 1)),
            keys: self.keys.clone(),
            key_offsets: self.key_offsets.slice(4 * from..4 * (to + 1)),
            arrivals: self.arrivals.slice(8 * from..8 * to),
            positions,
        }
    }

    /// The first record whose position is after `position` (`len()` where none is). Positions
    /// rise, so this is a binary search.
    pub fn first_after(&self, position: Position) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.position(middle) > position {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

fn offset(offsets: &[u8], index: usize) -> usize {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&offsets[4 * index..4 * index + 4]);
    u32::from_le_bytes(bytes) as usize
}

/// Gathers records into a block. A block's data and keys each stay below 4 GiB.
#[derive(Debug)]
pub struct RecordsBuilder {
    data: Vec<u8>,
    data_offsets: Vec<u8>,
    keys: Vec<u8>,
    key_offsets: Vec<u8>,
    arrivals: Vec<u8>,
    positions: Vec<Position>,
}

impl Default for RecordsBuilder {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl RecordsBuilder {
    /// A builder with room for so many records and bytes of data.
    pub fn with_capacity(records: usize, data_bytes: usize) -> Self {
        let offsets = || {
            let mut offsets = Vec::with_capacity(4 * (records + 1));
            offsets.extend_from_slice(&0_u32.to_le_bytes());
            offsets
        };
        Self {
            data: Vec::with_capacity(data_bytes),
            data_offsets: offsets(),
            keys: Vec::new(),
            key_offsets: offsets(),
            arrivals: Vec::with_capacity(8 * records),
            // Most blocks have a run of positions.
            positions: Vec::new(),
        }
    }

    /// Adds one record at its position.
    ///
    /// # Panics
    /// Where the block would pass 4 GiB.
    pub fn push(&mut self, position: Position, arrival_ms: u64, key: &[u8], data: &[u8]) {
        self.positions.push(position);
        self.push_unplaced(arrival_ms, key, data);
    }

    /// Adds one record whose position is given later, by [`RecordsBuilder::build_run`].
    ///
    /// # Panics
    /// Where the block would pass 4 GiB.
    pub fn push_unplaced(&mut self, arrival_ms: u64, key: &[u8], data: &[u8]) {
        self.data.extend_from_slice(data);
        self.end_record(arrival_ms, key);
    }

    /// As [`RecordsBuilder::push_unplaced`], with data that `write` appends. Nothing is added where
    /// it fails.
    ///
    /// # Errors
    /// What `write` says.
    ///
    /// # Panics
    /// Where the block would pass 4 GiB.
    pub fn push_written<E>(
        &mut self,
        arrival_ms: u64,
        key: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.data.len();
        if let Err(error) = write(&mut self.data) {
            self.data.truncate(before);
            return Err(error);
        }
        self.end_record(arrival_ms, key);
        Ok(())
    }

    /// Ends the record whose data was appended.
    fn end_record(&mut self, arrival_ms: u64, key: &[u8]) {
        self.keys.extend_from_slice(key);
        let end = u32::try_from(self.data.len()).expect("a block stays below 4 GiB");
        let key_end = u32::try_from(self.keys.len()).expect("a block's keys stay below 4 GiB");
        self.data_offsets.extend_from_slice(&end.to_le_bytes());
        self.key_offsets.extend_from_slice(&key_end.to_le_bytes());
        self.arrivals.extend_from_slice(&arrival_ms.to_le_bytes());
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.arrivals.len() / 8
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Bytes of record data so far.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// The block, each record at the position it was pushed with.
    ///
    /// # Panics
    /// Where a record was pushed without a position.
    pub fn build(mut self) -> Records {
        assert_eq!(
            self.positions.len(),
            self.len(),
            "each record has a position"
        );
        let positions = Positions::Each(std::mem::take(&mut self.positions).into(), 0);
        self.build_at(positions)
    }

    /// The block, record `i` at `first` advanced by `i` strides.
    pub fn build_run(self, first: Position, stride: u128) -> Records {
        self.build_at(Positions::Run { first, stride })
    }

    fn build_at(self, positions: Positions) -> Records {
        Records {
            count: self.len(),
            data: self.data.into(),
            data_offsets: self.data_offsets.into(),
            keys: self.keys.into(),
            key_offsets: self.key_offsets.into(),
            arrivals: self.arrivals.into(),
            positions,
        }
    }
}

/// Joins blocks into one by copying; a single block is returned as it is.
///
/// # Panics
/// Where the block would pass 4 GiB.
pub fn join(blocks: &[Records]) -> Records {
    if let [one] = blocks {
        return one.clone();
    }
    let count = blocks.iter().map(Records::len).sum();
    let mut arrivals = Vec::with_capacity(8 * count);
    let mut positions = Vec::with_capacity(count);
    for block in blocks {
        arrivals.extend_from_slice(&block.arrivals);
        positions.extend((0..block.len()).map(|i| block.position(i)));
    }
    let (data, data_offsets) = join_column(blocks, |block| (&block.data, &block.data_offsets));
    let (keys, key_offsets) = join_column(blocks, |block| (&block.keys, &block.key_offsets));
    Records {
        count,
        data,
        data_offsets,
        keys,
        key_offsets,
        arrivals: arrivals.into(),
        positions: Positions::Each(positions.into(), 0),
    }
}

/// Joins a buffer and its offsets: the used part of each block in one copy.
fn join_column(blocks: &[Records], of: impl Fn(&Records) -> (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    let used = |block: &Records| {
        let offsets = of(block).1;
        offset(offsets, 0)..offset(offsets, block.count)
    };
    let count: usize = blocks.iter().map(Records::len).sum();
    let mut joined = Vec::with_capacity(blocks.iter().map(|block| used(block).len()).sum());
    let mut ends = Vec::with_capacity(4 * (count + 1));
    ends.extend_from_slice(&0_u32.to_le_bytes());
    for block in blocks {
        let (buffer, offsets) = of(block);
        let (from, base) = (offset(offsets, 0), joined.len());
        joined.extend_from_slice(&buffer[used(block)]);
        u32::try_from(joined.len()).expect("a block stays below 4 GiB");
        for i in 1..=block.count {
            let end = u32::try_from(base + offset(offsets, i) - from).unwrap_or(u32::MAX);
            ends.extend_from_slice(&end.to_le_bytes());
        }
    }
    (joined.into(), ends.into())
}

#[cfg(test)]
mod tests {
    use super::{Positions, Records, RecordsBuilder, join};
    use crate::Position;

    fn block() -> Records {
        let mut builder = RecordsBuilder::default();
        for i in 0..5_u64 {
            let data = "x".repeat(usize::try_from(i).unwrap_or(0));
            builder.push(
                Position::from_u64(10 + i),
                1000 + i,
                format!("k{i}").as_bytes(),
                data.as_bytes(),
            );
        }
        builder.build()
    }

    #[test]
    fn a_slice_is_the_same_records() {
        let whole = block();
        let part = whole.slice(1, 4);
        assert_eq!((part.len(), part.data_bytes()), (3, 6));
        for i in 0..3 {
            assert_eq!(part.data(i), whole.data(i + 1));
            assert_eq!(part.key(i), whole.key(i + 1));
            assert_eq!(part.arrival_ms(i), whole.arrival_ms(i + 1));
            assert_eq!(part.position(i), whole.position(i + 1));
        }
        assert_eq!(&part.contiguous()[..], b"xxxxxx");
        assert_eq!(part.slice(2, 3).position(0), Position::from_u64(13));
    }

    #[test]
    fn joined_slices_are_the_block() {
        let whole = block();
        let joined = join(&[whole.slice(0, 2), whole.slice(2, 2), whole.slice(2, 5)]);
        assert_eq!(joined.len(), 5);
        for i in 0..5 {
            assert_eq!(joined.data(i), whole.data(i));
            assert_eq!(joined.key(i), whole.key(i));
            assert_eq!(joined.arrival_ms(i), whole.arrival_ms(i));
            assert_eq!(joined.position(i), whole.position(i));
        }
    }

    #[test]
    fn columns_that_contradict_each_other_are_refused() {
        let whole = block();
        let run = || Positions::Run {
            first: Position::START,
            stride: 1,
        };
        assert!(Records::from_columns(5, whole.columns(), run()).is_some());
        assert!(Records::from_columns(4, whole.columns(), run()).is_none());
        let mut short = whole.columns();
        short.data = short.data.slice(0..9);
        assert!(Records::from_columns(5, short, run()).is_none());
        let mut falling = whole.columns();
        falling.key_offsets = vec![9_u8; 24].into();
        assert!(Records::from_columns(5, falling, run()).is_none());
    }

    #[test]
    fn first_after_finds_the_border() {
        let whole = block();
        assert_eq!(whole.first_after(Position::START), 0);
        assert_eq!(whole.first_after(Position::from_u64(11)), 2);
        assert_eq!(whole.first_after(Position::from_u64(14)), 5);
    }
}
