//! A log whose values carry the ids of a schema registry, seen by those who know built-in ids alone.
//!
//! Only the five bytes before a value's body change, both ways. A value that somebody else wrote with a schema of their own
//! is read by that schema, which the registry has, and handed on as if we had written it. While the registry is away,
//! everything with ids that are known goes on; a partition waits at the first record whose id is not.
//!
//! # Layout
//! - [`ids`]: which id is which; [`lookups`]: schemas of others; [`waiting`]: records that wait for one
//! - here: the log, its members and readers

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{topic, wire};
use tokio::sync::watch;
use tokio::time::timeout;

use super::registry::{Address, Client, Trouble};
use super::{
    ClientStatistics, Consumer, Delivery, Difference, Error, From, Log, NewRecord, Progress, Reader, Record, Tailed,
    TopicPartition, TopicSpec,
};
use ids::Ids;
use lookups::{Known, Lookups};
use waiting::{Inward, Waiting};

mod ids;
mod lookups;
mod waiting;

pub use lookups::Pace;

/// Records that a reader without a group keeps waiting before it reads no further.
const MOST_WAITING: usize = 4096;

/// How long a read of one partition waits for the registry.
const PATIENCE: Duration = Duration::from_secs(10);

/// A registry that knows our schemas.
pub struct Enrolled {
    ids: Ids,
    client: Client,
}

/// Registers every schema of ours at `address`, or finds it there. Subjects are named for topics as they lie in the log,
/// where names begin with `prefix`.
pub async fn enroll(address: &Address, prefix: &str) -> Result<Enrolled, Trouble> {
    let client = Client::new(address)?;
    let ids = Ids::new(&client.enroll(prefix).await?);
    Ok(Enrolled { ids, client })
}

/// A log with a registry beside it.
pub struct Registered {
    log: Arc<dyn Log>,
    translator: Translator,
}

impl Registered {
    /// `log` as seen by those who know built-in ids.
    pub fn new(log: Arc<dyn Log>, enrolled: Enrolled) -> Self {
        Self::at(log, enrolled, Pace::default())
    }

    /// The same with lookups at another pace.
    pub fn at(log: Arc<dyn Log>, enrolled: Enrolled, pace: Pace) -> Self {
        let lookups = Lookups::new(enrolled.client, pace);
        Self { log, translator: Translator { ids: Arc::new(enrolled.ids), lookups } }
    }
}

/// Turns values of the log into ours and back.
#[derive(Clone)]
struct Translator {
    ids: Arc<Ids>,
    lookups: Arc<Lookups>,
}

impl Translator {
    fn outward(&self, value: Bytes) -> Bytes {
        match wire::schema_id(&value) {
            Ok(here) => with_id(value, here, self.ids.outward(here)),
            Err(_) => value,
        }
    }

    /// What `record` is to us. What has no frame, or an id that nobody can explain, stays as it is: whoever reads it says
    /// what is wrong with it.
    fn inward(&self, mut record: Record) -> Inward {
        let Ok(there) = wire::schema_id(&record.value) else { return Inward::Done(record) };
        // Dead letters are kept as they came, and go back as they are.
        let has_schema = topic::find(&record.at.topic).is_some_and(|topic| topic.newest().is_some());
        if !self.ids.is_ours(there) && has_schema {
            match self.lookups.look_up(there) {
                Known::Asked => return Inward::Waits(record),
                Known::Nothing => {}
                Known::Schema(schema) => match schema.adopt(&record.at.topic, &record.value[wire::FRAME_BYTES..]) {
                    Ok(value) => {
                        record.value = value.into();
                        return Inward::Done(record);
                    }
                    Err(error) => {
                        let (TopicPartition { topic, partition }, offset) = (&record.at, record.offset);
                        tracing::warn!(topic, partition, offset, id = there, %error, "a foreign event is none of ours");
                    }
                },
            }
        }
        record.value = with_id(record.value, there, self.ids.inward(there));
        Inward::Done(record)
    }
}

/// A framed value with another id in its frame.
fn with_id(value: Bytes, from: i32, to: i32) -> Bytes {
    if from == to {
        return value;
    }
    let mut framed = value.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
    framed[1..wire::FRAME_BYTES].copy_from_slice(&to.to_be_bytes());
    framed.freeze()
}

