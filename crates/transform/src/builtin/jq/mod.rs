//! Queries of jq, compiled once and run on many records, by jaq.
//!
//! A query must be a pure function of its record, and must end: what reads the clock, the
//! environment or other inputs is refused when it is compiled, and so is what can go on for ever
//! (`check`, by the lists of `words`). What is left is run with fuel and room (`meter`), which it
//! spends by the size of what it works on and builds (`functions`): the same query and record always
//! stop at the same place. Whatever else goes wrong inside jaq is a failure of that record.

mod check;

mod words;

mod regex;

mod functions;

mod meter;

mod read;

mod text;

mod keys;

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use jaq_core::data::HasLut;
use jaq_core::load::{Arena, File, Lexer, Loader, Parser, parse::Def, parse::Term};
use jaq_core::{Compiler, Ctx, DataT, Lut, Vars, unwrap_valr};
use jaq_json::Val;

use self::meter::{Exhausted, Meter};
use self::regex::Regexes;

pub(super) use self::keys::{Path, keys, plain_paths};
pub(super) use self::text::{json, number};

/// Longest query, in bytes: Firehose's limit of a parameter's value.
pub(super) const QUERY_MAX_BYTES: usize = 5120;
/// Brackets that may be open at once.
const BRACKETS_MAX: usize = 100;
/// Stack of what reads and compiles a query: jaq calls itself for each part that is in another, and
/// the longest query of nothing but `-` takes half of this.
const STACK_BYTES: usize = 128 << 20;
/// What a run may take while it goes on: what it builds, and once more what was not counted yet.
pub(super) const HELD_MAX_BYTES: usize = 2 * meter::ROOM;
/// Bytes of a message of jq's that are worth keeping; it may hold all of a value.
const MESSAGE_MAX_BYTES: usize = 1024;
/// The name under which a checked query is compiled.
const MAIN: &str = "hydrant_main";

/// What jaq needs to know of the values, and what goes with a run.
struct Values;

impl DataT for Values {
    type V<'a> = Val;
    type Data<'a> = Data<'a>;
}

#[derive(Clone, Copy)]
struct Data<'a> {
    lut: &'a Lut<Values>,
    meter: &'a Meter,
    regexes: &'a Regexes,
}

impl<'a> HasLut<'a, Values> for Data<'a> {
    fn lut(&self) -> &'a Lut<Values> {
        self.lut
    }
}

/// A compiled query.
pub(super) struct Query {
    filter: jaq_core::Filter<Values>,
    regexes: Regexes,
}

impl Query {
    /// Compiles a query.
    ///
    /// # Errors
    /// With what is wrong with it, or what of it is not allowed here and why.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        with_a_large_stack(|| {
            let (body, regexes) = check::bounded(parse(text)?)?;
            let filter = compile(body)?;
            Ok(Self { filter, regexes })
        })
    }

    /// The results for a record, up to `count` of them.
    ///
    /// # Errors
    /// That the record is not JSON, with jq's message, or that the query takes too many steps or too
    /// much memory.
    pub(super) fn run(&self, record: &[u8], count: usize) -> Result<Vec<Val>, String> {
        let meter = Meter::new(record.len());
        let data = Data {
            lut: &self.filter.lut,
            meter: &meter,
            regexes: &self.regexes,
        };
        let results = || {
            let input = read::json(record, &meter)
                .map_err(|error| format!("the record is not JSON: {error}"))?;
            let context = Ctx::<Values>::new(data, Vars::new([]));
            let results = self.filter.id.run((context, input));
            let results = results.map(unwrap_valr).take(count);
            let results: Result<Vec<Val>, _> = results.collect();
            results.map_err(|error| message(&error))
        };
        catch_unwind(AssertUnwindSafe(results)).unwrap_or_else(|panic| {
            Err(match panic.downcast_ref::<Exhausted>() {
                Some(Exhausted::Fuel) => {
                    "the query takes too many steps for a record of this size".to_owned()
                }
                Some(Exhausted::Room) => {
                    let limit = meter::ROOM;
                    format!("the record, and what the query makes of it, take over {limit} bytes")
                }
                // A function of the query and the record as well: a redo gives the same.
                None => "the query failed inside jq with this record".to_owned(),
            })
        })
    }
}

/// Compiles a checked query.
fn compile(body: Term<&str>) -> Result<jaq_core::Filter<Values>, String> {
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
        .with_funs(functions::functions())
        .compile(modules);
    compiled.map_err(|errors| {
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

/// A definition that lives as long as any other.
fn as_long_as<'s>(def: Def<&'static str>) -> Def<&'s str> {
    def
}

/// Reads or compiles a query on a thread of its own, for its stack.
fn with_a_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(|error| format!("cannot be compiled: {error}"))?;
        thread
            .join()
            .unwrap_or_else(|_| Err("is more than jaq can read".to_owned()))
    })
}

/// The beginning of jq's message: to its end, it may be far longer than the values in it.
fn message(error: &jaq_core::Error<Val>) -> String {
    struct Beginning(String);
    impl fmt::Write for Beginning {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let left = MESSAGE_MAX_BYTES.saturating_sub(self.0.len());
            self.0.extend(part.chars().take(left));
            if part.len() > left {
                return Err(fmt::Error);
            }
            Ok(())
        }
    }
    let mut beginning = Beginning(String::new());
    if write!(beginning, "{error}").is_err() {
        beginning.0.push('…');
    }
    beginning.0
}

/// Whether more brackets are open at once than a query can need; those in texts count too.
fn too_deep(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > BRACKETS_MAX
    })
}

fn parse(text: &str) -> Result<Term<&str>, String> {
    if text.len() > QUERY_MAX_BYTES {
        let length = text.len();
        return Err(format!("is {length} bytes, limit {QUERY_MAX_BYTES}"));
    }
    if too_deep(text) {
        return Err(format!("opens more than {BRACKETS_MAX} brackets at once"));
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
