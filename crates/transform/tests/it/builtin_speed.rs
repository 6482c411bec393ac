//! What the processors cost, in nanoseconds a record. `cargo test --release -- --ignored --nocapture`

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use hydrant_core::outcomes::Overruns;
use hydrant_core::stage::Transform;
use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_transform::builtin::{
    AppendDelimiter, CloudWatchLogs, ColumnType, CsvSettings, CsvToJson, Decompression, Filter,
    LogFormat, LogToJson, MetadataExtraction, Packing, RecordDeaggregation, SubRecords,
};

const COUNT: u64 = 1_000;

fn batch(record: impl Fn(u64) -> Vec<u8>) -> Records {
    let mut batch = RecordsBuilder::default();
    for i in 0..COUNT {
        batch.push(Position::from_u64(i), 0, b"", &record(i));
    }
    batch.build()
}

/// About 500 bytes of JSON, nested a little.
fn json(i: u64) -> Vec<u8> {
    let text = "lorem ipsum dolor sit amet ".repeat(10);
    format!(
        r#"{{"id":{i},"ts":1764201600,"user":{{"id":"u{i}","name":"Ann","tags":["a","b","c"]}},"type":"click","url":"https://example.org/{i}","ok":true,"ms":{}.5,"text":"{text}","geo":{{"lat":48.1,"lon":11.5}}}}"#,
        i % 300
    )
    .into_bytes()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
#[ignore = "measures: run it with --release"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn nanoseconds_a_record() {
    let csv = CsvSettings {
        columns: ["a", "b", "c", "d"]
            .map(|name| (name.to_owned(), ColumnType::String))
            .into(),
        header: false,
        delimiter: b',',
        quote: Some(b'"'),
    };
    let line = "64.242.88.10 - ann [07/Mar/2004:16:10:02 -0800] \"GET /a/b/c HTTP/1.1\" 200 6291 \"-\" \"curl\"";
    let message = format!(
        r#"{{"messageType":"DATA_MESSAGE","logEvents":[{{"message":"{}"}}]}}"#,
        "x".repeat(440)
    );
    let query = |text: &str| MetadataExtraction::stage(text).unwrap();
    let filter = Filter::stage(r#".type == "click" and .ms > 100"#).unwrap();
    let delimited = RecordDeaggregation::stage(SubRecords::Delimited(b"\n".to_vec()));
    let stages: Vec<(&str, Arc<dyn Transform>, Records)> = vec![
        (
            "keys, plain paths",
            query("{u: .user.id, t: .type}"),
            batch(json),
        ),
        (
            "keys, jq",
            query("{u: (.user.id), t: (.type | .)}"),
            batch(json),
        ),
        (
            "keys, jq and strftime",
            query(r#"{t: .type, d: .ts | strftime("%Y/%m/%d")}"#),
            batch(json),
        ),
        ("filter", filter, batch(json)),
        (
            "deaggregation, json",
            RecordDeaggregation::stage(SubRecords::Json),
            batch(json),
        ),
        ("deaggregation, lines", delimited, batch(json)),
        (
            "gzip",
            Decompression::stage(Packing::Gzip),
            batch(|i| packed(&json(i))),
        ),
        (
            "cloudwatch",
            CloudWatchLogs::stage(true),
            batch(|_| message.clone().into_bytes()),
        ),
        (
            "csv",
            CsvToJson::stage(csv),
            batch(|_| format!("{0},{0},{0},{0}", "x".repeat(120)).into_bytes()),
        ),
        (
            "combined log",
            LogToJson::known(LogFormat::CombinedApache, None).unwrap(),
            batch(|_| line.into()),
        ),
        (
            "delimiter",
            AppendDelimiter::stage(b"\n".to_vec()),
            batch(json),
        ),
    ];
    for (name, stage, records) in stages {
        let rounds = 100;
        let outcomes = stage.apply(&records, Overruns::Decide).unwrap();
        assert!(
            outcomes.failures.is_empty(),
            "{name}: {:?}",
            outcomes.failures[0]
        );
        let began = Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(stage.apply(&records, Overruns::Decide).unwrap());
        }
        let each = began.elapsed().as_nanos() / u128::from(rounds * COUNT);
        eprintln!(
            "{name:>24}: {each:>6} ns a record of {} bytes",
            records.data_bytes() / records.len()
        );
    }
}
