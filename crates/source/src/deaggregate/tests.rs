//! The vector of the format, each fallback, and arbitrary bytes; messages are written by prost, an
//! independent implementation.

use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_log::stream::{HashRange, hash_key};
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use prost::Message as _;

use super::{Deaggregation, MAGIC, deaggregate};

#[derive(Clone, PartialEq, prost::Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// kinesis.md 3.1: keys a, b; data one, two.
const VECTOR: &str =
    "f3899ac20a01610a01621a0708001a036f6e651a0708011a0374776f7896626e4b54750e07fcfeb458e8a37e";

const ALL: HashRange = HashRange {
    first: 0,
    last: u128::MAX,
};

fn vector() -> Vec<u8> {
    let digit = |at| u8::from_str_radix(VECTOR.get(at..at + 2).unwrap(), 16).unwrap();
    (0..VECTOR.len()).step_by(2).map(digit).collect()
}

fn wrap(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)].concat()
}

fn aggregate(keys: &[&str], hash_keys: &[&str], records: &[(u64, Option<u64>, &str)]) -> Vec<u8> {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let records = records.iter().map(|(key, hash, data)| Record {
        partition_key_index: *key,
        explicit_hash_key_index: *hash,
        data: data.as_bytes().to_vec(),
    });
    let message = AggregatedRecord {
        partition_key_table: owned(keys),
        explicit_hash_key_table: owned(hash_keys),
        records: records.collect(),
    };
    wrap(&message.encode_to_vec())
}

fn block(data: &[&[u8]]) -> Records {
    let mut builder = RecordsBuilder::default();
    for (i, data) in (0_u64..).zip(data) {
        builder.push(Position::from_u64(100 + i), 5_000 + i, b"wrapper", data);
    }
    builder.build()
}

/// `(position, sub, key, data)` of each record.
fn shown(block: &Records) -> Vec<(u64, u64, String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (0..block.len())
        .map(|i| {
            let at = block.position(i);
            (
                at.sequence_u64(),
                at.sub_sequence(),
                text(block.key(i)),
                text(block.data(i)),
            )
        })
        .collect()
}

fn row(at: u64, sub: u64, key: &str, data: &str) -> (u64, u64, String, String) {
    (at, sub, key.to_owned(), data.to_owned())
}

#[test]
fn the_test_vector_between_plain_records() {
    assert_eq!(
        aggregate(&["a", "b"], &[], &[(0, None, "one"), (1, None, "two")]),
        vector()
    );
    let input = block(&[b"before", &vector(), b"after"]);
    for mode in [Deaggregation::KeepAll, Deaggregation::StrictKcl(ALL)] {
        let output = deaggregate(&input, mode);
        assert_eq!(
            shown(&output),
            [
                row(100, 0, "wrapper", "before"),
                row(101, 0, "a", "one"),
                row(101, 1, "b", "two"),
                row(102, 0, "wrapper", "after")
            ]
        );
        assert_eq!(
            output.arrival_ms(2),
            5_001,
            "user records arrive with their aggregate"
        );
    }
}

#[test]
fn what_is_not_an_aggregate_in_every_respect_is_a_plain_record() {
    let mut wrong_digest = vector();
    *wrong_digest.last_mut().unwrap() ^= 1;
    let mut wrong_magic = vector();
    wrong_magic[0] = 0;
    let record = |fields: &[u8]| {
        let len = u8::try_from(fields.len()).unwrap();
        wrap(&[&[0x1a, len][..], fields].concat())
    };
    let plain = [
        Vec::new(),
        MAGIC.to_vec(),
        wrap(b""),
        [&MAGIC[..], &[7; 15]].concat(),
        wrong_digest,
        wrong_magic,
        wrap(b"\x0a\x05a"), // a key longer than the message
        wrap(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), // a tag without end
        wrap(b"\x00\x00"),  // field number 0
        wrap(b"\x0c"),      // a group that ends without having begun
        wrap(b"\x23\x08\x00"), // a group without end
        record(b"\x08\x00"), // data is required
        record(b"\x1a\x01x"), // the key index is required
        record(b"\x08\x00\x1a\x01x\x22\x03\x12\x01v"), // a tag without key
    ];
    for bytes in &plain {
        let input = block(&[bytes]);
        for mode in [Deaggregation::KeepAll, Deaggregation::StrictKcl(ALL)] {
            let output = deaggregate(&input, mode);
            assert_eq!(
                (output.len(), output.data(0)),
                (1, &bytes[..]),
                "{bytes:02x?}"
            );
            assert_eq!(
                (output.key(0), output.position(0)),
                (&b"wrapper"[..], input.position(0))
            );
        }
    }
}

#[test]
fn unknown_fields_are_skipped_and_the_last_of_a_scalar_counts() {
    let fields =
        b"\x08\x07\x08\x00\x22\x03\x0a\x01t\x1a\x01x\x29\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x1a\x01y";
    let len = u8::try_from(fields.len()).unwrap();
    let group = b"\x33\x3b\x3c\x38\x01\x34";
    let message = [&[0x1a, len][..], fields, group, b"\x0a\x01k\x0a\x01l"].concat();
    let output = deaggregate(&block(&[&wrap(&message)]), Deaggregation::KeepAll);
    assert_eq!(
        shown(&output),
        [row(100, 0, "k", "y")],
        "tables may follow the records"
    );
}

