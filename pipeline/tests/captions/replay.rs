//! A ready video gets captions once more: nothing is encoded again, the newest are shown, the old can still be read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::media::{Engine, Error, Request, Run};
use pipeline::ml::listener::{Absent, Listener};
use pipeline::ml::viewer::{Blind, Viewer};
use pipeline::runner::{Runner, Settings};
use pipeline::topology;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clips::{SENTENCES, speech, with_sound};
use crate::engine::InThread;
use crate::house::{House, doors, eventually};
use crate::listener::{Scripted, segment, transcript};

/// Counts what it is asked to encode.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Engine for Counting {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        self.0.fetch_add(usize::from(matches!(request, Request::Video(_) | Request::Audio(_))), Ordering::SeqCst);
        InThread.start(request, source)
    }

    fn build(&self) -> String {
        InThread.build()
    }
}

fn clip(folder: &Path) -> Vec<u8> {
    let spoken = speech(folder, "en-us", 160, &SENTENCES, None);
    std::fs::read(with_sound(folder, "clip.mp4", &spoken.wav, &["-c:a", "aac"])).unwrap()
}

/// A worker whose listener is of `version`; it ends with the token.
fn worker(house: &House, engine: &Counting, version: &'static str) -> CancellationToken {
    let mut listener = Arc::into_inner(Scripted::new(move |number, samples, _| {
        Ok(transcript("en", &[segment(samples, &format!(" Version {version} says {number} & more."))]))
    }))
    .unwrap();
    listener.model.as_mut().unwrap().version = version.to_owned();
    let listener: Arc<dyn Listener> = Arc::new(listener);
    let shutdown = CancellationToken::new();
    let settings = Settings { slots: 2, ..Settings::new(format!("w{version}")) };
    let runner = Runner::new(house.doors.clone(), settings);
    let viewer: Arc<dyn Viewer> = Arc::new(Blind(Absent("it is a test".to_owned())));
    let (stages, until) = (topology::stages(engine, &listener, &viewer).unwrap(), shutdown.clone());
    tokio::spawn(async move { runner.run(stages, until).await.unwrap() });
    shutdown
}

async fn text(house: &House, path: &str) -> (u16, String, String) {
    let answer = house.get(path).await;
    let (status, kind) = (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned());
    (status, kind, answer.text().await.unwrap())
}

async fn captions(house: &House, job: &str, version: &str) -> Value {
    eventually("there are captions", || async {
        let captions = house.json(&format!("/api/jobs/{job}")).await["captions"].clone();
        (captions["version"] == version).then_some(captions)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captions_are_written_played_and_written_anew() {
    pipeline::media::worker::quiet();
    let folder = tempfile::tempdir().unwrap();
    let house = House::on(doors().await, pipeline::edge::Settings::default()).await.recording();
    let engine = Counting::default();
    let answer = house.upload("clip.mp4", clip(folder.path())).await;
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let job = job["id"].as_str().unwrap().to_owned();
    let base = format!("/api/stream/{job}");
    let early = house.get(&format!("{base}/captions.vtt")).await;
    assert_eq!((early.status().as_u16(), early.headers().contains_key("retry-after")), (409, true));

    let first = worker(&house, &engine, "1");
    let shown = captions(&house, &job, "1").await;
    eventually("it is ready", || async {
        (house.json(&format!("/api/jobs/{job}")).await["state"] == "ready").then_some(())
    })
    .await;
    assert_eq!(
        (shown["language"].as_str(), shown["cues"].as_u64(), &shown["reason"]),
        (Some("en"), Some(2), &Value::Null)
    );
    let stages = house.json(&format!("/api/jobs/{job}")).await["stages"].clone();
    assert!(
        stages.as_array().unwrap().contains(&json!({ "name": "caption", "state": "done", "done": 1, "total": 1 })),
        "{stages}"
    );

    let (status, kind, vtt) = text(&house, shown["vtt"].as_str().unwrap()).await;
    assert_eq!((status, kind.as_str()), (200, "text/vtt; charset=utf-8"));
    assert!(vtt.starts_with("WEBVTT\n\n00:00:02.") && vtt.contains("Version 1 says 0 &amp; more."), "{vtt}");
    let (status, kind, srt) = text(&house, shown["srt"].as_str().unwrap()).await;
    assert_eq!((status, kind.as_str()), (200, "application/x-subrip; charset=utf-8"));
    assert!(srt.starts_with("1\n00:00:02,") && srt.contains("Version 1 says 0 & more."), "{srt}");

    let master = text(&house, &format!("{base}/master.m3u8")).await.2;
    assert!(
        master.contains("TYPE=SUBTITLES")
            && master.contains("LANGUAGE=\"en\"")
            && master.contains("SUBTITLES=\"captions\""),
        "{master}"
    );
    let playlist = text(&house, &format!("{base}/captions/index.m3u8")).await.2;
    let segment = playlist.lines().find(|line| line.ends_with(".vtt")).unwrap().to_owned();
    let (status, _, old) = text(&house, &format!("{base}/captions/{segment}")).await;
    assert_eq!(status, 200);
    assert!(old.starts_with("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n"), "{old}");
    plays(&house, &base, &segment, "Version 1 says 0 & more.");
    assert_eq!(house.get(&format!("{base}/captions/../source")).await.status(), 404);
    assert_eq!(house.get(&format!("{base}/captions/0000.vtt")).await.status(), 404);
    first.cancel();

    let encoded = engine.0.load(Ordering::SeqCst);
    assert!(encoded > 0);
    let second = worker(&house, &engine, "2");
    let body = json!({ "stage": "caption", "job": job }).to_string();
    let asked = house
        .http
        .post(house.url("/api/replay"))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), 202);
    let newer = captions(&house, &job, "2").await;
    assert_eq!(engine.0.load(Ordering::SeqCst), encoded, "nothing was encoded again");
    assert!(text(&house, newer["vtt"].as_str().unwrap()).await.2.contains("Version 2 says 0 &amp; more."));
    let again = text(&house, &format!("{base}/captions/{segment}")).await;
    assert_eq!((again.0, again.2), (200, old), "whoever plays the old ones plays on");
    assert_eq!(house.json(&format!("/api/jobs/{job}")).await["state"], "ready");
    second.cancel();

    let deleted = house.http.delete(house.url(&format!("/api/jobs/{job}"))).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    eventually("they are gone", || async {
        (house.get(&format!("{base}/captions/{segment}")).await.status() == 404).then_some(())
    })
    .await;
    assert_eq!(house.get(&format!("{base}/captions.vtt")).await.status(), 404);
}

/// What ffmpeg reads out of the file at `address`; and it plays the playlist although it passes subtitles by.
fn plays(house: &House, base: &str, file: &str, words: &str) {
    let run = |arguments: &[&str]| {
        let out = std::process::Command::new("ffmpeg").args(["-v", "error"]).args(arguments).output();
        let out = out.expect("ffmpeg is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let said = run(&["-i", &house.url(&format!("{base}/captions/{file}")), "-f", "srt", "-"]);
    assert!(said.contains(words) && said.contains("00:00:02,"), "{said}");
    run(&["-i", &house.url(&format!("{base}/master.m3u8")), "-t", "1", "-f", "null", "-"]);
}
