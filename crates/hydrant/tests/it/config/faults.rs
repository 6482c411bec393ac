//! Every wrong configuration names the line, the setting, and what to do.

use std::fmt::Write as _;

use hydrant::config::{check, load_with};

use super::{environment, folder, load};

/// The faults as `line path: message — remedy`.
fn faults(text: &str) -> Vec<String> {
    let faults = load(text).unwrap_err();
    let show = |fault: hydrant::config::Fault| {
        let mut line = format!("{} {}: {}", fault.line, fault.path, fault.message);
        if !fault.remedy.is_empty() {
            write!(line, " — {}", fault.remedy).unwrap();
        }
        line
    };
    faults.into_iter().map(show).collect()
}

fn delivery(destination: &str) -> String {
    format!(
        "delivery_streams:\n  raw:\n    source: {{ kinesis: {{ stream: clicks }} }}\n    destination:\n{destination}"
    )
}

#[track_caller]
fn one(text: &str, expected: &str) {
    assert_eq!(faults(text), [expected], "in:\n{text}");
}

#[test]
fn misspelt_settings_get_the_nearest_name() {
    one(
        "stream: {}\n",
        "1 stream: is not a known setting — did you mean `streams`?",
    );
    one(
        &delivery("      directory: { path: out, bufferingHints: { size: 1MiB } }\n"),
        "5 delivery_streams.raw.destination.directory.bufferingHints: is not a known setting — did \
         you mean `buffering_hints`?",
    );
    one(
        "api:\n  listen: 127.0.0.1:1\n  tls: true\n",
        "3 api.tls: is not a known setting — known here: `listen`, `auth`, `region`",
    );
}

#[test]
fn what_does_not_exist_yet_names_what_does() {
    one(
        &delivery("      opensearch: { index: x }\n"),
        "5 delivery_streams.raw.destination.opensearch: is not a known setting — known here: `s3`, \
         `directory`, `stdout`",
    );
    one(
        "delivery_streams:\n  raw:\n    source: { direct_put: {} }\n    destination: { stdout: {} }\n",
        "3 delivery_streams.raw.source.direct_put: is not a known setting — known here: `kinesis`",
    );
}

#[test]
fn where_a_stream_is_must_fit_together() {
    let source = |settings: &str| {
        format!(
            "delivery_streams:\n  raw:\n    source:\n      kinesis:\n        {settings}\n    destination: {{ stdout: }}\n"
        )
    };
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
    let kinesis = "delivery_streams.raw.source.kinesis";
    one(
        &source("{ stream: s, endpoint: somewhere }"),
        &format!(
            "5 {kinesis}.endpoint: `somewhere` is neither `embedded`, `aws` nor a URL — write an \
             endpoint such as `embedded`"
        ),
    );
    one(
        &source("{ stream: s, endpoint: \"http://me:pw@host\" }"),
        &format!(
            "5 {kinesis}.endpoint: holds a user or password: use `credentials` — write an endpoint \
             such as `embedded`"
        ),
    );
    one(
        &source("{ stream: s, poll_interval: 2s }"),
        &format!(
            "5 {kinesis}.poll_interval: is only for a stream that is not embedded — set `endpoint: \
             aws` or the URL of a server, or remove it"
        ),
    );
    one(
        &source(&format!("{{ stream: \"{arn}\", endpoint: embedded }}")),
        &format!(
            "5 {kinesis}.stream: is an ARN, and the endpoint is `embedded` — give its name, or set \
             `endpoint: aws`"
        ),
    );
    one(
        &source(&format!("{{ stream: \"{arn}\", region: us-east-1 }}")),
        &format!(
            "5 {kinesis}.region: `us-east-1` is not the region of the stream's ARN, `eu-west-1` — \
             remove it"
        ),
    );
    one(
        &source("{ stream: \"arn:aws:s3:::bucket\" }"),
        &format!(
            "5 {kinesis}.stream: `arn:aws:s3:::bucket` is not the ARN of a stream, as in \
             arn:aws:kinesis:REGION:ACCOUNT:stream/NAME — write the name or ARN of a stream such as \
             `clicks`"
        ),
    );
}

#[test]
fn missing_settings_are_told_by_section() {
    one(
        "delivery_streams:\n  raw:\n    source: { kinesis: {} }\n    destination:\n      stdout:\n",
        "3 delivery_streams.raw.source.kinesis.stream: is missing — set it: the stream's name, or its ARN at AWS",
    );
    one(
        "delivery_streams:\n  raw:\n    destination: { stdout: {} }\n",
        "2 delivery_streams.raw.source: is missing — set it: where records come from",
    );
    one(
        &delivery("      s3:\n        prefix: a/\n"),
        "5 delivery_streams.raw.destination.s3.bucket: is missing — set it: the bucket; it must exist",
    );
}

