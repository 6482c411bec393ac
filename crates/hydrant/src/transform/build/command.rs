//! Go and C: WASI commands, which run in stdio mode.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::super::usage;
use super::tools::{need, run, works};

const MODULE: &str = "build/module.wasm";

/// Builds the Go package of a folder.
pub(super) fn go(folder: &Path) -> anyhow::Result<Vec<u8>> {
    need(
        "go",
        &["version"],
        "Go 1.21 or later (package golang, or go.dev)",
    )?;
    fs::create_dir_all(folder.join("build")).context("the folder `build` cannot be made")?;
    let mut go = Command::new("go");
    // Names of functions stay: error objects show where a trap happened.
    go.args([
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-w",
        "-o",
        MODULE,
        ".",
    ]);
    run(go.env("GOOS", "wasip1").env("GOARCH", "wasm"), folder)?;
    read(folder)
}

/// Builds all C files of a folder.
pub(super) fn c(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut sources: Vec<String> = fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "c"))
        .collect();
    sources.sort();
    if sources.is_empty() {
        return Err(usage(format!("{} has no .c file", folder.display())));
    }
    fs::create_dir_all(folder.join("build")).context("the folder `build` cannot be made")?;
    let mut compiler = compiler()?;
    compiler.args(["-O2", "-Wall", "-Wl,--strip-debug", "-o", MODULE]);
    run(compiler.args(sources), folder)?;
    read(folder)
}

/// clang with WASI's C library, or zig, which has its own.
fn compiler() -> anyhow::Result<Command> {
    const LIBRARY: &str = "/usr/lib/wasm32-wasi/libc.a";
    let linker = ["wasm-ld-19", "wasm-ld"]
        .into_iter()
        .find(|tool| works(tool, &["--version"]));
    for clang in ["clang-19", "clang"] {
        if let Some(linker) = linker
            && works(clang, &["--version"])
            && Path::new(LIBRARY).is_file()
        {
            let mut command = Command::new(clang);
            command.args(["--target=wasm32-wasi", "--sysroot=/usr"]);
            command.arg(format!("-fuse-ld=/usr/bin/{linker}"));
            return Ok(command);
        }
    }
    for (program, arguments) in [
        ("zig", &["cc"][..]),
        ("python3", &["-m", "ziglang", "cc"][..]),
    ] {
        let mut asked = arguments.to_vec();
        asked.push("--version");
        if works(program, &asked) {
            let mut command = Command::new(program);
            command.args(arguments).arg("--target=wasm32-wasi");
            return Ok(command);
        }
    }
    Err(usage(
        "no C compiler for WASI here: on Debian and Ubuntu `apt-get install --no-install-recommends \
         clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32`, or `pip install ziglang`",
    ))
}

fn read(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let module = folder.join(MODULE);
    fs::read(&module).with_context(|| format!("{} was not built", module.display()))
}
