//! Queries of jq, compiled once and run on many records, by jaq.
//!
//! A query must be a pure function of its record, and must end: what reads the clock, the
//! environment or other inputs is refused when it is compiled, and so is what can go on for ever or
//! build values without a bound (`check`). What is left is run with fuel, which it spends by the
//! size of what it works on (`fuel`): the same query and record always stop at the same place.

mod check;

mod fuel;

mod keys;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jaq_core::data::HasLut;
use jaq_core::load::{Arena, File, Lexer, Loader, Parser, parse::Def, parse::Term};
use jaq_core::{Compiler, Ctx, DataT, Lut, Vars, unwrap_valr};
use jaq_json::Val;

use self::fuel::Exhausted;

pub(super) use self::keys::{Path, keys, plain_paths};

/// Longest query, in bytes: Firehose's limit of a parameter's value.
pub(super) const QUERY_MAX_BYTES: usize = 5120;
/// The name under which a checked query is compiled.
const MAIN: &str = "hydrant_main";
/// Fuel of a record, whatever its size: some milliseconds.
const FUEL: u64 = 100_000;
/// Fuel for each byte of a record: enough to go through it many times.
const FUEL_PER_BYTE: u64 = 16;

/// What jaq needs to know of the values, and what goes with a run.
struct Values;

impl DataT for Values {
    type V<'a> = Val;
    type Data<'a> = Data<'a>;
}

#[derive(Clone)]
struct Data<'a> {
    lut: &'a Lut<Values>,
    fuel: &'a Cell<u64>,
}

impl<'a> HasLut<'a, Values> for Data<'a> {
    fn lut(&self) -> &'a Lut<Values> {
        self.lut
    }
}

/// A compiled query.
pub(super) struct Query(jaq_core::Filter<Values>);

impl Query {
    /// Compiles a query.
    ///
    /// # Errors
    /// With what is wrong with it, or what of it is not allowed here and why.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let body = check::bounded(parse(text)?)?;
        let main = Def {
            name: MAIN,
            args: Vec::new(),
            body,
        };
        let defs = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let defs = defs.map(as_long_as);
        let file = File {
            code: MAIN,
            path: (),
        };
        let arena = Arena::default();
        let modules = Loader::new(defs.chain([main]))
            .load(&arena, file)
            .map_err(|_| "jaq does not take the query".to_owned())?;
        let compiled = Compiler::default()
            .with_funs(fuel::functions())
            .compile(modules);
        compiled.map(Self).map_err(|errors| {
            let mut undefined = errors.iter().flat_map(|(_, errors)| errors);
            undefined.next().map_or_else(
                || "jaq does not take the query".to_owned(),
                |(name, what)| {
                    let what = what.as_str();
                    format!("there is no {what} `{name}` with so many arguments")
                },
            )
        })
    }

    /// The results for a record of so many bytes, up to `count` of them.
    ///
    /// # Errors
    /// With jq's message, or that the query takes too many steps.
    pub(super) fn run(&self, input: Val, bytes: usize, count: usize) -> Result<Vec<Val>, String> {
        let fuel = Cell::new(FUEL + FUEL_PER_BYTE * bytes as u64);
        let data = Data {
            lut: &self.0.lut,
            fuel: &fuel,
        };
        let results = || {
            let context = Ctx::<Values>::new(data, Vars::new([]));
            let results = self.0.id.run((context, input)).map(unwrap_valr).take(count);
            results.collect::<Result<Vec<Val>, _>>()
        };
        match catch_unwind(AssertUnwindSafe(results)) {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) if panic.is::<Exhausted>() => {
                Err("the query takes too many steps for a record of this size".to_owned())
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// A definition that lives as long as any other.
fn as_long_as<'s>(def: Def<&'static str>) -> Def<&'s str> {
    def
}

/// Reads a record as one JSON value, nested at most 128 deep.
pub(super) fn value(record: &[u8]) -> Result<Val, String> {
    serde_json::from_slice(record).map_err(|error| format!("the record is not JSON: {error}"))
}

fn parse(text: &str) -> Result<Term<&str>, String> {
    if text.len() > QUERY_MAX_BYTES {
        let length = text.len();
        return Err(format!("is {length} bytes, limit {QUERY_MAX_BYTES}"));
    }
    // Where, and not what: a variable of the configuration may stand there.
    let at = |part: &str| match (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize) {
        Some(bytes) if bytes < text.len() && !part.is_empty() => format!("at byte {bytes}"),
        _ => "at its end".to_owned(),
    };
    let expected = |what: &str, place| Err(format!("is no query: expected {what} {place}"));
    let tokens = match Lexer::new(text).lex() {
        Ok(tokens) => tokens,
        Err(errors) => {
            let (what, part) = errors
                .first()
                .map_or(("a token", ""), |(what, part)| (what.as_str(), *part));
            return expected(what, at(part));
        }
    };
    Parser::new(&tokens)
        .parse(jaq_core::load::Parser::term)
        .or_else(|errors| {
            let (what, part) = errors.first().map_or(("a term", ""), |(what, found)| {
                (what.as_str(), found.map_or("", |token| token.as_str()))
            });
            expected(what, at(part))
        })
}

#[cfg(test)]
mod tests;
