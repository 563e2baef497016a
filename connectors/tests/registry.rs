//! The log with a schema registry beside it: what lies in the topics, what comes out, and what becomes of it all while the
//! registry is away. The registry is one in this process, and a real one where it was fetched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "registry/apicurio.rs"]
mod apicurio;
#[path = "registry/away.rs"]
mod away;
#[path = "registry/fake.rs"]
mod fake;
#[path = "registry/foreign.rs"]
mod foreign;
#[path = "registry/opening.rs"]
mod opening;
#[path = "suite/ports.rs"]
mod ports;
#[path = "registry/server.rs"]
mod server;
#[path = "suite/log.rs"]
#[allow(dead_code)]
mod suite;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors::Log;
use connectors::clock::SystemClock;
use connectors::log::registered::{Pace, Registered, enroll};
use connectors::log::registry::Address;
use connectors::log::{From, NewRecord, Prefixed, Record, Retention, Tailed, TopicPartition, TopicSpec, kafka};
use schemas::event::{CancelRequested, UploadReceived};
use schemas::{Claim, Event, JobId, topic, wire};

use fake::Fake;

/// Lookups for those who do not like to wait.
pub const QUICK: Pace =
    Pace { again: Duration::from_millis(20), doubt: Duration::from_millis(20), belief: Duration::from_millis(200) };

/// A log in memory as the brokers have it, and the same with a registry beside it.
pub struct House {
    pub raw: Arc<dyn Log>,
    pub log: Arc<dyn Log>,
    pub fake: Fake,
}

impl House {
    /// The registry's ids are none of ours, and in another order.
    pub async fn new() -> Self {
        Self::on(Fake::start(100, 3).await).await
    }

    pub async fn on(fake: Fake) -> Self {
        let raw = connectors::in_memory(Arc::new(SystemClock)).unwrap().log;
        let address = Address::parse(&format!("http://{}", fake.at)).unwrap();
        let enrolled = enroll(&address, "").await.unwrap();
        let log: Arc<dyn Log> = Arc::new(Registered::at(Arc::clone(&raw), enrolled, QUICK));
        for (name, partitions) in [(UploadReceived::TOPIC, 2), (CancelRequested::TOPIC, 1), ("probe.dlq", 1)] {
            let spec =
                TopicSpec { name: name.to_owned(), partitions, retention: Retention::default(), min_in_sync: None };
            log.ensure_topics(&[spec]).await.unwrap();
        }
        Self { raw, log, fake }
    }

    /// The registry's id of our newest schema of `topic`.
    pub fn id(&self, topic: &str) -> u32 {
        let ours = topic::find(topic).unwrap().schema().unwrap();
        let state = self.fake.state();
        *state.schemas.iter().find(|(_, text)| *text == ours).unwrap().0
    }
}

/// An upload of its own.
pub fn upload(number: u128) -> UploadReceived {
    let job = JobId::from_parts(1_700_000_000_000, number);
    let source = Claim { uri: "blob:x".into(), size: 7, sha256: "0".repeat(64) };
    UploadReceived { job, name: format!("{number}.mp4"), source, received_at: 5, origin: "test".into() }
}

/// `value` with the registry's `id` in its frame.
pub fn framed(id: u32, body: &[u8]) -> Bytes {
    [&[0], id.to_be_bytes().as_slice(), body].concat().into()
}

/// The body of a framed value.
pub fn body(value: &[u8]) -> &[u8] {
    &value[wire::FRAME_BYTES..]
}

pub async fn append(log: &dyn Log, topic: &str, spread: u64, values: impl IntoIterator<Item = Bytes>) {
    let record = |value| NewRecord {
        topic: topic.to_owned(),
        spread,
        key: "key".into(),
        value,
        headers: vec![("a".to_owned(), Bytes::from_static(b"b"))],
    };
    log.append(values.into_iter().map(record).collect()).await.unwrap();
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub fn values(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.value.clone()).collect()
}

/// Everything that lies in one partition.
pub async fn lying(log: &dyn Log, topic: &str, partition: u32) -> Vec<Bytes> {
    values(&log.read(&at(topic, partition), 0, 1000).await.unwrap())
}

/// Everything that a reader without a group finds in `topic`.
pub async fn tailed(log: &dyn Log, topic: &str) -> Vec<Bytes> {
    let mut reader = log.tail(&[topic], From::Beginning).await.unwrap();
    let mut found = Vec::new();
    while let Tailed::Records(records) = suite_time(reader.next()).await.unwrap() {
        found.extend(values(&records));
    }
    found
}

/// Within the time that nothing may take.
pub async fn suite_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