#[test]
fn exactly_one_destination() {
    one(
        &delivery("      stdout: {}\n      directory: { path: out }\n"),
        "6 delivery_streams.raw.destination: names more than one destination: `stdout` and \
         `directory` — keep one of them",
    );
    one(
        "delivery_streams:\n  raw:\n    source: { kinesis: { stream: s } }\n    destination: {}\n",
        "4 delivery_streams.raw.destination: names no destination — use one of `s3`, `directory`, `stdout`",
    );
}

#[test]
fn values_out_of_range_name_the_limit() {
    one(
        "streams:\n  clicks: { shards: 0 }\n",
        "2 streams.clicks.shards: `0` is out of range, limit 1 to 1000",
    );
    one(
        "streams:\n  clicks: { shards: two }\n",
        "2 streams.clicks.shards: `two` is not a whole number",
    );
    one(
        "streams:\n  clicks:\n    shards: 1\n    retention: 1s\n",
        "4 streams.clicks.retention: `1s` is out of range, limit 1m to 365d",
    );
    one(
        &delivery(
            "      directory:\n        path: out\n        buffering_hints: { size: 1KiB, interval: 10s }\n",
        ),
        "7 delivery_streams.raw.destination.directory.buffering_hints.size: `1KiB` is out of range, \
         limit 64KiB to 5GiB",
    );
    one(
        "memory: lots\n",
        "1 memory: `lots` is not a size: use a unit such as KiB, MiB or GiB",
    );
}

#[test]
fn bad_expressions_and_types_are_found_at_their_line() {
    let found = faults(&delivery(
        "      s3:\n        bucket: lake\n        prefix: \"a/!{timestamp:yyyy}/\"\n        \
         error_output_prefix: \"e/!{nonsense}/\"\n",
    ));
    assert!(!found.is_empty());
    for fault in found {
        assert!(
            fault.starts_with("8 delivery_streams.raw.destination.s3.error_output_prefix: "),
            "{fault}"
        );
    }
    let found = faults(&delivery(
        "      directory:\n        path: out\n        format_conversion:\n          output: { parquet: {} }\n          \
         schema:\n            columns:\n              - { name: a, type: string }\n              \
         - { name: b, type: strin }\n",
    ));
    let path =
        "12 delivery_streams.raw.destination.directory.format_conversion.schema.columns[1].type: ";
    assert!(found.len() == 1 && found[0].starts_with(path), "{found:?}");
}

#[test]
fn conversion_excludes_compression_and_delimiter() {
    let found = faults(&delivery(
        "      directory:\n        path: out\n        compression: gzip\n        delimiter: none\n        \
         format_conversion:\n          output: { parquet: }\n          schema: { columns: [{ name: a, type: int }] }\n",
    ));
    let path = "delivery_streams.raw.destination.directory";
    assert_eq!(
        found,
        [
            format!(
                "7 {path}.compression: must be none when format_conversion is there: the format \
                 compresses inside of the file — use format_conversion.output.parquet.compression"
            ),
            format!("8 {path}.delimiter: has no meaning with format_conversion — remove it"),
        ]
    );
}

#[test]
fn the_api_stays_on_loopback() {
    one(
        "api:\n  listen: 0.0.0.0:4567\n",
        "2 api.listen: 0.0.0.0:4567 is not loopback, which `auth: none` requires — listen on \
         127.0.0.1, behind a proxy that knows its clients",
    );
    one(
        "api: { auth: sigv4 }\n",
        "1 api.auth: `sigv4` is not known — use one of `none`",
    );
    one(
        "operations: { listen: 127.0.0.1:4567 }\n",
        "1 operations: 127.0.0.1:4567 is the address of the API too — give each server a port of its own",
    );
}

