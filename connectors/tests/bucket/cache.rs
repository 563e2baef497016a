//! Copies of blobs on this machine.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use connectors::Blobs;
use connectors::blobs::Error;
use schemas::Claim;
use sha2::{Digest, Sha256};

use super::proxy::{Fault, Seen};
use super::server::{with_faults, with_store};
use crate::suite::blobs::noise;

fn contents(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Names of the copies, without the boot that each ends with.
fn copies(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.map(|name| name.strip_suffix(&boot()).unwrap_or(&name).to_owned()).collect();
    names.sort();
    names
}

fn boot() -> String {
    format!(".{}", &std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()[..8])
}

fn name(claim: &Claim) -> String {
    let key = claim.uri.strip_prefix("blob:").unwrap();
    let of_key = schemas::id::hex(&Sha256::digest(key));
    format!("{}-{}-{}", &of_key[..16], claim.sha256, claim.size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_want_one_blob_fetch_it_once() {
    with_faults(
        "the cache",
        |_| Fault::Nothing,
        |proxy, blobs, _| async move {
            let folder = tempfile::tempdir().unwrap();
            let bytes = noise(40_000_001);
            let claim = blobs.put("jobs/a/source", bytes.clone().into()).await.unwrap();
            // Two stores are two processes: they share nothing but the folder.
            let stores = [0, 1].map(|_| blobs.clone().with_cache(folder.path(), 1 << 30).unwrap());
            let openers: Vec<_> = (0..8)
                .map(|n| {
                    let (blobs, claim) = (stores[n % 2].clone(), claim.clone());
                    tokio::spawn(async move { blobs.open_claim(&claim, false).await.unwrap() })
                })
                .collect();
            for opener in openers {
                assert!(contents(opener.await.unwrap()) == bytes);
            }
            assert_eq!(proxy.count(Seen::is_read), bytes.len().div_ceil(16 << 20), "each part comes once");
            assert_eq!(copies(folder.path()), [name(&claim)]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_room_for_so_much_and_what_is_in_use_stays() {
    with_store("the cache", |_, blobs| async move {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs.with_cache(folder.path(), 250_000).unwrap();
        let mut claims = Vec::new();
        for n in 0..5_u8 {
            claims.push(blobs.put(&format!("{n}"), vec![n; 100_000].into()).await.unwrap());
        }
        let open = async |n: usize| blobs.open_claim(&claims[n], false).await.unwrap();
        let used = open(0).await;
        drop(open(1).await);
        drop(open(2).await);
        let mut left = [name(&claims[0]), name(&claims[2])];
        left.sort();
        assert_eq!(copies(folder.path()), left, "the longest unused goes, though 0 is older: it is in use");
        assert_eq!(contents(used), vec![0; 100_000]);
        let (three, four) = (open(3).await, open(4).await);
        let mut left = [name(&claims[3]), name(&claims[4])];
        left.sort();
        assert_eq!(copies(folder.path()), left);
        drop((three, four));
        let large = blobs.put("large", noise(400_000).into()).await.unwrap();
        assert_eq!(contents(blobs.open_claim(&large, false).await.unwrap()), noise(400_000), "one always fits");
        assert_eq!(copies(folder.path()), [name(&large)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_what_was_claimed_or_there_is_none() {
    let mut changed = 0;
    let plan = move |seen: &Seen| {
        if seen.is_read() && changed < 2 {
            changed += 1;
            return if changed == 1 { Fault::ChangedAnswer } else { Fault::Cut };
        }
        Fault::Nothing
    };
    with_faults("the cache", plan, |_proxy, blobs, _| async move {
        let folder = tempfile::tempdir().unwrap();
        let cached = blobs.clone().with_cache(folder.path(), 1 << 30).unwrap();
        let claim = blobs.put("a", noise(5_000_000).into()).await.unwrap();
        assert!(contents(cached.open_claim(&claim, true).await.unwrap()) == noise(5_000_000));

        blobs.put("a", noise(5_000_001).into()).await.unwrap();
        assert!(cached.open_claim(&claim, true).await.is_ok(), "what was claimed is still at hand");
        let lies = [
            Claim { sha256: "0".repeat(64), size: 5_000_001, ..claim.clone() },
            Claim { size: 7, ..claim.clone() },
            Claim { sha256: "../../etc/passwd".into(), ..claim.clone() },
        ];
        for lie in lies {
            let refused = cached.open_claim(&lie, true).await;
            assert!(matches!(&refused, Err(Error::Mismatch { .. })), "{refused:?}");
        }
        let missing = Claim { uri: "blob:nothing".into(), sha256: "0".repeat(64), size: 1 };
        assert!(matches!(cached.open_claim(&missing, true).await, Err(Error::NotFound(_))));
        let foreign = Claim { uri: "s3://other/a".into(), ..claim.clone() };
        assert!(matches!(cached.open_claim(&foreign, true).await, Err(Error::Foreign { .. })));
        assert_eq!(copies(folder.path()), [name(&claim)], "nothing half made stays");
        drop(_proxy);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_and_what_somebody_shortened_is_made_again() {
    with_store("the cache", |_, blobs: Blobs| async move {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs.with_cache(folder.path(), 1 << 30).unwrap();
        let claim = blobs.put("a", noise(300_000).into()).await.unwrap();
        let other = blobs.put("b", "b".into()).await.unwrap();
        std::fs::write(folder.path().join(format!("{}.part", name(&claim))), vec![7; 900_000]).unwrap();
        std::fs::write(folder.path().join(format!("{}-9.part", "1".repeat(64))), "half").unwrap();
        std::fs::write(folder.path().join(name(&other) + &boot()), "").unwrap();
        // Of a machine that lost its power a while ago.
        std::fs::write(folder.path().join(name(&claim) + ".12345678"), vec![0; 300_000]).unwrap();
        assert_eq!(contents(blobs.open_claim(&claim, false).await.unwrap()), noise(300_000));
        assert_eq!(contents(blobs.open_claim(&other, false).await.unwrap()), b"b");
        let mut left = [name(&claim), name(&other)];
        left.sort();
        assert_eq!(copies(folder.path()), left);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_here_and_kept_is_not_fetched() {
    with_faults(
        "the cache",
        |_| Fault::Nothing,
        |proxy, blobs, _| async move {
            let folder = tempfile::tempdir().unwrap();
            let blobs = blobs.with_cache(folder.path(), 100_000_000).unwrap();
            let bytes = noise(20_000_001);
            let mut writer = blobs.kept_writer("jobs/a/source").await.unwrap();
            for piece in bytes.chunks(70_001) {
                writer.write(piece.to_vec().into()).await.unwrap();
            }
            assert_eq!(copies(folder.path()).len(), 1);
            let claim = writer.finish().await.unwrap();
            assert_eq!(copies(folder.path()), [name(&claim)]);
            assert!(contents(blobs.open_claim(&claim, true).await.unwrap()) == bytes);
            assert_eq!(proxy.count(Seen::is_read), 0, "its bytes are here");

            // What is broken off leaves nothing, and what is larger than the room is not kept.
            let mut broken = blobs.kept_writer("jobs/b/source").await.unwrap();
            broken.write(noise(3_000_000).into()).await.unwrap();
            drop(broken);
            assert_eq!(copies(folder.path()), [name(&claim)]);
            let mut large = blobs.kept_writer("jobs/c/source").await.unwrap();
            for _ in 0..70 {
                large.write(noise(2_000_000).into()).await.unwrap();
            }
            assert_eq!(large.finish().await.unwrap().size, 140_000_000);
            assert_eq!(copies(folder.path()), [] as [String; 0]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_key_are_gone_when_they_are_forgotten() {
    with_store("the cache", |_, blobs| async move {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs.with_cache(folder.path(), 1 << 30).unwrap();
        let bytes = noise(300_001);
        let claim = blobs.put("jobs/a/source", bytes.clone().into()).await.unwrap();
        let other = blobs.put("jobs/b/source", bytes.clone().into()).await.unwrap();
        let mut open = blobs.open_claim(&claim, false).await.unwrap();
        drop(blobs.open_claim(&other, false).await.unwrap());
        blobs.forget("jobs/a/source").await.unwrap();
        assert_eq!(copies(folder.path()), [name(&other)], "the same bytes of another job stay");
        let mut read = Vec::new();
        open.read_to_end(&mut read).unwrap();
        assert!(read == bytes, "whoever has it open reads on");
        assert!(
            contents(blobs.open_claim(&claim, false).await.unwrap()) == bytes,
            "it is there again when it is wanted"
        );
        blobs.forget("jobs/c/source").await.unwrap();
        assert_eq!(copies(folder.path()).len(), 2);
    })
    .await;
}
