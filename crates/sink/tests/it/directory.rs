//! The directory sink on a real file system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hydrant_core::stage::{Completed, ObjectSink as _, SinkError};
use hydrant_sink::Directory;
use tempfile::TempDir;

use crate::support::{clock, io, meta, put, rng, rules};

fn sink(root: &Path) -> Directory {
    Directory::new(root, rules("p/"), io(), clock(), rng())
}

fn temp_files(root: &Path) -> usize {
    fs::read_dir(root.join(".hydrant-tmp")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn an_object_is_written_once_and_its_repeat_is_recognised() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("deep/er");
    let sink = sink(&root);
    assert_eq!(sink.prepare().await.unwrap(), 0);
    let large = vec![7; 300 << 10];
    let chunks: [&[u8]; 3] = [&large, b"", b"end"];
    assert_eq!(
        put(&sink, meta("a/b/c.gz"), &chunks).await.unwrap(),
        Completed::Written
    );
    assert_eq!(fs::read(root.join("a/b/c.gz")).unwrap(), chunks.concat());
    assert_eq!(
        put(&sink, meta("a/b/c.gz"), &chunks).await.unwrap(),
        Completed::AlreadyThere
    );
    assert_eq!(
        put(&sink, meta("empty"), &[]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(fs::read(root.join("empty")).unwrap(), b"");
    assert_eq!(temp_files(&root), 0);
    let status = sink.status().snapshot();
    assert_eq!((status.retries, status.last_error), (0, None));
    assert!(status.attempts >= 6, "{}", status.attempts);
}

#[tokio::test]
async fn other_content_under_the_name_is_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let sink = sink(dir.path());
    for other in ["other", "longer content", ""] {
        fs::write(dir.path().join("x"), other).unwrap();
        let error = put(&sink, meta("x"), &[b"thing"]).await.unwrap_err();
        assert!(
            matches!(&error, SinkError::Mismatch { place } if place.ends_with("/x")),
            "{error}"
        );
        assert_eq!(fs::read_to_string(dir.path().join("x")).unwrap(), other);
    }
    assert_eq!(temp_files(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_at_once_exactly_one_writes() {
    let dir = TempDir::new().unwrap();
    let sinks = [sink(dir.path()), sink(dir.path())];
    for round in 0..50 {
        let key = format!("r{round}/x");
        let [a, b] = &sinks;
        let (a, b) = tokio::join!(
            put(a, meta(&key), &[b"same"]),
            put(b, meta(&key), &[b"same"])
        );
        let found = [a.unwrap(), b.unwrap()];
        assert!(found.contains(&Completed::Written), "{found:?}");
        assert!(found.contains(&Completed::AlreadyThere), "{found:?}");

        let key = format!("d{round}/x");
        let [a, b] = &sinks;
        let (a, b) = tokio::join!(put(a, meta(&key), &[b"one"]), put(b, meta(&key), &[b"two"]));
        let content = fs::read(dir.path().join(&key)).unwrap();
        let (winner, loser) = if content == b"one" { (a, b) } else { (b, a) };
        assert_eq!(winner.unwrap(), Completed::Written);
        assert!(matches!(loser.unwrap_err(), SinkError::Mismatch { .. }));
    }
    assert_eq!(temp_files(dir.path()), 0);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let temp = dir.path().join(".hydrant-tmp");
    fs::create_dir_all(&temp).unwrap();
    fs::write(temp.join("hydrant-99999-0.tmp"), "half").unwrap();
    fs::write(temp.join("hydrant-99999-1.tmp"), "half").unwrap();
    fs::write(temp.join("notes.txt"), "not ours").unwrap();
    let mut live = sink(dir.path()).object(meta("live"));
    live.write(Bytes::from(vec![1; 300 << 10])).await.unwrap();

    assert_eq!(sink(dir.path()).prepare().await.unwrap(), 2);
    assert!(temp.join("notes.txt").exists());
    assert_eq!(
        live.complete().await.unwrap(),
        Completed::Written,
        "a live file is not a leftover"
    );
}

#[tokio::test]
async fn an_abort_and_a_dropped_upload_leave_nothing() {
    let dir = TempDir::new().unwrap();
    let sink = sink(dir.path());
    for key in ["aborted", "dropped"] {
        let mut upload = sink.object(meta(key));
        upload.write(Bytes::from(vec![1; 300 << 10])).await.unwrap();
        assert_eq!((upload.held_bytes(), temp_files(dir.path())), (0, 1));
        if key == "aborted" {
            upload.abort().await;
            assert_eq!(temp_files(dir.path()), 0);
        }
    }
    assert_eq!(
        put(&sink, meta("next"), &[b"x"]).await.unwrap(),
        Completed::Written
    );
    assert_eq!(
        temp_files(dir.path()),
        0,
        "the next object cleans up after the dropped one"
    );
    assert!(!dir.path().join("aborted").exists() && !dir.path().join("dropped").exists());
}

#[tokio::test]
async fn a_temporary_file_that_someone_removed_asks_for_a_redo() {
    let dir = TempDir::new().unwrap();
    let mut upload = sink(dir.path()).object(meta("x"));
    upload.write(Bytes::from(vec![1; 300 << 10])).await.unwrap();
    fs::remove_dir_all(dir.path().join(".hydrant-tmp")).unwrap();
    let error = upload.complete().await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable(_)), "{error}");
    assert!(!dir.path().join("x").exists());
}

#[tokio::test]
async fn a_key_that_climbs_stays_below_the_root() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    put(&sink(&root), meta("../../up\u{0}"), &[b"x"])
        .await
        .unwrap();
    assert_eq!(fs::read(root.join("%2E%2E/%2E%2E/up%00")).unwrap(), b"x");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_disk_that_refuses_is_tried_again_until_it_takes_it() {
    let dir = TempDir::new().unwrap();
    // A file stands where a folder must go: also root cannot write there.
    fs::write(dir.path().join("a"), "in the way").unwrap();
    let sink = sink(dir.path());
    let status = sink.status();
    let upload = tokio::spawn(async move { put(&sink, meta("a/x"), &[b"data"]).await });
    while status.snapshot().retries < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = status.snapshot().last_error.unwrap();
    assert!(error.starts_with("moving into place: "), "{error}");
    fs::remove_file(dir.path().join("a")).unwrap();
    assert_eq!(upload.await.unwrap().unwrap(), Completed::Written);
    assert_eq!(status.snapshot().last_error, None);
    assert_eq!(fs::read(dir.path().join("a/x")).unwrap(), b"data");
}

#[tokio::test]
async fn prepare_says_which_root_cannot_be_written_to() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("file");
    fs::write(&root, "").unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o400)).unwrap();
    let error = sink(&root).prepare().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("cannot be written to") && cause.contains("/file"),
        "{cause}"
    );
}

#[tokio::test]
async fn the_digest_changes_with_the_place_and_the_names() {
    let [a, b] = ["/a", "/b"].map(|root| sink(Path::new(root)).digest());
    assert_ne!(a, b);
    let other = Directory::new("/a", rules("q/"), io(), clock(), rng());
    assert_ne!(a, other.digest());
    assert_eq!(a, sink(Path::new("/a")).digest());
}
