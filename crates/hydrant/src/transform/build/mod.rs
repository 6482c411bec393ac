//! `hydrant transform build`: sources to a module, by the tools of their language.

mod tools;

mod rust;

mod script;

mod python;

mod command;

mod lambda;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use hydrant_transform::module_info::{CONFIG_SCHEMA, DESCRIPTION, with_section};
use hydrant_transform::{ModuleInfo, ModuleKind};

use super::project::{Language, Project};
use super::{BuildArgs, usage};
use crate::cli::OK;

/// Builds a module; gives the exit code.
pub(super) fn main(args: &BuildArgs) -> anyhow::Result<u8> {
    if let Some(handler) = &args.lambda {
        return lambda::main(handler, args.output.as_deref());
    }
    let project = Project::read(&args.folder)?;
    let Some(language) = project.manifest.language else {
        return Err(usage(
            "transform.yaml has no `language`, so there is nothing to build",
        ));
    };
    let module = match language {
        Language::Rust => rust::build(&project)?,
        Language::Javascript => script::build(&project.folder, &source(&project, "transform.js"))?,
        Language::Typescript => script::build(&project.folder, &source(&project, "transform.ts"))?,
        Language::Python => python::build(&project.folder, &source(&project, "transform.py"))?,
        Language::Go => command::go(&project.folder)?,
        Language::C => command::c(&project.folder)?,
    };
    let schema = project.config_schema()?;
    let output = args.output.clone().unwrap_or_else(|| project.module());
    finish(
        module,
        project.manifest.description.as_deref(),
        schema.as_deref(),
        &output,
    )
}

fn source(project: &Project, usual: &str) -> String {
    match &project.manifest.source {
        Some(source) => source.display().to_string(),
        None => usual.to_owned(),
    }
}

/// Adds what a module says of itself, looks at it, and writes it.
fn finish(
    mut module: Vec<u8>,
    description: Option<&str>,
    schema: Option<&str>,
    output: &Path,
) -> anyhow::Result<u8> {
    if let Some(description) = description {
        module = with_section(module, DESCRIPTION, description);
    }
    if let Some(schema) = schema {
        module = with_section(module, CONFIG_SCHEMA, schema);
    }
    let info = ModuleInfo::read(&module)?;
    let what = match &info.kind {
        ModuleKind::Component {
            contract: Some(version),
        } => {
            format!("a component of hydrant:transform@{version}")
        }
        ModuleKind::Command => "a WASI command, in stdio mode".to_owned(),
        _ => anyhow::bail!("what was built is no transform: see `hydrant transform inspect`"),
    };
    fs::write(output, &module)
        .with_context(|| format!("{} cannot be written", output.display()))?;
    let wasi = match info.wasi_imports().next() {
        Some(_) => "; it needs `wasi: true`",
        None => "",
    };
    writeln!(
        io::stdout(),
        "{}: {what}, {} bytes{wasi}",
        output.display(),
        module.len()
    )?;
    Ok(OK)
}
