//! What becomes of a task that got a slot: an attempt, and everything that follows from how it ends.

use std::sync::Arc;
use std::time::Duration;

use connectors::catalog::{self, Decision};
use connectors::log::{self, NewRecord, Record};
use schemas::event::{JobProgress, Outcome, StageState};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use super::attempt::{self, End};
use super::door::{chain, insist, outage};
use super::jobs::Gone;
use super::progress::Meter;
use super::station::Station;
use super::status::StageStatus;
use super::task::{Assignment, Finished, Stops, Task, Why};
use super::{Shared, ending, sweep_up};
use crate::header::{dead_letter, timing};
use crate::metrics;
use crate::stage::{Cause, StageError};

/// What happens to a task after its turn.
enum Next {
    /// The record is dealt with.
    Finish,
    /// It stays uncommitted, for whoever reads it next.
    Leave,
    /// It waits this long and queues again.
    Again(Duration),
}

/// Gives `task` its turn.
pub(super) async fn drive(shared: &Arc<Shared>, mut task: Task) {
    let span = tracing::info_span!(
        "work",
        stage = task.station.name(),
        job = %task.job(),
        attempt = tracing::field::Empty,
        unit = task.work.unit.index,
        partition = task.record.at.partition,
        offset = task.record.offset,
    );
    match turn(shared, &mut task).instrument(span).await {
        Next::Finish => task.finish(),
        Next::Leave => {}
        Next::Again(wait) => {
            // Waits without a slot. A call-off ends the wait: what follows from it is decided in the next turn.
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = sleep(wait) => {}
                    _ = task.stops.any() => {}
                }
                Arc::clone(&task.station.pool).push(task);
            });
        }
    }
}

async fn turn(shared: &Shared, task: &mut Task) -> Next {
    if let Some(why) = task.stops.now() {
        return called_off(shared, task, why).await;
    }
    match begin(shared, task).await {
        Ok(Begun::Start(number)) => attempt_once(shared, task, number).await,
        Ok(Begun::Skip(why)) => {
            tracing::info!(why, "skipped: the job has come to its end");
            Next::Finish
        }
        Ok(Begun::Crashed(count)) => {
            let message = format!("the worker did not survive this work {} times", count - 1);
            give_up(shared, task, &Cause { code: "crashed", message }, count - 1).await
        }
        Err(why) => called_off(shared, task, why).await,
    }
}

