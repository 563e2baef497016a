//! Blob stores against a map, and what a folder looks like from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use connectors::Blobs;
use proptest::prelude::*;

mod suite {
    pub mod blob_model;
}

use suite::blob_model::{follow, step};

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn an_unfinished_blob_leaves_nothing_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::in_folder(folder.path()).unwrap();
    let empty = everything_in(folder.path());
    for bytes in [0, 10, 3 << 20, 30 << 20] {
        let mut writer = blobs.writer("jobs/a/source").await.unwrap();
        for piece in vec![7; bytes].chunks(1 << 18) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.abort().await.unwrap();
        assert_eq!(everything_in(folder.path()), empty);
    }
    assert!(blobs.create("a/b", "x".into()).await.is_ok() && blobs.create("a/b", "x".into()).await.is_err());
    blobs.delete_prefix("a").await.unwrap();
    assert_eq!(everything_in(folder.path()), empty, "empty folders go as well");
}

#[tokio::test]
async fn a_wait_for_the_disk_may_be_dropped_and_the_writer_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::in_folder(folder.path()).unwrap();
    let mut writer = blobs.writer("a").await.unwrap();
    for _ in 0..20 {
        writer.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    drop(writer);
    // The piece in the works ends before its file goes; that takes a moment, and no process may be needed for it.
    let gone = || everything_in(&folder.path().join(".incoming")).is_empty();
    for _ in 0..1000 {
        if gone() {
            return;
        }
        tokio::task::spawn_blocking(|| std::thread::sleep(std::time::Duration::from_millis(5))).await.unwrap();
    }
    panic!("a dropped writer leaves its file");
}

#[tokio::test]
async fn leftovers_of_a_crash_go_and_files_being_written_stay() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::in_folder(folder.path()).unwrap();
    let leftover = folder.path().join(".incoming/12345-0#1");
    std::fs::write(&leftover, "half").unwrap();
    let mut writer = blobs.writer("a").await.unwrap();
    writer.write("whole".into()).await.unwrap();
    let other = Blobs::in_folder(folder.path()).unwrap();
    assert!(!leftover.exists());
    writer.finish().await.unwrap();
    assert_eq!(other.read("a").await.unwrap(), "whole");
    assert_eq!(other.path("a").unwrap(), folder.path().canonicalize().unwrap().join("a"));
    let claim = schemas::Claim { uri: "blob:a".into(), size: 5, sha256: "0".repeat(64) };
    assert_eq!(other.open_claim(&claim, false).await.unwrap().metadata().unwrap().len(), 5);
    for (lie, is_doubted) in [(schemas::Claim { size: 4, ..claim.clone() }, false), (claim.clone(), true)] {
        let refused = other.open_claim(&lie, is_doubted).await;
        assert!(matches!(refused, Err(connectors::blobs::Error::Mismatch { .. })), "{refused:?}");
    }
    assert_eq!(other.path("../a"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn stores_follow_a_map(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            follow(&Blobs::in_memory(), &steps).await;
            let folder = tempfile::tempdir().unwrap();
            follow(&Blobs::in_folder(folder.path()).unwrap(), &steps).await;
        });
    }
}
