//! A log whose deliveries a test scripts, and which writes down what the runner does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use connectors::Log;
use connectors::log::{
    Consumer, Delivery, Error, From, NewRecord, Progress, Reader, Record, Tailed, TopicPartition, TopicSpec,
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

/// Something the runner did at the log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Joined(String),
    Left(String),
    /// Group, partition, offset.
    Committed(String, u32, i64),
    Paused(String, Vec<u32>),
    Resumed(String, Vec<u32>),
    /// Topic.
    Appended(String),
}

type Queue<T> = (mpsc::UnboundedSender<T>, Arc<AsyncMutex<mpsc::UnboundedReceiver<T>>>);

fn queue<T>() -> Queue<T> {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Arc::new(AsyncMutex::new(receiver)))
}

#[derive(Default)]
struct State {
    acts: Vec<Act>,
    appended: Vec<NewRecord>,
    groups: HashMap<String, Queue<Result<Delivery, Error>>>,
    tail: Option<Queue<Tailed>>,
    failing_appends: u32,
    /// Appends wait for a permit of this.
    held_appends: Option<Arc<Semaphore>>,
    /// Larger records are refused.
    largest: Option<usize>,
    failing_commits: u32,
    failing_joins: u32,
    disowned: Vec<TopicPartition>,
    down: bool,
}

#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<State>>);

fn refused(doing: &'static str) -> Error {
    Error::Store { doing, source: "the disk is gone".into() }
}

impl Scripted {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }

    fn group(&self, group: &str) -> Queue<Result<Delivery, Error>> {
        self.lock().groups.entry(group.to_owned()).or_insert_with(queue).clone()
    }

    fn tail_queue(&self) -> Queue<Tailed> {
        self.lock().tail.get_or_insert_with(queue).clone()
    }

    /// Scripts what the consumer of `stage` is told next.
    pub fn tell(&self, stage: &str, delivery: Result<Delivery, Error>) {
        self.group(&format!("streamforge.{stage}")).0.send(delivery).expect("the queue lives with the log");
    }

    pub fn gain(&self, stage: &str, topic: &str, partition: u32) {
        self.tell(stage, Ok(Delivery::Gained(vec![at(topic, partition)])));
    }

    pub fn lose(&self, stage: &str, topic: &str, partition: u32) {
        self.tell(stage, Ok(Delivery::Lost(vec![at(topic, partition)])));
    }

    pub fn deliver(&self, stage: &str, records: Vec<Record>) {
        self.tell(stage, Ok(Delivery::Records(records)));
    }

    /// Scripts what a groupless reader sees next.
    pub fn say(&self, tailed: Tailed) {
        self.tail_queue().0.send(tailed).expect("the queue lives with the log");
    }

    pub fn fail_appends(&self, count: u32) {
        self.lock().failing_appends = count;
    }

    /// Refuses records of more bytes from now on.
    pub fn take_at_most(&self, bytes: usize) {
        self.lock().largest = Some(bytes);
    }

    /// Lets appends wait until they are let through.
    pub fn hold_appends(&self) {
        self.lock().held_appends = Some(Arc::new(Semaphore::new(0)));
    }

    pub fn let_through(&self, appends: usize) {
        if let Some(held) = &self.lock().held_appends {
            held.add_permits(appends);
        }
    }

    pub fn fail_commits(&self, count: u32) {
        self.lock().failing_commits = count;
    }

    pub fn fail_joins(&self, count: u32) {
        self.lock().failing_joins = count;
    }

    pub fn disown(&self, topic: &str, partition: u32) {
        self.lock().disowned.push(at(topic, partition));
    }

    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// What the runner did, progress left out.
    pub fn acts(&self) -> Vec<Act> {
        let acts = self.lock().acts.clone();
        acts.into_iter().filter(|act| *act != Act::Appended("job.progress".to_owned())).collect()
    }

    pub fn appended(&self, topic: &str) -> Vec<NewRecord> {
        self.lock().appended.iter().filter(|record| record.topic == topic).cloned().collect()
    }

    /// The last committed offset of a partition.
    pub fn committed(&self, stage: &str, partition: u32) -> Option<i64> {
        let group = format!("streamforge.{stage}");
        self.acts().into_iter().rev().find_map(|act| match act {
            Act::Committed(of, in_partition, offset) if of == group && in_partition == partition => Some(offset),
            _ => None,
        })
    }
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub fn record(topic: &str, partition: u32, offset: i64, value: impl Into<Bytes>) -> Record {
    Record {
        at: at(topic, partition),
        offset,
        timestamp_ms: 0,
        key: Bytes::from_static(b"key"),
        value: value.into(),
        headers: vec![("traceparent".to_owned(), Bytes::from_static(b"00-7"))],
    }
}

