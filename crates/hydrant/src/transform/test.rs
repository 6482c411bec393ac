//! `hydrant transform test`: every case with its records together, again, and each alone.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hydrant_core::clock::Clock as _;
use hydrant_transform::{WasmEngine, WasmTransform};

use super::cases::{self, Case, Expected, Wanted};
use super::module::{How, Module};
use super::project::Project;
use super::report::text;
use super::verdict::{self, Verdict};
use super::{TestArgs, junit};
use crate::cli::{FAILED, OK};
use crate::runtime::clock::RealClock;

/// Differences of a case that are shown.
const SHOWN_MAX: usize = 5;

/// How a case went.
pub(super) struct Ran {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) time: Duration,
    /// What is wrong, in lines; empty where nothing is.
    pub(super) faults: Vec<String>,
}

/// Runs the cases of a folder; gives the exit code.
pub(super) fn main(args: &TestArgs) -> anyhow::Result<u8> {
    let project = Project::read(&args.folder)?;
    let cases = cases::read(&project)?;
    let how = How {
        memory: project.manifest.memory.clone(),
        timeout: project.manifest.timeout.clone(),
        wasi: project.manifest.wasi,
        instances: project.manifest.instances,
    };
    let path = args.module.clone().unwrap_or_else(|| project.module());
    let module = Module::read(&WasmEngine::for_tests()?, &path, how)?;
    let clock = RealClock::default();
    let mut out = io::stdout().lock();
    let mut all = Vec::new();
    for case in &cases {
        let started = clock.monotonic();
        let faults = run(&module, case, args.update)?;
        let ran = Ran {
            file: case
                .file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            name: case.name.clone(),
            time: clock.monotonic().saturating_sub(started),
            faults,
        };
        writeln!(out, "{}", shown(&ran))?;
        all.push(ran);
    }
    let failed = all.iter().filter(|ran| !ran.faults.is_empty()).count();
    writeln!(
        out,
        "{}: {} cases, {failed} failed",
        project.manifest.name,
        all.len()
    )?;
    if let Some(file) = &args.junit {
        let report = junit::report(&project.manifest.name, &all);
        fs::write(file, report).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(if failed == 0 { OK } else { FAILED })
}

fn shown(ran: &Ran) -> String {
    if ran.faults.is_empty() {
        return format!("ok    {}: {}", ran.file, ran.name);
    }
    let mut text = format!("FAIL  {}: {}", ran.file, ran.name);
    for line in ran.faults.iter().flat_map(|fault| fault.lines()) {
        text.push_str("\n      ");
        text.push_str(line);
    }
    text
}

fn run(module: &Module, case: &Case, update: bool) -> anyhow::Result<Vec<String>> {
    let (transform, _lines) = match (module.load(&case.config_json)?, &case.wanted) {
        (Err(error), Wanted::Error(words)) => {
            let message = error.to_string();
            if message.contains(words.as_str()) {
                return Ok(Vec::new());
            }
            return Ok(vec![format!(
                "it is refused in other words: {message}\nexpected: {words}"
            )]);
        }
        (Ok(_), Wanted::Error(words)) => {
            return Ok(vec![format!(
                "its configuration is taken; expected: {words}"
            )]);
        }
        (Err(error), _) => return Ok(vec![error.to_string()]),
        (Ok(loaded), _) => loaded,
    };
    let together = verdict::run(&transform, &case.records, 0)?;
    let mut faults = match &case.wanted {
        Wanted::Golden(file) if update => {
            write_golden(file, &together)?;
            Vec::new()
        }
        Wanted::Golden(file) => compare(case, &cases::golden(file)?, &together),
        Wanted::Verdicts(expected) => compare(case, expected, &together),
        Wanted::Error(_) => Vec::new(),
    };
    faults.extend(repeated(&transform, case, &together)?);
    if faults.len() > SHOWN_MAX {
        let more = faults.len() - SHOWN_MAX;
        faults.truncate(SHOWN_MAX);
        faults.push(format!("and {more} more"));
    }
    Ok(faults)
}

fn compare(case: &Case, expected: &[Expected], verdicts: &[Verdict]) -> Vec<String> {
    if expected.len() != verdicts.len() {
        let (wanted, records) = (expected.len(), verdicts.len());
        return vec![format!(
            "{wanted} verdicts are expected for {records} records"
        )];
    }
    let pairs = case.records.iter().zip(expected.iter().zip(verdicts));
    pairs
        .enumerate()
        .filter(|(_, (record, (expected, verdict)))| !expected.holds(&record.data, verdict))
        .map(|(i, (record, (expected, verdict)))| {
            format!(
                "record {}: {}\n  expected: {}\n  got:      {}",
                i + 1,
                text(&record.data),
                expected.shown(),
                verdict.to_json()
            )
        })
        .collect()
}

/// The same records again, and each alone, get the same verdicts.
fn repeated(
    transform: &WasmTransform,
    case: &Case,
    together: &[Verdict],
) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    if verdict::run(transform, &case.records, 0)? != together {
        faults.push("run twice it gives different verdicts: a redo would not repeat it".to_owned());
    }
    let alone = if case.together_only {
        0
    } else {
        together.len()
    };
    let each = case.records.iter().zip(together).take(alone);
    for (i, (record, verdict)) in each.enumerate() {
        let alone = verdict::run(transform, std::slice::from_ref(record), i)?;
        if alone.first() != Some(verdict) {
            let alone = alone.first().map(Verdict::to_json).unwrap_or_default();
            faults.push(format!(
                "record {}: alone it gets another verdict than among the others (`together_only: \
                 true` allows that)\n  together: {}\n  alone:    {alone}",
                i + 1,
                verdict.to_json()
            ));
        }
    }
    if transform.tally().snapshot().broken_promises > 0 {
        faults.push(
            "an instance that was used again fails where a new one does not: leave out `instances: \
             reuse`"
                .to_owned(),
        );
    }
    Ok(faults)
}

