//! The embedded log: one process owns one file.
//!
//! All writes go through one writer, which flushes everything that waits to a journal in one piece (group commit). Readers
//! see a record only after that, from memory until the database has it. Groups live in this process; only their committed
//! offsets are stored. Offsets of a partition have no gaps, and time stamps never fall within one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use redb::ReadableDatabase;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::log::{Consumer, Error, From, Log, NewRecord, Progress, Reader, Record, TopicPartition, TopicSpec};
use crate::store::{Fault, Home, Journal, OpenError, Store, locked};

mod change;
mod consumer;
mod disk;
mod fresh;
mod groups;
mod reader;
mod view;
mod write;

use consumer::Member;
use disk::Limits;
use fresh::Fresh;
use reader::Tail;
use view::{Place, Topic, Wanted};
use write::{Request, Shared, Writer};

/// What one delivery holds at most.
const DELIVERY: Limits = Limits { records: 512, bytes: 1 << 20 };
/// Memory that `redb` may use for pages, bytes.
const CACHE_BYTES: usize = 32 << 20;

/// The embedded log.
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store<Writer>,
    shared: Arc<Shared>,
}

impl Embedded {
    /// Opens the log in the file `path` and the journal beside it, making them if they are missing. Fails while another
    /// process has it open.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let home = Home::on_disk(path, CACHE_BYTES)?;
        let failed = |fault: Fault| OpenError::File { path: path.to_owned(), source: Box::new(fault) };
        let journal = home.database().and_then(|database| {
            disk::lay_out(&database)?;
            Journal::open(&path.with_extension("journal"), &database, change::replay)
        });
        let journal = journal.map_err(failed)?;
        let shared = share(home, clock).map_err(failed)?;
        let store = Store::threaded("log", Arc::clone(&shared.home), Some(journal), Writer::new(Arc::clone(&shared)))?;
        Ok(Self { inner: Arc::new(Inner { store, shared }) })
    }

    /// A log that is gone with the process.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let home = Home::in_memory()?;
        let failed = |fault: Fault| OpenError::File { path: ":memory:".into(), source: Box::new(fault) };
        home.database().and_then(|database| disk::lay_out(&database)).map_err(failed)?;
        let shared = share(home, clock).map_err(failed)?;
        let store = Store::inline(Arc::clone(&shared.home), Writer::new(Arc::clone(&shared)));
        Ok(Self { inner: Arc::new(Inner { store, shared }) })
    }
}

fn share(home: Arc<Home>, clock: Arc<dyn Clock>) -> Result<Arc<Shared>, Fault> {
    let database = home.database()?;
    let shared = Shared { home, clock, view: Mutex::default(), groups: Mutex::default() };
    shared.load(&database)?;
    Ok(Arc::new(shared))
}

impl Inner {
    /// Hands a request to the writer and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        self.store.submit(request(sender));
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Runs a read where it may block, which in memory is right here.
    async fn reading<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        let result = if self.store.blocks() {
            tokio::task::spawn_blocking(move || read(&shared)).await.map_err(|_| Error::Closed)?
        } else {
            read(&shared)
        };
        result.map_err(|fault| Error::Store { doing, source: Box::new(fault) })
    }

    /// What lies at the wanted positions; empty when there is nothing.
    async fn fetch(&self, mut wanted: Vec<Wanted>, limits: Limits) -> Result<Vec<Record>, Error> {
        loop {
            let found = locked(&self.shared.view).find(&wanted, limits);
            if found.stretches.is_empty() {
                return Ok(found.records);
            }
            let gone: Vec<_> = found.stretches.iter().map(|stretch| (stretch.place, stretch.until)).collect();
            let stretches = found.stretches;
            let mut records = self
                .reading("read records", move |shared| disk::read(&*shared.home.database()?, &stretches, limits))
                .await?;
            records.extend(found.records);
            if !records.is_empty() {
                return Ok(records);
            }
            // Retention was faster. What comes after these stretches is still there.
            for one in &mut wanted {
                let until = gone.iter().find(|(place, _)| *place == (one.topic.id, one.partition));
                one.from = until.map_or(one.from, |(_, until)| one.from.max(*until));
            }
        }
    }

    async fn offset_at(&self, place: Place, time_ms: i64) -> Result<i64, Error> {
        let (recent, stored) = {
            let view = locked(&self.shared.view);
            (view.offset_at(place, time_ms), view.stored(place))
        };
        match recent {
            Some(offset) => Ok(offset),
            None => {
                let find = move |shared: &Shared| disk::offset_at(&*shared.home.database()?, place, stored, time_ms);
                self.reading("find an offset", find).await
            }
        }
    }

    async fn timestamp_at(&self, place: Place, offset: i64) -> Result<Option<i64>, Error> {
        let (recent, stored) = {
            let view = locked(&self.shared.view);
            (view.timestamp_at(place, offset), view.stored(place))
        };
        match recent {
            Some(timestamp_ms) => Ok(Some(timestamp_ms)),
            None => {
                let read =
                    move |shared: &Shared| disk::timestamp_at(&*shared.home.database()?, place, offset, stored.next);
                self.reading("read a time stamp", read).await
            }
        }
    }

    /// The topic of each name, in their order.
    fn topics_of_each(&self, names: &[&str]) -> Result<Vec<Arc<Topic>>, Error> {
        let view = locked(&self.shared.view);
        names.iter().map(|name| view.topic(name)).collect()
    }

    /// The topics of these names, each once.
    fn topics(&self, names: &[&str]) -> Result<Vec<Arc<Topic>>, Error> {
        let view = locked(&self.shared.view);
        let mut topics: Vec<Arc<Topic>> = Vec::with_capacity(names.len());
        for name in names {
            if !topics.iter().any(|topic| topic.name == *name) {
                topics.push(view.topic(name)?);
            }
        }
        Ok(topics)
    }
}