#[test]
fn keys_that_stand_twice_name_both_lines() {
    one(
        "streams:\n  a: { shards: 1 }\n  b: {}\n  a: { shards: 2 }\n",
        "4 streams.a: is set twice, first in line 2 — remove one of them",
    );
    let folder = folder(&[
        ("a.yaml", "streams:\n  s: {}\n"),
        (
            "b.yaml",
            "streams:\n  t: {}\n  s: { shards: 2 }\nmemory: 1GiB\n",
        ),
        ("c.yaml", "memory: 2GiB\n"),
        ("d.yml", "nonsense: true\n"),
    ]);
    let found = load_with(folder.path(), environment()).unwrap_err();
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        shown,
        [
            format!(
                "{}:3: streams.s: is set in {}:2 too — remove one of them",
                path("b.yaml"),
                path("a.yaml")
            ),
            format!(
                "{}:1: memory: is set in {}:4 too — remove one of them",
                path("c.yaml"),
                path("b.yaml")
            ),
        ]
    );
}

#[test]
fn variables_that_are_not_set_are_faults_of_their_setting() {
    one(
        "streams:\n  clicks:\n    shards: ${NOT_SET}\n",
        "3 streams.clicks.shards: the environment variable NOT_SET is not set — set it, or write \
         `${NOT_SET:-default}`",
    );
    let found = faults("api: { listen: ${NOT_SET} }\n");
    assert!(
        found.len() == 1 && found[0].ends_with("quote `${NAME}` where it stands inside { } or [ ]"),
        "{found:?}"
    );
}

#[test]
fn transforms_need_their_module_and_partition_keys_a_transform() {
    let text = "delivery_streams:\n  raw:\n    source: { kinesis: { stream: s } }\n    processors:\n      \
                - wasm: { module: t.wasm, timeout: 1h }\n      - wasm:\n          module: gone.wasm\n      - lambda: {}\n    \
                destination: { stdout: {} }\n";
    let found = faults(text);
    assert_eq!(found.len(), 3, "{found:?}");
    let path = "delivery_streams.raw.processors";
    assert_eq!(
        found[0],
        format!("5 {path}[0].wasm.timeout: `1h` is out of range, limit 100ms to 5m")
    );
    assert!(
        found[1].starts_with(&format!("7 {path}[1].wasm.module: there is no file ")),
        "{found:?}"
    );
    assert_eq!(
        found[2],
        format!(
            "8 {path}[2].lambda: is not a known setting — known here: `wasm`, `record_deaggregation`, \
             `decompression`, `cloudwatch_logs`, `metadata_extraction`, `append_delimiter`, `csv_to_json`, \
             `log_to_json`, `filter`"
        )
    );
    one(
        &delivery(
            "      directory:\n        path: out\n        prefix: \"!{partitionKeyFromWasm:site}/\"\n        \
             error_output_prefix: \"e/!{firehose:error-output-type}/\"\n",
        ),
        "7 delivery_streams.raw.destination.directory.prefix: has partition keys, which no processor \
         gives — add a `metadata_extraction` or `wasm` processor that gives partition keys",
    );
}

/// A delivery stream with these processors, into a folder with these settings.
fn processed(processors: &str, settings: &str) -> String {
    format!(
        "delivery_streams:\n  raw:\n    source: {{ kinesis: {{ stream: s }} }}\n    processors: [{processors}]\n    \
         destination:\n      directory: {{ path: out{settings} }}\n"
    )
}

/// Settings of a processor, and what is said of them.
const SETTINGS: [(&str, &str); 19] = [
    ("filter: {}", "filter.condition: is missing"),
    (
        "filter: { condition: now }",
        "filter.condition: `now` is not allowed: its answer is not of the record",
    ),
    (
        "filter: { condition: \"def f: f; f\" }",
        "filter.condition: definitions are not allowed",
    ),
    (
        "metadata_extraction: { metadata_extraction_query: \"{a: \" }",
        "metadata_extraction.metadata_extraction_query: is no query: expected",
    ),
    (
        "metadata_extraction: { metadata_extraction_query: \"{a}\", json_parsing_engine: jq-1.5 }",
        "metadata_extraction.json_parsing_engine: `jq-1.5` is not known",
    ),
    (
        "record_deaggregation: {}",
        "record_deaggregation.sub_record_type: is missing",
    ),
    (
        "record_deaggregation: { sub_record_type: delimited }",
        "record_deaggregation.delimiter: is missing",
    ),
    (
        "record_deaggregation: { sub_record_type: json, delimiter: x }",
        "record_deaggregation.delimiter: has no meaning",
    ),
    (
        "record_deaggregation: { sub_record_type: delimited, delimiter: \"\" }",
        "record_deaggregation.delimiter: is 0 bytes",
    ),
    (
        "append_delimiter: { delimiter: { base64: \"?\" } }",
        "append_delimiter.delimiter.base64: is not base64",
    ),
    (
        "decompression: { compression_format: rar }",
        "decompression.compression_format: `rar` is not known",
    ),
    ("csv_to_json: {}", "csv_to_json.columns: is empty"),
    (
        "csv_to_json: { columns: [a, a] }",
        "csv_to_json.columns: names `a` twice",
    ),
    (
        "csv_to_json: { columns: [a], quote: \",\" }",
        "csv_to_json.quote: is the delimiter too",
    ),
    (
        "csv_to_json: { columns: [a], delimiter: ab }",
        "csv_to_json.delimiter: is not one ASCII character",
    ),
    (
        "log_to_json: {}",
        "log_to_json: does not say which form the lines have",
    ),
    (
        "log_to_json: { match_pattern: \"(a\" }",
        "log_to_json.match_pattern: is not a regular expression",
    ),
    (
        "log_to_json: { log_format: syslog, custom_field_names: [a] }",
        "log_to_json.custom_field_names: 1 names, where there are 5 fields",
    ),
    (
        "filter: { condition: .a }, cloudwatch_logs: {}",
        ": names more than one processor",
    ),
];

