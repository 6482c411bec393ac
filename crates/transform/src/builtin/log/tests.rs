//! Lines of every form, and patterns of users.

use serde_json::{Value, json};

use super::super::each::testing::apply;
use super::{LogFormat, LogToJson};

fn one(format: LogFormat, line: &str) -> Option<Value> {
    let stage = LogToJson::known(format, None).expect("its own names");
    parsed(&*stage, line)
}

fn parsed(stage: &dyn hydrant_core::stage::Transform, line: &str) -> Option<Value> {
    let outcomes = apply(stage, &[line.as_bytes()]);
    assert_eq!(outcomes.len() + outcomes.failures.len(), 1);
    assert!(
        outcomes
            .failures
            .iter()
            .all(|failure| failure.code == super::CODE)
    );
    (!outcomes.is_empty()).then(|| serde_json::from_slice(outcomes.data(0)).expect("JSON"))
}

#[test]
fn access_logs() {
    // The example of the Kinesis Agent's documentation.
    let common = "64.242.88.10 - - [07/Mar/2004:16:10:02 -0800] \
                  \"GET /mailman/listinfo/hsdivision HTTP/1.1\" 200 6291";
    let mut expected = json!({
        "host": "64.242.88.10", "ident": null, "authuser": null,
        "datetime": "07/Mar/2004:16:10:02 -0800",
        "request": "GET /mailman/listinfo/hsdivision HTTP/1.1",
        "response": "200", "bytes": "6291"
    });
    assert_eq!(
        one(LogFormat::CommonApache, &format!("{common}\r\n")),
        Some(expected.clone())
    );
    let combined = format!("{common} \"-\" \"say \\\"hi\\\" \\\\\"");
    expected["referrer"] = json!(null);
    expected["agent"] = json!(r#"say \"hi\" \\"#);
    assert_eq!(one(LogFormat::CombinedApache, &combined), Some(expected));
    let named = r#"::1 - a b [1/Jan/2026:00:00:00 +0000] "" 304 -"#;
    let named = one(LogFormat::CommonApache, named).expect("a line");
    assert_eq!(
        (&named["authuser"], &named["request"]),
        (&json!("a b"), &json!(""))
    );
    assert_eq!(named["bytes"], json!(null));
}

#[test]
fn error_logs() {
    let line = "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] \
                [client 72.15.99.187] File does not exist: /favicon.ico";
    assert_eq!(
        one(LogFormat::ApacheError, line),
        Some(json!({
            "timestamp": "Fri Sep 09 10:42:29.902022 2011", "module": "core",
            "severity": "error", "processid": "35708", "threadid": "4328636416",
            "client": "72.15.99.187", "message": "File does not exist: /favicon.ico"
        }))
    );
    let old = "[Wed Oct 11 14:32:52 2000] [error] [client ::1] client denied";
    let old = one(LogFormat::ApacheError, old).expect("a line");
    assert_eq!(
        (&old["module"], &old["processid"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        (&old["client"], &old["message"]),
        (&json!("::1"), &json!("client denied"))
    );
}

#[test]
fn syslog() {
    let expected = json!({
        "timestamp": "Mar  2 12:27:00", "hostname": "server3", "program": "named",
        "processid": "32172", "message": "lame server: a [b]"
    });
    for line in [
        "Mar  2 12:27:00 server3 named[32172]: lame server: a [b]",
        "<34>Mar  2 12:27:00 server3 named[32172]: lame server: a [b]",
    ] {
        assert_eq!(one(LogFormat::Syslog, line), Some(expected.clone()));
    }
    let modern = "2026-11-27T01:02:03.4+00:00 h kernel: x";
    let modern = one(LogFormat::Syslog, modern).expect("a line");
    assert_eq!(
        (&modern["processid"], &modern["message"]),
        (&json!(null), &json!("x"))
    );
}

#[test]
fn what_is_no_such_line_fails() {
    for (format, line) in [
        (LogFormat::CommonApache, ""),
        (LogFormat::CommonApache, "h - - [t] \"GET\" 200"),
        (LogFormat::CommonApache, "h - - [t] \"GET\" x 1"),
        (LogFormat::CommonApache, "h - - [t] \"GET\" 200 1 more"),
        (LogFormat::CommonApache, "h - - [t] \"GET\\\" 200 1"),
        (LogFormat::CombinedApache, "h - - [t] \"GET\" 200 1"),
        (
            LogFormat::CombinedApache,
            "h - - [t] \"GET\" 200 1 \"a\" \"b\" c",
        ),
        (LogFormat::ApacheError, "[t] [error]"),
        (LogFormat::ApacheError, "t [error] x"),
        (LogFormat::Syslog, "Mar 02 12:27 h p: x"),
        (LogFormat::Syslog, "<x>Mar 02 12:27:00 h p: x"),
        (LogFormat::Syslog, "Mar 02 12:27:00 h a b: x"),
        (LogFormat::Syslog, "März 2 12:27:00 h p: x"),
    ] {
        assert_eq!(one(format, line), None, "{format:?} {line}");
    }
    let stage = LogToJson::known(LogFormat::Syslog, None).expect("good");
    assert_eq!(apply(&*stage, &[b"\xff"]).failures.len(), 1);
}

#[test]
fn patterns() {
    let stage = LogToJson::pattern(r"^(?<ip>\S+) (?:\[(?<at>[^\]]*)\] )?(?<rest>.*)$", None);
    let stage = stage.expect("a good pattern");
    assert_eq!(
        parsed(&*stage, "1.2.3.4 [x] y\n"),
        Some(json!({ "ip": "1.2.3.4", "at": "x", "rest": "y" }))
    );
    assert_eq!(
        parsed(&*stage, "a b"),
        Some(json!({ "ip": "a", "at": null, "rest": "b" }))
    );
    assert_eq!(parsed(&*stage, "nothing"), None);
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    let own = LogToJson::pattern(r"(\d+)-(\d+)", names(&["a", "b"])).expect("good");
    assert_eq!(
        parsed(&*own, "x 1-2 y"),
        Some(json!({ "a": "1", "b": "2" }))
    );
    for (pattern, names, word) in [
        ("a", None, "no group"),
        ("(a", None, ""),
        ("(a)", None, "without a name"),
        ("(a)(b)", names(&["x"]), "1 names, where there are 2 fields"),
        ("(a)(b)", names(&["x", "x"]), "twice"),
    ] {
        let error = LogToJson::pattern(pattern, names)
            .map(drop)
            .expect_err(pattern);
        assert!(error.contains(word), "{error}");
    }
    assert!(LogToJson::known(LogFormat::Syslog, names(&["a"])).is_err());
}

#[test]
fn every_setting_is_of_the_digest() {
    let names = |text: &str| Some(text.chars().map(String::from).collect());
    let stages = [
        LogToJson::known(LogFormat::CommonApache, None),
        LogToJson::known(LogFormat::CombinedApache, None),
        LogToJson::known(LogFormat::ApacheError, None),
        LogToJson::known(LogFormat::Syslog, None),
        LogToJson::known(LogFormat::Syslog, names("abcde")),
        LogToJson::pattern("(a)(b)", names("ab")),
        LogToJson::pattern("(a)(c)", names("ab")),
        LogToJson::pattern("(a)(b)", names("ac")),
    ];
    let digests: Vec<_> = stages
        .into_iter()
        .map(|one| one.expect("good").digest())
        .collect();
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[i + 1..].contains(digest));
    }
}
