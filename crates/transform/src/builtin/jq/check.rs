//! What a query may do, and where it pays for it: takes its syntax tree, and gives it back with
//! calls in it that spend fuel.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

/// Functions that are pure and end. Not here although they are: what may nest values by the
/// record's will (`setpath`), or multiply them (`transpose`, `combinations`, `inside`).
const PURE: &[&str] = &[
    "@base64",
    "@base64d",
    "@html",
    "@json",
    "@sh",
    "@text",
    "@uri",
    "abs",
    "add",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "capture",
    "ceil",
    "contains",
    "empty",
    "endswith",
    "error",
    "exp",
    "exp10",
    "exp2",
    "explode",
    "false",
    "finites",
    "first",
    "flatten",
    "floor",
    "from_entries",
    "fromdate",
    "fromdateiso8601",
    "fromjson",
    "getpath",
    "gmtime",
    "group_by",
    "gsub",
    "has",
    "implode",
    "in",
    "index",
    "indices",
    "isarray",
    "isboolean",
    "isempty",
    "isfinite",
    "isinfinite",
    "isnan",
    "isnormal",
    "isnumber",
    "isobject",
    "isstring",
    "iterables",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "limit",
    "log",
    "log10",
    "log2",
    "ltrim",
    "ltrimstr",
    "map",
    "map_values",
    "match",
    "max",
    "max_by",
    "min",
    "min_by",
    "mktime",
    "normals",
    "not",
    "nth",
    "null",
    "nulls",
    "numbers",
    "objects",
    "paths",
    "pow",
    "recurse",
    "reverse",
    "rindex",
    "round",
    "rtrim",
    "rtrimstr",
    "scalars",
    "scan",
    "select",
    "skip",
    "sort",
    "sort_by",
    "split",
    "splits",
    "sqrt",
    "startswith",
    "strftime",
    "strings",
    "strptime",
    "sub",
    "test",
    "to_entries",
    "toboolean",
    "todate",
    "todateiso8601",
    "tojson",
    "tonumber",
    "tostring",
    "trim",
    "true",
    "trunc",
    "type",
    "unique",
    "unique_by",
    "utf8bytelength",
    "values",
    "walk",
    "with_entries",
];

/// Functions whose answer is not of the record.
const IMPURE: &[&str] = &[
    "now",
    "localtime",
    "strflocaltime",
    "env",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "debug",
    "stderr",
    "halt",
    "halt_error",
    "get_search_list",
    "$ENV",
    "$__loc__",
    "$__prog_args",
];

/// Functions that take steps of the second order: paid for so.
const SQUARE: &[&str] = &[
    "add",
    "flatten",
    "from_entries",
    "gsub",
    "join",
    "sub",
    "walk",
    "with_entries",
];

/// Functions whose argument must be a text that stands in the query: of values, they take steps by
/// the product of both sizes, and a format could name a time zone of this machine.
const LITERAL: &[&str] = &[
    "contains", "index", "rindex", "indices", "strptime", "strftime",
];

/// Spends for what passes: by its size, and one step.
pub(super) const CHARGE: &str = "hydrant_charge";
pub(super) const CHARGE_SQUARE: &str = "hydrant_charge_square";
pub(super) const TICK: &str = "hydrant_tick";
/// Multiply and subtract, and spend.
pub(super) const MULTIPLY: &str = "hydrant_multiply";
pub(super) const SUBTRACT: &str = "hydrant_subtract";

type Checked<'s> = Result<Term<&'s str>, String>;

/// The query with fuel spent in it.
pub(super) fn bounded(term: Term<&str>) -> Checked<'_> {
    Ok(match term {
        Term::Id | Term::Num(_) | Term::Arr(None) => term,
        Term::Var(name) => variable(name)?,
        Term::Recurse => then(Term::Recurse, TICK),
        Term::Str(format, parts) => text(format, parts)?,
        Term::Arr(Some(inner)) => Term::Arr(Some(boxed(*inner)?)),
        Term::Obj(entries) => {
            let entry =
                |(key, value): (_, Option<_>)| Ok((bounded(key)?, value.map(bounded).transpose()?));
            Term::Obj(
                entries
                    .into_iter()
                    .map(entry)
                    .collect::<Result<_, String>>()?,
            )
        }
        Term::Neg(inner) => Term::Neg(Box::new(charged(*inner)?)),
        Term::BinOp(left, op, right) => operation(*left, op, *right)?,
        Term::TryCatch(tried, caught) => {
            let caught = caught.map(|caught| boxed(*caught)).transpose()?;
            Term::TryCatch(boxed(*tried)?, caught)
        }
        Term::IfThenElse(cases, otherwise) => {
            let case = |(one, then)| Ok((bounded(one)?, bounded(then)?));
            let cases = cases.into_iter().map(case).collect::<Result<_, String>>()?;
            Term::IfThenElse(cases, otherwise.map(|term| boxed(*term)).transpose()?)
        }
        Term::Call(name, arguments) => call(name, arguments)?,
        Term::Path(base, path) => steps(*base, path)?,
        Term::Fold(word, ..) => {
            return Err(format!(
                "`{word}` is not allowed: what it builds has no bound"
            ));
        }
        Term::Def(..) => {
            return Err("definitions are not allowed: they may call themselves for ever".into());
        }
        Term::Label(..) | Term::Break(_) => return Err("labels are not allowed".into()),
    })
}

