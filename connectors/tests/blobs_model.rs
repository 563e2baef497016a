//! Blob stores against a map, and what a folder looks like from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use connectors::Blobs;
use connectors::blobs::Error;
use proptest::prelude::*;

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
    assert_eq!(other.open_file("a").await.unwrap().unwrap().metadata().unwrap().len(), 5);
    assert_eq!(other.path("../a"), None);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8),
    Create(usize, u8),
    Stream(usize, u8, bool),
    Delete(usize),
    DeletePrefix(usize),
    List(usize),
}

const KEYS: [&str; 6] = ["a/1", "a/2", "a/b/3", "ab/4", "c", "d/e/f/5"];
const PREFIXES: [&str; 5] = ["a", "a/b/", "ab", "d/e", "d"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..KEYS.len(), any::<u8>()).prop_map(|(key, byte)| Step::Put(key, byte)),
        (0..KEYS.len(), any::<u8>()).prop_map(|(key, byte)| Step::Create(key, byte)),
        (0..KEYS.len(), any::<u8>(), any::<bool>()).prop_map(|(key, byte, end)| Step::Stream(key, byte, end)),
        (0..KEYS.len()).prop_map(Step::Delete),
        (0..PREFIXES.len()).prop_map(Step::DeletePrefix),
        (0..PREFIXES.len()).prop_map(Step::List),
    ]
}

async fn follow(blobs: &Blobs, steps: &[Step]) {
    let mut model: BTreeMap<String, Bytes> = BTreeMap::new();
    let below = |key: &str, prefix: &str| key.starts_with(&format!("{}/", prefix.trim_end_matches('/')));
    for step in steps {
        match step.clone() {
            Step::Put(key, byte) => {
                let bytes = Bytes::from(vec![byte; usize::from(byte)]);
                let claim = blobs.put(KEYS[key], bytes.clone()).await.unwrap();
                assert_eq!(blobs.verify(&claim).await.unwrap(), KEYS[key]);
                model.insert(KEYS[key].into(), bytes);
            }
            Step::Create(key, byte) => {
                let bytes = Bytes::from(vec![byte; usize::from(byte)]);
                match blobs.create(KEYS[key], bytes.clone()).await {
                    Ok(_) => assert!(model.insert(KEYS[key].into(), bytes).is_none()),
                    Err(error) => {
                        assert!(matches!(error, Error::AlreadyExists(_)) && model.contains_key(KEYS[key]));
                    }
                }
            }
            Step::Stream(key, byte, end) => {
                let mut writer = blobs.writer(KEYS[key]).await.unwrap();
                writer.write(Bytes::from(vec![byte; 3])).await.unwrap();
                writer.write(Bytes::from(vec![byte; 4])).await.unwrap();
                if end {
                    writer.finish().await.unwrap();
                    model.insert(KEYS[key].into(), vec![byte; 7].into());
                } else {
                    writer.abort().await.unwrap();
                }
            }
            Step::Delete(key) => {
                blobs.delete(KEYS[key]).await.unwrap();
                model.remove(KEYS[key]);
            }
            Step::DeletePrefix(prefix) => {
                let before = model.len();
                model.retain(|key, _| !below(key, PREFIXES[prefix]));
                let removed = blobs.delete_prefix(PREFIXES[prefix]).await.unwrap();
                assert_eq!(removed, (before - model.len()) as u64);
            }
            Step::List(prefix) => {
                let found = blobs.list(PREFIXES[prefix]).await.unwrap();
                let found: Vec<(String, u64)> = found.into_iter().map(|meta| (meta.key, meta.size)).collect();
                let expected: Vec<(String, u64)> = model
                    .iter()
                    .filter(|(key, _)| below(key, PREFIXES[prefix]))
                    .map(|(key, bytes)| (key.clone(), bytes.len() as u64))
                    .collect();
                assert_eq!(found, expected);
            }
        }
    }
    for key in KEYS {
        match model.get(key) {
            Some(bytes) => assert_eq!(blobs.read(key).await.unwrap(), bytes),
            None => assert!(matches!(blobs.read(key).await, Err(Error::NotFound(_)))),
        }
    }
    assert_eq!(blobs.usage().await.unwrap(), model.values().map(|bytes| bytes.len() as u64).sum::<u64>());
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
