//! Questions about offsets, and reads of single records. All of these wait for brokers: they run on threads of their own.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::Inner;
use super::client::{Context, is_passing, number, place};
use super::poller::{Client, list, record};
use crate::log::{Progress, Record, TopicPartition};
use crate::store::locked;

/// One question.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
/// Clients kept for the next question.
const SPARE: usize = 4;
/// Group that readers name and never join.
const READERS: &str = "streamforge.reader";

/// First and next offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: i64,
    pub(super) next: i64,
}

/// Clients without a group, kept between questions.
#[derive(Default)]
pub(super) struct Spare {
    readers: Mutex<Vec<Client>>,
    /// By group: only a client that names a group may ask for its offsets.
    groups: Mutex<HashMap<String, Vec<Client>>>,
    /// When the record at an offset was appended, for the offsets asked about last.
    times: Mutex<HashMap<(String, TopicPartition), (i64, i64)>>,
}

/// A client that goes back to where it was taken from.
pub(super) struct Borrowed<'s> {
    inner: &'s Inner,
    client: Option<Client>,
    group: Option<String>,
}

impl Deref for Borrowed<'_> {
    type Target = Client;

    #[allow(clippy::expect_used)] // taken in `drop` alone
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("a client until it is dropped")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        // Errors of connections wait in the client until somebody takes them, and an outage has one every second.
        while client.poll(Duration::from_millis(1)).is_some() {}
        let spare = &self.inner.spare;
        let surplus = match &self.group {
            None => keep(&mut locked(&spare.readers), client, SPARE),
            Some(group) => keep(locked(&spare.groups).entry(group.clone()).or_default(), client, 1),
        };
        if let Some(client) = surplus {
            self.inner.drop_aside(client);
        }
    }
}

fn keep(kept: &mut Vec<Client>, client: Client, most: usize) -> Option<Client> {
    if kept.len() >= most {
        return Some(client);
    }
    kept.push(client);
    None
}

impl Inner {
    /// A client that reads partitions of its own choice.
    pub(super) fn reading(&self) -> Result<Borrowed<'_>, KafkaError> {
        let kept = locked(&self.spare.readers).pop();
        let client = match kept {
            Some(client) => client,
            None => self.reader(READERS)?,
        };
        Ok(Borrowed { inner: self, client: Some(client), group: None })
    }

    /// A client that may ask for the offsets of `group`, without joining it.
    fn asking(&self, group: &str) -> Result<Borrowed<'_>, KafkaError> {
        let kept = locked(&self.spare.groups).get_mut(group).and_then(Vec::pop);
        let client = match kept {
            Some(client) => client,
            None => self.reader(group)?,
        };
        Ok(Borrowed { inner: self, client: Some(client), group: Some(group.to_owned()) })
    }

    fn reader(&self, group: &str) -> Result<Client, KafkaError> {
        BaseConsumer::from_config_and_context(&self.settings.reader(group), Context::new("reader", &self.board))
    }

    /// A client for a reader that stays.
    pub(super) fn tailing(&self) -> Result<Client, KafkaError> {
        BaseConsumer::from_config_and_context(&self.settings.tail(READERS), Context::new("tail", &self.board))
    }

    /// How far `group` has come in `partitions`.
    pub(super) fn how_far(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Progress>, KafkaError> {
        let client = self.asking(group)?;
        let ends = ends(&client, partitions)?;
        let committed = client.committed_offsets(list(partitions), PATIENCE)?;
        let mut offsets = HashMap::new();
        for element in committed.elements() {
            element.error()?;
            if let (Some(at), Offset::Offset(offset)) = (place(element.topic(), element.partition()), element.offset())
            {
                offsets.insert(at, offset);
            }
        }
        let mut all = Vec::with_capacity(partitions.len());
        for at in partitions {
            let Some(Ends { first, next }) = ends.get(at).copied() else { continue };
            let committed = offsets.get(at).copied().unwrap_or(first).max(first);
            let oldest_pending_ms = if committed < next { self.time_of(group, at, committed)? } else { None };
            all.push(Progress { at: at.clone(), committed, end: next, oldest_pending_ms });
        }
        Ok(all)
    }

    /// When the first record from `offset` on was appended; remembered for as long as a group stands there.
    fn time_of(&self, group: &str, at: &TopicPartition, offset: i64) -> Result<Option<i64>, KafkaError> {
        let key = (group.to_owned(), at.clone());
        if let Some((_, time)) = locked(&self.spare.times).get(&key).filter(|(known, _)| *known == offset) {
            return Ok(Some(*time));
        }
        let time = self.read_from(at, offset, 1)?.first().map(|record| record.timestamp_ms);
        if let Some(time) = time {
            locked(&self.spare.times).insert(key, (offset, time));
        }
        Ok(time)
    }

    /// Reads up to `limit` records of one partition from `offset` to its end as of now.
    pub(super) fn read_from(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, KafkaError> {
        let client = self.reading()?;
        let Some(Ends { first, next }) = ends(&client, std::slice::from_ref(at))?.get(at).copied() else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition));
        };
        let offset = offset.max(first);
        if offset >= next || limit == 0 {
            return Ok(Vec::new());
        }
        let mut start = TopicPartitionList::with_capacity(1);
        start.add_partition_offset(&at.topic, number(at), Offset::Offset(offset))?;
        client.assign(&start)?;
        let read = read_assigned(&client, at, offset, next, limit);
        client.unassign()?;
        // What was fetched beyond the limit must not be found by the next reader.
        while client.poll(Duration::ZERO).is_some() {}
        read
    }
}

