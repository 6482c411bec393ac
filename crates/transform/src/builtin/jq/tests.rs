//! What queries give and what is refused, and that none of them hangs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Query, json};

fn results(query: &str, record: &str) -> Result<Vec<String>, String> {
    let query = Query::compile(query).map_err(|error| format!("refused: {error}"))?;
    let results = query.run(record.as_bytes(), usize::MAX)?;
    let text = |value| {
        let mut text = Vec::new();
        json(value, &mut |part| text.extend_from_slice(part));
        String::from_utf8(text).unwrap()
    };
    Ok(results.iter().map(text).collect())
}

/// A query, a record, and the first result.
const WRITTEN: &[(&str, &str, &str)] = &[
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
        "7",
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
    (
        r#".p | [scan("[a-z]+")]"#,
        r#"{"p":"ab1c"}"#,
        r#"["ab","c"]"#,
    ),
    (
        r#"[.p | scan("([a-z])([0-9])")]"#,
        r#"{"p":"a1-b2"}"#,
        r#"[["a","1"],["b","2"]]"#,
    ),
    (
        r#"[.p | splits("[,;] *")]"#,
        r#"{"p":"a, b;c"}"#,
        r#"["a","b","c"]"#,
    ),
    (
        r#".p | split("[,;]"; "")"#,
        r#"{"p":"a,b"}"#,
        r#"["a","b"]"#,
    ),
    (
        r#".p | sub("(?<x>[a-z])(?<y>[0-9])"; "\(.y)\(.x)")"#,
        r#"{"p":"a1b2"}"#,
        r#""1ab2""#,
    ),
    (
        r#".r as $r | .p | gsub("/"; $r)"#,
        r#"{"p":"a/b/","r":"::"}"#,
        r#""a::b::""#,
    ),
    (r#".p | gsub("";"-")"#, r#"{"p":"ab"}"#, r#""-a-b-""#),
    (r#".p | gsub("A"; "x"; "i")"#, r#"{"p":"aA"}"#, r#""xx""#),
    (
        r#"[.p | match("ü(?<n>b)?"; "g") | [.offset, .length, .captures[].name]]"#,
        r#"{"p":"aüxüb"}"#,
        r#"[[1,1],[3,2,"n"]]"#,
    ),
    (
        r#".p | test("^(?:([a-z])|([0-9]))+$"), [match("^(?:([a-z])|([0-9]))+$").captures[].offset]"#,
        r#"{"p":"1a"}"#,
        "true",
    ),
    (
        r#".a | join("-")"#,
        r#"{"a":["x",1,null,true,2.0]}"#,
        r#""x-1--true-2""#,
    ),
    (r".a | add", r#"{"a":["x","y","z"]}"#, r#""xyz""#),
    (r".a | add", r#"{"a":[[1],[2],null]}"#, "[1,2]"),
    (r".a | add", r#"{"a":[]}"#, "null"),
    (r".a | add", r#"{"a":{"x":1,"y":2.5}}"#, "3.5"),
    (
        r"from_entries",
        r#"[{"key":"a","value":false},{"name":"b"},{"k":1,"v":2}]"#,
        r#"{"a":false,"b":null,"1":2}"#,
    ),
    (
        r#""\(.a / 2) \(.b)" | ., @text"#,
        r#"{"a":14,"b":[1e3,"x"]}"#,
        r#""7 [1000,\"x\"]""#,
    ),
    (r#"@json "v=\(.a)""#, r#"{"a":["x"]}"#, r#""v=[\"x\"]""#),
    (r#"@uri "v=\(.a)""#, r#"{"a":"x y"}"#, r#""v=x%20y""#),
    (r".a[.i]", r#"{"a":[5,6],"i":1.0}"#, "6"),
    (r".[.k]", r#"{"a":5,"k":"a"}"#, "5"),
    (r#"has("a"), getpath(["a", 0])"#, r#"{"a":[1]}"#, "true"),
    (r".a | nth(1)", r#"{"a":[1,2]}"#, "2"),
    (
        r".i as $i | .j as $j | .a[$i][$j]",
        r#"{"a":[[1,2]],"i":0,"j":1}"#,
        "2",
    ),
    (
        r#".ts | strftime("100%% %Y")"#,
        r#"{"ts":0}"#,
        r#""100% 1970""#,
    ),
    (
        ".ts | gmtime | mktime | todate",
        r#"{"ts":86400}"#,
        r#""1970-01-02T00:00:00Z""#,
    ),
];

#[test]
fn queries_that_people_write() {
    for (query, record, expected) in WRITTEN {
        let got = results(query, record).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(got[0], *expected, "{query}");
    }
    let many = (0..300)
        .map(|i| format!(".t == \"{i}\""))
        .collect::<Vec<_>>()
        .join(" or ");
    assert_eq!(
        results(&many, r#"{"t":"299"}"#),
        Ok(vec!["true".to_owned()])
    );
    let offsets = r#"[match("^(?:([a-z])|([0-9]))+$").captures[].offset]"#;
    assert_eq!(results(offsets, r#""1a""#), Ok(vec!["[1,0]".to_owned()]));
}

/// A query, and what is in the message.
const REFUSED: &[(&str, &str)] = &[
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
    ("add(.[])", "`add` with arguments"),
    ("flatten(1)", "`flatten` with arguments"),
    ("walk([.])", "`walk`"),
    (". as {t: $t, s: $s} | $t | join($s)", "`join` takes a text"),
    ("split(.s)", "`split` takes a text"),
    ("test(.p)", "`test` takes a text"),
    ("test(\"a\"; .f)", "`test` takes a text"),
    ("test(\"a\", \"b\")", "`test` takes a text"),
    (".p as $p | sub($p; \"\")", "`sub` takes a text"),
    ("[scan(\"\\(.p)\")]", "`scan` takes a text"),
    ("test(\"(\")", "pattern"),
    ("test(\"a\"; \"q\")", "flag `q`"),
    ("test(\"((a{99}){99}){99}\")", "pattern"),
    ("test", "so many arguments"),
    ("gsub(\"a\")", "so many arguments"),
    ("join", "so many arguments"),
    ("strftime(\"%-Q\")", "time zone"),
    ("strftime(\"%5Q\")", "time zone"),
    ("strftime(\"%_:Q\")", "time zone"),
    ("strftime(\"%%%05:Q\")", "time zone"),
    (".[.a[]][.b[]]", "two computed"),
    (".[.a:.[]][.b[]]", "two computed"),
    ("in({})", "`in`"),
];

#[test]
fn what_is_not_of_the_record_or_has_no_end_is_refused() {
    for (query, word) in REFUSED {
        let error = Query::compile(query).map(drop).expect_err(query);
        assert!(error.contains(word), "{query}: {error}");
    }
    let long = format!("{{a: \"{}\"}}", "x".repeat(5200));
    assert!(Query::compile(&long).is_err_and(|error| error.contains("limit 5120")));
}

#[test]
fn what_is_nested_without_end_is_refused_and_needs_little_stack() {
    let brackets = ["(".repeat(2500), "+".to_owned(), ")".repeat(2500)].concat();
    let texts = ["\"\\(".repeat(600), ".".to_owned(), ")\"".repeat(600)].concat();
    for query in [
        brackets,
        texts,
        "[".repeat(5000),
        format!("{}1", "-".repeat(5000)),
        format!("{}.", "try ".repeat(1200)),
        format!(".{}", "|.".repeat(2500)),
        format!(".{}", "+.".repeat(2500)),
        format!(".{}", "?".repeat(5000)),
        format!("{}.", ". as $x|".repeat(600)),
        format!("{}.", "if . then ".repeat(500)),
        format!("{}.", "def f:".repeat(800)),
        format!("{}.", "reduce ".repeat(700)),
        format!(".{}", ".a".repeat(2500)),
        format!(".{}", "[0]".repeat(1700)),
    ] {
        let work = move || drop((Query::compile(&query), super::keys(&query)));
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        thread.spawn(work).unwrap().join().unwrap();
    }
}

#[test]
fn what_fails_inside_jq_fails_the_record() {
    let overflows = "[2000,127,1,0,0,0]";
    let error = results("mktime", overflows).unwrap_err();
    // In release builds it is an error of jq's.
    assert_eq!(
        error.contains("inside jq"),
        cfg!(debug_assertions),
        "{error}"
    );
    assert_eq!(results("mktime", overflows), Err(error));
    assert_eq!(results("1", "{}"), Ok(vec!["1".to_owned()]));
}

#[test]
fn times_beyond_the_calendar_fail() {
    for query in ["strftime(\"%Y\")", "gmtime", "todate", "todateiso8601"] {
        for time in [
            "18446744073710",
            "9223372036854775807",
            "1e300",
            "-377705023202",
        ] {
            let error = results(query, time).unwrap_err();
            assert!(error.contains("-9999 to 9999"), "{query} {time}: {error}");
        }
        assert!(results(query, "253402207199").is_ok(), "{query}");
    }
}

#[test]
fn an_index_is_no_array() {
    let record = r#"{"names":[1,2,1],"idx":[1],"span":{"start":1}}"#;
    for query in [
        ".names[.idx]",
        ".names[.span]",
        ".idx as $i | .names[$i]",
        ".names | has([1])",
        ".idx as $i | .names | nth($i)",
        "getpath([\"names\", .idx])",
        ".idx as $i | .names as {($i): $x} | $x",
    ] {
        let error = results(query, record).unwrap_err();
        assert!(error.contains("an index must be"), "{query}: {error}");
    }
}

/// A record of about a mebibyte that is made to make a query slow.
fn hostile(item: &str, around: [&str; 2]) -> String {
    let mut record = around[0].to_owned();
    while record.len() < 1 << 20 {
        write!(record, "{item},").unwrap();
    }
    format!("{}{}", record.trim_end_matches(','), around[1])
}

/// Queries for each of `records`, and whether they are known to stop for want of steps or room.
const HOSTILE: &[(&str, &[&str])] = &[
    (
        "ones",
        &[
            ".[0] * 1e300 * 1e300 | tostring | tonumber * 1e9",
            "[.[] as $x | .[] as $y | .[] | 1] | length",
            "[.[] as $x | length] | length",
            "[.[] as $x | .[1:]] | length",
            "[.[] as $x | . == .] | length",
            ". - .",
            "[.[] | try error(.) catch .] | length",
            "[.[] as $x | try ([.[] | 1] | length) catch 1] | length",
            ". as $a | [.[] | try ($a | .x) catch length] | length",
            "first(.[] as $x | .[] as $y | select(false)) // 1",
            "[limit(1e9; .[] , .[] , .[])] | length",
            "all(.[]; any($__; true))",
            "[.[] | {a: 1, b: 2, c: 3}] | length",
            "[.[] | [1]] | length",
            "map(tostring) | length",
            "sort | unique | group_by(.) | length",
            "[.[] | test(\"1\")] | length",
            ". as $a | .[.[:9][]] | length",
            "tojson | fromjson | length",
            "to_entries | length",
        ],
    ),
    (
        "empties",
        &["[.[][][]] | length", "add", "flatten", "map(map(map(.)))"],
    ),
    (
        "words",
        &[
            "add",
            "join(\",\")",
            "sort | unique | group_by(.) | length",
            "min_by(tostring)",
            "map(explode) | length",
            "map(split(\"\")) | length",
        ],
    ),
    (
        "objects",
        &[
            "from_entries",
            "[.[] | {(.key): .value}] | add",
            "map(with_entries(.)) | length",
            "sort_by(.key, .value) | length",
            "unique_by(.) | length",
        ],
    ),
    (
        "members",
        &[
            "to_entries | from_entries | with_entries(.)",
            "[paths] | length",
            "keys | length",
            "[..] | length",
            ". * . | length",
        ],
    ),
    (
        "text",
        &[
            "gsub(\"a\"; \"b\")",
            "gsub(\"a*?\"; \"b\")",
            "[splits(\"a\")] | length",
            "[match(\"a\"; \"g\")] | length",
            "[match(\"a(.*b)?\"; \"g\")] | length",
            "[scan(\"(a)(a)(a)\")] | length",
            "[capture(\"(?<x>.)\"; \"g\")] | length",
            "split(\",\") | join(\"-\")",
            "split(\"a\") | length",
            "test(\"(a|a)*b\")",
            "test(\"(a?){200}b\")",
            "indices(\"aa\") | length",
            "explode | implode | length",
            "ascii_upcase | @base64 | @uri | @html | @json",
            ". / \"a\" | length",
            ". as $t | gsub(\"a\"; $t) | length",
            "\"\\(.)\\(.)\\(.)\\(.)\\(.)\\(.)\" | . + . | length",
        ],
    ),
    ("digits", &["tonumber"]),
    ("brackets", &["fromjson", "try tonumber catch 1"]),
    (
        "shared",
        &[
            ".big as $b | [.items[]] | sort_by($b) | length",
            ".big as $b | [.items[] | {($b): 1}] | length",
            ".big as $b | . as $r | [.items[] | $r[$b]] | length",
            ".big as $b | [.items[] | select($b | startswith($b))] | length",
            ".big as $b | .items | any(.[]; $b == $b | not)",
            ".rep as $r | .big | gsub(\"a\"; $r)",
            ".items as $i | [.items[] | $i] | add | length",
            ".big as $b | [.items[] | \"\\($b)\"] | length",
            ".items as $i | [$i[] as $x | $i | getpath([0])] | length",
        ],
    ),
];

fn hostile_records() -> Vec<(&'static str, String)> {
    let mut members = "{".to_owned();
    for i in 0..80_000 {
        write!(members, "\"k{i}\":\"\",").unwrap();
    }
    let big = "a".repeat(500 << 10);
    let items = hostile("11", ["[", "]"]);
    vec![
        ("ones", items.clone()),
        ("empties", hostile("[]", ["[", "]"])),
        ("words", hostile("\"ab\"", ["[", "]"])),
        (
            "objects",
            hostile("{\"key\":\"a\",\"value\":1}", ["[", "]"]),
        ),
        ("members", format!("{}}}", members.trim_end_matches(','))),
        ("text", hostile("a", ["\"", "\""]).replace(',', "a")),
        ("digits", format!("\"{}\"", "9".repeat(1 << 20))),
        ("brackets", format!("\"{}\"", "[".repeat(1 << 20))),
        (
            "shared",
            format!(r#"{{"big":"{big}","rep":"{big}","items":{items}}}"#),
        ),
    ]
}

#[test]
fn nothing_hangs() {
    for (name, record) in hostile_records() {
        let queries = HOSTILE.iter().find(|(known, _)| *known == name);
        for query in queries.map_or(&[][..], |(_, queries)| queries) {
            check_ends(query, &record);
        }
    }
    let ones = hostile("11", ["[", "]"]);
    for query in [
        format!(".[0:9]{}", " | . + .".repeat(150)),
        format!("[1{}]", " | (., .)".repeat(150)),
        format!("1{} | tojson", " | [., .]".repeat(300)),
        format!("1{} | .a", " | [., .]".repeat(300)),
        format!("{{a: (1{})}}", " | {a: ., b: .}".repeat(90)),
        format!(".[0]{}", " | . * .".repeat(150)),
    ] {
        check_ends(&query, &ones);
    }
}

fn check_ends(query: &str, record: &str) {
    let Ok(compiled) = Query::compile(query) else {
        assert!(query.contains("$__"), "{query} is refused");
        return;
    };
    let started = now();
    let outcome = compiled.run(record.as_bytes(), 2);
    let took = started.elapsed();
    if std::env::var_os("HYDRANT_SHOW_TIMES").is_some() {
        let end = outcome
            .as_ref()
            .map_or_else(String::clone, |_| String::new());
        println!("{took:>10.1?} {query:.60} {end:.60}");
    }
    assert!(took < Duration::from_secs(20), "{query}: {took:?}");
}

#[test]
fn what_is_built_is_bounded() {
    let ones = hostile("11", ["[", "]"]);
    for query in [
        "[.[] | {a: 1, b: 2, c: 3}]",
        "map(tostring) | map(explode)",
        "tojson | explode",
    ] {
        let error = results(query, &ones).unwrap_err();
        assert!(error.contains("over 67108864 bytes"), "{query}: {error}");
    }
    let objects = hostile("{}", ["[", "]"]);
    let error = results(".", &objects).unwrap_err();
    assert!(error.contains("over 67108864 bytes"), "{error}");
    // What is quoted of a value in a message is short.
    assert!(results(".a", &ones).unwrap_err().len() < 5000);
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
