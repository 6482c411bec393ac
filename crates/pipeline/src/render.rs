//! Renders one micro-batch: transforms, partitions, pieces for the encoders. Pure: runs on the CPU
//! pool, on any thread, many at once, and gives the same for the same batch and overruns.

use std::collections::BTreeMap;

use bytes::Bytes;
use hydrant_core::outcomes::{Call, Failure, Outcomes, Overruns, PartitionKeys};
use hydrant_core::stage::Piece;
use hydrant_core::{Position, Records, RecordsBuilder};

use crate::error::LaneError;
use crate::intent::StageCall;
use crate::plan::Plan;

/// About what an error line says besides the record and the message.
const LINE_BYTES: usize = 320;

/// A failed record, or output of one, with what its error object says.
pub(crate) struct FailedRaw {
    pub(crate) failure: Failure,
    pub(crate) raw: Bytes,
    pub(crate) position: Position,
    pub(crate) arrival_ms: u64,
}

/// The outputs of one partition.
pub(crate) struct PartitionPiece {
    pub(crate) keys: PartitionKeys,
    pub(crate) piece: Piece,
    /// Arrival of the record that the first of these outputs came from.
    pub(crate) arrival_ms: u64,
}

/// What a micro-batch became.
pub(crate) struct Rendered {
    pub(crate) records: u64,
    pub(crate) input_bytes: u64,
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) oldest_ms: u64,
    pub(crate) pieces: Vec<PartitionPiece>,
    pub(crate) failures: Vec<FailedRaw>,
    /// Outputs beyond the first of a record.
    pub(crate) added: u64,
    pub(crate) dropped: u64,
    /// `batch` is 0: the range fills it in.
    pub(crate) overruns: Vec<StageCall>,
}

impl FailedRaw {
    /// Bytes of its line in the error object: the record in base64, and what is said of it.
    pub(crate) fn line_bytes(&self) -> usize {
        self.raw.len().div_ceil(3) * 4 + self.failure.message.len() + LINE_BYTES
    }
}

impl Rendered {
    /// Bytes of memory that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|one| one.piece.held).sum();
        pieces
            + self
                .failures
                .iter()
                .map(FailedRaw::line_bytes)
                .sum::<usize>()
    }
}

/// The items that a stage sees: at first the records, later the outputs of the stage before.
struct Items {
    records: Records,
    /// Index of the original record of each item, and which of that record's items it is; `None`
    /// while items are the original records.
    origin: Option<Vec<(u32, u32)>>,
}

impl Items {
    fn origin(&self, item: usize) -> (u32, u32) {
        self.origin
            .as_ref()
            .map_or_else(|| (index(item), 0), |origin| origin[item])
    }
}

fn index(i: usize) -> u32 {
    u32::try_from(i).expect("a micro-batch has far fewer than 2^32 items")
}

/// Renders `batch`. `known` are the overruns of a range that is redone, of this micro-batch only;
/// `None` while the range is open.
pub(crate) fn render(
    plan: &Plan,
    batch: &Records,
    known: Option<&[StageCall]>,
) -> Result<Rendered, LaneError> {
    let (Some(last), false) = (batch.last_position(), batch.is_empty()) else {
        return Err(LaneError::Invariant(
            "an empty micro-batch was rendered".into(),
        ));
    };
    let mut rendered = Rendered {
        records: batch.len() as u64,
        input_bytes: batch.data_bytes() as u64,
        first: batch.position(0),
        last,
        oldest_ms: (0..batch.len())
            .map(|i| batch.arrival_ms(i))
            .min()
            .unwrap_or(0),
        pieces: Vec::new(),
        failures: Vec::new(),
        added: 0,
        dropped: 0,
        overruns: Vec::new(),
    };
    let mut items = Items {
        records: batch.clone(),
        origin: None,
    };
    let mut keys: Option<Vec<PartitionKeys>> = None;
    for (stage, transform) in plan.transforms.iter().enumerate() {
        let stage = u8::try_from(stage).expect("configuration allows at most 255 processors");
        let calls: Option<Vec<Call>> = known.map(|known| {
            known
                .iter()
                .filter(|call| call.stage == stage)
                .map(|call| call.call())
                .collect()
        });
        let overruns = calls.as_deref().map_or(Overruns::Decide, Overruns::Known);
        let outcomes = transform.apply(&items.records, overruns);
        check_verdicts(&outcomes, items.records.len())?;
        (items, keys) = next_items(&mut rendered, batch, &items, outcomes, stage);
        if items.records.is_empty() {
            break;
        }
    }
    let delivered = prepare(plan, &mut rendered, batch, &items, keys.as_deref());
    let ended = delivered + rendered.dropped + rendered.failures.len() as u64;
    if rendered.records + rendered.added != ended {
        return Err(LaneError::Invariant(format!(
            "of {} records and {} more outputs, {ended} have ended",
            rendered.records, rendered.added
        )));
    }
    Ok(rendered)
}

