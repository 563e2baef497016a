//! Opens the doors that addresses name, side by side: those of this machine, or services of the network.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::blobs::s3;
use crate::catalog::scylla as cluster;
use crate::clock::Clock;
use crate::log::registered::{self, Registered};
use crate::log::registry::{self, Address};
use crate::log::{Prefixed, kafka};
use crate::store::OpenError;
use crate::{Blobs, Catalog, Doors, Log, embedded};

/// A door that is not open after this time counts as closed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Most that copies of sources take in the folder `cache` below the data folder while nobody uses them, bytes.
pub const CACHE_BYTES: u64 = 10_000_000_000;

/// How long it may take until the tables of a new catalog are made, by this process or another.
const FIRST_TABLES: Duration = Duration::from_secs(120);

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogAt {
    /// In the data folder, for one process.
    Embedded,
    /// Apache Kafka.
    Kafka(Brokers),
}

/// Brokers of a Kafka cluster and how to talk to them.
#[derive(Clone, PartialEq, Eq)]
pub struct Brokers {
    /// `host:port` of some of them.
    pub brokers: Vec<String>,
    /// Properties of the client library, such as `sasl.username`. May hold secrets.
    pub properties: BTreeMap<String, String>,
    /// What the names of all topics and groups begin with in this cluster.
    pub prefix: String,
    /// Name of this process for static membership.
    pub instance: Option<String>,
    /// How long a member that says nothing counts as alive.
    pub session_timeout: Duration,
    /// A schema registry; absent: the built-in schema ids.
    pub registry: Option<Address>,
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of properties may be secrets.
        f.debug_struct("Brokers")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .field("prefix", &self.prefix)
            .field("instance", &self.instance)
            .field("session_timeout", &self.session_timeout)
            .field("registry", &self.registry)
            .finish()
    }
}

/// Where the catalog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogAt {
    /// In the data folder, for one process.
    Embedded,
    /// ScyllaDB or Apache Cassandra.
    Scylla(Cluster),
}

/// Nodes of a ScyllaDB cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port` of some of them.
    pub nodes: Vec<String>,
    /// The keyspace; made when it is missing.
    pub keyspace: String,
    /// Who asks; absent: nobody in particular.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Copies of each row per datacenter when the keyspace is made; absent: three, or one a node where there are fewer.
    pub replication: Option<u32>,
    /// The datacenter whose nodes are asked first.
    pub datacenter: Option<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("has_user", &self.user.is_some())
            .finish_non_exhaustive()
    }
}

/// Where the blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobsAt {
    /// In a folder. Several processes may share it.
    Folder(PathBuf),
    /// In a bucket of an S3 service, which the usual `AWS_*` variables describe.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; empty, or without slashes at its ends.
        prefix: String,
    },
}

/// Which doors are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Folder of the embedded doors.
    pub data: PathBuf,
    /// The log.
    pub log: LogAt,
    /// The catalog.
    pub catalog: CatalogAt,
    /// The blobs.
    pub blobs: BlobsAt,
}

/// One of the three doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Where events travel.
    Log,
    /// Where job rows lie.
    Catalog,
    /// Where bytes lie.
    Blobs,
}

impl Door {
    /// The setting that says where it is.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Catalog => "catalog",
            Self::Blobs => "blobs",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Catalog => "catalog",
            Self::Blobs => "blob store",
        })
    }
}

/// Why a door did not open.
#[derive(Debug, thiserror::Error)]
#[error("open the {door} ({at})")]
pub struct Error {
    /// The door.
    pub door: Door,
    /// Where it was looked for, without secrets.
    pub at: String,
    /// What went wrong.
    #[source]
    pub why: Why,
}

/// What keeps a door closed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It belongs to another process.
    #[error(transparent)]
    InUse(OpenError),
    /// Its files cannot be opened.
    #[error(transparent)]
    Files(OpenError),
    /// It does not answer.
    #[error("it did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The schema registry is of no use.
    #[error(transparent)]
    Registry(registry::Trouble),
    /// The service refuses, or cannot be reached.
    #[error(transparent)]
    Service(Box<dyn std::error::Error + Send + Sync>),
    /// The bucket cannot be used.
    #[error(transparent)]
    Bucket(s3::Trouble),
    /// This build has no such door.
    #[error("{0} is not in this build yet")]
    NotInThisBuild(&'static str),
}

