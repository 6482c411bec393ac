//! `cargo xtask deny`: cargo-deny holds the dependencies to `.deny.toml`: licences, where they come from,
//! one TLS, one version of each.
//!
//! Advisories are asked for by name: their database is a git repository, and what they say of the same
//! dependencies changes from day to day.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::process;

const VERSION: &str = "0.20.2";

/// What needs the repository and package registries only.
const CHECKS: &[&str] = &["bans", "licenses", "sources"];

/// Runs the checks; with `--advisories` that of known vulnerabilities and yanked crates instead.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let checks = chosen(arguments)?;
    let program = install(&Cache::open()?)?;
    let mut deny = process::in_root(Command::new(program));
    deny.args(["--locked", "check"]);
    // A duplicate that is gone leaves the list.
    deny.args(["--deny", "unmatched-skip", "--deny", "unnecessary-skip"]);
    process::run(deny.args(checks), "cargo-deny")
}

fn chosen(arguments: &[String]) -> Result<&'static [&'static str]> {
    match arguments {
        [] => Ok(CHECKS),
        [one] if one == "--advisories" => Ok(&["advisories"]),
        _ => bail!("the only option is --advisories"),
    }
}

fn install(cache: &Cache) -> Result<PathBuf> {
    let stamp = format!("cargo-deny@{VERSION}");
    let folder = cache.once("cargo-deny", &stamp, |folder| build(&stamp, folder))?;
    Ok(folder.join("bin/cargo-deny"))
}

fn build(package: &str, folder: &Path) -> Result<()> {
    let build = folder.join("build");
    let mut cargo = process::niced_cargo(&["install", "--locked", "--quiet", "--no-track"]);
    cargo
        .arg("--root")
        .arg(folder)
        .arg(package)
        .env("CARGO_TARGET_DIR", &build);
    process::run(&mut cargo, "cargo install")?;
    fs::remove_dir_all(&build).context("cannot remove what was built")
}

#[cfg(test)]
mod tests {
    use super::{CHECKS, chosen};

    #[test]
    fn advisories_are_asked_for() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            chosen(&arguments).ok()
        };
        assert_eq!(of(&[]), Some(CHECKS));
        assert!(!CHECKS.contains(&"advisories"));
        assert_eq!(of(&["--advisories"]), Some(&["advisories"][..]));
        assert_eq!(of(&["--advisory"]), None);
        assert_eq!(of(&["--advisories", "x"]), None);
    }
}
