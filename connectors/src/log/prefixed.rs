//! A log that several deployments share: the names of all topics and groups begin with a prefix that nobody here sees.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    ClientStatistics, Consumer, Delivery, Difference, Error, From, Log, NewRecord, Progress, Reader, Record, Tailed,
    TopicPartition, TopicSpec,
};

/// A log whose names are those of another one without their prefix.
pub struct Prefixed {
    log: Arc<dyn Log>,
    prefix: Arc<str>,
}

impl Prefixed {
    /// `log` as seen by those whose topics and groups begin with `prefix`.
    pub fn new(log: Arc<dyn Log>, prefix: &str) -> Self {
        Self { log, prefix: prefix.into() }
    }
}

fn full(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

fn all_full(prefix: &str, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| full(prefix, name)).collect()
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn outside(prefix: &str, at: &TopicPartition) -> TopicPartition {
    TopicPartition { topic: full(prefix, &at.topic), partition: at.partition }
}

fn all_outside(prefix: &str, all: &[TopicPartition]) -> Vec<TopicPartition> {
    all.iter().map(|at| outside(prefix, at)).collect()
}

fn short(prefix: &str, name: String) -> String {
    name.strip_prefix(prefix).map(str::to_owned).unwrap_or(name)
}

fn inside(prefix: &str, mut at: TopicPartition) -> TopicPartition {
    at.topic = short(prefix, at.topic);
    at
}

fn records(prefix: &str, mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        if record.at.topic.starts_with(prefix) {
            record.at.topic.drain(..prefix.len());
        }
    }
    records
}

fn error(prefix: &str, error: Error) -> Error {
    match error {
        Error::UnknownTopic(topic) => Error::UnknownTopic(short(prefix, topic)),
        Error::Partitions { topic, found, wanted } => Error::Partitions { topic: short(prefix, topic), found, wanted },
        Error::TooLarge { topic, bytes } => Error::TooLarge { topic: short(prefix, topic), bytes },
        Error::NotOwner(at) => Error::NotOwner(inside(prefix, at)),
        other => other,
    }
}

fn specs(prefix: &str, topics: &[TopicSpec]) -> Vec<TopicSpec> {
    topics.iter().map(|spec| TopicSpec { name: full(prefix, &spec.name), ..spec.clone() }).collect()
}

#[async_trait]
impl Log for Prefixed {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        if topics.iter().any(|spec| spec.name.is_empty()) {
            return self.log.ensure_topics(topics).await;
        }
        self.log.ensure_topics(&specs(&self.prefix, topics)).await.map_err(|fault| error(&self.prefix, fault))
    }

    async fn append(&self, mut records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        for record in &mut records {
            record.topic.insert_str(0, &self.prefix);
        }
        let placed = self.log.append(records).await.map_err(|fault| error(&self.prefix, fault))?;
        Ok(placed.into_iter().map(|(at, offset)| (inside(&self.prefix, at), offset)).collect())
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        let topics = all_full(&self.prefix, topics);
        let joined = self.log.join(&full(&self.prefix, group), &texts(&topics)).await;
        let member = joined.map_err(|fault| error(&self.prefix, fault))?;
        Ok(Box::new(Member { member, prefix: Arc::clone(&self.prefix) }))
    }

    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error> {
        let topics = all_full(&self.prefix, topics);
        let reader = self.log.tail(&texts(&topics), from).await.map_err(|fault| error(&self.prefix, fault))?;
        Ok(Box::new(Tail { reader, prefix: Arc::clone(&self.prefix) }))
    }

    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let read = self.log.read(&outside(&self.prefix, at), offset, limit).await;
        read.map(|found| records(&self.prefix, found)).map_err(|fault| error(&self.prefix, fault))
    }

    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error> {
        let topics = all_full(&self.prefix, topics);
        let found = self.log.progress(&full(&self.prefix, group), &texts(&topics)).await;
        let found = found.map_err(|fault| error(&self.prefix, fault))?;
        let rename = |progress: Progress| Progress { at: inside(&self.prefix, progress.at), ..progress };
        Ok(found.into_iter().map(rename).collect())
    }

    async fn enforce_retention(&self) -> Result<(), Error> {
        self.log.enforce_retention().await
    }

    async fn check(&self) -> Result<(), Error> {
        self.log.check().await
    }

    async fn close(&self, deadline: Duration) {
        self.log.close(deadline).await;
    }

    /// Topics have their full names here: those are what an operator looks for.
    async fn differences(&self, topics: &[TopicSpec]) -> Result<Vec<Difference>, Error> {
        self.log.differences(&specs(&self.prefix, topics)).await
    }

    fn statistics(&self) -> Vec<ClientStatistics> {
        let rename = |client: ClientStatistics| ClientStatistics { role: short(&self.prefix, client.role), ..client };
        self.log.statistics().into_iter().map(rename).collect()
    }
}

struct Member {
    member: Box<dyn Consumer>,
    prefix: Arc<str>,
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        let names = |all: Vec<TopicPartition>| all.into_iter().map(|at| inside(&self.prefix, at)).collect();
        match self.member.next().await {
            Ok(Delivery::Records(found)) => Ok(Delivery::Records(records(&self.prefix, found))),
            Ok(Delivery::Gained(all)) => Ok(Delivery::Gained(names(all))),
            Ok(Delivery::Lost(all)) => Ok(Delivery::Lost(names(all))),
            Err(fault) => Err(error(&self.prefix, fault)),
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.member.pause(&all_outside(&self.prefix, partitions));
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.member.resume(&all_outside(&self.prefix, partitions));
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let offsets: Vec<_> = offsets.iter().map(|(at, offset)| (outside(&self.prefix, at), *offset)).collect();
        self.member.commit(&offsets).await.map_err(|fault| error(&self.prefix, fault))
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error> {
        let sought = self.member.seek(&outside(&self.prefix, at), offset).await;
        sought.map_err(|fault| error(&self.prefix, fault))
    }

    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error> {
        let sought = self.member.seek_to_time(&outside(&self.prefix, at), time_ms).await;
        sought.map_err(|fault| error(&self.prefix, fault))
    }
}

struct Tail {
    reader: Box<dyn Reader>,
    prefix: Arc<str>,
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        match self.reader.next().await {
            Ok(Tailed::Records(found)) => Ok(Tailed::Records(records(&self.prefix, found))),
            Ok(Tailed::CaughtUp) => Ok(Tailed::CaughtUp),
            Err(fault) => Err(error(&self.prefix, fault)),
        }
    }
}
