//! Regular expressions: they stand in the query, are compiled with it, and spend for what they look
//! through. The answers have the form that jaq gives them.

use std::collections::BTreeMap;

use jaq_core::{Error, Exn};
use jaq_json::{Map, Val};
use jaq_std::ValT as _;
use regex_lite::{Captures, Match, Regex, RegexBuilder};

use super::meter::Meter;

type Cv<'a> = jaq_core::Cv<'a, super::Values>;
type ValX<'a> = Result<Val, Exn<'a, Val>>;

/// Sizes of a compiled expression, and what a byte that it looks at costs with it: its states are
/// gone through at each byte.
const SIZES: [(usize, u64); 4] = [(1 << 10, 4), (4 << 10, 16), (16 << 10, 64), (64 << 10, 256)];
/// Bytes that an expression of one state would look at for a step.
const BYTES_PER_STEP: usize = 16;
/// Memory of an object for a group that was found.
const GROUP_BYTES: u64 = 1024;

/// The expressions of a query, by their text and flags.
#[derive(Default)]
pub(super) struct Regexes(BTreeMap<(String, String), Pattern>);

struct Pattern {
    regex: Regex,
    global: bool,
    ignore_empty: bool,
    weight: u64,
    /// How far behind a match it may have looked; `None`: to the text's end.
    looks_ahead: Option<usize>,
}

impl Regexes {
    /// Compiles an expression.
    ///
    /// # Errors
    /// With what is wrong with it or its flags.
    pub(super) fn add(&mut self, pattern: &str, flags: &str) -> Result<(), String> {
        let compiled = Pattern::compile(pattern, flags)?;
        let key = (pattern.to_owned(), flags.to_owned());
        self.0.insert(key, compiled);
        Ok(())
    }

    fn get(&self, pattern: &Val, flags: &Val) -> Result<&Pattern, Error<Val>> {
        let key = (text(pattern)?.to_owned(), text(flags)?.to_owned());
        self.0
            .get(&key)
            .ok_or_else(|| Error::str("the pattern does not stand in the query"))
    }
}

impl Pattern {
    fn compile(pattern: &str, flags: &str) -> Result<Self, String> {
        if let Some(flag) = flags.chars().find(|flag| !"gnimslxp".contains(*flag)) {
            return Err(format!("has the unknown flag `{flag}` of a pattern"));
        }
        let has = |flag| flags.contains(flag);
        let mut builder = RegexBuilder::new(pattern);
        builder
            .case_insensitive(has('i'))
            .multi_line(has('m') || has('p'))
            .dot_matches_new_line(has('s') || has('p'))
            .swap_greed(has('l'))
            .ignore_whitespace(has('x'));
        let mut wrong = String::new();
        for (size, weight) in SIZES {
            match builder.size_limit(size).build() {
                Ok(regex) => {
                    let repeats = pattern.contains(['*', '+', '{']);
                    return Ok(Self {
                        regex,
                        global: has('g'),
                        ignore_empty: has('n'),
                        weight,
                        looks_ahead: (!repeats).then_some(4 * pattern.len()),
                    });
                }
                Err(error) => wrong = error.to_string(),
            }
        }
        Err(format!(
            "has the pattern `{pattern}`, which is wrong: {wrong}"
        ))
    }

    fn looked(&self, bytes: usize, meter: &Meter) {
        meter.spend(self.weight * (1 + bytes / BYTES_PER_STEP) as u64);
    }

    /// Calls `found` for each match, until it says that no more are needed.
    fn each<'t, E>(
        &self,
        text: &'t str,
        meter: &Meter,
        mut found: impl FnMut(&Captures<'t>, Match<'t>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (mut all, mut from) = (self.regex.captures_iter(text), 0);
        loop {
            let left = text.len() - from;
            if self.looks_ahead.is_none() {
                self.looked(left, meter);
            }
            let Some(captures) = all.next() else {
                self.looked(left, meter);
                return Ok(());
            };
            let whole = captures.get(0).expect("a match has its whole");
            if let Some(ahead) = self.looks_ahead {
                self.looked(left.min(whole.end() - from + ahead), meter);
            }
            from = whole.end();
            let passed_over = self.ignore_empty && whole.is_empty();
            if !passed_over && !found(&captures, whole)? {
                return Ok(());
            }
            if !self.global && !passed_over {
                return Ok(());
            }
        }
    }

    /// The names of the groups, and what each found.
    fn groups<'r, 't>(
        &'r self,
        captures: &Captures<'t>,
    ) -> Vec<(Option<&'r str>, Option<Match<'t>>)> {
        self.regex
            .capture_names()
            .enumerate()
            .map(|(index, name)| (name, captures.get(index)))
            .collect()
    }

    /// What `f` is asked of in `sub`, and what `capture` gives: the named groups.
    fn named(&self, input: &Val, captures: &Captures<'_>, meter: &Meter) -> Val {
        meter.build_object();
        let mut object = Map::default();
        for (name, found) in self.groups(captures) {
            if let (Some(name), Some(found)) = (name, found) {
                charge_group(found, meter);
                let value = input.as_sub_str(found.as_str().as_bytes());
                object.insert(Val::from(name.to_owned()), value);
            }
        }
        Val::obj(object)
    }
}

fn charge_group(found: Match<'_>, meter: &Meter) {
    meter.spend(4 + (found.len() / BYTES_PER_STEP) as u64);
    meter.build(GROUP_BYTES);
}

fn text(value: &Val) -> Result<&str, Error<Val>> {
    let (Val::TStr(text) | Val::BStr(text)) = value else {
        return Err(Error::str("only a text has matches"));
    };
    std::str::from_utf8(text).map_err(|_| Error::str("a text is not UTF-8"))
}