fn read_assigned(
    client: &Client,
    at: &TopicPartition,
    offset: i64,
    next: i64,
    limit: usize,
) -> Result<Vec<Record>, KafkaError> {
    let begun = Instant::now();
    let mut records = Vec::new();
    loop {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let offset_of = message.offset();
                let wanted = record(&message).filter(|record| record.at == *at && (offset..next).contains(&offset_of));
                records.extend(wanted);
                if records.len() >= limit || offset_of + 1 >= next {
                    return Ok(records);
                }
            }
            // The end comes after everything before it, gaps included.
            Some(Err(KafkaError::PartitionEOF(partition))) if partition == number(at) => return Ok(records),
            Some(Err(error)) if !is_passing(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
        if begun.elapsed() > PATIENCE {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
    }
}

/// Asks for one offset per partition: `time` is a time stamp, or one of librdkafka's two words for the ends.
fn ask(
    client: &Client,
    partitions: &[TopicPartition],
    time: Offset,
) -> Result<HashMap<TopicPartition, i64>, KafkaError> {
    let begun = Instant::now();
    loop {
        match ask_once(client, partitions, time) {
            // A partition that was just made or whose leader has just moved answers a moment later.
            Err(error) if is_passing(&error) && begun.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
            answered => return answered,
        }
    }
}

fn ask_once(
    client: &Client,
    partitions: &[TopicPartition],
    time: Offset,
) -> Result<HashMap<TopicPartition, i64>, KafkaError> {
    let mut asked = list(partitions);
    asked.set_all_offsets(time)?;
    let answered = client.offsets_for_times(asked, PATIENCE)?;
    let mut found = HashMap::with_capacity(partitions.len());
    for element in answered.elements() {
        element.error()?;
        if let (Some(at), Some(offset)) = (place(element.topic(), element.partition()), element.offset().to_raw()) {
            found.insert(at, offset);
        }
    }
    Ok(found)
}

/// First and next offsets of `partitions`.
pub(super) fn ends(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<HashMap<TopicPartition, Ends>, KafkaError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let first = ask(client, partitions, Offset::Beginning)?;
    let next = ask(client, partitions, Offset::End)?;
    let of = |at: &TopicPartition| Some((at.clone(), Ends { first: *first.get(at)?, next: *next.get(at)? }));
    Ok(partitions.iter().filter_map(of).collect())
}

/// The offsets of the first records appended at `time_ms` or later; the ends where there are none.
pub(super) fn at_times(
    client: &Client,
    partitions: &[TopicPartition],
    time_ms: i64,
) -> Result<HashMap<TopicPartition, i64>, KafkaError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let mut found = ask(client, partitions, Offset::Offset(time_ms.max(0)))?;
    let late: Vec<_> =
        partitions.iter().filter(|at| found.get(*at).is_none_or(|offset| *offset < 0)).cloned().collect();
    for (at, ends) in ends(client, &late)? {
        found.insert(at, ends.next);
    }
    Ok(found)
}

/// The same for one partition.
pub(super) fn at_time(client: &Client, at: &TopicPartition, time_ms: i64) -> Result<i64, KafkaError> {
    let found = at_times(client, std::slice::from_ref(at), time_ms)?;
    found.get(at).copied().ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition))
}

/// Whether nothing lies in a partition from `offset` up to `goal`: dropped by retention, or never records at all.
pub(super) fn is_empty_until(
    inner: &Arc<Inner>,
    at: &TopicPartition,
    offset: i64,
    goal: i64,
) -> Result<bool, KafkaError> {
    let read = inner.read_from(at, offset, 1)?;
    Ok(read.first().is_none_or(|record| record.offset >= goal))
}
