//! Records on their way into the log. Whoever appends makes them ready, so that the one writer has little to do for each.

use bytes::Bytes;

use super::disk;
use super::view::{Place, Topic};
use crate::log::{NewRecord, Record, TopicPartition};

/// A record that lacks only what the writer knows: its offset and its time.
pub(super) struct Fresh {
    pub(super) place: Place,
    /// As it is stored, without the time stamp in front.
    pub(super) body: Bytes,
    /// As readers get it.
    pub(super) record: Record,
}

impl Fresh {
    /// Makes `record` ready for `topic`, which is its own.
    pub(super) fn new(record: NewRecord, topic: &Topic) -> Self {
        let partition = u32::try_from(record.spread % u64::from(topic.partitions)).unwrap_or_default();
        let body = Bytes::from(disk::encode(&record));
        // A small part of a big buffer must not keep the whole of it in memory, so readers get parts of what is stored.
        let value = body.slice(body.len() - record.value.len()..);
        let key = body.slice(body.len() - record.value.len() - record.key.len()..body.len() - value.len());
        let headers = record.headers.into_iter().map(|(name, value)| (name, own(value))).collect();
        let at = TopicPartition { topic: record.topic, partition };
        let record = Record { at, offset: 0, timestamp_ms: 0, key, value, headers };
        Self { place: (topic.id, partition), body, record }
    }

    /// Bytes that it takes up in the store.
    pub(super) fn stored(&self) -> usize {
        disk::TIMESTAMP + self.body.len()
    }
}

/// The same in a buffer of its own.
fn own(bytes: Bytes) -> Bytes {
    if bytes.is_unique() { bytes } else { Bytes::copy_from_slice(&bytes) }
}
