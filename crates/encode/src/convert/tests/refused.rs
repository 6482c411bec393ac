//! Which records are refused, with which words.

use super::{object, read, rows, stage};

const COLUMNS: [(&str, &str); 7] = [
    ("i", "int"),
    ("t", "timestamp"),
    ("d", "decimal(4,1)"),
    ("b", "binary"),
    ("l", "array<struct<x:tinyint>>"),
    ("m", "map<string,date>"),
    ("o", "boolean"),
];
const PARSE: &str = "DataFormatConversion.ParseError";
const DATA: &str = "DataFormatConversion.MalformedData";
/// A record, and the code and message of its failure.
const CASES: &[(&[u8], &str, &str)] = &[
    (
        b"",
        DATA,
        "the record was empty or contained only white space",
    ),
    (
        b" \n",
        DATA,
        "the record was empty or contained only white space",
    ),
    (b"7", DATA, "expected an object, found a number"),
    (b"[{}]", DATA, "expected an object, found an array"),
    (b"null", DATA, "expected an object, found null"),
    (b"{} 7", DATA, "expected an object, found a number"),
    (
        b"{\"i\":1",
        PARSE,
        "malformed json at byte 6: expected `,` or `}`",
    ),
    (
        b"{\"i\":01}",
        PARSE,
        "column `i`: malformed json at byte 7: expected no digit behind a leading zero",
    ),
    (
        b"{} {\"z\":[tru]}",
        PARSE,
        "malformed json at byte 9: expected a value",
    ),
    (b"{\"z\":\"\xff\"}", PARSE, "no utf-8 at byte 6"),
    (
        b"{\"i\":\"oops\"}",
        DATA,
        "column `i`: expected int, found other text",
    ),
    (
        b"{\"i\":2147483648}",
        DATA,
        "column `i`: the value is out of the range of int",
    ),
    (
        b"{\"i\":1.5}",
        DATA,
        "column `i`: the value has a fraction, int has none",
    ),
    (
        b"{\"i\":[1]}",
        DATA,
        "column `i`: expected int, found an array",
    ),
    (
        b"{\"i\":true}",
        DATA,
        "column `i`: expected int, found a boolean",
    ),
    (
        b"{\"d\":999.95}",
        DATA,
        "column `d`: the value is out of the range of decimal(4,1)",
    ),
    (
        b"{\"t\":1e30}",
        DATA,
        "column `t`: the value is out of the range of timestamp",
    ),
    (
        b"{\"t\":\"now\"}",
        DATA,
        "column `t`: expected a time as yyyy-MM-ddTHH:mm:ssZ or a number since 1970, found other text",
    ),
    (
        b"{\"b\":\"?\"}",
        DATA,
        "column `b`: expected base64 text, found other text",
    ),
    (
        b"{\"o\":1}",
        DATA,
        "column `o`: expected boolean, found a number",
    ),
    (
        b"{\"l\":{}}",
        DATA,
        "column `l`: expected an array, found an object",
    ),
    (
        b"{\"l\":[{\"x\":1},{\"x\":300}]}",
        DATA,
        "column `l.element.x`: the value is out of the range of tinyint",
    ),
    (
        b"{\"l\":[1]}",
        DATA,
        "column `l.element`: expected an object, found a number",
    ),
    (
        b"{\"m\":{\"a\":\"2026-01-01\",\"b\":5}}",
        DATA,
        "column `m.value`: expected a date as yyyy-MM-dd, found a number",
    ),
];

#[test]
fn records_that_do_not_fit_are_refused_alone() {
    // A good record before, between and after: all of them stay, whole.
    let good = br#"{"i":5,"t":1,"d":1,"b":"","l":[{"x":1}],"m":{"k":"2026-01-01"},"o":true}"#;
    let records: Vec<&[u8]> = CASES
        .iter()
        .flat_map(|(bad, ..)| [&good[..], bad])
        .chain([&good[..]])
        .collect();
    let (object, refused) = object(&*stage(&COLUMNS), &records, &[records.len()]);
    for (place, (failure, (_, code, message))) in refused.iter().zip(CASES).enumerate() {
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            (*code, *message)
        );
        assert_eq!(
            (failure.record as usize, failure.output),
            (2 * place + 1, 0)
        );
        assert_eq!(failure.kind, "format-conversion-failed");
    }
    assert_eq!(refused.len(), CASES.len());
    let expected = vec![good; CASES.len() + 1];
    assert_eq!(read(&object).0, rows(&COLUMNS, &expected));
}
