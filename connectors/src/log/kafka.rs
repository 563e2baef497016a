//! The log on Apache Kafka. Only this room names `rdkafka`.
//!
//! librdkafka does its own waiting on its own threads; nothing here blocks a task. Each member of a group has a thread
//! that never stops polling, so that work of any length costs no membership.
//!
//! # Layout
//! - [`settings`]: properties of librdkafka, which of them users may set, and what must not be seen
//! - [`producer`]: appends; [`topics`]: what topics look like; [`offsets`]: ends, committed offsets, single reads
//! - [`member`]: a member of a group; [`tail`]: a reader without one
//! - [`poller`]: the thread of both; [`inbox`]: what lies between it and the reader, and who may commit
//! - [`client`]: callbacks of librdkafka; [`statistics`]: what it says about itself

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::select_ok;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::log::{
    ClientStatistics, Consumer, Difference, Error, From, Log, NewRecord, Progress, Reader, Record, TopicPartition,
    TopicSpec,
};

mod client;
mod inbox;
mod member;
mod offsets;
mod poller;
mod producer;
mod settings;
mod statistics;
mod tail;
mod topics;

pub use settings::{BadProperty, PREFIX, Settings, is_secret, properties};

use client::{failed, is_too_large, is_unknown_topic};
use member::{Member, Seats};
use offsets::Spare;
use producer::Producer;
use statistics::Board;
use tail::Tail;
use topics::Known;

/// How long opening may take until it says that no broker answers.
const OPENING: Duration = Duration::from_secs(8);
/// How long one try may take meanwhile.
const STEP: Duration = Duration::from_secs(1);
/// How long a check may take.
const CHECK: Duration = Duration::from_secs(4);

/// The log on Kafka.
pub struct Kafka {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    producer: Producer,
    known: Known,
    spare: Spare,
    seats: Seats,
    /// Threads that say goodbye to brokers.
    threads: TaskTracker,
    checking: tokio::sync::Mutex<()>,
}

/// Opens the log on the brokers that `settings` names.
///
/// Answers when a broker answers. Otherwise says within ten seconds what is wrong: a property that does not exist, a
/// name that cannot be resolved, a refused connection, a refused login.
pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Kafka, Error> {
    const DOING: &str = "open";
    settings.check().map_err(|error| failed(DOING, error))?;
    let board = Arc::new(Board::default());
    let producer = Producer::new(settings.clone(), &board).map_err(|error| failed(DOING, error))?;
    // Properties of consumers are tried as well, before anybody waits for their first use.
    drop(rdkafka_consumer(&settings, &board).map_err(|error| failed(DOING, error))?);
    let inner = Inner {
        settings,
        clock,
        board,
        producer,
        known: Known::default(),
        spare: Spare::default(),
        seats: Seats::default(),
        threads: TaskTracker::new(),
        checking: tokio::sync::Mutex::default(),
    };
    let kafka = Kafka { inner: Arc::new(inner) };
    kafka.first_answer().await?;
    Ok(kafka)
}

fn rdkafka_consumer(settings: &Settings, board: &Arc<Board>) -> Result<poller::Client, KafkaError> {
    use rdkafka::config::FromClientConfigAndContext;
    let mut config = settings.reader("streamforge.reader");
    // Without a group it is gone as quickly as it came.
    config.remove("group.id");
    poller::Client::from_config_and_context(&config, client::Context::new("reader", board))
}

impl Kafka {
    async fn first_answer(&self) -> Result<(), Error> {
        let deadline = Instant::now() + OPENING;
        loop {
            let client = self.inner.producer.client();
            let tried = blocking("reach a broker", move || topics::advertised(&client, STEP)).await;
            let error = match tried {
                Ok(found) => match is_one_there(&found).await {
                    Ok(()) => return Ok(()),
                    Err(why) if Instant::now() + 2 * STEP >= deadline => {
                        let (brokers, found) = (&self.inner.settings.brokers, found.join(","));
                        let why = format!("the brokers at {brokers} say that they are to be found at {found}: {why}");
                        return Err(failed("open", why));
                    }
                    Err(_) => {
                        tokio::time::sleep(STEP / 4).await;
                        continue;
                    }
                },
                Err(error) => error,
            };
            let last = self.inner.producer.client().context().last();
            let is_hopeless = last.as_ref().is_some_and(|(code, _)| {
                matches!(
                    code,
                    RDKafkaErrorCode::Authentication
                        | RDKafkaErrorCode::SaslAuthenticationFailed
                        | RDKafkaErrorCode::UnsupportedSASLMechanism
                        | RDKafkaErrorCode::SSL
                )
            });
            if is_hopeless || Instant::now() >= deadline {
                let brokers = &self.inner.settings.brokers;
                let why = match last {
                    Some((_, reason)) => format!("no broker answers at {brokers}: {reason}"),
                    None => return Err(error),
                };
                return Err(failed("open", why));
            }
        }
    }
}