enum Begun {
    /// Go on with the attempt of this number.
    Start(u32),
    /// The job has its end already.
    Skip(&'static str),
    /// Too many attempts began and never ended; this would be the one of this number.
    Crashed(u32),
}

/// Everything that must be known before an attempt starts. Stages without native code pay nothing for it, unless the event
/// comes again.
async fn begin(shared: &Shared, task: &Task) -> Result<Begun, Why> {
    let uncounted = Begun::Start(task.failures + task.outages + 1);
    // An event that comes again may belong to a job that ended long ago.
    if !task.station.stage.is_native() && !task.is_replayed() {
        return Ok(uncounted);
    }
    let mut failures = 0;
    loop {
        let away = match timeout(shared.settings.catalog_patience, ask_catalog(shared, task)).await {
            Ok(Ok(begun)) => return begun,
            Ok(Err(error)) => chain(&error),
            Err(_) => "no answer".to_owned(),
        };
        metrics::door_failed("begin an attempt");
        if !task.is_replayed() {
            // What the catalog would say is good to know and no more: work that nobody wants any more is refused later, and
            // whoever dies of this work counts again when the catalog is back.
            tracing::warn!(error = away, "the catalog is away: the work goes on without it");
            return Ok(uncounted);
        }
        failures += 1;
        tracing::warn!(error = away, failures, "the catalog is away: what comes again waits for it");
        tokio::select! {
            biased;
            () = sleep(shared.settings.door_backoff.wait(failures)) => {}
            why = task.stops.any() => return Err(why),
        }
    }
}

/// What the catalog says before an attempt of native code starts.
async fn ask_catalog(shared: &Shared, task: &Task) -> Result<Result<Begun, Why>, catalog::Error> {
    let (stage, catalog, job) = (&task.station.stage, &shared.doors.catalog, task.job());
    let (decision, row) = tokio::try_join!(catalog.decision(job), catalog.job(job))?;
    let row = row.map(|found| found.row);
    if row.as_ref().is_some_and(|row| row.deleted) {
        return Ok(Ok(Begun::Skip("deleted")));
    }
    let said = row.as_ref().is_some_and(|row| row.ended.is_some());
    let wish = row.and_then(|row| row.cancel_requested).map(|fact| ending::cancelled(fact.event.at));
    // A wish to cancel that arrived while no worker was there is found here.
    let decision = match (decision, wish) {
        (None, Some(wish)) => match ending::decide(shared, &task.stops.without_job(), job, &wish).await {
            Ok(holds) => Some(holds),
            Err(why) => return Ok(Err(why)),
        },
        (decision, _) => decision,
    };
    if let Some(decision) = decision {
        let skip = match decision.outcome {
            Outcome::Cancelled => Some("cancelled"),
            Outcome::Failed => Some("failed"),
            // What a stage adds to a video may come after the video is ready.
            Outcome::Ready => stage.is_required().then_some("ready"),
        };
        if let Some(word) = skip {
            // Whoever decided may have died before it could say so.
            if !said && let Err(why) = ending::publish(shared, &task.stops.without_job(), job, decision).await {
                return Ok(Err(why));
            }
            return Ok(Ok(Begun::Skip(word)));
        }
    }
    if !stage.is_native() {
        return Ok(Ok(Begun::Start(task.failures + task.outages + 1)));
    }
    let number = catalog.count_attempt(&task.attempts_key()).await?;
    let crashed = number > shared.settings.max_crashes;
    Ok(Ok(if crashed { Begun::Crashed(number) } else { Begun::Start(number) }))
}

async fn attempt_once(shared: &Shared, task: &mut Task, number: u32) -> Next {
    tracing::Span::current().record("attempt", number);
    let name = task.station.name();
    let unit = task.work.unit;
    let what = format!("{name} {}/{} of {}, attempt {number}", unit.index + 1, unit.count.max(1), task.job());
    let occupied = task.station.occupy(what);
    let mut meter = meter(shared, task, number);
    meter.state(StageState::Running, None);
    tracing::debug!("attempt starts");
    let (started, began_ms) = (Instant::now(), shared.doors.clock.now_ms());
    let end = attempt::run(shared, task, number, &mut meter).await;
    drop(occupied);
    let took = started.elapsed();
    match end {
        End::Done { mut records, conclusion } => {
            records.iter_mut().for_each(|record| timing::mark(record, &shared.settings.worker, began_ms));
            metrics::attempt(name, "done", took);
            tracing::info!(?took, events = records.len(), "done");
            match publish(shared, task, records, conclusion).await {
                Ok(None) => {
                    meter.state(StageState::Done, None);
                    Next::Finish
                }
                Ok(Some(cause)) => reject(shared, task, &mut meter, cause, number).await,
                Err(why) => {
                    attempt::refuse(task, why, true);
                    called_off(shared, task, why).await
                }
            }
        }
        End::CalledOff(why) => {
            metrics::attempt(name, "called_off", took);
            if let Why::Gone(gone) = why {
                sweep_up::after(shared, task.job(), gone).await;
            }
            called_off(shared, task, why).await
        }
        End::Failed(error) => {
            metrics::error(name, error.cause().code);
            match error {
                StageError::Retry(cause) => {
                    metrics::attempt(name, "retry", took);
                    retry(shared, task, &mut meter, cause, number).await
                }
                StageError::Reject(cause) => {
                    metrics::attempt(name, "reject", took);
                    reject(shared, task, &mut meter, cause, number).await
                }
                StageError::Stop(cause) => {
                    metrics::attempt(name, "stop", took);
                    stop(shared, &task.station, &cause);
                    clear_attempts_once(shared, task).await;
                    Next::Leave
                }
            }
        }
    }
}

fn meter(shared: &Shared, task: &Task, number: u32) -> Meter {
    let unit = task.work.unit;
    let event = JobProgress {
        job: task.job(),
        stage: task.station.name().to_owned(),
        state: StageState::Running,
        unit: unit.index,
        units: unit.count,
        done: 0,
        weight: unit.weight,
        total_weight: unit.total_weight,
        playable: false,
        attempt: number,
        worker: shared.settings.worker.to_string(),
        at: 0,
        note: None,
    };
    let clock = Arc::clone(&shared.doors.clock);
    Meter::new(shared.progress.clone(), event, shared.settings.progress_interval, move || clock.now_ms())
}

/// Publishes what an attempt made: its events first, then the job's end where it proposes one. Answers why that can never be.
async fn publish(
    shared: &Shared,
    task: &Task,
    records: Vec<NewRecord>,
    conclusion: Option<Decision>,
) -> Result<Option<Cause>, Why> {
    if !records.is_empty()
        && let Some(error) = append(shared, "append a stage's events", &task.stops, records).await?
    {
        return Ok(Some(Cause { code: "event_too_large", message: chain(&error) }));
    }
    // From here on the job's own end is no reason to leave things half done.
    let stops = task.stops.without_job();
    if let Some(decision) = conclusion {
        ending::conclude(shared, &stops, task.job(), &decision).await?;
    }
    // Everybody can see by now that the work is done: a catalog that is away must not hold its slot.
    clear_attempts_once(shared, task).await;
    Ok(None)
}

/// Appends `records` however long the log is away. Answers its error when it takes no records of such a size: trying that
/// again would keep the partition waiting for ever.
async fn append(
    shared: &Shared,
    doing: &'static str,
    stops: &Stops,
    records: Vec<NewRecord>,
) -> Result<Option<log::Error>, Why> {
    let log = &shared.doors.log;
    let appended = insist(doing, shared.settings.door_backoff, stops, || async {
        match log.append(records.clone()).await {
            Err(error @ log::Error::TooLarge { .. }) => Ok(Some(error)),
            other => other.map(|_| None),
        }
    });
    appended.await
}

async fn reject(shared: &Shared, task: &Task, meter: &mut Meter, cause: Cause, number: u32) -> Next {
    tracing::warn!(code = cause.code, message = %cause.message, "rejected");
    let next = give_up(shared, task, &cause, number).await;
    meter.state(StageState::Failed, Some(cause.message));
    next
}

async fn retry(shared: &Shared, task: &mut Task, meter: &mut Meter, cause: Cause, number: u32) -> Next {
    if cause.code == StageError::OTHER_VERSION {
        return wait_for_another(shared, task, meter, cause, number).await;
    }
    let away = match cause.code {
        StageError::DOOR => Some(cause.message.clone()),
        _ => outage(&shared.doors).await,
    };
    if let Some(door) = away {
        task.outages += 1;
        // The event is not to blame: this attempt does not count, however long the outage lasts.
        clear_attempts_once(shared, task).await;
        let wait = shared.settings.door_backoff.wait(task.outages);
        tracing::warn!(code = cause.code, message = %cause.message, door, ?wait, "a door is away: trying again");
        meter.state(StageState::Waiting, Some(cause.message));
        return Next::Again(wait);
    }
    task.failures += 1;
    if task.failures >= shared.settings.max_attempts {
        tracing::warn!(code = cause.code, message = %cause.message, "failed for the last time");
        let next = give_up(shared, task, &cause, number).await;
        meter.state(StageState::Failed, Some(cause.message));
        return next;
    }
    let wait = shared.settings.backoff.wait(task.failures);
    tracing::warn!(code = cause.code, message = %cause.message, ?wait, "failed: trying again");
    meter.state(StageState::Waiting, Some(cause.message));
    Next::Again(wait)
}

/// A worker of another version can do it: keeps the event for whoever takes this worker's place, but not for ever.
async fn wait_for_another(shared: &Shared, task: &mut Task, meter: &mut Meter, cause: Cause, number: u32) -> Next {
    let age_ms = shared.doors.clock.now_ms().saturating_sub(task.record.timestamp_ms);
    if Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) >= shared.settings.version_patience {
        tracing::error!(message = %cause.message, "nobody came who can do this: given up");
        let next = give_up(shared, task, &cause, number).await;
        meter.state(StageState::Failed, Some(cause.message));
        return next;
    }
    task.outages += 1;
    clear_attempts_once(shared, task).await;
    let wait = shared.settings.backoff.wait(task.outages);
    tracing::warn!(message = %cause.message, ?wait, "a worker of another version is wanted: waiting for it");
    meter.state(StageState::Waiting, Some(cause.message));
    Next::Again(wait)
}

