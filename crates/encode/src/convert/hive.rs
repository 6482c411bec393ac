//! Reads Hive's type strings. Takes text; gives a type, or an error that names the place.

use super::schema::{Fields, Type};
use crate::Error;

/// Reads the whole text as one type.
pub(crate) fn parse(text: &str) -> Result<Type, Error> {
    let mut reader = Reader { text, at: 0 };
    let of = reader.of(1)?;
    if reader.peek().is_some() {
        return Err(reader.fault("nothing may follow the type"));
    }
    Ok(of)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn fault(&self, reason: impl Into<String>) -> Error {
        self.fault_at(self.at, reason)
    }

    fn fault_at(&self, at: usize, reason: impl Into<String>) -> Error {
        Error::Type {
            text: self.text.into(),
            at: at + 1,
            reason: reason.into(),
        }
    }

    /// The next byte behind spaces.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, sign: u8) -> Result<(), Error> {
        if self.peek() == Some(sign) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault(format!("expected `{}`", char::from(sign))))
    }

    /// The text up to one of `ends`, without spaces around it.
    fn word(&mut self, ends: &[u8]) -> &'a str {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.bytes().take_while(|byte| !ends.contains(byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default().trim_end()
    }

    fn of(&mut self, depth: usize) -> Result<Type, Error> {
        self.peek();
        let start = self.at;
        if depth > Type::max_depth() {
            return Err(self.fault(format!("nested deeper than {}", Type::max_depth())));
        }
        let word = self.word(b"<>(),:").to_ascii_lowercase();
        let of = match word.as_str() {
            "string" => Type::String,
            "binary" => Type::Binary,
            "boolean" | "bool" => Type::Boolean,
            "tinyint" => Type::TinyInt,
            "smallint" => Type::SmallInt,
            "int" | "integer" => Type::Int,
            "bigint" => Type::BigInt,
            "float" => Type::Float,
            "double" => Type::Double,
            "date" => Type::Date,
            "timestamp" => Type::Timestamp,
            "decimal" => return self.decimal(),
            "array" => return self.array(depth),
            "map" => return self.map(depth),
            "struct" => return self.structure(depth),
            "char" | "varchar" => return Err(self.fault_at(start, "use string instead")),
            "" => return Err(self.fault_at(start, "expected a type")),
            _ => return Err(self.fault_at(start, format!("there is no type `{word}`"))),
        };
        Ok(of)
    }

    fn decimal(&mut self) -> Result<Type, Error> {
        let start = self.at;
        self.expect(b'(')?;
        let precision = self.number()?;
        let scale = if self.peek() == Some(b',') {
            self.expect(b',')?;
            self.number()?
        } else {
            0
        };
        self.expect(b')')?;
        Type::decimal(precision, scale).map_err(|reason| self.fault_at(start, reason))
    }

    fn number(&mut self) -> Result<u8, Error> {
        self.peek();
        let start = self.at;
        let word = self.word(b",)");
        word.parse()
            .map_err(|_| self.fault_at(start, "expected a number up to 38"))
    }

    fn array(&mut self, depth: usize) -> Result<Type, Error> {
        self.expect(b'<')?;
        let item = self.of(depth + 1)?;
        self.expect(b'>')?;
        Ok(Type::Array(Box::new(item)))
    }

    fn map(&mut self, depth: usize) -> Result<Type, Error> {
        self.expect(b'<')?;
        self.peek();
        let start = self.at;
        if self.of(depth + 1)? != Type::String {
            return Err(self.fault_at(start, "keys of a map must be string, as those of JSON are"));
        }
        self.expect(b',')?;
        let value = self.of(depth + 1)?;
        self.expect(b'>')?;
        Ok(Type::Map(Box::new(value)))
    }

    fn structure(&mut self, depth: usize) -> Result<Type, Error> {
        let start = self.at;
        self.expect(b'<')?;
        let mut list = Vec::new();
        loop {
            let name = self.name()?;
            self.expect(b':')?;
            list.push((name, self.of(depth + 1)?));
            if self.peek() != Some(b',') {
                break;
            }
            self.expect(b',')?;
        }
        self.expect(b'>')?;
        let fields = Fields::new(list).map_err(|error| self.fault_at(start, error.to_string()))?;
        Ok(Type::Struct(fields))
    }

    fn name(&mut self) -> Result<String, Error> {
        let name = if self.peek() == Some(b'`') {
            self.at += 1;
            let name = self.word(b"`");
            self.expect(b'`')?;
            name
        } else {
            self.word(b"<>(),:")
        };
        if name.is_empty() {
            return Err(self.fault("expected the name of a member"));
        }
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn types_are_read_as_hive_writes_them() {
        for (text, canonical) in [
            ("string", "string"),
            (" BigInt ", "bigint"),
            ("decimal(10)", "decimal(10,0)"),
            ("decimal( 38 , 38 )", "decimal(38,38)"),
            ("map<string,array<double>>", "map<string,array<double>>"),
            (
                "array<struct<a:int, b_c : string,`x:y`:map< string , timestamp >>>",
                "array<struct<`a`:int,`b_c`:string,`x:y`:map<string,timestamp>>>",
            ),
        ] {
            let of = parse(text).unwrap();
            assert_eq!(of.to_string(), canonical);
            assert_eq!(parse(canonical).unwrap(), of);
        }
    }

    #[test]
    fn faults_name_their_place() {
        let deep = "array<".repeat(16) + "int" + &">".repeat(16);
        for (text, at, reason) in [
            ("", 1, "expected a type"),
            ("strin", 1, "there is no type `strin`"),
            ("array<int", 10, "expected `>`"),
            ("array<int>x", 11, "nothing may follow the type"),
            ("array<uniontype<int>>", 7, "there is no type `uniontype`"),
            ("decimal", 8, "expected `(`"),
            ("decimal(39,2)", 8, "the precision is 39, must be 1 to 38"),
            (
                "decimal(2,3)",
                8,
                "the scale 3 is larger than the precision 2",
            ),
            ("decimal(x)", 9, "expected a number up to 38"),
            (
                "map<int,string>",
                5,
                "keys of a map must be string, as those of JSON are",
            ),
            ("struct<a int>", 13, "expected `:`"),
            ("struct<>", 8, "expected the name of a member"),
            (
                "struct<a:int,A:int>",
                7,
                "column `A`: the name is there twice; upper and lower case are the same",
            ),
            ("varchar(10)", 1, "use string instead"),
            (&deep, 97, "nested deeper than 16"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("type `{text}`, character {at}: {reason}"));
        }
    }
}