#[test]
fn one_stray_discards_the_aggregate_in_strict_mode_only() {
    let range = HashRange {
        first: hash_key(b"a"),
        last: hash_key(b"a"),
    };
    let stray = aggregate(
        &["a", "b"],
        &[],
        &[(0, None, "one"), (1, None, "two"), (0, None, "three")],
    );
    let input = block(&[b"plain", &stray]);
    let strict = deaggregate(&input, Deaggregation::StrictKcl(range));
    assert_eq!(shown(&strict), [row(100, 0, "wrapper", "plain")]);
    assert_eq!(deaggregate(&input, Deaggregation::KeepAll).len(), 4);

    let forced = aggregate(
        &["b"],
        &["5", "x", "-5", "999999999999999999999999999999999999999999"],
        &[(0, Some(0), "one")],
    );
    let five = HashRange { first: 5, last: 5 };
    let strict = deaggregate(&block(&[&forced]), Deaggregation::StrictKcl(five));
    assert_eq!(
        shown(&strict),
        [row(100, 0, "b", "one")],
        "the explicit hash key decides"
    );
    for outside in [2, 3] {
        let far = aggregate(
            &["b"],
            &["5", "x", "-5", "999999999999999999999999999999999999999999"],
            &[(0, Some(0), "one"), (0, Some(outside), "two")],
        );
        assert!(deaggregate(&block(&[&far]), Deaggregation::StrictKcl(five)).is_empty());
    }
}

#[test]
fn an_index_outside_its_table_ends_the_aggregate_in_strict_mode_only() {
    for bad in [(9, None, "two"), (0, Some(9), "two"), (0, Some(0), "two")] {
        let torn = aggregate(
            &["a"],
            &["no number"],
            &[(0, None, "one"), bad, (0, None, "three")],
        );
        let strict = deaggregate(&block(&[&torn]), Deaggregation::StrictKcl(ALL));
        assert_eq!(shown(&strict), [row(100, 0, "a", "one")]);
        let kept = deaggregate(&block(&[&torn]), Deaggregation::KeepAll);
        assert_eq!(
            (kept.len(), kept.data(1), kept.data(2)),
            (3, &b"two"[..], &b"three"[..])
        );
    }
}

#[test]
fn an_aggregate_of_nothing() {
    let hollow = aggregate(&["a"], &[], &[]);
    assert!(deaggregate(&block(&[&hollow]), Deaggregation::StrictKcl(ALL)).is_empty());
    assert_eq!(
        deaggregate(&block(&[&hollow]), Deaggregation::KeepAll).data(0),
        hollow
    );
}

#[test]
fn keys_that_would_blow_up_are_left_empty() {
    let key = "k".repeat(100_000);
    let records = vec![(0, None, "x"); 1_000];
    let bomb = aggregate(&[&key], &[], &records);
    let output = deaggregate(&block(&[&bomb]), Deaggregation::KeepAll);
    assert_eq!(
        (output.len(), output.key(0), output.data(999)),
        (1_000, &b""[..], &b"x"[..])
    );
    let long = "k".repeat(256);
    let fair = aggregate(&[&long], &[], &records);
    assert_eq!(
        deaggregate(&block(&[&fair]), Deaggregation::KeepAll).key(999),
        long.as_bytes()
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let wrapped = wrap(&bytes);
        for mode in [Deaggregation::KeepAll, Deaggregation::StrictKcl(ALL)] {
            let output = deaggregate(&block(&[&bytes]), mode);
            prop_assert_eq!(output.data(0), &bytes[..]);
            deaggregate(&block(&[&wrapped]), mode);
        }
        prop_assert!(!deaggregate(&block(&[&wrapped]), Deaggregation::KeepAll).is_empty());
    }

    #[test]
    fn what_prost_writes_is_read_back(
        keys in prop::collection::vec("[a-z]{1,9}", 1..4),
        data in prop::collection::vec((0_usize..4, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
    ) {
        let records = data.iter().map(|(key, data)| Record {
            partition_key_index: (key % keys.len()) as u64,
            explicit_hash_key_index: None,
            data: data.clone(),
        });
        let message = AggregatedRecord {
            partition_key_table: keys.clone(),
            explicit_hash_key_table: Vec::new(),
            records: records.collect(),
        };
        let output = deaggregate(&block(&[&wrap(&message.encode_to_vec())]), Deaggregation::StrictKcl(ALL));
        prop_assert_eq!(output.len(), data.len());
        for (i, (key, data)) in data.iter().enumerate() {
            prop_assert_eq!(output.data(i), &data[..]);
            prop_assert_eq!(output.key(i), keys[key % keys.len()].as_bytes());
            prop_assert_eq!(output.position(i).sub_sequence(), i as u64);
        }
    }
}
