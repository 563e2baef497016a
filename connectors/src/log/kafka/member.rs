//! A member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::client::{Context, failed, number};
use super::inbox::{Inbox, Refused};
use super::poller::{Client, Poller, Seek};
use super::{Inner, blocking, offsets};
use crate::log::{Consumer, Delivery, Error, TopicPartition};
use crate::store::locked;

/// Commits under way at most: while the coordinator is away they pile up.
const COMMITS: usize = 4;
/// How long a refused commit waits to hear which partition is lost.
const VERDICT: Duration = Duration::from_secs(2);

/// A member of a group; dropping it leaves the group.
pub(super) struct Member {
    inner: Arc<Inner>,
    inbox: Arc<Inbox>,
    seeks: Sender<Seek>,
    commits: Sender<Commit>,
    seat: Seat,
}

/// Offsets on their way to the broker. librdkafka has no commit that answers without blocking a thread.
struct Commit {
    offsets: TopicPartitionList,
    answer: oneshot::Sender<Result<(), KafkaError>>,
}

/// Sends commits one after the other until the member is gone.
fn commit_all(client: &Client, inbox: &Inbox, commits: &Receiver<Commit>) {
    while let Ok(Commit { offsets, answer }) = commits.recv() {
        let result = client.commit(&offsets, CommitMode::Sync);
        inbox.settle();
        // Whoever asked may have stopped waiting.
        let _ = answer.send(result);
    }
}

/// Names of this process's static members. A process has one member per group, as a rule; more get numbers.
#[derive(Default)]
pub(super) struct Seats(Mutex<BTreeMap<String, BTreeSet<u32>>>);

struct Seat {
    inner: Arc<Inner>,
    group: String,
    number: u32,
}

impl Seat {
    fn take(inner: &Arc<Inner>, group: &str) -> Self {
        let mut seats = locked(&inner.seats.0);
        let taken = seats.entry(group.to_owned()).or_default();
        let number = (0..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        taken.insert(number);
        drop(seats);
        Self { inner: Arc::clone(inner), group: group.to_owned(), number }
    }

    fn name(&self) -> Option<String> {
        let instance = self.inner.settings.instance.as_ref()?;
        Some(if self.number == 0 { instance.clone() } else { format!("{instance}-{}", self.number + 1) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(taken) = locked(&self.inner.seats.0).get_mut(&self.group) {
            taken.remove(&self.number);
        }
    }
}

impl Member {
    pub(super) async fn join(inner: &Arc<Inner>, group: &str, topics: &[&str]) -> Result<Self, Error> {
        inner.partitions(topics).await?;
        let seat = Seat::take(inner, group);
        let inbox = Arc::new(Inbox::default());
        let config = inner.settings.member(group, seat.name().as_deref());
        let context = Context::member(group, &inner.board, Arc::clone(&inbox));
        let client = BaseConsumer::from_config_and_context(&config, context)
            .map_err(|error| failed("make a member of a group", error))?;
        client.subscribe(topics).map_err(|error| failed("join a group", error))?;
        let client = Arc::new(client);
        let (seeks, asked) = channel();
        let (commits, sent) = channel();
        let poller = Poller { client: Arc::clone(&client), inbox: Arc::clone(&inbox), seeks: asked };
        inner.spawn(format!("kafka {group}"), move || poller.run())?;
        let settling = Arc::clone(&inbox);
        inner.spawn(format!("commit {group}"), move || commit_all(&client, &settling, &sent))?;
        Ok(Self { inner: Arc::clone(inner), inbox, seeks, commits, seat })
    }

    /// The error of a commit that the broker refused. When it says that we are not in the group as we think, a loss is on
    /// its way to us: it is awaited, so that whoever asked hears the same as a little later.
    async fn refused(&self, offsets: &[(TopicPartition, i64)], error: KafkaError) -> Error {
        let is_fenced = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::AssignmentLost
                    | RDKafkaErrorCode::Fatal
            )
        );
        if is_fenced {
            let partitions = offsets.iter().map(|(at, _)| at);
            if let Ok(at) = timeout(VERDICT, self.inbox.lost_one(partitions)).await {
                return Error::NotOwner(at);
            }
        }
        failed("commit", error)
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        self.inbox.next().await
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.inbox.hold_back(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.inbox.let_go(partitions);
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list = list_of(offsets).map_err(|error| failed("commit", error))?;
        match self.inbox.begin(offsets.iter().map(|(at, _)| at), COMMITS) {
            Ok(()) => {}
            Err(Refused::Closed) => return Err(Error::Closed),
            Err(Refused::NotOwner(at)) => return Err(Error::NotOwner(at)),
            Err(Refused::Busy) => {
                return Err(failed("commit", "earlier commits are still under way: the group has no coordinator"));
            }
        }
        let (sender, answer) = oneshot::channel();
        if self.commits.send(Commit { offsets: list, answer: sender }).is_err() {
            self.inbox.settle();
            return Err(Error::Closed);
        }
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.refused(offsets, error).await),
            Err(_) => Err(Error::Closed),
        }
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.inbox.check(at)?;
        let (answer, done) = oneshot::channel();
        let seek = Seek { at: at.clone(), offset, since: Instant::now(), answer };
        self.seeks.send(seek).map_err(|_| Error::Closed)?;
        done.await.map_err(|_| Error::Closed)?
    }

    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error> {
        self.inbox.check(at)?;
        let (inner, place) = (Arc::clone(&self.inner), at.clone());
        let find = move || {
            let client = inner.reading()?;
            offsets::at_time(&client, &place, time_ms)
        };
        let offset = blocking("find an offset", find).await?;
        self.seek(at, offset).await
    }
}

/// Offsets as librdkafka has them.
fn list_of(offsets: &[(TopicPartition, i64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (at, offset) in offsets {
        list.add_partition_offset(&at.topic, number(at), Offset::Offset(*offset))?;
    }
    Ok(list)
}

impl Drop for Member {
    fn drop(&mut self) {
        tracing::debug!(group = self.seat.group, "leaving the group");
        self.inbox.leave();
    }
}
