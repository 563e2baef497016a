//! Everything that changes the log, one transaction at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use redb::{Database, ReadableTable, Table, WriteTransaction};
use tokio::sync::oneshot;

use super::change::{self, Changes};
use super::disk::{self, ENDS, RECORDS, TOPICS};
use super::fresh::Fresh;
use super::groups::{Groups, Owner};
use super::view::{Ends, Place, Topic, View};
use crate::clock::Clock;
use crate::log::{Error, TopicPartition, TopicSpec};
use crate::store::{Batch, Fault, Home, locked};

/// Records that one step of retention drops at most, so that appends never wait long for it.
const DROPPED_AT_ONCE: usize = 2048;

/// What readers and the writer share.
pub(super) struct Shared {
    pub(super) home: Arc<Home>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) view: Mutex<View>,
    pub(super) groups: Mutex<Groups>,
}

impl Shared {
    /// Shows readers what lies in `database`.
    pub(super) fn load(&self, database: &Database) -> Result<(), Fault> {
        let contents = disk::load(database)?;
        let mut groups = locked(&self.groups);
        for (group, place, offset) in contents.committed {
            groups.put_committed(&group, place, offset);
        }
        drop(groups);
        let mut view = locked(&self.view);
        view.forget_recent();
        for (place, ends) in contents.ends {
            view.put_ends(place, ends);
        }
        for topic in contents.topics {
            let id = topic.id;
            view.put_topic(topic);
            view.ring(id);
        }
        Ok(())
    }
}

type Answer<T> = Option<oneshot::Sender<Result<T, Error>>>;

/// A wish with the way to answer it, and what came of it until the commit.
pub(super) enum Request {
    Append {
        fresh: Vec<Fresh>,
        placed: Vec<(TopicPartition, i64)>,
        answer: Answer<Vec<(TopicPartition, i64)>>,
    },
    Topics {
        specs: Vec<TopicSpec>,
        refused: Option<Error>,
        answer: Answer<()>,
    },
    Commit {
        group: String,
        offsets: Vec<Commit>,
        refused: Option<Error>,
        answer: Answer<()>,
    },
    /// Answers whether there is more to drop.
    Retain {
        more: bool,
        answer: Answer<bool>,
    },
    /// Proves that commits work.
    Probe {
        answer: Answer<()>,
    },
}

/// An offset that a member commits.
pub(super) struct Commit {
    pub(super) at: TopicPartition,
    pub(super) place: Place,
    pub(super) owner: Owner,
    pub(super) offset: i64,
}

/// The writing side of the log.
pub(super) struct Writer {
    shared: Arc<Shared>,
    staged: Staged,
    /// Partitions whose ends have moved since they were saved; opening finds the rest by looking at the records.
    unsaved: BTreeSet<Place>,
}

/// What readers get to see after the commit.
#[derive(Default)]
struct Staged {
    topics: HashMap<String, Arc<Topic>>,
    ends: BTreeMap<Place, Ends>,
    /// The database gets to hold everything.
    is_stored: bool,
    /// Records of a place in the order of their offsets.
    fresh: Vec<Fresh>,
    committed: Vec<(String, Place, i64)>,
}

