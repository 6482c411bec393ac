//! `cargo xtask fuzz`: a target of `tests/fuzz` under libFuzzer, on stable Rust.
//!
//! The compiler has the coverage passes, though not the sanitizers: the code is safe Rust, so it is panics,
//! hangs and memory that are looked for. A run begins with the corpus in the repository; what it adds
//! stays in the cache. An input that breaks something belongs into the corpus, which the tests run.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::process;

/// Edges are counted, and what is compared is shown to the fuzzer (reliability reference, section 9).
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input may take so long, in seconds, and the whole process so much memory, in MiB.
const LIMITS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=512"];

/// Seconds of a run that names none.
const SECONDS: u64 = 60;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    List,
    /// Look for so many seconds.
    Run(String, u64),
    /// Run one input again.
    Again(String, PathBuf),
}

/// Lists the targets, looks for inputs that break one, or runs one input again.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match task(arguments, &targets()?)? {
        Task::List => {
            for target in targets()? {
                eprintln!("{target}");
            }
            Ok(())
        }
        Task::Run(target, seconds) => look(&target, seconds),
        Task::Again(target, input) => {
            let program = build(&target)?;
            let mut command = Command::new(program);
            process::run(command.args(LIMITS).arg(input), &target)
        }
    }
}

fn task(arguments: &[String], targets: &[String]) -> Result<Task> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (target, rest) = match &arguments[..] {
        ["--list"] => return Ok(Task::List),
        [target, rest @ ..] if targets.iter().any(|it| it == target) => (*target, rest),
        [target, ..] => bail!("no target is called {target}; `cargo xtask fuzz --list` names them"),
        [] => bail!("a target is missing; `cargo xtask fuzz --list` names them"),
    };
    match rest {
        [] => Ok(Task::Run(target.to_owned(), SECONDS)),
        ["--seconds", seconds] => {
            let seconds = seconds.parse().context("--seconds wants a number")?;
            Ok(Task::Run(target.to_owned(), seconds))
        }
        [input] if !input.starts_with('-') => {
            let input = std::path::absolute(input).context("the input has no path")?;
            Ok(Task::Again(target.to_owned(), input))
        }
        _ => bail!("behind the target goes `--seconds N`, or a file to run again"),
    }
}

fn folder() -> PathBuf {
    process::root().join("tests/fuzz")
}

/// The names of the targets, each a file.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(folder().join("targets")).context("there are no targets")?;
    let mut names = Vec::new();
    for file in files {
        let path = file.context("the targets cannot be listed")?.path();
        let name = path.file_stem().and_then(OsStr::to_str);
        names.push(name.context("a target is no text")?.to_owned());
    }
    names.sort();
    Ok(names)
}

/// Builds a target into a folder of its own: the flags are of every crate in it.
fn build(target: &str) -> Result<PathBuf> {
    let host = host()?;
    let built = Cache::open()?.folder("fuzz")?.join("target");
    let mut cargo = process::niced_cargo(&["build", "--locked", "--profile", "fuzz"]);
    cargo
        .args(["--package", "hydrant-fuzz", "--bin", target])
        .args(["--features", target, "--target", &host])
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", FLAGS.join(" "));
    process::run(&mut cargo, "cargo build")?;
    Ok(built.join(host).join("fuzz").join(target))
}

/// The platform of this machine, as the compiler calls it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = process::ok(output.context("cannot run rustc")?, "rustc -vV")?;
    let text = String::from_utf8(output.stdout).context("rustc says no text")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn look(target: &str, seconds: u64) -> Result<()> {
    let program = build(target)?;
    let found = Cache::open()?.folder("fuzz")?.join(target);
    let (corpus, crashes) = (found.join("corpus"), found.join("crashes"));
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let kept = folder().join("corpus").join(target);
    let before = listed(&crashes)?;
    let status = process::niced(&program)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg("-print_final_stats=1")
        .args([&corpus, &kept])
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {target}"))?;
    let after = listed(&crashes)?;
    for input in after.iter().filter(|input| !before.contains(input)) {
        let input = input.display();
        eprintln!("{target} broke; to see it again: cargo xtask fuzz {target} {input}");
        eprintln!("once it is mended, keep the input in {}", kept.display());
    }
    if !status.success() {
        bail!("{target} found something: {status}");
    }
    eprintln!("{target}: nothing found in {seconds} s");
    Ok(())
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().context("cannot list")
}

#[cfg(test)]
mod tests {
    use super::{SECONDS, Task, folder, targets, task};

    fn of(text: &str) -> Option<Task> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        task(&words, &["intent".to_owned()]).ok()
    }

    #[test]
    fn what_is_asked_for() {
        let name = || "intent".to_owned();
        assert_eq!(of("--list"), Some(Task::List));
        assert_eq!(of("intent"), Some(Task::Run(name(), SECONDS)));
        assert_eq!(of("intent --seconds 5"), Some(Task::Run(name(), 5)));
        assert_eq!(of("intent /x"), Some(Task::Again(name(), "/x".into())));
        for wrong in [
            "",
            "other",
            "intent --seconds",
            "intent --seconds x",
            "intent --x",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_target_has_a_corpus() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 8);
        for target in targets {
            let corpus = folder().join("corpus").join(&target);
            assert!(corpus.is_dir(), "{target} has none");
        }
    }
}
