//! What a poison record costs: few calls more than without it, and nothing of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hydrant_core::outcomes::Overruns;
use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_transform::{Settings, WasmTransform};

use crate::kinds::logging_each_call;
use crate::support::{Answers as _, ENGINE, failures};

const RECORDS: usize = 10_000;
/// How many records of a block are a micro-batch of the pipeline.
const MICRO_BATCH: usize = 1_000;
/// More calls than without the poison.
const MORE_CALLS: usize = 30;

/// A transform that says a line in each call, and how many it has said.
fn counted() -> (Arc<WasmTransform>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let log = Arc::new(move |_, _: &str| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let module = logging_each_call();
    let transform = WasmTransform::load(&ENGINE, &module, &Settings::default(), log).unwrap();
    // What was said when it was loaded is no call for records.
    calls.store(0, Ordering::SeqCst);
    (transform, calls)
}

fn records(poison: Option<usize>) -> Records {
    let mut batch = RecordsBuilder::default();
    for i in 0..RECORDS {
        let key: &[u8] = if poison == Some(i) { b"!" } else { b"k" };
        let data = i.to_string();
        batch.push(Position::from_u64(i as u64), 1_000, key, data.as_bytes());
    }
    batch.build()
}

/// Applies a transform to micro-batches of a size. Outputs in order, the records that failed, and calls.
fn run(poison: Option<usize>, micro_batch: usize) -> (Vec<usize>, Vec<usize>, usize) {
    let (transform, calls) = counted();
    let records = records(poison);
    let (mut delivered, mut failed) = (Vec::new(), Vec::new());
    for first in (0..RECORDS).step_by(micro_batch) {
        let batch = records.slice(first, (first + micro_batch).min(RECORDS));
        let outcomes = transform.apply(&batch, Overruns::Decide);
        let text = |i| String::from_utf8(outcomes.data(i).to_vec()).unwrap();
        delivered.extend((0..outcomes.len()).map(|i| text(i).parse::<usize>().unwrap()));
        for (record, code) in failures(&outcomes) {
            assert_eq!(code, "Transform.Trapped");
            failed.push(first + record as usize);
        }
        assert_eq!(outcomes.dropped, 0);
    }
    (delivered, failed, calls.load(Ordering::SeqCst))
}

#[test]
fn one_poison_of_ten_thousand_takes_few_calls_and_the_others_come_in_order() {
    // As the pipeline cuts it, in borders that fit nothing, and all at once.
    for micro_batch in [MICRO_BATCH, 997, RECORDS] {
        let (delivered, failed, without) = run(None, micro_batch);
        assert!(failed.is_empty() && delivered.into_iter().eq(0..RECORDS));
        assert_eq!(without, RECORDS.div_ceil(micro_batch));
        for poison in [0, 1, 4_999, 5_000, 6_789, RECORDS - 1] {
            let (delivered, failed, with) = run(Some(poison), micro_batch);
            assert_eq!(failed, [poison]);
            let others = (0..RECORDS).filter(|i| *i != poison);
            assert!(
                delivered.into_iter().eq(others),
                "{poison} in {micro_batch}"
            );
            let more = with - without;
            assert!(
                more <= MORE_CALLS,
                "{more} calls more, of {poison} in {micro_batch}"
            );
        }
    }
}
