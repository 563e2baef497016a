//! Captions by the whole program: what espeak-ng says in a video, as a deaf viewer reads it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use schemas::captions::{Cue, read_srt, read_vtt};
use serde_json::Value;

use crate::client::Api;
use crate::server::Server;
use crate::speech::{Speech, ffmpeg, speech, video, with_sound};
use crate::turn;

/// A job has its end after so long, and its captions.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where a model lies that knows these sentences, and its name.
const SHELF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models");
const MODEL: &str = "seventy-four-words";
/// Sentences of the words that a small model is taught.
const SENTENCES: [&str; 5] = [
    "the old farmer opens a green window",
    "she carries seven letters near the river",
    "my teacher remembers every cold mountain",
    "he watches the birds because it leaves tomorrow",
    "a happy child paints your house",
];
/// Share of words that may be wrong.
const WRONG: f64 = 0.2;
/// How far a cue may be from its sentence, milliseconds.
const ACCURACY_MS: u64 = 300;

/// The captions of a job, when it has some or a reason.
async fn captions(api: &Api, id: &str) -> Result<Value, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = api.job(id).await?;
        if !job["captions"].is_null() {
            return Ok(job);
        }
        if Instant::now() > deadline {
            return Err(format!("job {id} has no captions after {PATIENCE:?}: {job}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn state_of<'a>(job: &'a Value, stage: &str) -> Option<&'a str> {
    job["stages"].as_array()?.iter().find(|one| one["name"] == stage)?["state"].as_str()
}

fn mute(folder: &Path) -> PathBuf {
    let file = folder.join("mute.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=128x72:rate=10:duration=2", "-c:v", "libx264"], &file);
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_model_a_video_is_ready_and_says_what_to_do() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data")).await;
    let api = Api::new(&server.url);
    let spoken = speech(folder.path(), "en-us", 160, &SENTENCES[..1], None);
    let file = with_sound(folder.path(), "spoken.mp4", &spoken.wav, &["-c:a", "aac"]);
    for (file, stage, reason) in [
        (file, "skipped", "captions: unavailable (no model: run streamforge models pull whisper-base.en)"),
        (mute(folder.path()), "skipped", "no audio track"),
    ] {
        let upload = api.upload(&file).await.unwrap();
        api.ready(&upload.id, PATIENCE).await.unwrap();
        let job = captions(&api, &upload.id).await.unwrap();
        assert_eq!(job["captions"]["reason"], reason, "{job}");
        assert_eq!((state_of(&job, "caption"), &job["state"]), (Some(stage), &"ready".into()), "{job}");
        for name in ["captions.vtt", "captions.srt", "captions/index.m3u8"] {
            let answer = api.get(&format!("/api/stream/{}/{name}", upload.id)).await.unwrap();
            assert_eq!(answer.status(), 404);
            assert!(answer.text().await.unwrap().contains(reason), "{name}");
        }
        let master = api.bytes(&format!("/api/stream/{}/master.m3u8", upload.id), None).await.unwrap();
        assert!(!String::from_utf8(master).unwrap().contains("SUBTITLES"));
        let story = api.json(&format!("/api/jobs/{}/explain", upload.id)).await.unwrap();
        assert!(story["history"].to_string().contains(reason), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_can_be_read_when_it_is_said() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        &folder.path().join("data"),
        &[("STREAMFORGE_MODELS", SHELF), ("STREAMFORGE_CAPTION_MODEL", MODEL)],
    )
    .await;
    let api = Api::new(&server.url);
    for (voice, name, codec, layout) in [
        ("en-us+m7", "stereo.mp4", &["-c:a", "aac"][..], "stereo"),
        ("en-gb+f4", "film.mkv", &["-c:a", "ac3"][..], "5.1"),
    ] {
        let mut spoken = speech(folder.path(), voice, 160, &SENTENCES, None);
        let track = folder.path().join("track.wav");
        let remix = format!("aresample=44100,aformat=channel_layouts={layout}");
        ffmpeg(&["-i", spoken.wav.to_str().unwrap(), "-af", &remix, "-ar", "44100"], &track);
        spoken.wav = track;
        let file = with_sound(folder.path(), name, &spoken.wav, codec);
        let upload = api.upload(&file).await.unwrap();
        api.ready(&upload.id, PATIENCE).await.unwrap();
        let job = captions(&api, &upload.id).await.unwrap();
        assert_eq!((&job["captions"]["reason"], state_of(&job, "caption")), (&Value::Null, Some("done")), "{job}");
        let address = |kind: &str| job["captions"][kind].as_str().unwrap().to_owned();
        let vtt = String::from_utf8(api.bytes(&address("vtt"), None).await.unwrap()).unwrap();
        let srt = String::from_utf8(api.bytes(&address("srt"), None).await.unwrap()).unwrap();
        let cues = read_vtt(&vtt).unwrap();
        assert_eq!(read_srt(&srt).unwrap(), cues);
        let (wrong, missed) = marks(&spoken, &cues);
        println!("{voice}: {:.1} % of the words are wrong, cues are off by at most {missed} ms", wrong * 100.0);
        assert!(wrong <= WRONG && missed <= ACCURACY_MS, "{voice}: {wrong} {missed}\n{vtt}");
    }
    for (name, graph) in [
        ("silence.mp4", "anullsrc=r=44100:d=60"),
        ("noise.mp4", "anoisesrc=c=pink:d=60:a=0.3:seed=1"),
        (
            "music.mp4",
            "aevalsrc='0.15*(sin(2*PI*220*t)+sin(2*PI*277.18*t)+sin(2*PI*329.63*t))*exp(-2*mod(t,0.5))':d=60",
        ),
    ] {
        let file = video(folder.path(), name, graph, &["-c:a", "aac"]);
        let upload = api.upload(&file).await.unwrap();
        let job = captions(&api, &upload.id).await.unwrap();
        assert_eq!(
            (job["captions"]["cues"].as_u64(), &job["captions"]["vtt"]),
            (Some(0), &Value::Null),
            "{name}: {job}"
        );
    }
}

/// Share of the words that are wrong, and the worst distance of a sentence from the cues that show it, milliseconds.
fn marks(spoken: &Speech, cues: &[Cue]) -> (f64, u64) {
    let said: Vec<&str> = SENTENCES.iter().flat_map(|sentence| sentence.split(' ')).collect();
    let lines: Vec<String> = cues.iter().flat_map(|cue| cue.lines.clone()).collect();
    let read: Vec<String> = lines.iter().flat_map(|line| line.split_whitespace()).map(plain).collect();
    let missed = spoken.times.iter().map(|time| distance_of(time, cues)).max().unwrap_or(0);
    (distance(&said, &read) as f64 / said.len() as f64, missed)
}

/// How far the first and the last cue during `time` are from its ends.
fn distance_of(time: &Range<u64>, cues: &[Cue]) -> u64 {
    let mut during = cues.iter().filter(|cue| cue.start_ms < time.end && cue.end_ms > time.start);
    let Some(first) = during.next() else { return u64::MAX };
    let last = during.next_back().unwrap_or(first);
    first.start_ms.abs_diff(time.start).max(last.end_ms.abs_diff(time.end))
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Fewest words to substitute, leave out or add (Levenshtein 1966).
fn distance(said: &[&str], read: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=read.len()).collect();
    for (at, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (other, wrote) in read.iter().enumerate() {
            let best = (row[other].min(row[other + 1]) + 1).min(diagonal + usize::from(*word != wrote));
            diagonal = std::mem::replace(&mut row[other + 1], best);
        }
    }
    row[read.len()]
}
