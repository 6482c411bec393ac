//! `hydrant transform inspect`.

use std::io::{self, Write as _};
use std::path::Path;

use hydrant_transform::{ModuleInfo, ModuleKind};
use serde_json::{Value as Json, json};

use super::module;
use crate::cli::OK;

/// Prints what a module says of itself; gives the exit code.
pub(super) fn main(path: &Path, as_json: bool) -> anyhow::Result<u8> {
    let bytes = module::read(path)?;
    let info = ModuleInfo::read(&bytes)?;
    let schema: Option<Json> = info.config_schema.as_deref().map(|text| {
        // What is no JSON is shown as the text that it is.
        serde_json::from_str(text).unwrap_or_else(|_| Json::from(text))
    });
    let mut out = io::stdout().lock();
    if as_json {
        let object = json!({
            "kind": kind(&info.kind),
            "contract": contract(&info.kind),
            "runs": runs(&info),
            "bytes": info.bytes,
            "digest": info.digest,
            "imports": info.imports,
            "exports": info.exports,
            "description": info.description,
            "config_schema": schema,
        });
        writeln!(out, "{object}")?;
        return Ok(OK);
    }
    writeln!(out, "{}: {}", path.display(), about(&info.kind))?;
    writeln!(out, "runs:        {}", runs(&info))?;
    writeln!(out, "size:        {} bytes", info.bytes)?;
    writeln!(out, "digest:      {}", info.digest)?;
    writeln!(out, "imports:     {}", list(&info.imports))?;
    writeln!(out, "exports:     {}", list(&info.exports))?;
    let none = "none (`hydrant transform build` takes one from transform.yaml)";
    let description = info.description.as_deref().unwrap_or(none);
    writeln!(out, "description: {}", description.trim_end())?;
    match schema {
        Some(schema) => writeln!(out, "config schema:\n{schema:#}")?,
        None => writeln!(out, "config schema: none")?,
    }
    Ok(OK)
}

fn kind(kind: &ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Component { .. } => "component",
        ModuleKind::Command => "command",
        ModuleKind::Core => "core",
    }
}

fn contract(kind: &ModuleKind) -> Option<String> {
    match kind {
        ModuleKind::Component { contract } => {
            let version = contract.as_ref()?;
            Some(format!("hydrant:transform@{version}"))
        }
        ModuleKind::Command => Some("stdio".to_owned()),
        ModuleKind::Core => None,
    }
}

fn about(kind: &ModuleKind) -> String {
    match contract(kind) {
        Some(contract) if contract == "stdio" => "a WASI command, in stdio mode".to_owned(),
        Some(contract) => format!("a component of {contract}"),
        None => "no transform".to_owned(),
    }
}

/// Whether hydrant takes it, as far as its names tell.
fn runs(info: &ModuleInfo) -> &'static str {
    match &info.kind {
        ModuleKind::Component {
            contract: Some(version),
        } if version != "1.0.0" => "no: built for another version of the contract",
        ModuleKind::Component { contract: None } => "no: it imports nothing of the contract",
        ModuleKind::Component { .. } if info.wasi_imports().next().is_some() => "with `wasi: true`",
        ModuleKind::Component { .. } | ModuleKind::Command => "as it is",
        ModuleKind::Core => "no: it is neither a component nor a WASI command",
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join("\n             ")
}
