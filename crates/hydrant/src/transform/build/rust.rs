//! Rust: cargo for `wasm32-unknown-unknown`, then the core module made a component in here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use wit_component::ComponentEncoder;

use super::super::project::Project;
use super::super::usage;
use super::tools::{absolute, answer, run, works};

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler for WebAssembly, which stands beside another one.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std";
const DEBIAN_LINKERS: [&str; 2] = ["wasm-ld-19", "wasm-ld"];

/// How Rust is built for WebAssembly here.
enum Toolchain {
    /// With the target of rustup, or whatever else the `rustc` at hand has.
    Own,
    /// With Debian's packages, which have no built library for the target.
    Debian { linker: &'static str },
}

/// Builds the crate of a folder.
pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    let toolchain = toolchain()?;
    let folder = absolute(&project.folder)?;
    let target = match env::var_os("CARGO_TARGET_DIR") {
        Some(target) if !target.is_empty() => absolute(Path::new(&target))?,
        _ => folder.join("target"),
    };
    let mut command = match toolchain {
        Toolchain::Own => Command::new("cargo"),
        Toolchain::Debian { linker } => {
            let mut command = Command::new(DEBIAN_CARGO);
            command
                .env("RUSTC", DEBIAN_RUSTC)
                // For `-Z build-std`, which the library is built by.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .env_remove("RUSTUP_TOOLCHAIN");
            command
        }
    };
    command
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remapped());
    if matches!(toolchain, Toolchain::Debian { .. }) {
        command.args(["-Z", "build-std=std,panic_abort"]);
    }
    run(&mut command, &folder)?;
    let module = target.join(TARGET).join("release").join(artefact(&folder)?);
    let bytes = fs::read(&module).with_context(|| {
        format!(
            "{} was not built: the crate needs `crate-type = [\"cdylib\"]`",
            module.display()
        )
    })?;
    component(&bytes)
}

/// Makes a component of a core module that carries the types of its contract, as wit-bindgen adds
/// them.
pub(super) fn component(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|e| anyhow!("the core module cannot be made a component: {e:#}"))
}

fn toolchain() -> anyhow::Result<Toolchain> {
    let own = answer("rustc", &["--print", "target-libdir", "--target", TARGET]);
    if own.is_some_and(|folder| Path::new(&folder).is_dir()) && works("cargo", &["--version"]) {
        return Ok(Toolchain::Own);
    }
    let has_debian = Path::new(DEBIAN_SOURCE).is_dir()
        && [DEBIAN_CARGO, DEBIAN_RUSTC]
            .iter()
            .all(|tool| works(tool, &["--version"]));
    let linker = DEBIAN_LINKERS
        .into_iter()
        .find(|linker| works(linker, &["--version"]));
    match linker {
        Some(linker) if has_debian => Ok(Toolchain::Debian { linker }),
        _ => Err(usage(format!(
            "no Rust for {TARGET} here: `rustup target add {TARGET}`, or on Debian and Ubuntu \
             `apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19` \
             (beside any other Rust)"
        ))),
    }
}

/// The file that cargo makes of the crate's library.
fn artefact(folder: &Path) -> anyhow::Result<String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|e| usage(format!("{} cannot be read: {e}", manifest.display())))?;
    let name =
        lib_name(&text).ok_or_else(|| usage(format!("{} names no package", manifest.display())))?;
    Ok(format!("{}.wasm", name.replace('-', "_")))
}

/// The name in `[lib]`, or else in `[package]`.
fn lib_name(manifest: &str) -> Option<String> {
    let (mut section, mut package, mut lib) = ("", None, None);
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let name = line
            .split_once('=')
            .filter(|(key, _)| key.trim() == "name")
            .map(|(_, value)| value.trim().trim_matches('"').to_owned());
        match section {
            "[package]" => package = package.or(name),
            "[lib]" => lib = lib.or(name),
            _ => {}
        }
    }
    lib.or(package)
}

/// Flags that keep this machine's paths out of the module: the same sources give the same bytes.
/// They are the same for every folder, so that the library of Rust is built once for all.
fn remapped() -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let mut flags = Vec::new();
    let source = home.map(|home| home.join("registry/src"));
    let registries = source.and_then(|source| fs::read_dir(source).ok());
    for registry in registries.into_iter().flatten().flatten() {
        flags.push(format!(
            "--remap-path-prefix={}=crates",
            registry.path().display()
        ));
    }
    flags.push("--remap-path-prefix=/usr/lib/rustlib/src/rust=rust".to_owned());
    // A path with a space cannot be given this way.
    flags.retain(|flag| !flag.contains(' '));
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::lib_name;

    #[test]
    fn the_librarys_name_is_found() {
        let manifest = "[package]\nname = \"a-b\"\n[dependencies]\nname = \"no\"\n";
        assert_eq!(lib_name(manifest).as_deref(), Some("a-b"));
        let with_lib = format!("{manifest}[lib]\nname=\"c\"\n");
        assert_eq!(lib_name(&with_lib).as_deref(), Some("c"));
        assert_eq!(lib_name("[lib]\n"), None);
    }
}
