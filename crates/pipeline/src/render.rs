//! Renders one micro-batch: transforms, partitions, pieces for the encoders. Pure: runs on the CPU
//! pool, on any thread, many at once, and gives the same for the same batch and overruns.

use std::collections::BTreeMap;
use std::sync::Arc;

use hydrant_core::outcomes::{Call, Failure, Outcomes, Overruns, PartitionKeys};
use hydrant_core::stage::Piece;
use hydrant_core::{Position, Records, RecordsBuilder};

use crate::error::LaneError;
use crate::failed::{FailedRaw, Failing};
use crate::intent::StageCall;
use crate::plan::{Partitioning, Plan};

/// Longest value of a partition key, in bytes: an object's key has no more (S3's limit).
const KEY_MAX_BYTES: usize = 1024;
/// Firehose's code for a record without its partition keys (reference, section 6).
const NO_KEY_CODE: &str = "DynamicPartitioning.MetadataExtractionFailed";
/// The code for partitions beyond the limit, as it is reported of Firehose (reference, section 6).
pub(crate) const LIMIT_CODE: &str = "DynamicPartitioning.ActivePartitionsLimitExceeded";
/// The word in the path of the error output for both.
pub(crate) const PARTITIONING_KIND: &str = "processing-failed";

/// The outputs of one partition.
pub(crate) struct PartitionPiece {
    pub(crate) keys: PartitionKeys,
    pub(crate) piece: Piece,
    /// Position and arrival of the record that the first of these outputs came from.
    pub(crate) first: Position,
    pub(crate) arrival_ms: u64,
    /// The outputs as failures, where there may be no room for their partition; else empty.
    pub(crate) refusable: Vec<FailedRaw>,
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
    /// Bytes of the records that these and what is refusable share.
    raw_bytes: usize,
    /// Outputs beyond the first of a record.
    pub(crate) added: u64,
    pub(crate) dropped: u64,
    /// `batch` is 0: the range fills it in.
    pub(crate) overruns: Vec<StageCall>,
}

impl Rendered {
    /// Bytes of memory that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|one| one.piece.held).sum();
        let refusable = self.pieces.iter().flat_map(|one| &one.refusable);
        let failures = self.failures.iter().chain(refusable);
        pieces + self.raw_bytes + failures.map(FailedRaw::words_bytes).sum::<usize>()
    }
}

/// The items that a stage sees: at first the records, later the outputs of the stage before.
struct Items {
    records: Records,
    /// Index of the original record of each item, and which of that record's items it is; `None`
    /// while items are the original records.
    origin: Option<Vec<(u32, u32)>>,
    /// How many items each original record has had so far.
    had: Vec<u32>,
    /// Partition keys of each item, once a stage gave any that are asked for. Outputs of an item
    /// share its keys.
    keys: Option<Vec<Arc<PartitionKeys>>>,
}

impl Items {
    fn origin(&self, item: usize) -> (u32, u32) {
        self.origin
            .as_ref()
            .map_or_else(|| (index(item), 0), |origin| origin[item])
    }

    fn keys(&self, item: usize) -> &[(String, String)] {
        self.keys.as_ref().map_or(&[], |keys| &keys[item])
    }

