//! The body of the fuzz target `prefix`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use hydrant_core::Digest;
use hydrant_core::stage::ObjectId;

use super::{EVALUATED_MAX_CHARS, KEY_MAX_BYTES, KeyRules};

/// Reads three lines: prefix, error prefix, file extension. Of what is taken every object has a
/// key within the limits, always the same, with the id in it.
///
/// # Panics
/// Where any of this is not so.
pub fn prefix(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n').map(Some).chain([None; 2]);
    let mut setting = || lines.next().flatten();
    let (prefix, error_prefix, extension) = (setting(), setting(), setting());
    let rules = || KeyRules::new("stream", 1, prefix, error_prefix, extension);
    let rules = match (rules(), rules()) {
        (Ok(rules), Ok(again)) => {
            assert_eq!(rules.digest(), again.digest());
            rules
        }
        (Err(faults), Err(again)) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.is_empty()));
            return assert_eq!(faults, again);
        }
        _ => panic!("the same settings are taken and refused"),
    };
    assert!(
        prefix
            .unwrap_or_default()
            .starts_with(rules.static_prefix())
    );
    let named: Vec<_> = rules.partition_keys().map(|(_, name)| name).collect();
    let pair = |name: &&str| ((*name).to_owned(), text.to_owned());
    let keys: Vec<_> = named.iter().map(pair).collect();
    for arrival_ms in [0, 1_790_726_400_000, u64::MAX] {
        for (error_kind, keys) in [
            (None, &keys[..]),
            (None, &[]),
            (Some("format-conversion"), &[]),
        ] {
            check(&rules, arrival_ms, error_kind, keys);
        }
    }
}

fn check(
    rules: &KeyRules,
    arrival_ms: u64,
    error_kind: Option<&'static str>,
    partition_keys: &[(String, String)],
) {
    let key = |of: &[u8]| {
        let digest = Digest::of(of);
        let id = ObjectId {
            arrival_ms,
            digest,
            partition_keys,
            error_kind,
            extension: ".gz",
        };
        let key = rules.key(&id);
        assert_eq!(key, rules.key(&id));
        assert!(key.len() <= KEY_MAX_BYTES);
        assert!(!key.chars().any(char::is_control), "{key:?}");
        let uuid = digest.to_uuid();
        let (before, _) = key.rsplit_once(&uuid).expect("the id is in the name");
        let name = "stream-1-+262142-12-31-23-59-59-".len();
        assert!(before.chars().count() <= EVALUATED_MAX_CHARS + name);
        key
    };
    assert_ne!(key(b"one"), key(b"two"));
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;

    #[test]
    fn the_corpus_of_prefixes() {
        let seeds = [
            ("empty", ""),
            ("plain", "logs/\n\n.json"),
            (
                "times",
                "a/!{timestamp:yyyy-MM-dd'T'HH:mm:ss.SSS}/!{timestamp:EEEE MMM QQQ D a h K k n A}/\n\
                 e/!{firehose:error-output-type}/!{timestamp:yy}",
            ),
            (
                "keys",
                "dt=!{partitionKeyFromWasm:dt}/!{firehose:random-string}/\
                 !{partitionKeyFromQuery:q}/!{partitionKeyFromLambda:l}\n\
                 !{firehose:error-output-type}/\n.x",
            ),
            (
                "wrong",
                "!{timestamp:'}'}!{timestamp:YYYY}!{firehose:x}!{\n!{partitionKeyFromWasm:}\nx",
            ),
        ];
        let seeds = seeds.map(|(name, text)| (name, text.as_bytes().to_vec()));
        corpus::run("prefix", &seeds, super::prefix);
    }
}