fn write_golden(file: &Path, verdicts: &[Verdict]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for verdict in verdicts {
        lines.push_str(&verdict.to_json().to_string());
        lines.push('\n');
    }
    fs::write(file, lines).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::TestArgs;
    use super::main;
    use crate::cli::{FAILED, OK};

    fn transforms() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transforms")
    }

    fn args(folder: PathBuf) -> TestArgs {
        TestArgs {
            folder,
            module: None,
            update: false,
            junit: None,
        }
    }

    #[test]
    fn the_checked_in_examples_pass_their_cases() {
        for folder in [
            "redact",
            "web-events",
            "examples/csv-to-json/rust",
            "examples/log-to-json/rust",
            "examples/log-to-json/c",
            "examples/redact/c",
            "examples/csv-to-json/c",
            "examples/split-array",
            "examples/dedupe-key",
            "examples/enrich",
        ] {
            let code = main(&args(transforms().join(folder))).unwrap();
            assert_eq!(code, OK, "{folder}");
        }
    }

    #[test]
    fn a_case_that_does_not_hold_fails_and_a_golden_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("tests")).unwrap();
        fs::write(at("transform.yaml"), "name: redact\n").unwrap();
        fs::copy(transforms().join("redact/redact.wasm"), at("redact.wasm")).unwrap();
        let case = "cases: [{ name: a, config: { fields: [a] }, input: ['{\"a\":1}'], ";
        let write =
            |rest: &str| fs::write(at("tests/a.yaml"), format!("{case}{rest} }}]")).unwrap();

        write("expected: [unchanged]");
        let junit = TestArgs {
            junit: Some(at("junit.xml")),
            ..args(folder.path().to_owned())
        };
        assert_eq!(main(&junit).unwrap(), FAILED);
        let xml = fs::read_to_string(at("junit.xml")).unwrap();
        assert!(
            xml.contains("failures=\"1\"") && xml.contains("redacted"),
            "{xml}"
        );

        write("expected_file: golden.ndjson");
        let missing = main(&args(folder.path().to_owned())).unwrap_err();
        assert!(missing.to_string().contains("`--update` writes it"));
        let update = TestArgs {
            update: true,
            ..args(folder.path().to_owned())
        };
        assert_eq!(main(&update).unwrap(), OK);
        assert_eq!(
            fs::read_to_string(at("golden.ndjson")).unwrap(),
            "{\"outputs\":[{\"text\":\"{\\\"a\\\":\\\"[redacted]\\\"}\"}]}\n"
        );
        assert_eq!(main(&args(folder.path().to_owned())).unwrap(), OK);

        write("error: any");
        assert!(
            main(&args(folder.path().to_owned())).is_err(),
            "records that are never run"
        );
    }
}
