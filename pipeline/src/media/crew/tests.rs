use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Keeps what it is given, and who brought it.
#[derive(Default)]
struct Diary {
    steps: Vec<u32>,
    threads: Vec<ThreadId>,
}

impl Work for Diary {
    type Step = u32;

    fn step(&mut self, step: u32) -> Result<(), Error> {
        self.steps.push(step);
        self.threads.push(std::thread::current().id());
        Ok(())
    }
}

fn always(idle: i64) -> Idle {
    Arc::new(move || idle)
}

fn diaries(count: usize) -> Vec<Diary> {
    (0..count).map(|_| Diary::default()).collect()
}

proptest! {
    #[test]
    fn every_work_has_every_step_in_order(
        works in 1..5_usize,
        threads in 1..5_usize,
        steps in 0..40_u32,
        idle in proptest::collection::vec(-2..4_i64, 1..20),
    ) {
        let turn = std::sync::atomic::AtomicUsize::new(0);
        let idle: Idle = Arc::new(move || {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            idle[turn % idle.len()]
        });
        let mut crew = Crew::new(diaries(works), threads, idle);
        for step in 0..steps {
            crew.push(vec![step; works]).unwrap();
        }
        let done = crew.finish().unwrap();
        prop_assert_eq!(done.len(), works);
        for diary in done {
            prop_assert_eq!(diary.steps, (0..steps).collect::<Vec<_>>());
        }
    }
}

#[test]
fn one_thread_does_it_all_where_no_core_is_idle() {
    let mut crew = Crew::new(diaries(3), 8, always(0));
    for step in 0..20 {
        crew.push(vec![step; 3]).unwrap();
        // Nothing is put off: pictures would only fill the memory.
        assert_eq!(crew.shared.state().longest(), 0);
    }
    let me = std::thread::current().id();
    for diary in crew.finish().unwrap() {
        assert_eq!(diary.threads, [me; 20]);
    }
}

/// Waits in each step until its twin is in one as well.
struct Twin {
    here: Sender<()>,
    there: Receiver<()>,
}

impl Work for Twin {
    type Step = ();

    fn step(&mut self, (): ()) -> Result<(), Error> {
        let alone = |_| Error::new(Code::EncoderFailed, "nobody works beside it");
        self.here.send(()).map_err(|_| Error::new(Code::EncoderFailed, "the twin is gone"))?;
        self.there.recv_timeout(Duration::from_secs(20)).map_err(alone)
    }
}

#[test]
fn two_threads_work_side_by_side_where_a_core_is_idle() {
    let (one, other) = (channel(), channel());
    let twins = vec![Twin { here: one.0, there: other.1 }, Twin { here: other.0, there: one.1 }];
    let mut crew = Crew::new(twins, 2, always(1));
    for _ in 0..10 {
        crew.push(vec![(), ()]).unwrap();
    }
    crew.finish().unwrap();
}

/// Fails at one step, or breaks down, unless the thread that owns the crew is at it.
struct Faulty {
    owner: Option<ThreadId>,
    done: u32,
}

impl Work for Faulty {
    type Step = u32;

    fn step(&mut self, step: u32) -> Result<(), Error> {
        match self.owner {
            None if step == 2 => return Err(Error::new(Code::EncoderFailed, "the third is odd")),
            Some(owner) => assert_eq!(std::thread::current().id(), owner, "on purpose"),
            None => {}
        }
        self.done += 1;
        Ok(())
    }
}

#[test]
fn a_failure_is_told_and_ends_the_work() {
    for idle in [0, 2] {
        let mut crew = Crew::new((0..3).map(|_| Faulty { owner: None, done: 0 }).collect(), 3, always(idle));
        let pushed = (0..1000).map(|step| crew.push(vec![step; 3])).find_map(Result::err);
        assert_eq!(pushed.expect("a failure").message, "the third is odd");
        assert!(crew.shared.state().lanes.iter().all(|lane| lane.work.as_ref().is_none_or(|work| work.done <= 3)));
        assert_eq!(crew.finish().err().expect("still a failure").message, "the third is odd");
    }
}

#[test]
fn a_helper_that_breaks_down_does_not_leave_the_others_waiting() {
    let owner = Some(std::thread::current().id());
    let mut crew = Crew::new((0..3).map(|_| Faulty { owner, done: 0 }).collect(), 3, always(2));
    let error = (0..100_000).map(|step| crew.push(vec![step; 3])).find_map(Result::err);
    assert_eq!(error.expect("a failure").code, Code::MediaCrashed);
}
