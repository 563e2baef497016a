//! Slots: bounded places where work runs, and the fair queue in front of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::JobId;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::fair::Fair;
use super::task::Task;
use crate::stage::Lane;

/// Slots that one or several stages share.
///
/// All native stages of the main and the background lane share one pool; every other stage has its own, so that
/// short work such as probe and stitch never waits behind encoding.
pub(super) struct Pool {
    /// How many pieces of work run at once.
    pub slots: usize,
    queue: Mutex<Queue>,
    woken: Notify,
}

#[derive(Default)]
struct Queue {
    /// Within a job by unit: the beginning of a video is wanted first, and what is done has few holes.
    main: Fair<JobId, u32, Task>,
    /// Served only while `main` is empty.
    background: Fair<JobId, u32, Task>,
    closed: bool,
}

impl Queue {
    fn lane(&mut self, task: &Task) -> &mut Fair<JobId, u32, Task> {
        match task.station.stage.lane() {
            Lane::Background => &mut self.background,
            Lane::Express | Lane::Main => &mut self.main,
        }
    }
}

impl Pool {
    pub fn new(slots: usize) -> Self {
        Self { slots, queue: Mutex::default(), woken: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a task; drops it when its stage takes no more work, which leaves its record uncommitted.
    pub fn push(&self, task: Task) {
        let mut queue = self.lock();
        // Asked under the lock: whoever closes a stage removes its tasks afterwards, so none slips in between.
        if queue.closed || task.station.is_closing() {
            return;
        }
        queue.lane(&task).push(task.job(), task.work.unit.index, task);
        drop(queue);
        self.woken.notify_one();
    }

    /// Waits for the next task; nothing once the pool is closed. The token keeps the task's stage from ending.
    pub async fn next(&self) -> Option<(Task, TaskTrackerToken)> {
        loop {
            let woken = self.woken.notified();
            {
                let mut queue = self.lock();
                if queue.closed {
                    return None;
                }
                if let Some(task) = queue.main.pop().or_else(|| queue.background.pop()) {
                    // One wake-up is kept at most: pass it on, or a second free slot would sleep beside waiting work.
                    if !(queue.main.is_empty() && queue.background.is_empty()) {
                        self.woken.notify_one();
                    }
                    let token = task.station.in_flight.token();
                    return Some((task, token));
                }
            }
            woken.await;
        }
    }

    /// Takes out all tasks of `job`.
    pub fn remove_job(&self, job: JobId) -> Vec<Task> {
        let mut queue = self.lock();
        let mut removed = queue.main.remove_job(job);
        removed.extend(queue.background.remove_job(job));
        removed
    }

    /// Takes out all tasks that `matches`.
    pub fn remove_where(&self, mut matches: impl FnMut(&Task) -> bool) -> Vec<Task> {
        let mut queue = self.lock();
        let mut removed = queue.main.remove_where(&mut matches);
        removed.extend(queue.background.remove_where(&mut matches));
        removed
    }

    /// Lets nothing start any more; what waits is dropped.
    pub fn close(&self) {
        let left = std::mem::replace(&mut *self.lock(), Queue { closed: true, ..Queue::default() });
        // Not under the lock: what is dropped may let others of its kind come here.
        drop(left);
        self.woken.notify_waiters();
    }
}