    /// The keys of an output of `item` to which a stage gave `given`: of those that are asked for
    /// the given ones, and where there is none the item's own.
    fn keys_with(
        &self,
        item: usize,
        given: &[(String, String)],
        by: &Partitioning,
    ) -> Arc<PartitionKeys> {
        if given.is_empty() {
            return self
                .keys
                .as_ref()
                .map_or_else(Arc::default, |keys| keys[item].clone());
        }
        let one = |name: &String| {
            let named = |(known, _): &&(String, String)| known == name;
            let own = || self.keys(item).iter().find(named);
            let (name, value) = given.iter().rfind(named).or_else(own)?;
            // Too long is refused in the end, and until then it is not carried about.
            let most = value.floor_char_boundary(KEY_MAX_BYTES + 4);
            Some((name.clone(), value.get(..most).unwrap_or(value).to_owned()))
        };
        Arc::new(by.keys.iter().filter_map(one).collect())
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
        raw_bytes: 0,
        added: 0,
        dropped: 0,
        overruns: Vec::new(),
    };
    let mut items = Items {
        records: batch.clone(),
        origin: None,
        had: vec![1; batch.len()],
        keys: None,
    };
    let mut failing = Failing::of(batch);
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
        let outcomes = transform.apply(&items.records, overruns)?;
        check_verdicts(&outcomes, items.records.len())?;
        items = next_items(
            plan,
            &mut rendered,
            &mut failing,
            &mut items,
            outcomes,
            stage,
        );
        if items.records.is_empty() {
            break;
        }
    }
    let delivered = prepare(plan, &mut rendered, &mut failing, &items);
    rendered.raw_bytes = failing.bytes();
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
    plan: &Plan,
    rendered: &mut Rendered,
    failing: &mut Failing<'_>,
    items: &mut Items,
    mut outcomes: Outcomes,
    stage: u8,
) -> Items {
    for failure in std::mem::take(&mut outcomes.failures) {
        let (record, output) = items.origin(failure.record as usize);
        let failure = Failure {
            record,
            output,
            ..failure
        };
        rendered.failures.push(failing.failed(failure));
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
    let keys = plan.partitioning.as_ref().and_then(|by| {
        let of = |i| items.keys_with(outcomes.record(i) as usize, outcomes.partition_keys(i), by);
        let any = outcomes.is_partitioned() || items.keys.is_some();
        any.then(|| (0..outcomes.len()).map(of).collect())
    });
    let batch = failing.batch;
    let mut had = std::mem::take(&mut items.had);
    let mut origin = Vec::with_capacity(outcomes.len());
    let mut next = RecordsBuilder::with_capacity(outcomes.len(), outcomes.data_bytes());
    let mut before = None;
    for i in 0..outcomes.len() {
        let item = outcomes.record(i);
        let (record, mut ordinal) = items.origin(item as usize);
        let at = record as usize;
        // The first output of an item goes by its number, and no number is given twice.
        if before.replace(item) == Some(item) {
            rendered.added += 1;
            ordinal = had[at];
            had[at] += 1;
        }
        origin.push((record, ordinal));
        next.push(
            batch.position(at),
            batch.arrival_ms(at),
            batch.key(at),
            outcomes.data(i),
        );
    }
    Items {
        records: next.build(),
        origin: Some(origin),
        had,
        keys,
    }
}

/// Groups the last items by partition and prepares a piece of each. Gives the number accepted.
fn prepare(plan: &Plan, rendered: &mut Rendered, failing: &mut Failing<'_>, items: &Items) -> u64 {
    let mut partitions: BTreeMap<&[(String, String)], Vec<usize>> = BTreeMap::new();
    for item in 0..items.records.len() {
        let keys = items.keys(item);
        let by = plan.partitioning.as_ref();
        if let Some(message) = by.and_then(|by| missing_key(by, keys)) {
            let failure = refusal(items, item, NO_KEY_CODE, message);
            rendered.failures.push(failing.failed(failure));
        } else {
            partitions.entry(keys).or_default().push(item);
        }
    }
    let mut delivered = 0;
    for (keys, mut members) in partitions {
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
            rendered.failures.push(failing.failed(failure));
        }
        let Some(piece) = prepared.piece else {
            continue;
        };
        delivered += piece.records;
        let mut at = 0..;
        members.retain(|_| {
            at.next()
                .is_some_and(|i| refused.binary_search(&i).is_err())
        });
        let first = members.first().copied().unwrap_or(0);
        rendered.pieces.push(PartitionPiece {
            keys: keys.to_vec(),
            piece,
            first: items.records.position(first),
            arrival_ms: items.records.arrival_ms(first),
            refusable: refusable(plan, failing, items, &members),
        });
    }
    rendered
        .failures
        .sort_by_key(|failed| (failed.failure.record, failed.failure.output));
    delivered
}

/// What is wrong with the keys of an output, if anything is: each that the plan asks for must be
/// there. They are in its order, and there are no others.
fn missing_key(by: &Partitioning, keys: &[(String, String)]) -> Option<String> {
    by.keys.iter().find_map(|name| {
        let found = keys.iter().find(|(known, _)| known == name);
        let Some((_, value)) = found.filter(|(_, value)| !value.is_empty()) else {
            let words = "partitionKeys values must not be null or empty";
            return Some(format!("{words}: no processor gave `{name}`"));
        };
        (value.len() > KEY_MAX_BYTES).then(|| {
            format!("partition key `{name}` is longer than the limit of {KEY_MAX_BYTES} bytes")
        })
    })
}

fn refusal(items: &Items, item: usize, code: &str, message: String) -> Failure {
    let (record, output) = items.origin(item);
    Failure {
        record,
        output,
        kind: PARTITIONING_KIND,
        code: code.to_owned(),
        message,
        origin: String::new(),
    }
}

/// The members of a partition as failures, where the range may have no room for it: only the range
/// knows, and its records are gone by then.
fn refusable(
    plan: &Plan,
    failing: &mut Failing<'_>,
    items: &Items,
    members: &[usize],
) -> Vec<FailedRaw> {
    let limit = plan.partitioning.as_ref().and_then(|by| by.max_active);
    let Some(limit) = limit else {
        return Vec::new();
    };
    let one = |item: &usize| {
        let message = format!("the range has {limit} partitions already, which is its limit");
        failing.failed(refusal(items, *item, LIMIT_CODE, message))
    };
    members.iter().map(one).collect()
}
