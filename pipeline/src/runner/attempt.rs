//! One attempt: a deadline, a way to call it off, and a wall against panics.

use std::any::Any;
use std::sync::Arc;

use connectors::catalog::Decision;
use connectors::log::NewRecord;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Shared;
use super::progress::Meter;
use super::task::{Task, Why};
use crate::metrics;
use crate::stage::{Context, StageError};

/// How an attempt ended.
pub(super) enum End {
    /// The stage did its work.
    Done { records: Vec<NewRecord>, conclusion: Option<Decision> },
    /// It failed, ran past its deadline, or panicked.
    Failed(StageError),
    /// It was called off; whatever it answered after that is dropped.
    CalledOff(Why),
}

/// The attempt as it runs; it does not outlive whoever waits for it.
type Attempted = AbortOnDropHandle<Result<Vec<NewRecord>, StageError>>;

enum Verdict {
    Over(Result<Result<Vec<NewRecord>, StageError>, tokio::task::JoinError>),
    CalledOff(Why),
    Late,
}

/// Runs one attempt to its end, whatever that is.
pub(super) async fn run(shared: &Shared, task: &Task, number: u32, meter: &mut Meter) -> End {
    let cancel = shared.hard.child_token();
    // Whatever way this function is left, the stage hears that nobody waits any more.
    let _told = cancel.clone().drop_guard();
    let (reports, mut heard) = mpsc::unbounded_channel();
    let worker = Arc::clone(&shared.settings.worker);
    let cx = Context::new(shared.doors.clone(), cancel.clone(), task.job(), number, worker, reports);
    let cx = Arc::new(cx);
    let mut running = {
        let (work, cx) = (Arc::clone(&task.work), Arc::clone(&cx));
        // A task of its own, so that a panic ends the attempt and nothing else. Even making the future may panic.
        AbortOnDropHandle::new(tokio::spawn(async move { work.run(cx).await }.in_current_span()))
    };
    let deadline = sleep(task.work.deadline);
    tokio::pin!(deadline);
    let verdict = loop {
        let due = meter.due();
        tokio::select! {
            biased;
            why = task.stops.any() => break Verdict::CalledOff(why),
            result = &mut running => break Verdict::Over(result),
            () = &mut deadline => break Verdict::Late,
            Some(report) = heard.recv() => meter.hear(&report),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => meter.say(),
        }
    };
    while let Ok(report) = heard.try_recv() {
        meter.hear(&report);
    }
    match verdict {
        Verdict::Over(result) => {
            // A stage that noticed first why it is called off may answer anything.
            if let Some(why) = task.stops.now() {
                refuse(task, why, matches!(result, Ok(Ok(_))));
                return End::CalledOff(why);
            }
            match result {
                Ok(Ok(records)) => End::Done { records, conclusion: cx.conclusion() },
                Ok(Err(error)) => End::Failed(error),
                Err(error) => End::Failed(StageError::retry("panic", panic_message(error))),
            }
        }
        Verdict::CalledOff(why) => {
            let answered = wind_down(shared, &cancel, &mut running).await;
            refuse(task, why, answered);
            End::CalledOff(why)
        }
        Verdict::Late => {
            let answered = wind_down(shared, &cancel, &mut running).await;
            // The way out of work may have taken so long that other things have changed meanwhile.
            if let Some(why) = task.stops.now() {
                refuse(task, why, answered);
                return End::CalledOff(why);
            }
            let message = format!("one attempt may take {:?} and took longer", task.work.deadline);
            End::Failed(StageError::retry("deadline_exceeded", message))
        }
    }
}

/// Tells the stage to stop and gives it a moment; answers whether it came with a result all the same.
async fn wind_down(shared: &Shared, cancel: &CancellationToken, running: &mut Attempted) -> bool {
    cancel.cancel();
    match timeout(shared.settings.settle, running).await {
        Ok(result) => matches!(result, Ok(Ok(_))),
        Err(_) => {
            tracing::warn!("the stage does not react to being called off: its attempt is dropped");
            false
        }
    }
}

/// Says that a result is not published.
pub(super) fn refuse(task: &Task, why: Why, answered: bool) {
    let word = match why {
        Why::Lost => "lost",
        Why::Gone(_) => "gone",
        Why::HandedBack => "handed_back",
    };
    if answered {
        metrics::result_refused(task.station.name(), word);
    }
    match why {
        Why::Lost if answered => tracing::warn!("late result refused: the partition belongs to another worker"),
        Why::Lost => tracing::info!("work called off: the partition belongs to another worker"),
        Why::Gone(gone) if answered => tracing::warn!(?gone, "late result refused: nobody wants the job any more"),
        Why::Gone(gone) => tracing::info!(?gone, "work called off: nobody wants the job any more"),
        Why::HandedBack => tracing::info!("work handed back: shutting down"),
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => panic_text(payload.as_ref()),
        Err(_) => "the attempt was aborted from outside".to_owned(),
    }
}

/// What a stage said when it panicked.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the stage panicked: {}", text.unwrap_or("no message"))
}
