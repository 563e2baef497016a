//! A running `streamforge up` on real engines.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::place::Place;
use super::process::{serves_at, tail};

/// Longest time until it serves: tables and topics are made for the first time.
const START: Duration = Duration::from_secs(180);

/// Longest time until anything else that is waited for has happened.
const PATIENCE: Duration = Duration::from_secs(240);

/// One server process; dropped, it dies at once.
pub struct Server {
    _child: Child,
    /// Address without a slash at the end.
    pub url: String,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts every role on the engines of `place`, with `more` variables, and waits until it says where it serves.
    pub async fn start(place: &Place, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let errors = std::fs::File::create(log(folder.path())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamforge"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("STREAMFORGE_") || name.starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .envs(place.variables())
            .envs(more.iter().copied())
            .env("RUST_LOG", "info")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("start streamforge");
        let Some(url) = serves_at(&mut child, START).await else {
            panic!("streamforge up does not serve:\n{}", tail(&log(folder.path())));
        };
        Self { _child: child, url, folder }
    }

    /// Status and JSON of a GET.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Uploads over HTTP; answers the job.
    pub async fn upload(&self, video: &[u8]) -> String {
        let request = reqwest::Client::new().post(format!("{}/api/upload?name=clip.mp4", self.url));
        let answer = request.header("content-type", "video/mp4").body(video.to_vec()).send().await.unwrap();
        let job: Value = answer.error_for_status().unwrap().json().await.unwrap();
        job["id"].as_str().unwrap().to_owned()
    }

    /// The job once it is in `state`; another end is a failure.
    pub async fn job_in(&self, state: &str, job: &str) -> Value {
        self.eventually(&format!("job {job} is {state}"), || async move {
            let (_, found) = self.get(&format!("/api/jobs/{job}")).await;
            let said = found["state"].as_str().unwrap_or_default();
            let is_over = ["ready", "failed", "cancelled"].contains(&said);
            assert!(!is_over || said == state, "{found}\n{}", self.log_tail());
            (said == state).then_some(found)
        })
        .await
    }

    /// What `look` finds, asked again until it finds something.
    pub async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.log_tail());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&log(self.folder.path()))
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}
