//! How records, topics and offsets lie in the database.

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::view::{Ends, Place, Topic};
use crate::log::{NewRecord, Record, Retention, TopicPartition};
use crate::store::Fault;

/// Topics by name.
pub(super) const TOPICS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("topics");
/// Records by topic, partition and offset.
pub(super) const RECORDS: TableDefinition<'_, (u32, u32, i64), &[u8]> = TableDefinition::new("records");
/// First offset, next offset, bytes and last time stamp by topic and partition.
pub(super) const ENDS: TableDefinition<'_, (u32, u32), (i64, i64, u64, i64)> = TableDefinition::new("ends");
/// Committed offsets by group, topic and partition.
pub(super) const COMMITTED: TableDefinition<'_, (&str, u32, u32), i64> = TableDefinition::new("committed");

/// A topic as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct TopicRow {
    pub(super) id: u32,
    pub(super) partitions: u32,
    pub(super) max_age_ms: Option<i64>,
    pub(super) max_bytes: Option<u64>,
    #[serde(default)]
    pub(super) is_compacted: bool,
}

impl TopicRow {
    pub(super) fn of(topic: &Topic) -> Self {
        Self {
            id: topic.id,
            partitions: topic.partitions,
            max_age_ms: topic.retention.max_age_ms,
            max_bytes: topic.retention.max_bytes,
            is_compacted: topic.retention.is_compacted,
        }
    }

    fn named(self, name: &str) -> Topic {
        let Self { max_age_ms, max_bytes, is_compacted, .. } = self;
        let retention = Retention { max_age_ms, max_bytes, is_compacted };
        Topic { id: self.id, name: name.to_owned(), partitions: self.partitions, retention }
    }
}

/// Everything that is kept in memory beside the records.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) topics: Vec<Topic>,
    pub(super) ends: Vec<(Place, Ends)>,
    pub(super) committed: Vec<(String, Place, i64)>,
}