#[async_trait]
impl Log for Embedded {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        if let Some(spec) = topics.iter().find(|spec| spec.partitions == 0 || spec.name.is_empty()) {
            let why = format!("topic `{}` needs a name and at least one partition", spec.name);
            return Err(Error::Store { doing: "make topics", source: why.into() });
        }
        let specs = topics.to_vec();
        self.inner.ask(|answer| Request::Topics { specs, refused: None, answer: Some(answer) }).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let names: Vec<&str> = records.iter().map(|record| record.topic.as_str()).collect();
        let topics = self.inner.topics_of_each(&names)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let fresh: Vec<Fresh> =
            records.into_iter().zip(&topics).map(|(record, topic)| Fresh::new(record, topic)).collect();
        let placed = fresh.iter().map(|fresh| (fresh.record.at.clone(), 0)).collect();
        let placed = self.inner.ask(|answer| Request::Append { fresh, placed, answer: Some(answer) }).await;
        let stale = locked(&self.inner.shared.view).take_stale();
        drop(stale);
        placed
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        let topics = self.inner.topics(topics)?;
        Ok(Box::new(Member::join(Arc::clone(&self.inner), group, topics)))
    }

    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error> {
        let topics = self.inner.topics(topics)?;
        Ok(Box::new(Tail::open(Arc::clone(&self.inner), topics, from).await?))
    }

    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let topic = locked(&self.inner.shared.view).topic(&at.topic)?;
        if at.partition >= topic.partitions {
            return Err(Error::UnknownTopic(format!("{}/{}", at.topic, at.partition)));
        }
        let mut records = Vec::new();
        let mut from = offset;
        // What is in the database and what is in memory come one after the other.
        while records.len() < limit {
            let limits = Limits { records: limit - records.len(), bytes: usize::MAX };
            let wanted = vec![Wanted { topic: Arc::clone(&topic), partition: at.partition, from }];
            let more = self.inner.fetch(wanted, limits).await?;
            let Some(last) = more.last() else { break };
            from = last.offset + 1;
            records.extend(more);
        }
        Ok(records)
    }

    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error> {
        let mut all = Vec::new();
        for topic in self.inner.topics(topics)? {
            for place in topic.places() {
                let ends = locked(&self.inner.shared.view).ends(place);
                let committed = locked(&self.inner.shared.groups).committed(group, place);
                let committed = committed.unwrap_or(ends.first).max(ends.first);
                let is_behind = committed < ends.next;
                let oldest_pending_ms = if is_behind { self.inner.timestamp_at(place, committed).await? } else { None };
                all.push(Progress { at: topic.at(place.1), committed, end: ends.next, oldest_pending_ms });
            }
        }
        Ok(all)
    }

    async fn enforce_retention(&self) -> Result<(), Error> {
        while self.inner.ask(|answer| Request::Retain { more: false, answer: Some(answer) }).await? {}
        Ok(())
    }

    async fn check(&self) -> Result<(), Error> {
        // A commit is worth its flush only when the last one failed; otherwise the writers keep testing the disk.
        if self.inner.store.is_healthy() {
            return self
                .inner
                .reading("read", |shared| shared.home.database()?.begin_read().map(drop).map_err(Fault::from))
                .await;
        }
        self.inner.ask(|answer| Request::Probe { answer: Some(answer) }).await
    }
}
