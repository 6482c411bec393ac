//! The modules that are checked in were built from the sources beside them.

use std::fs;
use std::path::{Path, PathBuf};

use hydrant_core::Digest;

use crate::support::transforms;

/// Every file below a folder, by its path from `transforms/`.
fn files(root: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found
}

/// The same as `sources_digest` in `transforms/build.sh`.
fn sources(root: &Path, guest: &str) -> Vec<PathBuf> {
    let fixed = [
        "Cargo.toml",
        "Cargo.lock",
        "wit/transform.wit",
        "sdk-rust/Cargo.toml",
    ];
    let mut paths: Vec<PathBuf> = fixed.iter().map(PathBuf::from).collect();
    paths.push(Path::new(guest).join("Cargo.toml"));
    paths.extend(files(root, "sdk-rust/src"));
    paths.extend(files(root, &format!("{guest}/src")));
    let wit = format!("{guest}/wit");
    if root.join(&wit).is_dir() {
        paths.extend(files(root, &wit));
    }
    paths
}

/// The same as `command_digest`, of a command in C.
fn command_sources(root: &Path, command: &str) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "c" || ext == "h");
    let mut paths = files(root, command);
    paths.retain(is_source);
    // An example links to what it has of the templates.
    if command.starts_with("testing") {
        paths.extend(["templates/c/hydrant.c", "templates/c/hydrant.h"].map(PathBuf::from));
    }
    paths
}

/// What an example says of itself, which `transform_digest` takes in, too.
fn about(root: &Path, guest: &str) -> Vec<PathBuf> {
    let names = ["transform.yaml", "config.schema.json"];
    let paths = names.map(|name| Path::new(guest).join(name));
    let there = |path: &PathBuf| !guest.starts_with("testing") && root.join(path).is_file();
    paths.into_iter().filter(there).collect()
}

fn digest_of(root: &Path, paths: &[PathBuf]) -> String {
    let mut names: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    names.sort_unstable();
    let line = |name: &&str| {
        format!(
            "{}  {name}\n",
            Digest::of(&fs::read(root.join(name)).unwrap())
        )
    };
    let list: String = names.iter().map(line).collect();
    Digest::of(list.as_bytes()).to_hex()
}

#[test]
fn modules_are_as_new_as_their_sources() {
    let root = transforms();
    let lock = fs::read_to_string(root.join("modules.lock")).unwrap();
    let lines: Vec<&str> = lock.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 14, "each guest has a line");
    for line in lines {
        let [guest, module, digest, built] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line of modules.lock has four words: {line}");
        };
        let mut paths = if guest == "testing/command" || guest.ends_with("/c") {
            command_sources(&root, guest)
        } else {
            sources(&root, guest)
        };
        paths.extend(about(&root, guest));
        assert_eq!(
            digest_of(&root, &paths),
            digest,
            "sources of {guest} have changed: run transforms/build.sh"
        );
        let found = Digest::of(&fs::read(root.join(module)).unwrap()).to_hex();
        assert_eq!(
            found, built,
            "{module} is not what was built: run transforms/build.sh"
        );
    }
}
