//! Golden keys, faults, and properties of naming.

use hydrant_core::Digest;
use hydrant_core::stage::ObjectId;
use proptest::prelude::*;

use super::{EVALUATED_MAX_CHARS, KEY_MAX_BYTES, KeyFrom, KeyRules};

/// 2026-07-13T14:05:06.789Z.
const ARRIVAL_MS: u64 = 1_783_951_506_789;

fn id<'a>(error_kind: Option<&'a str>, keys: &'a [(String, String)]) -> ObjectId<'a> {
    let digest = Digest::of(b"object");
    ObjectId {
        arrival_ms: ARRIVAL_MS,
        digest,
        partition_keys: keys,
        error_kind,
        extension: ".gz",
    }
}

fn rules(prefix: Option<&str>, error: Option<&str>) -> KeyRules {
    KeyRules::new("clicks", 3, prefix, error, None).expect("good settings")
}

fn faults(prefix: Option<&str>, error: Option<&str>, extension: Option<&str>) -> String {
    KeyRules::new("clicks", 1, prefix, error, extension)
        .expect_err("a fault")
        .join("; ")
}

#[test]
fn keys_as_firehose_writes_them() {
    let name = format!(
        "clicks-3-2026-07-13-14-05-06-{}.gz",
        Digest::of(b"object").to_uuid()
    );
    let failed = "!{firehose:error-output-type}/";
    for (prefix, error, want, want_error) in [
        (
            None,
            None,
            "2026/07/13/14/",
            "processing-failed/2026/07/13/14/",
        ),
        (
            Some(""),
            Some(""),
            "2026/07/13/14/",
            "processing-failed/2026/07/13/14/",
        ),
        (
            Some("legacy"),
            None,
            "legacy2026/07/13/14/",
            "legacyprocessing-failed/2026/07/13/14/",
        ),
        (
            Some("a/"),
            Some("e/"),
            "a/2026/07/13/14/",
            "e/processing-failed/2026/07/13/14/",
        ),
        (
            Some("dt=!{timestamp:yyyy-MM-dd}/h=!{timestamp:HH}/"),
            Some("bad/!{firehose:error-output-type}/!{timestamp:yyyy}/"),
            "dt=2026-07-13/h=14/",
            "bad/processing-failed/2026/",
        ),
        (
            Some("!{timestamp:'}'yyyy}x/"),
            Some(failed),
            "}2026x/",
            "processing-failed/",
        ),
    ] {
        let rules = rules(prefix, error);
        assert_eq!(rules.key(&id(None, &[])), format!("{want}{name}"));
        assert_eq!(
            rules.key(&id(Some("processing-failed"), &[])),
            format!("{want_error}{name}")
        );
    }
}

#[test]
fn random_strings_repeat_for_an_object_and_differ_within_one() {
    let rules = rules(
        Some("!{firehose:random-string}/!{firehose:random-string}/"),
        Some("!{firehose:error-output-type}"),
    );
    let key = rules.key(&id(None, &[]));
    assert_eq!(key, rules.key(&id(None, &[])));
    let segments: Vec<&str> = key.split('/').collect();
    assert_ne!(segments[0], segments[1]);
    for segment in &segments[..2] {
        assert_eq!(segment.len(), 11);
        assert!(
            segment.chars().all(|char| char.is_ascii_alphanumeric()),
            "{segment}"
        );
    }
    let other = ObjectId {
        digest: Digest::of(b"other"),
        ..id(None, &[])
    };
    assert_ne!(
        segments[0],
        rules.key(&other).split('/').next().expect("a segment")
    );
}

#[test]
fn partition_keys_fill_the_prefix() {
    let rules = rules(
        Some(
            "c=!{partitionKeyFromQuery:c}/w=!{partitionKeyFromWasm:w}/n=!{partitionKeyFromLambda:n}/",
        ),
        Some("!{firehose:error-output-type}"),
    );
    let keys = [
        ("c".to_owned(), "a b/ü".to_owned()),
        ("w".to_owned(), "x\u{0}\ny".to_owned()),
    ];
    let key = rules.key(&id(None, &keys));
    let want = "c=a b/ü/w=x%00%0Ay/n=__HIVE_DEFAULT_PARTITION__/clicks-3-";
    assert!(key.starts_with(want), "{key}");
    let needed: Vec<_> = rules.partition_keys().collect();
    assert_eq!(
        needed,
        [
            (KeyFrom::Query, "c"),
            (KeyFrom::Lambda, "n"),
            (KeyFrom::Wasm, "w")
        ]
    );
    assert_eq!(rules.static_prefix(), "c=");
}

