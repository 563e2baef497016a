//! A set of real engines of its own: Kafka, Cassandra and SeaweedFS, by the script that runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use connectors::blobs::s3::{Keys, Settings as Bucket};
use connectors::clock::SystemClock;
use connectors::log::kafka::{self, Settings as Kafka};
use connectors::{Blobs, Catalog, Log, catalog::scylla};
use tokio::process::Command;

/// A set of engines; dropped, they end.
pub struct Engines {
    data: PathBuf,
    /// What the pipeline needs to find them.
    pub pipeline: BTreeMap<String, String>,
    /// What tests need to find them.
    tests: BTreeMap<String, String>,
}

impl Engines {
    /// Starts a set below `folder`, on ports that nobody uses.
    pub async fn up(folder: &Path) -> Result<Self, String> {
        let data = folder.join("engines");
        let mut engines = Self { data, pipeline: BTreeMap::new(), tests: BTreeMap::new() };
        engines.ask("up", &["--free-ports", "kafka", "cassandra", "seaweedfs"]).await?;
        engines.pipeline = variables(&engines.ask("env", &["pipeline"]).await?);
        engines.tests = variables(&engines.ask("env", &["tests"]).await?);
        Ok(engines)
    }

    async fn ask(&self, action: &str, words: &[&str]) -> Result<String, String> {
        let output = script(&self.data, action, words).output().await;
        let output = output.map_err(|error| format!("run ./dev engines: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("./dev engines {action} {}: {said}", words.join(" ")))
            }
        }
    }

    /// SIGKILL; answers when it is gone.
    pub async fn kill(&self, name: &str) -> Result<(), String> {
        self.ask("kill", &[name]).await.map(drop)
    }

    /// Starts it again where it was; answers when it is well.
    pub async fn again(&self, name: &str) -> Result<(), String> {
        self.ask("up", &[name]).await.map(drop)
    }

    /// `host:port` of Kafka's second listener, and the port where its clients are sent.
    pub fn second_listener(&self) -> Result<(String, u16), String> {
        let find = |name: &str| self.tests.get(name).cloned().ok_or_else(|| format!("the engines do not say {name}"));
        let (behind, before) = (find("STREAMFORGE_TEST_KAFKA_PROXIED")?, find("STREAMFORGE_TEST_KAFKA_PROXY")?);
        let port = before.rsplit(':').next().and_then(|port| port.parse().ok());
        Ok((behind, port.ok_or_else(|| format!("`{before}` has no port"))?))
    }

    fn pipeline(&self, name: &str) -> Result<&str, String> {
        self.pipeline.get(name).map(String::as_str).ok_or_else(|| format!("the engines do not say {name}"))
    }

    /// The log, for whoever wants to look at it.
    pub async fn log(&self) -> Result<impl Log + use<>, String> {
        let brokers = self.pipeline("STREAMFORGE_LOG")?.trim_start_matches("kafka://").to_owned();
        kafka::open(Kafka::new(brokers), std::sync::Arc::new(SystemClock)).await.map_err(|error| error.to_string())
    }

    /// The catalog, likewise.
    pub async fn catalog(&self) -> Result<impl Catalog + use<>, String> {
        let address = self.pipeline("STREAMFORGE_CATALOG")?.trim_start_matches("scylla://");
        let (node, keyspace) = address.split_once('/').ok_or("the catalog has no keyspace")?;
        let settings = scylla::Settings::new(vec![node.to_owned()], keyspace);
        scylla::open(settings).await.map_err(|error| error.to_string())
    }

    /// `host:port` of the S3 server.
    pub fn s3(&self) -> Result<&str, String> {
        Ok(self.pipeline("AWS_ENDPOINT_URL")?.trim_start_matches("http://"))
    }

    /// The blobs, likewise, not through anything that breaks.
    pub async fn blobs(&self) -> Result<Blobs, String> {
        let parsed = Bucket::parse(self.pipeline("STREAMFORGE_BLOBS")?).map_err(|error| error.to_string())?;
        let keys = Keys {
            id: self.pipeline("AWS_ACCESS_KEY_ID")?.to_owned(),
            secret: self.pipeline("AWS_SECRET_ACCESS_KEY")?.to_owned(),
            token: None,
        };
        let endpoint = Some(self.pipeline("AWS_ENDPOINT_URL")?.to_owned());
        let settings = Bucket { endpoint, keys: Some(keys), ..parsed };
        Blobs::in_bucket(&settings).await.map_err(|error| error.to_string())
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        let _ = script(&self.data, "down", &[]).into_std().output();
    }
}

fn script(data: &Path, action: &str, words: &[&str]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut command = Command::new(root.join("dev"));
    command.args(["engines", action, "--data"]).arg(data).args(words).stdin(std::process::Stdio::null());
    command
}

/// What lines such as `export NAME='value'` say.
fn variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
}
