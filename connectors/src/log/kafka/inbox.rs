//! What lies between the thread that polls librdkafka and whoever reads: records in order, changes of ownership, and
//! the rule of what may be committed.
//!
//! The poller knows of a change before the reader does. So the truth (`owned`) and what the reader has been told (`told`)
//! are kept apart: only a partition for which both agree is delivered and committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::log::{Delivery, Error, Record, TopicPartition};
use crate::store::locked;

/// One delivery at most.
const DELIVERY_RECORDS: usize = 512;
const DELIVERY_BYTES: usize = 1 << 20;
/// One partition stops being fetched at this many records or bytes, and goes on at half of it.
const LANE_RECORDS: usize = 4096;
const LANE_BYTES: usize = 2 << 20;
/// All partitions together.
const TOTAL_BYTES: usize = 16 << 20;

/// How long a loss waits for commits that were begun before it.
const SETTLING: Duration = Duration::from_secs(2);

/// Shared by poller and reader.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Rings when there may be something to read.
    bell: Notify,
    /// Rings when ownership has changed.
    turned: Notify,
    /// Rings when a commit is over.
    settled: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    owned: BTreeMap<TopicPartition, Lane>,
    told: BTreeMap<TopicPartition, u64>,
    changes: VecDeque<Change>,
    /// Paused by the reader.
    held_back: BTreeSet<TopicPartition>,
    failures: VecDeque<Error>,
    bytes: usize,
    /// Grows with every change of ownership.
    epoch: u64,
    /// Which partition is served first.
    turn: usize,
    /// Commits that were begun and are not over.
    commits: usize,
    closed: bool,
    leaving: bool,
}

/// A partition that is ours.
#[derive(Default)]
struct Lane {
    epoch: u64,
    records: VecDeque<Record>,
    bytes: usize,
    /// Not fetched for now.
    choked: bool,
}

enum Change {
    Gained(Vec<(TopicPartition, u64)>),
    Lost(Vec<TopicPartition>),
}

/// What the poller shall do about fetching.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// These have enough in hand.
    pub(super) pause: Vec<TopicPartition>,
    /// These can take more.
    pub(super) resume: Vec<TopicPartition>,
    /// Whether any is paused afterwards.
    pub(super) is_choked: bool,
}

fn weight(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.len() + record.value.len() + headers + record.at.topic.len() + 128
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    // ---- The poller's side

    /// Which changes of ownership have happened so far; records carry it into [`push`](Self::push).
    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// These partitions are ours from now on.
    pub(super) fn gain(&self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.epoch += 1;
        let epoch = state.epoch;
        for at in &partitions {
            let old = state.owned.insert(at.clone(), Lane { epoch, ..Lane::default() });
            state.bytes -= old.map_or(0, |lane| lane.bytes);
        }
        state.changes.push_back(Change::Gained(partitions.into_iter().map(|at| (at, epoch)).collect()));
        drop(state);
        self.bell.notify_one();
        self.turned.notify_waiters();
    }

    /// These are not; what was read of them and not delivered is forgotten. No commit of them begins from here on, and
    /// those that had begun are over when this answers, unless they take too long: so the broker has them before it hears
    /// that we have let go.
    pub(super) fn lose(&self, partitions: &[TopicPartition]) {
        let mut state = self.lock();
        let mut lost = Vec::new();
        for at in partitions {
            if let Some(lane) = state.owned.remove(at) {
                state.bytes -= lane.bytes;
                lost.push(at.clone());
            }
        }
        if lost.is_empty() {
            return;
        }
        state.epoch += 1;
        state.changes.push_back(Change::Lost(lost));
        self.bell.notify_one();
        self.turned.notify_waiters();
        let settled = self.settled.wait_timeout_while(state, SETTLING, |state| state.commits > 0);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds records that were polled when [`epoch`](Self::epoch) answered `as_of`; those of partitions that have changed
    /// hands since are dropped, whoever owns them reads them anew.
    pub(super) fn push(&self, records: Vec<Record>, as_of: u64) {
        if records.is_empty() {
            return;
        }
        let mut state = self.lock();
        for record in records {
            let weight = weight(&record);
            let Some(lane) = state.owned.get_mut(&record.at).filter(|lane| lane.epoch <= as_of) else { continue };
            lane.bytes += weight;
            lane.records.push_back(record);
            state.bytes += weight;
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Which partitions to stop and to go on fetching now.
    pub(super) fn flow(&self) -> Flow {
        let mut state = self.lock();
        let total = state.bytes;
        let mut flow = Flow::default();
        for (at, lane) in &mut state.owned {
            let is_full = lane.records.len() >= LANE_RECORDS || lane.bytes >= LANE_BYTES;
            let is_low = lane.records.len() <= LANE_RECORDS / 2 && lane.bytes <= LANE_BYTES / 2;
            if !lane.choked && (is_full || (total >= TOTAL_BYTES && !lane.records.is_empty())) {
                lane.choked = true;
                flow.pause.push(at.clone());
            } else if lane.choked && is_low && (total <= TOTAL_BYTES / 2 || lane.records.is_empty()) {
                lane.choked = false;
                flow.resume.push(at.clone());
            }
            flow.is_choked |= lane.choked;
        }
        flow
    }

    /// Something is wrong that the reader should hear of; said once.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.lock();
        if state.failures.len() < 4 {
            state.failures.push_back(error);
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.bell.notify_one();
        self.turned.notify_waiters();
    }

    /// Whether the reader is gone.
    pub(super) fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// Forgets what waits of a partition that is read from elsewhere now, and says whether it was not being fetched.
    pub(super) fn clear(&self, at: &TopicPartition) -> bool {
        let mut state = self.lock();
        let Some(lane) = state.owned.get_mut(at) else { return false };
        let (bytes, choked) = (lane.bytes, lane.choked);
        *lane = Lane { epoch: lane.epoch, ..Lane::default() };
        state.bytes -= bytes;
        choked
    }

    // ---- The reader's side

    /// The reader is gone.
    pub(super) fn leave(&self) {
        self.lock().leaving = true;
    }

    /// Waits for the next delivery. Cancel-safe: what is taken is returned.
    pub(super) async fn next(&self) -> Result<Delivery, Error> {
        loop {
            if let Some(next) = self.lock().take() {
                return next;
            }
            self.bell.notified().await;
        }
    }

    /// What there is right now.
    pub(super) fn take(&self) -> Option<Result<Delivery, Error>> {
        self.lock().take()
    }

    /// Waits until there may be more to take.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Rings by itself: something else than records has changed.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(super) fn hold_back(&self, partitions: &[TopicPartition]) {
        let mut state = self.lock();
        let told: Vec<_> = partitions.iter().filter(|at| state.told.contains_key(*at)).cloned().collect();
        state.held_back.extend(told);
    }

    pub(super) fn let_go(&self, partitions: &[TopicPartition]) {
        let mut state = self.lock();
        for at in partitions {
            state.held_back.remove(at);
        }
        drop(state);
        self.bell.notify_one();
    }

    /// The partition is ours and the reader knows.
    pub(super) fn check(&self, at: &TopicPartition) -> Result<(), Error> {
        if self.lock().holds(at) { Ok(()) } else { Err(Error::NotOwner(at.clone())) }
    }

    /// Begins a commit of `partitions`, which must be ours; at most `most` at once. [`settle`](Self::settle) ends it.
    pub(super) fn begin<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
        most: usize,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if let Some(at) = partitions.into_iter().find(|at| !state.holds(at)) {
            return Err(Refused::NotOwner(at.clone()));
        }
        if state.commits >= most {
            return Err(Refused::Busy);
        }
        state.commits += 1;
        Ok(())
    }

    /// A commit is over.
    pub(super) fn settle(&self) {
        let mut state = self.lock();
        state.commits = state.commits.saturating_sub(1);
        drop(state);
        self.settled.notify_all();
    }

    /// Waits until one of `partitions` is not ours any more, and says which.
    pub(super) async fn lost_one<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a TopicPartition> + Clone,
    ) -> TopicPartition {
        loop {
            let turned = self.turned.notified();
            if let Some(at) = partitions.clone().into_iter().find(|at| self.check(at).is_err()) {
                return at.clone();
            }
            turned.await;
        }
    }
}

