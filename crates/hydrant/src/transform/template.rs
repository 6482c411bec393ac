//! What a new transform begins with: everything that it needs is in this binary, the contract and
//! the SDK included.

use super::project::Language;

/// A file of a template: its path, and its text.
pub(super) type File = (&'static str, &'static str);

macro_rules! file {
    ($path:literal, $from:literal) => {
        (
            $path,
            include_str!(concat!("../../../../transforms/", $from)),
        )
    };
}

const WIT: File = file!("wit/transform.wit", "wit/transform.wit");
const COMMON: [File; 5] = [
    file!("transform.yaml", "templates/common/transform.yaml"),
    file!("README.md", "templates/common/README.md"),
    file!("config.schema.json", "templates/common/config.schema.json"),
    file!("config.json", "templates/common/config.json"),
    file!("records.ndjson", "templates/common/records.ndjson"),
];
const CASES: File = file!("tests/cases.yaml", "templates/common/tests/cases.yaml");
const RUST: [File; 9] = [
    CASES,
    WIT,
    file!("Cargo.toml", "templates/rust/Cargo.toml"),
    file!("src/lib.rs", "templates/rust/src/lib.rs"),
    file!("sdk/Cargo.toml", "sdk-rust/Cargo.toml"),
    file!("sdk/src/lib.rs", "sdk-rust/src/lib.rs"),
    file!("sdk/src/bindings.rs", "sdk-rust/src/bindings.rs"),
    file!("sdk/src/log.rs", "sdk-rust/src/log.rs"),
    file!("sdk/src/json.rs", "sdk-rust/src/json.rs"),
];
const HYDRANT_JS: File = file!("hydrant.js", "templates/javascript/hydrant.js");
const PACKAGE_JSON: File = file!("package.json", "templates/javascript/package.json");
const JAVASCRIPT: [File; 5] = [
    CASES,
    WIT,
    PACKAGE_JSON,
    HYDRANT_JS,
    file!("transform.js", "templates/javascript/transform.js"),
];
const TYPESCRIPT: [File; 6] = [
    CASES,
    WIT,
    PACKAGE_JSON,
    HYDRANT_JS,
    file!("hydrant.d.ts", "templates/typescript/hydrant.d.ts"),
    file!("transform.ts", "templates/typescript/transform.ts"),
];
const PYTHON: [File; 5] = [
    CASES,
    WIT,
    file!("requirements.txt", "templates/python/requirements.txt"),
    file!("hydrant.py", "templates/python/hydrant.py"),
    file!("transform.py", "templates/python/transform.py"),
];
const GO: [File; 4] = [
    CASES,
    file!("go.mod", "templates/go/go.mod"),
    file!("hydrant.go", "templates/go/hydrant.go"),
    file!("transform.go", "templates/go/transform.go"),
];
const C: [File; 9] = [
    file!("transform.yaml", "templates/c/transform.yaml"),
    file!("README.md", "templates/c/README.md"),
    file!("tests/cases.yaml", "templates/c/tests/cases.yaml"),
    file!("lines.log", "templates/c/lines.log"),
    file!("hydrant.h", "templates/c/hydrant.h"),
    file!("hydrant.c", "templates/c/hydrant.c"),
    file!("json.h", "templates/c/json.h"),
    file!("json.c", "templates/c/json.c"),
    file!("transform.c", "templates/c/transform.c"),
];

/// What differs between the languages whose start is the same transform.
struct Start {
    own: &'static [File],
    source: &'static str,
    /// Lines of `transform.yaml`.
    settings: &'static str,
    /// The last line of the README's table.
    more: &'static str,
}

const SCRIPT_SDK: &str = "| `hydrant.js`, `wit/` | hydrant's SDK and contract |\n";
const WASI: &str = "# Python's runtime wants WASI: it gets one without files, network and environment.\nwasi: true\n";
const IGNORED: &str = "/target/\n/build/\n/node_modules/\n/.venv/\n__pycache__/\n";

fn start(language: Language) -> Start {
    let (own, source, settings, more): (&[File], _, _, _) = match language {
        Language::Rust => (
            &RUST,
            "src/lib.rs",
            "",
            "| `sdk/`, `wit/` | hydrant's SDK and contract |\n",
        ),
        Language::Javascript => (&JAVASCRIPT, "transform.js", "", SCRIPT_SDK),
        Language::Typescript => (&TYPESCRIPT, "transform.ts", "", SCRIPT_SDK),
        Language::Python => (
            &PYTHON,
            "transform.py",
            WASI,
            "| `hydrant.py`, `wit/` | hydrant's SDK and contract |\n",
        ),
        Language::Go => (
            &GO,
            "transform.go",
            "",
            "| `hydrant.go` | hydrant's lines on standard input and output |\n",
        ),
        Language::C => (&C, "transform.c", "", ""),
    };
    Start {
        own,
        source,
        settings,
        more,
    }
}

/// The files of a language's template, names filled in.
pub(super) fn files(language: Language, name: &str) -> Vec<(&'static str, String)> {
    let start = start(language);
    let wasi = if language == Language::Python {
        ", wasi: true"
    } else {
        ""
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{language}}", word(language))
            .replace("{{source}}", start.source)
            .replace("{{wasi_setting}}", wasi)
            .replace("{{settings}}\n", start.settings)
            .replace("{{more}}\n", start.more)
    };
    // The start in C takes log lines and has no configuration.
    let common: &[File] = match language {
        Language::C => &[],
        _ => &COMMON,
    };
    let mut files: Vec<(&'static str, String)> = common
        .iter()
        .chain(start.own)
        .map(|(path, text)| (*path, fill(text)))
        .collect();
    files.push((".gitignore", IGNORED.to_owned()));
    files
}

/// A language as `transform.yaml` writes it.
pub(super) fn word(language: Language) -> &'static str {
    match language {
        Language::Rust => "rust",
        Language::Javascript => "javascript",
        Language::Typescript => "typescript",
        Language::Python => "python",
        Language::Go => "go",
        Language::C => "c",
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::super::project::Language;
    use super::files;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for language in Language::value_variants() {
            let files = files(*language, "clean");
            for (path, text) in &files {
                // Sources have `{{` of their own: a placeholder is a word.
                let is_left = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase());
                let left = text.split("{{").skip(1).any(is_left);
                assert!(!left, "{language:?}: {path}");
                assert!(
                    !text.is_empty() && text.ends_with('\n'),
                    "{language:?}: {path}"
                );
            }
            let has = |name: &str| files.iter().any(|(path, _)| *path == name);
            assert!(has("transform.yaml") && has("tests/cases.yaml") && has("README.md"));
            let readme = files.iter().find(|(path, _)| *path == "README.md");
            let (_, readme) = readme.expect("a README");
            let words: Vec<&str> = readme.split([' ', '`', '\n', ',']).collect();
            for name in words {
                let is_file = [".json", ".ndjson", ".log"]
                    .iter()
                    .any(|ext| name.ends_with(ext));
                assert!(!is_file || has(name), "{language:?}: there is no {name}");
            }
        }
    }
}
