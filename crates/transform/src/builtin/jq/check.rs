//! What a query may do, and where it pays for it: takes its syntax tree, and gives it back with
//! calls in it that spend.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};

use super::functions::{
    ASK_FOR_BYTES, ASK_FOR_VALUES, BUILT, ELEMENT, INDEX, INDICES, KEPT, MULTIPLY, READ, SORT,
    SUBTRACT, TICK, TIME, TO_JSON, TO_TEXT,
};
use super::keys::literal;
use super::regex::Regexes;
use super::words::{
    BUILDS, COLLECTS, IMPURE, KEEPS, LITERAL, OF_TEXT, PATTERNS, PURE, RENAMED, SORTS, TIMES,
    WIDENS_BYTES, WIDENS_VALUES,
};

/// How deep the terms of a query may be in each other; each of a chain is in the one before. A
/// filter that names 300 values fits.
const DEPTH_MAX: usize = 400;

type Checked<'s> = Result<Term<&'s str>, String>;
type Text<'s> = Vec<StrPart<&'s str, Term<&'s str>>>;

/// The query with spending in it, and the patterns that stand in it.
pub(super) fn bounded(term: Term<&str>) -> Result<(Term<&str>, Regexes), String> {
    let mut check = Check::default();
    let term = check.bounded(term)?;
    Ok((term, check.regexes))
}

#[derive(Default)]
struct Check {
    depth: usize,
    regexes: Regexes,
}

