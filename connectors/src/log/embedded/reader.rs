//! A reader without a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::view::{Place, Topic, Wanted};
use super::{DELIVERY, Inner};
use crate::log::{Error, From, Reader, Tailed};
use crate::store::locked;

/// Reads topics to the end and on.
pub(super) struct Tail {
    inner: Arc<Inner>,
    topics: Vec<Arc<Topic>>,
    bell: Arc<Notify>,
    positions: BTreeMap<Place, Position>,
    caught_up: bool,
    turn: usize,
}

struct Position {
    next: i64,
    /// Where the partition ended when the reader was opened.
    goal: i64,
}

impl Tail {
    pub(super) async fn open(inner: Arc<Inner>, topics: Vec<Arc<Topic>>, from: From) -> Result<Self, Error> {
        let bell = Arc::new(Notify::new());
        let mut positions = BTreeMap::new();
        for place in topics.iter().flat_map(|topic| topic.places()) {
            let ends = locked(&inner.shared.view).ends(place);
            let next = match from {
                From::Beginning => ends.first,
                From::End => ends.next,
                From::Time(time_ms) => inner.offset_at(place, time_ms).await?,
            };
            positions.insert(place, Position { next, goal: ends.next });
        }
        locked(&inner.shared.view).hang(&topics, &bell);
        Ok(Self { inner, topics, bell, positions, caught_up: false, turn: 0 })
    }

    fn wanted(&self) -> Vec<Wanted> {
        let of = |topic: &Arc<Topic>, place: Place| {
            let from = self.positions.get(&place)?.next;
            Some(Wanted { topic: Arc::clone(topic), partition: place.1, from })
        };
        let mut wanted: Vec<Wanted> = self
            .topics
            .iter()
            .flat_map(|topic| topic.places().filter_map(|place| of(topic, place)).collect::<Vec<_>>())
            .collect();
        let turn = self.turn % wanted.len().max(1);
        wanted.rotate_left(turn);
        wanted
    }
}

#[async_trait]
impl Reader for Tail {
    async fn next(&mut self) -> Result<Tailed, Error> {
        loop {
            if !self.caught_up {
                // What retention has dropped meanwhile counts as read.
                let view = locked(&self.inner.shared.view);
                let done = |(place, at): (&Place, &Position)| at.next.max(view.ends(*place).first) >= at.goal;
                if self.positions.iter().all(done) {
                    self.caught_up = true;
                    return Ok(Tailed::CaughtUp);
                }
            }
            let records = self.inner.fetch(self.wanted(), DELIVERY).await?;
            if records.is_empty() {
                self.bell.notified().await;
                continue;
            }
            for record in &records {
                let topic = self.topics.iter().find(|topic| topic.name == record.at.topic);
                let place = topic.map(|topic| (topic.id, record.at.partition));
                if let Some(position) = place.and_then(|place| self.positions.get_mut(&place)) {
                    position.next = record.offset + 1;
                }
            }
            self.turn = self.turn.wrapping_add(1);
            return Ok(Tailed::Records(records));
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        locked(&self.inner.shared.view).unhang(&self.topics, &self.bell);
    }
}
