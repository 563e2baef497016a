//! A runner with a scripted log, doors in memory, and stages that do what a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::Doors;
use connectors::clock::ManualClock;
use connectors::log::{NewRecord, Record, Tailed};
use futures::future::BoxFuture;
use schemas::event::{JobEnded, JobProgress};
use schemas::{Event, JobId, wire};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::scripted::{Scripted, record};
use crate::runner::{Error, Runner, Settings, Status};
use crate::stage::{AnyStage, Cause, Context, Lane, StageError, Unit, Work};

/// What a stage's attempt answers.
pub type Answer = Result<Vec<NewRecord>, StageError>;
type Play = dyn Fn(u32, Arc<Context>) -> BoxFuture<'static, Answer> + Send + Sync;

/// A stage that plays what a test says. A record's value is `<job> <index>`; anything else cannot be decoded.
#[derive(Clone)]
pub struct Actor {
    name: &'static str,
    native: bool,
    required: bool,
    lane: Lane,
    deadline: Duration,
    /// Index of the record at which decoding itself panics.
    poison: Option<u32>,
    /// What is told in place of a result.
    without: Option<fn(&Cause) -> NewRecord>,
    play: Arc<Play>,
    /// Job and index of each attempt, with the virtual time of its start.
    pub starts: Arc<Mutex<Vec<(JobId, u32, Instant)>>>,
}

impl Actor {
    /// A light, required stage.
    pub fn new<F>(name: &'static str, play: impl Fn(u32, Arc<Context>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self {
            name,
            native: false,
            required: true,
            lane: Lane::Main,
            deadline: Duration::from_secs(300),
            poison: None,
            without: None,
            play: Arc::new(move |index, cx| Box::pin(play(index, cx))),
            starts: Arc::default(),
        }
    }

    pub fn native(self) -> Self {
        Self { native: true, ..self }
    }

    pub fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    pub fn lane(self, lane: Lane) -> Self {
        Self { lane, native: true, ..self }
    }

    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// What is told when the runner gives up.
    pub fn telling(self, without: fn(&Cause) -> NewRecord) -> Self {
        Self { without: Some(without), ..self }
    }

    /// Decoding the record with this index panics.
    pub fn poison(self, index: u32) -> Self {
        Self { poison: Some(index), ..self }
    }

    /// Job and index of each attempt, in order of their start.
    pub fn started(&self) -> Vec<(JobId, u32)> {
        self.starts.lock().expect("lock").iter().map(|(job, index, _)| (*job, *index)).collect()
    }
}

impl AnyStage for Actor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn input(&self) -> &'static str {
        "in"
    }

    fn output(&self) -> &'static str {
        "out"
    }

    fn is_native(&self) -> bool {
        self.native
    }

    fn is_required(&self) -> bool {
        self.required
    }

    fn lane(&self) -> Lane {
        self.lane
    }

    fn without(&self, _value: &[u8], cause: &Cause, _now_ms: i64) -> Option<NewRecord> {
        self.without.map(|tell| tell(cause))
    }

    fn open(self: Arc<Self>, value: &[u8]) -> Result<Work, wire::Error> {
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.split_once(' '));
        let parsed = parsed.and_then(|(job, index)| Some((job.parse::<JobId>().ok()?, index.parse::<u32>().ok()?)));
        let (job, index) = parsed.ok_or(wire::Error::Framing("not what an actor reads"))?;
        assert!(self.poison != Some(index), "index {index} breaks whoever reads it");
        let unit = Unit { index, count: 10, weight: 100, total_weight: 1000 };
        Ok(Work::new(job, unit, self.deadline, move |cx| {
            self.starts.lock().expect("lock").push((job, index, Instant::now()));
            (self.play)(index, cx)
        }))
    }
}

/// A job for tests.
pub fn job(number: u32) -> JobId {
    JobId::from_parts(1_000, u128::from(number))
}

/// The record of unit `index` of a job.
pub fn work(partition: u32, offset: i64, of: JobId, index: u32) -> Record {
    record("in", partition, offset, format!("{of} {index}"))
}

/// An output of a stage.
pub fn output(text: &str) -> NewRecord {
    NewRecord {
        topic: "out".to_owned(),
        spread: 0,
        key: "key".into(),
        value: text.to_owned().into(),
        headers: Vec::new(),
    }
}

/// What an idle stage says.
pub async fn nothing(_index: u32, _cx: Arc<Context>) -> Answer {
    Ok(Vec::new())
}

pub struct Bench {
    pub log: Scripted,
    pub doors: Doors,
    pub shutdown: CancellationToken,
    pub status: Arc<Status>,
    running: JoinHandle<Result<(), Error>>,
}

impl Bench {
    /// Starts a runner; every stage owns partitions 0 and 1 of its input.
    pub fn start(actors: &[&Actor]) -> Self {
        Self::tuned(actors, |_| {})
    }

    pub fn tuned(actors: &[&Actor], tune: impl FnOnce(&mut Settings)) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let log = Scripted::default();
        let doors = connectors::in_memory(clock).expect("doors in memory");
        Self::with_doors(actors, Doors { log: Arc::new(log.clone()), ..doors }, log, tune)
    }

    pub fn with_doors(actors: &[&Actor], doors: Doors, log: Scripted, tune: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { slots: 2, ..Settings::new("bench") };
        tune(&mut settings);
        let runner = Runner::new(doors.clone(), settings);
        let (status, shutdown) = (runner.status(), CancellationToken::new());
        let stages: Vec<_> = actors.iter().map(|actor| Arc::new((*actor).clone()) as Arc<dyn AnyStage>).collect();
        log.say(Tailed::CaughtUp);
        for actor in actors {
            log.gain(actor.name, "in", 0);
            log.gain(actor.name, "in", 1);
        }
        let until = shutdown.clone();
        let running = tokio::spawn(async move { runner.run(stages, until).await });
        Self { log, doors, shutdown, status, running }
    }

    /// Waits in simulated time until `what` holds.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(3600), "in vain: {what}; {:#?}", self.log.acts());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_committed(&self, stage: &str, partition: u32, offset: i64) {
        let what = format!("{stage} commits {offset}");
        self.until(&what, |bench| bench.log.committed(stage, partition) >= Some(offset)).await;
    }

    /// Asks the runner to stop and waits until it has.
    pub async fn stop(self) -> Scripted {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("a clean end");
        self.log
    }

    /// All `job.ended` events.
    pub fn ends(&self) -> Vec<JobEnded> {
        decoded(&self.log)
    }

    /// All `job.progress` events.
    pub fn progress(&self) -> Vec<JobProgress> {
        decoded(&self.log)
    }
}

fn decoded<E: Event>(log: &Scripted) -> Vec<E> {
    log.appended(E::TOPIC).iter().map(|record| wire::decode(&record.value).expect("decodes")).collect()
}

/// The header `name` of a record, as text.
pub fn header(record: &NewRecord, name: &str) -> String {
    let value = record.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.to_vec());
    String::from_utf8(value.unwrap_or_default()).expect("text")
}