impl Check {
    fn bounded<'s>(&mut self, term: Term<&'s str>) -> Checked<'s> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("is nested more than {DEPTH_MAX} deep"));
        }
        let checked = self.term(term);
        self.depth -= 1;
        checked
    }

    fn term<'s>(&mut self, term: Term<&'s str>) -> Checked<'s> {
        Ok(match term {
            Term::Id | Term::Num(_) | Term::Arr(None) => term,
            Term::Var(name) => variable(name)?,
            Term::Recurse => then(Term::Recurse, TICK),
            Term::Str(format, parts) => self.text(format, parts)?,
            Term::Arr(Some(inner)) => {
                let inner = then(self.bounded(*inner)?, ELEMENT);
                then(Term::Arr(Some(Box::new(inner))), BUILT)
            }
            Term::Obj(entries) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    // A key alone is an index too.
                    let key = match (key, &value) {
                        (key @ Term::Var(_), _) | (key, Some(_)) => self.bounded(key)?,
                        (key, None) => self.index(key)?,
                    };
                    let value = value.map(|value| self.bounded(value)).transpose()?;
                    Ok((key, value))
                });
                let entries = entries.collect::<Result<_, String>>()?;
                then(Term::Obj(entries), BUILT)
            }
            Term::Neg(inner) => Term::Neg(Box::new(self.read(*inner)?)),
            Term::BinOp(left, op, right) => self.operation(*left, op, *right)?,
            Term::TryCatch(tried, caught) => {
                // The message may hold all of a value.
                let caught = caught
                    .map(|caught| Ok::<_, String>(after(BUILT, self.bounded(*caught)?)))
                    .transpose()?;
                Term::TryCatch(Box::new(self.bounded(*tried)?), caught.map(Box::new))
            }
            Term::IfThenElse(cases, otherwise) => {
                let cases = cases
                    .into_iter()
                    .map(|(one, then)| Ok((self.bounded(one)?, self.bounded(then)?)));
                let cases = cases.collect::<Result<_, String>>()?;
                let otherwise = otherwise.map(|term| self.bounded(*term)).transpose()?;
                Term::IfThenElse(cases, otherwise.map(Box::new))
            }
            Term::Call(name, arguments) => self.call(name, arguments)?,
            Term::Path(base, path) => self.steps(*base, path)?,
            refused => return Err(why_refused(&refused)),
        })
    }

    /// The term, with steps for all of each of its results, where they are not of the query itself.
    fn read<'s>(&mut self, term: Term<&'s str>) -> Checked<'s> {
        if matches!(term, Term::Num(_)) || literal(&term).is_some() {
            return Ok(term);
        }
        Ok(then(self.bounded(term)?, READ))
    }

    fn text<'s>(&mut self, format: Option<&'s str>, parts: Text<'s>) -> Checked<'s> {
        if let Some(name) = format.filter(|name| !PURE.contains(name)) {
            return Err(format!("`{name}` is not known here"));
        }
        let computed = parts.iter().any(|part| matches!(part, StrPart::Term(_)));
        // What stands between texts is written as jq 1.6 does, and not as jaq.
        let (format, written) = match format {
            Some("@json") => (None, TO_JSON),
            Some("@text") => (None, TO_TEXT),
            other => (other, TO_TEXT),
        };
        let parts = parts.into_iter().map(|part| match part {
            StrPart::Term(term) => {
                let term = then(then(self.bounded(term)?, READ), written);
                Ok(StrPart::Term(then(then(term, ASK_FOR_VALUES), BUILT)))
            }
            other => Ok(other),
        });
        let text = Term::Str(format, parts.collect::<Result<_, String>>()?);
        Ok(if computed { then(text, BUILT) } else { text })
    }

    fn operation<'s>(
        &mut self,
        left: Term<&'s str>,
        op: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Checked<'s> {
        let both = |left, op, right| Term::BinOp(Box::new(left), op, Box::new(right));
        Ok(match op {
            BinaryOp::Pipe(bound) => {
                let bound = bound.map(|bound| self.pattern(bound)).transpose()?;
                let left = self.bounded(left)?;
                both(left, BinaryOp::Pipe(bound), self.bounded(right)?)
            }
            BinaryOp::Comma => {
                let (left, right) = (self.bounded(left)?, self.bounded(right)?);
                both(then(left, TICK), op, then(right, TICK))
            }
            BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => {
                both(self.bounded(left)?, op, self.bounded(right)?)
            }
            BinaryOp::Math(Math::Mul) => {
                let operands = vec![self.bounded(left)?, self.bounded(right)?];
                then(Term::Call(MULTIPLY, operands), BUILT)
            }
            BinaryOp::Math(Math::Sub) => {
                let operands = vec![self.bounded(left)?, self.bounded(right)?];
                then(Term::Call(SUBTRACT, operands), BUILT)
            }
            BinaryOp::Math(Math::Div) => {
                // Texts are split so.
                let left = then(self.read(left)?, ASK_FOR_BYTES);
                then(both(left, op, self.read(right)?), BUILT)
            }
            BinaryOp::Math(_) => {
                let left = then(self.read(left)?, ASK_FOR_VALUES);
                let right = then(self.read(right)?, ASK_FOR_VALUES);
                then(both(left, op, right), BUILT)
            }
            BinaryOp::Cmp(_) => both(self.read(left)?, op, self.read(right)?),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                let why = "assignments are not allowed: a query gives values, and changes none";
                return Err(why.to_owned());
            }
        })
    }

    fn pattern<'s>(&mut self, pattern: Pattern<&'s str>) -> Result<Pattern<&'s str>, String> {
        Ok(match pattern {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(items) => {
                let items = items.into_iter().map(|item| self.pattern(item));
                Pattern::Arr(items.collect::<Result<_, _>>()?)
            }
            Pattern::Obj(entries) => {
                let entries = entries
                    .into_iter()
                    .map(|(key, inner)| Ok((self.index(key)?, self.pattern(inner)?)));
                Pattern::Obj(entries.collect::<Result<_, String>>()?)
            }
        })
    }

    /// What stands for an index.
    fn index<'s>(&mut self, index: Term<&'s str>) -> Checked<'s> {
        if is_number(&index) || literal(&index).is_some() {
            return Ok(index);
        }
        Ok(then(self.bounded(index)?, INDEX))
    }

    fn call<'s>(&mut self, name: &'s str, arguments: Vec<Term<&'s str>>) -> Checked<'s> {
        allowed(name, &arguments)?;
        if name == "with_entries" {
            let [entry] = one(name, arguments)?;
            let map = Term::Call("map", vec![entry]);
            let back = Term::Call("from_entries", Vec::new());
            let entries = Term::Call("to_entries", Vec::new());
            return self.bounded(pipe(entries, pipe(map, back)));
        }
        if let Some((_, ours, flags, each)) = PATTERNS.iter().find(|(known, ..)| *known == name) {
            // A pattern of `split` has flags; without, it is a text.
            if name != "split" || arguments.len() > 1 {
                return self.matching(name, ours, flags, *each, arguments);
            }
        }
        literals(name, &arguments)?;
        let arguments = self.arguments(name, arguments)?;
        let renamed = RENAMED.iter().find(|(known, _)| *known == name);
        let mut called = Term::Call(renamed.map_or(name, |(_, ours)| *ours), arguments);
        let before = [
            (OF_TEXT, TO_TEXT),
            (TIMES, TIME),
            (WIDENS_VALUES, ASK_FOR_VALUES),
            (WIDENS_BYTES, ASK_FOR_BYTES),
            (SORTS, SORT),
        ];
        for (names, toll) in before {
            if names.contains(&name) {
                called = after(toll, called);
            }
        }
        let called = then(after(READ, called), TICK);
        Ok(if BUILDS.contains(&name) {
            then(called, BUILT)
        } else {
            called
        })
    }

    fn arguments<'s>(
        &mut self,
        name: &str,
        arguments: Vec<Term<&'s str>>,
    ) -> Result<Vec<Term<&'s str>>, String> {
        let argument = |(at, argument)| {
            if at == 0 && ["has", "nth"].contains(&name) {
                return self.index(argument);
            }
            let mut argument = self.read(argument)?;
            let after = [
                (&["getpath"][..], INDICES),
                (COLLECTS, ELEMENT),
                (KEEPS, KEPT),
                (SORTS, SORT),
            ];
            for (names, toll) in after {
                if names.contains(&name) {
                    argument = then(argument, toll);
                }
            }
            Ok(argument)
        };
        arguments.into_iter().enumerate().map(argument).collect()
    }

    /// A call of a function of a pattern, which is compiled now.
    fn matching<'s>(
        &mut self,
        name: &str,
        ours: &'static str,
        own_flags: &'static str,
        each: bool,
        arguments: Vec<Term<&'s str>>,
    ) -> Checked<'s> {
        let replaces = ["sub", "gsub"].contains(&name);
        let mut arguments = arguments.into_iter();
        let (pattern, replacement) = (
            arguments.next(),
            if replaces { arguments.next() } else { None },
        );
        let (flags, more) = (arguments.next(), arguments.next());
        let (Some(pattern), false, None) = (pattern, replaces && replacement.is_none(), more)
        else {
            return Err(format!(
                "there is no filter `{name}` with so many arguments"
            ));
        };
        let mut parts = vec![StrPart::Str(own_flags)];
        match flags {
            None => {}
            Some(Term::Str(None, given)) => parts.extend(given),
            Some(_) => return Err(not_literal(name)),
        }
        let flags = Term::Str(None, parts);
        let (Some(pattern_text), Some(flags_text)) = (literal(&pattern), literal(&flags)) else {
            return Err(not_literal(name));
        };
        self.regexes
            .add(&pattern_text, &flags_text)
            .map_err(|why| format!("`{name}` {why}"))?;
        let mut called = vec![pattern];
        if let Some(replacement) = replacement {
            called.push(self.read(replacement)?);
        }
        called.push(flags);
        let called = then(after(READ, Term::Call(ours, called)), TICK);
        if !each {
            return Ok(called);
        }
        let elements = Path(vec![(Part::Range(None, None), Opt::Essential)]);
        let elements = Term::Path(Box::new(Term::Id), elements);
        Ok(then(pipe(called, elements), TICK))
    }

    fn steps<'s>(&mut self, base: Term<&'s str>, path: Path<Term<&'s str>>) -> Checked<'s> {
        let (mut slices, mut iterates, mut several) = (false, false, 0);
        let mut parts = Vec::new();
        for (part, opt) in path.0 {
            let part = match part {
                Part::Index(index) => {
                    several += usize::from(!is_single(&index));
                    Part::Index(self.index(index)?)
                }
                Part::Range(None, None) => {
                    iterates = true;
                    Part::Range(None, None)
                }
                Part::Range(from, to) => {
                    slices = true;
                    let bounds = [&from, &to].into_iter().flatten();
                    several += bounds.filter(|bound| !is_single(bound)).count();
                    let mut bound =
                        |bound: Option<_>| bound.map(|bound| self.bounded(bound)).transpose();
                    Part::Range(bound(from)?, bound(to)?)
                }
            };
            parts.push((part, opt));
        }
        if several > 1 {
            let why = "a path with two computed indices is not allowed: name one of them with `as`";
            return Err(why.to_owned());
        }
        let base = if slices {
            self.read(base)?
        } else {
            self.bounded(base)?
        };
        let mut path = Term::Path(Box::new(base), Path(parts));
        if slices {
            path = then(path, BUILT);
        }
        Ok(if iterates || several > 0 {
            then(path, TICK)
        } else {
            path
        })
    }
}

