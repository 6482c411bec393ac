//! From an object's key to a path that stays below the root, whatever a partition key says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hydrant_core::Digest;

/// Longest name of a file or folder, in bytes (`NAME_MAX` of Linux file systems).
const NAME_MAX_BYTES: usize = 255;
/// Hex digits that keep a shortened name apart from others.
const SHORT_HEX: usize = 16;

/// The path of a key. Segments `.` and `..` and control characters are percent-encoded, an empty
/// segment becomes `%2F`, and a segment over 255 bytes is cut and ends in a digest of itself.
pub(crate) fn path_of(root: &Path, key: &str) -> PathBuf {
    let mut path = root.to_path_buf();
    for segment in key.split('/') {
        path.push(safe(segment));
    }
    path
}

fn safe(segment: &str) -> String {
    let mut name = String::with_capacity(segment.len());
    match segment {
        "" => name.push_str("%2F"),
        "." => name.push_str("%2E"),
        ".." => name.push_str("%2E%2E"),
        _ => {
            for char in segment.chars() {
                if char.is_control() {
                    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                        write!(name, "%{byte:02X}").expect("a string takes all");
                    }
                } else {
                    name.push(char);
                }
            }
        }
    }
    if name.len() > NAME_MAX_BYTES {
        shortened(&name)
    } else {
        name
    }
}

fn shortened(name: &str) -> String {
    let room = NAME_MAX_BYTES - SHORT_HEX - 1;
    let mut short = String::new();
    for char in name.chars().take_while({
        let mut bytes = 0;
        move |char| {
            bytes += char.len_utf8();
            bytes <= room
        }
    }) {
        short.push(char);
    }
    short.push('~');
    short.extend(Digest::of(name.as_bytes()).to_hex().chars().take(SHORT_HEX));
    short
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::path_of;

    #[test]
    fn segments_that_would_leave_the_root_are_encoded() {
        let root = Path::new("/r");
        for (key, path) in [
            ("a/b.gz", "/r/a/b.gz"),
            ("../../etc/x", "/r/%2E%2E/%2E%2E/etc/x"),
            ("/abs//./x", "/r/%2F/abs/%2F/%2E/x"),
            ("a\0b/c\nd", "/r/a%00b/c%0Ad"),
            ("..x/...", "/r/..x/..."),
        ] {
            assert_eq!(path_of(root, key), Path::new(path), "{key:?}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let (a, b) = ("ü".repeat(200) + "a", "ü".repeat(200) + "b");
        let [a, b] = [a, b].map(|name| path_of(Path::new(""), &name));
        assert_ne!(a, b);
        assert!(a.as_os_str().len() <= 255, "{a:?}");
    }

    proptest! {
        #[test]
        fn any_key_stays_below_the_root(key in any::<String>()) {
            let path = path_of(Path::new("/r"), &key);
            let below = path.strip_prefix("/r").expect("below the root");
            prop_assert!(below.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert_eq!(below.components().count(), key.split('/').count());
            prop_assert!(!path.to_str().expect("text").contains('\0'));
        }
    }
}
