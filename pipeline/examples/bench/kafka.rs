//! A stage that does nothing, run by the runner on a real Kafka, and the bare clients beside which it is measured.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connectors::clock::SystemClock;
use connectors::log::kafka::{self, Settings as KafkaSettings};
use connectors::log::{Prefixed, Retention, TopicSpec};
use connectors::{Doors, Log};
use pipeline::runner::{Runner, Settings};
use pipeline::stage::{Context, Stage, StageError};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::event::{SourceClassified, UploadReceived};
use schemas::{Claim, Event, JobId, topic, wire};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What goes in and what comes out of the stage.
pub const IN: &str = UploadReceived::TOPIC;
pub const OUT: &str = SourceClassified::TOPIC;

/// Reads an event, writes an event, does nothing between.
struct Noop;

impl Stage for Noop {
    type In = UploadReceived;
    type Out = SourceClassified;
    const NAME: &'static str = "noop";
    const REQUIRED: bool = false;

    async fn process(&self, event: UploadReceived, _: &Context) -> Result<Vec<SourceClassified>, StageError> {
        Ok(vec![SourceClassified {
            job: event.job,
            labels: Vec::new(),
            features: Vec::new(),
            frames: 0,
            maker: String::new(),
            model: "none".to_owned(),
            version: String::new(),
            parameters: String::new(),
            classified_at: 0,
            no_model: None,
            reason: None,
        }])
    }
}

/// The brokers to measure with, and a prefix that nobody else uses.
pub fn place() -> Outcome<(String, String)> {
    let brokers = std::env::var("STREAMFORGE_TEST_KAFKA")
        .map_err(|_| "no Kafka: run ./dev engines up, then this with STREAMFORGE_TEST_KAFKA")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    Ok((brokers, format!("bench-{}-{now}-", std::process::id())))
}

/// The door of the log, with all topics under `prefix` and two more of the same shape for the bare clients.
pub async fn door(brokers: &str, prefix: &str) -> Outcome<Arc<dyn Log>> {
    let log = kafka::open(KafkaSettings::new(brokers), Arc::new(SystemClock)).await?;
    let log: Arc<dyn Log> = Arc::new(Prefixed::new(Arc::new(log), prefix));
    let letters = topic::dead_letters("noop");
    let spec = |name: &str, partitions| TopicSpec {
        name: name.to_owned(),
        partitions,
        retention: Retention::default(),
        min_in_sync: None,
    };
    let mut specs: Vec<TopicSpec> =
        topic::all().iter().chain([&letters]).map(|topic| spec(&topic.name, topic.partitions)).collect();
    specs.push(spec("bare.in", 8));
    specs.push(spec("bare.out", 8));
    log.ensure_topics(&specs).await?;
    Ok(log)
}

/// The runner with the stage, until the token fires.
pub fn run(log: Arc<dyn Log>, slots: usize) -> Outcome<(JoinHandle<()>, CancellationToken)> {
    let memory = connectors::in_memory(Arc::new(SystemClock))?;
    let doors = Doors { log, ..memory };
    let read_ahead = (slots * 8).max(256);
    let settings = Settings { light_slots: slots, light_read_ahead: read_ahead, ..Settings::new("bench") };
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move {
        if let Err(error) = Runner::new(doors, settings).run(vec![Arc::new(Noop)], stop).await {
            eprintln!("error: {error}");
        }
    });
    Ok((running, shutdown))
}

/// One event as it lies in the log, of a job of its own.
pub fn event(number: u64) -> Outcome<(JobId, Vec<u8>)> {
    let job = JobId::from_parts(1_700_000_000_000, u128::from(number));
    let source = Claim { uri: format!("blob:jobs/{job}/source"), size: 1, sha256: "0".repeat(64) };
    let event = UploadReceived { job, name: "a.mp4".into(), source, received_at: 0, origin: "bench".into() };
    Ok((job, wire::encode(&event)?))
}

/// A bare producer that waits for all replicas, once each, like the door's.
pub fn producer(brokers: &str, linger_ms: &str) -> Outcome<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", linger_ms);
    Ok(config.create()?)
}

/// A bare member of a group of its own, with its partitions.
pub fn member(brokers: &str, group: &str, topic: &str) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    let member: BaseConsumer = config.create()?;
    member.subscribe(&[topic])?;
    while member.assignment()?.count() == 0 {
        let _ = member.poll(Duration::from_millis(20));
    }
    Ok(member)
}

/// Sends to a partition, waiting where the queue is full.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: &[u8]) -> Outcome<()> {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((error, again)) if producer.in_flight_count() > 0 => {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                producer.poll(Duration::from_millis(5));
                record = again;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Removes every topic under `prefix`.
pub fn clean_up(brokers: &str, prefix: &str) -> Outcome<()> {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let admin: AdminClient<rdkafka::client::DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
    let names: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()))?;
    Ok(())
}