/// Makes missing tables.
pub(super) fn lay_out(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    transaction.open_table(TOPICS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(ENDS)?;
    transaction.open_table(COMMITTED)?;
    transaction.commit()?;
    Ok(())
}

/// Reads what is kept in memory.
pub(super) fn load(database: &Database) -> Result<Contents, Fault> {
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    for entry in transaction.open_table(TOPICS)?.iter()? {
        let (name, row) = entry?;
        let row: TopicRow = serde_json::from_slice(row.value())?;
        contents.topics.push(row.named(name.value()));
    }
    let (saved, records) = (transaction.open_table(ENDS)?, transaction.open_table(RECORDS)?);
    for place in contents.topics.iter().flat_map(Topic::places) {
        let mut ends = saved.get(place)?.map_or_else(Ends::default, |row| Ends::from_row(row.value()));
        // Ends are saved now and then; records after that speak for themselves.
        for entry in records.range((place.0, place.1, ends.next)..=(place.0, place.1, i64::MAX))? {
            let (key, stored) = entry?;
            ends.next = key.value().2 + 1;
            ends.bytes += stored.value().len() as u64;
            ends.last_ms = timestamp(stored.value())?;
        }
        contents.ends.push((place, ends));
    }
    for entry in transaction.open_table(COMMITTED)?.iter()? {
        let (key, offset) = entry?;
        let (group, topic, partition) = key.value();
        contents.committed.push((group.to_owned(), (topic, partition), offset.value()));
    }
    Ok(contents)
}

/// Bytes of the time stamp that a stored record begins with.
pub(super) const TIMESTAMP: usize = 8;

/// Writes `record` as it is stored after its time stamp.
pub(super) fn encode(record: &NewRecord) -> Vec<u8> {
    let headers: usize = record.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    let mut stored = Vec::with_capacity(8 + headers + record.key.len() + record.value.len());
    put_length(&mut stored, record.headers.len());
    for (name, value) in &record.headers {
        put_length(&mut stored, name.len());
        stored.extend_from_slice(name.as_bytes());
        put_length(&mut stored, value.len());
        stored.extend_from_slice(value);
    }
    put_length(&mut stored, record.key.len());
    stored.extend_from_slice(&record.key);
    stored.extend_from_slice(&record.value);
    stored
}

fn put_length(stored: &mut Vec<u8>, length: usize) {
    // The store refuses values of more than 3 GiB, so a longer part never reaches the disk.
    stored.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

/// Time stamp of a stored record.
pub(super) fn timestamp(stored: &[u8]) -> Result<i64, Fault> {
    let first = stored.first_chunk().ok_or_else(damaged)?;
    Ok(i64::from_le_bytes(*first))
}

/// Reads a stored record back.
pub(super) fn decode(at: TopicPartition, offset: i64, stored: &[u8]) -> Result<Record, Fault> {
    let timestamp_ms = timestamp(stored)?;
    let mut rest = Bytes::copy_from_slice(stored).slice(TIMESTAMP..);
    let count = take_length(&mut rest)?;
    let mut headers = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let length = take_length(&mut rest)?;
        let name = take(&mut rest, length)?;
        let name = String::from_utf8(name.to_vec()).map_err(Fault::new)?;
        let length = take_length(&mut rest)?;
        headers.push((name, take(&mut rest, length)?));
    }
    let length = take_length(&mut rest)?;
    let key = take(&mut rest, length)?;
    Ok(Record { at, offset, timestamp_ms, key, value: rest, headers })
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, Fault> {
    if length > rest.len() {
        return Err(damaged());
    }
    Ok(rest.split_to(length))
}

fn take_length(rest: &mut Bytes) -> Result<usize, Fault> {
    let length = take(rest, 4)?;
    let length = length.first_chunk().ok_or_else(damaged)?;
    Ok(u32::from_le_bytes(*length) as usize)
}

fn damaged() -> Fault {
    Fault::new("the stored record is damaged")
}

/// How much one read takes at most.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Records.
    pub(super) records: usize,
    /// Bytes; the first record is taken whatever its size.
    pub(super) bytes: usize,
}

/// One stretch of a partition to read.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) topic: String,
    pub(super) place: Place,
    /// First offset.
    pub(super) from: i64,
    /// Offset after the last.
    pub(super) until: i64,
}

/// Reads `stretches` in their order until `limits` are reached.
pub(super) fn read(database: &Database, stretches: &[Stretch], limits: Limits) -> Result<Vec<Record>, Fault> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let mut records = Vec::new();
    let mut bytes = 0;
    for stretch in stretches {
        let (topic, partition) = stretch.place;
        for entry in table.range((topic, partition, stretch.from)..(topic, partition, stretch.until))? {
            let (key, stored) = entry?;
            let stored = stored.value();
            let full = records.len() >= limits.records || bytes + stored.len() > limits.bytes;
            if full && !(records.is_empty() && limits.records > 0) {
                return Ok(records);
            }
            bytes += stored.len();
            let at = TopicPartition { topic: stretch.topic.clone(), partition };
            records.push(decode(at, key.value().2, stored)?);
        }
    }
    Ok(records)
}

/// Time stamp of the first record of `place` at `offset` or later, before `until`.
pub(super) fn timestamp_at(database: &Database, place: Place, offset: i64, until: i64) -> Result<Option<i64>, Fault> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut range = table.range((place.0, place.1, offset)..(place.0, place.1, until))?;
    range.next().map(|entry| timestamp(entry?.1.value())).transpose()
}

/// First offset of `place` in `from..until` whose record was appended at `time_ms` or later; `until` if there is none.
///
/// Time stamps never fall within a partition, so a handful of probes is enough.
pub(super) fn offset_at(database: &Database, place: Place, ends: Ends, time_ms: i64) -> Result<i64, Fault> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let (mut low, mut high) = (ends.first, ends.next);
    while low < high {
        let middle = low + (high - low) / 2;
        let probe = table.range((place.0, place.1, middle)..(place.0, place.1, high))?.next();
        match probe.transpose()? {
            Some((key, stored)) if timestamp(stored.value())? < time_ms => low = key.value().2 + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
