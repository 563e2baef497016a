//! The engines of a test, and names in them that nobody else has.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use connectors::blobs::s3::{Keys, Settings, make_bucket};
use connectors::clock::SystemClock;
use connectors::log::{Prefixed, kafka};
use connectors::{Blobs, Log};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;

const BUCKET: &str = "streamforge-tests";

/// Where a StreamForge of a test's own keeps everything.
#[derive(Clone)]
pub struct Place {
    /// Address of the broker.
    pub brokers: String,
    /// Address of the node of the catalog.
    pub node: String,
    /// What all topics begin with.
    pub prefix: String,
    /// Where job rows lie.
    pub keyspace: String,
    /// Where bytes lie.
    pub store: Settings,
}

impl Place {
    /// A fresh place on the engines that run; says so where one does not.
    pub fn find(what: &str) -> Option<Self> {
        let address = |name: &str| std::env::var(name).ok().filter(|address| !address.is_empty());
        let found =
            (address("STREAMFORGE_TEST_KAFKA"), address("STREAMFORGE_TEST_CQL"), address("STREAMFORGE_TEST_S3"));
        let (Some(brokers), Some(node), Some(endpoint)) = found else {
            println!("not run here: {what} need Kafka, Cassandra and SeaweedFS; ./dev engines up");
            return None;
        };
        let own = format!("{:016x}", rand::random::<u64>());
        let key = |name: &str| address(name).unwrap_or_else(|| "streamforge".to_owned());
        let keys = Keys { id: key("STREAMFORGE_TEST_S3_KEY"), secret: key("STREAMFORGE_TEST_S3_SECRET"), token: None };
        let store = Settings {
            endpoint: Some(endpoint),
            keys: Some(keys),
            ..Settings::parse(&format!("s3://{BUCKET}/clients/{own}")).unwrap()
        };
        let (prefix, keyspace) = (format!("clients-{own}-"), format!("clients_{own}"));
        Some(Self { brokers, node, prefix, keyspace, store })
    }

    /// Runs `check` here, and takes away what it left, whatever comes of it.
    pub async fn with<F: Future<Output = ()> + Send + 'static>(self, check: impl FnOnce(Self) -> F) {
        make_bucket(&self.store).await.unwrap();
        let ran = tokio::spawn(check(self.clone())).await;
        self.clear().await;
        if let Err(error) = ran {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// The log, by the names that the pipeline uses.
    pub async fn log(&self) -> Arc<dyn Log> {
        let log = kafka::open(kafka::Settings::new(&self.brokers), Arc::new(SystemClock)).await.unwrap();
        Arc::new(Prefixed::new(Arc::new(log), &self.prefix))
    }

    /// The blob store.
    pub async fn blobs(&self) -> Blobs {
        Blobs::in_bucket(&self.store).await.unwrap()
    }

    /// The settings of a StreamForge here, as variables of its environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let keys = self.store.keys.clone().unwrap();
        vec![
            ("STREAMFORGE_LOG", format!("kafka://{}", self.brokers)),
            ("STREAMFORGE_TOPIC_PREFIX", self.prefix.clone()),
            ("STREAMFORGE_CATALOG", format!("scylla://{}/{}", self.node, self.keyspace)),
            ("STREAMFORGE_BLOBS", self.store.uri()),
            ("AWS_ENDPOINT_URL", self.store.endpoint.clone().unwrap()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", keys.id),
            ("AWS_SECRET_ACCESS_KEY", keys.secret),
        ]
    }

    async fn clear(&self) {
        let (above, own) = self.store.prefix.rsplit_once('/').unwrap();
        let all = Settings { prefix: above.to_owned(), ..self.store.clone() };
        Blobs::in_bucket(&all).await.unwrap().delete_prefix(own).await.unwrap();

        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let prefix = self.prefix.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let all = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
            let names = all.topics().iter().map(|topic| topic.name().to_owned());
            (names.filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>(), admin)
        });
        let (names, admin) = listed.await.unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        admin.delete_topics(&names, &AdminOptions::new()).await.unwrap();
        tokio::task::spawn_blocking(move || drop(admin));

        let session = SessionBuilder::new().known_node(&self.node).build().await.unwrap();
        let mut drop = Statement::new(format!("DROP KEYSPACE IF EXISTS \"{}\"", self.keyspace));
        drop.set_request_timeout(Some(Duration::from_secs(60)));
        session.query_unpaged(drop, ()).await.unwrap();
    }
}
