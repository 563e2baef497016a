//! Which jobs have work in this process, and which of them nobody wants any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use schemas::JobId;
use tokio_util::sync::CancellationToken;

/// Jobs remembered after their end, so that work that arrives late is refused without asking the catalog.
const REMEMBERED: usize = 10_000;

/// Why nobody wants a job's results any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Cancelled,
    Deleted,
    Failed,
}

/// A job with work here. All its required tasks share one, and those that only add to a video another.
#[derive(Debug, Default)]
pub(super) struct Hold {
    gone: OnceLock<Gone>,
    token: CancellationToken,
}

impl Hold {
    /// Why its work is not wanted any more, if so.
    pub fn gone(&self) -> Option<Gone> {
        self.gone.get().copied()
    }

    /// Waits until its work is not wanted any more.
    pub async fn ended(&self) {
        self.token.cancelled().await;
    }

    fn end(&self, why: Gone) {
        // The first reason stays; which of several it was makes no difference.
        let _ = self.gone.set(why);
        self.token.cancel();
    }
}

/// All jobs of this process.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By job, and whether the work is such that a video is nothing without it.
    active: HashMap<(JobId, bool), Weak<Hold>>,
    gone: HashMap<JobId, Gone>,
    /// In the order of their end.
    remembered: VecDeque<JobId>,
    /// Entries of `active` after the last sweep of those nobody holds.
    swept: usize,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's hold; ended already when the job is known to be gone.
    pub fn hold(&self, job: JobId, is_required: bool) -> Arc<Hold> {
        let mut state = self.lock();
        if let Some(hold) = state.active.get(&(job, is_required)).and_then(Weak::upgrade) {
            return hold;
        }
        if state.active.len() > 2 * state.swept + 64 {
            state.active.retain(|_, hold| hold.strong_count() > 0);
            state.swept = state.active.len();
        }
        let hold = Arc::new(Hold::default());
        if let Some(why) = state.gone.get(&job) {
            hold.end(*why);
        }
        state.active.insert((job, is_required), Arc::downgrade(&hold));
        hold
    }

    /// Nobody waits for required work of `job` any more. Whether what only adds to its video is wanted is not known yet.
    pub fn end_required(&self, job: JobId, why: Gone) {
        if let Some(hold) = self.lock().active.get(&(job, true)).and_then(Weak::upgrade) {
            hold.end(why);
        }
    }

    /// Nobody wants results of `job` from now on.
    pub fn end(&self, job: JobId, why: Gone) {
        let mut state = self.lock();
        if state.gone.insert(job, why).is_none() {
            state.remembered.push_back(job);
            if state.remembered.len() > REMEMBERED
                && let Some(oldest) = state.remembered.pop_front()
            {
                state.gone.remove(&oldest);
            }
        }
        for is_required in [true, false] {
            if let Some(hold) = state.active.get(&(job, is_required)).and_then(Weak::upgrade) {
                hold.end(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_arrives_after_the_end_is_not_wanted_either() {
        let jobs = Jobs::default();
        let (one, other) = (JobId::from_parts(1, 1), JobId::from_parts(1, 2));
        let (early, added) = (jobs.hold(one, true), jobs.hold(one, false));
        let unrelated = jobs.hold(other, true);
        assert_eq!(early.gone(), None);
        jobs.end_required(one, Gone::Cancelled);
        assert_eq!((early.gone(), added.gone()), (Some(Gone::Cancelled), None));
        jobs.end(one, Gone::Cancelled);
        assert_eq!(added.gone(), Some(Gone::Cancelled));
        drop((early, added));
        assert_eq!(jobs.hold(one, true).gone(), Some(Gone::Cancelled));
        assert_eq!(jobs.hold(one, false).gone(), Some(Gone::Cancelled));
        assert_eq!(unrelated.gone(), None);
    }
}
