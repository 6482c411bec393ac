//! From files to a checked configuration, or to all the faults there are.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::context::{Context, Environment};
use super::fault::Fault;
use super::fields::Section;
use super::kinds::Kind;
use super::node::{Entry, Mark, Node, Value, parse};
use super::sections::service;
use super::substitute::substitute;
use super::types::{Config, Module, WasmConfig};

/// Largest configuration file: far more than any has.
const FILE_MAX_BYTES: u64 = 4 << 20;
/// Largest module that is looked at; the engine refuses smaller ones already, with its own words.
const MODULE_MAX_BYTES: u64 = 256 << 20;
/// Sections that a folder's files add up to; all others stand in one file.
const MERGED: [&str; 2] = ["streams", "delivery_streams"];

/// Looks at the bytes of a module with its settings, and says what is wrong.
pub type ModuleChecker<'a> = dyn Fn(&[u8], &WasmConfig) -> Result<(), String> + 'a;

/// Reads a configuration file, or all `*.yaml` of a folder as one configuration.
///
/// # Errors
/// With every fault there is, but for what only compiling a module can tell: see [`check`].
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    load_with(path, environment())
}

/// Reads a configuration as [`load`] does, with another environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, environment: Environment) -> Result<Config, Vec<Fault>> {
    let mut cx = Context::new(environment);
    match read(path, &mut cx) {
        Some(config) if cx.faults.is_empty() => Ok(config),
        _ => Err(sorted(cx.faults)),
    }
}

/// A checked configuration file.
pub struct Checked {
    /// What it says; `None` where it has faults.
    pub config: Option<Config>,
    /// Every fault, in the order of the files.
    pub faults: Vec<Fault>,
    /// Where its settings stand.
    pub places: Places,
}

/// Where the settings of a configuration stand.
pub struct Places(Context);

impl Places {
    /// A fault of a setting, or of the nearest section around it that the files have.
    pub fn fault(&self, path: &str, message: String, remedy: String) -> Fault {
        let mut at = path;
        while !self.0.marks.contains_key(at) {
            let Some((section, _)) = at.rsplit_once('.') else {
                break;
            };
            at = section;
        }
        self.0.at(self.0.mark(at), path, message, remedy)
    }
}

/// Gives every fault of a configuration, modules included, in the order of the files.
pub fn check(path: &Path, module_checker: &ModuleChecker<'_>) -> Checked {
    let mut cx = Context::new(environment());
    let config = read(path, &mut cx);
    for module in std::mem::take(&mut cx.modules) {
        let Module::File(file) = &module.wasm.module else {
            continue;
        };
        let bytes = read_bounded(file, MODULE_MAX_BYTES);
        if let Err(message) = bytes.and_then(|bytes| module_checker(&bytes, &module.wasm)) {
            cx.fault(module.mark, &module.path, message, "");
        }
    }
    let faults = sorted(std::mem::take(&mut cx.faults));
    Checked {
        config: config.filter(|_| faults.is_empty()),
        faults,
        places: Places(cx),
    }
}

fn environment() -> Environment {
    Box::new(|name| std::env::var(name).ok())
}

/// In the order of files and lines; faults of one line stay as they were found.
fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    faults
}

fn read(path: &Path, cx: &mut Context) -> Option<Config> {
    let files = match files_of(path) {
        Ok(files) => files,
        Err(message) => {
            let remedy = "name a configuration file, or a folder of `*.yaml` files";
            cx.faults.push(whole_file(path, message, remedy));
            return None;
        }
    };
    let mut roots = Vec::new();
    for path in files {
        let file = cx.files.len();
        cx.files
            .push(std::path::absolute(&path).unwrap_or_else(|_| path.clone()));
        match read_text(&path, FILE_MAX_BYTES) {
            Ok(text) => roots.extend(parse(&text, file, cx)),
            Err(message) => cx.faults.push(whole_file(&path, message, "")),
        }
    }
    understand(roots, cx)
}

/// Makes a configuration of the trees of its files.
pub(super) fn understand(mut roots: Vec<Node>, cx: &mut Context) -> Option<Config> {
    for root in &mut roots {
        substitute(root, "", cx);
    }
    let root = merge(roots, cx)?;
    Section(service).read(&root, "", cx)
}

fn whole_file(path: &Path, message: String, remedy: &str) -> Fault {
    Fault {
        file: path.to_owned(),
        line: 0,
        path: String::new(),
        message,
        remedy: remedy.to_owned(),
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && file.is_file()
        {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err("has no `*.yaml` file in it".to_owned());
    }
    Ok(files)
}

/// The text of a file, or what is wrong with it, to be said behind its name.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let bytes = read_bounded(path, limit)?;
    String::from_utf8(bytes).map_err(|error| {
        format!(
            "is not UTF-8 text from byte {}",
            error.utf8_error().valid_up_to()
        )
    })
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    Ok(bytes)
}

/// Makes one tree of all files. `None` where there is nothing to read, or no map.
fn merge(roots: Vec<Node>, cx: &mut Context) -> Option<Node> {
    let mut merged: Vec<Entry> = Vec::new();
    let mark = roots.first()?.mark;
    for root in roots {
        match root.value {
            Value::Map(entries) => {
                for entry in entries {
                    add(&mut merged, entry, "", cx);
                }
            }
            _ => cx.fault(root.mark, "", "must be a map of settings", ""),
        }
    }
    Some(Node {
        mark: Mark { line: 1, ..mark },
        value: Value::Map(merged),
    })
}

fn add(merged: &mut Vec<Entry>, entry: Entry, path: &str, cx: &mut Context) {
    let Some(first) = merged.iter_mut().find(|first| first.key == entry.key) else {
        merged.push(entry);
        return;
    };
    match (&mut first.node.value, entry.node.value) {
        (Value::Map(into), Value::Map(entries))
            if path.is_empty() && MERGED.contains(&entry.key.as_str()) =>
        {
            for inner in entries {
                add(into, inner, &entry.key, cx);
            }
        }
        _ => {
            let path = super::context::join(path, &entry.key);
            let message = format!("is set in {} too", cx.show(first.mark));
            cx.fault(entry.mark, &path, message, "remove one of them");
        }
    }
}
