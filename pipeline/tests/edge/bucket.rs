//! An edge whose blobs lie in a bucket of a real S3 server.

use std::future::Future;
use std::time::Duration;

use connectors::blobs::s3::{Keys, Settings as BucketSettings, make_bucket};
use connectors::catalog::UploadIntent;
use connectors::{Blobs, Doors};
use pipeline::edge::Settings;
use pipeline::edge::sweep::{Sweeper, collect};
use schemas::JobId;
use schemas::event::JobDeleted;

use crate::house::{House, doors, eventually, video_bytes};
use crate::tus::Begun;
use crate::video::{Video, noise, row};

/// Runs `check` on doors in memory with a fresh folder of a bucket for blobs, and removes the folder.
async fn with_bucket<F>(what: &str, check: impl FnOnce(Doors, BucketSettings) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(endpoint) = std::env::var("STREAMFORGE_TEST_S3") else {
        println!("not run here: {what} needs SeaweedFS; ./dev engines up");
        return;
    };
    let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "streamforge".to_owned());
    let keys = Keys { id: key("STREAMFORGE_TEST_S3_KEY"), secret: key("STREAMFORGE_TEST_S3_SECRET"), token: None };
    let own = format!("{:032x}", rand::random::<u128>());
    let above = BucketSettings {
        endpoint: Some(endpoint),
        keys: Some(keys),
        ..BucketSettings::parse("s3://streamforge-tests/edge").unwrap()
    };
    make_bucket(&above).await.unwrap();
    let settings = BucketSettings { prefix: format!("edge/{own}"), ..above.clone() };
    let blobs = Blobs::in_bucket(&settings).await.unwrap();
    let doors = Doors { blobs, ..doors().await };
    let ran = tokio::spawn(check(doors, settings)).await;
    Blobs::in_bucket(&above).await.unwrap().delete_prefix(&own).await.unwrap();
    if let Err(error) = ran {
        std::panic::resume_unwind(error.into_panic());
    }
}

#[tokio::test]
async fn what_is_uploaded_lies_in_the_bucket_and_what_is_deleted_does_not() {
    with_bucket("an edge on a bucket", |doors, _| async move {
        let house = House::on(doors, Settings::default()).await.recording();
        let job = house.job().await;
        let source = format!("jobs/{job}/source");
        assert_eq!(house.doors.blobs.head(&source).await.unwrap().size, 5_000);
        house.doors.blobs.put("drop/by-somebody-else.mov", "theirs".into()).await.unwrap();
        house.publish(&JobDeleted { job, at: 1 }).await;
        eventually("the job's bytes are gone", || async {
            house.doors.blobs.list("jobs").await.unwrap().is_empty().then_some(())
        })
        .await;
        assert_eq!(
            house.doors.blobs.list("").await.unwrap().len(),
            1,
            "what a producer put there is not ours to remove"
        );
    })
    .await;
}

/// Bytes of a piece: smaller than any part of a bucket's object may be.
const PIECE: usize = 700_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_edges_take_one_resumable_upload_into_the_bucket_by_turns() {
    with_bucket("a resumable upload through two edges", |doors, _| async move {
        let shared = Settings { is_alone: false, ..Settings::default() };
        let (one, other) = (House::on(doors.clone(), shared.clone()).await, House::on(doors, shared).await);
        let bytes = video_bytes(13_000_000);
        let here = Begun::new(&one, bytes.len()).await;
        let there = here.at(&other);
        let mut offset = 0;
        for turn in 0..8 {
            let edge = if turn % 2 == 0 { &here } else { &there };
            assert_eq!(edge.offset().await, offset as u64, "each knows what the other has taken");
            let taken = edge.patch(offset as u64, &bytes[offset..offset + PIECE]).send().await.unwrap();
            assert_eq!(taken.status(), 204, "{}", taken.text().await.unwrap());
            offset += PIECE;
        }
        // A client that holds it through one edge, and breaks off, keeps it from the other for a moment and takes nothing along.
        let held = here.hold(offset as u64, &bytes[offset..offset + 2 * PIECE], bytes.len() - offset).await;
        // Whoever asks all the time has the lock itself; one question is enough once the first bytes are there.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(there.patch(offset as u64, b"").send().await.unwrap().status(), 423);
        drop(held);
        there.finish(&bytes).await;
        there.assert_is(&bytes).await;
    })
    .await;
}

#[tokio::test]
async fn a_video_in_a_bucket_plays_in_ranges() {
    with_bucket("playing from a bucket", |doors, _| async move {
        let house = House::on(doors, Settings::default()).await;
        let video = Video::make(&house.doors, JobId::from_parts(1_700_000_000_000, 7), 3).await;
        row(&house.doors, video.job).await;
        video.publish(&house.doors).await;
        let url = house.url(&format!("/api/stream/{}/360p", video.job));
        let whole = house.http.get(&url).send().await.unwrap().bytes().await.unwrap();
        assert!(whole == video.file, "the whole file");
        for (from, to) in [(0, 0), (1_000, 20_000), (video.file.len() - 10, video.file.len() - 1)] {
            let asked = house.http.get(&url).header("range", format!("bytes={from}-{to}"));
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 206);
            assert!(answer.bytes().await.unwrap() == video.file[from..=to], "{from}-{to}");
        }
    })
    .await;
}

#[tokio::test]
async fn uploads_that_died_leave_nothing_in_the_bucket() {
    with_bucket("the sweeper of a bucket", |doors, _| async move {
        let dead = JobId::from_parts(1_700_000_000_000, 1);
        let intent = UploadIntent { job: dead, owner: "other".into(), touched_at: 0, event: None };
        doors.catalog.put_upload(&intent).await.unwrap();
        doors.blobs.put(&format!("jobs/{dead}/source"), "whole, and nobody was told".into()).await.unwrap();
        // Another died in the middle of its bytes: parts that no list shows.
        let mut writer = doors.blobs.writer("jobs/half/source").await.unwrap();
        for piece in noise(3, 20 << 20).chunks(1 << 20) {
            writer.write(piece.to_vec().into()).await.unwrap();
        }
        std::mem::forget(writer);
        Sweeper { owner: "me".into(), is_alone: false }.sweep(&doors).await.unwrap();
        assert!(doors.blobs.list("").await.unwrap().is_empty());
        assert_eq!(collect(&doors).await.unwrap(), 0, "it may still be alive");
        let clock = connectors::clock::ManualClock::at(doors.clock.now_ms() + 25 * 3_600_000);
        let tomorrow = Doors { clock: std::sync::Arc::new(clock), ..doors };
        assert_eq!(collect(&tomorrow).await.unwrap(), 1);
    })
    .await;
}
