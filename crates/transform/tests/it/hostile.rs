//! A guest that misbehaves harms the record that makes it so, and no other.

use std::sync::Arc;

use hydrant_core::outcomes::Overruns;
use hydrant_core::{Records, RecordsBuilder};
use hydrant_transform::{GuestLevel, Limits, Settings, WasmTransform};

use crate::support::{
    Answers as _, ENGINE, HOSTILE, apply, batch, failures, hostile, load_limited, log, result,
    texts,
};

/// Records `0` to `n`, with the poison at some of them.
fn with_poison(n: usize, poison: &[(usize, &str)]) -> Vec<String> {
    let mut records: Vec<String> = (0..n).map(|i| i.to_string()).collect();
    for (at, word) in poison {
        (*word).clone_into(&mut records[*at]);
    }
    records
}

#[test]
fn every_verdict_arrives_in_order() {
    let outcomes = apply(
        &hostile(),
        &[
            "same",
            "upper a",
            "many b c",
            "drop",
            "none",
            "fail because",
            "keys k",
            "meta",
        ],
    );
    assert_eq!(
        texts(&outcomes),
        ["same", "A", "b", "c", "keys k", "clicks key-7 107 1007"]
    );
    let records: Vec<u32> = (0..outcomes.len()).map(|i| outcomes.record(i)).collect();
    assert_eq!(records, [0, 1, 2, 2, 6, 7]);
    assert_eq!(outcomes.dropped, 2);
    assert_eq!(
        outcomes.partition_keys(4),
        [("word".to_owned(), "k".to_owned())]
    );
    assert_eq!(failures(&outcomes), [(5, "Transform.ProcessingFailed")]);
    assert_eq!(outcomes.failures[0].message, "because");
    assert_eq!(outcomes.failures[0].kind, "processing-failed");
}

#[test]
fn an_empty_batch_is_no_call() {
    let outcomes = hostile().apply(&Records::empty(), Overruns::Decide);
    assert_eq!(
        result(&outcomes),
        result(&hydrant_core::outcomes::Outcomes::default())
    );
}

#[test]
fn a_poison_record_is_isolated_and_the_others_are_delivered() {
    let transform = hostile();
    for (word, code, message) in [
        (
            "trap",
            "Transform.Trapped",
            "a record asked for a trap; in transform",
        ),
        // Where the stack ends depends on the machine, so no function is named.
        (
            "deep",
            "Transform.Trapped",
            "`transform`: wasm trap: call stack exhausted",
        ),
        (
            "alloc",
            "Transform.MemoryLimit",
            "its limit of 67108864 bytes",
        ),
        (
            "huge",
            "Transform.OutputLimit",
            "the limit of 8388608 bytes",
        ),
        (
            "million",
            "Transform.OutputLimit",
            "the limit of 8388608 bytes",
        ),
        (
            "short",
            "Transform.InvalidOutput",
            "0 outcomes for 1 records",
        ),
        (
            "long",
            "Transform.InvalidOutput",
            "2 outcomes for 1 records",
        ),
    ] {
        for at in [0, 17, 99] {
            let records = with_poison(100, &[(at, word)]);
            let outcomes = transform.apply(&batch(&records), Overruns::Decide);
            let others: Vec<String> = records
                .iter()
                .filter(|record| *record != word)
                .cloned()
                .collect();
            assert_eq!(texts(&outcomes), others, "{word} at {at}");
            assert_eq!(failures(&outcomes), [(u32::try_from(at).unwrap(), code)]);
            assert!(
                outcomes.failures[0].message.contains(message),
                "{:?}",
                outcomes.failures
            );
            assert_eq!(outcomes.failures[0].origin, transform.module_digest());
            assert!(outcomes.overruns.is_empty());
        }
    }
}

#[test]
fn different_poisons_in_one_batch_are_told_apart() {
    let poison = [
        (3, "trap"),
        (4, "huge"),
        (40, "fail no"),
        (41, "alloc"),
        (99, "short"),
    ];
    let outcomes = hostile().apply(&batch(&with_poison(100, &poison)), Overruns::Decide);
    assert_eq!(outcomes.len(), 95);
    let codes = [
        (3, "Transform.Trapped"),
        (4, "Transform.OutputLimit"),
        (40, "Transform.ProcessingFailed"),
        (41, "Transform.MemoryLimit"),
        (99, "Transform.InvalidOutput"),
    ];
    assert_eq!(failures(&outcomes), codes);
}

#[test]
fn the_search_for_poison_ends_after_sixteen() {
    let poison: Vec<(usize, &str)> = (0..64).step_by(2).map(|at| (at, "trap")).collect();
    let outcomes = hostile().apply(&batch(&with_poison(128, &poison)), Overruns::Decide);
    let failed = failures(&outcomes);
    assert_eq!(
        failed
            .iter()
            .filter(|(_, code)| *code == "Transform.Trapped")
            .count(),
        16
    );
    let rest: Vec<u32> = failed
        .iter()
        .filter(|(_, code)| *code == "Transform.TooManyPoisonRecords")
        .map(|(record, _)| *record)
        .collect();
    assert_eq!(
        rest,
        (32..64).collect::<Vec<u32>>(),
        "the part that failed, as a whole"
    );
    assert_eq!(
        texts(&outcomes).len(),
        16 + 64,
        "what stands in parts that work"
    );
    assert_eq!(
        outcomes.record(16),
        64,
        "those after the failed part are delivered"
    );
}

