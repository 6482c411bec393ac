//! What of a delivery stream's settings a version keeps, and what comes back of it.

use hydrant::config::{DeliveryStreamConfig, DestinationConfig, Module, ProcessorConfig};

use super::load;

fn stream(destination: &str, timeout: &str) -> DeliveryStreamConfig {
    let text = format!(
        "delivery_streams:\n  raw:\n    source:\n      kinesis: {{ stream: s, deaggregation: none }}\n    \
         processors:\n      - wasm: {{ module: t.wasm, config: {{ b: 1, a: 2 }}, timeout: {timeout} }}\n    \
         destination: {destination}\n"
    );
    load(&text).unwrap().delivery_streams.remove("raw").unwrap()
}

fn digests() -> Vec<String> {
    vec!["abc".to_owned()]
}

const DESTINATIONS: [&str; 8] = [
    "{ directory: { path: /out, compression: gzip, delimiter: none } }",
    "{ directory: { path: /out, compression: { zstd: { level: 3 } }, delimiter: { text: \"|\" } } }",
    "{ directory: { path: /out, compression: zip, file_extension: .x } }",
    "{ directory: { path: /out, compression: snappy } }",
    "{ directory: { path: /out, compression: hadoop_snappy } }",
    "{ s3: { bucket: lake, region: eu-west-1, endpoint: \"http://h:1\", force_path_style: true, prefix: a/ } }",
    "{ s3: { bucket: lake, format_conversion: { output: { parquet: { compression: none, row_group_size: 4MiB } }, \
     schema: { columns: [{ name: a, type: 'array<struct<b:decimal(10,2),c:map<string,int>>>' }] } } } }",
    "{ stdout: { delimiter: none } }",
];

#[test]
fn what_decides_the_output_comes_back() {
    for destination in DESTINATIONS {
        let config = stream(destination, "2s");
        let json = config.version_json(&digests());
        let text = serde_json::to_string(&json).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        for current in [destination, DESTINATIONS[0], DESTINATIONS[7]] {
            let current = stream(current, "3s");
            let back = DeliveryStreamConfig::from_version_json(&read, &current).unwrap();
            assert_eq!(back.version_json(&digests()), json, "{destination}");
            assert_eq!(
                (
                    &back.name,
                    back.destination.objects().buffering_hints.interval
                ),
                (
                    &current.name,
                    current.destination.objects().buffering_hints.interval
                )
            );
            let ProcessorConfig::Wasm(wasm) = &back.processors[0] else {
                panic!("a transform")
            };
            assert_eq!(wasm.module, Module::Stored("abc".to_owned()));
            assert_eq!(wasm.timeout.as_secs(), 3, "time limits are today's");
        }
    }
}

#[test]
fn every_destination_and_setting_of_output_is_another_version() {
    let mut seen: Vec<String> = DESTINATIONS
        .iter()
        .chain(&[
            "{ directory: { path: /out } }",
            "{ directory: { path: /out, buffering_hints: { size: 1MiB } } }",
        ])
        .map(|destination| {
            stream(destination, "2s")
                .version_json(&digests())
                .to_string()
        })
        .collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn credentials_and_times_are_of_the_day() {
    let s3 = |more: &str, timeout: &str| {
        stream(
            &format!("{{ s3: {{ bucket: lake, endpoint: \"http://h:1\", {more} }} }}"),
            timeout,
        )
    };
    let keys = "credentials: { access_key_id: s3cr3t, secret_access_key: s3cr3t2 }";
    let (old, new) = (
        s3("buffering_hints: { interval: 1s }", "1s"),
        s3(keys, "9s"),
    );
    let json = old.version_json(&digests());
    assert_eq!(
        json,
        new.version_json(&digests()),
        "none of it decides the output"
    );
    assert!(!new.version_json(&digests()).to_string().contains("s3cr3t"));
    let back = DeliveryStreamConfig::from_version_json(&json, &new).unwrap();
    let DestinationConfig::S3(back) = back.destination else {
        panic!("s3")
    };
    assert_eq!(
        back.credentials.unwrap().secret_access_key.expose(),
        "s3cr3t2"
    );
    // Keys of one server are never sent to another.
    let other = stream(
        "{ s3: { bucket: lake, credentials: { access_key_id: a, secret_access_key: b } } }",
        "1s",
    );
    let back = DeliveryStreamConfig::from_version_json(&json, &other).unwrap();
    let DestinationConfig::S3(back) = back.destination else {
        panic!("s3")
    };
    assert!(back.credentials.is_none());
    assert_eq!(back.endpoint.as_deref(), Some("http://h:1"));
}

#[test]
fn what_is_no_version_is_refused() {
    let current = stream(DESTINATIONS[0], "1s");
    let mut json = current.version_json(&digests());
    json["form"] = 99.into();
    assert!(
        DeliveryStreamConfig::from_version_json(&json, &current)
            .unwrap_err()
            .contains("form 99")
    );
    json["form"] = 1.into();
    json["more"] = 1.into();
    assert!(DeliveryStreamConfig::from_version_json(&json, &current).is_err());
}

#[test]
fn processors_and_the_limit_of_partitions_come_back_and_make_versions() {
    let with = |processors: &str, settings: &str| {
        let text = format!(
            "delivery_streams:\n  raw:\n    source: {{ kinesis: {{ stream: s }} }}\n    processors: [{processors}]\n    \
             destination:\n      directory:\n        path: /out\n        delimiter: none\n        \
             prefix: \"!{{partitionKeyFromQuery:a}}/\"\n        \
             error_output_prefix: \"e/!{{firehose:error-output-type}}/\"\n{settings}"
        );
        load(&text).unwrap().delivery_streams.remove("raw").unwrap()
    };
    let keys = |query: &str| {
        format!("{{ metadata_extraction: {{ metadata_extraction_query: \"{query}\" }} }}")
    };
    let limit = "        dynamic_partitioning: { enabled: true, max_active_partitions: 500 }\n";
    let mut seen = Vec::new();
    for (more, query, settings) in [
        ("", "{a}", ""),
        ("", "{a}", limit),
        ("", "{a: .b}", ""),
        ("{ decompression: }, ", "{a}", ""),
        (
            "{ decompression: { compression_format: zstd } }, ",
            "{a}",
            "",
        ),
        ("{ append_delimiter: { delimiter: '\\n' } }, ", "{a}", ""),
        (
            "{ append_delimiter: { delimiter: { base64: Cg0= } } }, ",
            "{a}",
            "",
        ),
        (
            "{ wasm: { module: t.wasm } }, { cloudwatch_logs: }, ",
            "{a}",
            "",
        ),
        (
            "{ cloudwatch_logs: }, { wasm: { module: t.wasm } }, ",
            "{a}",
            "",
        ),
    ] {
        let config = with(&format!("{more}{}", keys(query)), settings);
        let digests = if more.contains("wasm") {
            digests()
        } else {
            Vec::new()
        };
        let json = config.version_json(&digests);
        let back = DeliveryStreamConfig::from_version_json(&json, &stream(DESTINATIONS[0], "1s"));
        assert_eq!(back.unwrap().version_json(&digests), json);
        let text = json.to_string();
        assert!(!seen.contains(&text), "{text}");
        seen.push(text);
    }
}
