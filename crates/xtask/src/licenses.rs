//! `cargo xtask licenses`: every dependency's licence is one that we accept, and there is one TLS.
//!
//! Looks at what is built for Linux, the platform that is shipped.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{process, spdx};

/// Permissive, or weak copyleft by file; each asks at most for its text and notice.
const ACCEPTED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// TLS is rustls with ring; a second one costs minutes of build and an audit of its own.
const REFUSED: [&str; 6] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
    "aws-lc-fips-sys",
];

const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Names every crate that may not be there, with its licence.
pub(crate) fn run() -> Result<()> {
    let mut arguments = Vec::new();
    for platform in PLATFORMS {
        arguments.extend(["--filter-platform", platform]);
    }
    let metadata = process::metadata(&arguments)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let faults: Vec<String> = packages.iter().filter_map(fault).collect();
    if !faults.is_empty() {
        bail!(
            "{} of {} crates:\n  {}",
            faults.len(),
            packages.len(),
            faults.join("\n  ")
        );
    }
    eprintln!("cargo xtask licenses: {} crates ok", packages.len());
    Ok(())
}

/// Why the package may not be there.
fn fault(package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap_or("a crate without a name");
    let version = package["version"].as_str().unwrap_or("of no version");
    if REFUSED.contains(&name) {
        return Some(format!(
            "{name} {version}: a second TLS library; use rustls with ring"
        ));
    }
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name} {version}: names no licence"));
    };
    match spdx::satisfied(licence, &|one| ACCEPTED.contains(&one)) {
        Some(true) => None,
        Some(false) => Some(format!(
            "{name} {version}: licence {licence} is not accepted"
        )),
        None => Some(format!(
            "{name} {version}: licence {licence} is not an SPDX expression"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fault;

    #[test]
    fn a_fault_names_crate_and_licence() {
        let of = |name: &str, licence: Option<&str>| {
            fault(&json!({ "name": name, "version": "1.2.3", "license": licence }))
        };
        assert_eq!(of("a", Some("MIT OR GPL-3.0")), None);
        let copyleft = of("b", Some("GPL-3.0")).unwrap();
        assert!(
            copyleft.contains("b 1.2.3") && copyleft.contains("GPL-3.0"),
            "{copyleft}"
        );
        assert!(of("c", None).unwrap().contains("names no licence"));
        assert!(of("openssl-sys", Some("MIT")).unwrap().contains("rustls"));
        assert!(of("d", Some("see file")).unwrap().contains("SPDX"));
    }
}
