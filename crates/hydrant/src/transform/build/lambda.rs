//! A handler that was written as a Firehose transformation for AWS Lambda, as a component: the
//! adapter makes the event of a batch and reads the answer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::usage;
use super::tools::absolute;
use super::{finish, python, script};

/// The folder beside the handler in which it is built.
const FOLDER: &str = ".hydrant-lambda";
const WIT: &str = include_str!("../../../../../transforms/wit/transform.wit");
const SCRIPT: [(&str, &str); 3] = [
    (
        "package.json",
        include_str!("../../../../../transforms/templates/lambda/package.json"),
    ),
    (
        "shim.js",
        include_str!("../../../../../transforms/templates/lambda/shim.js"),
    ),
    (
        "lambda.js",
        include_str!("../../../../../transforms/templates/lambda/lambda.js"),
    ),
];
const PYTHON: [(&str, &str); 2] = [
    (
        "requirements.txt",
        include_str!("../../../../../transforms/templates/python/requirements.txt"),
    ),
    (
        "hydrant_lambda.py",
        include_str!("../../../../../transforms/templates/lambda/hydrant_lambda.py"),
    ),
];
const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"properties":{"env":{"description":"Environment variables of the handler.","type":"object","additionalProperties":{"type":"string"}},"region":{"type":"string","default":"us-east-1"},"account_id":{"type":"string","default":"000000000000"}}}"#;

/// Builds a handler; gives the exit code.
pub(super) fn main(handler: &Path, output: Option<&Path>) -> anyhow::Result<u8> {
    let handler = absolute(handler)?;
    if !handler.is_file() {
        return Err(usage(format!("there is no file {}", handler.display())));
    }
    let beside = handler.parent().unwrap_or(Path::new("."));
    let folder = beside.join(FOLDER);
    let name = handler
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let module = match handler.extension().and_then(|ext| ext.to_str()) {
        Some("js" | "mjs" | "cjs" | "ts") => of_script(&folder, &handler)?,
        Some("py") => of_python(&folder, beside, name)?,
        _ => {
            return Err(usage(format!(
                "{} is neither a JavaScript (.js, .mjs, .cjs, .ts) nor a Python (.py) handler",
                handler.display()
            )));
        }
    };
    let output = match output {
        Some(output) => output.to_owned(),
        None => PathBuf::from(format!("{name}.wasm")),
    };
    let description = format!("The Firehose transformation {name}, written for AWS Lambda.");
    finish(module, Some(&description), Some(SCHEMA), &output)
}

fn of_script(folder: &Path, handler: &Path) -> anyhow::Result<Vec<u8>> {
    write(folder, &SCRIPT)?;
    script::install(folder)?;
    let alias = format!("--alias:hydrant-handler={}", handler.display());
    let more = ["--inject:./shim.js", alias.as_str()];
    script::bundle(folder, "lambda.js", &more)?;
    script::componentize(folder)
}

fn of_python(folder: &Path, beside: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    write(folder, &PYTHON)?;
    let adapter = folder.join("hydrant_lambda.py");
    let text = PYTHON[1].1.replace("{{module}}", name);
    fs::write(&adapter, text)
        .with_context(|| format!("{} cannot be written", adapter.display()))?;
    python::componentize(folder, &[beside, folder], "hydrant_lambda")
}

fn write(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    let wit = [("wit/transform.wit", WIT), (".gitignore", "*\n")];
    for (path, text) in files.iter().chain(&wit) {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}
