//! Results of tests as `JUnit` XML, which build servers show.

use std::time::Duration;

use super::test::Ran;

/// The report of a transform's cases.
pub(super) fn report(name: &str, cases: &[Ran]) -> String {
    let failures = cases.iter().filter(|case| !case.faults.is_empty()).count();
    let time: Duration = cases.iter().map(|case| case.time).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests = cases.len();
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\"");
    let name = escaped(name);
    push(
        &mut xml,
        &format!("<testsuites {counts} time=\"{:.6}\">", time.as_secs_f64()),
    );
    push(
        &mut xml,
        &format!(
            "<testsuite name=\"{name}\" {counts} time=\"{:.6}\">",
            time.as_secs_f64()
        ),
    );
    for case in cases {
        let head = format!(
            "<testcase classname=\"{name}.{}\" name=\"{}\" time=\"{:.6}\"",
            escaped(&case.file),
            escaped(&case.name),
            case.time.as_secs_f64()
        );
        let Some(first) = case.faults.first() else {
            push(&mut xml, &format!("{head}/>"));
            continue;
        };
        let message = escaped(first.lines().next().unwrap_or_default());
        let body = escaped(&case.faults.join("\n"));
        push(
            &mut xml,
            &format!("{head}><failure message=\"{message}\">{body}</failure></testcase>"),
        );
    }
    push(&mut xml, "</testsuite>");
    push(&mut xml, "</testsuites>");
    xml
}

fn push(xml: &mut String, line: &str) {
    xml.push_str(line);
    xml.push('\n');
}

/// Text as XML 1.0 takes it: what it cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}');
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::test::Ran;
    use super::report;

    #[test]
    fn failures_are_told_in_xml() {
        let case = |name: &str, faults: &[&str]| Ran {
            file: "a.yaml".to_owned(),
            name: name.to_owned(),
            time: Duration::from_millis(3),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        };
        let xml = report(
            "redact",
            &[case("good", &[]), case("<bad>", &["a & \"b\"\n\0c"])],
        );
        for part in [
            r#"tests="2" failures="1""#,
            r#"<testcase classname="redact.a.yaml" name="good" time="0.003000"/>"#,
            r#"name="&lt;bad&gt;""#,
            "<failure message=\"a &amp; &quot;b&quot;\">a &amp; &quot;b&quot;\n\u{fffd}c</failure>",
        ] {
            assert!(xml.contains(part), "{xml}");
        }
    }
}
