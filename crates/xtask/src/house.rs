//! Rules of the house that no lint can hold: what the sources may not say, and how files open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::root;

/// Crates whose time, disk, network and tasks are handed in, so that they run simulated.
const SIMULATED: [&str; 3] = ["core", "log", "pipeline"];

/// The real disk, behind the seam: the one file that may touch it.
const REAL_DISK: &str = "crates/log/src/disk.rs";

/// What those crates may not name.
const FORBIDDEN: [&str; 8] = [
    "std::fs",
    "tokio::fs",
    "std::net",
    "tokio::net",
    "spawn(",
    "spawn_blocking(",
    "SystemTime::now",
    "Instant::now",
];

/// Every `*.rs` below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The path below the root, for messages.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The code of a file, by line: without comments, up to its tests.
fn code(text: &str) -> Vec<&str> {
    let tests = |line: &&str| line.trim_start().starts_with("#[cfg(test)]");
    text.lines()
        .take_while(|line| !tests(line))
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect()
}

/// The lines of code that name something forbidden, or wait on several futures unfairly.
fn faults(text: &str) -> Vec<String> {
    let lines = code(text);
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}: {word}", index + 1));
        }
        if let Some((_, after)) = line.split_once("select!") {
            let next = lines[index + 1..]
                .iter()
                .find(|line| !line.trim().is_empty());
            let opens = after.trim_start_matches([' ', '{', '(']);
            let first = if opens.is_empty() {
                next.map_or("", |line| line.trim())
            } else {
                opens
            };
            if !first.starts_with("biased") {
                found.push(format!("{}: select! without biased", index + 1));
            }
        }
    }
    found
}

#[test]
fn simulated_crates_name_no_real_world() {
    let mut found = Vec::new();
    for name in SIMULATED {
        for path in sources(&root().join(format!("crates/{name}/src"))) {
            let file = short(&path);
            if file != REAL_DISK {
                let text = fs::read_to_string(&path).unwrap();
                found.extend(
                    faults(&text)
                        .into_iter()
                        .map(|fault| format!("{file}:{fault}")),
                );
            }
        }
    }
    assert!(
        found.is_empty(),
        "the real world is handed in:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_search_sees_what_it_should() {
    assert_eq!(faults("let a = std::fs::read(p);\n").len(), 1);
    assert_eq!(faults("tokio::spawn(async {});\n").len(), 1);
    assert_eq!(
        faults("// std::fs\n/// tokio::net\nlet a = 1; // spawn(\n").len(),
        0
    );
    assert_eq!(faults("tokio::select! {\n    a = b => {}\n}\n").len(), 1);
    assert_eq!(
        faults("tokio::select! {\n    biased;\n    a = b => {}\n}\n").len(),
        0
    );
    assert_eq!(faults("tokio::select! { biased; a = b => {} }\n").len(), 0);
    assert_eq!(
        faults("fn a() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n").len(),
        0
    );
}

#[test]
fn every_source_opens_with_what_it_is() {
    let missing: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| sources(&folder))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| short(&path))
        .collect();
    assert!(
        missing.is_empty(),
        "these do not open with `//!`:\n{}",
        missing.join("\n")
    );
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let names = String::from_utf8(listed.stdout).unwrap();
    let needles = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let mut looked_at = 0;
    let mut found = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file that was removed but not yet committed is listed and not there.
        let Ok(bytes) = fs::read(root().join(name)) else {
            continue;
        };
        looked_at += 1;
        let text = String::from_utf8_lossy(&bytes);
        if needles.iter().any(|needle| text.contains(needle)) {
            found.push(name);
        }
    }
    assert!(looked_at > 50, "only {looked_at} files were looked at");
    assert!(
        found.is_empty(),
        "these name a path of one machine:\n{}",
        found.join("\n")
    );
}
