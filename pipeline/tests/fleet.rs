//! Two edges and two workers on shared doors, in one process: what one knows all know.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "fleet/engine.rs"]
mod engine;
#[allow(dead_code, reason = "the edge's own tests use all of it")]
#[path = "edge/house.rs"]
mod house;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use connectors::Doors;
use futures::StreamExt;
use house::{House, doors, eventually, records_of};
use pipeline::media::{Engine, Error, Request, Run};
use pipeline::ml::listener::{Absent, Listener, Nobody};
use pipeline::ml::viewer::{Blind, Viewer};
use pipeline::runner::{Runner, Settings};
use pipeline::topology;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use engine::{InThread, Stepped, Stuck};

/// A worker that runs until it is dropped.
struct Worker {
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Worker {
    fn start<E: Engine + Clone>(doors: &Doors, name: &str, engine: &E) -> Self {
        let settings = Settings {
            slots: 2,
            heartbeat_interval: Duration::from_millis(100),
            progress_interval: Duration::from_millis(50),
            grace: Duration::ZERO,
            ..Settings::new(name)
        };
        let (runner, shutdown) = (Runner::new(doors.clone(), settings), CancellationToken::new());
        let stages = topology::stages(engine, &nobody(), &blind()).unwrap();
        let until = shutdown.clone();
        let running = tokio::spawn(async move { runner.run(stages, until).await.unwrap() });
        Self { shutdown, running: Some(running) }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
    }
}

/// Captions are no part of these tests.
fn nobody() -> Arc<dyn Listener> {
    Arc::new(Nobody(Absent("it is a test".to_owned())))
}

/// Neither is an image model.
fn blind() -> Arc<dyn Viewer> {
    Arc::new(Blind(Absent("it is a test".to_owned())))
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Media work in a thread, under the name of other libraries.
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

/// Twenty seconds of very small pictures: a dozen chunks.
fn clip() -> Vec<u8> {
    drawn("testsrc2=size=160x90:rate=25:duration=20")
}

fn drawn(graph: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args("-v error -y -f lavfi -i".split(' '))
        .arg(graph)
        .args("-c:v libx264 -preset ultrafast -g 25".split(' '))
        .arg(&file)
        .status()
        .expect("ffmpeg is installed");
    assert!(made.success());
    std::fs::read(&file).unwrap()
}

async fn uploaded(edge: &House) -> String {
    upload(edge, clip()).await
}

async fn upload(edge: &House, clip: Vec<u8>) -> String {
    let answer = edge.upload("clip.mp4", clip).await;
    assert_eq!(answer.status(), 201);
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    job["id"].as_str().unwrap().to_owned()
}

/// A time as answers have it. As texts they do not sort: `10.68Z` comes before `10.685Z`.
fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// The statuses in the text of an event stream.
fn statuses(text: &str) -> Vec<Value> {
    let whole = &text[..text.rfind("\n\n").unwrap_or(0)];
    let data = whole.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The statuses that an event stream tells, to its end. Work goes on by `step` permits whenever progress is told.
async fn watched(edge: &House, job: &str, permits: &Semaphore, step: usize) -> Vec<Value> {
    let mut stream = edge.get(&format!("/api/jobs/{job}/events")).await.bytes_stream();
    let (mut text, mut told) = (String::new(), -1.0);
    while let Some(piece) = stream.next().await {
        text.push_str(&String::from_utf8_lossy(&piece.unwrap()));
        let progress = statuses(&text).last().and_then(|status| status["progress"].as_f64()).unwrap_or(told);
        if progress > told {
            told = progress;
            permits.add_permits(step);
        }
        if text.contains("event: end") && text.ends_with("\n\n") {
            break;
        }
    }
    statuses(&text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_edge_answers_for_any_job_progress_included() {
    pipeline::media::worker::quiet();
    let doors = doors().await;
    let one = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
    let other = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
    let permits = Arc::new(Semaphore::new(0));
    let workers = ["w1", "w2"].map(|name| Worker::start(&doors, name, &Stepped(Arc::clone(&permits))));
    let job = uploaded(&one).await;
    // Asked at once: the edge that did not take the upload knows the job already.
    assert_eq!(other.json(&format!("/api/jobs/{job}")).await["id"], job);
    let told = watched(&other, &job, &permits, 3).await;
    let steps: Vec<f64> = told.iter().map(|status| status["progress"].as_f64().unwrap()).collect();
    assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]), "{steps:?}");
    assert!(steps.iter().filter(|step| (0.01..0.99).contains(*step)).count() >= 2, "progress is told: {steps:?}");
    assert_eq!((told.last().unwrap()["state"].as_str(), steps.last()), (Some("ready"), Some(&1.0)));
    for edge in [&one, &other] {
        // Each edge hears of it in its own time.
        eventually("the job is listed as ready", || async {
            let listed = edge.json("/api/jobs").await;
            (listed["jobs"][0]["id"] == job && listed["jobs"][0]["state"] == "ready").then_some(())
        })
        .await;
    }
    // The catalog may hear of the last work a little after the edge did.
    let spans = eventually("the timeline is whole", || async {
        let mut timeline = other.json(&format!("/api/jobs/{job}/timeline")).await;
        let Value::Array(spans) = timeline["spans"].take() else { panic!("no spans: {timeline}") };
        let count = |stage: &str| spans.iter().filter(|span| span["stage"] == stage).count();
        (count("probe") == 1 && count("stitch") == 1 && count("transcode") > 8).then_some(spans)
    })
    .await;
    for span in &spans {
        assert!(["w1", "w2"].contains(&span["worker"].as_str().unwrap()), "{span}");
        assert!(time(&span["began_at"]) <= time(&span["ended_at"]), "{span}");
    }
    let address = format!("/api/stream/{job}/360p");
    let (here, there) = (one.get(&address).await, other.get(&address).await);
    assert_eq!((here.status(), there.status()), (reqwest::StatusCode::OK, reqwest::StatusCode::OK));
    assert_eq!(here.headers()["etag"], there.headers()["etag"]);
    assert_eq!(here.bytes().await.unwrap(), there.bytes().await.unwrap());
    // One worker may have done it all before the other has said that it is there.
    let alive: Vec<(jiff::Timestamp, String)> = eventually("both workers are listed", || async {
        let listed = other.json("/api/workers").await;
        let workers = listed["workers"].as_array().unwrap();
        let named = |worker: &Value| (time(&worker["started_at"]), worker["id"].as_str().unwrap().to_owned());
        let named: Vec<_> = workers.iter().map(named).collect();
        (named.len() == 2).then_some(named)
    })
    .await;
    assert!(alive.is_sorted(), "whoever started first is first: {alive:?}");
    let mut names: Vec<&str> = alive.iter().map(|(_, id)| id.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["w1", "w2"]);
    for worker in workers {
        worker.stop().await;
    }
    assert!(
        one.json("/api/workers").await["workers"].as_array().unwrap().is_empty(),
        "who leaves in order is not gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_delete_on_one_edge_stop_all_work_everywhere_and_take_the_bytes() {
    pipeline::media::worker::quiet();
    for is_deleted in [false, true] {
        let doors = doors().await;
        let one = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
        let other = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
        let engines = [Stuck::default(), Stuck::default()];
        let workers = [Worker::start(&doors, "w1", &engines[0]), Worker::start(&doors, "w2", &engines[1])];
        let job = uploaded(&one).await;
        let busy = || engines.iter().map(|engine| engine.running.load(Ordering::SeqCst)).collect::<Vec<_>>();
        eventually("both workers encode", || async { busy().iter().all(|running| *running == 2).then_some(()) }).await;
        let began = Instant::now();
        if is_deleted {
            let answer = other.http.delete(other.url(&format!("/api/jobs/{job}"))).send().await.unwrap();
            assert_eq!(answer.status(), 202);
        } else {
            let answer = other.http.post(other.url(&format!("/api/jobs/{job}/cancel"))).send().await.unwrap();
            assert_eq!(answer.status(), 202);
        }
        eventually("nobody works on it", || async { (busy() == [0, 0]).then_some(()) }).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let left = || async {
            let blobs = doors.blobs.list(&format!("jobs/{job}/")).await.unwrap();
            blobs.into_iter().map(|blob| blob.key).collect::<Vec<_>>()
        };
        eventually("its bytes are gone", || async { left().await.is_empty().then_some(()) }).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        for edge in [&one, &other] {
            let address = format!("/api/jobs/{job}");
            if is_deleted {
                eventually("it is gone", || async { (edge.get(&address).await.status() == 404).then_some(()) }).await;
            } else {
                let state = || async { (edge.json(&address).await["state"] == "cancelled").then_some(()) };
                eventually("it is cancelled", state).await;
            }
        }
        // Nothing begins again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((busy(), left().await), (vec![0, 0], Vec::new()));
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_come_after_the_video_and_can_be_made_again_without_encoding_anything() {
    pipeline::media::worker::quiet();
    let doors = doors().await;
    let edge = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
    let worker = Worker::start(&doors, "w1", &Renamed("old libraries"));
    // Large enough that two in a hundred of its bytes are worth something.
    let job = upload(&edge, drawn("testsrc2=size=320x180:rate=25:duration=4,noise=alls=40:allf=t")).await;
    let address = format!("/api/jobs/{job}");
    let made_by = async |maker: &'static str| {
        let found = || async {
            let view = edge.json(&address).await;
            view["pictures"]["maker"].as_str().is_some_and(|made| made.starts_with(maker)).then_some(view)
        };
        eventually("it has pictures", found).await
    };
    let old = made_by("old libraries").await;
    assert_eq!((&old["state"], &old["progress"]), (&"ready".into(), &1.0.into()), "the video came first: {old}");
    let poster = edge.get(old["poster"].as_str().unwrap()).await;
    assert_eq!((poster.status().as_u16(), &poster.headers()["content-type"]), (200, &"image/jpeg".parse().unwrap()));
    assert_eq!(poster.bytes().await.unwrap()[..2], [0xff, 0xd8]);
    let cues = edge.get(old["storyboard"].as_str().unwrap()).await.text().await.unwrap();
    assert!(cues.starts_with("WEBVTT\n") && cues.contains("--> 00:00:04.000\nstoryboard.jpg?v="), "{cues}");
    let blobs = || async {
        let all = doors.blobs.list(&format!("jobs/{job}/pictures/")).await.unwrap();
        all.into_iter().map(|blob| blob.key).collect::<Vec<_>>()
    };
    let (before, encoded) = (blobs().await, records_of(&doors, "chunk.transcoded").await.len());
    worker.stop().await;

    let worker = Worker::start(&doors, "w2", &Renamed("new libraries"));
    let wish = serde_json::json!({ "stage": "illustrate", "job": job });
    let asked = edge.http.post(edge.url("/api/replay")).json(&wish);
    let answer: Value = serde_json::from_str(&asked.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["count"], 1, "{answer}");
    let new = made_by("new libraries").await;
    assert_eq!((&new["state"], &new["finished_at"]), (&old["state"], &old["finished_at"]), "its end stays its end");
    assert_eq!(records_of(&doors, "chunk.transcoded").await.len(), encoded, "nothing is encoded");
    let after = blobs().await;
    assert!(before.iter().all(|key| after.contains(key)) && after.len() == 2 * before.len(), "{before:?} {after:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_can_be_found_again_without_encoding_anything_and_the_newest_win() {
    pipeline::media::worker::quiet();
    let doors = doors().await;
    let edge = House::on(doors.clone(), pipeline::edge::Settings::default()).await.recording();
    let worker = Worker::start(&doors, "w1", &Renamed("old libraries"));
    let job = upload(&edge, drawn("mandelbrot=size=320x180:rate=25,trim=duration=3")).await;
    let address = format!("/api/jobs/{job}");
    let found_by = async |maker: &'static str| {
        let found = || async {
            let view = edge.json(&address).await;
            (view["content"]["maker"] == maker && view["state"] == "ready").then_some(view)
        };
        eventually("it has labels", found).await
    };
    let old = found_by("old libraries").await;
    let content = &old["content"];
    assert_eq!((&content["kind"], &content["no_model"]), (&"animation".into(), &"it is a test".into()), "{content}");
    let names: Vec<&str> =
        content["labels"].as_array().unwrap().iter().map(|label| label["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"no sound"), "{names:?}");
    assert!(content["features"]["palette"].as_f64().unwrap() > 1.0, "{content}");
    let encoded = records_of(&doors, "chunk.transcoded").await.len();
    worker.stop().await;

    let worker = Worker::start(&doors, "w2", &Renamed("new libraries"));
    let wish = serde_json::json!({ "stage": "classify", "job": job });
    let asked = edge.http.post(edge.url("/api/replay")).json(&wish);
    let answer: Value = serde_json::from_str(&asked.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["count"], 1, "{answer}");
    let new = found_by("new libraries").await;
    assert_eq!((&new["state"], &new["finished_at"]), (&old["state"], &old["finished_at"]), "its end stays its end");
    assert_eq!(new["content"]["labels"], content["labels"], "the same video shows the same");
    assert_eq!(records_of(&doors, "chunk.transcoded").await.len(), encoded, "nothing is encoded");
    assert_eq!(records_of(&doors, "source.classified").await.len(), 2, "the old ones can still be read");
    let listed = edge.json("/api/jobs?label=animation").await;
    assert_eq!(listed["jobs"][0]["id"], job.as_str(), "{listed}");
    assert_eq!(edge.json("/api/jobs?label=camera").await["jobs"], Value::Array(Vec::new()));
    worker.stop().await;
}
