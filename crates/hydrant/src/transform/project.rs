//! `transform.yaml`: what a transform's folder says of it.

use std::fs;
use std::path::{Path, PathBuf};

use hydrant_transform::Instances;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::usage;
use crate::config;

/// The file.
pub(crate) const FILE: &str = "transform.yaml";

/// What it says.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Its name; the module is `NAME.wasm` unless `module` says otherwise.
    pub(crate) name: String,
    /// How it is built.
    pub(crate) language: Option<Language>,
    /// The source that `build` begins with, where the language has one.
    pub(crate) source: Option<PathBuf>,
    /// The module.
    pub(crate) module: Option<PathBuf>,
    /// A line or two for whoever finds the module.
    pub(crate) description: Option<String>,
    /// The file with the JSON Schema of its configuration.
    pub(crate) config_schema: Option<PathBuf>,
    /// The folder of its cases, `tests` by default.
    pub(crate) tests: Option<PathBuf>,
    /// Whether it needs `wasi: true`.
    #[serde(default)]
    pub(crate) wasi: bool,
    /// How long its instances live, as in the configuration.
    #[serde(default)]
    pub(crate) instances: InstancesWord,
    /// Limits for its tests, as in the configuration.
    pub(crate) memory: Option<String>,
    pub(crate) timeout: Option<String>,
}

/// How long instances live, in words.
#[derive(Deserialize, Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InstancesWord {
    /// For one call.
    #[default]
    Fresh,
    /// For many calls: a promise that none depends on an earlier one.
    Reuse,
}

impl From<InstancesWord> for Instances {
    fn from(word: InstancesWord) -> Self {
        match word {
            InstancesWord::Fresh => Self::Fresh,
            InstancesWord::Reuse => Self::Reuse,
        }
    }
}

/// The languages that `build` knows.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Language {
    /// A component, by way of `wasm32-unknown-unknown`.
    Rust,
    /// A component, by componentize-js.
    Javascript,
    /// A component, by esbuild and componentize-js.
    Typescript,
    /// A component, by componentize-py; needs `wasi: true`.
    Python,
    /// A WASI command in stdio mode.
    Go,
    /// A WASI command in stdio mode.
    C,
}

/// A transform's folder.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Project {
    /// Reads the folder's `transform.yaml`.
    ///
    /// # Errors
    /// Where it is missing or has faults.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        if !file.is_file() {
            return Err(usage(format!(
                "{} has no {FILE}: name the folder of a transform, or make one with `hydrant transform new`",
                folder.display()
            )));
        }
        let manifest: Manifest = read_yaml(&file)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if manifest.name.is_empty() || !manifest.name.bytes().all(plain) {
            return Err(usage(format!(
                "{}: `name` must be letters, digits, `-` and `_`",
                file.display()
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
        })
    }

    /// Where its module is.
    pub(crate) fn module(&self) -> PathBuf {
        match &self.manifest.module {
            Some(module) => self.folder.join(module),
            None => self.folder.join(format!("{}.wasm", self.manifest.name)),
        }
    }

    /// The text of its schema.
    pub(crate) fn config_schema(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.manifest.config_schema else {
            return Ok(None);
        };
        let file = self.folder.join(file);
        let text = fs::read_to_string(&file)
            .map_err(|e| usage(format!("{}: cannot be read: {e}", file.display())))?;
        let json: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| usage(format!("{}: is not JSON: {e}", file.display())))?;
        Ok(Some(json.to_string()))
    }
}

/// Reads a YAML or JSON file into a type.
///
/// # Errors
/// With its faults, each with its line.
pub(crate) fn read_yaml<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let json = read_json(file)?;
    serde_json::from_value(json).map_err(|e| usage(format!("{}: {e}", file.display())))
}

/// Reads a YAML or JSON file.
///
/// # Errors
/// With its faults, each with its line.
pub(crate) fn read_json(file: &Path) -> anyhow::Result<serde_json::Value> {
    config::document(file).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        usage(lines.join("\n"))
    })
}
