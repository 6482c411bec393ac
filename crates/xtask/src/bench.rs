//! `cargo xtask bench`: measures a release build and compares it with the ratios of the last
//! release, which are kept in the repository. Ratios to the reference loops of the same run, never
//! absolute numbers: the machine may be another one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// A stage that got this much worse fails (performance reference, section 5).
const ALARM: f64 = 1.25;

/// Ratios by stage, as text in this order.
type Ratios = BTreeMap<String, f64>;

/// Measures; `--update` keeps the ratios, else they are compared with those kept. What else is said
/// goes to `hydrant bench`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let update = arguments.iter().any(|argument| argument == "--update");
    let passed = arguments.iter().filter(|argument| *argument != "--update");
    let mut build = process::cargo(&["build", "--release", "--locked", "--package", "hydrant"]);
    process::run(&mut build, "cargo build --release")?;
    let output = Command::new(process::target_folder("release")?.join("hydrant"))
        .args(["bench", "--json"])
        .args(passed)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run hydrant bench")?;
    let output = process::ok(output, "hydrant bench")?;
    let output = serde_json::from_slice(&output.stdout)?;
    let (measured, noisy) = (ratios(&output)?, noisy(&output));
    let path = kept_path();
    if !noisy.is_empty() {
        eprintln!(
            "noisy, to be measured again on an idle machine: {}",
            noisy.join(", ")
        );
    }
    if update {
        if !noisy.is_empty() {
            bail!("noisy ratios are not kept");
        }
        let mut kept = read(&path)?;
        kept.extend(measured);
        let text = serde_json::to_string_pretty(&kept)? + "\n";
        return fs::write(&path, text).with_context(|| path.display().to_string());
    }
    let kept = read(&path)?;
    for (stage, ratio) in &measured {
        match kept.get(stage) {
            Some(before) => eprintln!("{stage}: {ratio:.3}, was {before:.3}"),
            None => eprintln!("{stage}: {ratio:.3}, new"),
        }
    }
    let worse = worse(&kept, &measured);
    if !worse.is_empty() {
        bail!(
            "more than {ALARM} times the last release: {}",
            worse.join(", ")
        );
    }
    Ok(())
}

fn kept_path() -> PathBuf {
    process::root().join("crates/hydrant/benches/ratios.json")
}

/// The kept ratios; none where there is no file yet.
fn read(path: &Path) -> Result<Ratios> {
    if !path.exists() {
        return Ok(Ratios::new());
    }
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The ratio of each stage in what `hydrant bench --json` printed.
fn ratios(printed: &Value) -> Result<Ratios> {
    let stages = printed["stages"]
        .as_array()
        .context("there are no stages")?;
    let ratio = |stage: &Value| {
        let name = stage["name"].as_str().context("a stage has no name")?;
        let ratio = stage["ratio"].as_f64().context("a stage has no ratio")?;
        Ok((name.to_owned(), ratio))
    };
    stages.iter().map(ratio).collect()
}

/// The stages whose best and median differ by too much.
fn noisy(output: &Value) -> Vec<&str> {
    let stages = output["stages"].as_array().into_iter().flatten();
    let noisy = stages.filter(|stage| stage["noisy"] == true);
    noisy.filter_map(|stage| stage["name"].as_str()).collect()
}

/// The stages that got worse. What is nearly nothing may grow a little without harm.
fn worse(kept: &Ratios, measured: &Ratios) -> Vec<String> {
    const NEARLY_NOTHING: f64 = 0.004;
    let is_worse = |(stage, ratio): &(&String, &f64)| {
        let before = kept.get(*stage);
        before.is_some_and(|before| **ratio > before * ALARM && **ratio > before + NEARLY_NOTHING)
    };
    let worse = measured.iter().filter(is_worse);
    worse.map(|(stage, _)| stage.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{kept_path, ratios, read, worse};

    #[test]
    fn what_got_worse_is_named() {
        let kept = ratios(&json!({ "stages": [
            { "name": "a", "ratio": 1.0 },
            { "name": "b", "ratio": 1.0 },
            { "name": "tiny", "ratio": 0.001 },
        ] }));
        let measured = ratios(&json!({ "stages": [
            { "name": "a", "ratio": 1.2 },
            { "name": "b", "ratio": 1.3 },
            { "name": "tiny", "ratio": 0.004 },
            { "name": "new", "ratio": 9.0 },
        ] }));
        assert_eq!(worse(&kept.unwrap(), &measured.unwrap()), ["b"]);
        assert!(ratios(&json!({})).is_err());
    }

    #[test]
    fn ratios_are_kept() {
        assert!(!read(&kept_path()).unwrap().is_empty());
    }
}
