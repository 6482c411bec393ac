//! `cargo xtask sim` and `cargo xtask crashpoints`: builds the simulator and runs it. What it takes and
//! prints is its own (`tests/src/bin/sim.rs`).

use anyhow::Result;

use crate::process;

/// Builds the simulator, with the planted faults where they are asked for, and hands it the arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut build = vec!["run", "--quiet", "--locked", "--package", "hydrant-tests"];
    build.extend(["--bin", "sim"]);
    if arguments.iter().any(|argument| argument == "--planted") {
        build.extend(["--features", "planted"]);
    }
    build.push("--");
    build.extend(arguments.iter().map(String::as_str));
    process::run(&mut process::cargo(&build), "the simulator")
}
