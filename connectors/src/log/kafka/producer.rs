//! Appending: one idempotent producer per process, and an answer when all in-sync replicas have the records.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::client::{Context, failed, place};
use super::settings::Settings;
use super::statistics::Board;
use crate::log::{NewRecord, TopicPartition};
use crate::store::locked;

/// How long to wait before a full queue is tried again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

pub(super) type Client = ThreadedProducer<Context>;

/// The producer of this process.
pub(super) struct Producer {
    settings: Settings,
    board: Arc<Board>,
    client: RwLock<Arc<Client>>,
}

/// What follows from the end of one record's delivery.
pub(super) struct Ack {
    batch: Arc<Batch>,
    index: usize,
}

/// Records that were appended together.
struct Batch {
    state: Mutex<State>,
}

struct State {
    placed: Vec<Option<(TopicPartition, i64)>>,
    missing: usize,
    answer: Option<oneshot::Sender<Outcome>>,
    error: Option<KafkaError>,
}

type Outcome = Result<Vec<(TopicPartition, i64)>, KafkaError>;

/// Called by librdkafka for every record, once.
pub(super) fn delivered(result: &DeliveryResult<'_>, ack: Ack) {
    let end = match result {
        // A broker that calls a batch a repetition of one that it has never taken makes librdkafka say so. It happens
        // when the first batch for a partition comes before the leader is ready and the second one after.
        Ok(message) if message.offset() < 0 => {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::DuplicateSequenceNumber))
        }
        Ok(message) => match place(message.topic(), message.partition()) {
            Some(at) => Ok((at, message.offset())),
            None => Err(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition)),
        },
        Err((error, _)) => Err(error.clone()),
    };
    ack.batch.note(ack.index, end);
}

impl Batch {
    fn note(&self, index: usize, end: Result<(TopicPartition, i64), KafkaError>) {
        let mut state = locked(&self.state);
        match end {
            Ok(placed) => state.placed[index] = Some(placed),
            Err(error) => drop(state.error.get_or_insert(error)),
        }
        state.missing -= 1;
        if state.missing > 0 {
            return;
        }
        let Some(answer) = state.answer.take() else { return };
        let outcome = match state.error.take() {
            Some(error) => Err(error),
            None => Ok(state.placed.drain(..).flatten().collect()),
        };
        // Whoever asked may have stopped waiting; the records are in the log all the same.
        let _ = answer.send(outcome);
    }
}

impl Producer {
    pub(super) fn new(settings: Settings, board: &Arc<Board>) -> Result<Self, KafkaError> {
        let client = RwLock::new(Arc::new(make(&settings, board)?));
        Ok(Self { settings, board: Arc::clone(board), client })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A producer that has met a fatal error never sends again: another takes its place.
    fn replace_if_broken(&self) {
        let broken = self.client();
        let Some((code, reason)) = broken.client().fatal_error() else { return };
        tracing::error!(?code, reason, "the producer is broken: making another");
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&client, &broken) {
            return;
        }
        match make(&self.settings, &self.board) {
            Ok(fresh) => {
                *client = Arc::new(fresh);
                drop(client);
                // Ends with a wait for what is under way, which belongs on no task's thread.
                std::thread::spawn(move || drop(broken));
            }
            Err(error) => tracing::error!(error = ?failed("make a producer", error), "no other producer can be made"),
        }
    }

    /// Appends `records`, each with its timestamp and partition; answers when all are durable or one has failed for good.
    pub(super) async fn append(&self, records: &[(NewRecord, i32)], now_ms: i64) -> Outcome {
        let client = self.client();
        let (answer, outcome) = oneshot::channel();
        let state =
            State { placed: vec![None; records.len()], missing: records.len(), answer: Some(answer), error: None };
        let batch = Arc::new(Batch { state: Mutex::new(state) });
        let deadline = Instant::now() + self.settings.delivery_timeout();
        for (index, (record, partition)) in records.iter().enumerate() {
            let mut again = send(&client, record, *partition, now_ms, Ack { batch: Arc::clone(&batch), index });
            while let Err((error, ack)) = again {
                let is_full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                if !is_full || Instant::now() >= deadline {
                    // Those after it must not come without it.
                    for index in index..records.len() {
                        batch.note(index, Err(error.clone()));
                    }
                    return self.ended(outcome).await;
                }
                sleep(QUEUE_FULL).await;
                again = send(&client, record, *partition, now_ms, ack);
            }
        }
        self.ended(outcome).await
    }

    async fn ended(&self, outcome: oneshot::Receiver<Outcome>) -> Outcome {
        let outcome = outcome.await.unwrap_or(Err(KafkaError::Canceled));
        if outcome.is_err() {
            self.replace_if_broken();
        }
        outcome
    }
}

fn make(settings: &Settings, board: &Arc<Board>) -> Result<Client, KafkaError> {
    ThreadedProducer::from_config_and_context(&settings.producer(), Context::new("producer", board))
}

/// Hands one record to librdkafka, which copies it; gives the acknowledgement back when it is not taken.
fn send(client: &Client, record: &NewRecord, partition: i32, now_ms: i64, ack: Ack) -> Result<(), (KafkaError, Ack)> {
    let mut message = BaseRecord::with_opaque_to(&record.topic, Box::new(ack))
        .partition(partition)
        .key(record.key.as_ref())
        .payload(record.value.as_ref())
        .timestamp(now_ms);
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        message = message.headers(
            record
                .headers
                .iter()
                .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_ref()) })),
        );
    }
    client.send(message).map_err(|(error, message)| (error, *message.delivery_opaque))
}
