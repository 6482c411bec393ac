//! The text format of Prometheus (exposition formats, version 0.0.4).

use std::fmt::Write as _;

/// What a metric's number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Only grows, until the process starts again.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number. Counts stay whole: past 2^53 a float would lose some.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

/// The text of many metrics.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Adds a metric with its samples: labels and a number each. One without samples is left out.
    pub(super) fn metric(
        &mut self,
        name: &str,
        help: &str,
        metric: Type,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, Number)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let word = match metric {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {word}"));
        for (labels, number) in samples {
            let labels = braces(&labels);
            match number {
                Number::Whole(number) => self.line(format_args!("{name}{labels} {number}")),
                Number::Real(number) => self.line(format_args!("{name}{labels} {}", real(number))),
            }
        }
    }

    /// The text so far.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes all text");
    }
}

fn braces(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |value: &str| {
        value
            .replace('\\', r"\\")
            .replace('"', r#"\""#)
            .replace('\n', r"\n")
    };
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", labels.join(","))
}

fn real(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Exposition, Number, Type};

    #[test]
    fn writes_help_type_and_samples() {
        let mut out = Exposition::default();
        let label = |value: &str| vec![("name", value.to_owned()), ("kind", "a".to_owned())];
        let samples = [
            (label("x\"y\\z\n"), Number::Whole(u64::MAX)),
            (label("é"), Number::Real(0.5)),
        ];
        out.metric("m_total", "counts\nthings \\ more", Type::Counter, samples);
        out.metric(
            "g",
            "a gauge",
            Type::Gauge,
            [(Vec::new(), Number::Real(f64::INFINITY))],
        );
        out.metric("none", "nothing", Type::Gauge, Vec::new());
        let expected = "# HELP m_total counts\\nthings \\\\ more\n\
             # TYPE m_total counter\n\
             m_total{name=\"x\\\"y\\\\z\\n\",kind=\"a\"} 18446744073709551615\n\
             m_total{name=\"é\",kind=\"a\"} 0.5\n\
             # HELP g a gauge\n\
             # TYPE g gauge\n\
             g +Inf\n";
        assert_eq!(out.into_text(), expected);
    }

    #[test]
    fn reals_are_numbers_that_prometheus_reads() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.25, "-2.25"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(super::real(number), text);
        }
    }
}
