//! The thread that polls one consumer, for as long as its reader is there and whatever the reader does meanwhile.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::client::{Context, failed, is_passing, number, place};
use super::inbox::Inbox;
use crate::log::{Error, Record, TopicPartition};

/// How long one poll waits: as long as it takes to notice that the reader is gone, and short while fetching may go on.
const IDLE: Duration = Duration::from_millis(100);
const CHOKED: Duration = Duration::from_millis(5);
/// How long a member takes to say goodbye before its client is closed.
const LEAVING: Duration = Duration::from_secs(2);
/// Records handed over at once.
const BATCH: usize = 1024;
/// How long a seek is tried: right after a partition is gained, librdkafka does not seek yet.
const SEEKING: Duration = Duration::from_secs(5);

pub(super) type Client = BaseConsumer<Context>;

/// What the reader asks of the poller.
pub(super) struct Seek {
    pub(super) at: TopicPartition,
    pub(super) offset: i64,
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

/// Polls until the reader is gone.
pub(super) struct Poller {
    pub(super) client: Arc<Client>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) seeks: Receiver<Seek>,
}

/// What one poll brought.
pub(super) enum Polled {
    /// More was added to the inbox.
    Records,
    /// Nothing, or nothing but callbacks.
    Nothing,
    /// The end of some partition of this number.
    End,
    /// The client is of no more use.
    Broken,
}

impl Poller {
    /// The life of the thread.
    pub(super) fn run(self) {
        let mut waiting = Vec::new();
        let mut choked = false;
        while !self.inbox.is_leaving() {
            self.seek(&mut waiting);
            match self.poll(if choked || !waiting.is_empty() { CHOKED } else { IDLE }) {
                Polled::Broken => break,
                Polled::Records | Polled::Nothing | Polled::End => {}
            }
            choked = self.flow();
        }
        self.inbox.close();
        self.client.unsubscribe();
        // The group hears of it once the last partitions are given back, which polling does.
        let since = Instant::now();
        while since.elapsed() < LEAVING && self.client.assignment().is_ok_and(|owned| owned.count() > 0) {
            self.client.poll(CHOKED);
        }
    }

    /// One poll, and everything that is there already.
    pub(super) fn poll(&self, wait: Duration) -> Polled {
        let mut records = Vec::new();
        let mut polled = Polled::Nothing;
        let as_of = self.inbox.epoch();
        let mut wait = wait;
        while records.len() < BATCH {
            // Nothing may also mean a rebalance: what came before it is handed over as of before.
            match self.client.poll(wait) {
                Some(Ok(message)) => records.extend(record(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => polled = Polled::End,
                Some(Err(error)) => {
                    if self.note(error) {
                        polled = Polled::Broken;
                        break;
                    }
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        if !records.is_empty() {
            self.inbox.push(records, as_of);
            if matches!(polled, Polled::Nothing) {
                polled = Polled::Records;
            }
        }
        polled
    }

    /// Tells of an error what the reader should know of; answers whether this client is of no more use.
    fn note(&self, error: KafkaError) -> bool {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) || self.client.client().fatal_error().is_some() {
            tracing::error!(%error, "the membership is broken: another takes its place");
            return true;
        }
        if is_passing(&error) {
            tracing::debug!(%error, "the consumer waits for the brokers");
        } else {
            self.inbox.fail(failed("read records", error));
        }
        false
    }

    /// Stops and resumes fetching as the inbox fills and empties; answers whether anything is stopped.
    pub(super) fn flow(&self) -> bool {
        let flow = self.inbox.flow();
        if !flow.pause.is_empty()
            && let Err(error) = self.client.pause(&list(&flow.pause))
        {
            tracing::warn!(%error, "cannot pause partitions");
        }
        self.resume(&flow.resume);
        flow.is_choked
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty()
            && let Err(error) = self.client.resume(&list(partitions))
        {
            tracing::warn!(%error, "cannot resume partitions");
        }
    }

    fn seek(&self, waiting: &mut Vec<Seek>) {
        waiting.extend(self.seeks.try_iter());
        for seek in std::mem::take(waiting) {
            if let Err(error) = self.inbox.check(&seek.at) {
                let _ = seek.answer.send(Err(error));
                continue;
            }
            if self.inbox.clear(&seek.at) {
                self.resume(std::slice::from_ref(&seek.at));
            }
            let offset = Offset::Offset(seek.offset.max(0));
            match self.client.seek(&seek.at.topic, number(&seek.at), offset, Duration::from_secs(1)) {
                Ok(()) => {
                    self.inbox.clear(&seek.at);
                    let _ = seek.answer.send(Ok(()));
                }
                Err(_) if seek.since.elapsed() < SEEKING => waiting.push(seek),
                Err(error) => {
                    let _ = seek.answer.send(Err(failed("seek", error)));
                }
            }
        }
    }
}

/// A list of partitions as librdkafka has it.
pub(super) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, number(at));
    }
    list
}

/// A copy of a record; nothing for a partition that cannot be.
pub(super) fn record(message: &BorrowedMessage<'_>) -> Option<Record> {
    let bytes = |part: Option<&[u8]>| part.map_or_else(Bytes::new, Bytes::copy_from_slice);
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), bytes(header.value))).collect()
    });
    Some(Record {
        at: place(message.topic(), message.partition())?,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: bytes(message.key()),
        value: bytes(message.payload()),
        headers,
    })
}