impl Error {
    /// What to do about it, in one sentence.
    pub fn advice(&self) -> String {
        let setting = self.door.setting();
        match (&self.why, self.door) {
            (Why::InUse(_), _) => "stop the other process, or name another folder with --data".to_owned(),
            (Why::Files(_), _) => "`streamforge doctor` checks the folder of `data` and its disk".to_owned(),
            (Why::Bucket(trouble), _) => trouble.advice(),
            (Why::Registry(trouble), _) => trouble.advice().to_owned(),
            (Why::NotInThisBuild(_), _) => format!("leave `{setting}` out, and this door is embedded"),
            (_, Door::Log) => {
                "see that a broker runs there and listens for this machine; security is set by STREAMFORGE_KAFKA_… variables"
                    .to_owned()
            }
            (_, Door::Catalog) => "see that a node runs there and that user and password are right".to_owned(),
            (_, Door::Blobs) => {
                "see that folder or bucket can be written, and that the AWS_… variables name the right service".to_owned()
            }
        }
    }
}

/// Opens all doors at once; what does not open within [`PATIENCE`] fails. Every door that failed is told.
pub async fn open(wanted: &Wanted, clock: Arc<dyn Clock>) -> Result<Doors, Vec<Error>> {
    match tokio::join!(log(wanted, Arc::clone(&clock)), catalog(wanted), blobs(wanted)) {
        (Ok(log), Ok(catalog), Ok(blobs)) => Ok(Doors { log, catalog, blobs, clock }),
        (log, catalog, blobs) => Err([log.err(), catalog.err(), blobs.err()].into_iter().flatten().collect()),
    }
}

/// Opens the log alone.
pub async fn log(wanted: &Wanted, clock: Arc<dyn Clock>) -> Result<Arc<dyn Log>, Error> {
    patiently(PATIENCE, Door::Log, wanted.log_at(), open_log(wanted, clock)).await
}

/// Asks the schema registry what it lacks of ours, where one is wanted, and changes nothing: answers where it is, and the
/// subjects that are there without our newest schema.
pub async fn registry(wanted: &Wanted) -> Option<Result<(String, Vec<String>), registry::Trouble>> {
    let address = wanted.registry()?;
    let asked = async { registry::Client::new(address)?.lacking(wanted.topic_prefix()).await };
    Some(asked.await.map(|lacking| (address.to_string(), lacking)))
}

/// Opens the catalog alone.
pub async fn catalog(wanted: &Wanted) -> Result<Arc<dyn Catalog>, Error> {
    let patience = match &wanted.catalog {
        CatalogAt::Embedded => PATIENCE,
        // Says by itself within this time that nobody answers; what takes longer is making tables for the first time.
        CatalogAt::Scylla(_) => FIRST_TABLES,
    };
    patiently(patience, Door::Catalog, wanted.catalog_at(), open_catalog(wanted)).await
}

/// Whether the catalog is there as this program wants it, for those who only look: a catalog is made when it is opened.
/// False where nothing is yet, or tables of an older program are; the service answers all the same.
pub async fn is_catalog_made(wanted: &Wanted) -> Result<bool, Error> {
    let looked = async {
        match &wanted.catalog {
            CatalogAt::Embedded => Ok(wanted.data.join(embedded::CATALOG_FILE).is_file()),
            CatalogAt::Scylla(at) => {
                cluster::is_made(&cluster_settings(at)).await.map_err(|error| Why::Service(Box::new(error)))
            }
        }
    };
    patiently(PATIENCE, Door::Catalog, wanted.catalog_at(), looked).await
}

/// Whether the log is there, for those who only look: an embedded one is made when it is opened.
pub fn is_log_made(wanted: &Wanted) -> bool {
    wanted.log != LogAt::Embedded || wanted.data.join(embedded::LOG_FILE).is_file()
}

/// Opens the blob store alone and makes no folder for copies, for those who only look.
pub async fn blobs_alone(wanted: &Wanted) -> Result<Blobs, Error> {
    patiently(PATIENCE, Door::Blobs, wanted.blobs_at(), open_store(wanted)).await
}