/// Whether any of the addresses that brokers name for themselves can be connected to. Clients use these and no others once
/// they know them, so it is told apart from a broker that does not answer.
async fn is_one_there(found: &[String]) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    let tries = found.iter().map(|address| {
        Box::pin(async move {
            match timeout(STEP, TcpStream::connect(address)).await {
                Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {STEP:?}")),
            }
        })
    });
    select_ok(tries).await.map(drop)
}

/// Runs what waits for brokers on a thread where it may.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(call).await.map_err(|_| Error::Closed)?.map_err(|error| failed(doing, error))
}

impl Inner {
    /// Starts a thread that [`Log::close`] waits for.
    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let token = self.threads.token();
        let body = move || {
            run();
            drop(token);
        };
        std::thread::Builder::new().name(name).spawn(body).map(drop).map_err(|error| failed("start a thread", error))
    }
}

#[async_trait]
impl Log for Kafka {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.inner.ensure(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let inner = &self.inner;
        let mut counts = BTreeMap::new();
        for record in &records {
            if !counts.contains_key(record.topic.as_str()) {
                counts.insert(record.topic.as_str(), inner.partitions(&[&record.topic]).await?[0]);
            }
        }
        let partitions: Vec<i32> = records
            .iter()
            .map(|record| {
                let count = u64::from(counts.get(record.topic.as_str()).copied().unwrap_or(1));
                i32::try_from(record.spread % count.max(1)).unwrap_or(0)
            })
            .collect();
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let placed: Vec<(NewRecord, i32)> = records.into_iter().zip(partitions).collect();
        let outcome = inner.producer.append(&placed, inner.clock.now_ms()).await;
        outcome.map_err(|error| {
            if is_unknown_topic(&error) {
                // Deleted since; the next call asks again.
                placed.iter().for_each(|(record, _)| inner.known.forget(&record.topic));
            }
            let largest = placed.iter().map(|(record, _)| record).max_by_key(|record| record.bytes());
            match largest.filter(|_| is_too_large(&error)) {
                Some(record) => Error::TooLarge { topic: record.topic.clone(), bytes: record.bytes() },
                None => failed("append", error),
            }
        })
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(Member::join(&self.inner, group, topics).await?))
    }

    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(Tail::open(&self.inner, topics, from).await?))
    }

    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let count = self.inner.partitions(&[&at.topic]).await?[0];
        if at.partition >= count {
            return Err(Error::UnknownTopic(format!("{}/{}", at.topic, at.partition)));
        }
        let (inner, at) = (Arc::clone(&self.inner), at.clone());
        blocking("read records", move || inner.read_from(&at, offset, limit)).await
    }

    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error> {
        let counts = self.inner.partitions(topics).await?;
        let partitions: Vec<TopicPartition> = topics
            .iter()
            .zip(counts)
            .flat_map(|(topic, count)| {
                (0..count).map(|partition| TopicPartition { topic: (*topic).to_owned(), partition })
            })
            .collect();
        let (inner, group) = (Arc::clone(&self.inner), group.to_owned());
        blocking("ask for a group's offsets", move || inner.how_far(&group, &partitions)).await
    }

    /// The brokers do it by themselves.
    async fn enforce_retention(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Error> {
        // One at a time: while brokers are away, checks must not take thread after thread.
        let waiting = async {
            let _turn = self.inner.checking.lock().await;
            let client = self.inner.producer.client();
            blocking("reach a broker", move || topics::reach(&client, CHECK)).await
        };
        let late = || failed("reach a broker", format!("no answer within {CHECK:?}"));
        timeout(CHECK, waiting).await.unwrap_or_else(|_| Err(late()))
    }

    async fn close(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let client = self.inner.producer.client();
        let flushed = tokio::task::spawn_blocking(move || client.flush(deadline));
        if !matches!(flushed.await, Ok(Ok(()))) {
            tracing::warn!("appends are left unfinished: their outcome is unknown");
        }
        self.inner.threads.close();
        if tokio::time::timeout_at(until, self.inner.threads.wait()).await.is_err() {
            tracing::warn!("some members could not leave their groups in time: the session timeout does it for them");
        }
    }

    async fn differences(&self, topics: &[TopicSpec]) -> Result<Vec<Difference>, Error> {
        self.inner.differences(topics).await
    }

    fn statistics(&self) -> Vec<ClientStatistics> {
        self.inner.board.all()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Ends with waits for what is under way, which belong on no task's thread.
        let spare = std::mem::take(&mut self.spare);
        let producer = self.producer.client();
        std::thread::spawn(move || {
            drop(spare);
            // The last one to hold it ends it, and that must be this thread.
            for _ in 0..200 {
                if Arc::strong_count(&producer) == 1 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
}
