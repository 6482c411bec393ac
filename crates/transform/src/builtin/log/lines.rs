//! The known forms of lines. Pure, and of linear time: they look at lines from outside.

use super::Fields;

/// Of `combined`; `common` has the first seven.
pub(super) const COMBINED_NAMES: [&str; 9] = [
    "host", "ident", "authuser", "datetime", "request", "response", "bytes", "referrer", "agent",
];
pub(super) const APACHE_ERROR_NAMES: [&str; 7] = [
    "timestamp",
    "module",
    "severity",
    "processid",
    "threadid",
    "client",
    "message",
];
pub(super) const SYSLOG_NAMES: [&str; 5] =
    ["timestamp", "hostname", "program", "processid", "message"];

/// What is left of a line.
struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    /// What stands before `end`, which is passed; nothing where it does not come.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (field, rest) = self.0.split_once(end)?;
        self.0 = rest;
        Some(field)
    }

    /// A field without a space in it, and the space behind it.
    fn word(&mut self) -> Option<&'a str> {
        self.until(" ").filter(|word| !word.is_empty())
    }

    fn pass(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// A field in quotes, in which a backslash keeps a quote from ending it, as Apache writes them.
    /// It is given as it stands.
    fn quoted(&mut self) -> Option<&'a str> {
        self.pass("\"")?;
        let mut escaped = false;
        let end = self.0.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (field, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix('"')?;
        Some(field)
    }
}

/// `%h %l %u %t "%r" %>s %b`
pub(super) fn common(line: &str) -> Option<Fields<'_>> {
    let mut line = Line(line);
    let fields = access(&mut line)?;
    line.0.is_empty().then_some(fields)
}

/// `common`, and `"%{Referer}i" "%{User-agent}i"`
pub(super) fn combined(line: &str) -> Option<Fields<'_>> {
    let mut line = Line(line);
    let mut fields = access(&mut line)?;
    for _ in 0..2 {
        line.pass(" ")?;
        fields.push(Some(line.quoted()?));
    }
    line.0.is_empty().then_some(fields)
}

fn access<'a>(line: &mut Line<'a>) -> Option<Fields<'a>> {
    let mut fields = vec![Some(line.word()?), Some(line.word()?), Some(user(line)?)];
    fields.push(Some(line.until("] ")?));
    fields.push(Some(line.quoted()?));
    line.pass(" ")?;
    let response = line.word()?;
    let end = line.0.find(' ').unwrap_or(line.0.len());
    let (bytes, rest) = line.0.split_at(end);
    line.0 = rest;
    if !is_number(response) || !(is_number(bytes) || bytes == "-") {
        return None;
    }
    fields.extend([Some(response), Some(bytes)]);
    Some(fields)
}

/// A name may have spaces in it; the time is behind it.
fn user<'a>(line: &mut Line<'a>) -> Option<&'a str> {
    line.until(" [").filter(|user| !user.is_empty())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[time] [module:severity] [pid N:tid N] [client C] message`; the old form has no module, process
/// or thread. Any of them but time and severity may be missing.
pub(super) fn apache_error(line: &str) -> Option<Fields<'_>> {
    let mut line = Line(line);
    line.pass("[")?;
    let time = line.until("] [")?;
    let level = line.until("]")?;
    let (module, severity) = level
        .split_once(':')
        .map_or((None, level), |(module, severity)| (Some(module), severity));
    let (mut process, mut thread, mut client) = (None, None, None);
    if line.0.starts_with(" [pid ") {
        line.pass(" [pid ")?;
        let pid = line.until("]")?;
        let both = pid.split_once(":tid ");
        (process, thread) = both.map_or((Some(pid), None), |(pid, tid)| (Some(pid), Some(tid)));
    }
    if line.0.starts_with(" [client ") {
        line.pass(" [client ")?;
        client = Some(line.until("]")?);
    }
    line.pass(" ")?;
    let module = module.filter(|module| !module.is_empty());
    Some(vec![
        Some(time),
        module,
        Some(severity),
        process,
        thread,
        client,
        Some(line.0),
    ])
}

/// `<priority>time host program[process]: message`; priority and process may be missing.
pub(super) fn syslog(line: &str) -> Option<Fields<'_>> {
    let mut line = Line(line);
    if line.0.starts_with('<') {
        line.pass("<")?;
        line.until(">").filter(|priority| is_number(priority))?;
    }
    let time = if line.0.starts_with(|first: char| first.is_ascii_digit()) {
        line.word()?
    } else {
        bsd_time(&mut line)?
    };
    let host = line.word()?;
    let tag = line.until(":")?;
    if tag.is_empty() || tag.contains(' ') {
        return None;
    }
    let (program, process) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
        Some((program, process)) => (program, Some(process)),
        None => (tag, None),
    };
    let message = line.0.strip_prefix(' ').unwrap_or(line.0);
    Some(vec![
        Some(time),
        Some(host),
        Some(program),
        process,
        Some(message),
    ])
}

/// `Mmm dd hh:mm:ss`, the day with a space or a zero before it.
fn bsd_time<'a>(line: &mut Line<'a>) -> Option<&'a str> {
    const BYTES: usize = "Jan  1 00:00:00".len();
    let (time, rest) = line.0.split_at_checked(BYTES)?;
    let good = time.bytes().enumerate().all(|(at, byte)| match at {
        0..=2 => byte.is_ascii_alphabetic(),
        3 | 6 => byte == b' ',
        4 => byte == b' ' || byte.is_ascii_digit(),
        9 | 12 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    line.0 = rest.strip_prefix(' ').filter(|_| good)?;
    Some(time)
}
