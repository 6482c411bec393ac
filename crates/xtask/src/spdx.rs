//! Evaluates an SPDX licence expression against the licences that we accept.
//!
//! Grammar: `OR` binds weaker than `AND`, which binds weaker than `WITH`; parentheses; and the old
//! form of Cargo, a slash for `OR`.

/// Whether `expression` can be satisfied by licences for which `accepts` says yes; `None` where it
/// is not an expression.
pub(crate) fn satisfied(expression: &str, accepts: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        tokens: &tokens,
        accepts,
    };
    let result = parser.alternatives()?;
    parser.tokens.is_empty().then_some(result)
}

struct Parser<'t> {
    tokens: &'t [&'t str],
    accepts: &'t dyn Fn(&str) -> bool,
}

impl<'t> Parser<'t> {
    fn alternatives(&mut self) -> Option<bool> {
        let mut any = self.conjunction()?;
        while self.take("OR") {
            any |= self.conjunction()?;
        }
        Some(any)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut all = self.licence()?;
        while self.take("AND") {
            all &= self.licence()?;
        }
        Some(all)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.alternatives()?;
            return self.take(")").then_some(inner);
        }
        let name = self.word()?;
        if self.take("WITH") {
            let exception = self.word()?;
            return Some((self.accepts)(&format!("{name} WITH {exception}")));
        }
        Some((self.accepts)(name))
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.tokens.first() == Some(&wanted);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn word(&mut self) -> Option<&'t str> {
        let (first, rest) = self.tokens.split_first()?;
        let reserved = matches!(*first, "OR" | "AND" | "WITH" | "(" | ")");
        self.tokens = rest;
        (!reserved).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    fn judge(expression: &str) -> Option<bool> {
        satisfied(expression, &|name| {
            ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].contains(&name)
        })
    }

    #[test]
    fn operators_bind_as_the_standard_says() {
        assert_eq!(judge("MIT"), Some(true));
        assert_eq!(judge("GPL-3.0"), Some(false));
        assert_eq!(judge("GPL-3.0 OR MIT"), Some(true));
        assert_eq!(judge("GPL-3.0 AND MIT"), Some(false));
        assert_eq!(judge("MIT OR Apache-2.0 AND GPL-3.0"), Some(true));
        assert_eq!(judge("(MIT OR Apache-2.0) AND GPL-3.0"), Some(false));
        assert_eq!(judge("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(judge("MIT WITH LLVM-exception"), Some(false));
        assert_eq!(judge("GPL-3.0/MIT"), Some(true));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT Apache-2.0",
            "AND MIT",
            "MIT WITH",
        ] {
            assert_eq!(judge(text), None, "{text}");
        }
    }
}
