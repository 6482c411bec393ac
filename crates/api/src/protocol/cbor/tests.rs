//! Bodies by hand, byte by byte where the form matters.

use minicbor::Encoder;
use serde_json::{Value, json};

use super::{MAX_DEPTH, MAX_VALUES, Reader, parse, write};

/// The bytes of hexadecimal digits.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |two: &[u32]| u8::try_from(two[0] << 4 | two[1]).expect("two digits");
    digits.chunks(2).map(byte).collect()
}

/// A map of one member `a`, whose value these digits are.
fn member(value: &str) -> Vec<u8> {
    hex(&format!("a1 6161 {value}"))
}

fn read(value: &str) -> Value {
    parse(&member(value)).expect(value)["a"].clone()
}

fn refused(body: &[u8]) -> String {
    let fault = parse(body).expect_err("malformed");
    assert_eq!(fault.kind, "SerializationException");
    fault.message
}

#[test]
fn values_are_what_json_would_carry() {
    for (value, wanted) in [
        ("00", json!(0)),
        ("18 ff", json!(255)),
        ("1a 00010000", json!(65_536)),
        ("1b ffffffffffffffff", json!(u64::MAX)),
        ("20", json!(-1)),
        ("3b 7fffffffffffffff", json!(i64::MIN)),
        ("3b ffffffffffffffff", json!(i64::MIN)),
        ("f9 3e00", json!(1.5)),
        ("fa 40200000", json!(2.5)),
        ("fb 4004000000000000", json!(2.5)),
        ("f4", json!(false)),
        ("f5", json!(true)),
        ("f6", json!(null)),
        ("f7", json!(null)),
        ("60", json!("")),
        ("62 c3bc", json!("ü")),
        ("78 01 78", json!("x")),
        ("7f 62 6162 60 61 63 ff", json!("abc")),
        ("7f ff", json!("")),
        ("40", json!("")),
        ("43 6f6e65", json!("b25l")),
        ("5f 41 6f 40 42 6e65 ff", json!("b25l")),
        ("5f ff", json!("")),
        ("80", json!([])),
        ("82 01 80", json!([1, []])),
        ("9f 01 9f ff a0 ff", json!([1, [], {}])),
        ("a2 6162 01 6163 a0", json!({ "b": 1, "c": {} })),
        ("bf 7f 6162 6163 ff 01 ff", json!({ "bc": 1 })),
        ("c1 1b 0000018bcfe56959", json!(1_700_000_000.345)),
        ("c1 19 03e8", json!(1.0)),
        ("c1 00", json!(0.0)),
        ("c1 20", json!(0.0)),
    ] {
        assert_eq!(read(value), wanted, "{value}");
    }
    assert_eq!(parse(&hex("a0")), parse(&hex("bf ff")));
    assert_eq!(
        parse(&hex("a2 6161 01 6161 02")).expect("a map")["a"],
        2,
        "the last of a name counts"
    );
}

#[test]
fn what_is_malformed_is_refused() {
    for value in [
        "",
        "1c",
        "5f 6161 ff",       // a text within a byte string
        "7f 4161 ff",       // and the other way round
        "7f 7f 6161 ff ff", // chunks are not in chunks themselves
        "7f 61c3 61bc ff",  // nor is a character in two
        "61 ff",
        "9f",
        "bf 6162 ff",
        "81 ff",
        "a1 01 01", // names are texts
        "a1 4162 01",
        "ff",
        "e0",
        "f8 20",
        "fb 7ff0000000000000",
        "fb 7ff8000000000000",
        "01 00", // more than one value
        "5b ffffffffffffffff 00",
        "7b 7fffffffffffffff 00",
        "9b ffffffffffffffff 00",
        "bb ffffffffffffffff 6161 00",
    ] {
        let message = refused(&member(value));
        assert!(
            message.starts_with("the request body is not CBOR as it should be: see byte "),
            "{value}: {message}"
        );
    }
    for value in [
        "ff",
        "81 ff",
        "9f 81 ff ff",
        "a1 61 62 ff",
        "82 00",
        "c1 ff",
        "fc",
    ] {
        assert!(Reader::new(&hex(value)).skip().is_err(), "{value}");
    }
    for (body, said) in [
        (&b""[..], "is not CBOR as it should be: see byte 0"),
        (b"{}", "is not a CBOR map: see byte 0"),
        (b"\x80", "is not a CBOR map: see byte 0"),
        (b"\xd9\xd9\xf7\xa0", "is not a CBOR map: see byte 0"),
    ] {
        assert_eq!(refused(body), format!("the request body {said}"));
    }
    for value in ["c0 61 61", "c2 41 01", "d8 20 61 61"] {
        let message = refused(&member(value));
        assert!(message.contains("has a tag that is not 1: see byte 3"));
    }
    for value in [
        "c1 fb 41d954fc40160000",
        "c1 f9 3c00",
        "c1 61 30",
        "c1 c1 00",
    ] {
        let message = refused(&member(value));
        assert!(message.contains("not in whole milliseconds"), "{message}");
    }
}

