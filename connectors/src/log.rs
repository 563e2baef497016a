//! The log: topics of partitions of records, read by consumer groups or by readers of their own.
//!
//! The trait is drawn after Kafka's classic consumer, so that both sides look alike: partitions move between the members
//! of a group, and whoever loses one may not commit it any more.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub mod embedded;
pub mod kafka;
mod prefixed;
pub mod registered;
pub mod registry;

pub use prefixed::Prefixed;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition, from 0.
    pub partition: u32,
}

/// How long records of a topic are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Longest age in milliseconds; absent: for good.
    pub max_age_ms: Option<i64>,
    /// Most bytes per partition; absent: no limit.
    pub max_bytes: Option<u64>,
    /// Whether only the newest record of each key has to stay. A side that does not compact keeps the others as well.
    pub is_compacted: bool,
}

/// What a topic must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Partitions, at least 1.
    pub partitions: u32,
    /// How long records stay.
    pub retention: Retention,
    /// Copies that must have a record before it counts as durable, where there are several; absent: the log's own choice.
    pub min_in_sync: Option<u16>,
}

/// A record on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Name of the topic.
    pub topic: String,
    /// The record goes to partition `spread % partitions`.
    pub spread: u64,
    /// Key.
    pub key: Bytes,
    /// Value; the log does not look inside.
    pub value: Bytes,
    /// Headers, in order.
    pub headers: Vec<(String, Bytes)>,
}

impl NewRecord {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.len() + headers
    }
}

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub at: TopicPartition,
    /// Its offset in the partition, from 0, ascending, perhaps with gaps.
    pub offset: i64,
    /// When it was appended, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
    /// Headers, in order.
    pub headers: Vec<(String, Bytes)>,
}

impl Record {
    /// The same key and value once more for the same partition, with these headers.
    pub fn again(&self, headers: Vec<(String, Bytes)>) -> NewRecord {
        NewRecord {
            topic: self.at.topic.clone(),
            // A partition number stands for itself.
            spread: u64::from(self.at.partition),
            key: self.key.clone(),
            value: self.value.clone(),
            headers,
        }
    }
}

/// What a consumer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// These partitions are ours from now on; records follow from the group's committed offsets.
    Gained(Vec<TopicPartition>),
    /// These are not ours any more: stop their work, never commit them.
    Lost(Vec<TopicPartition>),
    /// Records of partitions that are ours and not paused, in order within each partition. Never empty.
    Records(Vec<Record>),
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record that is kept.
    Beginning,
    /// After the newest record.
    End,
    /// The first record that was appended at this time or later, milliseconds since the Unix epoch.
    Time(i64),
}

/// One read of a groupless reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tailed {
    /// More records; order holds within each partition.
    Records(Vec<Record>),
    /// Everything that was there when the reader was opened has been read; said once. Later records still follow.
    CaughtUp,
}

/// How far a group has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub at: TopicPartition,
    /// The next offset that the group will read; where it begins when it has committed nothing.
    pub committed: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// Time stamp of the oldest record not yet committed, milliseconds since the Unix epoch.
    pub oldest_pending_ms: Option<i64>,
}

/// How a topic is other than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// What is compared: `topic` for its being there, `partitions`, or a setting as the broker calls it.
    pub what: String,
    /// As it is; absent: there is no such topic or setting.
    pub found: Option<String>,
    /// As it should be.
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, what, found, wanted } = self;
        match found {
            Some(found) => write!(f, "topic `{topic}`: {what} is {found}, {wanted} is wanted"),
            None if what == "topic" => write!(f, "topic `{topic}` does not exist"),
            None => write!(f, "topic `{topic}`: {what} is not set, {wanted} is wanted"),
        }
    }
}