#[test]
fn processors_say_what_is_wrong_with_their_settings() {
    let at = "4 delivery_streams.raw.processors[0]";
    for (processor, fault) in SETTINGS {
        let found = faults(&processed(
            &format!("{{ {processor} }}"),
            ", delimiter: none",
        ));
        let expected = format!(
            "{at}{}{fault}",
            if fault.starts_with(':') { "" } else { "." }
        );
        assert!(
            found.len() == 1 && found[0].starts_with(&expected),
            "{processor}: {found:?}"
        );
    }
}

#[test]
fn partition_keys_and_their_processors_belong_together() {
    let query = "{ metadata_extraction: { metadata_extraction_query: \"{user: .u, day: .d}\" } }";
    let made_up = "{ metadata_extraction: { metadata_extraction_query: \"{(.k): .v}\" } }";
    let prefix = |keys: &str| {
        format!(
            ", prefix: \"{keys}/\", error_output_prefix: \"e/!{{firehose:error-output-type}}/\""
        )
    };
    let path = "6 delivery_streams.raw.destination.directory";
    for (processors, settings, fault) in [
        (
            query,
            prefix("!{partitionKeyFromQuery:site}"),
            "prefix: has the partition key `site`, which no query gives — they give `user`, `day`",
        ),
        (
            query,
            prefix("!{partitionKeyFromWasm:user}"),
            "prefix: has the partition key `user` from a `wasm` processor, and there is none",
        ),
        (
            "{ wasm: { module: t.wasm } }",
            prefix("!{partitionKeyFromQuery:user}"),
            "prefix: has the partition key `user` from a query, and there is no `metadata_extraction` processor",
        ),
        (
            query,
            prefix("!{partitionKeyFromLambda:user}"),
            "prefix: has partition keys of a processor that is not supported yet",
        ),
        (
            query,
            ", dynamic_partitioning: { enabled: true }".to_owned(),
            "prefix: has no partition key, and dynamic_partitioning is enabled",
        ),
        (
            query,
            prefix("!{partitionKeyFromQuery:user}") + ", dynamic_partitioning: { enabled: false }",
            "dynamic_partitioning: is not enabled, and the prefix has partition keys",
        ),
        (
            query,
            ", dynamic_partitioning: { enabled: false, max_active_partitions: 5 }".to_owned(),
            "dynamic_partitioning: has a limit of partitions and is not enabled",
        ),
        (
            query,
            ", dynamic_partitioning: {}".to_owned(),
            "dynamic_partitioning.enabled: is missing",
        ),
    ] {
        let found = faults(&processed(processors, &settings));
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("{path}.{fault}")),
            "{settings}: {found:?}"
        );
    }
    let good = prefix("!{partitionKeyFromQuery:user}/!{partitionKeyFromQuery:x}");
    for processors in [made_up.to_owned(), format!("{query}, {made_up}")] {
        load(&processed(&processors, &good))
            .expect("names that are made up as it runs are not known");
    }
    let found = faults(&processed("{ append_delimiter: }", ""));
    assert!(
        found.len() == 1
            && found[0]
                .contains("processors[0].append_delimiter: puts a delimiter behind each record"),
        "{found:?}"
    );
}

