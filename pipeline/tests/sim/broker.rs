//! The log's own side: topics, partitions, groups, and what may be said of them at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};

use connectors::log::{Error, NewRecord, Record, TopicPartition, TopicSpec};
use schemas::event::{ChunkCut, ChunkTranscoded, JobEnded, SourceClassified, SourceIllustrated, SourceProbed};
use schemas::{Event, JobId, wire};
use tokio::sync::Notify;

use super::life::Life;
use super::{EPOCH_MS, Mutant, World, locked};

/// More partitions than this show nothing more.
const MOST_PARTITIONS: u32 = 4;

/// A partition: index of its topic, and its number.
pub type Place = (usize, u32);

/// A record, and from when on it can be read, milliseconds from the beginning.
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Never before that of the record in front of it.
    pub visible_at: u64,
}

/// A topic.
pub struct Topic {
    /// Name.
    pub name: String,
    /// Records by partition.
    pub partitions: Vec<Vec<Stored>>,
}

/// Who has a partition; the epoch grows with each change of hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The seat.
    pub seat: u64,
    /// The change of hands.
    pub epoch: u64,
}

/// A member of a group.
struct Seat {
    life: Arc<Life>,
    topics: Vec<usize>,
    bell: Arc<Notify>,
    /// When it hears of the last change, milliseconds from the beginning.
    hears_at: u64,
}

#[derive(Default)]
struct Group {
    seats: BTreeMap<u64, Seat>,
    /// What it reads, also while nobody is there to read.
    reads: BTreeSet<Place>,
    owners: BTreeMap<Place, Owner>,
    committed: BTreeMap<Place, i64>,
    epoch: u64,
}

/// What the log has said about one job so far.
#[derive(Debug, Default)]
pub struct Said {
    /// Its source was probed.
    pub probed: bool,
    /// Its pictures were made, or it was said that there are none.
    pub illustrated: bool,
    /// Its labels were found, or it was said that there are none.
    pub classified: bool,
    /// Chunks that were cut.
    pub cut: BTreeSet<u32>,
    /// Chunks in the plan.
    pub total: u32,
    /// Chunks that were encoded.
    pub transcoded: BTreeSet<u32>,
    /// Somebody wants it cancelled.
    pub cancelled: bool,
    /// It is deleted.
    pub deleted: bool,
    /// Its end.
    pub ended: Option<JobEnded>,
}

#[derive(Default)]
struct State {
    topics: Vec<Topic>,
    groups: BTreeMap<String, Group>,
    last_seat: u64,
    listeners: Vec<(Vec<usize>, Weak<Notify>)>,
    said: BTreeMap<JobId, Said>,
    /// Stage, topic, partition and offset of every dead letter.
    buried: BTreeSet<(String, String, u32, i64)>,
}

/// The log.
pub struct Broker {
    /// The world.
    pub world: Arc<World>,
    state: Mutex<State>,
}

impl Broker {
    /// A log with `topics`.
    pub fn new(world: Arc<World>, topics: &[TopicSpec]) -> Arc<Self> {
        let topics = topics.iter().map(|spec| Topic {
            name: spec.name.clone(),
            partitions: (0..spec.partitions.min(MOST_PARTITIONS)).map(|_| Vec::new()).collect(),
        });
        let state = State { topics: topics.collect(), ..State::default() };
        Arc::new(Self { world, state: Mutex::new(state) })
    }

