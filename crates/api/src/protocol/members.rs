//! The members of a request, taken out by type. Unknown members are ignored, null is absent, and
//! a wrong type gets the message that Kinesis gives (reference, section 2.2).

use serde_json::{Map, Value};

use super::Fault;
use super::instant::millis;

/// A structure of a request.
pub(crate) struct Members<'a>(&'a Map<String, Value>);

/// Reads the body of a request in JSON.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Fault::serialization(
            "the request body is not a JSON object",
        )),
        Err(error) => Err(Fault::serialization(format!(
            "the request body is not JSON: see line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

impl<'a> Members<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>) -> Self {
        Self(map)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        self.get(name).map(string_of).transpose()
    }

    /// Base64 text; whether it is base64 is left to the caller.
    pub(crate) fn blob(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        let blob = |value: &'a Value| value.as_str().ok_or_else(|| scalar(value, "a Blob"));
        self.get(name).map(blob).transpose()
    }

    /// A 32-bit number: fractions are cut, larger ones clamped.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        let integer = |value: &'a Value| match value {
            Value::Number(number) => Ok(number.as_i64().map_or_else(
                || {
                    if number.as_f64().is_some_and(|n| n < 0.0) {
                        floor(number)
                    } else {
                        cut(number)
                    }
                },
                |n| n.min(i64::from(i32::MAX)),
            )),
            _ => Err(scalar(value, "an Integer")),
        };
        self.get(name).map(integer).transpose()
    }

    /// Seconds since the epoch with a fraction, as milliseconds.
    pub(crate) fn timestamp(&self, name: &str) -> Result<Option<u64>, Fault> {
        let timestamp = |value: &'a Value| match value {
            Value::Number(number) => Ok(millis(number.as_f64().unwrap_or(0.0))),
            _ => Err(match value {
                Value::Array(_) | Value::Object(_) => scalar(value, ""),
                _ => Fault::serialization(format!(
                    "class {} can not be converted to milliseconds since epoch",
                    class(value)
                )),
            }),
        };
        self.get(name).map(timestamp).transpose()
    }

    pub(crate) fn structure(&self, name: &str) -> Result<Option<Members<'a>>, Fault> {
        let structure = |value: &'a Value| match value {
            Value::Object(map) => Ok(Members(map)),
            Value::Array(_) => Err(Fault::serialization(
                "Start of list found where not expected",
            )),
            _ => Err(Fault::serialization("Expected null")),
        };
        self.get(name).map(structure).transpose()
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a [Value]>, Fault> {
        let list = |value: &'a Value| match value {
            Value::Array(list) => Ok(&list[..]),
            Value::Object(_) => Err(map_unexpected()),
            _ => Err(Fault::serialization("Expected list or null")),
        };
        self.get(name).map(list).transpose()
    }

    pub(crate) fn map(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Fault> {
        let map = |value: &'a Value| match value {
            Value::Object(map) => Ok(map),
            Value::Array(_) => Err(Fault::serialization(
                "Start of list found where not expected",
            )),
            _ => Err(Fault::serialization("Expected map or null")),
        };
        self.get(name).map(map).transpose()
    }
}

fn string_of(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or_else(|| scalar(value, "an String"))
}

/// The message for a value that is not the wanted scalar.
fn scalar(value: &Value, wanted: &str) -> Fault {
    match value {
        Value::Array(_) => Fault::serialization("Start of list found where not expected"),
        Value::Object(_) => map_unexpected(),
        _ => Fault::serialization(format!(
            "class {} can not be converted to {wanted}",
            class(value)
        )),
    }
}

fn map_unexpected() -> Fault {
    Fault::serialization("Start of structure or map found where not expected.")
}

fn class(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "java.lang.Boolean",
        Value::Number(_) => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        _ => "java.lang.String",
    }
}

/// A positive number that is no i64: a fraction, or above all of them.
fn cut(number: &serde_json::Number) -> i64 {
    let whole = millis(number.as_f64().unwrap_or(f64::MAX) / 1000.0);
    i64::try_from(whole)
        .unwrap_or(i64::MAX)
        .min(i64::from(i32::MAX))
}

fn floor(number: &serde_json::Number) -> i64 {
    let whole = millis((-number.as_f64().unwrap_or(f64::MIN)).ceil() / 1000.0);
    i64::try_from(whole).map_or(i64::MIN, |n| -n)
}

#[cfg(test)]
mod tests {
    use super::{Members, parse};

    #[test]
    fn values_by_type() {
        let map = parse(br#"{"S":"x","N":3,"F":2.9,"M":-1.5,"B":1e30,"T":1700000000.123,"O":{"S":"y"},"L":[1],"Z":null}"#)
            .expect("an object");
        let members = Members::new(&map);
        assert_eq!(members.string("S"), Ok(Some("x")));
        assert_eq!(members.string("Z"), Ok(None));
        assert_eq!(members.string("absent"), Ok(None));
        assert_eq!(members.integer("N"), Ok(Some(3)));
        assert_eq!(members.integer("F"), Ok(Some(2)));
        assert_eq!(members.integer("M"), Ok(Some(-2)));
        assert_eq!(members.integer("B"), Ok(Some(2_147_483_647)));
        assert_eq!(members.timestamp("T"), Ok(Some(1_700_000_000_123)));
        assert_eq!(
            members.list("L").map(|list| list.map(<[_]>::len)),
            Ok(Some(1))
        );
        let inner = members
            .structure("O")
            .expect("a structure")
            .expect("present");
        assert_eq!(inner.string("S"), Ok(Some("y")));
    }

    #[test]
    fn wrong_types_get_the_message_that_kinesis_gives() {
        let map = parse(br#"{"b":true,"n":1,"s":"x","l":[],"o":{}}"#).expect("an object");
        let members = Members::new(&map);
        let number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
        let text = |result: Result<(), super::Fault>| result.expect_err("wrong type").message;
        let string = |name| text(members.string(name).map(drop));
        assert_eq!(
            string("b"),
            "class java.lang.Boolean can not be converted to an String"
        );
        assert_eq!(
            string("n"),
            format!("{number} can not be converted to an String")
        );
        assert_eq!(string("l"), "Start of list found where not expected");
        assert_eq!(
            string("o"),
            "Start of structure or map found where not expected."
        );
        assert_eq!(
            text(members.integer("s").map(drop)),
            "class java.lang.String can not be converted to an Integer"
        );
        assert_eq!(
            text(members.blob("n").map(drop)),
            format!("{number} can not be converted to a Blob")
        );
        assert_eq!(
            text(members.timestamp("s").map(drop)),
            "class java.lang.String can not be converted to milliseconds since epoch"
        );
        assert_eq!(text(members.list("s").map(drop)), "Expected list or null");
        assert_eq!(text(members.map("s").map(drop)), "Expected map or null");
        assert_eq!(text(members.structure("s").map(drop)), "Expected null");
        for bad in ["", "{", "[]", "1", "{\"a\":}"] {
            assert_eq!(
                parse(bad.as_bytes()).expect_err(bad).kind,
                "SerializationException"
            );
        }
    }
}
