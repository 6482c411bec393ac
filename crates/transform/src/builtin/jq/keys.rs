//! What can be known of a query that gives partition keys without running it: their names, and
//! whether each is no more than a path into the record.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::Term;
use jaq_core::path::Part;

/// Names of members, outermost first.
pub(in super::super) type Path = Vec<String>;

/// The names of the keys that a query gives, where it is an object whose names stand in the query.
///
/// # Errors
/// Where the query cannot be parsed.
pub(in super::super) fn keys(query: &str) -> Result<Option<Vec<String>>, String> {
    super::with_a_large_stack(|| {
        let Term::Obj(entries) = super::parse(query)? else {
            return Ok(None);
        };
        Ok(entries
            .iter()
            .map(|(key, value)| name(key, value.is_none()))
            .collect())
    })
}

/// Name and path of each key, where the query is an object of nothing but plain paths.
pub(in super::super) fn plain_paths(query: &str) -> Option<Vec<(String, Path)>> {
    super::with_a_large_stack(|| Ok(plain(query))).ok()?
}

fn plain(query: &str) -> Option<Vec<(String, Path)>> {
    let Ok(Term::Obj(entries)) = super::parse(query) else {
        return None;
    };
    let entry = |(key, value): &(Term<&str>, Option<Term<&str>>)| {
        let name = name(key, false)?;
        let path = match value {
            None => vec![name.clone()],
            Some(value) => path(value)?,
        };
        Some((name, path))
    };
    entries.iter().map(entry).collect()
}

/// The name of an entry; `{$x}` has one as well.
fn name(key: &Term<&str>, alone: bool) -> Option<String> {
    match key {
        Term::Var(name) if alone => name.strip_prefix('$').map(str::to_owned),
        _ => literal(key),
    }
}

/// The text that a term is, where nothing in it is computed.
pub(super) fn literal(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else {
        return None;
    };
    parts
        .iter()
        .map(|part| match part {
            StrPart::Str(text) => Some((*text).to_owned()),
            StrPart::Char(char) => Some(char.to_string()),
            StrPart::Term(_) => None,
        })
        .collect()
}

fn path(term: &Term<&str>) -> Option<Path> {
    let Term::Path(base, steps) = term else {
        return None;
    };
    let step = |(part, _): &(Part<Term<&str>>, _)| match part {
        Part::Index(index) => literal(index),
        Part::Range(..) => None,
    };
    let steps: Option<Path> = steps.0.iter().map(step).collect();
    let mut path = match &**base {
        Term::Id => Path::new(),
        Term::Path(..) => self::path(base)?,
        _ => return None,
    };
    path.extend(steps?);
    Some(path)
}
