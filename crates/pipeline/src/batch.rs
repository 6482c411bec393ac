//! Cuts blocks into micro-batches. Borders depend on nothing but the records since the last border,
//! so that a redo from the range's first record finds the same ones.

use std::collections::VecDeque;
use std::sync::Arc;

use hydrant_core::budget::Permit;
use hydrant_core::records::join;
use hydrant_core::stage::Block;
use hydrant_core::{Position, Records, planted};

use crate::plan::MicroBatch;

/// Records that one call of a transform sees, and the budget they hold.
pub(crate) struct Batch {
    /// The records: a slice of a block, or a joined copy of several slices.
    pub(crate) records: Records,
    /// The permits of the blocks they came in; freed with the last batch of each.
    pub(crate) permits: Vec<Arc<Permit>>,
    /// Whether a range may end after this batch: not inside an aggregate.
    pub(crate) cuttable: bool,
}

/// Gathers blocks and gives full micro-batches.
pub(crate) struct Batcher {
    limits: MicroBatch,
    blocks: VecDeque<(Records, Arc<Permit>)>,
    /// Records and bytes of `blocks`.
    records: usize,
    bytes: usize,
}

impl Batcher {
    pub(crate) fn new(limits: MicroBatch) -> Self {
        Self {
            limits,
            blocks: VecDeque::new(),
            records: 0,
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, block: Block) {
        if block.records.is_empty() {
            return;
        }
        self.records += block.records.len();
        self.bytes += block.records.data_bytes();
        self.blocks
            .push_back((block.records, Arc::new(block.permit)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether there is a full micro-batch.
    pub(crate) fn has_full(&self) -> bool {
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    /// Arrival of the oldest record here.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.blocks.front().map(|(block, _)| block.arrival_ms(0))
    }

    /// The next full micro-batch, if there is one.
    pub(crate) fn next_full(&mut self) -> Option<Batch> {
        if !self.has_full() {
            return None;
        }
        let (count, full) = self.border();
        if planted!("batch-ends-with-its-block") {
            let block = self.blocks.front().map_or(count, |(block, _)| block.len());
            return full.then(|| self.take(count.min(block)));
        }
        full.then(|| self.take(count))
    }

    /// What is left, as a last and partial micro-batch. Call once `next_full` gives none.
    pub(crate) fn rest(&mut self) -> Option<Batch> {
        (!self.is_empty()).then(|| self.take(self.records))
    }

    /// How many records the next micro-batch has, and whether it is full.
    fn border(&self) -> (usize, bool) {
        let (mut count, mut bytes) = (0, 0);
        for (block, _) in &self.blocks {
            for i in 0..block.len() {
                count += 1;
                bytes += block.data_len(i);
                if count >= self.limits.records || bytes >= self.limits.bytes {
                    return (count, true);
                }
            }
        }
        (count, false)
    }

    fn take(&mut self, count: usize) -> Batch {
        let (mut parts, mut permits, mut left) = (Vec::new(), Vec::new(), count);
        while left > 0 {
            let (block, permit) = self.blocks.pop_front().expect("count is of what is here");
            let here = left.min(block.len());
            permits.push(permit.clone());
            parts.push(block.slice(0, here));
            if here < block.len() {
                self.blocks
                    .push_front((block.slice(here, block.len()), permit));
            }
            left -= here;
        }
        let records = join(&parts);
        self.records -= count;
        self.bytes -= records.data_bytes();
        let cuttable = match (records.last_position(), self.next_position()) {
            (Some(last), Some(next)) => !last.same_sequence(&next),
            // A source never ends a block inside an aggregate.
            _ => true,
        };
        Batch {
            records,
            permits,
            cuttable,
        }
    }

    fn next_position(&self) -> Option<Position> {
        self.blocks.front().map(|(block, _)| block.position(0))
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::budget::Budget;
    use hydrant_core::stage::Block;
    use hydrant_core::{Position, Records, RecordsBuilder};

    use super::Batcher;
    use crate::plan::MicroBatch;

    const LIMITS: MicroBatch = MicroBatch {
        records: 4,
        bytes: 10,
    };

    fn records(sizes: &[usize]) -> Records {
        let mut builder = RecordsBuilder::default();
        for (i, size) in sizes.iter().enumerate() {
            builder.push(Position::from_u64(i as u64), 0, b"", &vec![b'x'; *size]);
        }
        builder.build()
    }

    /// Borders found when the records come in blocks of `step`.
    fn borders(all: &Records, step: usize) -> Vec<usize> {
        let account = Budget::new(1 << 20).account("test");
        let (mut batcher, mut found, mut at) = (Batcher::new(LIMITS), Vec::new(), 0);
        while at < all.len() {
            let end = (at + step).min(all.len());
            let permit = account.take_now(1);
            batcher.push(Block {
                records: all.slice(at, end),
                permit,
            });
            at = end;
            while let Some(batch) = batcher.next_full() {
                found.push(batch.records.len());
            }
        }
        found.extend(batcher.rest().map(|batch| batch.records.len()));
        found
    }

    #[test]
    fn borders_do_not_depend_on_the_blocks() {
        let all = records(&[1, 1, 1, 1, 1, 9, 12, 0, 0, 0, 0, 5, 5, 5, 3]);
        let expected = vec![4, 2, 1, 4, 2, 2];
        for step in 1..=all.len() {
            assert_eq!(borders(&all, step), expected, "blocks of {step}");
        }
    }

    #[test]
    fn a_border_inside_an_aggregate_is_not_cuttable() {
        let mut builder = RecordsBuilder::default();
        for sub in 0..6 {
            builder.push(Position::from_u64(9).with_sub(sub), 0, b"", b"x");
        }
        let account = Budget::new(100).account("test");
        let mut batcher = Batcher::new(LIMITS);
        batcher.push(Block {
            records: builder.build(),
            permit: account.take_now(6),
        });
        assert!(!batcher.next_full().expect("four").cuttable);
        assert!(batcher.next_full().is_none());
        assert!(batcher.rest().expect("two").cuttable);
        assert!(batcher.is_empty() && batcher.rest().is_none());
    }
}