#[tokio::test]
async fn the_log_has_the_registrys_ids_and_readers_have_ours() {
    let house = House::new().await;
    let (first, second) = (wire::encode(&upload(1)).unwrap(), wire::encode(&upload(2)).unwrap());
    let cancel = wire::encode(&CancelRequested { job: upload(1).job, at: 3 }).unwrap();
    // Beside events: a mark on a letter, a text, something too short to be framed, an id that nobody has.
    let strangers = [Bytes::new(), "no event".into(), Bytes::from_static(b"\0\0\x01"), framed(25_443, b"body")];
    let events = [first.clone().into(), second.into()];
    append(&*house.log, UploadReceived::TOPIC, 0, events.iter().chain(&strangers).cloned()).await;
    append(&*house.log, CancelRequested::TOPIC, 0, [cancel.clone().into()]).await;
    // A dead letter carries the value of another topic.
    append(&*house.log, "probe.dlq", 0, [first.clone().into(), cancel.into(), "no event".into()]).await;

    let raw = lying(&*house.raw, UploadReceived::TOPIC, 0).await;
    let (upload_id, cancel_id) = (house.id(UploadReceived::TOPIC), house.id(CancelRequested::TOPIC));
    assert_eq!(raw[0], framed(upload_id, body(&first)));
    assert_eq!(raw[2..], strangers, "what is no event of ours is not touched");
    let letters = lying(&*house.raw, "probe.dlq", 0).await;
    assert_eq!(wire::schema_id(&letters[0]).unwrap(), upload_id as i32);
    assert_eq!(wire::schema_id(&letters[1]).unwrap(), cancel_id as i32);

    let all: Vec<Bytes> = events.iter().chain(&strangers).cloned().collect();
    assert_eq!(lying(&*house.log, UploadReceived::TOPIC, 0).await, all);
    assert_eq!(tailed(&*house.log, UploadReceived::TOPIC).await, all);
    let mut member = house.log.join("group", &[UploadReceived::TOPIC]).await.unwrap();
    suite::gained(&mut *member, 2).await;
    let read = suite::records(&mut *member, all.len()).await;
    assert_eq!(values(&read), all);
    assert_eq!(read[0].headers, [("a".to_owned(), Bytes::from_static(b"b"))]);
    assert_eq!(wire::decode::<UploadReceived>(&read[1].value).unwrap(), upload(2));
    let letters = tailed(&*house.log, "probe.dlq").await;
    assert_eq!(wire::decode::<UploadReceived>(&letters[0]).unwrap(), upload(1));
    assert_eq!(wire::decode::<CancelRequested>(&letters[1]).unwrap().at, 3);
    let asked = house.fake.state().requests.iter().filter(|request| request.starts_with("GET")).count();
    assert_eq!(asked, house.fake.asked_for(25_443), "nothing else had to be asked");
}

#[tokio::test]
async fn every_version_of_every_topic_is_registered_under_the_name_that_the_topic_has_in_the_log() {
    let fake = Fake::start(1, 1).await;
    let address = Address::parse(&format!("http://{}/", fake.at)).unwrap();
    enroll(&address, "north-").await.unwrap();
    enroll(&address, "north-").await.unwrap();
    let state = fake.state();
    for topic in topic::all() {
        let texts: Vec<&str> = topic.versions.iter().map(|version| version.text).collect();
        let ids = &state.subjects[&format!("north-{}", topic.subject)];
        let registered: Vec<&str> = ids.iter().map(|id| state.schemas[id].as_str()).collect();
        assert_eq!(registered, texts, "{}: oldest first, and once", topic.name);
    }
    assert_eq!(state.subjects.len(), topic::all().len());
}

macro_rules! suite {
    ($name:ident, $log:expr, [$($check:ident),* $(,)?]) => {
        mod $name {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let Some(log): Option<Arc<dyn Log>> = $log.await else { return };
                let fake = Fake::start(1, 1).await;
                let address = Address::parse(&format!("http://{}", fake.at)).unwrap();
                let enrolled = enroll(&address, "").await.unwrap();
                suite::$check(Arc::new(Registered::at(log, enrolled, QUICK))).await;
            })*
        }
    };
}

macro_rules! suites {
    ($checks:tt) => {
        suite!(conformance_in_memory, in_memory(), $checks);
        suite!(conformance_on_kafka, on_kafka(), $checks);
    };
}

async fn in_memory() -> Option<Arc<dyn Log>> {
    Some(connectors::in_memory(Arc::new(SystemClock)).unwrap().log)
}

async fn on_kafka() -> Option<Arc<dyn Log>> {
    let Ok(brokers) = std::env::var("STREAMFORGE_TEST_KAFKA") else {
        println!("not run here: the suite of the log with a registry needs Kafka; ./dev engines up");
        return None;
    };
    let log = kafka::open(kafka::Settings::new(brokers), Arc::new(SystemClock)).await.unwrap();
    Some(Arc::new(Prefixed::new(Arc::new(log), "registered-")))
}

suite::every_check!(suites, {});
