//! Each sync is needed: leaving out any single one is found by the crash tests. And there is no
//! other one.

use hydrant_log::SyncPoint;

use crate::crash::live;
use crate::crash_twice::twice;

#[test]
fn leaving_out_any_sync_is_found() {
    for point in SyncPoint::ALL {
        let mut seeds = 0..3000;
        let found = match point {
            // Needs a recovery that was killed, and another one.
            SyncPoint::FoundName => twice(Some(point)).is_err(),
            _ => seeds.any(|seed| live(seed, Some(point)).is_err()),
        };
        assert!(found, "3,000 seeds did not miss the sync {point:?}");
    }
}

#[test]
fn there_is_one_place_that_syncs() {
    let mut calls = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                // A stream syncs its directory once when its files are removed: no data there.
                if !path.ends_with("stream") {
                    folders.push(path);
                }
                continue;
            }
            // A repair that fails to sync ends, and is made again on new files: nobody has the log open.
            let exempt = ["src/disk.rs", "src/repair.rs", "src/fuzzing.rs"];
            if exempt.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let found = [
                ".sync()",
                "disk.sync_dir(",
                "sync_all(",
                "sync_data(",
                "fdatasync(",
            ];
            for call in found {
                calls.extend(
                    text.matches(call)
                        .map(|call| format!("{} {call}", path.display())),
                );
            }
        }
    }
    calls.sort();
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert!(
        calls.iter().all(|call| call.contains("src/site.rs")),
        "{calls:#?}"
    );
}
