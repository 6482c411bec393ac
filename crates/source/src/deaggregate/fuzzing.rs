//! The body of the fuzz target `aggregate`.

use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_log::stream::HashRange;
use md5::{Digest as _, Md5};
use prost::Message as _;

use super::message::Message;
use super::{Deaggregation, KEY_EXPANSION, MAGIC, deaggregate};

const ALL: HashRange = HashRange {
    first: 0,
    last: u128::MAX,
};

const LOWER: HashRange = HashRange {
    first: 0,
    last: u128::MAX / 2,
};

/// The message as another implementation reads it; texts are bytes here as they are to us.
#[derive(Clone, PartialEq, prost::Message)]
struct Reference {
    #[prost(bytes = "vec", repeated, tag = "1")]
    keys: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    hash_keys: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<ReferenceRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReferenceRecord {
    #[prost(uint64, required, tag = "1")]
    key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    hash_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// Takes apart the bytes as they are, and as the message of an aggregate.
///
/// # Panics
/// Where any of this is not so.
pub fn aggregate(bytes: &[u8]) {
    check(bytes);
    check(&wrapped(bytes));
    let ours = Message::parse(bytes);
    if let (Some(ours), Ok(reference)) = (ours, Reference::decode(bytes)) {
        assert_eq!(ours.keys, reference.keys);
        assert_eq!(ours.hash_keys, reference.hash_keys);
        assert_eq!(ours.records.len(), reference.records.len());
        for (ours, theirs) in ours.records.iter().zip(&reference.records) {
            assert_eq!(ours.key_index, theirs.key_index);
            assert_eq!(ours.hash_index, theirs.hash_index);
            assert_eq!(ours.data, theirs.data);
        }
    }
}

fn wrapped(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)].concat()
}

/// Nothing is lost, nothing is made up, and strict mode only leaves out.
fn check(data: &[u8]) {
    let mut block = RecordsBuilder::default();
    block.push(Position::from_u64(7), 1_000, b"outer", data);
    let block = block.build();
    let all = deaggregate(&block, Deaggregation::KeepAll);
    assert!(!all.is_empty());
    assert!(all.data_bytes() <= data.len());
    let keys: usize = (0..all.len()).map(|i| all.key(i).len()).sum();
    assert!(keys <= KEY_EXPANSION * data.len() + b"outer".len());
    for i in 0..all.len() {
        assert_eq!(all.position(i), Position::from_u64(7).with_sub(i as u64));
        assert_eq!(all.arrival_ms(i), 1_000);
    }
    let strict = deaggregate(&block, Deaggregation::StrictKcl(ALL));
    let narrow = deaggregate(&block, Deaggregation::StrictKcl(LOWER));
    assert!(begins(&all, &strict) && begins(&strict, &narrow));
}

/// Whether `part` is what `whole` begins with.
fn begins(whole: &Records, part: &Records) -> bool {
    let same = |i| {
        let data = whole.data(i) == part.data(i) && whole.key(i) == part.key(i);
        data && whole.position(i) == part.position(i)
    };
    part.len() <= whole.len() && (0..part.len()).all(same)
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;
    use prost::Message as _;

    use super::{Reference, ReferenceRecord, aggregate, wrapped};

    fn seed(records: u64, hashed: bool) -> Vec<u8> {
        let record = |i: u64| ReferenceRecord {
            key_index: i % 3,
            hash_index: (hashed && i.is_multiple_of(2)).then_some(0),
            data: format!("record {i}").into_bytes(),
        };
        let message = Reference {
            keys: [&b"a"[..], b"bc", b"k\xff"].map(<[u8]>::to_vec).to_vec(),
            hash_keys: vec![b"170141183460469231731687303715884105728".to_vec()],
            records: (0..records).map(record).collect(),
        };
        message.encode_to_vec()
    }

    #[test]
    fn the_corpus_of_aggregates() {
        let odd = b"\x1a\x12\x08\x07\x08\x00\x22\x03\x0a\x01t\x1a\x01x\x2d\0\0\0\0\x33\x3b\x3c\x38\x01\x34\x0a\x01k";
        let seeds = [
            ("one", seed(1, false)),
            ("many", seed(9, false)),
            ("hashed", seed(5, true)),
            ("hollow", seed(0, true)),
            ("odd", odd.to_vec()),
            ("whole", wrapped(&seed(2, false))),
        ];
        corpus::run("aggregate", &seeds, aggregate);
    }
}