/// A body with everything in it.
const WHOLE: &str = "bf 6161 7f 6162 6163 ff 6162 5f 4101 4202 03 ff 6163 83 01 3903e8 f6 6164 9f a1 6165 fb 4004000000000000 c1 1b 0000018bcfe56959 ff 6166 f5 6167 4178 ff";

#[test]
fn no_part_of_a_body_is_a_body() {
    let whole = hex(WHOLE);
    assert_eq!(parse(&whole).map(|map| map.len()), Ok(6));
    let skip = |body: &[u8]| {
        let mut reader = Reader::new(body);
        reader.skip().and_then(|()| reader.end())
    };
    assert_eq!(skip(&whole), Ok(()));
    for length in 0..whole.len() {
        refused(&whole[..length]);
        assert!(skip(&whole[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let whole = hex(WHOLE);
    for at in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut body = whole.clone();
            body[at] = byte;
            let read = parse(&body).is_ok();
            let mut reader = Reader::new(&body);
            let skipped = reader.skip().and_then(|()| reader.end()).is_ok();
            assert!(skipped || !read, "{body:x?} is read but not skipped");
        }
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |open: &str, depth: usize, close: &str| {
        let inner = format!("{}00{}", open.repeat(depth), close.repeat(depth));
        member(&inner)
    };
    for (open, close) in [("81", ""), ("9f", "ff"), ("a16162", ""), ("bf6162", "ff")] {
        assert!(parse(&nested(open, MAX_DEPTH - 1, close)).is_ok());
        for depth in [MAX_DEPTH, 100_000] {
            let body = nested(open, depth, close);
            let message = refused(&body);
            assert!(message.contains("deeper than 64 levels"), "{message}");
            assert!(Reader::new(&body).skip().is_err());
        }
    }
    // Where the value is not looked at, tags may be nested as they like.
    assert!(Reader::new(&nested("c1", 100_000, "")).skip().is_ok());
    let many = |count: usize| {
        let mut body = hex("a1 6161 99");
        body.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(vec![0; count]);
        body
    };
    assert!(parse(&many(MAX_VALUES - 1)).is_ok());
    let message = refused(&many(MAX_VALUES));
    assert!(message.contains("more than 4,096 values"), "{message}");
}

#[test]
fn chunks_are_joined_and_the_rest_is_borrowed() {
    use std::borrow::Cow;
    let body = hex("9f 6161 7f 6161 6162 ff f6 4101 5f 4101 420203 ff ff");
    let mut reader = Reader::new(&body);
    let mut items = 0;
    let read = reader.each(|reader| {
        match items {
            0 => assert!(matches!(reader.text()?, Some(Cow::Borrowed("a")))),
            1 => {
                let Some(Cow::Owned(text)) = reader.text()? else {
                    panic!("in one piece")
                };
                assert_eq!((text.as_str(), text.capacity()), ("ab", 2));
            }
            2 => assert_eq!(reader.text()?, None),
            3 => assert!(matches!(reader.bytes()?, Cow::Borrowed([1]))),
            _ => {
                let Cow::Owned(bytes) = reader.bytes()? else {
                    panic!("in one piece")
                };
                assert_eq!((bytes.as_slice(), bytes.capacity()), (&[1, 2, 3][..], 3));
            }
        }
        items += 1;
        Ok(())
    });
    assert_eq!((read, reader.end(), items), (Ok(()), Ok(()), 5));
}

#[test]
fn answers_go_there_and_back() {
    let answer = json!({
        "StreamCreationTimestamp": 1_700_000_000.345,
        "ApproximateArrivalTimestamp": 0,
        "ConsumerCreationTimestamp": 1_700_000_000,
        "Deep": [{ "Text": "ü", "Count": -7, "Large": u64::MAX, "Yes": true, "No": null, "Half": 0.5 }],
    });
    let body = write(&answer);
    assert_eq!(
        minicbor::display(&body).to_string(),
        r#"{"ApproximateArrivalTimestamp": 1(0), "ConsumerCreationTimestamp": 1(1700000000000), "Deep": [{"Count": -7, "Half": 5e-1, "Large": 18446744073709551615, "No": null, "Text": "ü", "Yes": true}], "StreamCreationTimestamp": 1(1700000000345)}"#
    );
    let read = parse(&body).expect("a map");
    assert_eq!(read["Deep"], answer["Deep"]);
    assert_eq!(read["StreamCreationTimestamp"], 1_700_000_000.345);
    let mut digits = Encoder::new(Vec::new());
    let mut inner = Vec::new();
    super::digits(&mut Encoder::new(&mut inner), &[b'7'; 56]).expect("a vector takes all");
    digits.str(&"7".repeat(56)).expect("a vector takes all");
    assert_eq!(inner, digits.into_writer());
}
