//! The survey: how unfinished jobs and workers stand, as gauges. Every edge takes it and finds the same.

use std::time::Duration;

use connectors::{Doors, catalog};
use schemas::job::State;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use crate::metrics::{self, Unfinished};
use crate::stage::chain;

/// How often it is taken.
const EVERY: Duration = Duration::from_secs(15);

/// How long one survey may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker that says nothing for so long is history, milliseconds.
const FORGOTTEN_AFTER_MS: i64 = 3_600_000;

/// Rows read at a time.
const PAGE: usize = 200;

/// What a survey found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Jobs whose upload is there and whose work has not begun.
    pub received: Unfinished,
    /// Jobs that are worked on.
    pub processing: Unfinished,
    /// Workers that were heard of just now.
    pub alive: usize,
    /// Workers that fell silent within the last hour.
    pub silent: usize,
}

/// Takes the survey at once and then now and again, until `shutdown`.
///
/// A worker that says nothing for `worker_timeout` has died or hangs.
pub async fn run(doors: &Doors, board: &Board, worker_timeout: Duration, shutdown: &CancellationToken) {
    loop {
        match tokio::time::timeout(PATIENCE, take(doors, board, worker_timeout)).await {
            Ok(Ok(found)) => {
                metrics::unfinished("received", found.received);
                metrics::unfinished("processing", found.processing);
                metrics::workers(found.alive, found.silent);
            }
            // Health and the sweeper say so louder.
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "cannot survey jobs and workers"),
            Err(_) => tracing::debug!("cannot survey jobs and workers: the catalog does not answer"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One survey.
pub async fn take(doors: &Doors, board: &Board, worker_timeout: Duration) -> Result<Findings, catalog::Error> {
    let mut found = Findings {
        received: unfinished(doors, board, State::Received).await?,
        processing: unfinished(doors, board, State::Processing).await?,
        ..Findings::default()
    };
    let now_ms = doors.clock.now_ms();
    let silent_after_ms = i64::try_from(worker_timeout.as_millis()).unwrap_or(i64::MAX);
    for worker in doors.catalog.workers().await? {
        match now_ms - worker.seen_at {
            age if age <= silent_after_ms => found.alive += 1,
            age if age <= FORGOTTEN_AFTER_MS => found.silent += 1,
            _ => {}
        }
    }
    Ok(found)
}

async fn unfinished(doors: &Doors, board: &Board, state: State) -> Result<Unfinished, catalog::Error> {
    let mut found = Unfinished::default();
    let mut after: Option<String> = None;
    loop {
        let page = doors.catalog.jobs(Some(state), after.as_deref(), PAGE).await?;
        let now_ms = doors.clock.now_ms();
        for row in page.items {
            let received_ms = row.received.as_ref().map_or(now_ms, |fact| fact.event.received_at);
            let age = Duration::from_millis(u64::try_from(now_ms - received_ms).unwrap_or(0));
            found.jobs += 1;
            found.oldest = found.oldest.max(age);
            // What the board has forgotten was silent for longer than it remembers.
            found.silence = found.silence.max(board.silence(row.id).unwrap_or(age));
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}
