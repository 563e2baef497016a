//! The four stages in a row on real media, without log and edge: what goes in comes out, frame by frame.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "fleet/engine.rs"]
mod engine;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use connectors::clock::{ManualClock, SystemClock};
use connectors::{Doors, embedded};
use engine::InThread;
use pipeline::media::{Engine, Error, Request, Run, worker};
use pipeline::stage::{Context, Stage};
use pipeline::stages::{probe::Probe, split::Split, stitch::Stitch, transcode::Transcode};
use schemas::event::{ChunkTranscoded, UploadReceived};
use schemas::manifest::Manifest;
use schemas::{Claim, JobId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The same engine under the name of other libraries.
#[derive(Clone)]
struct Renamed(&'static str);

impl Engine for Renamed {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        InThread.start(request, source)
    }

    fn build(&self) -> String {
        self.0.to_owned()
    }
}

fn ffmpeg(arguments: &str, output: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(output)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg {arguments}");
}

fn probe_value(file: &Path, arguments: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error"])
        .args(arguments.split_whitespace())
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn context(doors: &Doors, job: JobId) -> Context {
    let (reports, _) = mpsc::unbounded_channel();
    Context::new(doors.clone(), CancellationToken::new(), job, 1, "test".into(), reports)
}

/// Runs `file` through the stages; `backwards` encodes the chunks in the opposite order.
async fn journey(doors: &Doors, job: JobId, file: &Path, backwards: bool) -> Manifest {
    let mut writer = doors.blobs.writer(&format!("jobs/{job}/source")).await.unwrap();
    writer.write(Bytes::from(std::fs::read(file).unwrap())).await.unwrap();
    let source = writer.finish().await.unwrap();
    let upload = UploadReceived { job, name: "test".into(), source, received_at: 0, origin: "test".into() };
    let cx = context(doors, job);
    let probed = Probe::new(InThread).process(upload, &cx).await.unwrap().remove(0);
    let mut chunks = Split.process(probed, &cx).await.unwrap();
    if backwards {
        chunks.reverse();
    }
    let mut stitched = Vec::new();
    for chunk in chunks {
        let done = Transcode::new(InThread).process(chunk, &cx).await.unwrap().remove(0);
        stitched = Stitch.process(done, &cx).await.unwrap();
    }
    assert!(!stitched.is_empty(), "the last chunk completes the set");
    assert!(cx.conclusion().is_some(), "stitch proposes that the job is ready");
    serde_json::from_slice(&doors.blobs.read(&schemas::manifest::key(job)).await.unwrap()).unwrap()
}

async fn progressive(doors: &Doors, manifest: &Manifest, quality: &str) -> Vec<u8> {
    let rendition = manifest.renditions.iter().find(|r| r.quality == quality).unwrap();
    let mut file = Vec::new();
    for part in &rendition.progressive.as_ref().unwrap().parts {
        let blob = doors.blobs.read(&part.key).await.unwrap();
        file.extend_from_slice(&blob[part.offset as usize..(part.offset + part.size) as usize]);
    }
    assert_eq!(file.len() as u64, rendition.progressive.as_ref().unwrap().size);
    file
}

fn doors(folder: &Path) -> Doors {
    worker::quiet();
    embedded::open(folder, Arc::new(SystemClock)).unwrap()
}

#[tokio::test]
async fn every_frame_and_every_sample_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mp4");
    ffmpeg(
        "-f lavfi -i testsrc2=size=1280x720:rate=30000/1001:duration=9 -f lavfi -i sine=frequency=440:duration=9 \
         -c:v libx264 -preset ultrafast -g 60 -bf 2 -c:a aac -shortest",
        &file,
    );
    let doors = doors(&folder.path().join("data"));
    let job = JobId::from_parts(1, 1);
    let manifest = journey(&doors, job, &file, false).await;
    assert_eq!(manifest.renditions.iter().map(|r| r.quality.as_str()).collect::<Vec<_>>(), ["720p", "360p"]);
    let frames_in = probe_value(&file, "-count_frames -select_streams v -show_entries stream=nb_read_frames");
    for quality in ["720p", "360p"] {
        let out = folder.path().join(format!("{quality}.mp4"));
        std::fs::write(&out, progressive(&doors, &manifest, quality).await).unwrap();
        let frames_out = probe_value(&out, "-count_frames -select_streams v -show_entries stream=nb_read_frames");
        assert_eq!(frames_in, frames_out, "{quality}");
        let start: f64 = probe_value(&out, "-select_streams v -show_entries stream=start_time").parse().unwrap();
        assert!(start.abs() < 0.001, "{quality} starts at {start}");
        let length: f64 = probe_value(&out, "-show_entries format=duration").parse().unwrap();
        assert!((length - 9.0).abs() < 0.05, "{quality} lasts {length}");
    }
}

#[tokio::test]
async fn the_first_upload_of_a_job_counts_and_lies_about_bytes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mp4");
    ffmpeg("-f lavfi -i testsrc2=size=160x120:rate=25:duration=1 -c:v libx264 -preset ultrafast", &file);
    worker::quiet();
    let (doors, job) = (doors(folder.path()), JobId::from_parts(1, 1));
    let bytes = std::fs::read(&file).unwrap();
    let claim = async |key: &str| doors.blobs.put(key, bytes.clone().into()).await.unwrap();
    let (first, second) = (claim("in/first").await, claim("in/second").await);
    let upload = |source: &Claim| UploadReceived {
        job,
        name: "test".into(),
        source: source.clone(),
        received_at: 0,
        origin: "http".into(),
    };
    let cx = context(&doors, job);
    let probe = Probe::new(InThread);
    assert_eq!(probe.process(upload(&first), &cx).await.unwrap().len(), 1);
    assert_eq!(probe.process(upload(&second), &cx).await.unwrap(), [], "another claim to a known job is ignored");
    assert_eq!(probe.process(upload(&first), &cx).await.unwrap().len(), 1, "the same event may come again");
    // Whoever writes the event says what its origin is, so that says nothing about the bytes.
    let other = JobId::from_parts(1, 2);
    let lie = UploadReceived { job: other, ..upload(&Claim { sha256: "0".repeat(64), ..first }) };
    let refused = probe.process(lie, &context(&doors, other)).await.unwrap_err();
    assert!(matches!(refused, pipeline::stage::StageError::Reject(_)), "{refused:?}");
}

