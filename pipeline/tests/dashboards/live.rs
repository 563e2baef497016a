//! Every panel of every dashboard, asked of a Prometheus that watches a system with jobs in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::prometheus::Prometheus;
use crate::{Query, queries};

/// Longest time for a small clip to be ready, or for a number to show up in Prometheus.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running system; dropped, it dies.
struct System {
    _child: Child,
    url: String,
    ops: String,
    http: reqwest::Client,
}

impl System {
    async fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(folder.join("streamforge.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamforge"))
            .args(["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = async |mark: &str| {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once(mark) {
                    return address.trim().trim_end_matches('/').to_owned();
                }
            }
            panic!("streamforge up never said `{mark}`");
        };
        let url = said("serves at ").await;
        let ops = said("health at ").await;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _child: child, url, ops, http }
    }

    async fn upload(&self, name: &str, bytes: Vec<u8>) -> (u16, Value) {
        let request = self.http.post(format!("{}/api/upload?name={name}", self.url));
        let answer = request.header("content-type", "application/octet-stream").body(bytes).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }

    /// Uploads a video and waits for its end; answers its id and state.
    async fn job(&self, name: &str, bytes: Vec<u8>) -> (String, String) {
        let (status, body) = self.upload(name, bytes).await;
        assert_eq!(status, 201, "{body}");
        let id = body["id"].as_str().unwrap().to_owned();
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, body) = self.get(&format!("/api/jobs/{id}")).await;
            let job: Value = serde_json::from_slice(&body).unwrap();
            let state = job["state"].as_str().unwrap().to_owned();
            if matches!(state.as_str(), "ready" | "failed") {
                return (id, state);
            }
            assert!(Instant::now() < until, "no end: {job}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Two seconds of moving pictures with a tone.
async fn clip(folder: &Path) -> PathBuf {
    let file = folder.join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-f", "lavfi"])
        .args(["-i", "sine=f=400:d=2", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(&file)
        .status();
    assert!(made.await.unwrap().success(), "ffmpeg draws a clip");
    file
}

/// The expression as Grafana would send it for a short time range.
fn settled(expr: &str) -> String {
    expr.replace("$__rate_interval", "1m").replace("$__range", "10m")
}

#[tokio::test]
async fn every_panel_shows_something_about_a_running_system() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::start(folder.path(), &[]).await;
    let target = system.ops.trim_start_matches("http://").to_owned();
    let Some(prometheus) = Prometheus::start(folder.path(), &target).await else { return };
    wait(&prometheus, "sum(streamforge_door_up) == 3").await;
    let video = std::fs::read(clip(folder.path()).await).unwrap();

    let (first, state) = system.job("first.mp4", video.clone()).await;
    assert_eq!(state, "ready");
    let (status, bytes) = system.get(&format!("/api/stream/{first}/360p")).await;
    assert!(status == 200 && bytes.len() > 1_000, "{status}");
    // A series that Prometheus sees for the first time has no rate, so each kind of thing happens twice.
    wait(&prometheus, "sum(streamforge_jobs_ended_total{outcome=\"ready\"}) == 1").await;
    wait(&prometheus, "sum(streamforge_edge_sent_bytes_total{route=~\"/api/stream/.*\"}) > 1000").await;
    let (second, state) = system.job("second.mp4", video.clone()).await;
    assert_eq!(state, "ready");
    system.get(&format!("/api/stream/{second}/360p")).await;
    // What goes wrong shows as well: no video at all, nothing there, and a video that is cut off.
    assert_eq!(system.upload("words.txt", b"these are words".repeat(100)).await.0, 415);
    assert_eq!(system.get("/api/jobs/01KAR4C5M8T0N4Q2V6X8Z0B2D4").await.0, 404);
    assert_eq!(system.job("torn.mp4", video[..video.len() / 3].to_vec()).await.1, "failed");
    wait(&prometheus, "sum(streamforge_jobs_ended_total) == 3").await;
    wait(&prometheus, "sum(streamforge_dead_letters_total) >= 1").await;

    // Clients of Kafka are another test's.
    let open: Vec<_> = queries().into_iter().filter(|query| !is_about_kafka(query)).collect();
    assert!(open.len() > 40, "{}", open.len());
    all_show(&prometheus, open).await;

    // What happened once is shown as well, although a counter that begins with one has no rate.
    for title in ["Errors", "Dead letters", "Refusals"] {
        let shown = queries().into_iter().filter(|query| query.place.ends_with(&format!(": {title}")));
        let any: Vec<String> = shown.map(|query| format!("({}) > 0", query.expr)).collect();
        wait(&prometheus, &any.join(" or ")).await;
    }
    // Two clips of two seconds at 25 frames a second, each in one quality; the samples of their sound are no frames.
    assert_eq!(prometheus.ask("sum(streamforge_frames_encoded_total)").await.unwrap(), ["100"]);
    wait(&prometheus, "ALERTS{alertname=\"DeadLetters\", stage=\"probe\"}").await;
    assert_eq!(prometheus.broken_rules().await, Vec::<String>::new());
    // Whether the disk of this machine is nearly full is not for this test to say.
    let expected = ["DeadLetters", "DiskFills"];
    let unexpected: Vec<_> =
        prometheus.alerts().await.into_iter().filter(|name| !expected.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "a healthy system raises {unexpected:?}");
}

/// Whether a query is about clients that a system on the embedded log does not have.
fn is_about_kafka(query: &Query) -> bool {
    query.expr.contains("streamforge_kafka_")
}

/// Waits until each of the queries has found something.
async fn all_show(prometheus: &Prometheus, mut open: Vec<Query>) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let mut silent = Vec::new();
        for query in open {
            match prometheus.ask(&settled(&query.expr)).await {
                // A quantile of nothing is no number: it draws no line.
                Ok(values) if values.iter().any(|value| value != "NaN") => {}
                Ok(_) => silent.push(query),
                Err(error) => panic!("{}: {error}: {}", query.place, query.expr),
            }
        }
        if silent.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "these show nothing:\n{silent:#?}");
        open = silent;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn every_panel_about_kafka_shows_something_about_a_system_on_kafka() {
    let Ok(brokers) = std::env::var("STREAMFORGE_TEST_KAFKA") else {
        println!("not run here: panels about Kafka need kafka; ./dev engines up");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("dashboards-{:08x}-", rand::random::<u32>());
    let settings = [("STREAMFORGE_LOG", &*format!("kafka://{brokers}")), ("STREAMFORGE_TOPIC_PREFIX", &prefix)];
    let system = System::start(folder.path(), &settings).await;
    let target = system.ops.trim_start_matches("http://").to_owned();
    let Some(prometheus) = Prometheus::start(folder.path(), &target).await else { return };
    let video = std::fs::read(clip(folder.path()).await).unwrap();
    assert_eq!(system.job("first.mp4", video).await.1, "ready");
    let open: Vec<_> = queries().into_iter().filter(is_about_kafka).collect();
    assert!(open.len() > 10, "{}", open.len());
    all_show(&prometheus, open).await;
    // Every stage is a member with partitions of its own, and somebody wrote what they read.
    wait(&prometheus, "streamforge_kafka_partitions{client=~\".*streamforge.transcode\"} == 16").await;
    wait(&prometheus, "streamforge_kafka_sent_bytes_total{client=\"producer\"} > 0").await;
    wait(&prometheus, "streamforge_kafka_latency_seconds{client=\"producer\", quantile=\"0.5\"} > 0").await;
}

/// Waits until an expression has a value.
async fn wait(prometheus: &Prometheus, expr: &str) {
    let until = Instant::now() + PATIENCE;
    while prometheus.ask(expr).await.unwrap().is_empty() {
        assert!(Instant::now() < until, "never came true: {expr}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