type Records<'t> = Table<'t, (u32, u32, i64), &'static [u8]>;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, staged: Staged::default(), unsaved: BTreeSet::new() }
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        match self.staged.topics.get(name) {
            Some(topic) => Ok(Arc::clone(topic)),
            None => locked(&self.shared.view).topic(name),
        }
    }

    fn ends(&self, place: Place) -> Ends {
        self.staged.ends.get(&place).copied().unwrap_or_else(|| locked(&self.shared.view).ends(place))
    }

    /// Gives each record its place; answers what has become of them in `placed`.
    fn place(&mut self, fresh: &mut Vec<Fresh>, placed: &mut [(TopicPartition, i64)]) {
        let now = self.shared.clock.now_ms();
        for (mut fresh, (_, offset)) in fresh.drain(..).zip(placed) {
            let view = &self.shared.view;
            let ends = self.staged.ends.entry(fresh.place).or_insert_with(|| locked(view).ends(fresh.place));
            let timestamp_ms = now.max(ends.last_ms);
            (*offset, fresh.record.offset, fresh.record.timestamp_ms) = (ends.next, ends.next, timestamp_ms);
            ends.next += 1;
            ends.bytes += fresh.stored() as u64;
            ends.last_ms = timestamp_ms;
            self.staged.fresh.push(fresh);
        }
    }

    fn topics(&mut self, transaction: &WriteTransaction, specs: &[TopicSpec]) -> Result<Option<Error>, Fault> {
        for spec in specs {
            match self.topic(&spec.name) {
                Ok(topic) if topic.partitions != spec.partitions => {
                    let (found, wanted) = (topic.partitions, spec.partitions);
                    return Ok(Some(Error::Partitions { topic: spec.name.clone(), found, wanted }));
                }
                _ => {}
            }
        }
        let mut table = transaction.open_table(TOPICS)?;
        for spec in specs {
            let topic = match self.topic(&spec.name) {
                Ok(topic) if topic.retention == spec.retention => continue,
                Ok(topic) => Topic { retention: spec.retention, ..(*topic).clone() },
                Err(_) => {
                    let known = locked(&self.shared.view).all_topics();
                    let ids = known.iter().chain(self.staged.topics.values()).map(|topic| topic.id);
                    let id = ids.max().map_or(0, |id| id + 1);
                    Topic { id, name: spec.name.clone(), partitions: spec.partitions, retention: spec.retention }
                }
            };
            let row = serde_json::to_vec(&disk::TopicRow::of(&topic))?;
            table.insert(topic.name.as_str(), row.as_slice())?;
            self.staged.topics.insert(topic.name.clone(), Arc::new(topic));
        }
        Ok(None)
    }

    /// Answers why `offsets` may not be committed.
    fn commit(&mut self, group: &str, offsets: &[Commit]) -> Option<Error> {
        let groups = locked(&self.shared.groups);
        if let Some(foreign) = offsets.iter().find(|one| !groups.is_owner(group, one.place, one.owner)) {
            return Some(Error::NotOwner(foreign.at.clone()));
        }
        let committed = offsets.iter().map(|one| (group.to_owned(), one.place, one.offset));
        self.staged.committed.extend(committed);
        None
    }

    /// Gives appends their places and commits their answers; answers what they change.
    fn stage(&mut self, requests: &mut [Request]) -> Vec<u8> {
        for request in requests {
            match request {
                Request::Append { fresh, placed, .. } => self.place(fresh, placed),
                Request::Commit { group, offsets, refused, .. } => *refused = self.commit(group, offsets),
                Request::Retain { .. } | Request::Topics { .. } | Request::Probe { .. } => {}
            }
        }
        self.unsaved.extend(self.staged.ends.keys());
        let mut changes = Changes::default();
        changes.reserve(self.staged.fresh.iter().map(Fresh::stored));
        for Fresh { place, body, record } in &self.staged.fresh {
            changes.record(*place, record.offset, [&record.timestamp_ms.to_le_bytes(), body]);
        }
        for (group, place, offset) in &self.staged.committed {
            changes.committed(group, *place, *offset);
        }
        changes.into_bytes()
    }

    /// Drops a bounded number of old records; answers whether there may be more.
    fn retain(&mut self, table: &mut Records<'_>) -> Result<bool, Fault> {
        let now = self.shared.clock.now_ms();
        let mut budget = DROPPED_AT_ONCE;
        let topics = locked(&self.shared.view).all_topics();
        for topic in topics {
            let oldest = topic.retention.max_age_ms.map_or(i64::MIN, |age| now.saturating_sub(age));
            let most = topic.retention.max_bytes.unwrap_or(u64::MAX);
            for place in topic.places() {
                let before = self.ends(place);
                let mut ends = before;
                for entry in table.range((place.0, place.1, ends.first)..(place.0, place.1, ends.next))? {
                    let (key, stored) = entry?;
                    let stored = stored.value();
                    if disk::timestamp(stored)? >= oldest && ends.bytes <= most {
                        break;
                    }
                    if budget == 0 {
                        break;
                    }
                    budget -= 1;
                    ends.bytes = ends.bytes.saturating_sub(stored.len() as u64);
                    ends.first = key.value().2 + 1;
                }
                self.drop_until(table, place, before, ends)?;
                if budget == 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn drop_until(&mut self, table: &mut Records<'_>, place: Place, before: Ends, after: Ends) -> Result<(), Fault> {
        if after.first > before.first {
            table.retain_in((place.0, place.1, before.first)..(place.0, place.1, after.first), |_, _| false)?;
            self.staged.ends.insert(place, after);
        }
        Ok(())
    }

    /// Shows readers what has become durable.
    fn publish(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        if !staged.committed.is_empty() {
            let mut groups = locked(&self.shared.groups);
            for (group, place, offset) in staged.committed {
                groups.put_committed(&group, place, offset);
            }
        }
        let mut view = locked(&self.shared.view);
        for topic in staged.topics.into_values() {
            view.put_topic((*topic).clone());
        }
        let mut changed: Vec<u32> = Vec::new();
        for (place, ends) in staged.ends {
            // Whoever waits for a record that is gone has to look further.
            if ends.first > view.ends(place).first {
                changed.push(place.0);
            }
            view.put_ends(place, ends);
        }
        for Fresh { place, record, .. } in staged.fresh {
            if !changed.contains(&place.0) {
                changed.push(place.0);
            }
            view.put_recent(place, record);
        }
        if staged.is_stored {
            view.all_stored();
        }
        for topic in changed {
            view.ring(topic);
        }
    }
}

impl Batch for Writer {
    type Request = Request;

    fn weight(request: &Request) -> usize {
        match request {
            Request::Append { fresh, .. } => fresh.iter().map(Fresh::stored).sum(),
            Request::Topics { .. } | Request::Commit { .. } | Request::Retain { .. } | Request::Probe { .. } => 64,
        }
    }

    fn changes(&mut self, requests: &mut [Request]) -> Option<Vec<u8>> {
        self.staged = Staged::default();
        let is_plain = |request: &Request| matches!(request, Request::Append { .. } | Request::Commit { .. });
        requests.iter().all(is_plain).then(|| self.stage(requests))
    }

    fn replay(transaction: &WriteTransaction, changes: &[&[u8]]) -> Result<(), Fault> {
        change::replay(transaction, changes)
    }

    fn write(&mut self, transaction: &WriteTransaction, requests: &mut [Request]) -> Result<(), Fault> {
        for request in requests.iter_mut() {
            if let Request::Topics { specs, refused, .. } = request {
                *refused = self.topics(transaction, specs)?;
            }
        }
        let changes = self.stage(requests);
        change::replay(transaction, &[&changes])?;
        let mut table = transaction.open_table(RECORDS)?;
        for request in requests {
            if let Request::Retain { more, .. } = request {
                *more = self.retain(&mut table)?;
            }
        }
        self.unsaved.extend(self.staged.ends.keys());
        Ok(())
    }

    fn save(&mut self, transaction: &WriteTransaction) -> Result<(), Fault> {
        self.staged.is_stored = true;
        let mut table = transaction.open_table(ENDS)?;
        for place in std::mem::take(&mut self.unsaved) {
            table.insert(place, self.ends(place).row())?;
        }
        Ok(())
    }

    fn reload(&mut self, database: &Database) -> Result<(), Fault> {
        self.shared.load(database)
    }

    fn settle(&mut self, requests: Vec<Request>, outcome: Result<(), Fault>) {
        match &outcome {
            Ok(()) => self.publish(),
            Err(_) => self.staged = Staged::default(),
        }
        for request in requests {
            match request {
                Request::Append { placed, mut answer, .. } => {
                    reply(&mut answer, &outcome, "append records", None, placed);
                }
                Request::Topics { refused, mut answer, .. } => {
                    reply(&mut answer, &outcome, "make topics", refused, ());
                }
                Request::Commit { refused, mut answer, .. } => {
                    reply(&mut answer, &outcome, "commit offsets", refused, ());
                }
                Request::Retain { more, mut answer } => {
                    reply(&mut answer, &outcome, "drop old records", None, more);
                }
                Request::Probe { mut answer } => reply(&mut answer, &outcome, "write", None, ()),
            }
        }
    }
}

fn reply<T>(
    answer: &mut Answer<T>,
    outcome: &Result<(), Fault>,
    doing: &'static str,
    refused: Option<Error>,
    value: T,
) {
    let Some(answer) = answer.take() else { return };
    let result = match (outcome, refused) {
        (Err(fault), _) => Err(Error::Store { doing, source: Box::new(fault.clone()) }),
        (Ok(()), Some(refused)) => Err(refused),
        (Ok(()), None) => Ok(value),
    };
    // Whoever has stopped waiting does not want the answer.
    let _ = answer.send(result);
}