/// Each record ends in outputs, or dropped, or failed: exactly one of them (invariant I8).
fn check_verdicts(outcomes: &Outcomes, records: usize) -> Result<(), LaneError> {
    let (mut with_output, mut before) = (0_usize, None);
    for i in 0..outcomes.len() {
        let record = outcomes.record(i);
        if before != Some(record) {
            if before.is_some_and(|before| before > record) || record as usize >= records {
                return Err(LaneError::Invariant(
                    "a transform's outputs are out of order".into(),
                ));
            }
            with_output += 1;
            before = Some(record);
        }
    }
    let ended = with_output + outcomes.dropped as usize + outcomes.failures.len();
    if ended == records {
        return Ok(());
    }
    Err(LaneError::Invariant(format!(
        "a transform gave {ended} verdicts for {records} records"
    )))
}

/// Books what ended in this stage, and makes the next stage's items of its outputs.
fn next_items(
    rendered: &mut Rendered,
    batch: &Records,
    items: &Items,
    mut outcomes: Outcomes,
    stage: u8,
) -> (Items, Option<Vec<PartitionKeys>>) {
    for failure in std::mem::take(&mut outcomes.failures) {
        let (record, output) = items.origin(failure.record as usize);
        let failure = Failure {
            record,
            output,
            ..failure
        };
        let failed = failed(batch, failure, rendered.failures.last());
        rendered.failures.push(failed);
    }
    for call in &outcomes.overruns {
        let call = StageCall {
            batch: 0,
            stage,
            first: call.first,
            count: call.count,
        };
        rendered.overruns.push(call);
    }
    rendered.dropped += u64::from(outcomes.dropped);
    let mut origin = Vec::with_capacity(outcomes.len());
    let mut next = RecordsBuilder::with_capacity(outcomes.len(), outcomes.data_bytes());
    let (mut before_item, mut before_record, mut ordinal) = (None, None, 0);
    for i in 0..outcomes.len() {
        let item = outcomes.record(i);
        let (record, _) = items.origin(item as usize);
        rendered.added += u64::from(before_item == Some(item));
        ordinal = if before_record == Some(record) {
            ordinal + 1
        } else {
            0
        };
        (before_item, before_record) = (Some(item), Some(record));
        origin.push((record, ordinal));
        let at = record as usize;
        next.push(
            batch.position(at),
            batch.arrival_ms(at),
            batch.key(at),
            outcomes.data(i),
        );
    }
    let keys = outcomes.is_partitioned().then(|| {
        (0..outcomes.len())
            .map(|i| outcomes.partition_keys(i).to_vec())
            .collect()
    });
    (
        Items {
            records: next.build(),
            origin: Some(origin),
        },
        keys,
    )
}

/// Groups the last items by partition and prepares a piece of each. Gives the number accepted.
fn prepare(
    plan: &Plan,
    rendered: &mut Rendered,
    batch: &Records,
    items: &Items,
    keys: Option<&[PartitionKeys]>,
) -> u64 {
    let mut partitions: BTreeMap<&[(String, String)], Vec<usize>> = BTreeMap::new();
    for item in 0..items.records.len() {
        let keys = keys.map_or(&[][..], |keys| &keys[item]);
        partitions.entry(keys).or_default().push(item);
    }
    let mut delivered = 0;
    for (keys, members) in partitions {
        let outputs: Vec<&[u8]> = members
            .iter()
            .map(|item| items.records.data(*item))
            .collect();
        let prepared = plan.encode.prepare(&outputs);
        let refused: Vec<usize> = prepared.refused.iter().map(|f| f.record as usize).collect();
        for failure in prepared.refused {
            let (record, output) = items.origin(members[failure.record as usize]);
            let failure = Failure {
                record,
                output,
                ..failure
            };
            let failed = failed(batch, failure, rendered.failures.last());
            rendered.failures.push(failed);
        }
        if let Some(piece) = prepared.piece {
            delivered += piece.records;
            // The first accepted output: the refused ones are in order.
            let first = (0..members.len())
                .find(|i| refused.binary_search(i).is_err())
                .unwrap_or(0);
            let arrival_ms = items.records.arrival_ms(members[first]);
            rendered.pieces.push(PartitionPiece {
                keys: keys.to_vec(),
                piece,
                arrival_ms,
            });
        }
    }
    rendered
        .failures
        .sort_by_key(|failed| (failed.failure.record, failed.failure.output));
    delivered
}

fn failed(batch: &Records, failure: Failure, before: Option<&FailedRaw>) -> FailedRaw {
    let at = failure.record as usize;
    let same = before.filter(|before| before.failure.record == failure.record);
    FailedRaw {
        // A copy, so that one bad record does not hold its whole block; one for all its outputs.
        raw: same.map_or_else(
            || Bytes::copy_from_slice(batch.data(at)),
            |one| one.raw.clone(),
        ),
        position: batch.position(at),
        arrival_ms: batch.arrival_ms(at),
        failure,
    }
}
