//! A blob store against a map: drawn steps, and what must be there after each.

use std::collections::BTreeMap;

use bytes::Bytes;
use connectors::Blobs;
use connectors::blobs::Error;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Step {
    Put(usize, u8),
    Create(usize, u8),
    Stream(usize, u8, bool),
    Delete(usize),
    DeletePrefix(usize),
    List(usize),
}

const KEYS: [&str; 6] = ["a/1", "a/2", "a/b/3", "ab/4", "c", "d/e/f/5"];
const PREFIXES: [&str; 5] = ["a", "a/b/", "ab", "d/e", "d"];

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..KEYS.len(), any::<u8>()).prop_map(|(key, byte)| Step::Put(key, byte)),
        (0..KEYS.len(), any::<u8>()).prop_map(|(key, byte)| Step::Create(key, byte)),
        (0..KEYS.len(), any::<u8>(), any::<bool>()).prop_map(|(key, byte, end)| Step::Stream(key, byte, end)),
        (0..KEYS.len()).prop_map(Step::Delete),
        (0..PREFIXES.len()).prop_map(Step::DeletePrefix),
        (0..PREFIXES.len()).prop_map(Step::List),
    ]
}

pub async fn follow(blobs: &Blobs, steps: &[Step]) {
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