    /// Index of the topic `name`.
    pub fn topic(&self, name: &str) -> Result<usize, Error> {
        let found = locked(&self.state).topics.iter().position(|topic| topic.name == name);
        found.ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    /// The partition at `place`, as the world outside calls it.
    pub fn at(&self, place: Place) -> TopicPartition {
        TopicPartition { topic: locked(&self.state).topics[place.0].name.clone(), partition: place.1 }
    }

    /// All partitions of `topics`.
    pub fn places(&self, topics: &[usize]) -> Vec<Place> {
        let state = locked(&self.state);
        let of = |topic: &usize| {
            (0..state.topics[*topic].partitions.len() as u32).map(|at| (*topic, at)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    }

    /// Appends `records`; some of them, or twice, when that is what befalls it.
    pub fn append(&self, life: &Life, records: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let torn = records.len() > 1 && self.world.mishap(self.world.rates.torn);
        let kept = if torn { self.world.dice().index(records.len()) } else { records.len() };
        let twice = self.world.mishap(self.world.rates.repeated);
        let mut placed = Vec::new();
        for _ in 0..=usize::from(twice) {
            placed = records[..kept].iter().map(|record| self.put(life, record)).collect::<Result<_, _>>()?;
        }
        if twice {
            self.world.fault("an append is repeated", &life.name, || "appended twice".into());
        }
        if torn {
            let what = || format!("only {kept} of {} records were appended", records.len());
            self.world.fault("an append is torn", &life.name, what);
            return Err(Error::Store { doing: "append records", source: "the connection broke".into() });
        }
        Ok(placed)
    }

    fn put(&self, life: &Life, new: &NewRecord) -> Result<(TopicPartition, i64), Error> {
        let topic = self.topic(&new.topic)?;
        let now = self.world.now_ms();
        let late = self.world.mishap(self.world.rates.slow);
        let delay = if late { self.world.dice().within(100..8_000) } else { self.world.dice().within(0..4) };
        if late {
            self.world.fault("a record shows late", &life.name, || format!("{} shows {delay} ms late", new.topic));
        }
        let mut state = locked(&self.state);
        let partitions = &mut state.topics[topic].partitions;
        let partition = (new.spread % partitions.len() as u64) as u32;
        let lane = &mut partitions[partition as usize];
        let visible_at = (now + delay).max(lane.last().map_or(0, |last| last.visible_at));
        let at = TopicPartition { topic: new.topic.clone(), partition };
        let offset = lane.len() as i64;
        let record = Record {
            at: at.clone(),
            offset,
            timestamp_ms: EPOCH_MS + now as i64,
            key: new.key.clone(),
            value: new.value.clone(),
            headers: new.headers.clone(),
        };
        self.note(&mut state, &record);
        state.topics[topic].partitions[partition as usize].push(Stored { record, visible_at });
        state.listeners.retain(|(_, bell)| bell.strong_count() > 0);
        for (topics, bell) in &state.listeners {
            if topics.contains(&topic)
                && let Some(bell) = bell.upgrade()
            {
                bell.notify_one();
            }
        }
        Ok((at, offset))
    }

    /// Keeps the books about what the log says.
    fn note(&self, state: &mut State, record: &Record) {
        let value = &record.value;
        if let Some(stage) = record.at.topic.strip_suffix(".dlq") {
            let header = |name: &str| {
                let found = record.headers.iter().find(|(header, _)| header == name);
                found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
            };
            let (partition, offset) = (header("partition").parse(), header("offset").parse());
            self.world.say("log", || format!("dead letter of {stage}: {} {}", header("reason"), header("message")));
            state.buried.insert((stage.to_owned(), header("topic"), partition.unwrap_or(0), offset.unwrap_or(-1)));
            return;
        }
        match record.at.topic.as_str() {
            "source.probed" => {
                if let Ok(event) = wire::decode::<SourceProbed>(value) {
                    state.said.entry(event.job).or_default().probed = true;
                }
            }
            "source.illustrated" => {
                if let Ok(event) = wire::decode::<SourceIllustrated>(value) {
                    state.said.entry(event.job).or_default().illustrated = true;
                }
            }
            "source.classified" => {
                if let Ok(event) = wire::decode::<SourceClassified>(value) {
                    state.said.entry(event.job).or_default().classified = true;
                }
            }
            "chunk.cut" => {
                if let Ok(event) = wire::decode::<ChunkCut>(value) {
                    let said = state.said.entry(event.job).or_default();
                    said.cut.insert(event.index);
                    said.total = event.total;
                }
            }
            "chunk.transcoded" => {
                if let Ok(event) = wire::decode::<ChunkTranscoded>(value) {
                    state.said.entry(event.job).or_default().transcoded.insert(event.index);
                }
            }
            topic @ ("cancel.requested" | "job.deleted") => {
                if let Some(job) = std::str::from_utf8(&record.key).ok().and_then(|key| key.parse::<JobId>().ok()) {
                    let said = state.said.entry(job).or_default();
                    said.cancelled |= topic == "cancel.requested";
                    said.deleted |= topic == "job.deleted";
                }
            }
            JobEnded::TOPIC => {
                if let Ok(event) = wire::decode::<JobEnded>(value) {
                    let name = self.world.name(event.job);
                    self.world.say("log", || format!("{name} has ended: {:?}", event.outcome));
                    let said = state.said.entry(event.job).or_default();
                    match &said.ended {
                        Some(before) if *before != event => {
                            self.world.broken(format!(
                                "two different ends of {name} were published: {before:?} and {event:?}"
                            ));
                        }
                        _ => said.ended = Some(event),
                    }
                }
            }
            _ => {}
        }
    }

    /// What the log says about `job`.
    pub fn said<T>(&self, job: JobId, look: impl FnOnce(&Said) -> T) -> T {
        look(locked(&self.state).said.entry(job).or_default())
    }

    /// Jobs that the log knows.
    pub fn jobs(&self) -> Vec<JobId> {
        locked(&self.state).said.keys().copied().collect()
    }

    /// Whether `stage` has given up on the record at `at` and `offset`.
    pub fn is_buried(&self, stage: &str, at: &TopicPartition, offset: i64) -> bool {
        locked(&self.state).buried.contains(&(stage.to_owned(), at.topic.clone(), at.partition, offset))
    }

    /// All records of `topic`, visible or not.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let state = locked(&self.state);
        let found = state.topics.iter().filter(|found| found.name == topic);
        found.flat_map(|topic| topic.partitions.iter().flatten()).map(|stored| stored.record.clone()).collect()
    }

    /// Records at `place` from `from` to before `until`.
    pub fn between(&self, place: Place, from: i64, until: i64) -> Vec<Record> {
        let state = locked(&self.state);
        let lane = &state.topics[place.0].partitions[place.1 as usize];
        lane.iter().map(|stored| &stored.record).filter(|r| (from..until).contains(&r.offset)).cloned().collect()
    }

    /// Up to `limit` records at `place` from `from` on that can be read now, and when the next one can be.
    pub fn read(&self, place: Place, from: i64, limit: usize) -> (Vec<Record>, Option<u64>) {
        let now = self.world.now_ms();
        let state = locked(&self.state);
        let rest = state.topics[place.0].partitions[place.1 as usize].iter().skip(from.max(0) as usize);
        let ready: Vec<Record> = rest
            .clone()
            .take_while(|stored| stored.visible_at <= now)
            .take(limit)
            .map(|stored| stored.record.clone())
            .collect();
        let next = rest.map(|stored| stored.visible_at).find(|at| *at > now);
        (ready, next)
    }

    /// The offset that the next record at `place` will get.
    pub fn end(&self, place: Place) -> i64 {
        locked(&self.state).topics[place.0].partitions[place.1 as usize].len() as i64
    }

    /// The first offset at `place` whose record was appended at `time_ms` or later.
    pub fn offset_at(&self, place: Place, time_ms: i64) -> i64 {
        let state = locked(&self.state);
        state.topics[place.0].partitions[place.1 as usize].partition_point(|s| s.record.timestamp_ms < time_ms) as i64
    }

    /// Rings `bell` when something is appended to `topics`.
    pub fn listen(&self, topics: &[usize], bell: &Arc<Notify>) {
        locked(&self.state).listeners.push((topics.to_vec(), Arc::downgrade(bell)));
    }

    // Groups

    /// Takes a seat in `group`.
    pub fn join(&self, group: &str, life: &Arc<Life>, topics: &[usize], bell: &Arc<Notify>) -> u64 {
        let places = self.places(topics);
        let mut state = locked(&self.state);
        state.last_seat += 1;
        let seat = state.last_seat;
        let group = state.groups.entry(group.to_owned()).or_default();
        let topics = topics.to_vec();
        group.seats.insert(seat, Seat { life: Arc::clone(life), topics, bell: Arc::clone(bell), hears_at: 0 });
        self.share_out(group, &places);
        seat
    }

    /// Gives a seat up.
    pub fn leave(&self, group: &str, seat: u64) {
        let mut state = locked(&self.state);
        let Some(found) = state.groups.get_mut(group) else { return };
        let Some(gone) = found.seats.remove(&seat) else { return };
        drop(state);
        self.after_departure(group, &gone);
    }

    /// The session of a process is over: it loses all its seats.
    pub fn expire(&self, life: &Arc<Life>) {
        let mut gone = Vec::new();
        {
            let mut state = locked(&self.state);
            for (name, group) in &mut state.groups {
                let theirs: Vec<u64> =
                    group.seats.iter().filter(|(_, seat)| Arc::ptr_eq(&seat.life, life)).map(|(id, _)| *id).collect();
                for seat in theirs {
                    gone.extend(group.seats.remove(&seat).map(|seat| (name.clone(), seat)));
                }
            }
        }
        if !gone.is_empty() {
            self.world.say("log", || format!("the session of {} is over", life.name));
        }
        for (group, seat) in gone {
            self.after_departure(&group, &seat);
        }
    }

    fn after_departure(&self, group: &str, gone: &Seat) {
        let places = self.places(&gone.topics);
        // Should its owner still live, it finds out.
        gone.bell.notify_one();
        let mut state = locked(&self.state);
        if let Some(group) = state.groups.get_mut(group) {
            self.share_out(group, &places);
        }
    }

    /// Gives partitions out evenly; what need not move stays. Members hear of it a little later, each at its own time.
    fn share_out(&self, group: &mut Group, places: &[Place]) {
        group.epoch += 1;
        group.reads.extend(places);
        let epoch = group.epoch;
        let seats: Vec<u64> = group.seats.keys().copied().collect();
        group.owners.retain(|_, owner| seats.contains(&owner.seat));
        let load = |group: &Group, seat: u64| group.owners.values().filter(|owner| owner.seat == seat).count();
        for place in places {
            let least = seats.iter().copied().min_by_key(|seat| (load(group, *seat), *seat));
            let Some(least) = least else { break };
            match group.owners.get(place) {
                Some(owner) if load(group, owner.seat) <= load(group, least) + 1 => {}
                _ => {
                    group.owners.insert(*place, Owner { seat: least, epoch });
                }
            }
        }
        let now = self.world.now_ms();
        let calm = self.world.is_calm();
        for seat in group.seats.values_mut() {
            seat.hears_at = now + self.world.dice().within(if calm { 0..5 } else { 0..2_500 });
            seat.bell.notify_one();
        }
    }

    /// Whether `seat` is still there, when it hears of the last change, and what it has.
    pub fn standing(&self, group: &str, seat: u64) -> Option<(u64, BTreeMap<Place, u64>)> {
        let state = locked(&self.state);
        let group = state.groups.get(group)?;
        let hears_at = group.seats.get(&seat)?.hears_at;
        let mine = group.owners.iter().filter(|(_, owner)| owner.seat == seat);
        Some((hears_at, mine.map(|(place, owner)| (*place, owner.epoch)).collect()))
    }

    /// What `group` has committed at `place`.
    pub fn committed(&self, group: &str, place: Place) -> i64 {
        let state = locked(&self.state);
        state.groups.get(group).and_then(|group| group.committed.get(&place)).copied().unwrap_or(0)
    }

    /// Commits all of `offsets` or none; answers what the group had committed before.
    pub fn commit(&self, group: &str, offsets: &[(Place, Owner, i64)]) -> Result<Vec<(Place, i64, i64)>, Place> {
        let mut state = locked(&self.state);
        let Some(found) = state.groups.get_mut(group) else { return Ok(Vec::new()) };
        if self.world.mutant != Some(Mutant::Fence)
            && let Some((place, ..)) = offsets.iter().find(|(place, owner, _)| found.owners.get(place) != Some(owner))
        {
            return Err(*place);
        }
        let put = |(place, _, offset): &(Place, Owner, i64)| {
            (*place, found.committed.insert(*place, *offset).unwrap_or(0), *offset)
        };
        Ok(offsets.iter().map(put).collect())
    }

    /// Whether anybody is in `group`.
    pub fn has_members(&self, group: &str) -> bool {
        locked(&self.state).groups.get(group).is_some_and(|group| !group.seats.is_empty())
    }

    /// Groups with what they have not committed.
    pub fn behind(&self) -> Vec<(String, String, i64)> {
        let state = locked(&self.state);
        let mut behind = Vec::new();
        for (name, group) in &state.groups {
            for place in &group.reads {
                let topic = &state.topics[place.0];
                let end = topic.partitions[place.1 as usize].len() as i64;
                let committed = group.committed.get(place).copied().unwrap_or(0);
                if committed < end {
                    behind.push((name.clone(), format!("{}[{}]", topic.name, place.1), end - committed));
                }
            }
        }
        behind
    }
}
