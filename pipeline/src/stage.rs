//! What a stage is: a name, an input event, an output event, and one async function that may run twice.
//!
//! A stage never sees the log. The runner decodes its input, gives it a [`Context`], appends what it returns and
//! decides what a failure means.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connectors::Doors;
use connectors::catalog::Decision;
use connectors::log::NewRecord;
use futures::future::BoxFuture;
use schemas::event::Event;
use schemas::{JobId, wire};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A stage of the pipeline.
pub trait Stage: Send + Sync + 'static {
    /// The event that starts the work; its topic is the stage's input.
    type In: Event;
    /// The events that come out; their topic is the stage's output.
    type Out: Event;
    /// A verb. The consumer group is `streamforge.<NAME>`, the dead letters lie in `<NAME>.dlq`.
    const NAME: &'static str;
    /// Whether native code runs: then an attempt is counted durably before it starts, so that a crash counts.
    const NATIVE: bool = false;
    /// Whether a job fails when this stage gives up on it. Stages that only add to a video say no.
    const REQUIRED: bool = true;
    /// Where its work queues; only native stages have a choice.
    const LANE: Lane = Lane::Main;

    /// Does the work of one event. Must give the same result when it runs twice.
    fn process(&self, event: Self::In, cx: &Context)
    -> impl Future<Output = Result<Vec<Self::Out>, StageError>> + Send;

    /// Longest time that one attempt at `event` may take.
    fn deadline(&self, _event: &Self::In) -> Duration {
        Duration::from_secs(300)
    }

    /// Which part of the job `event` stands for.
    fn unit(&self, _event: &Self::In) -> Unit {
        Unit::default()
    }

    /// What is told in place of a result when the runner gives up on `event`, at `now_ms` since the Unix epoch. A stage that only
    /// adds to a video says here that nothing will come, and why, so that nobody waits for it.
    fn without(&self, _event: &Self::In, _cause: &Cause, _now_ms: i64) -> Option<Self::Out> {
        None
    }
}

/// Where the work of a native stage waits for a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Short work that others wait for: has a slot of its own beside the shared ones.
    Express,
    /// The bulk: shares the slots of this machine, one per core.
    Main,
    /// Starts when nothing of the main lane waits or runs, and has slots of its own then.
    Background,
}

/// A part of a job, as progress is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its index in the stage, such as the index of a chunk.
    pub index: u32,
    /// How many the stage has in this job.
    pub count: u32,
    /// Its work in frames.
    pub weight: u64,
    /// The job's work in frames; 0 when not known.
    pub total_weight: u64,
}

impl Default for Unit {
    fn default() -> Self {
        Self { index: 0, count: 1, weight: 0, total_weight: 0 }
    }
}

/// Why a stage could not do its work, named for what the runner does next.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Something that may pass: try again later, up to three attempts.
    #[error("{0}")]
    Retry(Cause),
    /// It will never work: dead letter at once.
    #[error("{0}")]
    Reject(Cause),
    /// The stage itself cannot go on (its model is broken, its disk is gone): stop consuming, leave the event.
    #[error("{0}")]
    Stop(Cause),
}

impl StageError {
    /// A [`StageError::Retry`].
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self::Retry(Cause { code, message: message.into() })
    }

    /// A [`StageError::Reject`].
    pub fn reject(code: &'static str, message: impl Into<String>) -> Self {
        Self::Reject(Cause { code, message: message.into() })
    }

    /// A door failed, not the event: the runner tries again for as long as that lasts and counts no attempt.
    pub fn door(doing: &str, error: &dyn std::error::Error) -> Self {
        Self::Retry(Cause { code: Self::DOOR, message: format!("{doing}: {}", chain(error)) })
    }

    /// The event is for another version of this program: the runner keeps it for the worker that will take this one's
    /// place, for a bounded long time, and counts no attempt.
    pub fn other_version(message: impl Into<String>) -> Self {
        Self::Retry(Cause { code: Self::OTHER_VERSION, message: message.into() })
    }

    /// Code of a [`StageError::other_version`].
    pub const OTHER_VERSION: &'static str = "other_version";

    /// Code of a [`StageError::door`].
    pub const DOOR: &'static str = "door_unavailable";

    /// The cause, whatever follows from it.
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Retry(cause) | Self::Reject(cause) | Self::Stop(cause) => cause,
        }
    }
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some foreign errors repeat their source.
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        source = cause.source();
    }
    text
}

/// A stable word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Cause {
    /// A stable word, such as `unsupported_media`.
    pub code: &'static str,
    /// One sentence for a person: what was attempted and why it failed.
    pub message: String,
}

