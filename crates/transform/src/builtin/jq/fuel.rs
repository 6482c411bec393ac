//! The functions that a checked query is compiled with: jaq's, some of them in a form that is
//! bounded, and those that spend fuel.

use std::cell::Cell;
use std::panic::resume_unwind;

use jaq_core::Native;
use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, bome, v};
use jaq_core::{Error, ValR};
use jaq_json::{Num, Val};

use super::Values;
use super::check::{CHARGE, CHARGE_SQUARE, MULTIPLY, SUBTRACT, TICK};

/// Thrown, past any `try` of the query, where a run has no fuel left.
pub(super) struct Exhausted;

/// Bytes of a text that cost as much as a value.
const TEXT_BYTES: usize = 32;

pub(super) fn functions() -> impl Iterator<Item = Fun<Values>> {
    let theirs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let ours: [Fun<Values>; 6] = [
        (
            TICK,
            v(0),
            Native::<Values>::new(|cv| {
                spend(cv.0.data().fuel, 1);
                box_once(Ok(cv.1))
            })
            .with_paths(|cv| {
                spend(cv.0.data().fuel, 1);
                box_once(Ok(cv.1))
            }),
        ),
        (
            CHARGE,
            v(0),
            Native::<Values>::new(|cv| {
                charge(cv.0.data().fuel, &cv.1);
                box_once(Ok(cv.1))
            })
            .with_paths(|cv| {
                charge(cv.0.data().fuel, &cv.1.0);
                box_once(Ok(cv.1))
            }),
        ),
        (
            CHARGE_SQUARE,
            v(0),
            Native::<Values>::new(|cv| {
                charge_square(cv.0.data().fuel, &cv.1);
                box_once(Ok(cv.1))
            }),
        ),
        (
            MULTIPLY,
            v(2),
            Native::<Values>::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                bome(multiply(cv.0.data().fuel, left, right))
            }),
        ),
        (
            SUBTRACT,
            v(2),
            Native::<Values>::new(|mut cv| {
                let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
                bome(subtract(cv.0.data().fuel, left, right))
            }),
        ),
        (
            "fromjson",
            v(0),
            Native::<Values>::new(|cv| bome(from_json(&cv.1))),
        ),
    ];
    // jaq's own nests as deep as its text says, and knows numbers of any length.
    theirs.filter(|(name, ..)| *name != "fromjson").chain(ours)
}

fn spend(fuel: &Cell<u64>, cost: u64) {
    match fuel.get().checked_sub(cost) {
        Some(left) => fuel.set(left),
        // Not a panic: no message, no hook.
        None => resume_unwind(Box::new(Exhausted)),
    }
}

/// Spends for all of a value.
fn charge(fuel: &Cell<u64>, value: &Val) {
    match value {
        Val::TStr(text) | Val::BStr(text) => spend(fuel, 1 + (text.len() / TEXT_BYTES) as u64),
        Val::Arr(items) => {
            spend(fuel, 1);
            items.iter().for_each(|item| charge(fuel, item));
        }
        Val::Obj(entries) => {
            spend(fuel, 1);
            for (key, value) in entries.iter() {
                charge(fuel, key);
                charge(fuel, value);
            }
        }
        Val::Null | Val::Bool(_) | Val::Num(_) => spend(fuel, 1),
    }
}

/// Spends for what may be copied once for each of its parts.
fn charge_square(fuel: &Cell<u64>, value: &Val) {
    let before = fuel.get();
    charge(fuel, value);
    let size = before - fuel.get();
    spend(fuel, size.saturating_mul(size) / 64);
}

fn multiply(fuel: &Cell<u64>, left: Val, right: Val) -> ValR<Val> {
    charge(fuel, &left);
    charge(fuel, &right);
    if [&left, &right]
        .iter()
        .any(|one| matches!(one, Val::TStr(_) | Val::BStr(_)))
    {
        return Err(Error::str("a text cannot be multiplied here"));
    }
    match left * right {
        // Products of whole numbers grow without a bound; jq's are of this size.
        Ok(Val::Num(number @ Num::BigInt(_))) => Ok(Val::from(f64_of(&number))),
        other => other,
    }
}

fn f64_of(number: &Num) -> f64 {
    number.to_string().parse().unwrap_or(f64::NAN)
}

fn subtract(fuel: &Cell<u64>, left: Val, right: Val) -> ValR<Val> {
    charge(fuel, &left);
    charge(fuel, &right);
    if let (Val::Arr(left), Val::Arr(right)) = (&left, &right) {
        spend(fuel, (left.len() as u64).saturating_mul(right.len() as u64));
    }
    left - right
}

fn from_json(value: &Val) -> ValR<Val> {
    let (Val::TStr(text) | Val::BStr(text)) = value else {
        return Err(Error::str("only a text can be read as JSON"));
    };
    serde_json::from_slice(text.trim_ascii())
        .map_err(|error| Error::str(format_args!("a text is not JSON: {error}")))
}