/// Opens the blob store alone.
pub async fn blobs(wanted: &Wanted) -> Result<Blobs, Error> {
    patiently(PATIENCE, Door::Blobs, wanted.blobs_at(), open_blobs(wanted)).await
}

async fn patiently<T>(
    patience: Duration,
    door: Door,
    at: String,
    opening: impl Future<Output = Result<T, Why>>,
) -> Result<T, Error> {
    let opened = tokio::time::timeout(patience, opening).await.unwrap_or(Err(Why::Late(patience)));
    opened.map_err(|why| Error { door, at, why })
}

impl Wanted {
    /// Where the log is, without secrets.
    pub fn log_at(&self) -> String {
        match &self.log {
            LogAt::Embedded => format!("embedded in {}", self.data.display()),
            LogAt::Kafka(kafka) => format!("kafka://{}", kafka.brokers.join(",")),
        }
    }

    /// Where the catalog is, without secrets.
    pub fn catalog_at(&self) -> String {
        match &self.catalog {
            CatalogAt::Embedded => format!("embedded in {}", self.data.display()),
            CatalogAt::Scylla(scylla) => format!("scylla://{}/{}", scylla.nodes.join(","), scylla.keyspace),
        }
    }

    /// Where the blobs are.
    pub fn blobs_at(&self) -> String {
        match &self.blobs {
            BlobsAt::Folder(folder) => format!("file://{}", folder.display()),
            BlobsAt::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
        }
    }

    /// What the names of all topics begin with in the log; empty where nobody else uses it.
    pub fn topic_prefix(&self) -> &str {
        match &self.log {
            LogAt::Embedded => "",
            LogAt::Kafka(kafka) => &kafka.prefix,
        }
    }

    /// The schema registry whose ids lie in the log; absent: the built-in ids.
    pub fn registry(&self) -> Option<&Address> {
        match &self.log {
            LogAt::Embedded => None,
            LogAt::Kafka(kafka) => kafka.registry.as_ref(),
        }
    }

    /// The same without the registry.
    #[must_use]
    pub fn without_registry(&self) -> Self {
        let mut wanted = self.clone();
        if let LogAt::Kafka(kafka) = &mut wanted.log {
            kafka.registry = None;
        }
        wanted
    }

    /// Whether log or catalog belong to this process alone.
    pub fn is_one_process(&self) -> bool {
        self.log == LogAt::Embedded || self.catalog == CatalogAt::Embedded
    }
}

async fn open_log(wanted: &Wanted, clock: Arc<dyn Clock>) -> Result<Arc<dyn Log>, Why> {
    match &wanted.log {
        LogAt::Embedded => {
            let data = wanted.data.clone();
            let log = on_a_thread(move || embedded::open_log(&data, clock).map_err(files)).await?;
            Ok(Arc::new(log))
        }
        LogAt::Kafka(at) => {
            let settings = kafka::Settings {
                brokers: at.brokers.join(","),
                properties: at.properties.clone(),
                instance: at.instance.clone(),
                session_timeout: at.session_timeout,
            };
            let enrolling = async {
                match &at.registry {
                    Some(address) => registered::enroll(address, &at.prefix).await.map(Some),
                    None => Ok(None),
                }
            };
            let (log, enrolled) = tokio::join!(kafka::open(settings, clock), enrolling);
            let log: Arc<dyn Log> = Arc::new(log.map_err(|error| Why::Service(Box::new(error)))?);
            let log = if at.prefix.is_empty() { log } else { Arc::new(Prefixed::new(log, &at.prefix)) };
            Ok(match enrolled.map_err(Why::Registry)? {
                Some(enrolled) => Arc::new(Registered::new(log, enrolled)),
                None => log,
            })
        }
    }
}

async fn open_catalog(wanted: &Wanted) -> Result<Arc<dyn Catalog>, Why> {
    match &wanted.catalog {
        CatalogAt::Embedded => {
            let data = wanted.data.clone();
            let catalog = on_a_thread(move || embedded::open_catalog(&data).map_err(files)).await?;
            Ok(Arc::new(catalog))
        }
        CatalogAt::Scylla(wanted) => {
            let settings = cluster_settings(wanted);
            Ok(Arc::new(cluster::open(settings).await.map_err(|error| Why::Service(Box::new(error)))?))
        }
    }
}

