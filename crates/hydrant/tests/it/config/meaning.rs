//! What a right configuration means.

use std::time::Duration;

use hydrant::config::{
    Deaggregation, DestinationConfig, KinesisConfig, Module, ProcessorConfig, S3Config,
    SourceConfig, Start, StreamPlace, load_with,
};
use hydrant_core::units::ByteSize;
use hydrant_encode::{Compression, Delimiter, Format, ParquetCompression};

use super::{environment, folder, load};

const FULL: &str = r#"
api: { listen: 127.0.0.1:4567, auth: none }
operations: { listen: "[::1]:4580" }
data_dir: ./data
memory: 1GiB
streams:
  clicks: { shards: "${NOT_SET:-2}", retention: 48h }
delivery_streams:
  clicks-to-lake:
    source:
      kinesis: { stream: clicks, endpoint: embedded, start: "2026-01-02T03:04:05+01:00", deaggregation: strict }
    processors:
      - wasm: { module: t.wasm, config: { fields: [email], deep: { on: true, n: 1.5 } }, memory: 32MiB, timeout: 2s }
    destination:
      s3:
        bucket: ${BUCKET}
        region: eu-west-1
        endpoint: http://127.0.0.1:9000/
        force_path_style: true
        credentials:
          access_key_id: { env: KEY }
          secret_access_key: { file: key }
        prefix: "clicks/dt=!{timestamp:yyyy-MM-dd}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/dt=!{timestamp:yyyy-MM-dd}/"
        checksum: when_required
        abort_uploads_after: 48h
        buffering_hints: { size: 64MiB, interval: 60s }
        format_conversion:
          output: { parquet: { compression: zstd } }
          schema: { columns: [ { name: user, type: string }, { name: ts, type: timestamp } ] }
"#;