/// Why a commit may not begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing goes out any more.
    Closed,
    /// This one is not ours.
    NotOwner(TopicPartition),
    /// Too many are under way.
    Busy,
}

impl State {
    fn holds(&self, at: &TopicPartition) -> bool {
        let owned = self.owned.get(at).map(|lane| lane.epoch);
        owned.is_some() && owned == self.told.get(at).copied()
    }

    fn take(&mut self) -> Option<Result<Delivery, Error>> {
        if let Some(change) = self.changes.pop_front() {
            match change {
                Change::Gained(gained) => {
                    for (at, epoch) in &gained {
                        self.told.insert(at.clone(), *epoch);
                    }
                    return Some(Ok(Delivery::Gained(gained.into_iter().map(|(at, _)| at).collect())));
                }
                Change::Lost(lost) => {
                    for at in &lost {
                        self.told.remove(at);
                        self.held_back.remove(at);
                    }
                    return Some(Ok(Delivery::Lost(lost)));
                }
            }
        }
        if let Some(error) = self.failures.pop_front() {
            return Some(Err(error));
        }
        let records = self.records();
        if !records.is_empty() {
            return Some(Ok(Delivery::Records(records)));
        }
        self.closed.then_some(Err(Error::Closed))
    }

    /// Takes records off the lanes, each time beginning with another one.
    fn records(&mut self) -> Vec<Record> {
        let Self { owned, told, held_back, turn, bytes, .. } = self;
        let mut ready: Vec<(&TopicPartition, &mut Lane)> = owned
            .iter_mut()
            .filter(|(at, lane)| {
                !lane.records.is_empty() && told.get(*at) == Some(&lane.epoch) && !held_back.contains(*at)
            })
            .collect();
        if ready.is_empty() {
            return Vec::new();
        }
        let first = *turn % ready.len();
        ready.rotate_left(first);
        *turn = turn.wrapping_add(1);
        let (mut taken, mut size) = (Vec::new(), 0);
        for (_, lane) in ready {
            while taken.len() < DELIVERY_RECORDS && (size < DELIVERY_BYTES || taken.is_empty()) {
                let Some(record) = lane.records.pop_front() else { break };
                let weight = weight(&record);
                lane.bytes -= weight;
                *bytes -= weight;
                size += weight;
                taken.push(record);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests;