fn cluster_settings(at: &Cluster) -> cluster::Settings {
    cluster::Settings {
        user: at.user.clone(),
        password: at.password.clone(),
        replication: at.replication,
        local_datacenter: at.datacenter.clone(),
        ..cluster::Settings::new(at.nodes.clone(), &at.keyspace)
    }
}

async fn open_blobs(wanted: &Wanted) -> Result<Blobs, Why> {
    let blobs = open_store(wanted).await?;
    let cache = wanted.data.join("cache");
    on_a_thread(move || blobs.with_cache(&cache, CACHE_BYTES).map_err(refused)).await
}

async fn open_store(wanted: &Wanted) -> Result<Blobs, Why> {
    match &wanted.blobs {
        BlobsAt::Folder(folder) => {
            let folder = folder.clone();
            on_a_thread(move || Blobs::in_folder(&folder).map_err(refused)).await
        }
        BlobsAt::S3 { .. } => {
            let settings = s3::Settings::parse(&wanted.blobs_at()).map_err(Why::Bucket)?;
            let settings = settings.with_environment(|name| std::env::var(name).ok()).map_err(Why::Bucket)?;
            Blobs::in_bucket(&settings).await.map_err(Why::Bucket)
        }
    }
}

/// Disks may take their time; the other doors open meanwhile.
async fn on_a_thread<T: Send + 'static>(open: impl FnOnce() -> Result<T, Why> + Send + 'static) -> Result<T, Why> {
    tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(Why::Service(Box::new(error))))
}

fn files(error: OpenError) -> Why {
    if matches!(error, OpenError::InUse(_)) { Why::InUse(error) } else { Why::Files(error) }
}

fn refused(error: crate::blobs::Error) -> Why {
    Why::Service(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn wanted(data: PathBuf) -> Wanted {
        let blobs = BlobsAt::Folder(data.join("blobs"));
        Wanted { data, log: LogAt::Embedded, catalog: CatalogAt::Embedded, blobs }
    }

    fn said(errors: &[Error]) -> Vec<String> {
        errors.iter().map(|error| format!("{error}: {}", error.why)).collect()
    }

    #[tokio::test]
    async fn every_door_that_stays_closed_is_told_with_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        let first = open(&wanted(folder.clone()), Arc::new(SystemClock)).await.map_err(|errors| said(&errors)).unwrap();
        let errors = open(&wanted(folder), Arc::new(SystemClock)).await.err().unwrap();
        let doors: Vec<Door> = errors.iter().map(|error| error.door).collect();
        assert_eq!(doors, [Door::Log, Door::Catalog], "{:?}: a folder of blobs may be shared", said(&errors));
        assert!(errors.iter().all(|error| error.advice().contains("--data")), "{:?}", said(&errors));
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_that_never_answers_is_given_up_after_ten_seconds() {
        let began = tokio::time::Instant::now();
        let never = std::future::pending::<Result<(), Why>>();
        let error = patiently(PATIENCE, Door::Catalog, "scylla://h:1/k".to_owned(), never).await.unwrap_err();
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(said(&[error]), ["open the catalog (scylla://h:1/k): it did not answer within 10 s"]);
    }

    #[test]
    fn secrets_are_not_in_what_is_printed() {
        let kafka = Brokers {
            brokers: vec!["h:1".to_owned()],
            properties: BTreeMap::from([("sasl.password".to_owned(), "hunter2".to_owned())]),
            prefix: String::new(),
            instance: None,
            session_timeout: PATIENCE,
            registry: Some(Address::parse("http://u:hunter2@h").unwrap()),
        };
        let scylla = Cluster {
            nodes: vec!["h:1".to_owned()],
            keyspace: "k".to_owned(),
            user: Some("u".to_owned()),
            password: Some("hunter2".to_owned()),
            replication: None,
            datacenter: None,
        };
        let mut wanted = wanted(PathBuf::from("data"));
        wanted.log = LogAt::Kafka(kafka);
        wanted.catalog = CatalogAt::Scylla(scylla);
        let printed = format!("{wanted:?} {} {}", wanted.log_at(), wanted.catalog_at());
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
