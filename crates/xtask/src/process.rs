//! Child processes: cargo, and others with a bound on their time.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What `cargo run` sets for this program and a build script may watch: passed on, it would make
/// the inner cargo build those crates, and all above them, again.
const OF_CARGO_RUN: [&str; 8] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "LD_LIBRARY_PATH",
    "RUST_RECURSION_COUNT",
    "OUT_DIR",
];

/// Seconds since some moment of this process, for reports and bounds.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool that waits for real processes"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    // At run time first: two checkouts may share a target folder, and then the binary may be of the
    // other one. `cargo run` says whose it is.
    let own = OWN.get_or_init(|| {
        env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
    });
    own.parent()
        .and_then(Path::parent)
        .expect("this package stands two folders below the root")
}

/// `cargo` in the root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = in_root(Command::new(cargo_program()));
    command.args(arguments);
    command
}

/// As [`cargo`], giving way to others.
pub(crate) fn niced_cargo(arguments: &[&str]) -> Command {
    let mut command = in_root(niced(&cargo_program()));
    command.args(arguments);
    command
}

/// Builds give way to whatever else the machine does.
pub(crate) fn niced(program: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(program).stdin(Stdio::null());
    command
}

fn cargo_program() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A command in the root, without what an outer `cargo run` put into the environment.
pub(crate) fn in_root(mut command: Command) -> Command {
    command.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    for name in OF_CARGO_RUN {
        command.env_remove(name);
    }
    command
}

/// Where cargo puts what it builds, and the rest of what `cargo metadata` says of the workspace.
fn metadata() -> Result<serde_json::Value> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--locked", "--no-deps"]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = ok(
        output.context("cannot run cargo metadata")?,
        "cargo metadata",
    )?;
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")
}

/// The folder of the binaries of a dev build.
pub(crate) fn dev_folder() -> Result<PathBuf> {
    target_folder("debug")
}

/// The folder of the binaries of a build.
pub(crate) fn target_folder(build: &str) -> Result<PathBuf> {
    let metadata = metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target folder")?;
    Ok(Path::new(target).join(build))
}

/// Runs `command` to its end, its output passed through; an error where it does not succeed.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {what}"))?;
    succeeded(status, what)
}

/// As [`run`], ended by force after `limit`.
pub(crate) fn run_within(command: &mut Command, what: &str, limit: Duration) -> Result<()> {
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {what}"))?;
    let began = now();
    loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("cannot wait for {what}"))?
        {
            return succeeded(status, what);
        }
        if began.elapsed() > limit {
            child.kill().with_context(|| format!("cannot end {what}"))?;
            child
                .wait()
                .with_context(|| format!("cannot wait for {what}"))?;
            bail!("{what} took more than {} s and was ended", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// The output, or an error where the process did not succeed.
pub(crate) fn ok(output: Output, what: &str) -> Result<Output> {
    succeeded(output.status, what)?;
    Ok(output)
}

fn succeeded(status: ExitStatus, what: &str) -> Result<()> {
    if !status.success() {
        bail!("{what} failed: {status}");
    }
    Ok(())
}
