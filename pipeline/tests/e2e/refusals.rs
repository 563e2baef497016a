//! What is no playable video is refused with a clear code; nothing stays behind, and the next good file is worked on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Api, files_below, is_source};
use crate::clip::{self, ffmpeg};
use crate::keys;
use crate::measure::measure;
use crate::patch;
use crate::server::Server;

/// Longest that a job may take to end, whatever its bytes are.
const PATIENCE: Duration = Duration::from_secs(90);

/// Pictures of the good file, whole.
const PICTURES: usize = 100;

/// What may become of an upload.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// It must be refused, at upload or later.
    Refused,
    /// It is refused, or what is playable of it gets ready.
    Either,
}

/// What became of it.
pub enum Fate {
    /// The upload was not taken; the code.
    NotTaken(String),
    /// The job failed; its code, stage and sentence.
    Failed(String),
    /// It plays; the job.
    Ready(Value),
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_play_is_refused_and_leaves_nothing_behind() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let good = clip::plain(folder.path(), "good.mp4", 640, 360, 4.0).await.unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data).await;
    let api = Api::new(&server.url);
    let mut problems = Vec::new();

    for (name, bytes, wanted) in uploads(folder.path(), &good).await {
        let fate = match fate(&api, &data, &name, bytes.clone()).await {
            Ok(fate) => fate,
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                continue;
            }
        };
        match &fate {
            Fate::NotTaken(why) => println!("{name:<28} not taken: {why}"),
            Fate::Failed(why) => println!("{name:<28} failed: {why}"),
            Fate::Ready(job) => {
                let verdict = kept(&api, folder.path(), job, &bytes).await;
                println!("{name:<28} ready: {}", verdict.clone().unwrap_or_else(|problem| problem));
                problems.extend(verdict.err().map(|problem| format!("{name}: {problem}")));
                if wanted == Wanted::Refused {
                    problems.push(format!("{name}: it was not refused"));
                }
            }
        }
        if !server.is_running() {
            problems.push(format!("{name}: the server died:\n{}", server.log_tail()));
            break;
        }
    }
    match api.upload(&good).await {
        Ok(upload) => problems
            .extend(api.ready(&upload.id, PATIENCE).await.err().map(|error| format!("good file afterwards: {error}"))),
        Err(problem) => problems.push(format!("good file afterwards: {problem}")),
    }
    crate::report(&problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_keeps_its_row_and_no_bytes() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let file = clip::plain(folder.path(), "clip.mp4", 640, 360, 24.0).await.unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data).await;
    let api = Api::new(&server.url);
    let id = api.upload(&file).await.unwrap().id;
    let files = || files_below(&data.join("blobs/jobs").join(&id));
    let begun = settle(files, |files| files.len() > 1).await;
    assert!(begun.len() > 1, "some chunk is stored: {begun:?}");

    api.cancel(&id).await.unwrap();
    let job = api.end(&id, PATIENCE).await.unwrap();
    assert_eq!(job["state"], "cancelled");
    let left = settle(files, |files| files.is_empty()).await;
    assert!(left.is_empty(), "{left:?}");
    // What was running when it was cancelled may not write any more either.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(files(), left);
}

/// Uploads bytes and waits for the end; an error when the end is not a clear one, or something was left behind.
pub async fn fate(api: &Api, data: &Path, name: &str, bytes: Vec<u8>) -> Result<Fate, String> {
    // Reports on other videos come when they come.
    let blobs = || {
        let files = files_below(&data.join("blobs")).into_iter();
        files.filter(|(file, _)| !keys::is_about_quality(&file.to_string_lossy())).collect::<Vec<_>>()
    };
    let before = blobs();
    let (status, body) = api.post(name, bytes).await?;
    if status != reqwest::StatusCode::CREATED {
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        if !status.is_client_error() || code.is_empty() || body["detail"].as_str().unwrap_or_default().is_empty() {
            return Err(format!("refused without a clear reason: {status} {body}"));
        }
        let after = settle(blobs, |after| after.len() <= before.len()).await;
        if after.len() > before.len() {
            return Err(format!("not taken, yet {} files stay instead of {}", after.len(), before.len()));
        }
        return Ok(Fate::NotTaken(format!("{status} {code}")));
    }
    let id = body["id"].as_str().ok_or_else(|| format!("taken without an id: {body}"))?.to_owned();
    let job = api.end(&id, PATIENCE).await?;
    if job["state"] == "ready" {
        return Ok(Fate::Ready(job));
    }
    let word = |key: &str| job["error"][key].as_str().unwrap_or_default().to_owned();
    if word("code").is_empty() || word("stage").is_empty() || word("message").is_empty() {
        return Err(format!("failed without a clear reason: {}", job["error"]));
    }
    let left = || {
        files_below(&data.join("blobs/jobs").join(&id))
            .into_iter()
            .filter(|(file, _)| !is_source(file))
            .collect::<Vec<_>>()
    };
    let left = settle(left, Vec::is_empty).await;
    if !left.is_empty() {
        return Err(format!("failed ({}), yet {left:?} stay", word("code")));
    }
    Ok(Fate::Failed(format!("{} in {}: {}", word("code"), word("stage"), word("message"))))
}

