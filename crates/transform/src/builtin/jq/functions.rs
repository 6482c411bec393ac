//! The functions that a checked query is compiled with: jaq's, some of them in a form that is bounded
//! or closer to jq 1.6, and those that spend (`check` puts them where they are needed).

use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, bome, v};
use jaq_core::{Bind, Error, Native, ValR};
use jaq_json::{Map, Num, Val};

use super::meter::Meter;
use super::{Values, read, regex, text};

/// One step.
pub(super) const TICK: &str = "hydrant_tick";
/// Steps for all of a value that is read.
pub(super) const READ: &str = "hydrant_read";
/// The same for what is sorted, and compared many times.
pub(super) const SORT: &str = "hydrant_sort";
/// Steps and memory for all of a value that was built.
pub(super) const BUILT: &str = "hydrant_built";
/// Memory for an element of an array that grows by doubling.
pub(super) const ELEMENT: &str = "hydrant_element";
/// Memory for a value that is kept to compare others by it.
pub(super) const KEPT: &str = "hydrant_kept";
/// Stops where there is no room for what is made of each value, or of each byte of a text.
pub(super) const ASK_FOR_VALUES: &str = "hydrant_ask_for_values";
pub(super) const ASK_FOR_BYTES: &str = "hydrant_ask_for_bytes";
/// Lets pass what can be an index: of an array or object, the places would be looked for.
pub(super) const INDEX: &str = "hydrant_index";
/// Lets pass an array of such.
pub(super) const INDICES: &str = "hydrant_indices";
/// Lets pass times that are dates.
pub(super) const TIME: &str = "hydrant_time";
pub(super) const MULTIPLY: &str = "hydrant_multiply";
pub(super) const SUBTRACT: &str = "hydrant_subtract";
pub(super) const ADD: &str = "hydrant_add";
pub(super) const JOIN: &str = "hydrant_join";
pub(super) const FROM_ENTRIES: &str = "hydrant_from_entries";
pub(super) const TO_TEXT: &str = "hydrant_to_text";
pub(super) const TO_JSON: &str = "hydrant_to_json";
pub(super) const TEST: &str = "hydrant_test";
pub(super) const MATCH: &str = "hydrant_match";
pub(super) const CAPTURE: &str = "hydrant_capture";
pub(super) const SCAN: &str = "hydrant_scan";
pub(super) const SPLIT: &str = "hydrant_split";
pub(super) const SUB: &str = "hydrant_sub";

const ELEMENT_BYTES: u64 = 48;
const KEPT_BYTES: u64 = 160;
/// How often a value is compared while so many are sorted as can be paid for.
const SORT_STEPS: u32 = 16;
/// The most that a value becomes, in sizes of itself: `to_entries` of small members.
const VALUES: u64 = 8;
/// The most that a byte of a text becomes: a text of its own in an array.
const BYTES: u64 = 96;
/// The last second of the year 9999, and the first of -9999 with a day for the time zone.
const TIMES: std::ops::RangeInclusive<f64> = -377_705_023_201.0..=253_402_207_200.0;

/// A function that lets its input pass, for a path too.
macro_rules! toll {
    ($name:expr, $spend:expr) => {
        (
            $name,
            v(0),
            Native::<Values>::new(|cv| {
                $spend(cv.0.data().meter, &cv.1);
                box_once(Ok(cv.1))
            })
            .with_paths(|cv| {
                $spend(cv.0.data().meter, &cv.1.0);
                box_once(Ok(cv.1))
            }),
        )
    };
}

/// A function of its input.
macro_rules! unary {
    ($name:expr, $answer:expr) => {
        (
            $name,
            v(0),
            Native::<Values>::new(|cv| bome($answer(cv.0.data().meter, cv.1))),
        )
    };
}

/// A function of two arguments.
macro_rules! binary {
    ($name:expr, $answer:expr) => {
        (
            $name,
            v(2),
            Native::<Values>::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                bome($answer(cv.0.data().meter, left, right))
            }),
        )
    };
}

/// A function of a pattern and its flags.
macro_rules! pattern {
    ($name:expr, $answer:expr) => {
        (
            $name,
            v(2),
            Native::<Values>::new(|cv| box_once($answer(cv))),
        )
    };
}

