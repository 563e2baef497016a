//! One stage as the runner runs it: its slots, what is under way, and whether it still takes work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pool::Pool;
use super::task::{Finished, Task};
use super::twins::Twins;
use crate::stage::AnyStage;

/// A stage with everything it needs to run.
pub(super) struct Station {
    pub stage: Arc<dyn AnyStage>,
    pub pool: Arc<Pool>,
    /// Work that has left the queue and is not over.
    pub in_flight: TaskTracker,
    /// Fires when the stage takes no more work: shutting down, or it said that it cannot go on.
    pub closing: CancellationToken,
    pub twins: Twins,
    done: mpsc::UnboundedSender<Finished>,
    busy: Mutex<BTreeMap<u64, String>>,
    tickets: AtomicU64,
}

impl Station {
    /// The station, and where it says that work of a record is over.
    pub fn new(stage: Arc<dyn AnyStage>, pool: Arc<Pool>) -> (Arc<Self>, mpsc::UnboundedReceiver<Finished>) {
        let (done, finished) = mpsc::unbounded_channel();
        let station = Self {
            stage,
            pool,
            in_flight: TaskTracker::new(),
            closing: CancellationToken::new(),
            twins: Twins::default(),
            done,
            busy: Mutex::default(),
            tickets: AtomicU64::new(0),
        };
        (Arc::new(station), finished)
    }

    pub fn name(&self) -> &'static str {
        self.stage.name()
    }

    pub fn group(&self) -> String {
        format!("streamforge.{}", self.name())
    }

    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Queues a task for a slot. Native work takes long enough that the same event may come while it runs.
    pub fn admit(&self, task: Task) {
        let first = if self.stage.is_native() { self.twins.meet(task) } else { Some(task) };
        if let Some(task) = first {
            self.pool.push(task);
        }
    }

    pub fn finished(&self, finished: Finished) {
        // When the intake is gone the record stays uncommitted and comes again: nothing is lost.
        let _ = self.done.send(finished);
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a slot works on `what` until the answer is dropped.
    pub fn occupy(self: &Arc<Self>, what: String) -> Occupied {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.busy().insert(ticket, what);
        Occupied { station: Arc::clone(self), ticket }
    }

    /// What its slots do right now, oldest first.
    pub fn current(&self) -> Vec<String> {
        self.busy().values().cloned().collect()
    }
}

/// A slot in use.
pub(super) struct Occupied {
    station: Arc<Station>,
    ticket: u64,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.station.busy().remove(&self.ticket);
    }
}
