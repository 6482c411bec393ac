//! JavaScript and TypeScript: esbuild makes one file of all modules, componentize-js a component.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::super::usage;
use super::tools::{answer, missing, need, numbers, of_folder, run};

/// What a component could import beside the contract: all of it is off, so it imports nothing else.
const OFF: [&str; 5] = ["stdio", "random", "clocks", "http", "fetch-event"];

/// The least version of Node.js that the tools run on.
const NODE: [u32; 2] = [20, 0];
const NODE_PACKAGE: &str = "Node.js 20 or later (package nodejs)";

/// Builds the scripts of a folder.
pub(super) fn build(folder: &Path, source: &str) -> anyhow::Result<Vec<u8>> {
    install(folder)?;
    bundle(folder, source, &[])?;
    componentize(folder)
}

/// Fetches the tools that `package.json` names, by npm.
pub(super) fn install(folder: &Path) -> anyhow::Result<()> {
    let node = answer("node", &["--version"]).ok_or_else(|| missing("node", NODE_PACKAGE))?;
    if numbers(&node) < NODE.to_vec() {
        return Err(usage(format!(
            "`node` here is {node}: install {NODE_PACKAGE}"
        )));
    }
    let there = |tool: &str| folder.join("node_modules/.bin").join(tool).exists();
    if there("esbuild") && there("componentize-js") {
        return Ok(());
    }
    need("npm", &["--version"], "npm (package npm)")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-fund", "--no-audit", "--loglevel=error"]);
    run(&mut npm, folder)
}

/// Makes one file of all that the source imports.
pub(super) fn bundle(folder: &Path, source: &str, more: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("build")).context("the folder `build` cannot be made")?;
    let mut esbuild = Command::new(of_folder(folder, "node_modules/.bin/esbuild")?);
    esbuild.args([
        source,
        "--bundle",
        "--format=esm",
        "--platform=neutral",
        "--main-fields=module,main",
        "--target=es2022",
        // The contract is no file: the component imports it.
        "--external:hydrant:*",
        "--log-level=warning",
        "--outfile=build/bundle.js",
    ]);
    run(esbuild.args(more), folder)
}

/// Makes a component of the one file.
pub(super) fn componentize(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut tool = Command::new(of_folder(folder, "node_modules/.bin/componentize-js")?);
    tool.args([
        "build/bundle.js",
        "--wit",
        "wit",
        "-n",
        "transform",
        "-o",
        "build/module.wasm",
    ]);
    for feature in OFF {
        tool.args(["-d", feature]);
    }
    run(&mut tool, folder)?;
    let module = folder.join("build/module.wasm");
    fs::read(&module).with_context(|| format!("{} was not built", module.display()))
}
