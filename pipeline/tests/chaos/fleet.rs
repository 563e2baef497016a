//! Edges and workers as processes of their own, which may be killed, stopped and started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::process::{announced, tail};

/// Longest time until a process serves whose doors are open, restarts included.
const START: Duration = Duration::from_secs(120);

/// Pause before a process that ended is started again, as a supervisor does.
const AGAIN: Duration = Duration::from_secs(1);

/// One edge or worker; dropped, it dies.
pub struct Process {
    /// What it is called.
    pub name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    folder: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that does not run yet.
    pub fn new(
        name: &str,
        binary: &Path,
        arguments: &[&str],
        environment: BTreeMap<String, String>,
        folder: &Path,
    ) -> Self {
        Self {
            name: name.to_owned(),
            binary: binary.to_owned(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            environment,
            folder: folder.to_owned(),
            child: None,
        }
    }

    /// Starts it, again and again where it ends because its doors are away; answers when it serves. Time in which doors are away
    /// does not count.
    pub async fn start(&mut self, are_doors_open: impl Fn() -> bool) -> Result<(), String> {
        let mut until = Instant::now() + START;
        loop {
            if !are_doors_open() {
                until = Instant::now() + START;
            }
            let mut child = self.spawn()?;
            if announced(&mut child, until.saturating_duration_since(Instant::now())).await.is_some() {
                self.child = Some(child);
                return Ok(());
            }
            let _ = child.kill().await;
            if Instant::now() > until {
                return Err(format!(
                    "{} does not start within {} s: {}",
                    self.name,
                    START.as_secs(),
                    tail(&self.log())
                ));
            }
            sleep(AGAIN).await;
        }
    }

    /// The number of the process, and of its group.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Its log, of all its lives.
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn spawn(&self) -> Result<Child, String> {
        let log = self.log();
        let log = std::fs::File::options().create(true).append(true).open(&log).map_err(|e| format!("{log:?}: {e}"))?;
        Command::new(&self.binary)
            .args(&self.arguments)
            .args(["--ops-listen", "127.0.0.1:0", "--data"])
            .arg(self.folder.join(&self.name))
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // So that stopping it stops what it has started.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("start {}: {error}", self.name))
    }

    /// SIGKILL to the process itself; what it has started must notice by itself.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    /// SIGSTOP or SIGCONT to it and what it has started.
    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Nothing of it goes on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on as if nothing had been.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended, when it did so by itself; a process that ends because a door went away breaks a promise.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// SIGTERM; answers whether it ended in order within `patience`.
    pub async fn stop(&mut self, patience: Duration) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        match timeout(patience, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(ended) => Err(format!("{} was asked to end and ended as {ended:?}", self.name)),
            Err(_) => Err(format!("{} was asked to end and did not within {} s", self.name, patience.as_secs())),
        }
    }
}
