//! The same event more than once in one process.
//!
//! A producer that is not sure appends again, and a stage that dies before its commit says everything twice. The second of
//! two such events would run beside the first and find nothing done yet; here it waits for the first, and ends with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connectors::log::Record;
use sha2::{Digest, Sha256};

use super::station::Station;
use super::task::Task;
use crate::header::replay;

/// Events that are remembered after their end.
const REMEMBERED: usize = 4096;

/// What makes two events the same: their bytes, and the replay that they belong to.
type Name = [u8; 32];

fn name(record: &Record) -> Name {
    let mut digest = Sha256::new();
    if let Some(replay) = replay::value(&record.headers) {
        digest.update(replay);
    }
    digest.update([0]);
    digest.update(&record.value);
    digest.finalize().into()
}

/// The events of one stage that are under way or were not long ago.
#[derive(Default)]
pub(super) struct Twins(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Who waits for each event that is under way.
    waiting: HashMap<Name, Vec<Task>>,
    ended: HashSet<Name>,
    /// The ended ones, oldest first.
    ages: VecDeque<Name>,
}

impl Known {
    fn remember(&mut self, name: Name) {
        if self.ended.insert(name) {
            self.ages.push_back(name);
        }
        if self.ages.len() > REMEMBERED
            && let Some(oldest) = self.ages.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

impl Twins {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a task; answers it when it is the first of its kind, and now leads those that are still to come.
    pub fn meet(&self, mut task: Task) -> Option<Task> {
        let name = name(&task.record);
        let mut known = self.lock();
        if known.ended.contains(&name) {
            drop(known);
            tracing::debug!(job = %task.job(), at = ?task.record.at, offset = task.record.offset, "the same event is done");
            task.finish();
            return None;
        }
        if let Some(waiting) = known.waiting.get_mut(&name) {
            waiting.push(task);
            return None;
        }
        known.waiting.insert(name, Vec::new());
        drop(known);
        task.lead = Some(Lead { station: Arc::clone(&task.station), name, ended: false });
        Some(task)
    }

    fn release(&self, name: Name, ended: bool) -> Vec<Task> {
        let mut known = self.lock();
        if ended {
            known.remember(name);
        }
        known.waiting.remove(&name).unwrap_or_default()
    }
}

/// Held by the first of several same events. When its work is over the others are over, too; when it is dropped without
/// that, the next of them takes its place.
pub(super) struct Lead {
    station: Arc<Station>,
    name: Name,
    ended: bool,
}

impl Lead {
    /// The work is over for good.
    pub fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        for twin in self.station.twins.release(self.name, self.ended) {
            match self.ended {
                true => twin.finish(),
                false if twin.assignment.lost.is_cancelled() => {}
                false => self.station.admit(twin),
            }
        }
    }
}
