use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Query, value};

fn results(query: &str, record: &str) -> Result<Vec<String>, String> {
    let query = Query::compile(query).map_err(|error| format!("refused: {error}"))?;
    let results = query.run(value(record.as_bytes())?, record.len(), usize::MAX)?;
    Ok(results.iter().map(ToString::to_string).collect())
}

#[test]
fn queries_that_people_write() {
    for (query, record, expected) in [
        (
            r#"{a: .b, c: (.d // "x")}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"c":"x"}"#,
        ),
        (r#".ts | strftime("%Y/%m")"#, r#"{"ts":0}"#, r#""1970/01""#),
        (
            r".t | fromdate | todate",
            r#"{"t":"2026-11-27T01:02:03Z"}"#,
            r#""2026-11-27T01:02:03Z""#,
        ),
        (
            r#".t | strptime("%d/%m/%Y") | mktime"#,
            r#"{"t":"02/01/1970"}"#,
            "86400",
        ),
        (r#".p | split("/") | .[1]"#, r#"{"p":"a/b/c"}"#, r#""b""#),
        (r#".p | test("^[a-z]+$"; "i")"#, r#"{"p":"aB"}"#, "true"),
        (
            r#".p | sub("b"; "x") | gsub("[ac]"; "-")"#,
            r#"{"p":"abc"}"#,
            r#""-x-""#,
        ),
        (
            r#".p | capture("(?<k>b+)") | .k"#,
            r#"{"p":"abbc"}"#,
            r#""bb""#,
        ),
        (
            r#"[.a[] | select(.x > 1) | .y] | join(",")"#,
            r#"{"a":[{"x":1},{"x":2,"y":"q"}]}"#,
            r#""q""#,
        ),
        (
            r#"if .a then "t" elif .b then "e" else "f" end"#,
            r#"{"b":1}"#,
            r#""e""#,
        ),
        (
            r"(.a | tonumber) * 2 - 1 + .b / 2 % 7",
            r#"{"a":"3","b":4}"#,
            "7.0",
        ),
        (
            r#""\(.a)-\(.b | @base64)""#,
            r#"{"a":1,"b":"x"}"#,
            r#""1-eA==""#,
        ),
        (
            r". as {a: $x, b: [$y]} | {$x, y: $y}",
            r#"{"a":1,"b":[2]}"#,
            r#"{"x":1,"y":2}"#,
        ),
        (r"[..|numbers] | add", r#"{"a":1,"b":[2,{"c":3}]}"#, "6"),
        (r#"try error("x") catch ."#, "1", r#""x""#),
        (
            r"[.a[1:], (.a | length), (.a | first)]",
            r#"{"a":[1,2]}"#,
            "[[2],2,1]",
        ),
        (
            r#".a | ascii_downcase | ltrimstr("x") | @uri"#,
            r#"{"a":"XA B"}"#,
            r#""a%20b""#,
        ),
        (
            r"with_entries(select(.value != null)) | keys",
            r#"{"a":1,"b":null}"#,
            r#"["a"]"#,
        ),
        (r".a | fromjson | .b", r#"{"a":"{\"b\":3}"}"#, "3"),
        (r"[paths] | length", r#"{"a":[1]}"#, "2"),
        (r".a * {b: 2}", r#"{"a":{"b":1,"c":3}}"#, r#"{"b":2,"c":3}"#),
        (
            r#".a | contains("err") and startswith("an")"#,
            r#"{"a":"an error"}"#,
            "true",
        ),
        (
            r"[limit(2; .[])], first(.[]), any(.[]; . > 2), isempty(empty)",
            "[1,2,3]",
            "[1,2]",
        ),
    ] {
        let got = results(query, record).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(got[0], expected, "{query}");
    }
}

#[test]
fn what_is_not_of_the_record_or_has_no_end_is_refused() {
    for (query, word) in [
        ("now", "`now`"),
        ("{a: (now | strftime(\"%Y\"))}", "`now`"),
        ("env.HOME", "`env`"),
        ("$ENV.HOME", "`$ENV`"),
        ("$__loc__", "`$__loc__`"),
        ("input", "`input`"),
        ("[inputs]", "`inputs`"),
        (".t | localtime", "`localtime`"),
        (".t | strflocaltime(\"%H\")", "`strflocaltime`"),
        (".a | debug", "`debug`"),
        ("halt", "`halt`"),
        ("input_line_number", "`input_line_number`"),
        ("repeat(.)", "`repeat`"),
        ("[.[] | {a: range(1e12)}]", "`range`"),
        ("while(true; .)", "`while`"),
        ("until(false; .)", "`until`"),
        ("recurse(.)", "`recurse`"),
        ("limit(3; repeat(1))", "`repeat`"),
        ("def f: f; f", "definitions"),
        ("\"\\(def f: f; f)\"", "definitions"),
        ("{(now): 1}", "`now`"),
        (". as {(now): $x} | $x", "`now`"),
        (".[now]", "`now`"),
        ("reduce .[] as $x (.; [.])", "`reduce`"),
        ("foreach .[] as $x (.; .)", "`foreach`"),
        ("label $f | break $f", "labels"),
        (".a = 1", "assignments"),
        (".a |= now", "assignments"),
        ("setpath([0]; 1)", "`setpath`"),
        ("transpose", "`transpose`"),
        ("[.] | combinations", "`combinations`"),
        ("contains(.a)", "`contains`"),
        ("strptime(.f)", "`strptime`"),
        (".a | strptime(\"%Q\")", "time zone"),
        ("nosuch", "`nosuch`"),
        ("length(1)", "`length`"),
        ("$x", "`$x`"),
        ("{a: ", "at its end"),
        ("{a:: 1}", "at byte"),
        ("\"", "expected"),
        ("", "at its end"),
    ] {
        let error = Query::compile(query).map(drop).expect_err(query);
        assert!(error.contains(word), "{query}: {error}");
    }
    let long = format!("{{a: \"{}\"}}", "x".repeat(5200));
    assert!(Query::compile(&long).is_err_and(|error| error.contains("limit 5120")));
}

/// A record of about a mebibyte that is made to make a query slow.
fn hostile(item: &str, around: [&str; 2]) -> String {
    let mut record = around[0].to_owned();
    while record.len() < 1 << 20 {
        write!(record, "{item},").unwrap();
    }
    format!("{}{}", record.trim_end_matches(','), around[1])
}

#[test]
fn nothing_hangs() {
    let doubling = format!(".[0:9]{}", " | . + .".repeat(600));
    let commas = format!("[1{}]", " | (., .)".repeat(600));
    let nests = format!("1{} | tojson", " | [., .]".repeat(300));
    let products = format!(".[0]{}", " | . * .".repeat(600));
    let ones = hostile("11", ["[", "]"]);
    let empties = hostile("[]", ["[", "]"]);
    let words = hostile("\"ab\"", ["[", "]"]);
    let text = hostile("a", ["\"", "\""]);
    let objects = hostile("{\"key\":\"a\",\"value\":1}", ["[", "]"]);
    let digits = format!("\"{}\"", "9".repeat(1 << 20));
    let brackets = format!("\"{}\"", "[".repeat(1 << 20));
    let mut members = "{".to_owned();
    for i in 0..80_000 {
        write!(members, "\"k{i}\":\"\",").unwrap();
    }
    let members = format!("{}}}", members.trim_end_matches(','));
    for (query, record) in [
        (doubling.as_str(), &ones),
        (&commas, &ones),
        (&nests, &ones),
        (&products, &ones),
        (".[0] * 1e300 * 1e300 | tostring | . * 1e9", &ones),
        ("[.[] as $x | .[] as $y | .[] | 1] | length", &ones),
        ("[.[] as $x | length] | length", &ones),
        ("[.[] as $x | .[1:]] | length", &ones),
        ("[.[] as $x | . == .] | length", &ones),
        ("[.[][][]] | length", &empties),
        ("[..] | length", &empties),
        (". - .", &ones),
        ("add", &words),
        ("add", &empties),
        ("join(\",\")", &words),
        ("flatten", &empties),
        ("sort | unique | group_by(.) | length", &words),
        ("from_entries", &objects),
        ("[.[] | {(.key): .value}] | add", &objects),
        ("to_entries | from_entries | with_entries(.)", &members),
        ("[paths] | length", &members),
        ("gsub(\"a\"; \"b\")", &text),
        ("[splits(\"a\")] | length", &text),
        ("[match(\"a\"; \"g\")] | length", &text),
        ("split(\",\") | join(\"-\")", &text),
        ("test(\"(a|a)*b\")", &text),
        ("indices(\"aa\") | length", &text),
        ("explode | implode | length", &text),
        ("tonumber", &digits),
        ("fromjson", &brackets),
        ("try tonumber catch 1", &brackets),
        ("[.[] | try error(.) catch .] | length", &ones),
        (
            "[.[] as $x | try ([.[] | 1] | length) catch 1] | length",
            &ones,
        ),
        ("first(.[] as $x | .[] as $y | select(false)) // 1", &ones),
        ("[limit(1e9; .[] , .[] , .[])] | length", &ones),
        ("all(.[]; any($__; true))", &ones),
        ("map(map(map(.)))", &empties),
        ("min_by(tostring)", &ones),
        ("[walk(.)] | length", &empties),
        ("ascii_upcase | @base64 | @uri | @html | @json", &text),
    ] {
        let started = now();
        let compiled = Query::compile(query);
        let Ok(compiled) = compiled else { continue };
        let outcome = compiled.run(value(record.as_bytes()).unwrap(), record.len(), 2);
        let took = started.elapsed();
        eprintln!(
            "{took:>10.1?} {:>5} {}",
            if outcome.is_ok() { "ok" } else { "fails" },
            &query[..query.len().min(60)]
        );
        assert!(took < Duration::from_secs(20), "{query}: {took:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test measures what a query takes"
)]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_run_out_of_fuel_is_caught_by_nothing_and_always_the_same() {
    let record = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    let nested = "[.[] as $a | .[] as $b | .[] as $c | .[] as $d | .[] as $e | 1] | length";
    for query in [
        nested.to_owned(),
        format!("try ({nested}) catch 7"),
        format!("({nested}) // 7"),
    ] {
        let errors: Vec<_> = (0..2)
            .map(|_| results(&query, record).unwrap_err())
            .collect();
        assert_eq!(errors[0], errors[1]);
        assert!(errors[0].contains("too many steps"), "{}", errors[0]);
    }
    assert_eq!(
        results("[.[] as $a | .[] | 1] | length", record),
        Ok(vec!["400".to_owned()])
    );
}

#[test]
fn a_compiled_query_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let query = Query::compile(".[]").expect("good");
    shared(&query);
}
