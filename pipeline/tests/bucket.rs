//! Sources in a bucket of a real S3 server, through stages with real media processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use connectors::blobs::s3::{Keys, Settings, make_bucket};
use connectors::clock::SystemClock;
use connectors::{Blobs, Doors};
use pipeline::media::child::ChildEngine;
use pipeline::stage::{Context, Stage, StageError};
use pipeline::stages::{probe::Probe, split::Split, transcode::Transcode};
use schemas::event::{SourceProbed, UploadReceived};
use schemas::{Claim, JobId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn clip(path: &Path) {
    let status = Command::new("ffmpeg")
        .args(
            "-v error -y -f lavfi -i testsrc2=size=320x180:rate=25:duration=5 -c:v libx264 -preset ultrafast -g 25"
                .split(' '),
        )
        .arg(path)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success());
}

async fn probe(doors: &Doors, source: Claim, origin: &str) -> Result<SourceProbed, StageError> {
    // Of one job only the first claim counts.
    let job = JobId::from_parts(1_700_000_000_000, rand::random());
    let upload = UploadReceived { job, name: "clip".into(), source, received_at: 0, origin: origin.into() };
    let mut probed = Probe::new(engine()).process(upload, &context(doors, job)).await?;
    Ok(probed.remove(0))
}

fn engine() -> ChildEngine {
    ChildEngine::new(env!("CARGO_BIN_EXE_streamforge"), &["media-child"])
}

fn context(doors: &Doors, job: JobId) -> Context {
    let (reports, _) = mpsc::unbounded_channel();
    Context::new(doors.clone(), CancellationToken::new(), job, 1, "test".into(), reports)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producers_own_object_is_read_where_it_lies_and_lies_about_it_are_rejected() {
    let Ok(endpoint) = std::env::var("STREAMFORGE_TEST_S3") else {
        println!("not run here: sources in a bucket needs SeaweedFS; ./dev engines up");
        return;
    };
    let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "streamforge".to_owned());
    let keys = Keys { id: key("STREAMFORGE_TEST_S3_KEY"), secret: key("STREAMFORGE_TEST_S3_SECRET"), token: None };
    let own = format!("{:032x}", rand::random::<u128>());
    let above = Settings {
        endpoint: Some(endpoint),
        keys: Some(keys),
        ..Settings::parse("s3://streamforge-tests/stages").unwrap()
    };
    make_bucket(&above).await.unwrap();
    let settings = Settings { prefix: format!("stages/{own}"), ..above.clone() };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let blobs = Blobs::in_bucket(&settings).await.unwrap().with_cache(&cache, 1 << 30).unwrap();
    let doors = Doors { blobs, ..connectors::in_memory(Arc::new(SystemClock)).unwrap() };

    let file = folder.path().join("clip.mp4");
    clip(&file);
    let mine = doors.blobs.put("drop/clip 1.mp4", std::fs::read(&file).unwrap().into()).await.unwrap();
    let full = Claim { uri: format!("{}/drop/clip 1.mp4", settings.uri()), ..mine.clone() };
    let probed = probe(&doors, full.clone(), "boto3").await.unwrap();
    assert_eq!((probed.media.video.width, probed.media.video.height), (320, 180));
    assert_eq!(probe(&doors, mine.clone(), "boto3").await.unwrap().media, probed.media);

    let job = probed.job;
    let chunk = Split.process(probed, &context(&doors, job)).await.unwrap().remove(0);
    let done = Transcode::new(engine()).process(chunk, &context(&doors, job)).await.unwrap().remove(0);
    assert!(done.frames_in > 0);
    doors.blobs.verify(&done.renditions[0].blob).await.unwrap();
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "one copy serves both stages");

    let elsewhere = |uri: &str| Claim { uri: uri.to_owned(), ..full.clone() };
    for (lie, code) in [
        (elsewhere("s3://somebody-elses/clip.mp4"), "foreign_claim"),
        (elsewhere("file:///etc/passwd"), "foreign_claim"),
        (elsewhere("https://example.org/clip.mp4"), "foreign_claim"),
        (elsewhere("blob:drop/nothing.mp4"), "missing_source"),
        (Claim { size: full.size + 1, ..full.clone() }, "claim_mismatch"),
        (Claim { sha256: "0".repeat(64), ..full.clone() }, "claim_mismatch"),
        (Claim { sha256: "none".into(), ..full.clone() }, "claim_mismatch"),
    ] {
        // What lies in the cache is found by its hash; a claim to nothing is judged by the bucket.
        let is_cached = code == "missing_source";
        let lie = if is_cached { Claim { sha256: "1".repeat(64), ..lie } } else { lie };
        match probe(&doors, lie.clone(), "boto3").await {
            Err(StageError::Reject(cause)) => assert_eq!(cause.code, code, "{lie:?}: {}", cause.message),
            other => panic!("{lie:?}: {other:?}"),
        }
    }
    Blobs::in_bucket(&above).await.unwrap().delete_prefix(&own).await.unwrap();
}