/// One client of this process, as of a few seconds ago. Counters are totals since the client began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientStatistics {
    /// Tells clients of one role apart; no other client of this process ever has the same.
    pub id: u64,
    /// What the client is for: `producer`, the name of a group, or `tail`.
    pub role: String,
    /// Brokers that it is connected to.
    pub brokers_up: u64,
    /// Brokers that it knows, connected or not.
    pub brokers_known: u64,
    /// Half of the requests to the slowest broker took at most so long, microseconds.
    pub rtt_p50_us: u64,
    /// 99 of 100 requests to the slowest broker took at most so long, microseconds.
    pub rtt_p99_us: u64,
    /// Records that wait to be written, or were read ahead.
    pub waiting_records: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Requests that failed to be sent or answered, or were too late.
    pub request_errors: u64,
    /// Connections that ended.
    pub disconnects: u64,
    /// For a member: how often partitions were given or taken.
    pub rebalances: u64,
    /// For a member: partitions that it owns.
    pub assigned: u64,
}

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such topic.
    #[error("topic `{0}` does not exist in the log")]
    UnknownTopic(String),
    /// The topic exists with other partitions; a log never repartitions by itself.
    #[error("topic `{topic}` has {found} partitions where {wanted} are wanted")]
    Partitions {
        /// The topic.
        topic: String,
        /// As it is.
        found: u32,
        /// As asked.
        wanted: u32,
    },
    /// The member does not own the partition any more.
    #[error("commit refused: partition {0:?} belongs to another member")]
    NotOwner(TopicPartition),
    /// The log takes nothing so large; trying again is of no use.
    #[error("a record of {bytes} bytes is too large for topic `{topic}`")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key, value and headers.
        bytes: usize,
    },
    /// The log is closed or being closed.
    #[error("the log is closed")]
    Closed,
    /// The store behind the log failed.
    #[error("{doing} in the log")]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Makes the topics that are missing and applies retention to those that exist. May run twice.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error>;

    /// Appends `records`, in order within each partition; when it answers, they are durable. Answers their offsets. A side
    /// that bounds the size of records says [`Error::TooLarge`] of the largest.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error>;

    /// Joins `group` as a member that reads `topics`.
    ///
    /// A group that has committed nothing begins at the oldest record.
    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error>;

    /// Reads `topics` without a group, from `from` to the end and on.
    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error>;

    /// Reads up to `limit` records of one partition from `offset` on, without waiting.
    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error>;

    /// How far `group` has come in `topics`; one entry per partition.
    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error>;

    /// Drops records that are older than their topic keeps them.
    async fn enforce_retention(&self) -> Result<(), Error>;

    /// Answers when the log can be read and written, or says why not.
    async fn check(&self) -> Result<(), Error>;

    /// Says goodbye before the process ends: waits until appends are durable and dropped members have left their groups,
    /// or `deadline` has passed. A side that has nobody to say it to has nothing to do.
    async fn close(&self, deadline: Duration) {
        let _ = deadline;
    }

    /// How topics are other than `topics`; empty when all are as they should be. A side that makes its topics itself and
    /// alone has none.
    async fn differences(&self, topics: &[TopicSpec]) -> Result<Vec<Difference>, Error> {
        let _ = topics;
        Ok(Vec::new())
    }

    /// What the clients of this process say about themselves, as of a few seconds ago; empty where there are none.
    fn statistics(&self) -> Vec<ClientStatistics> {
        Vec::new()
    }
}

/// One member of a group. Dropping it leaves the group.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next delivery. Cancel-safe: a dropped wait loses nothing.
    async fn next(&mut self) -> Result<Delivery, Error>;

    /// Stops deliveries from these partitions without leaving the group; what was delivered stays delivered.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Lets deliveries go on where they stopped.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// Says that everything before `offset` is done. Durable when it answers. Refused for a partition that is not ours.
    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error>;

    /// Goes on reading a partition at `offset`.
    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error>;

    /// Goes on reading a partition at the first record appended at `time_ms` or later.
    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error>;
}

/// A reader without a group.
#[async_trait]
pub trait Reader: Send {
    /// Waits for more. Cancel-safe.
    async fn next(&mut self) -> Result<Tailed, Error>;
}