pub(super) fn functions() -> impl Iterator<Item = Fun<Values>> {
    let theirs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    // jaq's own nests as deep as its text says, and knows numbers of any length.
    theirs
        .filter(|(name, ..)| *name != "fromjson")
        .chain(tolls())
        .chain(answers())
        .chain(patterns())
}

fn tolls() -> [Fun<Values>; 8] {
    [
        toll!(TICK, |meter: &Meter, _: &Val| meter.spend(1)),
        toll!(READ, Meter::read),
        toll!(SORT, sort),
        toll!(BUILT, Meter::built),
        toll!(ELEMENT, |meter: &Meter, _: &Val| meter.build(ELEMENT_BYTES)),
        toll!(KEPT, |meter: &Meter, _: &Val| meter.build(KEPT_BYTES)),
        toll!(ASK_FOR_VALUES, |meter: &Meter, value: &Val| meter
            .ask(VALUES, value)),
        toll!(ASK_FOR_BYTES, |meter: &Meter, value: &Val| meter
            .ask(BYTES, value)),
    ]
}

fn answers() -> [Fun<Values>; 11] {
    [
        unary!(INDEX, index),
        unary!(INDICES, indices),
        unary!(TIME, time),
        unary!(ADD, add),
        unary!(FROM_ENTRIES, from_entries),
        unary!(TO_TEXT, to_text),
        unary!(TO_JSON, to_json),
        unary!("fromjson", from_json),
        binary!(MULTIPLY, multiply),
        binary!(SUBTRACT, subtract),
        (
            JOIN,
            v(1),
            Native::<Values>::new(|mut cv| {
                let separator = cv.0.pop_var();
                bome(join(cv.0.data().meter, &cv.1, &separator))
            }),
        ),
    ]
}

fn patterns() -> [Fun<Values>; 6] {
    [
        pattern!(TEST, regex::test),
        pattern!(MATCH, regex::matches),
        pattern!(CAPTURE, regex::capture),
        pattern!(SCAN, regex::scan),
        pattern!(SPLIT, regex::split),
        (
            SUB,
            [Bind::Var(()), Bind::Fun(()), Bind::Var(())].into(),
            Native::<Values>::new(|cv| box_once(regex::sub(cv))),
        ),
    ]
}

fn sort(meter: &Meter, value: &Val) {
    for _ in 0..SORT_STEPS {
        meter.read(value);
    }
}

fn index(meter: &Meter, value: Val) -> ValR<Val> {
    if matches!(value, Val::Arr(_) | Val::Obj(_)) {
        return Err(Error::str("an index must be a text or a number"));
    }
    meter.read(&value);
    Ok(value)
}

fn indices(meter: &Meter, value: Val) -> ValR<Val> {
    if let Val::Arr(items) = &value {
        for item in items.iter() {
            index(meter, item.clone())?;
        }
    }
    Ok(value)
}

fn time(_: &Meter, value: Val) -> ValR<Val> {
    match &value {
        Val::Num(number) if !TIMES.contains(&text::double(number)) => {
            Err(Error::str("a time is not of the years -9999 to 9999"))
        }
        _ => Ok(value),
    }
}

/// `add`: the elements of an array, or the values of an object, one after the other.
fn add(meter: &Meter, value: Val) -> ValR<Val> {
    meter.built(&value);
    let items: Vec<Val> = match value {
        Val::Arr(items) => items.iter().cloned().collect(),
        Val::Obj(entries) => entries.values().cloned().collect(),
        _ => return Err(Error::str("only an array or object can be added up")),
    };
    let mut items = items.into_iter();
    let mut sum = Val::Null;
    while let Some(item) = items.next() {
        sum = match (sum, item) {
            // jaq copies the first of two texts each time.
            (Val::TStr(first), Val::TStr(second)) => {
                let mut out = first.to_vec();
                out.extend_from_slice(&second);
                for more in items.by_ref() {
                    match more {
                        Val::TStr(more) => out.extend_from_slice(&more),
                        Val::Null => {}
                        _ => return Err(Error::str("a text and something else cannot be added")),
                    }
                }
                Val::utf8_str(out)
            }
            (sum, item) => (sum + item)?,
        };
    }
    Ok(sum)
}

