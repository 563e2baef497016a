//! An edge whose blobs lie in a bucket of a real S3 server.

use std::future::Future;

use connectors::blobs::s3::{Keys, Settings as BucketSettings, make_bucket};
use connectors::catalog::UploadIntent;
use connectors::{Blobs, Doors};
use pipeline::edge::Settings;
use pipeline::edge::sweep::{Sweeper, collect};
use schemas::JobId;
use schemas::event::JobDeleted;

use crate::house::{House, doors, eventually};
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
