//! A running `streamforge up`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::process::{serves_at, tail};

/// Longest time from the start of the process to the line that names its address.
const START: Duration = Duration::from_secs(60);

/// One server process; dropped, it dies at once.
pub struct Server {
    child: Child,
    /// Address without a slash at the end.
    pub url: String,
    log: PathBuf,
}

impl Server {
    /// Starts every role on `data` and waits until it says where it serves.
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// The same with more in its environment.
    pub async fn start_with(data: &Path, environment: &[(&str, &str)]) -> Self {
        let log = data.with_extension("log");
        let errors = std::fs::File::options().create(true).append(true).open(&log).expect("open the server's log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamforge"))
            .args(["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs(environment.iter().copied())
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("start streamforge");
        let Some(url) = serves_at(&mut child, START).await else {
            panic!("streamforge up did not say where it serves; its log:\n{}", tail(&log));
        };
        Self { child, url, log }
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("kill streamforge");
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}
