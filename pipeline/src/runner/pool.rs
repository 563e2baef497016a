//! Slots: bounded places where work runs, and the fair queue in front of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::JobId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::fair::Fair;
use super::task::Task;
use crate::stage::Lane;

/// Nothing of the main lane has run or waited for so long before background work starts: whoever uploads a video wants
/// to see it first, and between two of its stages there is always a moment of rest.
const CALM: Duration = Duration::from_secs(1);

/// Background work that has waited so long starts among other work: it is to be late, not never.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Slots that one or several stages share.
///
/// All native stages of the main and the background lane share one pool; every other stage has its own, so that
/// short work such as probe and stitch never waits behind encoding.
pub(super) struct Pool {
    /// How many pieces of work run at once.
    pub slots: usize,
    /// How many pieces of background work run beside them: what has begun cannot be put aside when others come, so it must
    /// not keep a slot from them.
    pub background_slots: usize,
    queue: Mutex<Queue>,
    woken: Notify,
    /// Rung when background work may start earlier than it seemed.
    calmer: Notify,
}

#[derive(Default)]
struct Queue {
    /// Within a job by unit: the beginning of a video is wanted first, and what is done has few holes.
    main: Fair<JobId, u32, Task>,
    /// Served only while `main` is empty and nothing of it runs.
    background: Fair<JobId, u32, Task>,
    /// Pieces of main work that run.
    at_work: usize,
    /// When main work last arrived or ended.
    stirred: Option<Instant>,
    /// When background work last arrived where there was none, or started.
    waits_since: Option<Instant>,
    closed: bool,
}

impl Queue {
    fn lane(&mut self, task: &Task) -> &mut Fair<JobId, u32, Task> {
        match task.station.stage.lane() {
            Lane::Background => &mut self.background,
            Lane::Express | Lane::Main => &mut self.main,
        }
    }

    fn push(&mut self, task: Task) {
        let now = Instant::now();
        match task.station.stage.lane() {
            Lane::Background if self.background.is_empty() => self.waits_since = Some(now),
            Lane::Background => {}
            Lane::Express | Lane::Main => self.stirred = Some(now),
        }
        self.lane(&task).push(task.job(), task.work.unit.index, task);
    }

    /// When background work may start; nothing when there is none, or only when something changes.
    fn background_at(&self) -> Option<Instant> {
        let waits_since = self.waits_since.filter(|_| !self.background.is_empty())?;
        let last_resort = waits_since + PATIENCE;
        if self.at_work > 0 || !self.main.is_empty() {
            return Some(last_resort);
        }
        let calm = self.stirred.map_or(waits_since, |stirred| stirred.max(waits_since)) + CALM;
        Some(calm.min(last_resort))
    }
}

/// A piece of main work that runs, until it is dropped.
struct AtWork(Arc<Pool>);

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        // A closed pool counts nothing any more.
        queue.at_work = queue.at_work.saturating_sub(1);
        queue.stirred = Some(Instant::now());
        drop(queue);
        self.0.calmer.notify_one();
    }
}

/// What is held while a task has a slot: its stage does not end, and who runs is known.
pub(super) struct Turn {
    _token: TaskTrackerToken,
    _at_work: Option<AtWork>,
}

impl Pool {
    pub fn new(slots: usize) -> Self {
        Self { slots, background_slots: 0, queue: Mutex::default(), woken: Notify::new(), calmer: Notify::new() }
    }

    /// The same with slots for background work.
    pub fn with_background(slots: usize, background_slots: usize) -> Self {
        Self { background_slots, ..Self::new(slots) }
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
        let is_background = task.station.stage.lane() == Lane::Background;
        queue.push(task);
        drop(queue);
        if is_background { self.calmer.notify_one() } else { self.woken.notify_one() }
    }

    /// Waits for the next task of the main lane; nothing once the pool is closed.
    pub async fn next(self: &Arc<Self>) -> Option<(Task, Turn)> {
        loop {
            let woken = self.woken.notified();
            {
                let mut queue = self.lock();
                if queue.closed {
                    return None;
                }
                if let Some(task) = queue.main.pop() {
                    // One wake-up is kept at most: pass it on, or a second free slot would sleep beside waiting work.
                    if !queue.main.is_empty() {
                        self.woken.notify_one();
                    }
                    queue.at_work += 1;
                    let turn =
                        Turn { _token: task.station.in_flight.token(), _at_work: Some(AtWork(Arc::clone(self))) };
                    return Some((task, turn));
                }
            }
            woken.await;
        }
    }

    /// Waits for the next task of the background lane, until its time has come; nothing once the pool is closed.
    pub async fn next_background(&self) -> Option<(Task, Turn)> {
        loop {
            let calmer = self.calmer.notified();
            let at = {
                let mut queue = self.lock();
                if queue.closed {
                    return None;
                }
                let at = queue.background_at();
                if at.is_some_and(|at| at <= Instant::now())
                    && let Some(task) = queue.background.pop()
                {
                    // The next one has waited as well: it is calm enough, or it waits its time.
                    let now = Instant::now();
                    queue.waits_since = Some(now.checked_sub(CALM).unwrap_or(now));
                    if !queue.background.is_empty() {
                        self.calmer.notify_one();
                    }
                    let turn = Turn { _token: task.station.in_flight.token(), _at_work: None };
                    return Some((task, turn));
                }
                at
            };
            tokio::select! {
                () = calmer => {}
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {}
            }
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
        self.calmer.notify_waiters();
    }
}