#[tokio::test]
async fn whoever_stitches_again_finds_what_is_published_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mkv");
    ffmpeg("-f lavfi -i testsrc2=size=160x120:rate=25:duration=1 -c:v libx264 -preset ultrafast", &file);
    worker::quiet();
    let clock = Arc::new(ManualClock::at(1_000));
    let doors = embedded::open(&folder.path().join("data"), Arc::clone(&clock) as Arc<dyn connectors::Clock>).unwrap();
    let job = JobId::from_parts(1, 1);
    let source = doors.blobs.put(&format!("jobs/{job}/source"), std::fs::read(&file).unwrap().into()).await.unwrap();
    let upload = UploadReceived { job, name: "test".into(), source, received_at: 0, origin: "test".into() };
    let cx = context(&doors, job);
    let probed = Probe::new(InThread).process(upload, &cx).await.unwrap().remove(0);
    let cut = Split.process(probed, &cx).await.unwrap().remove(0);
    let done = Transcode::new(InThread).process(cut.clone(), &cx).await.unwrap().remove(0);
    let key = schemas::manifest::key(job);
    let first = Stitch.process(done.clone(), &cx).await.unwrap();
    let (published, decided) = (doors.blobs.read(&key).await.unwrap(), cx.conclusion());
    clock.advance(60_000);
    let second = Stitch.process(done.clone(), &cx).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first, second);
    // Libraries of another version may make other bytes of the same chunk: they leave the published ones alone.
    let blob = |chunk: &ChunkTranscoded| chunk.renditions[0].blob.uri.clone();
    doors.catalog.forget(job).await.unwrap();
    let other = Transcode::new(Renamed("two")).process(cut, &cx).await.unwrap().remove(0);
    assert_ne!(blob(&other), blob(&done));
    assert_eq!(doors.blobs.read(&key).await.unwrap(), published, "a manifest is published once");
    assert_eq!(cx.conclusion(), decided);
}

#[tokio::test]
async fn the_order_of_the_work_does_not_show_in_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mkv");
    ffmpeg("-f lavfi -i testsrc2=size=320x180:rate=25:duration=7 -c:v libx264 -preset ultrafast -g 25", &file);
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (one, two) = (doors(&one), doors(&two));
    let job = JobId::from_parts(1, 1);
    let first = journey(&one, job, &file, false).await;
    let second = journey(&two, job, &file, true).await;
    assert_eq!(progressive(&one, &first, "360p").await, progressive(&two, &second, "360p").await);
}
