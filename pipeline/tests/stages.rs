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
use pipeline::media::{Engine, Error, Feed, Request, Run, worker};
use pipeline::stage::{Context, Stage};
use pipeline::stages::{probe::Probe, split::Split, stitch::Stitch, transcode::Transcode};
use schemas::event::{ChunkCut, ChunkTranscoded, UploadReceived};
use schemas::ledger::{self, Ledger};
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

    fn start_fed(&self, request: &Request, source: std::fs::File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        InThread.start_fed(request, source, feed)
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
    let mut chunks = plan(doors, job, file).await;
    if backwards {
        chunks.reverse();
    }
    encode(doors, job, chunks).await
}

/// The chunks of `file`.
async fn plan(doors: &Doors, job: JobId, file: &Path) -> Vec<ChunkCut> {
    let mut writer = doors.blobs.writer(&format!("jobs/{job}/source")).await.unwrap();
    writer.write(Bytes::from(std::fs::read(file).unwrap())).await.unwrap();
    let source = writer.finish().await.unwrap();
    let upload = UploadReceived { job, name: "test".into(), source, received_at: 0, origin: "test".into() };
    let cx = context(doors, job);
    let probed = Probe::new(InThread).process(upload, &cx).await.unwrap().remove(0);
    Split.process(probed, &cx).await.unwrap()
}

/// Encodes and joins `chunks`, in their order.
async fn encode(doors: &Doors, job: JobId, chunks: Vec<ChunkCut>) -> Manifest {
    let cx = context(doors, job);
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

async fn books(doors: &Doors, job: JobId) -> Ledger {
    serde_json::from_slice(&doors.blobs.read(&ledger::key(job)).await.unwrap()).unwrap()
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
async fn a_chunk_that_lost_a_frame_is_not_published_and_the_books_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mp4");
    ffmpeg("-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 -c:v libx264 -preset ultrafast", &file);
    let (doors, job) = (doors(&folder.path().join("data")), JobId::from_parts(1, 1));
    let cx = context(&doors, job);
    let mut chunks = Vec::new();
    for cut in plan(&doors, job, &file).await {
        chunks.push(Transcode::new(InThread).process(cut, &cx).await.unwrap().remove(0));
    }
    let last = chunks.last_mut().unwrap();
    last.renditions[0].frames -= 1;
    let (index, frames) = (last.index, last.frames_in);
    let mut refused = None;
    for chunk in chunks {
        refused = Stitch.process(chunk, &cx).await.err();
    }
    let cause = refused.expect("the last chunk completes the set").cause().clone();
    assert_eq!(cause.code, "ledger_unbalanced");
    assert!(cause.message.contains(&format!("chunk {index} of ")), "{}", cause.message);
    assert!(cause.message.contains(&format!("{} frames of {frames}", frames - 1)), "{}", cause.message);
    assert!(cx.conclusion().is_none() && doors.blobs.read(&schemas::manifest::key(job)).await.is_err());
    let books = books(&doors, job).await;
    assert!(!books.balanced && !books.findings.is_empty(), "whoever asks why can read it");
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

/// A job of `file` and its books, with the 360p file in `out`.
async fn played(folder: &Path, file: &Path, out: &Path) -> Ledger {
    let doors = doors(&folder.join("data"));
    let job = JobId::from_parts(1, 1);
    let manifest = journey(&doors, job, file, false).await;
    std::fs::write(out, progressive(&doors, &manifest, "360p").await).unwrap();
    books(&doors, job).await
}

fn seconds(file: &Path, entry: &str) -> f64 {
    probe_value(file, &format!("-select_streams v -show_entries {entry}")).parse().unwrap()
}

/// Mean brightness of each picture; the first 48 pixels from the left count.
fn brightness(file: &Path) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-an", "-vf", "crop=48:ih:0:0,scale=1:1:flags=area,format=gray", "-fps_mode", "passthrough"])
        .args(["-f", "rawvideo", "-"])
        .output()
        .expect("ffmpeg is installed");
    output.stdout
}

#[tokio::test]
async fn h264_without_presentation_times_plays_in_the_order_of_its_decode_times() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("in.avi"), folder.path().join("out.mp4"));
    // Each picture is brighter than the one before, so that their order shows.
    ffmpeg(
        "-f lavfi -i color=black:s=320x180:r=25:d=4,geq=lum='20+2*N':cb=128:cr=128 -f lavfi -i sine=d=4 \
         -c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 2 -g 25 -c:a libmp3lame",
        &file,
    );
    let ledger = played(folder.path(), &file, &out).await;
    assert_eq!((ledger.frames_in, ledger.damaged), (100, 0));
    assert_eq!(ledger.renditions[0].first_s, 0.0, "picture and sound begin together");
    assert!((ledger.video_end_s - 4.0).abs() < 0.081, "it ends at {}", ledger.video_end_s);
    let shown = brightness(&out);
    assert_eq!(shown.len(), 100);
    assert!(shown.is_sorted(), "{shown:?}");
}

#[tokio::test]
async fn the_last_picture_is_held_as_long_as_the_source_holds_it() {
    for sound in ["", "-f lavfi -i sine=d=5"] {
        let folder = tempfile::tempdir().unwrap();
        let (drawn, file) = (folder.path().join("drawn.mp4"), folder.path().join("in.mp4"));
        let out = folder.path().join("out.mp4");
        let picture = "-f lavfi -i testsrc2=s=320x180:r=25:d=3";
        ffmpeg(&format!("{picture} {sound} -c:v libx264 -bf 0 -preset veryfast -pix_fmt yuv420p -c:a aac"), &drawn);
        let held = format!("-i {} -c copy -bsf:v setts=duration=if(gt(PTS\\,37000)\\,25600\\,512)", drawn.display());
        ffmpeg(&held, &file);
        assert_eq!(seconds(&file, "stream=duration"), 4.96, "the source holds its last picture for two seconds");
        let ledger = played(folder.path(), &file, &out).await;
        assert_eq!(ledger.video_end_s, 4.96, "with sound: {}", !sound.is_empty());
        assert_eq!(seconds(&out, "stream=duration"), 4.96, "with sound: {}", !sound.is_empty());
    }
}