/// Dead letter, the job's end, and only then the record is finished.
async fn give_up(shared: &Shared, task: &Task, cause: &Cause, attempts: u32) -> Next {
    match bury(shared, task, cause, attempts).await {
        Ok(()) => Next::Finish,
        Err(why) => called_off(shared, task, why).await,
    }
}

async fn bury(shared: &Shared, task: &Task, cause: &Cause, attempts: u32) -> Result<(), Why> {
    let (stage, job) = (&task.station.stage, task.job());
    // A lost partition or a shutdown may interrupt this, and it is done again; the job's own end may not.
    let stops = task.stops.without_job();
    let letter = dead_letter::letter(&task.record, stage.name(), cause.code, &cause.message, attempts, job.hash64());
    append_letter(shared, &stops, &letter).await?;
    metrics::dead_letter(stage.name(), cause.code);
    tracing::error!(code = cause.code, message = %cause.message, attempts, "given up: the event is a dead letter");
    if let Some(record) = stage.without(&task.record.value, cause, shared.doors.clock.now_ms()) {
        append(shared, "say that a result will not come", &stops, vec![record]).await?;
    }
    let holds = if stage.is_required() {
        let now = shared.doors.clock.now_ms();
        let decision = ending::failed(now, stage.name(), cause.code, &cause.message);
        Some(ending::conclude(shared, &stops, job, &decision).await?)
    } else {
        None
    };
    clear_attempts(shared, task, &stops).await?;
    if holds.is_some_and(|holds| holds.outcome == Outcome::Failed) {
        // Nobody needs the rest of the job's work.
        shared.end_job(job, Gone::Failed);
    }
    Ok(())
}