/// Everything a stage may touch while it works on one event.
pub struct Context {
    /// The doors.
    pub doors: Doors,
    /// Fires when the result is not wanted any more: cancelled, deleted, partition lost, deadline passed, shutting down.
    pub cancel: CancellationToken,
    /// The job.
    pub job: JobId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Name of this worker process.
    pub worker: Arc<str>,
    reports: mpsc::UnboundedSender<Report>,
    conclusion: Mutex<Option<Decision>>,
}

/// What a stage says while it works.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// So many frames of the unit are finished.
    Done(u64),
    /// The job can be watched from now on, at least its beginning.
    Playable,
}

impl Context {
    /// A context whose reports go to `reports`.
    pub fn new(
        doors: Doors,
        cancel: CancellationToken,
        job: JobId,
        attempt: u32,
        worker: Arc<str>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        Self { doors, cancel, job, attempt, worker, reports, conclusion: Mutex::new(None) }
    }

    /// Tells whoever watches; never waits and never fails.
    pub fn report(&self, report: Report) {
        // Nobody listening is fine: progress is a courtesy.
        let _ = self.reports.send(report);
    }

    /// Proposes an end for the job. The runner appends the stage's events first, then lets the catalog decide, then
    /// publishes `job.ended` with the decision that holds.
    pub fn conclude(&self, decision: Decision) {
        *self.conclusion.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision);
    }

    /// The end that the stage proposed.
    pub fn conclusion(&self) -> Option<Decision> {
        self.conclusion.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A stage without its types, as the topology lists it and the runner drives it.
pub trait AnyStage: Send + Sync + 'static {
    /// See [`Stage::NAME`].
    fn name(&self) -> &'static str;
    /// Topic of the input.
    fn input(&self) -> &'static str;
    /// Topic of the output.
    fn output(&self) -> &'static str;
    /// See [`Stage::NATIVE`].
    fn is_native(&self) -> bool;
    /// See [`Stage::REQUIRED`].
    fn is_required(&self) -> bool;
    /// See [`Stage::LANE`].
    fn lane(&self) -> Lane;
    /// Decodes a record's value into work that can be started.
    fn open(self: Arc<Self>, value: &[u8]) -> Result<Work, wire::Error>;
    /// The record of [`Stage::without`], when there is one.
    fn without(&self, _value: &[u8], _cause: &Cause, _now_ms: i64) -> Option<NewRecord> {
        None
    }
}

/// The work of one event, ready to start, once or several times.
pub struct Work {
    /// The job.
    pub job: JobId,
    /// Which part of it.
    pub unit: Unit,
    /// Longest time that one attempt may take.
    pub deadline: Duration,
    run: Box<dyn Fn(Arc<Context>) -> Attempt + Send + Sync>,
}

/// One attempt at a piece of work; answers the records to append.
pub type Attempt = BoxFuture<'static, Result<Vec<NewRecord>, StageError>>;

impl Work {
    /// Work that calls `run` for each attempt.
    pub fn new(
        job: JobId,
        unit: Unit,
        deadline: Duration,
        run: impl Fn(Arc<Context>) -> Attempt + Send + Sync + 'static,
    ) -> Self {
        Self { job, unit, deadline, run: Box::new(run) }
    }

    /// Starts one attempt; answers the records to append.
    pub fn run(&self, cx: Arc<Context>) -> Attempt {
        (self.run)(cx)
    }
}

impl<S: Stage> AnyStage for S {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn input(&self) -> &'static str {
        S::In::TOPIC
    }

    fn output(&self) -> &'static str {
        S::Out::TOPIC
    }

    fn is_native(&self) -> bool {
        S::NATIVE
    }

    fn is_required(&self) -> bool {
        S::REQUIRED
    }

    fn lane(&self) -> Lane {
        S::LANE
    }

    fn without(&self, value: &[u8], cause: &Cause, now_ms: i64) -> Option<NewRecord> {
        let event: S::In = wire::decode(value).ok()?;
        record_of(&Stage::without(self, &event, cause, now_ms)?).ok()
    }

    fn open(self: Arc<Self>, value: &[u8]) -> Result<Work, wire::Error> {
        let event: S::In = wire::decode(value)?;
        let (job, unit, deadline) = (event.job(), self.unit(&event), self.deadline(&event));
        Ok(Work::new(job, unit, deadline, move |cx| {
            let (stage, event) = (Arc::clone(&self), event.clone());
            Box::pin(async move {
                let events = stage.process(event, &cx).await?;
                events.iter().map(record_of).collect()
            })
        }))
    }
}

/// The record that carries `event`.
pub fn record_of<E: Event>(event: &E) -> Result<NewRecord, StageError> {
    let value = wire::encode(event)
        .map_err(|error| StageError::reject("unencodable_event", format!("encode {}: {error}", E::TOPIC)))?;
    Ok(NewRecord {
        topic: E::TOPIC.to_owned(),
        spread: event.spread(),
        key: event.key().into_bytes().into(),
        value: value.into(),
        headers: Vec::new(),
    })
}