/// Pictures that the chunks of `file` have all together, and that it has when it is encoded in one piece.
async fn in_parts_and_whole(folder: &Path, file: &Path, at: i64) -> (u64, u64) {
    let (whole, parts) = (doors(&folder.join("whole")), doors(&folder.join("parts")));
    let job = JobId::from_parts(1, 1);
    let mut one = plan(&whole, job, file).await;
    let starts: Vec<Option<i64>> = one.iter().map(|chunk| chunk.start).collect();
    assert!(starts.contains(&Some(at)), "a chunk begins at {at}: {starts:?}");
    one.truncate(1);
    (one[0].total, one[0].end) = (1, None);
    encode(&whole, job, one).await;
    journey(&parts, job, file, false).await;
    (books(&parts, job).await.frames_in, books(&whole, job).await.frames_in)
}

#[tokio::test]
async fn a_destroyed_keyframe_costs_no_more_pictures_where_a_chunk_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mp4");
    ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=8 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 25 \
         -pix_fmt yuv420p",
        &file,
    );
    let packets = probe_value(&file, "-select_streams v -show_entries packet=pts,pos,size,flags");
    let fields = packets.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let keyframe = fields.filter(|field| field[3].starts_with('K')).nth(4).unwrap();
    let [start, size, at] = [0, 1, 2].map(|field| keyframe[field].parse::<usize>().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[at + 8..at + size].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let (parts, whole) = in_parts_and_whole(folder.path(), &file, start as i64).await;
    assert!(whole > 190, "{whole} pictures in one piece");
    assert_eq!(parts, whole);
}

#[tokio::test]
async fn blocks_that_are_refreshed_in_turn_cost_no_picture_where_a_chunk_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.mp4");
    ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=8 -c:v libx264 -preset veryfast -pix_fmt yuv420p \
         -x264-params intra-refresh=1:keyint=25",
        &file,
    );
    assert_eq!(in_parts_and_whole(folder.path(), &file, 53_760).await, (200, 200));
}

#[tokio::test]
async fn fields_are_woven_away_where_only_the_pictures_say_that_they_are_interlaced() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.ts"), folder.path().join("two.ts"));
    let (file, out) = (folder.path().join("in.ts"), folder.path().join("out.mp4"));
    let codec = "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p -g 25";
    ffmpeg(&format!("-f lavfi -i color=gray:s=320x180:r=25:d=2 {codec}"), &one);
    // Two fields of a picture, one black and one white.
    ffmpeg(
        &format!(
            "-f lavfi -i color=white:s=320x180:r=50:d=2,geq=lum='if(mod(N,2),235,16)':cb=128:cr=128,\
             tinterlace=mode=interleave_top:flags=bypass_il {codec} -flags +ildct+ilme -x264-params tff=1 \
             -output_ts_offset 2"
        ),
        &two,
    );
    std::fs::write(&file, [std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap()].concat()).unwrap();
    assert_eq!(probe_value(&file, "-show_entries stream=field_order").lines().next(), Some("progressive"));
    played(folder.path(), &file, &out).await;
    let shown = brightness(&out);
    assert_eq!(shown.len(), 100);
    // The upper field alone is black; woven with the white one it would be grey.
    assert!(shown[60..95].iter().all(|value| !(60..200).contains(value)), "{shown:?}");
}

#[tokio::test]
async fn pictures_in_red_green_and_blue_play_in_their_colours() {
    for (name, codec) in [("in.mp4", "libx264rgb -preset veryfast"), ("in.webm", "libvpx-vp9 -deadline realtime")] {
        let folder = tempfile::tempdir().unwrap();
        let (file, out) = (folder.path().join(name), folder.path().join("out.mp4"));
        let format = if name == "in.webm" { "-pix_fmt gbrp" } else { "" };
        ffmpeg(&format!("-f lavfi -i color=0x20C040:s=320x180:r=25:d=1 -c:v {codec} {format}"), &file);
        played(folder.path(), &file, &out).await;
        let said = probe_value(&out, "-select_streams v -show_entries stream=pix_fmt,color_range,color_space");
        assert_eq!(said, "yuv420p,tv,bt709", "{name}");
        let colour = |file: &Path, matrix: &str| {
            let output = Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(file)
                .args([
                    "-frames:v",
                    "1",
                    "-vf",
                    &format!("scale=320:180{matrix},crop=2:2,format=rgb24"),
                    "-f",
                    "rawvideo",
                    "-",
                ])
                .output()
                .unwrap();
            output.stdout
        };
        let (before, after) = (colour(&file, ""), colour(&out, ":in_color_matrix=bt709"));
        let is_near = before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) < 8);
        assert!(is_near, "{name}: {before:?} became {after:?}");
    }
}

#[tokio::test]
async fn a_clock_finer_than_a_microsecond_begins_at_zero() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("in.mp4"), folder.path().join("out.mp4"));
    ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25:d=1 -c:v libx264 -bf 0 -preset veryfast -pix_fmt yuv420p \
         -video_track_timescale 999999 -output_ts_offset 0.5",
        &file,
    );
    assert_eq!(probe_value(&file, "-select_streams v -show_entries stream=start_pts"), "500000");
    let ledger = played(folder.path(), &file, &out).await;
    assert_eq!((ledger.frames_in, ledger.renditions[0].first_s), (25, 0.0));
}