/// Appends a dead letter; one that is too large for the log is kept without its value.
async fn append_letter(shared: &Shared, stops: &Stops, letter: &NewRecord) -> Result<(), Why> {
    const DOING: &str = "append a dead letter";
    let Some(error) = append(shared, DOING, stops, vec![letter.clone()]).await? else { return Ok(()) };
    tracing::warn!(error = chain(&error), "the dead letter is kept without its value, which stays where it is");
    append(shared, DOING, stops, vec![dead_letter::without_value(letter)]).await.map(drop)
}

/// The work ends here for a reason of its own; the attempt, if there was one, ended in good order.
async fn called_off(shared: &Shared, task: &Task, why: Why) -> Next {
    clear_attempts_once(shared, task).await;
    match why {
        Why::Gone(_) => Next::Finish,
        Why::Lost | Why::HandedBack => Next::Leave,
    }
}

async fn clear_attempts(shared: &Shared, task: &Task, stops: &Stops) -> Result<(), Why> {
    if !task.station.stage.is_native() {
        return Ok(());
    }
    let (catalog, key) = (&shared.doors.catalog, task.attempts_key());
    insist("forget attempts", shared.settings.door_backoff, stops, || catalog.clear_attempts(&key)).await
}

/// Where there is no time to insist: a count too high by one does no harm.
async fn clear_attempts_once(shared: &Shared, task: &Task) {
    if task.station.stage.is_native() {
        let key = task.attempts_key();
        let cleared = shared.doors.catalog.clear_attempts(&key);
        if !matches!(timeout(shared.settings.catalog_patience, cleared).await, Ok(Ok(()))) {
            tracing::debug!("attempts are not forgotten: the catalog does not answer");
        }
    }
}

/// The stage cannot go on: it takes no more work, its events wait for somebody else.
fn stop(shared: &Shared, station: &Station, cause: &Cause) {
    tracing::error!(code = cause.code, message = %cause.message, "the stage cannot go on and stops consuming");
    metrics::stage_stopped(station.name(), true);
    shared.status.set(station.name(), StageStatus::Stopped(cause.message.clone()));
    station.closing.cancel();
}

/// A record that nobody can read: a dead letter at once. Its job is unknown, so no job ends.
pub(super) async fn bury_unreadable(
    shared: Arc<Shared>,
    station: Arc<Station>,
    assignment: Arc<Assignment>,
    record: Record,
    error: String,
) {
    let (stage, at) = (station.name(), &record.at);
    tracing::error!(
        stage,
        topic = at.topic,
        partition = at.partition,
        offset = record.offset,
        error,
        "the event cannot be read: it is a dead letter"
    );
    let spread = u64::from(at.partition);
    let letter = dead_letter::letter(&record, stage, "undecodable", &error, 0, spread);
    let stops = Stops::new(&assignment, &shared.hard, None);
    if append_letter(&shared, &stops, &letter).await.is_ok() {
        metrics::dead_letter(stage, "undecodable");
        station.finished(Finished { assignment: Arc::clone(&assignment), offset: record.offset });
    }
}