#[async_trait]
impl Log for Registered {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.log.ensure_topics(topics).await
    }

    async fn append(&self, mut records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        for record in &mut records {
            record.value = self.translator.outward(std::mem::take(&mut record.value));
        }
        self.log.append(records).await
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        let (member, translator) = (self.log.join(group, topics).await?, self.translator.clone());
        let answers = translator.lookups.answers();
        Ok(Box::new(Member { member, translator, answers, waiting: Waiting::default(), paused: BTreeSet::new() }))
    }

    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error> {
        let (reader, translator) = (self.log.tail(topics, from).await?, self.translator.clone());
        let answers = translator.lookups.answers();
        Ok(Box::new(Tail { reader, translator, answers, waiting: Waiting::default(), is_caught_up: false }))
    }

    /// Waits a moment for a registry that is away, and fails then: nothing is lost by reading again.
    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let mut answers = self.translator.lookups.answers();
        let mut waiting = Waiting::default();
        let read = self.log.read(at, offset, limit).await?;
        let (mut done, _) = waiting.pass(&self.translator, read);
        let rest = timeout(PATIENCE, async {
            while waiting.has(at) {
                let (more, _) = waiting.retry(&self.translator, |_| false);
                done.extend(more);
                if waiting.has(at) && answers.changed().await.is_err() {
                    return;
                }
            }
        });
        match rest.await {
            Ok(()) => Ok(done),
            Err(late) => Err(Error::Store { doing: "ask the schema registry about a record", source: Box::new(late) }),
        }
    }

    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error> {
        self.log.progress(group, topics).await
    }

    async fn enforce_retention(&self) -> Result<(), Error> {
        self.log.enforce_retention().await
    }

    /// About the log alone: without the registry nearly everything goes on.
    async fn check(&self) -> Result<(), Error> {
        self.log.check().await
    }

    async fn close(&self, deadline: Duration) {
        self.log.close(deadline).await;
    }

    async fn differences(&self, topics: &[TopicSpec]) -> Result<Vec<Difference>, Error> {
        self.log.differences(topics).await
    }

    fn statistics(&self) -> Vec<ClientStatistics> {
        self.log.statistics()
    }
}

struct Member {
    member: Box<dyn Consumer>,
    translator: Translator,
    answers: watch::Receiver<u64>,
    waiting: Waiting,
    /// What our reader has paused. The member pauses what waits as well.
    paused: BTreeSet<TopicPartition>,
}

impl Member {
    /// Nothing of `at` waits any more: its deliveries go on, unless our reader has paused them.
    fn release(&mut self, at: &TopicPartition) {
        if !self.paused.contains(at) {
            self.member.resume(std::slice::from_ref(at));
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.waiting.forget(at);
            self.paused.remove(at);
        }
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            // Seen before what waits is tried: an answer that comes meanwhile ends the wait below at once.
            self.answers.borrow_and_update();
            let paused = &self.paused;
            let (done, released) = self.waiting.retry(&self.translator, |at| paused.contains(at));
            released.iter().for_each(|at| self.release(at));
            if !done.is_empty() {
                return Ok(Delivery::Records(done));
            }
            let has_waiting = self.waiting.len() > 0;
            // Whatever a dropped wait leaves behind lies in `waiting`.
            let delivery = tokio::select! {
                delivery = self.member.next() => delivery?,
                Ok(()) = self.answers.changed(), if has_waiting => continue,
            };
            match delivery {
                Delivery::Records(records) => {
                    let (done, held) = self.waiting.pass(&self.translator, records);
                    self.member.pause(&held);
                    if !done.is_empty() {
                        return Ok(Delivery::Records(done));
                    }
                }
                Delivery::Gained(partitions) => {
                    self.forget(&partitions);
                    return Ok(Delivery::Gained(partitions));
                }
                Delivery::Lost(partitions) => {
                    self.forget(&partitions);
                    return Ok(Delivery::Lost(partitions));
                }
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.paused.extend(partitions.iter().cloned());
        self.member.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.paused.remove(at);
        }
        let free: Vec<_> = partitions.iter().filter(|at| !self.waiting.has(at)).cloned().collect();
        self.member.resume(&free);
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        self.member.commit(offsets).await
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.member.seek(at, offset).await?;
        if self.waiting.forget(at) {
            self.release(at);
        }
        Ok(())
    }

    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error> {
        self.member.seek_to_time(at, time_ms).await?;
        if self.waiting.forget(at) {
            self.release(at);
        }
        Ok(())
    }
}

struct Tail {
    reader: Box<dyn Reader>,
    translator: Translator,
    answers: watch::Receiver<u64>,
    waiting: Waiting,
    /// The reader has said that it is at the end of what was there; ours is when nothing waits any more.
    is_caught_up: bool,
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        loop {
            self.answers.borrow_and_update();
            let (done, _) = self.waiting.retry(&self.translator, |_| false);
            if !done.is_empty() {
                return Ok(Tailed::Records(done));
            }
            let waiting = self.waiting.len();
            if waiting == 0 && std::mem::take(&mut self.is_caught_up) {
                return Ok(Tailed::CaughtUp);
            }
            let read = tokio::select! {
                read = self.reader.next(), if waiting < MOST_WAITING => read?,
                Ok(()) = self.answers.changed(), if waiting > 0 => continue,
                else => return Err(Error::Closed),
            };
            match read {
                Tailed::Records(records) => {
                    let (done, _) = self.waiting.pass(&self.translator, records);
                    if !done.is_empty() {
                        return Ok(Tailed::Records(done));
                    }
                }
                Tailed::CaughtUp => self.is_caught_up = true,
            }
        }
    }
}