#[async_trait]
impl Log for Scripted {
    async fn ensure_topics(&self, _topics: &[TopicSpec]) -> Result<(), Error> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let held = self.lock().held_appends.clone().filter(|_| records.iter().any(|r| r.topic != "job.progress"));
        if let Some(held) = held {
            held.acquire().await.expect("open").forget();
        }
        let mut state = self.lock();
        if records.iter().any(|record| record.topic != "job.progress") && state.failing_appends > 0 {
            state.failing_appends -= 1;
            return Err(refused("append records"));
        }
        if let Some(large) = records.iter().find(|record| state.largest.is_some_and(|most| record.bytes() > most)) {
            return Err(Error::TooLarge { topic: large.topic.clone(), bytes: large.bytes() });
        }
        let offsets = records.iter().map(|record| (at(&record.topic, 0), 0)).collect();
        state.acts.extend(records.iter().map(|record| Act::Appended(record.topic.clone())));
        state.appended.extend(records);
        Ok(offsets)
    }

    async fn join(&self, group: &str, _topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        {
            let mut state = self.lock();
            if state.failing_joins > 0 {
                state.failing_joins -= 1;
                return Err(refused("join a group"));
            }
            state.acts.push(Act::Joined(group.to_owned()));
        }
        let (_, deliveries) = self.group(group);
        Ok(Box::new(Member { log: self.clone(), group: group.to_owned(), deliveries }))
    }

    async fn tail(&self, _topics: &[&str], _from: From) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(Tail(self.tail_queue().1)))
    }

    async fn read(&self, _at: &TopicPartition, _offset: i64, _limit: usize) -> Result<Vec<Record>, Error> {
        Ok(Vec::new())
    }

    async fn progress(&self, _group: &str, _topics: &[&str]) -> Result<Vec<Progress>, Error> {
        Ok(Vec::new())
    }

    async fn enforce_retention(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Error> {
        if self.lock().down { Err(refused("check")) } else { Ok(()) }
    }
}

struct Member {
    log: Scripted,
    group: String,
    deliveries: Arc<AsyncMutex<mpsc::UnboundedReceiver<Result<Delivery, Error>>>>,
}

impl Member {
    fn numbers(partitions: &[TopicPartition]) -> Vec<u32> {
        partitions.iter().map(|at| at.partition).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = Act::Left(self.group.clone());
        self.log.lock().acts.push(left);
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        self.deliveries.lock().await.recv().await.unwrap_or(Err(Error::Closed))
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let act = Act::Paused(self.group.clone(), Self::numbers(partitions));
        self.log.lock().acts.push(act);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let act = Act::Resumed(self.group.clone(), Self::numbers(partitions));
        self.log.lock().acts.push(act);
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let mut state = self.log.lock();
        if state.failing_commits > 0 {
            state.failing_commits -= 1;
            return Err(refused("commit"));
        }
        if let Some((at, _)) = offsets.iter().find(|(at, _)| state.disowned.contains(at)) {
            return Err(Error::NotOwner(at.clone()));
        }
        for (at, offset) in offsets {
            state.acts.push(Act::Committed(self.group.clone(), at.partition, *offset));
        }
        Ok(())
    }

    async fn seek(&mut self, _at: &TopicPartition, _offset: i64) -> Result<(), Error> {
        Ok(())
    }

    async fn seek_to_time(&mut self, _at: &TopicPartition, _time_ms: i64) -> Result<(), Error> {
        Ok(())
    }
}

struct Tail(Arc<AsyncMutex<mpsc::UnboundedReceiver<Tailed>>>);

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        self.0.lock().await.recv().await.ok_or(Error::Closed)
    }
}
