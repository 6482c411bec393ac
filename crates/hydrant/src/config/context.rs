//! What the readers of all sections share: the files, the environment, and the faults so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hydrant_sink::key::KeyFrom;

use super::fault::Fault;
use super::node::Mark;
use super::types::WasmConfig;

/// Gives the value of an environment variable.
pub type Environment = Box<dyn Fn(&str) -> Option<String>>;

/// A module that a processor names, to be checked with its configuration.
pub(super) struct ModuleUse {
    pub(super) mark: Mark,
    pub(super) path: String,
    pub(super) wasm: WasmConfig,
}

/// A prefix with partition keys.
pub(super) struct Partitioned {
    pub(super) path: String,
    /// The keys, and the processors that they are said to come from.
    pub(super) keys: Vec<(KeyFrom, String)>,
}

/// Gathers what is found while a configuration is read.
pub(super) struct Context {
    /// Absolute paths of the files read.
    pub(super) files: Vec<PathBuf>,
    pub(super) environment: Environment,
    pub(super) faults: Vec<Fault>,
    pub(super) modules: Vec<ModuleUse>,
    /// Where the settings read so far stand, by path.
    pub(super) marks: BTreeMap<String, Mark>,
    /// The prefix of the delivery stream at hand, where it has partition keys.
    pub(super) partitioned: Option<Partitioned>,
}

impl Context {
    pub(super) fn new(environment: Environment) -> Self {
        Self {
            files: Vec::new(),
            environment,
            faults: Vec::new(),
            modules: Vec::new(),
            marks: BTreeMap::new(),
            partitioned: None,
        }
    }

    /// Notes a fault.
    pub(super) fn fault(
        &mut self,
        mark: Mark,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let fault = self.at(mark, path, message.into(), remedy.into());
        self.faults.push(fault);
    }

    /// Notes a fault of a setting that was read.
    pub(super) fn fault_of(
        &mut self,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.fault(self.mark(path), path, message, remedy);
    }

    /// Where a setting stands that was read.
    pub(super) fn mark(&self, path: &str) -> Mark {
        self.marks.get(path).copied().unwrap_or_default()
    }

    /// A fault, or something worth a look, at this place.
    pub(super) fn at(&self, mark: Mark, path: &str, message: String, remedy: String) -> Fault {
        let file = self.file(mark).to_owned();
        Fault {
            file,
            line: mark.line,
            path: path.to_owned(),
            message,
            remedy,
        }
    }

    /// Shows a place, for faults that name two.
    pub(super) fn show(&self, mark: Mark) -> String {
        format!("{}:{}", self.file(mark).display(), mark.line)
    }

    /// Makes a path absolute; a relative one counts from the file that names it.
    pub(super) fn resolve(&self, mark: Mark, path: &str) -> PathBuf {
        let folder = self.file(mark).parent().unwrap_or(Path::new(""));
        let path = folder.join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    fn file(&self, mark: Mark) -> &Path {
        self.files
            .get(mark.file)
            .map_or(Path::new(""), PathBuf::as_path)
    }
}

/// The path of a setting inside a section.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
