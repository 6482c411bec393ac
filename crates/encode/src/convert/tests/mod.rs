//! Whole files, written and read back.

mod refused;

mod reference;

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Int8Type, Int16Type, TimestampMicrosecondType,
};
use arrow_array::{Array as _, RecordBatch};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use hydrant_core::Digest;
use hydrant_core::outcomes::Failure;
use hydrant_core::stage::{Chunk, Encode};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::settings::{Format, ParquetCompression, ParquetSettings, build};
use crate::{Schema, Type};

fn schema(columns: &[(&str, &str)]) -> Schema {
    let columns = columns
        .iter()
        .map(|(name, of)| ((*name).into(), Type::parse(of).unwrap()));
    Schema::new(columns.collect()).unwrap()
}

fn stage(columns: &[(&str, &str)]) -> Arc<dyn Encode> {
    build(Format::Parquet(ParquetSettings::new(schema(columns)))).unwrap()
}

/// The object of these records, prepared in micro-batches of the given sizes in turn, and what
/// was refused.
fn object<R: AsRef<[u8]>>(
    stage: &dyn Encode,
    records: &[R],
    sizes: &[usize],
) -> (Bytes, Vec<Failure>) {
    let mut encoder = stage.encoder(&Digest::of(b"object"));
    let (mut chunks, mut refused) = (Vec::new(), Vec::new());
    let mut rest = records;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = rest.len().min(*sizes.next().unwrap());
        let batch: Vec<&[u8]> = rest[..size].iter().map(AsRef::as_ref).collect();
        rest = &rest[size..];
        let prepared = stage.prepare(&batch);
        refused.extend(prepared.refused);
        if let Some(piece) = prepared.piece {
            encoder.write(piece, &mut chunks).unwrap();
        }
    }
    encoder.finish(&mut chunks).unwrap();
    let run = |chunk| match chunk {
        Chunk::Ready(bytes) => bytes,
        Chunk::Work(work) => work(),
    };
    (
        chunks
            .into_iter()
            .map(run)
            .collect::<Vec<Bytes>>()
            .concat()
            .into(),
        refused,
    )
}

fn read(object: &Bytes) -> (RecordBatch, Arc<ParquetMetaData>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(object.clone()).unwrap();
    let (schema, metadata) = (builder.schema().clone(), builder.metadata().clone());
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    (concat_batches(&schema, &batches).unwrap(), metadata)
}

/// The rows of records that all fit.
fn rows<R: AsRef<[u8]>>(columns: &[(&str, &str)], records: &[R]) -> RecordBatch {
    let (object, refused) = object(&*stage(columns), records, &[1000]);
    assert!(refused.is_empty(), "{refused:?}");
    read(&object).0
}