/// Looks until what is seen is good, ten seconds at most.
async fn settle<T>(look: impl Fn() -> T, is_good: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = look();
        if is_good(&seen) || Instant::now() > deadline {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says how much of a broken upload plays; an error when that is less than its decoder presents.
async fn kept(api: &Api, folder: &Path, job: &Value, bytes: &[u8]) -> Result<String, String> {
    let file = folder.join("kept");
    std::fs::write(&file, bytes).map_err(|error| format!("write: {error}"))?;
    let source = measure(&file.display().to_string(), 1, false).await?.pictures().len();
    let url = api.url(job["renditions"][0]["url"].as_str().unwrap_or_default());
    let shown = measure(&url, 1, false).await?.pictures().len();
    // The last picture of a cut file may be half there.
    if shown.abs_diff(source) > 1 {
        return Err(format!("{shown} pictures play, a decoder presents {source}; warnings {}", job["warnings"]));
    }
    if shown < PICTURES && job["warnings"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!("{shown} of {PICTURES} pictures play, and nothing says that the rest is missing"));
    }
    Ok(format!("{shown} pictures play, a decoder presents {source}; warnings {}", job["warnings"]))
}

/// Name, bytes and what may become of them.
async fn uploads(folder: &Path, good: &Path) -> Vec<(String, Vec<u8>, Wanted)> {
    let read = |file: &Path| std::fs::read(file).unwrap();
    let plain = read(good);
    let mut uploads = vec![
        ("empty.mp4".to_owned(), Vec::new(), Wanted::Refused),
        ("text.mp4".to_owned(), b"This is a letter, not a film.\n".repeat(400), Wanted::Refused),
        ("zeros.mp4".to_owned(), vec![0; 100_000], Wanted::Refused),
        ("playlist.mp4".to_owned(), playlist(good), Wanted::Refused),
        ("playlist.m3u8".to_owned(), playlist(good), Wanted::Refused),
        (
            "concat.mp4".to_owned(),
            format!("ffconcat version 1.0\nfile '{}'\n", good.display()).into_bytes(),
            Wanted::Refused,
        ),
        ("manifest.mp4".to_owned(), manifest(good), Wanted::Refused),
        (
            "picture.mp4".to_owned(),
            made(folder, "picture.png", &["-f", "lavfi", "-i", "color=red:d=0.04"]).await,
            Wanted::Refused,
        ),
        (
            "audio-only.mp4".to_owned(),
            made(folder, "audio.mp4", &["-f", "lavfi", "-i", "sine=d=3"]).await,
            Wanted::Refused,
        ),
        (
            "audio-only.mkv".to_owned(),
            made(folder, "audio.mkv", &["-f", "lavfi", "-i", "sine=d=3"]).await,
            Wanted::Refused,
        ),
    ];
    let lie = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        bytes
    };
    uploads.extend([
        ("thousand-tracks.mp4".to_owned(), lie(&|file| patch::multiply_tracks(file, 1_000)), Wanted::Refused),
        ("20000x20000.mp4".to_owned(), lie(&|file| patch::resize(file, b"avc1", 20_000, 20_000)), Wanted::Either),
        ("20000x20000.avi".to_owned(), huge(folder).await, Wanted::Refused),
        ("claims-a-day.mp4".to_owned(), lie(&|file| patch::stretch_headers(file, 20_000)), Wanted::Either),
        ("claims-no-time.mp4".to_owned(), lie(&|file| patch::stretch_headers(file, 0)), Wanted::Either),
        ("claims-4-billion-frames.mp4".to_owned(), lie(&|file| patch::claim_samples(file, u32::MAX)), Wanted::Either),
    ]);
    let front = folder.join("front.mp4");
    let streaming: [&std::ffi::OsStr; 6] =
        ["-i".as_ref(), good.as_ref(), "-c".as_ref(), "copy".as_ref(), "-movflags".as_ref(), "+faststart".as_ref()];
    ffmpeg(streaming.into_iter().chain([front.as_os_str()])).await.unwrap();
    let front = read(&front);
    let border = packet_border(folder, 60).await;
    uploads.push((format!("cut-{border}-between-packets.mp4"), front[..border].to_vec(), Wanted::Either));
    let mut dice = crate::Dice::new(2_026);
    for cut in 0..10 {
        let (whole, kind) = if cut % 2 == 0 { (&front, "index-first") } else { (&plain, "index-last") };
        let length = dice.below(whole.len() as u64) as usize;
        uploads.push((format!("cut-{length}-{kind}.mp4"), whole[..length].to_vec(), Wanted::Either));
    }
    uploads
}

/// Where a video packet of `front.mp4` begins: cut there, no packet is half.
async fn packet_border(folder: &Path, packet: usize) -> usize {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pos", "-of", "csv=p=0"])
        .arg(folder.join("front.mp4"))
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().nth(packet).unwrap().trim_matches(',').parse().unwrap()
}

fn playlist(good: &Path) -> Vec<u8> {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:5\n#EXTINF:4.0,\nfile://{}\n#EXT-X-ENDLIST\n",
        good.display()
    )
    .into_bytes()
}

fn manifest(good: &Path) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period><AdaptationSet mimeType=\"video/mp4\">\
         <Representation id=\"1\" bandwidth=\"1\"><BaseURL>file://{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        good.display()
    )
    .into_bytes()
}

async fn made(folder: &Path, name: &str, options: &[&str]) -> Vec<u8> {
    let file: PathBuf = folder.join(name);
    ffmpeg(options.iter().map(std::ffi::OsStr::new).chain([file.as_os_str()])).await.unwrap();
    std::fs::read(file).unwrap()
}

/// An AVI whose header and codec both say 20000x20000: raw pictures, of which there are none.
async fn huge(folder: &Path) -> Vec<u8> {
    let mut bytes = made(folder, "huge.avi", &["-f", "lavfi", "-i", "testsrc2=s=64x64:d=1", "-c:v", "mpeg4"]).await;
    let format = bytes.windows(4).position(|window| window == b"strf").unwrap() + 8;
    for place in [format + 4, format + 8] {
        bytes[place..place + 4].copy_from_slice(&20_000_u32.to_le_bytes());
    }
    bytes
}