fn boxed(term: Term<&str>) -> Result<Box<Term<&str>>, String> {
    bounded(term).map(Box::new)
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

fn text<'s>(format: Option<&'s str>, parts: Vec<StrPart<&'s str, Term<&'s str>>>) -> Checked<'s> {
    if let Some(name) = format.filter(|name| !PURE.contains(name)) {
        return Err(format!("`{name}` is not known here"));
    }
    let part = |part| match part {
        StrPart::Term(term) => charged(term).map(StrPart::Term),
        other => Ok(other),
    };
    let parts = parts.into_iter().map(part).collect::<Result<_, _>>()?;
    Ok(Term::Str(format, parts))
}

fn operation<'s>(left: Term<&'s str>, op: BinaryOp<&'s str>, right: Term<&'s str>) -> Checked<'s> {
    let both = |left, op, right| Term::BinOp(Box::new(left), op, Box::new(right));
    Ok(match op {
        BinaryOp::Pipe(bound) => {
            let bound = bound.map(pattern).transpose()?;
            both(bounded(left)?, BinaryOp::Pipe(bound), bounded(right)?)
        }
        BinaryOp::Comma => {
            let [left, right] = [bounded(left)?, bounded(right)?];
            both(then(left, TICK), op, then(right, TICK))
        }
        BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => both(bounded(left)?, op, bounded(right)?),
        BinaryOp::Math(Math::Mul) => Term::Call(MULTIPLY, vec![bounded(left)?, bounded(right)?]),
        BinaryOp::Math(Math::Sub) => Term::Call(SUBTRACT, vec![bounded(left)?, bounded(right)?]),
        BinaryOp::Math(_) | BinaryOp::Cmp(_) => both(charged(left)?, op, charged(right)?),
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
            return Err(
                "assignments are not allowed: a query gives values, and changes none".into(),
            );
        }
    })
}

fn pattern(pattern: Pattern<&str>) -> Result<Pattern<&str>, String> {
    Ok(match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => Pattern::Arr(
            items
                .into_iter()
                .map(self::pattern)
                .collect::<Result<_, _>>()?,
        ),
        Pattern::Obj(entries) => {
            let entry = |(key, inner)| Ok((bounded(key)?, self::pattern(inner)?));
            Pattern::Obj(
                entries
                    .into_iter()
                    .map(entry)
                    .collect::<Result<_, String>>()?,
            )
        }
    })
}

fn call<'s>(name: &'s str, arguments: Vec<Term<&'s str>>) -> Checked<'s> {
    if IMPURE.contains(&name) {
        return Err(impure(name));
    }
    if !PURE.contains(&name) {
        let why = "is not known here, or not allowed because nothing bounds what it does";
        return Err(format!("`{name}` {why}"));
    }
    if name == "recurse" && !arguments.is_empty() {
        return Err("`recurse` with arguments is not allowed: it may go on for ever".into());
    }
    if LITERAL.contains(&name) {
        let literal = arguments.iter().all(|argument| is_text(argument));
        if !literal {
            return Err(format!("`{name}` takes a text that stands in the query"));
        }
        if arguments.iter().any(names_a_zone) {
            return Err(format!(
                "`{name}` cannot name a time zone: its rules are the machine's"
            ));
        }
    }
    let arguments = arguments
        .into_iter()
        .map(bounded)
        .collect::<Result<_, _>>()?;
    let charge = if SQUARE.contains(&name) {
        CHARGE_SQUARE
    } else {
        CHARGE
    };
    let called = pipe(Term::Call(charge, Vec::new()), Term::Call(name, arguments));
    Ok(then(called, TICK))
}

fn steps<'s>(base: Term<&'s str>, path: Path<Term<&'s str>>) -> Checked<'s> {
    let (mut slices, mut iterates) = (false, false);
    let part = |(part, opt)| {
        let part = match part {
            Part::Index(index) => Part::Index(bounded(index)?),
            Part::Range(None, None) => {
                iterates = true;
                Part::Range(None, None)
            }
            Part::Range(from, to) => {
                slices = true;
                Part::Range(from.map(bounded).transpose()?, to.map(bounded).transpose()?)
            }
        };
        Ok((part, opt))
    };
    let path = Path(
        path.0
            .into_iter()
            .map(part)
            .collect::<Result<_, String>>()?,
    );
    let base = if slices {
        charged(base)?
    } else {
        bounded(base)?
    };
    let path = Term::Path(Box::new(base), path);
    Ok(if iterates { then(path, TICK) } else { path })
}

/// The term, and a charge for each of its results where they are not of the query itself.
fn charged(term: Term<&str>) -> Checked<'_> {
    if matches!(term, Term::Num(_)) || is_text(&term) {
        return Ok(term);
    }
    Ok(then(bounded(term)?, CHARGE))
}

fn then<'s>(term: Term<&'s str>, name: &'s str) -> Term<&'s str> {
    pipe(term, Term::Call(name, Vec::new()))
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(left), BinaryOp::Pipe(None), Box::new(right))
}

/// Whether it is a text without anything in it that is computed.
fn is_text(term: &Term<&str>) -> bool {
    matches!(term, Term::Str(None, parts) if !parts.iter().any(|part| matches!(part, StrPart::Term(_))))
}

fn names_a_zone(term: &Term<&str>) -> bool {
    let Term::Str(_, parts) = term else {
        return false;
    };
    let text: String = parts
        .iter()
        .map(|part| match part {
            StrPart::Str(text) => (*text).to_owned(),
            StrPart::Char(char) => char.to_string(),
            StrPart::Term(_) => String::new(),
        })
        .collect();
    text.contains("%Q") || text.contains("%:Q")
}
