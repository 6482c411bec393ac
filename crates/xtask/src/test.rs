//! `cargo xtask test`: the tests of the workspace, then the built binary end to end.
//!
//! The programs under `tests/e2e/` are Python, run by the cache's interpreter against a dev build;
//! each ends with a line `NAME: ok`, or fails. All suites run even after one failed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::services::Services;
use crate::{prerequisites, process};

/// The end-to-end suites, `tests/e2e/NAME.py`, with the seconds each may take: several times what
/// it needs on two idle cores. `HYDRANT_FULL=1` gives [`FULL_FACTOR`] times as much.
const SUITES: &[(&str, u64)] = &[
    ("reading", 60),
    ("check", 60),
    ("transforms", 1200),
    ("bench", 120),
    ("demo", 180),
    ("redo", 180),
    ("reload", 180),
    ("determinism", 300),
    ("processors", 240),
    ("repair", 180),
    ("twice", 120),
    ("boto3_kinesis", 300),
    ("remote_kinesis", 600),
    ("guarantees", 360),
    ("chaos", 480),
    ("lanes", 180),
    ("faults", 480),
    ("memory", 420),
    ("hostile", 180),
    ("outage", 240),
];

/// The binary is built with the tests, in one selection of packages and features: another one
/// would build the dependencies again. `crashpoints` lets a test end the process at a given step.
const SELECTION: [&str; 4] = [
    "--workspace",
    "--locked",
    "--features",
    "hydrant/crashpoints",
];

/// How much longer the full form of a suite may take.
const FULL_FACTOR: u64 = 6;
/// What each life of `chaos` may add to its time.
const CHAOS_LIFE_SECONDS: u64 = 15;

/// What `--only` chose.
struct Chosen {
    unit: bool,
    suites: Vec<(&'static str, u64)>,
}

/// Runs what the arguments choose, everything without them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments == ["--list"] {
        let names: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
        eprintln!("unit, e2e = {}", names.join(", "));
        return Ok(());
    }
    let chosen = choose(arguments)?;
    prerequisites::check()?;
    let began = process::now();
    let services = Services::start()?;
    let mut steps = Steps::default();
    if chosen.unit {
        steps.add("unit", || unit(&services));
    }
    if !chosen.suites.is_empty() && steps.add("build", build) {
        let binary = process::dev_folder()?.join("hydrant");
        for (name, seconds) in chosen.suites {
            steps.add(name, || suite(&services, &binary, name, seconds));
        }
    }
    drop(services);
    steps.finish(began.elapsed())
}

fn choose(arguments: &[String]) -> Result<Chosen> {
    if arguments.is_empty() {
        return Ok(Chosen {
            unit: true,
            suites: SUITES.to_vec(),
        });
    }
    let mut chosen = Chosen {
        unit: false,
        suites: Vec::new(),
    };
    for pair in arguments.chunks(2) {
        let [flag, name] = pair else {
            bail!("--only wants a name")
        };
        match (flag.as_str(), name.as_str()) {
            ("--only", "unit") => chosen.unit = true,
            ("--only", "e2e") => chosen.suites = SUITES.to_vec(),
            ("--only", name) => match SUITES.iter().find(|(suite, _)| *suite == name) {
                Some(suite) => chosen.suites.push(*suite),
                None => bail!("no suite is called {name}; `cargo xtask test --list` names them"),
            },
            (flag, _) => bail!("{flag} is not understood; `--only NAME` is"),
        }
    }
    Ok(chosen)
}

fn unit(services: &Services) -> Result<()> {
    let mut command = process::cargo(&["test", "--no-fail-fast"]);
    process::run(services.export(command.args(SELECTION)), "cargo test")
}

fn build() -> Result<()> {
    let mut command = process::cargo(&["build", "--all-targets"]);
    process::run(command.args(SELECTION), "cargo build")
}

fn suite(services: &Services, binary: &Path, name: &str, seconds: u64) -> Result<()> {
    let mut command = std::process::Command::new(services.python());
    command
        .arg(process::root().join(format!("tests/e2e/{name}.py")))
        .env("HYDRANT_BIN", binary)
        .stdin(Stdio::null());
    process::run_within(services.export(&mut command), name, limit(name, seconds))
}

/// The time a suite may take in the form that the environment asks for.
fn limit(name: &str, seconds: u64) -> Duration {
    let asked = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let factor = if asked("HYDRANT_FULL") == Some(1) {
        FULL_FACTOR
    } else {
        1
    };
    let lives = match name {
        "chaos" => asked("HYDRANT_CHAOS_KILLS").unwrap_or(0),
        _ => 0,
    };
    Duration::from_secs(seconds * factor + lives * CHAOS_LIFE_SECONDS)
}

/// What ran, and what of it failed.
#[derive(Default)]
struct Steps {
    passed: usize,
    failed: Vec<String>,
}

impl Steps {
    /// Runs one step, says how it went and how long it took, and whether it passed.
    fn add(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("-- {name}");
        let began = process::now();
        let result = step();
        let seconds = began.elapsed().as_secs_f64();
        match &result {
            Ok(()) => {
                self.passed += 1;
                eprintln!("-- {name}: ok, {seconds:.1} s");
            }
            Err(error) => {
                self.failed.push(name.to_owned());
                eprintln!("-- {name}: FAILED after {seconds:.1} s: {error:#}");
            }
        }
        result.is_ok()
    }

    fn finish(self, took: Duration) -> Result<()> {
        let (passed, seconds) = (self.passed, took.as_secs());
        if !self.failed.is_empty() {
            let failed = self.failed.join(", ");
            bail!(
                "{passed} steps passed, {} failed ({failed}), {seconds} s",
                self.failed.len()
            );
        }
        eprintln!("cargo xtask test: {passed} steps passed, {seconds} s");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SUITES, choose};
    use crate::process;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_chooses_and_refuses() {
        let all = choose(&[]).unwrap();
        assert!(all.unit && all.suites.len() == SUITES.len());
        let unit = choose(&words("--only unit")).unwrap();
        assert!(unit.unit && unit.suites.is_empty());
        let two = choose(&words("--only demo --only chaos")).unwrap();
        assert!(!two.unit && two.suites.len() == 2);
        assert!(choose(&words("--only nothing")).is_err());
        assert!(choose(&words("--only")).is_err());
        assert!(choose(&words("--skip demo")).is_err());
    }

    #[test]
    fn every_suite_has_its_program() {
        for (name, _) in SUITES {
            let path = process::root().join(format!("tests/e2e/{name}.py"));
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}
