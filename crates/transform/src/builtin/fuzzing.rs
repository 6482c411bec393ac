//! The bodies of the fuzz targets `unpack` and `log_line`: run over checked-in corpora as tests, and by
//! `cargo xtask fuzz`.

use std::io::{Read as _, Write as _};

use flate2::read::MultiGzDecoder;
use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::Transform;
use hydrant_core::{Position, RecordsBuilder};
use serde_json::{Map, Value};

use super::decompress::{RATIO_FREE_BYTES, RATIO_MAX, RECORD_MAX_BYTES};
use super::{
    Builtin, CloudWatchLogs, ColumnType, CsvSettings, CsvToJson, Decompression, LogFormat,
    LogToJson, MetadataExtraction, Packing, RecordDeaggregation, SubRecords,
};

const PACKINGS: [Packing; 4] = [Packing::Gzip, Packing::Zlib, Packing::Zstd, Packing::Snappy];

fn apply(stage: &dyn Transform, record: &[u8]) -> Outcomes {
    let mut batch = RecordsBuilder::default();
    batch.push(Position::from_u64(1), 0, b"", record);
    let batch = batch.build();
    let outcomes = stage
        .apply(&batch, Overruns::Decide)
        .expect("never blocked");
    let ended = usize::from(!outcomes.is_empty()) + outcomes.dropped as usize;
    assert_eq!(ended + outcomes.failures.len(), 1, "one verdict");
    let again = stage
        .apply(&batch, Overruns::Decide)
        .expect("never blocked");
    assert_eq!(
        format!("{outcomes:?}"),
        format!("{again:?}"),
        "the same again"
    );
    outcomes
}

