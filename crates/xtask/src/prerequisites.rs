//! What must be on the machine before anything starts, and the package that brings it.
//!
//! A missing program is a failure, never a reason to skip.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A command that succeeds where the program is there, what it is for, and its package.
struct Prerequisite {
    probe: &'static [&'static str],
    what: &'static str,
    package: &'static str,
}

const ALL: [Prerequisite; 9] = [
    Prerequisite {
        probe: &["go", "version"],
        what: "builds the S3 server",
        package: "golang",
    },
    Prerequisite {
        probe: &[
            "python3",
            "-c",
            "import sys; sys.exit(sys.version_info < (3, 10))",
        ],
        what: "runs the readers, which want 3.10",
        package: "python3",
    },
    Prerequisite {
        probe: &["python3", "-c", "import ensurepip, venv"],
        what: "holds the readers' libraries",
        package: "python3-venv",
    },
    Prerequisite {
        probe: &["make", "--version"],
        what: "builds the allocator",
        package: "make",
    },
    Prerequisite {
        probe: &["node", "--version"],
        what: "runs kinesis-mock",
        package: "nodejs",
    },
    Prerequisite {
        probe: &["npm", "--version"],
        what: "installs kinesis-mock",
        package: "npm",
    },
    Prerequisite {
        probe: &["unzip", "-v"],
        what: "tests ZIP objects",
        package: "unzip",
    },
    Prerequisite {
        probe: &["gzip", "-V"],
        what: "tests GZIP objects",
        package: "gzip",
    },
    Prerequisite {
        probe: &["git", "--version"],
        what: "lists the files",
        package: "git",
    },
];

/// Names every missing program at once.
///
/// # Errors
/// Where one is missing.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<String> = ALL
        .iter()
        .filter(|one| !present(one.probe))
        .map(|one| {
            format!(
                "`{}` ({}): install package {}",
                one.probe.join(" "),
                one.what,
                one.package
            )
        })
        .collect();
    if !missing.is_empty() {
        bail!("these do not run here:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

fn present(probe: &[&str]) -> bool {
    let mut command = Command::new(probe[0]);
    command
        .args(&probe[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::present;

    #[test]
    fn a_missing_program_is_seen() {
        assert!(present(&["git", "--version"]));
        assert!(!present(&["hydrant-no-such-program"]));
        assert!(!present(&["git", "no-such-command"]));
    }
}
