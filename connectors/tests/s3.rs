//! Blobs in a bucket of a real S3 server: the suite of all stores, a bad network, and what is special about buckets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::Blobs;
use connectors::blobs::Error;
use connectors::blobs::s3::{self, Keys, Settings, Trouble};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::Claim;

mod bucket {
    pub mod cache;
    pub mod proxy;
    pub mod server;
}
mod suite {
    pub mod blob_model;
    pub mod blobs;
}

use bucket::proxy::{Fault, Seen};
use bucket::server::{with_faults, with_store};
use suite::blobs::noise;

macro_rules! suite {
    ([$($check:ident),* $(,)?]) => {
        mod conformance {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::with_store("the suite of blob stores", |_, blobs| super::suite::blobs::$check(blobs)).await;
            })*
        }
        /// Through a network on which a tenth of all requests meets a busy server, and more goes wrong.
        mod bad_network {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let plan = super::misfortune(stringify!($check).len() as u64);
                super::with_faults("the suite on a bad network", plan, |_proxy, blobs, _| async move {
                    super::suite::blobs::$check(blobs).await;
                    drop(_proxy);
                }).await;
            })*
        }
    };
}

suite!([
    blobs_come_back_whole_and_in_ranges,
    big_and_empty_blobs_are_written_in_pieces,
    a_put_replaces_and_a_create_does_not,
    of_many_creators_one_wins,
    unfinished_blobs_are_never_seen,
    what_is_not_there_is_not_found,
    claims_that_lie_are_found_out,
    prefixes_are_folders,
    bad_keys_are_refused,
    writers_and_removers_of_one_folder_do_not_trip,
    a_blob_grows_over_many_writers_some_of_which_die,
    a_growing_blob_with_its_sum_is_not_read_again_and_one_that_is_given_up_leaves_nothing,
]);

/// Bad luck of all kinds but one: bytes of a range that come changed over plain HTTP cannot be told from good ones.
fn misfortune(seed: u64) -> impl FnMut(&Seen) -> Fault + Send + 'static {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut calm = 3;
    move |_| {
        // The bucket is opened in good weather.
        if calm > 0 {
            calm -= 1;
            return Fault::Nothing;
        }
        match dice.random_range(0..100) {
            0..10 => Fault::Busy,
            10..13 => Fault::Lost,
            13..16 => Fault::ChangedRequest,
            16..20 => Fault::Cut,
            20..23 => Fault::Slow,
            23..25 => Fault::Reset,
            _ => Fault::Nothing,
        }
    }
}

