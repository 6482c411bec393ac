//! Running the tools of a language, and naming the package of one that is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::super::usage;
use crate::cli::say;

/// Runs a tool in a folder; what it prints goes to stderr, so that stdout is ours.
///
/// # Errors
/// Where it cannot be started or fails.
pub(super) fn run(command: &mut Command, folder: &Path) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments: Vec<String> = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    say(&format!("+ {program} {}", arguments.join(" ")));
    let status = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    if status.success() {
        return Ok(());
    }
    anyhow::bail!("{program} failed ({status}); what it said stands above")
}

/// The standard output of a tool, where it ends well.
pub(super) fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether a tool answers.
pub(super) fn works(program: &str, arguments: &[&str]) -> bool {
    answer(program, arguments).is_some()
}

/// A tool that must be there, or an error with the package that brings it.
pub(super) fn need(program: &str, arguments: &[&str], package: &str) -> anyhow::Result<()> {
    if works(program, arguments) {
        return Ok(());
    }
    Err(missing(program, package))
}

/// That a tool is missing, and the package that brings it.
pub(super) fn missing(program: &str, package: &str) -> anyhow::Error {
    usage(format!("`{program}` does not run here: install {package}"))
}

/// The numbers of a version: 20, 20 and 2 of `v20.20.2`.
pub(super) fn numbers(version: &str) -> Vec<u32> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// A tool of a folder.
pub(super) fn of_folder(folder: &Path, tool: &str) -> anyhow::Result<PathBuf> {
    Ok(absolute(folder)?.join(tool))
}

/// Makes an absolute path of one that may count from elsewhere than the tool will.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no place", path.display()))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(numbers("v20.20.2"), [20, 20, 2]);
        assert!(numbers("v18.19.0") < vec![20, 0]);
        assert!(numbers("v20.0.0") >= vec![20, 0]);
        assert!(numbers("nonsense") < vec![20, 0]);
    }
}
