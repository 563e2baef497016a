//! The threads that encode the rungs of a range.
//!
//! One thread does it all, a handful of pictures in one rung after the other: a core's caches then hold one encoder's pictures at
//! a time, and there is nobody to hand over to. Where cores have nothing to do, others help for as long as that is so. A rung
//! is worked on by one thread at a time, in order, so its bytes do not depend on who did it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Code, Error};

/// Steps that a rung may have before it while others help, so that there is something to help with.
const BACKLOG: usize = 2;

/// Something that goes on step by step.
pub trait Work: Send + 'static {
    /// What it is given.
    type Step: Send + 'static;

    /// Does one step.
    fn step(&mut self, step: Self::Step) -> Result<(), Error>;
}

/// How many cores have nothing to do; below zero: how many threads wait for one.
pub type Idle = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Several works and the threads that do them.
pub struct Crew<W: Work> {
    shared: Arc<Shared<W>>,
    helpers: Vec<JoinHandle<()>>,
    most: usize,
    idle: Idle,
}

struct Shared<W: Work> {
    state: Mutex<State<W>>,
    /// Rung when there is something to help with, or nothing any more.
    call: Condvar,
    /// Rung when a step is done.
    done: Condvar,
}

struct State<W: Work> {
    lanes: Vec<Lane<W>>,
    /// Helpers that are called and have not come yet.
    called: usize,
    /// Helpers at work.
    helping: usize,
    failed: Option<Error>,
    is_over: bool,
}

struct Lane<W: Work> {
    /// Absent while somebody works on it.
    work: Option<W>,
    steps: VecDeque<W::Step>,
}

impl<W: Work> Lane<W> {
    /// Whether somebody can do a step here.
    fn is_ready(&self) -> bool {
        self.work.is_some() && !self.steps.is_empty()
    }
}

impl<W: Work> Shared<W> {
    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one step of the work that has most before it; false: there is none, or something has failed.
    fn do_one(&self) -> bool {
        let mut state = self.state();
        let Some((at, mut work, step)) = state.take() else { return false };
        drop(state);
        let mut hold = Hold { shared: self, at, result: None };
        let result = work.step(step);
        hold.result = Some((work, result));
        true
    }
}

/// A work that is taken out of its lane. It goes back on the way out; whoever breaks down on the way has nothing to give back.
struct Hold<'a, W: Work> {
    shared: &'a Shared<W>,
    at: usize,
    result: Option<(W, Result<(), Error>)>,
}

impl<W: Work> Drop for Hold<'_, W> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let error = match self.result.take() {
            Some((work, result)) => {
                state.lanes[self.at].work = Some(work);
                result.err()
            }
            None => Some(Error::new(Code::MediaCrashed, "an encoding thread broke down")),
        };
        state.failed = state.failed.take().or(error);
        drop(state);
        self.shared.done.notify_all();
    }
}

impl<W: Work> State<W> {
    fn take(&mut self) -> Option<(usize, W, W::Step)> {
        if self.failed.is_some() {
            return None;
        }
        // The first of those with the same number of steps: rungs come with the largest first.
        let free = self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_ready());
        let (at, lane) = free.rev().max_by_key(|(_, lane)| lane.steps.len())?;
        Some((at, lane.work.take()?, lane.steps.pop_front()?))
    }

    fn longest(&self) -> usize {
        self.lanes.iter().map(|lane| lane.steps.len()).max().unwrap_or(0)
    }

    fn is_at_rest(&self) -> bool {
        self.lanes.iter().all(|lane| lane.work.is_some() && lane.steps.is_empty())
    }
}

impl<W: Work> Crew<W> {
    /// A crew for `works`, of at most `threads` threads, this one included.
    pub fn new(works: Vec<W>, threads: usize, idle: Idle) -> Self {
        let most = threads.min(works.len()).saturating_sub(1);
        let lanes = works.into_iter().map(|work| Lane { work: Some(work), steps: VecDeque::new() }).collect();
        let state = State { lanes, called: 0, helping: 0, failed: None, is_over: false };
        let shared = Shared { state: Mutex::new(state), call: Condvar::new(), done: Condvar::new() };
        Self { shared: Arc::new(shared), helpers: Vec::new(), most, idle }
    }

    /// Gives each work its next step, and works until they are done, or until helpers have enough to go on with.
    pub fn push(&mut self, steps: Vec<W::Step>) -> Result<(), Error> {
        let mut state = self.shared.state();
        for (lane, step) in state.lanes.iter_mut().zip(steps) {
            lane.steps.push_back(step);
        }
        drop(state);
        self.call()?;
        self.work(|state| state.longest() <= if state.helping + state.called > 0 { BACKLOG } else { 0 })
    }

    /// Does what is left; answers the works.
    pub fn finish(mut self) -> Result<Vec<W>, Error> {
        self.call()?;
        self.work(State::is_at_rest)?;
        let mut state = self.shared.state();
        Ok(state.lanes.iter_mut().filter_map(|lane| lane.work.take()).collect())
    }

    /// Calls as many helpers as there are cores for.
    fn call(&mut self) -> Result<(), Error> {
        if self.most == 0 {
            return Ok(());
        }
        let mut state = self.shared.state();
        let busy = state.called + state.helping;
        let free = usize::try_from((self.idle)()).unwrap_or(0).saturating_sub(state.called);
        let more = free.min(self.most.saturating_sub(busy));
        state.called += more;
        drop(state);
        while self.helpers.len() < busy + more {
            let (shared, idle) = (Arc::clone(&self.shared), Arc::clone(&self.idle));
            let thread = std::thread::Builder::new().name("rungs".into()).spawn(move || help(&shared, &idle));
            let failed = |error| Error::new(Code::EncoderFailed, format!("start an encoding thread: {error}"));
            self.helpers.push(thread.map_err(failed)?);
        }
        for _ in 0..more {
            self.shared.call.notify_one();
        }
        Ok(())
    }

    /// Works until `enough`.
    fn work(&self, enough: impl Fn(&State<W>) -> bool) -> Result<(), Error> {
        loop {
            let state = self.shared.state();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if enough(&state) {
                return Ok(());
            }
            drop(state);
            if !self.shared.do_one() {
                let state = self.shared.state();
                // What is not done yet is in somebody's hands.
                let wait = |state: &mut State<W>| {
                    let can_go_on = state.lanes.iter().any(Lane::is_ready);
                    state.failed.is_none() && !enough(state) && !can_go_on
                };
                drop(self.shared.done.wait_while(state, wait));
            }
        }
    }
}

impl<W: Work> Drop for Crew<W> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        state.lanes.iter_mut().for_each(|lane| lane.steps.clear());
        drop(state);
        self.shared.call.notify_all();
        for helper in self.helpers.drain(..) {
            // How it broke down is in the state.
            let _ = helper.join();
        }
    }
}

/// The life of a helper.
fn help<W: Work>(shared: &Shared<W>, idle: &Idle) {
    loop {
        let state = shared.state();
        let waited = shared.call.wait_while(state, |state| state.called == 0 && !state.is_over);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return;
        }
        state.called -= 1;
        state.helping += 1;
        drop(state);
        let _leave = Leave(shared);
        while shared.do_one() && idle() >= 0 {}
    }
}

/// A helper that is at work, until this is dropped.
struct Leave<'a, W: Work>(&'a Shared<W>);

impl<W: Work> Drop for Leave<'_, W> {
    fn drop(&mut self) {
        self.0.state().helping -= 1;
        self.0.done.notify_all();
    }
}

#[cfg(test)]
mod tests;
