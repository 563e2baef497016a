//! Roles as processes of their own on real engines, with topics, tables and blobs that nobody else uses.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connectors::blobs::s3;
use connectors::clock::SystemClock;
use connectors::log::Prefixed;
use connectors::log::kafka::{self, Settings as KafkaSettings};
use connectors::{Blobs, Log};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal, kill_process};
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;

use crate::quota::Quota;
use crate::server::{Outcome, binary};

/// How long a process may take to end in good order.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names on the engines that are this run's own.
pub struct Place {
    brokers: String,
    nodes: String,
    keyspace: String,
    blobs: String,
    prefix: String,
    /// Where processes keep what they keep; gone with this value.
    pub folder: tempfile::TempDir,
}

impl Place {
    /// Takes the engines from the environment, as `./dev engines env pipeline` tells them.
    pub fn new() -> Outcome<Self> {
        let variable = |name: &str, scheme: &str| -> Outcome<String> {
            let found = std::env::var(name).ok().and_then(|at| at.strip_prefix(scheme).map(str::to_owned));
            Ok(found.ok_or_else(|| format!("{name} names no {scheme}: ./dev engines up, then ./dev bench scale"))?)
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let catalog = variable("STREAMFORGE_CATALOG", "scylla://")?;
        let nodes = catalog.split('/').next().unwrap_or_default().to_owned();
        let bucket = variable("STREAMFORGE_BLOBS", "s3://")?;
        let name = format!("bench-{}-{now}", std::process::id());
        Ok(Self {
            brokers: variable("STREAMFORGE_LOG", "kafka://")?,
            nodes,
            keyspace: name.replace('-', "_"),
            blobs: format!("s3://{}/{name}", bucket.trim_end_matches('/')),
            prefix: format!("{name}-"),
            folder: tempfile::tempdir()?,
        })
    }

    /// The log, as the processes see it.
    pub async fn log(&self) -> Outcome<Arc<dyn Log>> {
        let log = kafka::open(KafkaSettings::new(&self.brokers), Arc::new(SystemClock)).await?;
        Ok(Arc::new(Prefixed::new(Arc::new(log), &self.prefix)))
    }

    /// Starts `streamforge <arguments>`, within `quota` where there is one, and waits until it says that it runs.
    ///
    /// Processes whose `machine` is the same share a data folder: sources are copied to it once.
    pub fn start(&self, name: &str, machine: &str, arguments: &[&str], quota: Option<Quota>) -> Outcome<Process> {
        let mut quota = quota;
        let journal = self.folder.path().join(format!("{name}.log"));
        let program = binary()?;
        let mut command = quota.as_ref().map_or_else(|| Command::new(&program), |quota| quota.command(&program));
        command
            .args(arguments)
            .args(["--ops-listen", "127.0.0.1:0", "--log-format", "json", "--grace-s", "5", "--data"])
            .arg(self.folder.path().join(machine))
            .args(["--log", &format!("kafka://{}", self.brokers), "--topic-prefix", &self.prefix])
            .args(["--catalog", &format!("scylla://{}/{}", self.nodes, self.keyspace), "--blobs", &self.blobs])
            .env_remove("STREAMFORGE_BINARY")
            .env("RUST_LOG", "info,pipeline::media=debug,connectors::blobs=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&journal)?);
        let spawned = SystemTime::now();
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no output of the process")?;
        let mut process = Process { child, url: String::new(), journal, spawned, quota: None };
        if let Some(quota) = &mut quota {
            quota.attach(process.pid())?;
        }
        process.quota = quota;
        let mut said = Vec::new();
        for line in BufReader::new(output).lines().take(2) {
            said.push(line?);
        }
        let url = said.iter().find_map(|line| line.split_once("serves at "));
        process.url = url.map_or("", |(_, url)| url.trim_end_matches('/')).to_owned();
        if said.len() < 2 {
            return Err(format!("{name} did not start: {}", process.said()).into());
        }
        Ok(process)
    }

    /// Removes everything that this run has made on the engines.
    pub async fn clean_up(&self) -> Outcome<()> {
        let settings = s3::Settings::parse(&self.blobs)?.with_environment(|name| std::env::var(name).ok())?;
        Blobs::in_bucket(&settings).await?.delete_prefix("jobs/").await?;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let topics = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
        let names = topics.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(&self.prefix));
        admin.delete_topics(&names.collect::<Vec<_>>(), &AdminOptions::new()).await?;
        let session = SessionBuilder::new().known_nodes(self.nodes.split(',')).build().await?;
        let mut drop = Statement::new(format!("DROP KEYSPACE IF EXISTS \"{}\"", self.keyspace));
        drop.set_request_timeout(Some(Duration::from_secs(60)));
        session.query_unpaged(drop, ()).await?;
        Ok(())
    }
}

/// A running process of a role.
pub struct Process {
    child: Child,
    /// Where an edge serves, without a slash at the end.
    pub url: String,
    /// Its log lines, JSON.
    pub journal: PathBuf,
    /// When it was started.
    pub spawned: SystemTime,
    quota: Option<Quota>,
}

impl Process {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything in its log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.journal).unwrap_or_default()
    }

    /// Asks it to end and waits for it.
    pub fn stop(mut self) -> Outcome<()> {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let began = std::time::Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err(format!("a process does not end: {}", last_lines(&self.journal)).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, not even an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.quota.take());
    }
}

fn last_lines(journal: &Path) -> String {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