/// `join`, as jq 1.6 has it: null is an empty text.
fn join(meter: &Meter, value: &Val, separator: &Val) -> ValR<Val> {
    let (Val::Arr(items), Val::TStr(separator)) = (value, separator) else {
        return Err(Error::str("only an array can be joined, by a text"));
    };
    let mut out = Vec::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            regex::put(&mut out, separator, meter);
        }
        match item {
            Val::Null => {}
            Val::TStr(text) | Val::BStr(text) => regex::put(&mut out, text, meter),
            Val::Bool(_) | Val::Num(_) => {
                text::json(item, &mut |part| regex::put(&mut out, part, meter));
            }
            Val::Arr(_) | Val::Obj(_) => {
                return Err(Error::str("an array or object cannot be joined"));
            }
        }
    }
    Ok(Val::utf8_str(out))
}

/// `from_entries`, with the names that jq 1.6 takes.
#[expect(clippy::needless_pass_by_value, reason = "it is one of many functions")]
fn from_entries(meter: &Meter, value: Val) -> ValR<Val> {
    let Val::Arr(entries) = &value else {
        return Err(Error::str("only an array can be of entries"));
    };
    let mut object = Map::default();
    for entry in entries.iter() {
        let Val::Obj(entry) = entry else {
            return Err(Error::str("an entry must be an object"));
        };
        let find = |names: &[&'static str]| {
            let mut found = names.iter().map(|name| entry.get(&key(name)));
            found.find_map(|value| value.filter(|value| truthy(value)))
        };
        let name = match find(&["key", "k", "name", "Name", "K", "Key"]) {
            Some(Val::TStr(name)) => Val::TStr(name.clone()),
            Some(other @ (Val::Num(_) | Val::Bool(_))) => to_json(meter, other.clone())?,
            None => key("null"),
            Some(_) => return Err(Error::str("an entry's key must be a text")),
        };
        let value = ["value", "v", "Value", "V"]
            .into_iter()
            .find_map(|name| entry.get(&key(name)));
        meter.build_member();
        object.insert(name, value.cloned().unwrap_or_default());
    }
    Ok(Val::obj(object))
}

fn truthy(value: &Val) -> bool {
    !matches!(value, Val::Null | Val::Bool(false))
}

fn key(name: &'static str) -> Val {
    Val::utf8_str(name.as_bytes())
}

/// A text as it is, and anything else as JSON.
fn to_text(meter: &Meter, value: Val) -> ValR<Val> {
    match value {
        text @ (Val::TStr(_) | Val::BStr(_)) => Ok(text),
        other => to_json(meter, other),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    clippy::needless_pass_by_value,
    reason = "it is one of many functions"
)]
fn to_json(meter: &Meter, value: Val) -> ValR<Val> {
    let mut out = Vec::new();
    text::json(&value, &mut |part| regex::put(&mut out, part, meter));
    Ok(Val::utf8_str(out))
}

#[expect(clippy::needless_pass_by_value, reason = "it is one of many functions")]
fn from_json(meter: &Meter, value: Val) -> ValR<Val> {
    let (Val::TStr(text) | Val::BStr(text)) = &value else {
        return Err(Error::str("only a text can be read as JSON"));
    };
    meter.read(&value);
    read::json(text.trim_ascii(), meter)
        .map_err(|error| Error::str(format_args!("a text is not JSON: {error}")))
}

fn multiply(meter: &Meter, left: Val, right: Val) -> ValR<Val> {
    meter.built(&left);
    meter.built(&right);
    if [&left, &right]
        .iter()
        .any(|one| matches!(one, Val::TStr(_) | Val::BStr(_)))
    {
        return Err(Error::str("a text cannot be multiplied here"));
    }
    match left * right {
        // Products of whole numbers grow without a bound; jq's are of this size.
        Ok(Val::Num(number @ Num::BigInt(_))) => Ok(Val::from(text::double(&number))),
        other => other,
    }
}

fn subtract(meter: &Meter, left: Val, right: Val) -> ValR<Val> {
    meter.built(&left);
    sort(meter, &right);
    sort(meter, &left);
    left - right
}
