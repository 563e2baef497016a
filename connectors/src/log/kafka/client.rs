//! What every client of librdkafka has: where its messages, errors, statistics and callbacks go.

use std::sync::{Arc, Mutex};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{Statistics, TopicPartitionList};

use super::inbox::Inbox;
use super::producer::{Ack, delivered};
use super::settings::is_secret;
use super::statistics::{Board, Ticker};
use crate::log::{Error, TopicPartition};
use crate::store::locked;

/// The context of one client.
pub(super) struct Context {
    /// What the client is for: `producer`, the group, `reader`.
    role: String,
    inbox: Option<Arc<Inbox>>,
    ticker: Ticker,
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Context {
    pub(super) fn new(role: impl Into<String>, board: &Arc<Board>) -> Self {
        let role = role.into();
        Self { ticker: Ticker::new(board, &role), role, inbox: None, last: Mutex::default() }
    }

    /// For a member of a group, whose partitions come and go.
    pub(super) fn member(role: &str, board: &Arc<Board>, inbox: Arc<Inbox>) -> Self {
        Self { inbox: Some(inbox), ..Self::new(role, board) }
    }

    /// The last thing that went wrong, in the words of librdkafka.
    pub(super) fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        locked(&self.last).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let role = self.role.as_str();
        // One set of properties serves all clients; that some are for the other kind is no news.
        if facility == "CONFWARN" {
            tracing::debug!(target: "librdkafka", role, facility, "{message}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", role, facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", role, facility, "{message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", role, facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", role, facility, "{message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.ticker.put(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", role = self.role, %error, reason, "the client reports an error");
        if let Some(code) = error.rdkafka_error_code() {
            // That all brokers are down says less than why the last one is.
            let mut last = locked(&self.last);
            if code != RDKafkaErrorCode::AllBrokersDown || last.is_none() {
                *last = Some((code, reason.to_owned()));
            }
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Some(inbox) = &self.inbox else { return };
        match rebalance {
            Rebalance::Assign(partitions) => {
                // librdkafka remembers that a partition was paused while others have it; here it begins anew. Nothing of
                // it is fetched yet, so nothing is passed over.
                if let Err(error) = client.resume(partitions) {
                    tracing::warn!(target: "librdkafka", role = self.role, %error, "cannot resume partitions");
                }
                inbox.gain(places(partitions));
            }
            // Before librdkafka lets go of them, so that no commit is sent afterwards.
            Rebalance::Revoke(partitions) => inbox.lose(&places(partitions)),
            Rebalance::Error(error) => {
                tracing::warn!(target: "librdkafka", role = self.role, %error, "a rebalance failed");
            }
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ack>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Self::DeliveryOpaque) {
        delivered(result, *ack);
    }
}

/// The partitions of a list of librdkafka's.
pub(super) fn places(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().filter_map(|element| place(element.topic(), element.partition())).collect()
}

pub(super) fn place(topic: &str, partition: i32) -> Option<TopicPartition> {
    Some(TopicPartition { topic: topic.to_owned(), partition: u32::try_from(partition).ok()? })
}

/// The number of a partition as librdkafka has it.
pub(super) fn number(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition).unwrap_or(i32::MAX)
}

/// The error of the log for one of Kafka.
pub(super) fn failed(doing: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source = match error.into().downcast::<KafkaError>() {
        Ok(error) => told(*error),
        Err(other) => other,
    };
    Error::Store { doing, source }
}

/// An error as it may be seen: a refused property brings its value along, which may be a secret, and where its name is a
/// mistake nobody can tell.
fn told(error: KafkaError) -> Box<dyn std::error::Error + Send + Sync> {
    let KafkaError::ClientConfig(_, why, name, value) = error else { return Box::new(error) };
    let why = if is_secret(&name) && !value.is_empty() { why.replace(&value, "(hidden)") } else { why };
    if why.contains(&name) { why.into() } else { format!("`{name}`: {why}").into() }
}

/// Whether an error says that there is no such topic or partition.
pub(super) fn is_unknown_topic(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Whether an error says that a record is larger than the client or the broker takes.
pub(super) fn is_too_large(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge))
}

/// Whether librdkafka gets over an error by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::PollExceeded
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
        )
    )
}
