//! The log as one process sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use connectors::Log;
use connectors::log::{
    Consumer, Delivery, Error, From, NewRecord, Progress, Reader, Record, Tailed, TopicPartition, TopicSpec,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::broker::{Broker, Owner, Place};
use super::check::Checks;
use super::life::{Caller, Fault};
use super::{Door, Mutant};

/// Most records of one delivery.
const DELIVERY: u64 = 24;

fn failed(doing: &'static str, fault: Fault) -> Error {
    Error::Store { doing, source: fault.0.into() }
}

/// The door of one process.
#[derive(Clone)]
pub struct SimLog {
    /// The process.
    pub caller: Caller,
    /// What lies behind the door.
    pub broker: Arc<Broker>,
    /// What must hold.
    pub checks: Arc<Checks>,
}

impl SimLog {
    fn topics(&self, names: &[&str]) -> Result<Vec<usize>, Error> {
        names.iter().map(|name| self.broker.topic(name)).collect()
    }
}

#[async_trait]
impl Log for SimLog {
    async fn ensure_topics(&self, _topics: &[TopicSpec]) -> Result<(), Error> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let what = || {
            let one = |record: &NewRecord| format!("{} {}", record.topic, self.checks.key(&record.key));
            format!("appends {}", records.iter().map(one).collect::<Vec<_>>().join(", "))
        };
        let work = || self.broker.append(&self.caller.life, records.clone());
        self.caller.call(Door::Log, true, what, work).await.map_err(|fault| failed("append records", fault))?
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, Error> {
        let topics = self.topics(topics)?;
        let bell = Arc::new(Notify::new());
        let work = || self.broker.join(group, &self.caller.life, &topics, &bell);
        // Without a doubtful outcome: a seat that nobody knows of would only wait for the end of its session.
        let joined = self.caller.call(Door::Log, false, || format!("joins {group}"), work).await;
        let seat = joined.map_err(|fault| failed("join a group", fault))?;
        self.broker.listen(&topics, &bell);
        Ok(Box::new(Member {
            log: self.clone(),
            group: group.to_owned(),
            topics,
            seat,
            bell,
            held: BTreeMap::new(),
            paused: BTreeSet::new(),
            ready_at: None,
            turn: 0,
        }))
    }

    async fn tail(&self, topics: &[&str], from: From) -> Result<Box<dyn Reader>, Error> {
        let topics = self.topics(topics)?;
        let bell = Arc::new(Notify::new());
        let places = self.broker.places(&topics);
        let opened = self.caller.call(
            Door::Log,
            false,
            || "tail".into(),
            || {
                let begin = |place: Place| match from {
                    From::Beginning => 0,
                    From::End => self.broker.end(place),
                    From::Time(time_ms) => self.broker.offset_at(place, time_ms),
                };
                let at = |place: &Place| (*place, (begin(*place), self.broker.end(*place)));
                places.iter().map(at).collect::<BTreeMap<_, _>>()
            },
        );
        let places = opened.await.map_err(|fault| failed("open a reader", fault))?;
        self.broker.listen(&topics, &bell);
        Ok(Box::new(Tail { log: self.clone(), places, bell, caught_up: false, ready_at: None }))
    }

    async fn read(&self, at: &TopicPartition, offset: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let place = (self.broker.topic(&at.topic)?, at.partition);
        let read = self.caller.call(Door::Log, false, || "read".into(), || self.broker.read(place, offset, limit).0);
        read.await.map_err(|fault| failed("read records", fault))
    }

    async fn progress(&self, group: &str, topics: &[&str]) -> Result<Vec<Progress>, Error> {
        let places = self.broker.places(&self.topics(topics)?);
        let look = |place: &Place| {
            let (committed, end) = (self.broker.committed(group, *place), self.broker.end(*place));
            Progress { at: self.broker.at(*place), committed, end, oldest_pending_ms: None }
        };
        let work = || places.iter().map(look).collect();
        self.caller
            .call(Door::Log, false, || "progress".into(), work)
            .await
            .map_err(|fault| failed("read offsets", fault))
    }

    async fn enforce_retention(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Error> {
        self.caller.call(Door::Log, false, || "check".into(), || ()).await.map_err(|fault| failed("check", fault))
    }
}

struct Held {
    epoch: u64,
    position: i64,
}

struct Member {
    log: SimLog,
    group: String,
    topics: Vec<usize>,
    seat: u64,
    bell: Arc<Notify>,
    held: BTreeMap<Place, Held>,
    paused: BTreeSet<Place>,
    /// When the fetch that is on its way arrives.
    ready_at: Option<Instant>,
    turn: usize,
}

impl Member {
    fn names(&self, places: &[Place]) -> Vec<TopicPartition> {
        places.iter().map(|place| self.log.broker.at(*place)).collect()
    }

    fn place(&self, at: &TopicPartition) -> Option<Place> {
        Some((self.log.broker.topic(&at.topic).ok()?, at.partition))
    }

    fn lose(&mut self, lost: &[Place]) -> Delivery {
        for place in lost {
            self.held.remove(place);
            self.paused.remove(place);
        }
        let names = self.names(lost);
        self.say(|group| format!("{group} lost {} partitions", names.len()));
        Delivery::Lost(names)
    }

    fn say(&self, what: impl FnOnce(&str) -> String) {
        self.log.caller.world.say(&self.log.caller.life.name, || what(&self.group));
    }

    /// What has changed since the last time, one step of it; and when more will be heard.
    fn change(&mut self) -> Result<Delivery, Option<u64>> {
        let (broker, world) = (Arc::clone(&self.log.broker), Arc::clone(&self.log.caller.world));
        let hides_losses = world.mutant == Some(Mutant::Fence);
        let Some((hears_at, owned)) = broker.standing(&self.group, self.seat) else {
            let all: Vec<Place> = self.held.keys().copied().collect();
            if !all.is_empty() && !hides_losses {
                return Ok(self.lose(&all));
            }
            self.seat = broker.join(&self.group, &self.log.caller.life, &self.topics, &self.bell);
            self.say(|group| format!("joins {group} again"));
            return Err(Some(world.now_ms()));
        };
        if hears_at > world.now_ms() {
            return Err(Some(hears_at));
        }
        let is_lost = |(place, held): &(&Place, &Held)| owned.get(*place) != Some(&held.epoch);
        let lost: Vec<Place> = self.held.iter().filter(is_lost).map(|(place, _)| *place).collect();
        if !lost.is_empty() && !hides_losses {
            return Ok(self.lose(&lost));
        }
        let gained: Vec<(Place, u64)> = owned.into_iter().filter(|(place, _)| !self.held.contains_key(place)).collect();
        if gained.is_empty() {
            return Err(None);
        }
        for (place, epoch) in &gained {
            let position = broker.committed(&self.group, *place);
            self.held.insert(*place, Held { epoch: *epoch, position });
        }
        let names = self.names(&gained.iter().map(|(place, _)| *place).collect::<Vec<_>>());
        self.say(|group| format!("{group} gained {} partitions", names.len()));
        Ok(Delivery::Gained(names))
    }

    /// Records that have arrived, and when there will be more.
    fn fetch(&mut self) -> (Vec<Record>, Option<u64>) {
        let world = Arc::clone(&self.log.caller.world);
        let mut open: Vec<Place> = self.held.keys().filter(|place| !self.paused.contains(place)).copied().collect();
        let turn = self.turn % open.len().max(1);
        open.rotate_left(turn);
        let mut room = world.dice().within(1..DELIVERY) as usize;
        let (mut records, mut next) = (Vec::new(), None::<u64>);
        for place in open {
            let Some(held) = self.held.get_mut(&place) else { continue };
            let (ready, later) = self.log.broker.read(place, held.position, room);
            next = [next, later].into_iter().flatten().min();
            room -= ready.len();
            if let Some(last) = ready.last() {
                if world.mishap(world.rates.redelivered) {
                    let what = || format!("{}[{}]@{} will come again", last.at.topic, place.1, last.offset);
                    world.fault("a delivery is repeated", &self.log.caller.life.name, what);
                } else {
                    held.position = last.offset + 1;
                }
            }
            records.extend(ready);
            if room == 0 {
                break;
            }
        }
        (records, next)
    }
}

/// Waits for a ring or a moment.
async fn rung_or(world: &super::World, bell: &Notify, at: Option<u64>) {
    match at {
        Some(at) => tokio::select! {
            biased;
            () = bell.notified() => {}
            () = sleep_until(world.at(at)) => {}
        },
        None => bell.notified().await,
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        let (world, life) = (Arc::clone(&self.log.caller.world), Arc::clone(&self.log.caller.life));
        loop {
            life.gate().await;
            let hears_at = match self.change() {
                Ok(change) => return Ok(change),
                Err(hears_at) => hears_at,
            };
            let at = *self.ready_at.get_or_insert_with(|| Instant::now() + world.lag());
            sleep_until(at).await;
            life.gate().await;
            self.ready_at = None;
            let away_until = world.away_until(Door::Log);
            if away_until > world.now_ms() {
                sleep_until(world.at(away_until)).await;
                continue;
            }
            if world.mishap(world.rates.refused) {
                world.fault("a read fails", &life.name, || format!("{} cannot read", self.group));
                let closed = world.dice().chance(200);
                return Err(if closed { Error::Closed } else { failed("read records", Fault("the connection broke")) });
            }
            let (records, next) = self.fetch();
            if !records.is_empty() {
                self.turn += 1;
                return Ok(Delivery::Records(records));
            }
            rung_or(&world, &self.bell, [next, hears_at].into_iter().flatten().min()).await;
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let places: Vec<Place> = partitions.iter().filter_map(|at| self.place(at)).collect();
        self.paused.extend(places);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let places: Vec<Place> = partitions.iter().filter_map(|at| self.place(at)).collect();
        self.paused.retain(|place| !places.contains(place));
        self.bell.notify_one();
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for (at, offset) in offsets {
            let place = self.place(at).ok_or_else(|| Error::NotOwner(at.clone()))?;
            let held = self.held.get(&place).ok_or_else(|| Error::NotOwner(at.clone()))?;
            let early = self.log.caller.world.mutant == Some(Mutant::Contiguous);
            let offset = if early { held.position.max(*offset) } else { *offset };
            wanted.push((place, Owner { seat: self.seat, epoch: held.epoch }, offset));
        }
        let what = || {
            let one = |(at, offset): &(TopicPartition, i64)| format!("{}[{}]@{offset}", at.topic, at.partition);
            format!("{} commits {}", self.group, offsets.iter().map(one).collect::<Vec<_>>().join(", "))
        };
        let (broker, checks, group) = (&self.log.broker, &self.log.checks, &self.group);
        let work = || match broker.commit(group, &wanted) {
            Ok(moved) => {
                checks.committed(group, &moved);
                Ok(())
            }
            Err(place) => Err(Error::NotOwner(broker.at(place))),
        };
        self.log.caller.call(Door::Log, true, what, work).await.map_err(|fault| failed("commit", fault))?
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error> {
        let place = self.place(at).ok_or_else(|| Error::NotOwner(at.clone()))?;
        let held = self.held.get_mut(&place).ok_or_else(|| Error::NotOwner(at.clone()))?;
        held.position = offset;
        Ok(())
    }

    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error> {
        let place = self.place(at).ok_or_else(|| Error::NotOwner(at.clone()))?;
        let offset = self.log.broker.offset_at(place, time_ms);
        self.seek(at, offset).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A dead process says nothing: its session has to run out.
        if !self.log.caller.life.is_dead() {
            self.log.broker.leave(&self.group, self.seat);
        }
    }
}

struct Tail {
    log: SimLog,
    /// Where to read on, and the end as it was at the beginning.
    places: BTreeMap<Place, (i64, i64)>,
    bell: Arc<Notify>,
    caught_up: bool,
    ready_at: Option<Instant>,
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        let (world, life) = (Arc::clone(&self.log.caller.world), Arc::clone(&self.log.caller.life));
        loop {
            let at = *self.ready_at.get_or_insert_with(|| Instant::now() + world.lag());
            sleep_until(at).await;
            life.gate().await;
            self.ready_at = None;
            let away_until = world.away_until(Door::Log);
            if away_until > world.now_ms() {
                sleep_until(world.at(away_until)).await;
                continue;
            }
            if world.mishap(world.rates.refused) {
                world.fault("a read fails", &life.name, || "a reader cannot read".into());
                let closed = world.dice().chance(200);
                return Err(if closed { Error::Closed } else { failed("read records", Fault("the connection broke")) });
            }
            let (mut records, mut next) = (Vec::new(), None::<u64>);
            for (place, (position, _)) in &mut self.places {
                let (ready, later) = self.log.broker.read(*place, *position, 50);
                next = [next, later].into_iter().flatten().min();
                *position += ready.len() as i64;
                records.extend(ready);
            }
            if !records.is_empty() {
                return Ok(Tailed::Records(records));
            }
            if !self.caught_up && self.places.values().all(|(position, end)| position >= end) {
                self.caught_up = true;
                return Ok(Tailed::CaughtUp);
            }
            rung_or(&world, &self.bell, next).await;
        }
    }
}
