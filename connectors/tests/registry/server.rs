//! Apicurio as a process of a test's own, which keeps everything in memory.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports;

/// How long it may take to start.
const START: Duration = Duration::from_secs(180);

/// A registry; dropped, it is gone with all it had.
pub struct Apicurio {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Apicurio {
    /// Starts one and waits until it answers; says so where there is none.
    pub async fn start(what: &str) -> Option<Self> {
        let home = std::env::var_os("STREAMFORGE_TEST_REGISTRY_HOME").map(PathBuf::from);
        let (Some(home), Ok(java)) = (home, std::env::var("STREAMFORGE_TEST_JAVA")) else {
            println!("not run here: {what} needs Apicurio; ./dev engines fetch registry");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let [port] = ports::free();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(java)
            .args(["-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Dquarkus.http.host=127.0.0.1", &format!("-Dquarkus.http.port={port}")])
            .args(["-Dapicurio.storage.kind=sql", "-Dapicurio.storage.sql.kind=h2", "-jar"])
            .arg(home.join("apicurio-registry-app-3.0.9-runner.jar"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("start Java");
        let mut registry = Self { process, port, folder };
        let began = Instant::now();
        while !registry.answers().await {
            let is_over = registry.process.try_wait().unwrap().is_some() || began.elapsed() > START;
            assert!(!is_over, "Apicurio does not start:\n{}", registry.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Some(registry)
    }

    /// Where it speaks Confluent's API.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    async fn answers(&self) -> bool {
        let answer = reqwest::get(format!("{}/subjects", self.address())).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Apicurio {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