#[test]
fn a_file_extension_replaces_the_encoders_but_not_that_of_error_objects() {
    let rules = KeyRules::new("clicks", 1, None, None, Some(".json.gz")).expect("good");
    assert!(rules.key(&id(None, &[])).ends_with(".json.gz"));
    let error = ObjectId {
        extension: "",
        ..id(Some("processing-failed"), &[])
    };
    assert!(
        rules
            .key(&error)
            .ends_with(&Digest::of(b"object").to_uuid())
    );
}

#[test]
fn faults_are_reported_all_at_once_and_say_what_to_do() {
    let long = "x".repeat(1025);
    let evaluated = "x".repeat(500);
    let wide = "ü".repeat(480);
    for (prefix, error, extension, part) in [
        (Some("!{timestamp:yyyy}/"), None, None, "cannot be missing"),
        (
            Some("!{firehose:error-output-type}/"),
            Some("e"),
            None,
            "belongs into",
        ),
        (Some("!{timestamp:YYYY}/"), Some("e"), None, "`Y`"),
        (Some("!{timestamp:yyyy"), Some("e"), None, "not closed"),
        (Some("!{timestamp:'yyyy}/"), Some("e"), None, "quote"),
        (Some("!{timestamp}/"), Some("e"), None, "empty"),
        (Some("!{firehose:uuid}/"), Some("e"), None, "random-string"),
        (Some("!{nope:x}/"), Some("e"), None, "namespace is unknown"),
        (
            Some("!{partitionKeyFromQuery:}/"),
            Some("e"),
            None,
            "name of the partition key",
        ),
        (None, Some("!{timestamp:yyyy}/"), None, "must contain"),
        (
            None,
            Some("!{firehose:error-output-type}!{partitionKeyFromWasm:k}"),
            None,
            "prefix only",
        ),
        (Some("a\u{7}b"), None, None, "control"),
        (Some(&long), None, None, "is 1025 characters, limit 1024"),
        (Some(&evaluated), None, None, "once evaluated, limit 512"),
        (Some(&wide), None, None, "bytes, limit 1024"),
        (None, None, Some("gz"), "a dot"),
        (None, None, Some("."), "a dot"),
        (None, None, Some(".GZ"), "a dot"),
    ] {
        let text = faults(prefix, error, extension);
        assert!(text.contains(part), "{part}: {text}");
        assert!(!text.ends_with('.'), "{text}");
    }
    let all = KeyRules::new("a/b", 1, Some("!{x:y}"), Some("!{z}"), Some("q")).expect_err("faults");
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn times_at_both_ends_of_the_calendar_have_a_key() {
    let rules = rules(None, None);
    for arrival_ms in [0, u64::MAX] {
        let key = rules.key(&ObjectId {
            arrival_ms,
            ..id(None, &[])
        });
        assert!(key.len() <= KEY_MAX_BYTES, "{key}");
    }
    assert_ne!(rules.digest(), self::rules(Some("a"), None).digest());
}

proptest! {
    #[test]
    fn any_prefix_is_a_fault_or_names_within_limits(
        prefix in "[a-z/!{}:'.ü]{0,40}|!\\{timestamp:[a-zA-Z'/-]{1,12}\\}|.{0,30}",
        error in proptest::option::of("[a-z/!{}:]{0,30}|!\\{firehose:error-output-type\\}[a-z/]{0,8}"),
        value in ".{0,900}",
        arrival_ms in any::<u64>(),
    ) {
        if let Ok(rules) = KeyRules::new("s", 1, Some(&prefix), error.as_deref(), None) {
            let keys = [("k".to_owned(), value)];
            for kind in [None, Some("processing-failed")] {
                let object = ObjectId { arrival_ms, ..id(kind, &keys) };
                let key = rules.key(&object);
                prop_assert!(key.len() <= KEY_MAX_BYTES);
                prop_assert_eq!(&key, &rules.key(&object));
            }
        }
    }

    #[test]
    fn any_partition_value_gives_a_key_without_control_characters(value in any::<String>()) {
        let rules = rules(Some("!{partitionKeyFromWasm:k}/"), Some("!{firehose:error-output-type}"));
        let key = rules.key(&id(None, &[("k".to_owned(), value)]));
        prop_assert!(!key.chars().any(char::is_control));
        prop_assert!(key.len() <= KEY_MAX_BYTES);
        let name_chars = key.len() - key.rfind("clicks-3-").unwrap_or(0);
        prop_assert!(key.chars().count() <= EVALUATED_MAX_CHARS + name_chars);
    }
}

#[test]
fn own_keys_are_known_by_stream_time_id_and_prefix() {
    let failed = Some("bad/!{firehose:error-output-type}/!{timestamp:yyyy}/");
    let keys = [("k".to_owned(), "a b/ü".to_owned())];
    let random = Some("r/!{firehose:random-string}/");
    let dynamic = Some("k=!{partitionKeyFromQuery:k}/!{timestamp:HH}/");
    for (prefix, error) in [
        (None, None),
        (Some("legacy"), None),
        (Some("a/"), Some("e/")),
        (Some("dt=!{timestamp:yyyy-MM-dd}/"), failed),
        (random, failed),
        (dynamic, failed),
        (Some("!{timestamp:'}'yyyy}x/"), failed),
    ] {
        let rules = rules(prefix, error);
        for id in [
            id(None, &keys),
            id(None, &[]),
            id(Some("processing-failed"), &[]),
        ] {
            let key = rules.key(&id);
            assert!(rules.is_own(&key), "{key}");
            let start = rules.static_prefixes();
            assert!(
                start.iter().any(|start| key.starts_with(start)),
                "{key}: {start:?}"
            );
            // Of another stream, or of none.
            for other in [
                key.replace("clicks-3", "clicks-4"),
                key.replace("clicks-3", "click-3"),
                key.replace("clicks-3", "my-clicks-3"),
                key.replace("2026-07-13-14-05-06", "2026-07-13-14-65-06"),
                key.replace("2026-07-13-14-05-06-", "2026-07-13-14-05-06-x"),
                key.replace(".gz", "/x.gz"),
                key.replace(".gz", "x"),
                key.chars().take(key.chars().count() - 4).collect(),
                format!("x/{key}"),
            ] {
                assert!(!rules.is_own(&other), "{other}");
            }
        }
    }
    // The time in the file name is that of the prefix.
    let key = rules(None, None).key(&id(None, &[]));
    assert!(!rules(None, None).is_own(&key.replace("07-13-14", "07-13-15")));
    assert!(!rules(None, None).is_own(&format!("x{key}")));
    for foreign in [
        "",
        "clicks-3-",
        "legacy/2026/backup.tar",
        "clicks-3-2026-07-13-14-05-06-",
    ] {
        assert!(!rules(None, None).is_own(foreign), "{foreign}");
    }
    // Directly before the file name a partition key may be part of another stream's name.
    let rules = rules(Some("p/!{partitionKeyFromQuery:k}"), failed);
    let key = rules.key(&id(None, &[("k".to_owned(), "my-".to_owned())]));
    assert!(key.starts_with("p/my-clicks-3-") && !rules.is_own(&key));
}

#[test]
fn a_key_of_any_length_is_looked_at_in_time() {
    let many = "!{partitionKeyFromQuery:k}".repeat(15);
    let rules = rules(Some(&many), Some("e/!{firehose:error-output-type}/"));
    let key = rules.key(&id(None, &[("k".to_owned(), "v/".to_owned())]));
    assert!(rules.is_own(&key));
    assert!(!rules.is_own(&format!("{}\n{key}", "k".repeat(900))));
}

#[test]
fn static_prefixes_cover_each_other() {
    let of = |prefix, error| {
        let rules = rules(Some(prefix), Some(error));
        rules.static_prefixes().join(" ")
    };
    assert_eq!(of("a/", "b/"), "a/ b/");
    assert_eq!(of("a/", "a/errors/"), "a/");
    assert_eq!(of("a/b/", "a/"), "a/");
    assert_eq!(
        of("!{timestamp:yyyy}/", "e/!{firehose:error-output-type}/"),
        ""
    );
}