fn variable(name: &str) -> Checked<'_> {
    if IMPURE.contains(&name) {
        return Err(impure(name));
    }
    Ok(Term::Var(name))
}

fn impure(name: &str) -> String {
    format!(
        "`{name}` is not allowed: its answer is not of the record, and a redo must give the same"
    )
}

fn why_refused(term: &Term<&str>) -> String {
    match term {
        Term::Fold(word, ..) => format!("`{word}` is not allowed: what it builds has no bound"),
        Term::Def(..) => {
            "definitions are not allowed: they may call themselves for ever".to_owned()
        }
        _ => "labels are not allowed".to_owned(),
    }
}

/// Whether a function may be called, with so many arguments.
fn allowed(name: &str, arguments: &[Term<&str>]) -> Result<(), String> {
    if IMPURE.contains(&name) {
        return Err(impure(name));
    }
    if !PURE.contains(&name) {
        let why = "is not known here, or not allowed because nothing bounds what it does";
        return Err(format!("`{name}` {why}"));
    }
    if ["add", "flatten", "recurse"].contains(&name) && !arguments.is_empty() {
        let why = "with arguments is not allowed: nothing bounds what it does";
        return Err(format!("`{name}` {why}"));
    }
    if RENAMED.iter().any(|(known, _)| *known == name)
        && arguments.len() != usize::from(name == "join")
    {
        return Err(format!(
            "there is no filter `{name}` with so many arguments"
        ));
    }
    Ok(())
}