#[test]
fn every_type_is_read_back() {
    let batch = rows(
        &[
            ("s", "string"),
            ("bin", "binary"),
            ("b", "boolean"),
            ("i8", "tinyint"),
            ("i16", "smallint"),
            ("f", "float"),
            ("dec", "decimal(10,2)"),
            ("day", "date"),
            ("at", "timestamp"),
        ],
        &[
            r#"{"s":"é\n","bin":"aGk=","b":true,"i8":-128,"i16":"32767","f":1.5,"dec":-1.005,"day":"2000-02-29","at":"1970-01-01T00:00:00.000001Z"}"#,
            r#"{"s":{"k": [1]},"b":"FALSE","i8":1e2,"f":"2","dec":"99999999.99","day":"1969-12-31","at":1.5}"#,
            r#"{"s":1.10,"at":null,"day":null}"#,
            r#"{"s":true}"#,
        ],
    );
    let strings: Vec<_> = batch
        .column(0)
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect();
    assert_eq!(strings, ["é\n", r#"{"k": [1]}"#, "1.10", "true"]);
    assert_eq!(
        batch.column(1).as_binary::<i32>().iter().next(),
        Some(Some(&b"hi"[..]))
    );
    let booleans: Vec<_> = batch.column(2).as_boolean().iter().collect();
    assert_eq!(booleans, [Some(true), Some(false), None, None]);
    let tiny: Vec<_> = batch.column(3).as_primitive::<Int8Type>().iter().collect();
    assert_eq!(tiny, [Some(-128), Some(100), None, None]);
    assert_eq!(
        batch.column(4).as_primitive::<Int16Type>().iter().next(),
        Some(Some(32767))
    );
    let floats: Vec<_> = batch
        .column(5)
        .as_primitive::<Float32Type>()
        .iter()
        .collect();
    assert_eq!(floats, [Some(1.5), Some(2.0), None, None]);
    let decimals: Vec<_> = batch
        .column(6)
        .as_primitive::<Decimal128Type>()
        .iter()
        .collect();
    assert_eq!(decimals, [Some(-101), Some(9_999_999_999), None, None]);
    let days: Vec<_> = batch
        .column(7)
        .as_primitive::<Date32Type>()
        .iter()
        .collect();
    assert_eq!(days, [Some(11_016), Some(-1), None, None]);
    let times = batch.column(8).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(
        times.iter().collect::<Vec<_>>(),
        [Some(1), Some(1_500_000), None, None]
    );
    assert_eq!(times.timezone(), Some("UTC"));
}

#[test]
fn keys_match_in_any_case_and_order_and_the_last_counts() {
    let batch = rows(
        &[("userId", "string"), ("n", "struct<Inner:string>")],
        &[
            r#" {"USERID":"a","other":[{}],"N":{"inner":"x","INNER":"y"}} "#,
            r#"{"n":{},"userid":"b","userid":"c"}{"userid":"d","n":null}"#,
        ],
    );
    assert_eq!(
        batch.num_rows(),
        3,
        "two objects in one record are two rows"
    );
    let users: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(users, [Some("a"), Some("c"), Some("d")]);
    let inner = batch.column(1).as_struct();
    let values: Vec<_> = inner.column(0).as_string::<i32>().iter().collect();
    assert_eq!(values, [Some("y"), None, None]);
    assert_eq!(
        inner.nulls().map(arrow_buffer::NullBuffer::null_count),
        Some(1)
    );
    assert_eq!(
        batch.schema().field(0).name(),
        "userId",
        "the schema's own spelling"
    );
}

#[test]
fn a_piece_counts_the_json_and_delimiters() {
    let stage = stage(&[("a", "int")]);
    let prepared = stage.prepare(&[b"{\"a\":1}", b"x", b"{}{}"]);
    let piece = prepared.piece.unwrap();
    assert_eq!(
        (piece.bytes, piece.records, prepared.refused.len()),
        (7 + 1 + 4 + 1, 2, 1)
    );
    assert!(stage.prepare(&[b"x"]).piece.is_none());
    assert!(stage.prepare(&[]).piece.is_none());
}

#[test]
fn a_record_cannot_blow_up_the_columns() {
    let members: Vec<String> = (0..1500)
        .map(|member| format!("m{member}:bigint"))
        .collect();
    let of = format!("array<struct<{}>>", members.join(","));
    let stage = stage(&[("l", of.as_str())]);
    let bomb = format!("{{\"l\":[{}]}}", ["{}"; 1000].join(","));
    let prepared = stage.prepare(&[b"{}", bomb.as_bytes(), b"{\"l\":[{},{}]}"]);
    assert_eq!(prepared.piece.unwrap().records, 2);
    let message = &prepared.refused[0].message;
    assert!(message.contains("the record fills more than"), "{message}");
}

#[test]
fn schemas_have_limits() {
    let ints = |count| (0..count).map(|i| (format!("c{i}"), Type::Int)).collect();
    assert!(Schema::new(ints(2000)).is_ok());
    let deep = (0..16).fold(Type::Int, |of, _| Type::Array(Box::new(of)));
    for (columns, message) in [
        (ints(2001), "the schema has 2001 columns, limit 2000"),
        (Vec::new(), "a schema or struct needs a column"),
        (
            vec![("x".into(), deep)],
            "column `x`: it is nested 17 deep, limit 16",
        ),
        (
            vec![(String::new(), Type::Int)],
            "column ``: the name is empty",
        ),
        (
            vec![("a`".into(), Type::Int)],
            "column `a``: the name has the character \"\\\\u{60}\"",
        ),
        (
            vec![
                ("Day".into(), Type::Int),
                ("b".into(), Type::Int),
                ("dAY".into(), Type::Int),
            ],
            "column `dAY`: the name is there twice; upper and lower case are the same",
        ),
    ] {
        assert_eq!(Schema::new(columns).unwrap_err().to_string(), message);
    }
}

/// Rows of about 100 bytes.
fn events(count: usize) -> Vec<String> {
    let event = |row: usize| {
        let level = ["debug", "info", "warn"][row * row % 3];
        format!(
            "{{\"user\":\"u{}\",\"level\":\"{level}\",\"at\":{},\"tags\":[\"t{}\"],\"n\":{}}}",
            row * 7919 % 1000,
            1_700_000_000_000_usize + row * 17,
            row % 5,
            if row.is_multiple_of(9) {
                "null".to_owned()
            } else {
                (row * 31 % 977).to_string()
            },
        )
    };
    (0..count).map(event).collect()
}

const EVENT: [(&str, &str); 5] = [
    ("user", "string"),
    ("level", "string"),
    ("at", "timestamp"),
    ("tags", "array<string>"),
    ("n", "bigint"),
];

fn small_groups(rows: usize, bytes: usize) -> Arc<dyn Encode> {
    let mut settings = ParquetSettings::new(schema(&EVENT));
    settings.row_group_rows = rows;
    settings.row_group_bytes = bytes;
    build(Format::Parquet(settings)).unwrap()
}

#[test]
fn row_groups_end_by_rows_and_by_bytes_wherever_pieces_do() {
    let events = events(40_000);
    let by_rows = small_groups(9_000, 1 << 30);
    let (file, _) = object(&*by_rows, &events, &[1000]);
    let (batch, metadata) = read(&file);
    let groups: Vec<i64> = metadata
        .row_groups()
        .iter()
        .map(RowGroupMetaData::num_rows)
        .collect();
    assert_eq!(groups, [9_000, 9_000, 9_000, 9_000, 4_000]);
    assert_eq!(metadata.file_metadata().created_by(), Some("hydrant"));
    assert!(metadata.file_metadata().key_value_metadata().is_none());
    assert_eq!(batch.num_rows(), 40_000);
    let by_bytes = small_groups(1 << 20, 1 << 20);
    let (bytes_file, _) = object(&*by_bytes, &events, &[1000]);
    assert!(read(&bytes_file).1.num_row_groups() > 1);
    for sizes in [&[1_usize][..], &[997, 3], &[40_000], &[8_192, 5_000, 17]] {
        assert!(object(&*by_rows, &events, sizes).0 == file, "{sizes:?}");
        assert!(
            object(&*by_bytes, &events, sizes).0 == bytes_file,
            "{sizes:?}"
        );
    }
}

#[test]
fn encodings_are_chosen_by_the_first_rows() {
    let columns = [
        ("id", "string"),
        ("name", "string"),
        ("seq", "bigint"),
        ("status", "smallint"),
        ("x", "double"),
        ("price", "float"),
        ("tags", "array<struct<t:int,u:string>>"),
        ("none", "int"),
        ("ok", "boolean"),
    ];
    let row = |i: usize| {
        format!(
            "{{\"id\":\"{}\",\"name\":\"n{}\",\"seq\":{i},\"status\":{},\"x\":{i}.5,\"price\":{}.99,\"tags\":[{{\"t\":{i},\"u\":\"{}\"}}],\"ok\":true}}",
            Digest::of(&i.to_le_bytes()),
            i % 500,
            200 + i % 5,
            i % 7,
            i % 3,
        )
    };
    let records: Vec<String> = (0..3000).map(row).collect();
    let (file, refused) = object(&*stage(&columns), &records, &[1000]);
    assert!(refused.is_empty());
    let (batch, metadata) = read(&file);
    assert_eq!(batch.num_rows(), 3000);
    let group = metadata.row_group(0);
    let found: Vec<_> = group
        .columns()
        .iter()
        .map(|column| {
            let encodings: Vec<Encoding> = column.encodings().collect();
            let dictionary = encodings.contains(&Encoding::RLE_DICTIONARY);
            let delta = encodings.contains(&Encoding::DELTA_BINARY_PACKED);
            (column.column_path().string(), dictionary, delta)
        })
        .collect();
    let expected = [
        ("id", false, false),
        ("name", true, false),
        ("seq", false, true),
        ("status", true, false),
        ("x", false, false),
        ("price", true, false),
        ("tags.list.element.t", false, true),
        ("tags.list.element.u", true, false),
        ("none", false, true),
        ("ok", false, false),
    ];
    assert_eq!(
        found,
        expected.map(|(path, dictionary, delta)| (path.to_owned(), dictionary, delta))
    );
}

#[test]
fn the_choice_of_encodings_sees_no_row_behind_the_first_slab() {
    let mut settings = ParquetSettings::new(schema(&[("tags", "array<string>")]));
    settings.row_group_rows = 8192;
    let stage = build(Format::Parquet(settings)).unwrap();
    let tag = |row: usize| {
        if row < 8192 {
            "same".to_owned()
        } else {
            row.to_string()
        }
    };
    let record = |row: usize| match row % 100 {
        0 => format!("{{\"tags\":[\"{}\"]}}", tag(row)),
        _ if row < 8192 => "{}".to_owned(),
        _ => format!("{{\"tags\":[\"{}\"]}}", tag(row)),
    };
    let records: Vec<String> = (0..20_000).map(record).collect();
    let (one, _) = object(&*stage, &records, &[20_000]);
    assert!(one == object(&*stage, &records, &[777]).0);
    let metadata = read(&one).1;
    let mut encodings = metadata.row_group(0).column(0).encodings();
    assert!(encodings.any(|encoding| encoding == Encoding::RLE_DICTIONARY));
}

#[test]
fn memory_is_bounded_by_the_row_group() {
    let stage = small_groups(1 << 20, 4 << 20);
    let events = events(1000);
    let batch: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    let mut encoder = stage.encoder(&Digest::of(b"object"));
    let (mut chunks, mut most) = (Vec::new(), 0);
    for _ in 0..300 {
        encoder
            .write(stage.prepare(&batch).piece.unwrap(), &mut chunks)
            .unwrap();
        most = most.max(encoder.held_bytes());
    }
    assert!(
        chunks.len() >= 3,
        "a chunk for each group: {}",
        chunks.len()
    );
    assert!((1 << 20..8 << 20).contains(&most), "{most}");
}

#[test]
fn every_compression_is_read_back() {
    let events = events(3000);
    let mut sizes = Vec::new();
    for compression in [
        ParquetCompression::None,
        ParquetCompression::Snappy,
        ParquetCompression::Zstd,
        ParquetCompression::Gzip,
    ] {
        let mut settings = ParquetSettings::new(schema(&EVENT));
        settings.compression = compression;
        let stage = build(Format::Parquet(settings)).unwrap();
        let (file, _) = object(&*stage, &events, &[1000]);
        assert_eq!(file, object(&*stage, &events, &[1000]).0, "the same twice");
        assert_eq!(read(&file).0, rows(&EVENT, &events));
        sizes.push(file.len());
    }
    assert!(sizes[1..].iter().all(|size| *size < sizes[0]), "{sizes:?}");
}

#[test]
fn an_object_without_rows_is_a_file() {
    let (file, _) = object::<&str>(&*stage(&EVENT), &[], &[1]);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(builder.metadata().file_metadata().num_rows(), 0);
}