/// `test`: whether there is a match.
pub(super) fn test<'a>(mut cv: Cv<'a>) -> ValX<'a> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let mut any = false;
    pattern.each(text(&cv.1)?, data.meter, |_, _| {
        any = true;
        Ok::<_, Exn<'a, Val>>(false)
    })?;
    Ok(Val::Bool(any))
}

/// `match`: an array of what is known of each match.
pub(super) fn matches<'a>(mut cv: Cv<'a>) -> ValX<'a> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let input = text(&cv.1)?;
    let (mut out, mut byte, mut char) = (Vec::new(), 0, 0);
    pattern.each(input, data.meter, |captures, whole| {
        char += chars(input, byte, whole.start());
        byte = whole.start();
        let mut groups = Vec::new();
        for (name, found) in pattern.groups(captures) {
            let Some(found) = found else { continue };
            // Counting characters up to it as well.
            data.meter.spend((whole.len() / BYTES_PER_STEP) as u64);
            charge_group(found, data.meter);
            let offset = char + chars(input, byte, found.start());
            groups.push(group(&cv.1, found, name, offset));
        }
        let rest = groups.split_off(1);
        if let Some(mut whole) = groups.pop() {
            whole.insert(key("captures"), rest.into_iter().map(Val::obj).collect());
            out.push(Val::obj(whole));
        }
        Ok::<_, Exn<'a, Val>>(true)
    })?;
    Ok(out.into_iter().collect())
}

fn group(input: &Val, found: Match<'_>, name: Option<&str>, offset: usize) -> Map {
    let mut object = Map::default();
    object.insert(key("offset"), Val::from(offset));
    object.insert(key("length"), Val::from(found.as_str().chars().count()));
    object.insert(key("string"), input.as_sub_str(found.as_str().as_bytes()));
    if let Some(name) = name {
        object.insert(key("name"), Val::from(name.to_owned()));
    }
    object
}

fn key(name: &'static str) -> Val {
    Val::utf8_str(name.as_bytes())
}

fn chars(text: &str, from: usize, to: usize) -> usize {
    text.get(from..to).map_or(0, |part| part.chars().count())
}

/// `capture`: an array of the named groups of each match.
pub(super) fn capture<'a>(mut cv: Cv<'a>) -> ValX<'a> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let mut out = Vec::new();
    pattern.each(text(&cv.1)?, data.meter, |captures, _| {
        out.push(pattern.named(&cv.1, captures, data.meter));
        Ok::<_, Exn<'a, Val>>(true)
    })?;
    Ok(out.into_iter().collect())
}

/// `scan`: an array of the texts of each match, or of its groups where it has some.
pub(super) fn scan<'a>(mut cv: Cv<'a>) -> ValX<'a> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let mut out = Vec::new();
    pattern.each(text(&cv.1)?, data.meter, |captures, whole| {
        charge_group(whole, data.meter);
        let part = |found: Match<'_>| cv.1.as_sub_str(found.as_str().as_bytes());
        let mut groups = Vec::new();
        for found in captures.iter().skip(1).flatten() {
            charge_group(found, data.meter);
            groups.push(part(found));
        }
        let none = groups.is_empty();
        out.push(if none {
            part(whole)
        } else {
            groups.into_iter().collect()
        });
        Ok::<_, Exn<'a, Val>>(true)
    })?;
    Ok(out.into_iter().collect())
}

/// `split` with flags: an array of what is between the matches.
pub(super) fn split<'a>(mut cv: Cv<'a>) -> ValX<'a> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let input = text(&cv.1)?;
    let (mut out, mut end) = (Vec::new(), 0);
    pattern.each(input, data.meter, |_, whole| {
        charge_group(whole, data.meter);
        out.push(cv.1.as_sub_str(&input.as_bytes()[end..whole.start()]));
        end = whole.end();
        Ok::<_, Exn<'a, Val>>(true)
    })?;
    out.push(cv.1.as_sub_str(&input.as_bytes()[end..]));
    Ok(out.into_iter().collect())
}

/// `sub`: the text with each match replaced by what the replacement makes of its named groups.
pub(super) fn sub(mut cv: Cv<'_>) -> ValX<'_> {
    let flags = cv.0.pop_var();
    let (replacement, context) = cv.0.pop_fun();
    let pattern = cv.0.pop_var();
    let data = cv.0.data();
    let pattern = data.regexes.get(&pattern, &flags)?;
    let input = text(&cv.1)?;
    let (mut out, mut end) = (Vec::new(), 0);
    pattern.each(input, data.meter, |captures, whole| {
        put(&mut out, &input.as_bytes()[end..whole.start()], data.meter);
        let groups = pattern.named(&cv.1, captures, data.meter);
        let mut results = replacement.run((context.clone(), groups));
        let (first, second) = (results.next().transpose()?, results.next().transpose()?);
        let (Some(Val::TStr(text) | Val::BStr(text)), None) = (first, second) else {
            return Err(Exn::from(Error::str("a replacement must be one text")));
        };
        put(&mut out, &text, data.meter);
        end = whole.end();
        Ok(true)
    })?;
    put(&mut out, &input.as_bytes()[end..], data.meter);
    Ok(Val::utf8_str(out))
}

/// Adds to a text that grows by doubling.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8], meter: &Meter) {
    meter.spend(1 + (bytes.len() / 32) as u64);
    meter.build(2 * bytes.len() as u64);
    out.extend_from_slice(bytes);
}