fn one<'s, const N: usize>(
    name: &str,
    arguments: Vec<Term<&'s str>>,
) -> Result<[Term<&'s str>; N], String> {
    arguments
        .try_into()
        .map_err(|_| format!("there is no filter `{name}` with so many arguments"))
}

/// Whether the arguments that must stand in the query do.
fn literals(name: &str, arguments: &[Term<&str>]) -> Result<(), String> {
    if !LITERAL.contains(&name) {
        return Ok(());
    }
    for argument in arguments {
        let text = literal(argument).ok_or_else(|| not_literal(name))?;
        if ["strftime", "strptime"].contains(&name) && names_a_zone(&text) {
            return Err(format!(
                "`{name}` cannot name a time zone: its rules are the machine's"
            ));
        }
    }
    Ok(())
}

fn not_literal(name: &str) -> String {
    format!("`{name}` takes a text that stands in the query")
}

/// Whether a format has a directive of the machine's time zones, `Q`; flags, a width and colons may
/// stand before it.
fn names_a_zone(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, directive)) = rest.split_once('%') {
        if let Some(behind) = directive.strip_prefix('%') {
            rest = behind;
            continue;
        }
        let directive = directive.trim_start_matches(['-', '_', '0', '^', '#']);
        let directive = directive.trim_start_matches(|char: char| char.is_ascii_digit());
        let directive = directive.trim_start_matches([':', '.']);
        if directive.starts_with('Q') {
            return true;
        }
        rest = directive;
    }
    false
}

fn is_number(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Neg(inner) => is_number(inner),
        _ => false,
    }
}

/// Whether a term has no more than one result, as far as can be seen.
fn is_single(term: &Term<&str>) -> bool {
    let index = |(part, _): &(Part<_>, _)| matches!(part, Part::Index(index) if is_single(index));
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) => true,
        Term::Str(_, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        Term::Neg(inner) => is_single(inner),
        Term::Path(base, path) => is_single(base) && path.0.iter().all(index),
        Term::BinOp(left, BinaryOp::Math(_) | BinaryOp::Pipe(None), right) => {
            is_single(left) && is_single(right)
        }
        Term::Call(name, arguments) => arguments.is_empty() && *name == "length",
        _ => false,
    }
}

fn then<'s>(term: Term<&'s str>, name: &'s str) -> Term<&'s str> {
    pipe(term, Term::Call(name, Vec::new()))
}

fn after<'s>(name: &'s str, term: Term<&'s str>) -> Term<&'s str> {
    pipe(Term::Call(name, Vec::new()), term)
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(left), BinaryOp::Pipe(None), Box::new(right))
}
