//! Python: componentize-py, in an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::usage;
use super::tools::{need, of_folder, run, works};

/// Builds the module of a folder whose source is `NAME.py`.
pub(super) fn build(folder: &Path, source: &str) -> anyhow::Result<Vec<u8>> {
    let Some(app) = source.strip_suffix(".py").filter(|app| !app.contains('/')) else {
        return Err(usage(format!(
            "`source` is {source}: it must be a .py file beside transform.yaml"
        )));
    };
    let tool = install(folder)?;
    fs::create_dir_all(folder.join("build")).context("the folder `build` cannot be made")?;
    let mut command = Command::new(tool);
    command.args(["-d", "wit", "-w", "transform", "componentize", app]);
    command.args(["-p", ".", "-o", "build/module.wasm"]);
    // What Python is given must not hang on this machine's hash seed.
    run(command.env("PYTHONHASHSEED", "0"), folder)?;
    let module = folder.join("build/module.wasm");
    fs::read(&module).with_context(|| format!("{} was not built", module.display()))
}

/// The tool: of the folder's environment, or on the path, or fetched by pip.
pub(super) fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    const OWN: &str = ".venv/bin/componentize-py";
    if folder.join(OWN).exists() {
        return of_folder(folder, OWN);
    }
    if works("componentize-py", &["--version"]) {
        return Ok(PathBuf::from("componentize-py"));
    }
    need(
        "python3",
        &["-c", "import ensurepip, venv"],
        "Python 3.10 or later (packages python3 and python3-venv)",
    )?;
    run(
        Command::new("python3").args(["-m", "venv", ".venv"]),
        folder,
    )?;
    let mut pip = Command::new(of_folder(folder, ".venv/bin/pip")?);
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        "requirements.txt",
    ]);
    run(&mut pip, folder)?;
    of_folder(folder, OWN)
}
