//! What every blob store must do. Keys are the same in each check, so each wants a store of its own.

use bytes::Bytes;
use connectors::Blobs;
use connectors::blobs::{Error, Growing};
use futures::TryStreamExt;
use schemas::Claim;

pub async fn collect(blobs: &Blobs, key: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let pieces: Vec<Bytes> = blobs.get(key, range).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

pub fn noise(count: usize) -> Vec<u8> {
    (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn write(blobs: &Blobs, key: &str, bytes: &[u8], piece: usize) -> Claim {
    let mut writer = blobs.writer(key).await.unwrap();
    for piece in bytes.chunks(piece) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(writer.written(), bytes.len() as u64);
    writer.finish().await.unwrap()
}

fn keys(metas: &[connectors::blobs::Meta]) -> Vec<&str> {
    metas.iter().map(|meta| meta.key.as_str()).collect()
}

pub async fn blobs_come_back_whole_and_in_ranges(blobs: Blobs) {
    let bytes = noise(1_000_003);
    let claim = write(&blobs, "jobs/a/source", &bytes, 70_001).await;
    assert_eq!((claim.uri.as_str(), claim.size), ("blob:jobs/a/source", 1_000_003));
    assert_eq!(blobs.verify(&claim).await.unwrap(), "jobs/a/source");
    assert_eq!(blobs.read("jobs/a/source").await.unwrap(), bytes);
    assert_eq!(collect(&blobs, "jobs/a/source", None).await, bytes);
    for range in [0..1, 5..300_000, 262_143..262_145, 0..1_000_003, 1_000_002..1_000_003] {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert_eq!(collect(&blobs, "jobs/a/source", Some(range)).await, expected);
    }
    for range in [0..1_000_004, 1_000_003..1_000_004, 5..5, 2_000_000..2_000_001] {
        let refused = blobs.get("jobs/a/source", Some(range.clone())).await.err();
        assert!(matches!(refused, Some(Error::BadRange { .. })), "{range:?}");
    }
}

pub async fn big_and_empty_blobs_are_written_in_pieces(blobs: Blobs) {
    let bytes = noise(40 << 20);
    let claim = write(&blobs, "big", &bytes, 300_000).await;
    blobs.verify(&claim).await.unwrap();
    assert_eq!(blobs.head("big").await.unwrap().size, bytes.len() as u64);
    let empty = write(&blobs, "empty", &[], 1).await;
    assert_eq!(empty.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    blobs.verify(&empty).await.unwrap();
    assert!(blobs.read("empty").await.unwrap().is_empty());
    assert!(collect(&blobs, "empty", None).await.is_empty());
    assert_eq!(blobs.usage().await.unwrap(), bytes.len() as u64);
}

pub async fn a_put_replaces_and_a_create_does_not(blobs: Blobs) {
    blobs.put("a/b", "one".into()).await.unwrap();
    let claim = blobs.put("a/b", "two!".into()).await.unwrap();
    assert_eq!(claim, Claim { size: 4, ..blobs.put("a/b", "two!".into()).await.unwrap() });
    let refused = blobs.create("a/b", "three".into()).await;
    assert!(matches!(&refused, Err(Error::AlreadyExists(key)) if key == "a/b"), "{refused:?}");
    assert_eq!(blobs.read("a/b").await.unwrap(), "two!");
    let created = blobs.create("a/c", "new".into()).await.unwrap();
    blobs.verify(&created).await.unwrap();
    assert_eq!(keys(&blobs.list("").await.unwrap()), ["a/b", "a/c"]);
}

pub async fn of_many_creators_one_wins(blobs: Blobs) {
    let creators: Vec<_> = (0..16)
        .map(|number| {
            let blobs = blobs.clone();
            tokio::spawn(async move { blobs.create("x/only", format!("{number}").into()).await })
        })
        .collect();
    let mut winners = Vec::new();
    for creator in creators {
        match creator.await.unwrap() {
            Ok(claim) => winners.push(claim),
            Err(error) => assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    blobs.verify(&winners[0]).await.unwrap();
}

pub async fn unfinished_blobs_are_never_seen(blobs: Blobs) {
    blobs.put("jobs/a", "old".into()).await.unwrap();
    for (number, bytes) in [(0, 10), (1, 3 << 20), (2, 20 << 20)] {
        let mut writer = blobs.writer("jobs/a").await.unwrap();
        for piece in noise(bytes).chunks(1 << 19) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(blobs.read("jobs/a").await.unwrap(), "old", "{number}");
        assert_eq!(keys(&blobs.list("").await.unwrap()), ["jobs/a"]);
        assert_eq!(blobs.usage().await.unwrap(), 3);
        match number {
            0 | 2 => writer.abort().await.unwrap(),
            _ => drop(writer),
        }
    }
    let mut writer = blobs.writer("jobs/a").await.unwrap();
    writer.write("new".into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(blobs.read("jobs/a").await.unwrap(), "new");
}

pub async fn what_is_not_there_is_not_found(blobs: Blobs) {
    blobs.put("a/b", "x".into()).await.unwrap();
    for key in ["nothing", "a", "a/c", "a/b/c"] {
        let is_missing = |error: Option<Error>| matches!(error, Some(Error::NotFound(missing)) if missing == key);
        assert!(is_missing(blobs.head(key).await.err()), "head {key}");
        assert!(is_missing(blobs.read(key).await.err()), "read {key}");
        assert!(is_missing(blobs.get(key, None).await.err()), "get {key}");
        assert!(is_missing(blobs.get(key, Some(0..1)).await.err()), "range of {key}");
        blobs.delete(key).await.unwrap();
        let claim = Claim { uri: format!("blob:{key}"), size: 1, sha256: String::new() };
        assert!(is_missing(blobs.verify(&claim).await.err()));
    }
    assert_eq!(blobs.read("a/b").await.unwrap(), "x");
    assert_eq!(blobs.delete_prefix("nowhere").await.unwrap(), 0);
}

pub async fn claims_that_lie_are_found_out(blobs: Blobs) {
    let claim = blobs.put("a", "bytes".into()).await.unwrap();
    let short = Claim { size: 4, ..claim.clone() };
    let other = Claim { sha256: "0".repeat(64), ..claim.clone() };
    for lie in [short, other] {
        assert!(matches!(blobs.verify(&lie).await, Err(Error::Mismatch { .. })));
    }
    let outside = Claim { uri: "blob:../a".into(), ..claim.clone() };
    assert!(matches!(blobs.verify(&outside).await, Err(Error::Foreign { .. })));
    assert_eq!(blobs.resolve(&format!("{}/a", blobs.uri().trim_end_matches('/'))).unwrap(), "a");
}

pub async fn prefixes_are_folders(blobs: Blobs) {
    for key in ["jobs/a/1", "jobs/a/deep/er/2", "jobs/ab/3", "jobs/b/4", "top"] {
        blobs.put(key, key.into()).await.unwrap();
    }
    for prefix in ["jobs/a", "jobs/a/"] {
        let metas = blobs.list(prefix).await.unwrap();
        assert_eq!(keys(&metas), ["jobs/a/1", "jobs/a/deep/er/2"]);
        assert_eq!(metas[0].size, 8);
    }
    assert!(blobs.delete_prefix("").await.is_err(), "nobody removes everything by mistake");
    assert_eq!(blobs.delete_prefix("jobs/a/").await.unwrap(), 2);
    assert_eq!(blobs.delete_prefix("jobs/a").await.unwrap(), 0);
    assert_eq!(keys(&blobs.list("").await.unwrap()), ["jobs/ab/3", "jobs/b/4", "top"]);
}

pub async fn bad_keys_are_refused(blobs: Blobs) {
    for key in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\\b", "a\0", "x#1", ".incoming/x"]
    {
        assert!(blobs.put(key, "x".into()).await.is_err(), "{key:?}");
        assert!(blobs.writer(key).await.is_err(), "{key:?}");
        assert!(blobs.read(key).await.is_err(), "{key:?}");
    }
    for key in ["a b/ü%20.mp4", "a#b", "a#1x", "..."] {
        let claim = blobs.put(key, "x".into()).await.unwrap();
        assert_eq!(blobs.verify(&claim).await.unwrap(), key);
        assert_eq!(keys(&blobs.list("").await.unwrap()), [key]);
        blobs.delete(key).await.unwrap();
    }
    blobs.check().await.unwrap();
}

pub async fn writers_and_removers_of_one_folder_do_not_trip(blobs: Blobs) {
    let removing = tokio::spawn({
        let blobs = blobs.clone();
        async move {
            for _ in 0..60 {
                blobs.delete_prefix("jobs/x").await.unwrap();
            }
        }
    });
    for round in 0..30 {
        blobs.put(&format!("jobs/x/{round}/a"), "x".into()).await.unwrap();
    }
    removing.await.unwrap();
    blobs.put("jobs/x/last", "x".into()).await.unwrap();
    assert_eq!(blobs.read("jobs/x/last").await.unwrap(), "x");
}

pub async fn a_blob_grows_over_many_writers_some_of_which_die(blobs: Blobs) {
    let bytes = noise((20 << 20) + 77);
    let growing = blobs.begin_growing("jobs/g/source", "uploads/g").await.unwrap();
    // As it is kept by its caller.
    let growing: Growing = serde_json::from_str(&serde_json::to_string(&growing).unwrap()).unwrap();
    assert_eq!(blobs.grown(&growing).await.unwrap(), 0);
    let (mut durable, mut sum) = (0, None);
    // Stretches of all sizes: a byte, just a part, a little more, several parts.
    for (number, until) in [1, 4096, 8 << 20, (8 << 20) + 1, 18 << 20, (20 << 20) + 77].into_iter().enumerate() {
        // Every other writer comes without the sum, as after a crash.
        let mut appender = blobs.appender(&growing, if number % 2 == 0 { sum } else { None }).await.unwrap();
        assert_eq!(appender.size(), durable as u64);
        for piece in bytes[durable..until].chunks(1_000_000) {
            appender.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let (settled, next) = appender.settle().await.unwrap();
        assert_eq!(settled, until as u64);
        (durable, sum) = (until, next);
        drop(appender);
        assert_eq!(blobs.grown(&growing).await.unwrap(), durable as u64);
        assert!(matches!(blobs.head("jobs/g/source").await, Err(Error::NotFound(_))), "it is not whole yet");
        if number == 3 {
            // One that dies before it settles: some of its bytes may be there, none of them wrong.
            let mut killed = blobs.appender(&growing, None).await.unwrap();
            killed.write(Bytes::copy_from_slice(&bytes[durable..durable + 3_000_000])).await.unwrap();
            drop(killed);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let left = blobs.grown(&growing).await.unwrap() as usize;
            assert!((durable..=durable + 3_000_000).contains(&left));
            durable = left;
        }
    }
    let appender = blobs.appender(&growing, None).await.unwrap();
    let claim = appender.finish(&blobs, &growing).await.unwrap();
    assert_eq!(claim.size, bytes.len() as u64);
    assert_eq!(blobs.verify(&claim).await.unwrap(), "jobs/g/source");
    assert_eq!(blobs.read("jobs/g/source").await.unwrap(), bytes);
    // Whoever died after that finds it whole.
    assert_eq!(blobs.grown(&growing).await.unwrap(), claim.size);
    assert_eq!(blobs.claimed("jobs/g/source").await.unwrap(), claim);
    blobs.give_up_growing(&growing).await.unwrap();
    assert_eq!(keys(&blobs.list("").await.unwrap()), ["jobs/g/source"]);
}

pub async fn a_growing_blob_with_its_sum_is_not_read_again_and_one_that_is_given_up_leaves_nothing(blobs: Blobs) {
    let bytes = noise(9 << 20);
    let growing = blobs.begin_growing("jobs/h/source", "uploads/h/").await.unwrap();
    let mut appender = blobs.appender(&growing, None).await.unwrap();
    appender.write(Bytes::copy_from_slice(&bytes[..5_000_000])).await.unwrap();
    let (_, sum) = appender.settle().await.unwrap();
    // A sum of other bytes than lie there is of no use.
    let other = blobs.begin_growing("jobs/i/source", "uploads/i").await.unwrap();
    let mut wrong = blobs.appender(&other, sum.clone()).await.unwrap();
    wrong.write("few".into()).await.unwrap();
    let claim = wrong.finish(&blobs, &other).await.unwrap();
    blobs.verify(&claim).await.unwrap();
    let mut appender = blobs.appender(&growing, sum).await.unwrap();
    appender.write(Bytes::copy_from_slice(&bytes[5_000_000..])).await.unwrap();
    let claim = appender.finish(&blobs, &growing).await.unwrap();
    blobs.verify(&claim).await.unwrap();
    let lost = blobs.begin_growing("jobs/j/source", "uploads/j").await.unwrap();
    let mut appender = blobs.appender(&lost, None).await.unwrap();
    appender.write(Bytes::from(bytes)).await.unwrap();
    appender.settle().await.unwrap();
    drop(appender);
    assert!(blobs.usage().await.unwrap() > 0);
    for _ in 0..2 {
        for growing in [&growing, &other, &lost] {
            blobs.give_up_growing(growing).await.unwrap();
        }
    }
    assert!(blobs.list("uploads/").await.unwrap().is_empty());
    assert!(matches!(blobs.grown(&lost).await, Err(Error::NotFound(_))));
    assert!(blobs.appender(&lost, None).await.is_err());
}