/// Does `fault` to the first request that `wanted` picks.
fn once(fault: Fault, wanted: impl Fn(&Seen) -> bool + Send + 'static) -> impl FnMut(&Seen) -> Fault + Send + 'static {
    let mut is_done = false;
    move |seen| {
        if is_done || !wanted(seen) {
            return Fault::Nothing;
        }
        is_done = true;
        fault
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_says_so_and_is_used_again_when_there_is_room() {
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let plan = move |seen: &Seen| match seen.method != "GET" && full.load(Ordering::SeqCst) {
        true => Fault::Full,
        false => Fault::Nothing,
    };
    with_faults("a full store", plan, move |proxy, blobs, _| async move {
        blobs.put("before", "one".into()).await.unwrap();
        is_full.store(true, Ordering::SeqCst);
        assert!(matches!(blobs.put("small", "two".into()).await, Err(Error::Full)));
        let mut writer = blobs.writer("big").await.unwrap();
        let written = async {
            for _ in 0..40 {
                writer.write(vec![7; 1 << 20].into()).await?;
            }
            writer.finish().await
        };
        assert!(matches!(written.await, Err(Error::Full)));
        assert_eq!(blobs.read("before").await.unwrap(), "one");
        is_full.store(false, Ordering::SeqCst);
        blobs.put("small", "two".into()).await.unwrap();
        assert!(blobs.read("big").await.is_err(), "half of a blob is none");
        drop(proxy);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_creators_of_each_of_twenty_keys_one_wins() {
    with_store("the race of creators", |_, blobs| async move {
        let wins: Arc<Mutex<Vec<(usize, Claim)>>> = Arc::default();
        let racers: Vec<_> = (0..16_usize)
            .flat_map(|racer| (0..20_usize).map(move |key| (racer, key)))
            .map(|(racer, key)| {
                let (blobs, wins) = (blobs.clone(), Arc::clone(&wins));
                tokio::spawn(async move {
                    match blobs.create(&format!("race/{key}"), format!("{racer}").into()).await {
                        Ok(claim) => wins.lock().unwrap().push((key, claim)),
                        Err(error) => assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}"),
                    }
                })
            })
            .collect();
        for racer in racers {
            racer.await.unwrap();
        }
        let mut wins = std::mem::take(&mut *wins.lock().unwrap());
        wins.sort_by_key(|(key, _)| *key);
        assert_eq!(wins.iter().map(|(key, _)| *key).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        for (_, claim) in wins {
            blobs.verify(&claim).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_whose_answer_is_lost_is_ours_all_the_same() {
    let plan = once(Fault::Lost, |seen| seen.method == "PUT");
    with_faults("a lost answer", plan, |proxy, blobs, _| async move {
        let claim = blobs.create("only", "one".into()).await.unwrap();
        assert!(proxy.count(|seen| seen.method == "PUT") > 1, "the answer was lost");
        blobs.verify(&claim).await.unwrap();
        assert!(matches!(blobs.create("only", "one".into()).await, Err(Error::AlreadyExists(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_last_answer_is_lost_is_there() {
    let plan = once(Fault::Lost, |seen| seen.method == "POST" && seen.target.contains("uploadId"));
    with_faults("a lost answer", plan, |_proxy, blobs, _| async move {
        let bytes = noise(20 << 20);
        let mut writer = blobs.writer("big").await.unwrap();
        for piece in bytes.chunks(1 << 20) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let claim = writer.finish().await.unwrap();
        blobs.verify(&claim).await.unwrap();
        assert_eq!(blobs.give_up_unfinished(i64::MAX, &|_| false).await.unwrap(), 0);
        drop(_proxy);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_reads_notice_changed_bytes() {
    let mut changed = 0;
    let plan = move |seen: &Seen| {
        if seen.is_read() && changed < 2 {
            changed += 1;
            return Fault::ChangedAnswer;
        }
        Fault::Nothing
    };
    with_faults("changed bytes", plan, |proxy, blobs, _| async move {
        let claim = blobs.put("small", noise(100_000).into()).await.unwrap();
        assert_eq!(blobs.read("small").await.unwrap(), noise(100_000));
        assert_eq!(proxy.count(Seen::is_read), 3, "two of them were changed");
        blobs.verify(&claim).await.unwrap();
    })
    .await;
    let plan = once(Fault::ChangedAnswer, Seen::is_read);
    with_faults("changed bytes", plan, |_proxy, blobs, _| async move {
        let claim = blobs.put("a", noise(900_000).into()).await.unwrap();
        assert_eq!(blobs.verify(&claim).await.unwrap(), "a", "one changed read does not condemn a blob");
        drop(_proxy);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_an_error_in_bounded_time_and_no_more_when_it_is_back() {
    with_faults(
        "a store that is away",
        |_| Fault::Nothing,
        |proxy, blobs, settings| async move {
            blobs.put("here", "before".into()).await.unwrap();
            for is_silent in [false, true] {
                if is_silent {
                    proxy.fall_silent()
                } else {
                    proxy.hang_up()
                }
                let begun = Instant::now();
                let (put, create, read, list, check) = tokio::join!(
                    blobs.put("other", "x".into()),
                    blobs.create("third", "x".into()),
                    blobs.read("here"),
                    blobs.list(""),
                    blobs.check(),
                );
                for error in [put.err(), create.err(), read.err(), list.err(), check.err()] {
                    assert!(matches!(error, Some(Error::Store { .. })), "{error:?}");
                }
                let trouble = s3::diagnose(&settings).await.unwrap_err();
                assert!(matches!(trouble, Trouble::Unreachable { .. }), "{trouble:?}");
                let patience = &settings.patience;
                let bound = 2 * (patience.retry + patience.request + patience.read) + Duration::from_secs(10);
                assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
                proxy.come_back();
                assert_eq!(blobs.read("here").await.unwrap(), "before");
                blobs.put("here", "before".into()).await.unwrap();
            }
            assert!(blobs.list("").await.unwrap().iter().all(|meta| meta.key != "other"), "nothing was half written");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_a_crash_leaves_are_collected_and_a_dropped_writer_collects_its_own() {
    with_faults(
        "unfinished uploads",
        |_| Fault::Nothing,
        |proxy, blobs, _| async move {
            let half = async |key: &str| {
                let mut writer = blobs.writer(key).await.unwrap();
                for piece in noise(20 << 20).chunks(1 << 20) {
                    writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                writer
            };
            drop(half("dropped").await);
            let is_abort = |seen: &Seen| seen.method == "DELETE" && seen.target.contains("uploadId");
            let begun = Instant::now();
            while proxy.count(is_abort) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(20), "a dropped writer gives its parts up");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(blobs.give_up_unfinished(i64::MAX, &|_| false).await.unwrap(), 0);

            std::mem::forget(half("crashed & <odd>").await);
            let living = half("living").await;
            assert_eq!(blobs.give_up_unfinished(0, &|_| false).await.unwrap(), 0, "young ones are alive");
            assert_eq!(blobs.give_up_unfinished(i64::MAX, &|_| false).await.unwrap(), 2);
            assert_eq!(blobs.give_up_unfinished(i64::MAX, &|_| false).await.unwrap(), 0);
            let refused = living.finish().await;
            assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
            assert!(blobs.list("").await.unwrap().is_empty());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_the_network_may_be_dropped_and_the_writer_used_again() {
    with_store("dropped waits", |_, blobs| async move {
        let bytes = noise(50 << 20);
        let mut writer = blobs.writer("a").await.unwrap();
        let mut dropped = 0;
        for piece in bytes.chunks(3 << 20) {
            let wait =
                tokio::time::timeout(Duration::from_millis(1), writer.write(Bytes::copy_from_slice(piece))).await;
            dropped += usize::from(wait.is_err());
        }
        assert!(dropped > 0, "some waits were long enough to be dropped");
        let claim = writer.finish().await.unwrap();
        blobs.verify(&claim).await.unwrap();
        assert!(suite::blobs::collect(&blobs, "a", None).await == bytes);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_replaced_while_it_is_read_is_an_error_and_no_mixture() {
    with_store("a replaced blob", |_, blobs| async move {
        use futures::TryStreamExt;
        let (old, new) = (vec![1_u8; 12 << 20], vec![2_u8; 12 << 20]);
        blobs.put("a", old.into()).await.unwrap();
        let mut pieces = blobs.get("a", None).await.unwrap();
        let first = pieces.try_next().await.unwrap().unwrap();
        assert!(first.iter().all(|byte| *byte == 1));
        blobs.put("a", new.into()).await.unwrap();
        let outcome = loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => assert!(piece.iter().all(|byte| *byte == 1), "old and new are mixed"),
                other => break other,
            }
        };
        assert!(matches!(&outcome, Err(Error::Mismatch { .. })), "{outcome:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_may_name_the_bucket_and_no_other_place() {
    with_store("claims", |settings, blobs| async move {
        let claim = blobs.put("drop/holiday 1.mov", "bytes".into()).await.unwrap();
        let outside = |uri: String| Claim { uri, ..claim.clone() };
        let own = settings.uri();
        for uri in [format!("{own}/drop/holiday 1.mov"), format!("{own}/drop/holiday%201.mov")] {
            assert_eq!(blobs.verify(&outside(uri)).await.unwrap(), "drop/holiday 1.mov");
        }
        for uri in [
            "s3://other/drop/holiday 1.mov".to_owned(),
            format!("{own}x/drop/holiday 1.mov"),
            format!("{own}/../holiday 1.mov"),
            "file:///etc/passwd".to_owned(),
            "http://127.0.0.1/x".to_owned(),
            "drop/holiday 1.mov".to_owned(),
        ] {
            let refused = blobs.verify(&outside(uri.clone())).await.unwrap_err();
            assert!(matches!(refused, Error::Foreign { .. }), "{refused:?}");
            let said = refused.to_string();
            assert!(said.contains(&uri) && said.contains(&own), "{said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_bucket_is_told_apart() {
    with_store("the diagnosis", |settings, _| async move {
        let keys = |id: &str, secret: &str| Some(Keys { id: id.into(), secret: secret.into(), token: None });
        s3::diagnose(&settings).await.unwrap();
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = settings.clone();
            change(&mut settings);
            async move { s3::diagnose(&settings).await.unwrap_err() }
        };
        let trouble = wrong(|settings| settings.bucket = "no-such-bucket-here".into()).await;
        assert!(matches!(trouble, Trouble::NoBucket { .. }), "{trouble:?}");
        let trouble = wrong(|settings| settings.endpoint = Some("http://127.0.0.1:9".into())).await;
        assert!(matches!(trouble, Trouble::Unreachable { .. }), "{trouble:?}");
        let unknown = Settings { keys: keys("nobody", "streamforge"), ..settings.clone() };
        let trouble = s3::diagnose(&unknown).await.unwrap_err();
        assert!(matches!(trouble, Trouble::BadKey(_)), "{trouble:?}");
        let secret = Settings { keys: keys(&settings.keys.as_ref().unwrap().id, "hidden"), ..settings.clone() };
        let trouble = s3::diagnose(&secret).await.unwrap_err();
        assert_eq!(trouble, Trouble::BadSecret);
        assert!(!format!("{trouble} {secret:?}").contains("hidden"));
        assert!(Blobs::in_bucket(&secret).await.is_err());
    })
    .await;
}

#[test]
fn a_bucket_follows_a_map() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let drawn = AtomicUsize::new(0);
    let steps = prop::collection::vec(suite::blob_model::step(), 1..20);
    if bucket::server::settings("the model of blob stores").is_none() {
        return;
    }
    let config =
        ProptestConfig { cases: 6, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps)| {
        drawn.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(with_store("the model of blob stores", |_, blobs| async move {
            suite::blob_model::follow(&blobs, &steps).await;
        }));
    });
    assert!(drawn.into_inner() >= 6);
}
