//! A reader without a group: all partitions are its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{number, place};
use super::inbox::Inbox;
use super::offsets::{self, Ends};
use super::poller::{Client, Polled, Poller};
use super::{Inner, blocking};
use crate::log::{Delivery, Error, From, Reader, Tailed, TopicPartition};
use crate::store::locked;

/// When nothing has come for so long, partitions that are not at their goals are looked at one by one.
const QUIET: Duration = Duration::from_millis(300);
/// Longest wait of one poll, so that a reader that is gone is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Where each partition is read next, and where it ended when the reader was opened.
type Positions = BTreeMap<TopicPartition, (i64, i64)>;

/// Reads topics to the end and on.
pub(super) struct Tail {
    inbox: Arc<Inbox>,
    positions: Positions,
    /// Partitions of which nothing is left before their goals although no record says so.
    empty: Arc<Mutex<BTreeSet<TopicPartition>>>,
    caught_up: bool,
}

impl Tail {
    pub(super) async fn open(inner: &Arc<Inner>, topics: &[&str], from: From) -> Result<Self, Error> {
        let counts = inner.partitions(topics).await?;
        let partitions: Vec<TopicPartition> = topics
            .iter()
            .zip(counts)
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .flat_map(|(topic, count)| {
                (0..count).map(|partition| TopicPartition { topic: (*topic).to_owned(), partition })
            })
            .collect();
        let opening = Arc::clone(inner);
        let (client, positions) = blocking("open a reader", move || start(&opening, &partitions, from)).await?;
        let inbox = Arc::new(Inbox::default());
        inbox.gain(positions.keys().cloned().collect());
        // Nobody has to be told: they are ours for good.
        let _told = inbox.take();
        let empty = Arc::new(Mutex::default());
        let watch = Watch { inner: Arc::clone(inner), goals: positions.clone(), empty: Arc::clone(&empty) };
        let (_, seeks) = channel();
        let poller = Poller { client: Arc::new(client), inbox: Arc::clone(&inbox), seeks };
        inner.spawn("kafka tail".to_owned(), move || watch.run(&poller))?;
        Ok(Self { inbox, positions, empty, caught_up: false })
    }

    /// Whether everything that was there at the beginning has been handed over.
    fn is_caught_up(&self) -> bool {
        let empty = locked(&self.empty);
        self.positions.iter().all(|(at, (next, goal))| next >= goal || empty.contains(at))
    }
}

/// Where reading begins: positions and goals, and a client that is on its way.
fn start(inner: &Inner, partitions: &[TopicPartition], from: From) -> Result<(Client, Positions), KafkaError> {
    let client = inner.tailing()?;
    let ends = offsets::ends(&client, partitions)?;
    let times = match from {
        From::Time(time_ms) => offsets::at_times(&client, partitions, time_ms)?,
        From::Beginning | From::End => HashMap::new(),
    };
    let mut positions = BTreeMap::new();
    let mut assigned = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        let Some(Ends { first, next }) = ends.get(at).copied() else { continue };
        let begin = match from {
            From::Beginning => first,
            From::End => next,
            From::Time(_) => times.get(at).copied().unwrap_or(next),
        };
        positions.insert(at.clone(), (begin, next));
        assigned.add_partition_offset(&at.topic, number(at), Offset::Offset(begin))?;
    }
    client.assign(&assigned)?;
    Ok((client, positions))
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        loop {
            // What was read before a partition was found empty comes first.
            match self.inbox.take() {
                Some(Ok(Delivery::Records(records))) => {
                    for record in &records {
                        if let Some((next, _)) = self.positions.get_mut(&record.at) {
                            *next = record.offset + 1;
                        }
                    }
                    return Ok(Tailed::Records(records));
                }
                Some(Ok(Delivery::Gained(_) | Delivery::Lost(_))) => continue,
                Some(Err(error)) => return Err(error),
                None => {}
            }
            if !self.caught_up && self.is_caught_up() {
                self.caught_up = true;
                return Ok(Tailed::CaughtUp);
            }
            self.inbox.rung().await;
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.inbox.leave();
    }
}

/// The poller of a reader, which also finds out what no record tells: that a partition has nothing left before its goal.
struct Watch {
    inner: Arc<Inner>,
    /// Position and goal of partitions that have not come so far.
    goals: Positions,
    empty: Arc<Mutex<BTreeSet<TopicPartition>>>,
}

impl Watch {
    fn run(mut self, poller: &Poller) {
        self.goals.retain(|_, (next, goal)| next < goal);
        let (mut quiet, mut pause) = (Instant::now(), QUIET);
        while !poller.inbox.is_leaving() {
            match poller.poll(POLL) {
                Polled::Broken => break,
                Polled::Records => quiet = Instant::now(),
                Polled::Nothing | Polled::End => {}
            }
            poller.flow();
            if !self.goals.is_empty() && quiet.elapsed() >= pause {
                self.look(poller);
                // Longer each time: a partition whose leader is away stays like that for a while.
                (quiet, pause) = (Instant::now(), (pause * 2).min(Duration::from_secs(10)));
            }
        }
        poller.inbox.close();
    }

    fn look(&mut self, poller: &Poller) {
        let Ok(read) = poller.client.position() else { return };
        for element in read.elements() {
            let at = place(element.topic(), element.partition());
            if let (Some(at), Offset::Offset(offset)) = (at, element.offset())
                && let Some((next, _)) = self.goals.get_mut(&at)
            {
                *next = (*next).max(offset);
            }
        }
        let (inner, empty) = (&self.inner, &self.empty);
        self.goals.retain(|at, (next, goal)| {
            if next < goal {
                match offsets::is_empty_until(inner, at, *next, *goal) {
                    Ok(true) => drop(locked(empty).insert(at.clone())),
                    Ok(false) => return true,
                    Err(error) => {
                        tracing::debug!(%error, ?at, "cannot look for what is left of a partition");
                        return true;
                    }
                }
            }
            false
        });
        poller.inbox.ring();
    }
}