#[test]
fn many_faults_come_at_once_in_the_order_of_lines() {
    let text = "api: { listen: nowhere }\nmemory: 1KiB\nstreams:\n  bad name: {}\n  ok: { shards: 5000, \
                colour: red }\ndelivery_streams:\n  raw:\n    source: { kinesis: { stream: s, start: \
                yesterday } }\n    destination:\n      s3: { bucket: x, endpoint: \"ftp://h\", checksum: md5, abort_uploads_after: 1s }\n";
    let found = faults(text);
    let places: Vec<&str> = found
        .iter()
        .filter_map(|fault| fault.split(": ").next())
        .collect();
    let s3 = "10 delivery_streams.raw.destination.s3";
    assert_eq!(
        places,
        [
            "1 api.listen",
            "2 memory",
            "4 streams.bad name",
            "5 streams.ok.shards",
            "5 streams.ok.colour",
            "8 delivery_streams.raw.source.kinesis.start",
            &format!("{s3}.bucket"),
            &format!("{s3}.endpoint"),
            &format!("{s3}.checksum"),
            &format!("{s3}.abort_uploads_after"),
        ]
    );
}

#[test]
fn what_is_not_yaml_is_told_by_line() {
    for (text, line) in [
        ("a: [1\nb: 2\n", 2),
        ("streams: {}\n---\nstreams: {}\n", 2),
        ("- a\n", 1),
        ("a: !x 1\n", 1),
    ] {
        let found = load(text).unwrap_err();
        assert!(
            found[0].line >= 1 && found[0].line <= line,
            "{text:?}: {found:?}"
        );
    }
    let laughs = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, \
                  *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, \
                  *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n";
    let found = load(laughs).unwrap_err();
    assert!(found[0].message.contains("too large"), "{found:?}");
    let deep = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(load(&deep).unwrap_err()[0].message.contains("too deep"));
}

#[test]
fn files_that_cannot_be_read_are_told_by_name() {
    let folder = folder(&[]);
    let found = load_with(folder.path(), environment()).unwrap_err();
    assert!(
        found[0].to_string().contains("has no `*.yaml` file"),
        "{found:?}"
    );
    let found = load_with(&folder.path().join("none.yaml"), environment()).unwrap_err();
    assert!(
        found[0].to_string().contains("none.yaml: cannot be read: "),
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_too_large_for_a_secret_is_not_read() {
    let key = "k".repeat((64 << 10) + 1);
    let text = delivery(
        "      s3: { bucket: lake, region: us-east-1, credentials: { access_key_id: a, secret_access_key: { file: key } } }\n",
    );
    let folder = folder(&[("hydrant.yaml", &text), ("key", &key)]);
    let found = load_with(&folder.path().join("hydrant.yaml"), environment()).unwrap_err();
    let shown = found[0].to_string();
    assert!(shown.ends_with("key is larger than 65536 bytes"), "{shown}");
}

#[test]
fn check_hands_each_module_to_its_checker() {
    let text = "delivery_streams:\n  raw:\n    source: { kinesis: { stream: s } }\n    processors:\n      - \
                wasm:\n          module: good.wasm\n      - wasm: { module: bad.wasm, config: { b: 1, a: [x] } }\n    destination: { \
                stdout: { delimiter: wide } }\n";
    let folder = folder(&[
        ("hydrant.yaml", text),
        ("good.wasm", "good"),
        ("bad.wasm", "bad"),
    ]);
    let checker = |bytes: &[u8], wasm: &hydrant::config::WasmConfig| match bytes {
        b"good" if wasm.config_json == "null" => Ok(()),
        _ => Err(format!("is no component, config {}", wasm.config_json)),
    };
    let found = check(&folder.path().join("hydrant.yaml"), &checker).faults;
    let shown: Vec<(usize, &str, &str)> = found
        .iter()
        .map(|fault| (fault.line, fault.path.as_str(), fault.message.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (
                7,
                "delivery_streams.raw.processors[1].wasm.module",
                r#"is no component, config {"a":["x"],"b":1}"#
            ),
            (
                8,
                "delivery_streams.raw.destination.stdout.delimiter",
                "`wide` is not known"
            ),
        ]
    );
}

#[test]
fn secrets_in_the_wrong_place_are_not_shown() {
    for text in [
        "memory: ${KEY}\n",
        "api:\n  listen: ${KEY}\n",
        "api:\n  auth: ${KEY}\n",
        "streams:\n  a:\n    shards: ${KEY}\n    retention: ${KEY}\n",
        &delivery(
            "      s3:\n        bucket: \"${KEY}!\"\n        endpoint: \"http://me:${KEY}@host\"\n        force_path_style: ${KEY}\n",
        ),
    ] {
        let found = load(text).unwrap_err();
        let shown = format!("{found:?}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
