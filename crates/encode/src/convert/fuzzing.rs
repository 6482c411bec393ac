//! The body of the fuzz target `columns`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use std::sync::{Arc, LazyLock};

use hydrant_core::Digest;
use hydrant_core::stage::{Chunk, Encode};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::IgnoredAny;

use crate::settings::{Format, ParquetSettings, build};
use crate::{Schema, Type};

const COLUMNS: [(&str, &str); 13] = [
    ("s", "string"),
    ("b", "boolean"),
    ("t", "tinyint"),
    ("h", "smallint"),
    ("n", "int"),
    ("i", "bigint"),
    ("f", "float"),
    ("d", "double"),
    ("c", "decimal(20,4)"),
    ("y", "date"),
    ("w", "timestamp"),
    ("x", "binary"),
    ("l", "array<struct<x:bigint,m:map<string,double>>>"),
];

static STAGE: LazyLock<Arc<dyn Encode>> = LazyLock::new(|| {
    let columns = COLUMNS.map(|(name, of)| (name.into(), Type::parse(of).expect("a known type")));
    let schema = Schema::new(columns.to_vec()).expect("names that differ");
    build(Format::Parquet(ParquetSettings::new(schema))).expect("settings without fault")
});

/// Converts records, one a line. What is taken is JSON to another reader, with as many rows; what
/// is refused leaves no trace, however the records are cut into micro-batches.
///
/// # Panics
/// Where any of this is not so.
pub fn columns(bytes: &[u8]) {
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let (object, refused) = object(&records, records.len());
    let (alone, refused_alone) = self::object(&records, 1);
    assert_eq!(object, alone);
    let mut refused = refused.into_iter();
    assert_eq!(refused.len(), refused_alone.len());
    let mut next = refused.next();
    let mut expected = 0;
    for (i, record) in records.iter().enumerate() {
        if next == Some(i) {
            next = refused.next();
        } else {
            expected += objects(record);
        }
    }
    assert_eq!(next, None);
    let object = bytes::Bytes::from(object);
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).expect("a Parquet file");
    let reader = reader.build().expect("a Parquet file");
    let rows = reader.map(|batch| batch.expect("it is readable").num_rows());
    assert_eq!(rows.sum::<usize>(), expected);
}

/// The number of values in a record, all of them objects.
fn objects(record: &[u8]) -> usize {
    let mut values = serde_json::Deserializer::from_slice(record).into_iter::<IgnoredAny>();
    let mut count = 0;
    loop {
        let rest = record.get(values.byte_offset()..).unwrap_or_default();
        let Some(value) = values.next() else {
            return count;
        };
        value.expect("what is taken is JSON");
        assert_eq!(rest.trim_ascii_start().first(), Some(&b'{'));
        count += 1;
    }
}

/// The object of records in micro-batches of `size`, and the indexes of those refused.
fn object(records: &[&[u8]], size: usize) -> (Vec<u8>, Vec<usize>) {
    let mut encoder = STAGE.encoder(&Digest::of(b"object"));
    let (mut chunks, mut refused) = (Vec::new(), Vec::new());
    for (number, batch) in records.chunks(size).enumerate() {
        let prepared = STAGE.prepare(batch);
        for failure in prepared.refused {
            assert!(!failure.message.is_empty() && failure.message.len() < 1024);
            refused.push(number * size + failure.record as usize);
        }
        if let Some(piece) = prepared.piece {
            encoder.write(piece, &mut chunks).expect("it fits");
        }
    }
    encoder.finish(&mut chunks).expect("it fits");
    let bytes = chunks.into_iter().map(|chunk| match chunk {
        Chunk::Ready(bytes) => bytes,
        Chunk::Work(work) => work(),
    });
    (bytes.collect::<Vec<_>>().concat(), refused)
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;

    #[test]
    fn the_corpus_of_records() {
        let seeds = [
            (
                "all",
                r#"{"s":"\u00e9\ud83d\ude00","b":true,"t":-128,"h":"32767","n":1e2,"i":9007199254740993,"f":1.5,"d":-1e-9,"c":"99999.9999","y":"2000-02-29","w":"1970-01-01T00:00:00.000001Z","x":"aGk=","l":[{"x":1,"m":{"a":1.5,"b":null}},null]}"#,
            ),
            (
                "other",
                "{\"S\":{\"k\": [1]},\"b\":\"FALSE\",\"w\":1.5}{\"s\":1.10}\n{\"unknown\":[{\"a\":1}],\"y\":null}\n \n[1]",
            ),
            (
                "refused",
                "{\"t\":128}\n{\"c\":1e30}\n{\"y\":\"2001-02-29\"}\n{\"x\":\"?\"}\n{\"s\":\"\\ud800\"}\n{\"l\":{}}\n{",
            ),
        ];
        let seeds = seeds.map(|(name, text)| (name, text.as_bytes().to_vec()));
        corpus::run("columns", &seeds, super::columns);
    }
}
