//! A reader of JSON (RFC 8259) that goes through one record, once, without a tree. Strict: what
//! it passes over is checked as well as what it gives. The record must be UTF-8, which the caller
//! has checked.

use super::fault::Fault;

/// Deepest nesting of what is passed over, so that no record overruns the stack.
const MAX_DEPTH: usize = 128;

/// A place in a record.
pub(crate) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value that is neither array nor object nor null.
pub(crate) enum Scalar<'s> {
    /// A string, its escapes resolved.
    Text(&'s [u8]),
    /// A number as it is written.
    Number(&'s [u8]),
    /// `true` or `false`.
    Bool(bool),
}

impl<'a> Json<'a> {
    /// At the first byte.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    fn malformed(&self, expected: &str) -> Fault {
        Fault::malformed(format!(
            "malformed json at byte {}: expected {expected}",
            self.at
        ))
    }

    /// The next byte behind white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Passes this byte.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, name: &str) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.malformed(name))
    }

    /// Whether there is another element, passing the comma before it or the closing byte.
    #[inline]
    pub(crate) fn more(&mut self, close: u8, first: bool) -> Result<bool, Fault> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ if close == b'}' => Err(self.malformed("`,` or `}`")),
            _ => Err(self.malformed("`,` or `]`")),
        }
    }

    /// A key and its colon.
    #[inline]
    pub(crate) fn key<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Fault>
    where
        'a: 's,
    {
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a key"));
        }
        let key = self.text(scratch)?;
        self.expect(b':', "`:`")?;
        Ok(key)
    }

    /// Passes `null`, if it is next.
    #[inline]
    pub(crate) fn null(&mut self) -> Result<bool, Fault> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    /// The next value, which is no array, object or null; what it is, if it is one of these.
    pub(crate) fn scalar<'s>(
        &mut self,
        scratch: &'s mut Vec<u8>,
    ) -> Result<Result<Scalar<'s>, &'static str>, Fault>
    where
        'a: 's,
    {
        let scalar = match self.peek() {
            Some(b'"') => Scalar::Text(self.text(scratch)?),
            Some(b't') => self.literal(b"true").map(|()| Scalar::Bool(true))?,
            Some(b'f') => self.literal(b"false").map(|()| Scalar::Bool(false))?,
            Some(b'{') => return Ok(Err("an object")),
            Some(b'[') => return Ok(Err("an array")),
            _ => Scalar::Number(self.number()?),
        };
        Ok(Ok(scalar))
    }

    fn literal(&mut self, literal: &'static [u8]) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(literal) {
            return Err(self.malformed("a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    /// A number as it is written.
    fn number(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.pass(b"-");
        let first = self.at;
        if self.digits() == 0 {
            return Err(self.malformed("a value"));
        }
        if self.bytes[first] == b'0' && self.at > first + 1 {
            return Err(self.malformed("no digit behind a leading zero"));
        }
        if self.pass(b".") && self.digits() == 0 {
            return Err(self.malformed("a digit"));
        }
        if self.pass(b"eE") {
            self.pass(b"+-");
            if self.digits() == 0 {
                return Err(self.malformed("a digit"));
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    fn pass(&mut self, any: &[u8]) -> bool {
        let passes = self
            .bytes
            .get(self.at)
            .is_some_and(|byte| any.contains(byte));
        self.at += usize::from(passes);
        passes
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// A string without its quotes: as it stands, or unescaped into `scratch`.
    #[inline]
    fn text<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Fault>
    where
        'a: 's,
    {
        self.at += 1;
        let start = self.at;
        self.at += plain(&self.bytes[start..]);
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(&self.bytes[start..self.at - 1]);
        }
        scratch.clear();
        scratch.extend_from_slice(&self.bytes[start..self.at]);
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(scratch);
                }
                Some(b'\\') => self.escape(scratch)?,
                Some(_) => return Err(self.malformed("no control character in a string")),
                None => return Err(self.malformed("the end of a string")),
            }
            let rest = &self.bytes[self.at..];
            let length = plain(rest);
            scratch.extend_from_slice(&rest[..length]);
            self.at += length;
        }
    }

    /// Resolves the escape at this place.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.at += 1;
        let byte = match self.bytes.get(self.at) {
            Some(b'u') => return self.unicode(out),
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            _ => return Err(self.malformed("an escape")),
        };
        self.at += 1;
        out.push(byte);
        Ok(())
    }

    /// Resolves `uXXXX`, or two of them for a character beyond 16 bits.
    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 1;
            let low = self.hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.malformed("the second half of a surrogate pair before it"));
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        let character = char::from_u32(code)
            .ok_or_else(|| self.malformed("the other half of the surrogate before it"))?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Four hex digits behind a `u`.
    fn hex(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for place in 1..=4 {
            let digit = self.bytes.get(self.at + place);
            let digit = digit.and_then(|byte| char::from(*byte).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.malformed("four hex digits"))?;
        }
        self.at += 5;
        Ok(code)
    }

    /// Passes over any value.
    pub(crate) fn skip(&mut self, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        self.skip_at(scratch, 0)
    }

    fn skip_at(&mut self, scratch: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(self.malformed(&format!("a value nested at most {MAX_DEPTH} deep")));
        }
        if self.null()? {
            return Ok(());
        }
        let Err(_) = self.scalar(scratch)? else {
            return Ok(());
        };
        let object = self.bytes[self.at] == b'{';
        self.at += 1;
        let close = if object { b'}' } else { b']' };
        let mut first = true;
        while self.more(close, first)? {
            first = false;
            if object {
                self.key(scratch)?;
            }
            self.skip_at(scratch, depth + 1)?;
        }
        Ok(())
    }

    /// Passes over any value; gives its text.
    pub(crate) fn raw(&mut self, scratch: &mut Vec<u8>) -> Result<&'a [u8], Fault> {
        self.peek();
        let start = self.at;
        self.skip(scratch)?;
        Ok(&self.bytes[start..self.at])
    }
}

