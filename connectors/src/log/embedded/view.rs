//! What readers need of the log in memory: topics, ends of partitions, the newest records, and whom to wake.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::disk::{Limits, Stretch};
use crate::log::{Error, Record, Retention, TopicPartition};

/// Bytes of newest records that stay in memory, so that an idle consumer gets a fresh record without a read.
const RECENT_BYTES: usize = 8 << 20;

/// Topic id and partition.
pub(super) type Place = (u32, u32);

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) retention: Retention,
}

impl Topic {
    /// All its partitions.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let id = self.id;
        (0..self.partitions).map(move |partition| (id, partition))
    }

    /// The public name of `place`.
    pub(super) fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Oldest offset that is kept.
    pub(super) first: i64,
    /// Offset of the next record.
    pub(super) next: i64,
    /// Bytes that are kept.
    pub(super) bytes: u64,
    /// Time stamp of the newest record.
    pub(super) last_ms: i64,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: 0, next: 0, bytes: 0, last_ms: i64::MIN }
    }
}

impl Ends {
    pub(super) fn from_row((first, next, bytes, last_ms): (i64, i64, u64, i64)) -> Self {
        Self { first, next, bytes, last_ms }
    }

    pub(super) fn row(self) -> (i64, i64, u64, i64) {
        (self.first, self.next, self.bytes, self.last_ms)
    }
}

/// A position that wants records.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: u32,
    pub(super) from: i64,
}

/// What is there for a reader right now.
#[derive(Default)]
pub(super) struct Found {
    /// Records from memory.
    pub(super) records: Vec<Record>,
    /// What must be read from the database.
    pub(super) stretches: Vec<Stretch>,
}

/// The picture of the log that readers share. It moves only after a commit.
#[derive(Default)]
pub(super) struct View {
    topics: HashMap<String, Arc<Topic>>,
    ends: BTreeMap<Place, Ends>,
    recent: BTreeMap<Place, VecDeque<Record>>,
    /// Places and sizes of the recent records, oldest first.
    ages: VecDeque<(Place, usize)>,
    recent_bytes: usize,
    /// How many of them, the newest, are not in the database yet.
    unstored: usize,
    /// What has been recent. Giving its memory back takes a while, which is not the writer's.
    stale: Vec<Record>,
    bells: HashMap<u32, Vec<Arc<Notify>>>,
}

impl View {
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        self.topics.get(name).cloned().ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    pub(super) fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics.values().cloned().collect()
    }

    pub(super) fn put_topic(&mut self, topic: Topic) {
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    pub(super) fn ends(&self, place: Place) -> Ends {
        self.ends.get(&place).copied().unwrap_or_default()
    }

    pub(super) fn put_ends(&mut self, place: Place, ends: Ends) {
        self.ends.insert(place, ends);
    }

    /// Keeps a record that has just become durable; records of one place come in order.
    pub(super) fn put_recent(&mut self, place: Place, record: Record) {
        let size = weight(&record);
        self.recent.entry(place).or_default().push_back(record);
        self.ages.push_back((place, size));
        self.recent_bytes += size;
        self.unstored += 1;
        self.make_room();
    }

    /// The database holds every record now.
    pub(super) fn all_stored(&mut self) {
        self.unstored = 0;
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.recent_bytes > RECENT_BYTES && self.ages.len() > self.unstored {
            let Some((place, size)) = self.ages.pop_front() else { break };
            self.recent_bytes -= size;
            if let Some(records) = self.recent.get_mut(&place) {
                self.stale.extend(records.pop_front());
            }
        }
    }

    /// Records that are not recent any more, to be dropped without a lock.
    pub(super) fn take_stale(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.stale)
    }

    /// Lets go of the newest records, all of which are in the database.
    pub(super) fn forget_recent(&mut self) {
        self.unstored = 0;
        self.recent.clear();
        self.ages.clear();
        self.recent_bytes = 0;
    }

    /// Wakes `bell` whenever one of `topics` grows.
    pub(super) fn hang(&mut self, topics: &[Arc<Topic>], bell: &Arc<Notify>) {
        for topic in topics {
            self.bells.entry(topic.id).or_default().push(Arc::clone(bell));
        }
    }

    /// Forgets `bell`.
    pub(super) fn unhang(&mut self, topics: &[Arc<Topic>], bell: &Arc<Notify>) {
        for topic in topics {
            if let Some(bells) = self.bells.get_mut(&topic.id) {
                bells.retain(|other| !Arc::ptr_eq(other, bell));
            }
        }
    }

    /// Wakes whoever reads `topic`.
    pub(super) fn ring(&self, topic: u32) {
        for bell in self.bells.get(&topic).into_iter().flatten() {
            bell.notify_one();
        }
    }

    /// The recent records of `place`, which go on to its end; absent when there are none.
    fn recent(&self, place: Place) -> Option<(&Record, &VecDeque<Record>)> {
        let records = self.recent.get(&place)?;
        Some((records.front()?, records))
    }

    /// The part of `place` that is only in the database.
    pub(super) fn stored(&self, place: Place) -> Ends {
        let ends = self.ends(place);
        let next = self.recent(place).map_or(ends.next, |(front, _)| front.offset.max(ends.first));
        Ends { next, ..ends }
    }

    /// Time stamp of the record at `offset`, if it is a recent one.
    pub(super) fn timestamp_at(&self, place: Place, offset: i64) -> Option<i64> {
        let (front, records) = self.recent(place)?;
        let found = records.get(records.partition_point(|record| record.offset < offset))?;
        (front.offset <= offset).then_some(found.timestamp_ms)
    }

    /// Offset of the first record that was appended at `time_ms` or later, if older ones are among the recent.
    pub(super) fn offset_at(&self, place: Place, time_ms: i64) -> Option<i64> {
        let (front, records) = self.recent(place)?;
        let later = records.get(records.partition_point(|record| record.timestamp_ms < time_ms));
        let ends = self.ends(place);
        (front.timestamp_ms < time_ms).then(|| later.map_or(ends.next, |record| record.offset).max(ends.first))
    }

    /// What lies at the wanted positions, up to `limits`.
    pub(super) fn find(&self, wanted: &[Wanted], limits: Limits) -> Found {
        let mut found = Found::default();
        let mut bytes = 0;
        for one in wanted {
            let place = (one.topic.id, one.partition);
            let ends = self.ends(place);
            let from = one.from.max(ends.first);
            if from >= ends.next {
                continue;
            }
            let Some((_, recent)) = self.recent(place).filter(|(front, _)| front.offset <= from) else {
                let until = self.stored(place).next;
                found.stretches.push(Stretch { topic: one.topic.name.clone(), place, from, until });
                continue;
            };
            let skip = recent.partition_point(|record| record.offset < from);
            for record in recent.range(skip..) {
                if !found.records.is_empty()
                    && (found.records.len() >= limits.records || bytes + weight(record) > limits.bytes)
                {
                    return found;
                }
                bytes += weight(record);
                found.records.push(record.clone());
            }
        }
        found
    }
}

fn weight(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
    128 + headers + record.key.len() + record.value.len()
}
