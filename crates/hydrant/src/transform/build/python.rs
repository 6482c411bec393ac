//! Python: componentize-py, in an environment of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::usage;
use super::tools::{answer, need, of_folder, run};

/// Where the sources of a module are gathered, below its folder.
const SOURCE: &str = "build/source";
const PYTHON: &str = "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 10))";

/// Builds the module of a folder whose source is `NAME.py`.
pub(super) fn build(folder: &Path, source: &str) -> anyhow::Result<Vec<u8>> {
    let Some(app) = source.strip_suffix(".py").filter(|app| !app.contains('/')) else {
        return Err(usage(format!(
            "`source` is {source}: it must be a .py file beside transform.yaml"
        )));
    };
    componentize(folder, &[folder], app)
}

/// Makes a component of the module `app`, which stands in one of `sources` with all that it imports.
pub(super) fn componentize(folder: &Path, sources: &[&Path], app: &str) -> anyhow::Result<Vec<u8>> {
    let tool = install(folder)?;
    gather(&folder.join(SOURCE), sources).context("the sources cannot be gathered in `build`")?;
    let mut command = Command::new(tool);
    command.args(["-d", "wit", "-w", "transform", "componentize", app]);
    command.args(["-p", SOURCE, "-o", "build/module.wasm"]);
    // What Python is given must not hang on this machine's hash seed.
    run(command.env("PYTHONHASHSEED", "0"), folder)?;
    let module = folder.join("build/module.wasm");
    fs::read(&module).with_context(|| format!("{} was not built", module.display()))
}

/// Copies modules and packages into a new folder. The tool reads nothing that a link leads out of
/// the folder for, so links become what they lead to.
fn gather(into: &Path, sources: &[&Path]) -> io::Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    for source in sources {
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let (from, to) = (entry.path(), into.join(entry.file_name()));
            if from.join("__init__.py").is_file() {
                copy(&from, &to)?;
            } else if from.extension().is_some_and(|ext| ext == "py") && from.is_file() {
                fs::copy(&from, &to)?;
            }
        }
    }
    Ok(())
}

/// A package, with the data that stands in it. Links to folders are left out: they may go in circles.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_file() {
            fs::copy(&from, &to)?;
        } else if entry.file_type()?.is_dir() && entry.file_name() != "__pycache__" {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

/// The tool: of the folder's environment, or on the path, or fetched by pip, in the version that
/// `requirements.txt` wants.
pub(super) fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    const OWN: &str = ".venv/bin/componentize-py";
    let requirements = fs::read_to_string(folder.join("requirements.txt")).unwrap_or_default();
    let wanted = pinned(&requirements);
    let fits = |tool: &str| {
        let found = answer(tool, &["--version"]);
        found
            .is_some_and(|found| wanted.is_none_or(|wanted| found.ends_with(&format!(" {wanted}"))))
    };
    let own = of_folder(folder, OWN)?;
    if own.to_str().is_some_and(fits) {
        return Ok(own);
    }
    if fits("componentize-py") {
        return Ok(PathBuf::from("componentize-py"));
    }
    need(
        "python3",
        &["-c", PYTHON],
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
    Ok(own)
}

/// The version that is asked for.
fn pinned(requirements: &str) -> Option<&str> {
    let line = requirements
        .lines()
        .find_map(|line| line.trim().strip_prefix("componentize-py=="))?;
    line.split([' ', ';', '#']).next()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{gather, pinned};

    #[test]
    fn the_pinned_version_is_read() {
        assert_eq!(
            pinned("a==1\ncomponentize-py==0.25.1 # why\n"),
            Some("0.25.1")
        );
        assert_eq!(pinned("componentize-py\n"), None);
    }

    #[test]
    fn sources_are_gathered_through_links_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["sdk", "project/package/deep", "project/.venv/lib"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in [
            "sdk/hydrant.py",
            "project/transform.py",
            "project/package/__init__.py",
            "project/package/deep/table.json",
            "project/.venv/lib/other.py",
            "project/README.md",
        ] {
            fs::write(at(name), name).unwrap();
        }
        symlink("../sdk/hydrant.py", at("project/hydrant.py")).unwrap();
        symlink("..", at("project/package/circle")).unwrap();
        let into = at("project/build/source");
        for _ in 0..2 {
            gather(&into, &[&at("project")]).unwrap();
        }
        let text = |name: &str| fs::read_to_string(into.join(name)).unwrap();
        assert_eq!(text("hydrant.py"), "sdk/hydrant.py");
        assert!(!into.join("hydrant.py").is_symlink());
        assert_eq!(
            text("package/deep/table.json"),
            "project/package/deep/table.json"
        );
        assert!(!into.join("README.md").exists() && !into.join(".venv").exists());
    }
}