/// Length of the run without quote, backslash and control character, eight bytes a step.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero. Only bytes above one that is may be marked wrongly,
    // and only the lowest mark counts.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let marks = control | quote | zeros(word ^ (ONES * u64::from(b'\\')));
        if marks != 0 {
            return place * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::{Json, plain};

    fn passes(text: &str) -> bool {
        let mut json = Json::new(text);
        json.skip(&mut Vec::new()).is_ok() && json.peek().is_none()
    }

    #[test]
    fn what_json_is_passes() {
        let deep = "[".repeat(128) + &"]".repeat(128);
        for text in [
            "0",
            "-0",
            "-1.5e+3",
            "1E9",
            "null",
            "true",
            "\"\"",
            " [ ] ",
            "{}",
            "[1,[2],{}]",
            "{\"a\" : 1 , \"b\":[null]}",
            r#""\u00e9\ud83d\ude00\n\/""#,
            "\"é\"",
            &deep,
        ] {
            assert!(passes(text), "{text}");
        }
    }

    #[test]
    fn what_json_is_not_does_not_pass() {
        let deep = "[".repeat(130) + &"]".repeat(130);
        for text in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "nul",
            "tru",
            "\"",
            "\"a",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{,}",
            "\"\n\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "1 2",
            "'a'",
            "NaN",
            "Infinity",
            "]",
            "}",
            &deep,
        ] {
            assert!(!passes(text), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let mut json =
            Json::new(r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00\ud869\udf00z""#);
        let mut scratch = Vec::new();
        let text = json.text(&mut scratch).unwrap();
        assert_eq!(text, "a\"\\/\u{8}\u{c}\n\r\tAé€😀\u{2a700}z".as_bytes());
    }

    #[test]
    fn the_run_ends_at_the_first_special_byte() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for place in 0..40 {
                let mut bytes = [0xff_u8; 41];
                bytes[40] = special;
                bytes[place] = special;
                assert_eq!(plain(&bytes), place);
            }
        }
        assert_eq!(
            plain(" !#[]~\u{7f}\u{80}é".repeat(9).as_bytes()),
            10 * 9 + 9
        );
    }
}