#[test]
fn the_outputs_of_a_batch_stay_within_its_limit_together() {
    let limits = Limits {
        output_bytes: 1 << 20,
        ..Limits::default()
    };
    let transform = load_with(limits);
    let large = "upper ".to_owned() + &"x".repeat(600 << 10);
    let outcomes = transform.apply(&batch(&[large.as_str(); 4]), Overruns::Decide);
    assert_eq!(outcomes.len(), 4, "16 times the input is allowed");
    // 10,000 outputs of a byte count 96 bytes more each: one of these records fits, four do not.
    let many = "many".to_owned() + &" a".repeat(10_000);
    let outcomes = transform.apply(&batch(&[many.as_str(); 4]), Overruns::Decide);
    assert_eq!(outcomes.len(), 10_000);
    let left = [1, 2, 3].map(|record| (record, "Transform.OutputLimit"));
    assert_eq!(failures(&outcomes), left);
}

#[test]
fn a_record_with_a_target_fails_whole_and_alone() {
    let outcomes = apply(&hostile(), &["a", "target x", "fork b c", "target ", "d"]);
    assert_eq!(texts(&outcomes), ["a", "d"]);
    assert_eq!(
        failures(&outcomes),
        [
            (1, "Transform.TargetNotRouted"),
            (2, "Transform.TargetNotRouted"),
            (3, "Transform.InvalidTarget")
        ]
    );
    assert!(outcomes.failures[1].message.contains("`last`"));
}

#[test]
fn messages_are_cut_between_characters() {
    let outcomes = apply(&hostile(), &["failhuge"]);
    assert_eq!(failures(&outcomes), [(0, "Transform.ProcessingFailed")]);
    assert_eq!(outcomes.failures[0].message, "é".repeat(512));
}

#[test]
fn log_lines_are_passed_on_up_to_their_limit() {
    let (sink, lines) = log();
    let transform = WasmTransform::load(&ENGINE, HOSTILE, &Settings::default(), sink).unwrap();
    apply(&transform, &["log careful"]);
    assert_eq!(
        *lines.lock().unwrap(),
        [(GuestLevel::Warn, "careful".to_owned())]
    );
    lines.lock().unwrap().clear();
    let outcomes = apply(&transform, &["logflood"]);
    assert_eq!(texts(&outcomes), ["logflood"]);
    let bytes: usize = lines
        .lock()
        .unwrap()
        .iter()
        .map(|(_, line)| line.len())
        .sum();
    assert_eq!(bytes, 64 << 10);
}

#[test]
fn the_message_of_a_panic_goes_to_the_error_output_and_not_to_the_log() {
    let (sink, lines) = log();
    let transform = WasmTransform::load(&ENGINE, HOSTILE, &Settings::default(), sink).unwrap();
    let outcomes = apply(&transform, &["trap"]);
    let message = &outcomes.failures[0].message;
    assert!(message.contains("a record asked for a trap"), "{message}");
    assert_eq!(*lines.lock().unwrap(), []);
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let records: Vec<Vec<u8>> = vec![vec![0, 255, 128], Vec::new(), vec![b'\n'; 3]];
    let mut builder = RecordsBuilder::default();
    for record in &records {
        builder.push_unplaced(u64::MAX, b"\xff\xfe", record);
    }
    let block = builder.build_run(hydrant_core::Position::START, 1);
    let outcomes = hostile().apply(&block, Overruns::Decide);
    let same: Vec<Vec<u8>> = (0..outcomes.len())
        .map(|i| outcomes.data(i).to_vec())
        .collect();
    assert_eq!(same, records);
}

#[test]
fn a_record_of_an_aggregate_says_which_it_is() {
    let mut builder = RecordsBuilder::default();
    for sub in [0, 3] {
        let position = hydrant_core::Position::from_u64(9).with_sub(sub);
        builder.push(position, 1, b"k", b"meta");
    }
    let outcomes = hostile().apply(&builder.build(), Overruns::Decide);
    assert_eq!(texts(&outcomes), ["clicks k 9 1", "clicks k 9.3 1"]);
}

#[test]
fn any_thread_gives_the_same_outcomes_and_so_does_the_next_call() {
    let transform = hostile();
    let poison = [
        (1, "many a b"),
        (2, "trap"),
        (3, "drop"),
        (30, "alloc"),
        (60, "fail x"),
    ];
    let records = Arc::new(batch(&with_poison(64, &poison)));
    let first = result(&transform.apply(&records, Overruns::Decide));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (transform, records) = (transform.clone(), records.clone());
            std::thread::spawn(move || {
                let again = [(); 2].map(|()| result(&transform.apply(&records, Overruns::Decide)));
                again.to_vec()
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().iter().all(|again| *again == first));
    }
}

#[test]
fn a_slice_of_a_block_is_a_batch_of_its_own() {
    let whole = batch(&with_poison(20, &[(12, "trap")]));
    let outcomes = hostile().apply(&whole.slice(10, 15), Overruns::Decide);
    assert_eq!(texts(&outcomes), ["10", "11", "13", "14"]);
    assert_eq!(failures(&outcomes), [(2, "Transform.Trapped")]);
}

fn load_with(limits: Limits) -> Arc<WasmTransform> {
    load_limited(HOSTILE, "{}", "", limits).unwrap()
}