fn full_s3(config: &hydrant::config::Config) -> &S3Config {
    match &config.delivery_streams["clicks-to-lake"].destination {
        DestinationConfig::S3(s3) => s3,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_can_be_set_arrives() {
    let folder = folder(&[
        ("hydrant.yaml", FULL),
        ("t.wasm", ""),
        ("key", "s3cr3t-in-file\n"),
    ]);
    let mut text = FULL.to_owned();
    text = text.replace("shards: \"${NOT_SET:-2}\"", "shards: 2");
    std::fs::write(folder.path().join("hydrant.yaml"), text).unwrap();
    let config = load_with(&folder.path().join("hydrant.yaml"), environment()).unwrap();
    assert_eq!(config.operations.listen.to_string(), "[::1]:4580");
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!(config.memory, ByteSize(1 << 30));
    assert_eq!(config.streams["clicks"].shards, 2);
    assert_eq!(config.streams["clicks"].retention, Duration::from_hours(48));
    assert!(config.notes.is_empty());
    let stream = &config.delivery_streams["clicks-to-lake"];
    let SourceConfig::Kinesis(kinesis) = &stream.source;
    assert_eq!(
        (kinesis.start, kinesis.deaggregation),
        (Start::At(1_767_319_445_000), Deaggregation::Strict)
    );
    let ProcessorConfig::Wasm(wasm) = &stream.processors[0] else {
        panic!("a transform")
    };
    assert_eq!(wasm.module, Module::File(folder.path().join("t.wasm")));
    assert_eq!(
        wasm.config_json,
        r#"{"deep":{"n":1.5,"on":true},"fields":["email"]}"#
    );
    assert_eq!(
        (wasm.memory, wasm.timeout),
        (ByteSize::mib(32), Duration::from_secs(2))
    );
    let s3 = full_s3(&config);
    assert_eq!(
        (s3.bucket.as_str(), s3.region.as_deref()),
        ("lake", Some("eu-west-1"))
    );
    assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    let keys = s3.credentials.as_ref().unwrap();
    assert_eq!(keys.access_key_id.expose(), "s3cr3t-in-env");
    assert_eq!(keys.secret_access_key.expose(), "s3cr3t-in-file");
    assert_eq!(s3.abort_uploads_after, Some(Duration::from_hours(48)));
    assert_eq!(s3.objects.buffering_hints.size, ByteSize::mib(64));
    let Format::Parquet(parquet) = &s3.objects.format else {
        panic!("{:?}", s3.objects.format)
    };
    assert_eq!(parquet.compression, ParquetCompression::Zstd);
    assert_eq!(parquet.schema.fields().list().len(), 2);
}

#[test]
fn abandoned_uploads_are_given_up_after_a_day_a_time_or_never() {
    let age = |setting: &str| {
        let text = format!(
            "delivery_streams:\n  raw:\n    source: {{ kinesis: {{ stream: s, endpoint: embedded }} }}\n    \
             destination: {{ s3: {{ bucket: lake{setting} }} }}\nstreams: {{ s: {{}} }}\n"
        );
        let config = load(&text).unwrap();
        match &config.delivery_streams["raw"].destination {
            DestinationConfig::S3(s3) => s3.abort_uploads_after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(age(""), Some(Duration::from_hours(24)));
    assert_eq!(
        age(", abort_uploads_after: 7d"),
        Some(Duration::from_hours(7 * 24))
    );
    assert_eq!(age(", abort_uploads_after: never"), None);
}

fn kinesis(settings: &str) -> KinesisConfig {
    let text = format!(
        "delivery_streams:\n  raw:\n    source: {{ kinesis: {settings} }}\n    destination: {{ stdout: }}\n"
    );
    let config = load(&text).unwrap();
    let SourceConfig::Kinesis(kinesis) = &config.delivery_streams["raw"].source;
    kinesis.clone()
}

#[test]
fn a_region_an_arn_or_an_endpoint_make_a_stream_remote() {
    let place = |settings: &str| match kinesis(settings).place {
        StreamPlace::Embedded => None,
        StreamPlace::Remote(remote) => Some((remote.region, remote.endpoint)),
    };
    let region = |name: &str| Some(name.to_owned());
    assert_eq!(place("{ stream: s }"), None);
    assert_eq!(place("{ stream: s, endpoint: aws }"), Some((None, None)));
    assert_eq!(
        place("{ stream: s, region: eu-west-1 }"),
        Some((region("eu-west-1"), None))
    );
    assert_eq!(
        place("{ stream: \"arn:aws:kinesis:eu-west-1:123456789012:stream/s\" }"),
        Some((region("eu-west-1"), None))
    );
    assert_eq!(
        place("{ stream: s, endpoint: \"http://127.0.0.1:4567/\" }"),
        Some((None, Some("http://127.0.0.1:4567".to_owned())))
    );
    let own = kinesis(
        "{ stream: s, endpoint: aws, role_arn: r, poll_interval: 5s, credentials: { access_key_id: a, secret_access_key: b } }",
    );
    let StreamPlace::Remote(remote) = own.place else {
        panic!("{own:?}")
    };
    assert_eq!(remote.role_arn.as_deref(), Some("r"));
    assert_eq!(remote.poll_interval, Duration::from_secs(5));
    assert_eq!(remote.credentials.unwrap().access_key_id.expose(), "a");
}

#[test]
fn debug_of_a_configuration_shows_no_secret() {
    let config = load(&FULL.replace("shards: \"${NOT_SET:-2}\"", "shards: 2")).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(shown.contains("Secret(redacted)"));
}

#[test]
fn variables_take_the_type_that_they_would_have_if_written() {
    let config =
        load("streams:\n  a:\n    shards: ${SHARDS}\n  b:\n    shards: ${NOT_SET:-4}\n").unwrap();
    assert_eq!(
        (config.streams["a"].shards, config.streams["b"].shards),
        (3, 4)
    );
    // Quoted, it is a text, as any YAML number is.
    assert!(load("streams:\n  a:\n    shards: \"${SHARDS}\"\n").is_err());
}

#[test]
fn an_empty_file_has_all_defaults() {
    for text in ["", "# nothing\n", "api:\nstreams:\ndelivery_streams:\n"] {
        let config = load(text).unwrap();
        assert_eq!(config.api.listen.to_string(), "127.0.0.1:4567");
        assert_eq!(config.operations.listen.to_string(), "127.0.0.1:4580");
        assert!(config.memory >= ByteSize::mib(256));
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("hydrant-data"));
    }
}

fn destination(text: &str) -> DestinationConfig {
    let text = format!(
        "delivery_streams:\n  raw:\n    source: {{ kinesis: {{ stream: s }} }}\n    destination: {text}\n"
    );
    load(&text)
        .unwrap()
        .delivery_streams
        .remove("raw")
        .unwrap()
        .destination
}

#[test]
fn defaults_are_firehoses_but_for_delimiters() {
    let directory = destination("{ directory: { path: out } }");
    let hints = directory.objects().buffering_hints;
    assert_eq!(
        (hints.size, hints.interval),
        (ByteSize::mib(5), Duration::from_mins(5))
    );
    let Format::Records {
        delimiter,
        compression,
    } = &directory.objects().format
    else {
        panic!("records")
    };
    assert_eq!(
        (delimiter, *compression),
        (&Delimiter::Newline, Compression::None)
    );
    let parquet = destination(
        "{ directory: { path: out, format_conversion: { output: { parquet: }, schema: { columns: [{ name: a, \
         type: int }] } } } }",
    );
    assert_eq!(parquet.objects().buffering_hints.size, ByteSize::mib(128));
    let stdout = destination("{ stdout: }");
    assert_eq!(
        stdout.objects().buffering_hints.interval,
        Duration::from_secs(1)
    );
}

#[test]
fn compressions_and_delimiters_have_words_and_maps() {
    let cases = [
        ("compression: none", Compression::None),
        ("compression: gzip", Compression::Gzip { level: 6 }),
        (
            "compression: { gzip: { level: 9 } }",
            Compression::Gzip { level: 9 },
        ),
        ("compression: zip", Compression::Zip),
        ("compression: snappy", Compression::Snappy),
        ("compression: hadoop_snappy", Compression::HadoopSnappy),
        (
            "compression: { zstd: { level: 19 } }",
            Compression::Zstd { level: 19 },
        ),
    ];
    for (text, expected) in cases {
        let directory = destination(&format!("{{ directory: {{ path: out, {text} }} }}"));
        let Format::Records { compression, .. } = &directory.objects().format else {
            panic!("records")
        };
        assert_eq!(*compression, expected, "{text}");
    }
    let directory = destination(r#"{ directory: { path: out, delimiter: { text: "\r\n" } } }"#);
    let Format::Records { delimiter, .. } = &directory.objects().format else {
        panic!("records")
    };
    assert_eq!(*delimiter, Delimiter::Custom(b"\r\n".to_vec()));
}

#[test]
fn a_folder_is_one_configuration_and_paths_count_from_their_file() {
    let folder = folder(&[
        ("10-streams.yaml", "streams:\n  s: {}\n"),
        (
            "20-a.yaml",
            "delivery_streams:\n  a:\n    source: { kinesis: { stream: s } }\n    destination: { directory: { path: ../a } }\n",
        ),
        (
            "30-b.yaml",
            "delivery_streams:\n  b:\n    source: { kinesis: { stream: z } }\n    destination: { stdout: }\n",
        ),
    ]);
    let config = load_with(folder.path(), environment()).unwrap();
    assert_eq!(
        config.delivery_streams.keys().collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(config.delivery_streams["b"].name, "b");
    let DestinationConfig::Directory(directory) = &config.delivery_streams["a"].destination else {
        panic!("directory")
    };
    assert_eq!(directory.path, folder.path().join("../a"));
    let note = &config.notes[0];
    assert_eq!(
        (note.line, note.path.as_str()),
        (3, "delivery_streams.b.source.kinesis.stream")
    );
    assert_eq!(
        (note.message.as_str(), note.remedy.as_str()),
        ("`z` is not among `streams`", "did you mean `s`?")
    );
}

#[test]
fn a_guest_that_is_larger_than_half_of_the_budget_is_noted() {
    let text = |guest: &str| {
        format!(
            "memory: 64MiB\nstreams: {{ s: {{}} }}\ndelivery_streams:\n  a:\n    source: {{ kinesis: {{ stream: s }} }}\n    \
             processors:\n      - wasm: {{ module: t.wasm, memory: {guest} }}\n    destination: {{ stdout: }}\n"
        )
    };
    assert!(load(&text("32MiB")).unwrap().notes.is_empty());
    let notes = load(&text("33MiB")).unwrap().notes;
    assert_eq!(notes.len(), 1);
    let path = "delivery_streams.a.processors[0].wasm.memory";
    assert_eq!((notes[0].line, notes[0].path.as_str()), (7, path));
}

#[test]
fn aliases_are_copied_in() {
    let config = load("streams:\n  a: &many { shards: 7 }\n  b: *many\n").unwrap();
    assert_eq!(config.streams["b"].shards, 7);
}