/// Decompresses the bytes in every way, and takes them apart: nothing grows beyond its limit, what is
/// taken is what another reader takes, and what is packed comes back.
///
/// # Panics
/// Where any of this is not so.
pub fn unpack(bytes: &[u8]) {
    let most = RATIO_FREE_BYTES
        .max(bytes.len() * RATIO_MAX)
        .min(RECORD_MAX_BYTES);
    for packing in PACKINGS {
        let outcomes = apply(&*Decompression::stage(packing), bytes);
        assert!(outcomes.data_bytes() <= most);
        if packing == Packing::Gzip && !outcomes.is_empty() {
            let mut content = Vec::new();
            let read = MultiGzDecoder::new(bytes).read_to_end(&mut content);
            assert!(read.is_ok() && content == outcomes.data(0));
        }
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("into memory");
    let packed = packed.finish().expect("into memory");
    let back = apply(&*Decompression::stage(Packing::Gzip), &packed);
    if bytes.len() <= RATIO_FREE_BYTES {
        assert_eq!(back.data(0), bytes);
    }
    let parts = apply(&*RecordDeaggregation::stage(SubRecords::Json), bytes);
    for i in 0..parts.len() {
        let object = serde_json::from_slice::<Map<String, Value>>(parts.data(i));
        assert!(object.is_ok_or_no_value(), "{:?}", parts.data(i));
    }
    let lines = apply(
        &*RecordDeaggregation::stage(SubRecords::Delimited(b"\n".to_vec())),
        bytes,
    );
    for i in 0..lines.len() {
        assert!(!lines.data(i).is_empty() && !lines.data(i).contains(&b'\n'));
    }
    apply(&*CloudWatchLogs::stage(true), bytes);
    let keys = MetadataExtraction::stage("{a: .a.b, c}").expect("a good query");
    let outcomes = apply(&*keys, bytes);
    if !outcomes.is_empty() {
        assert_eq!(outcomes.data(0), bytes);
        assert!(
            outcomes
                .partition_keys(0)
                .iter()
                .all(|(_, value)| !value.is_empty())
        );
    }
}

trait OkOrNoValue {
    fn is_ok_or_no_value(&self) -> bool;
}

/// What has JSON's form and no value here: a number beyond any double, half a surrogate pair, and
/// nesting of more than 128.
const NO_VALUE: [&str; 4] = [
    "out of range",
    "lone leading surrogate",
    "unexpected end of hex escape",
    "recursion limit",
];

impl<T> OkOrNoValue for Result<T, serde_json::Error> {
    fn is_ok_or_no_value(&self) -> bool {
        let Err(error) = self else { return true };
        let message = error.to_string();
        NO_VALUE.iter().any(|one| message.contains(one))
    }
}

/// Reads the bytes as a line of every form, as CSV, and as a query of jq: what comes out is JSON with
/// the names that were asked for.
///
/// # Panics
/// Where any of this is not so.
pub fn log_line(bytes: &[u8]) {
    for format in [
        LogFormat::CommonApache,
        LogFormat::CombinedApache,
        LogFormat::ApacheError,
        LogFormat::Syslog,
    ] {
        let stage = LogToJson::known(format, None).expect("its own names");
        let outcomes = apply(&*stage, bytes);
        if !outcomes.is_empty() {
            objects(&outcomes, format.names());
        }
    }
    let pattern = LogToJson::pattern(r"^(?<a>\S+) (?<b>.*)$", None).expect("a good pattern");
    objects(&apply(&*pattern, bytes), &["a", "b"]);
    for header in [false, true] {
        let columns = [("a", ColumnType::String), ("b", ColumnType::Number)];
        let csv = CsvToJson::stage(CsvSettings {
            columns: columns.map(|(name, kind)| (name.to_owned(), kind)).into(),
            header,
            delimiter: b',',
            quote: Some(b'"'),
        });
        let outcomes = apply(&*csv, bytes);
        objects(&outcomes, if header { &[] } else { &["a", "b"] });
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let query = Builtin::MetadataExtraction {
        query: text.to_owned(),
    };
    match query.build() {
        Ok(stage) => drop(apply(&*stage, br#"{"a":{"b":[1,"x",null]},"c":2.5}"#)),
        Err(message) => assert!(!message.is_empty()),
    }
}

/// Each output is an object with these members, if any are named.
fn objects(outcomes: &Outcomes, names: &[&str]) {
    for i in 0..outcomes.len() {
        let object = serde_json::from_slice::<Map<String, Value>>(outcomes.data(i));
        assert!(object.is_ok_or_no_value(), "{:?}", outcomes.data(i));
        let Ok(object) = object else {
            continue;
        };
        assert!(names.iter().all(|name| object.contains_key(*name)));
        assert!(names.is_empty() || object.len() == names.len());
    }
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;

    use super::super::decompress::tests::{ALL, pack};

    #[test]
    fn the_corpus_of_packed_records() {
        let names = ["gzip", "zlib", "zstd", "snappy"];
        let mut seeds: Vec<(&str, Vec<u8>)> = names
            .into_iter()
            .zip(ALL.map(|packing| pack(packing, br#"{"a":{"b":"x"},"c":7} {"d":[1]}"#)))
            .collect();
        let cloudwatch =
            br#"{"messageType":"DATA_MESSAGE","owner":"1","logEvents":[{"message":"m"}]}"#;
        seeds.push((
            "objects",
            br#"[{"a":{"b":1e999}},{"c":"\u00fc\n"}]{"x":{}}"#.to_vec(),
        ));
        seeds.push(("cloudwatch", cloudwatch.to_vec()));
        seeds.push(("lines", b"a\n\nb\n".to_vec()));
        seeds.push(("not-utf8", b"{\"a\":\"\xff\"}".to_vec()));
        seeds.push((
            "surrogates",
            br#"{"a":"\ud800"}{"a":"\udc00"}{"a":"\ud800\u0041"}"#.to_vec(),
        ));
        let deep = ["{\"a\":[", &"[".repeat(200), &"]".repeat(200), "]}"].concat();
        seeds.push(("deep", deep.into_bytes()));
        corpus::run("unpack", &seeds, super::unpack);
    }

    #[test]
    fn the_corpus_of_lines() {
        let access = r#"h - u [07/Mar/2004:16:10:02 -0800] "GET / HTTP/1.1" 200 6291 "-" "a \" b""#;
        let seeds = [
            ("access", access),
            (
                "error",
                "[Fri Sep 09 10:42:29 2011] [core:error] [pid 1:tid 2] [client ::1] no",
            ),
            (
                "syslog",
                "<34>Mar  2 12:27:00 server3 named[32172]: lame server",
            ),
            ("csv", "a,b\n\"x, \"\"y\"\"\",1.5e3\n,"),
            (
                "query",
                r#"{a: .a.b[0] | tostring, c: (.c // "x"), d: "\(.a.b | join("-"))"}"#,
            ),
        ];
        let seeds = seeds.map(|(name, text)| (name, text.as_bytes().to_vec()));
        corpus::run("log_line", &seeds, super::log_line);
    }
}
