//! A member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::groups::Owner;
use super::view::{Place, Topic, Wanted};
use super::write::{Commit, Request};
use super::{DELIVERY, Inner};
use crate::log::{Consumer, Delivery, Error, TopicPartition};
use crate::store::locked;

/// A member of a group; dropping it leaves the group.
pub(super) struct Member {
    inner: Arc<Inner>,
    group: String,
    id: u64,
    topics: Vec<Arc<Topic>>,
    bell: Arc<Notify>,
    /// What this member has been told that it owns.
    held: BTreeMap<Place, Held>,
    paused: BTreeSet<Place>,
    /// Where the next look begins, so that no partition is always last.
    turn: usize,
}

/// A partition that this member has been told that it owns.
struct Held {
    epoch: u64,
    position: i64,
}

impl Member {
    pub(super) fn join(inner: Arc<Inner>, group: &str, topics: Vec<Arc<Topic>>) -> Self {
        let bell = Arc::new(Notify::new());
        locked(&inner.shared.view).hang(&topics, &bell);
        let id = locked(&inner.shared.groups).join(group, topics.clone(), Arc::clone(&bell));
        let (held, paused) = (BTreeMap::new(), BTreeSet::new());
        Self { inner, group: group.to_owned(), id, topics, bell, held, paused, turn: 0 }
    }

    fn topic_of(&self, place: Place) -> Option<&Arc<Topic>> {
        self.topics.iter().find(|topic| topic.id == place.0)
    }

    fn at(&self, place: Place) -> Option<TopicPartition> {
        self.topic_of(place).map(|topic| topic.at(place.1))
    }

    fn place(&self, at: &TopicPartition) -> Option<Place> {
        let topic = self.topics.iter().find(|topic| topic.name == at.topic)?;
        (at.partition < topic.partitions).then_some((topic.id, at.partition))
    }

    /// Moves what is held towards what is owned by one step and says so.
    fn take_change(&mut self) -> Option<Delivery> {
        let owned = locked(&self.inner.shared.groups).owned(&self.group, self.id);
        let lost: Vec<Place> =
            self.held.iter().filter(|(place, held)| owned.get(place) != Some(&held.epoch)).map(|(p, _)| *p).collect();
        if !lost.is_empty() {
            for place in &lost {
                self.held.remove(place);
                self.paused.remove(place);
            }
            return Some(Delivery::Lost(lost.into_iter().filter_map(|place| self.at(place)).collect()));
        }
        let gained: Vec<(Place, u64)> = owned.into_iter().filter(|(place, _)| !self.held.contains_key(place)).collect();
        if gained.is_empty() {
            return None;
        }
        for (place, epoch) in &gained {
            let committed = locked(&self.inner.shared.groups).committed(&self.group, *place);
            let first = locked(&self.inner.shared.view).ends(*place).first;
            let position = committed.unwrap_or(first).max(first);
            self.held.insert(*place, Held { epoch: *epoch, position });
        }
        Some(Delivery::Gained(gained.into_iter().filter_map(|(place, _)| self.at(place)).collect()))
    }

    fn is_current(&self) -> bool {
        let owned = locked(&self.inner.shared.groups).owned(&self.group, self.id);
        owned.len() == self.held.len() && self.held.iter().all(|(place, held)| owned.get(place) == Some(&held.epoch))
    }

    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self
            .held
            .iter()
            .filter(|(place, _)| !self.paused.contains(place))
            .filter_map(|(place, held)| {
                let topic = Arc::clone(self.topic_of(*place)?);
                Some(Wanted { topic, partition: place.1, from: held.position })
            })
            .collect();
        let turn = self.turn % wanted.len().max(1);
        wanted.rotate_left(turn);
        wanted
    }

    fn held(&mut self, at: &TopicPartition) -> Result<(Place, &mut Held), Error> {
        let place = self.place(at).ok_or_else(|| Error::NotOwner(at.clone()))?;
        let held = self.held.get_mut(&place).ok_or_else(|| Error::NotOwner(at.clone()))?;
        Ok((place, held))
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(change) = self.take_change() {
                return Ok(change);
            }
            let records = self.inner.fetch(self.wanted(), DELIVERY).await?;
            if records.is_empty() {
                self.bell.notified().await;
                continue;
            }
            // Partitions may have changed hands during the read; nothing is delivered of what is not ours.
            if self.is_current() {
                for record in &records {
                    if let Some(held) = self.place(&record.at).and_then(|place| self.held.get_mut(&place)) {
                        held.position = record.offset + 1;
                    }
                }
                self.turn = self.turn.wrapping_add(1);
                return Ok(Delivery::Records(records));
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let places: Vec<Place> = partitions.iter().filter_map(|at| self.place(at)).collect();
        self.paused.extend(places.into_iter().filter(|place| self.held.contains_key(place)));
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let places: Vec<Place> = partitions.iter().filter_map(|at| self.place(at)).collect();
        self.paused.retain(|place| !places.contains(place));
        self.bell.notify_one();
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let mut commits = Vec::with_capacity(offsets.len());
        for (at, offset) in offsets {
            let member = self.id;
            let (place, held) = self.held(at)?;
            let owner = Owner { member, epoch: held.epoch };
            commits.push(Commit { at: at.clone(), place, owner, offset: *offset });
        }
        if commits.is_empty() {
            return Ok(());
        }
        let group = self.group.clone();
        let offsets = commits;
        self.inner.ask(|answer| Request::Commit { group, offsets, refused: None, answer: Some(answer) }).await
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), Error> {
        let (_, held) = self.held(at)?;
        held.position = offset.max(0);
        Ok(())
    }

    async fn seek_to_time(&mut self, at: &TopicPartition, time_ms: i64) -> Result<(), Error> {
        let (place, _) = self.held(at)?;
        let offset = self.inner.offset_at(place, time_ms).await?;
        self.seek(at, offset).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        locked(&self.inner.shared.view).unhang(&self.topics, &self.bell);
        locked(&self.inner.shared.groups).leave(&self.group, self.id);
    }
}
