//! The sweeper: finishes or removes uploads that a process left half done, says ends that were decided and not said, and lets
//! go of what topics do not keep any longer.

use std::time::Duration;

use connectors::catalog::{Swap, UploadIntent};
use connectors::{Doors, blobs, catalog, log};
use schemas::event::{JobEnded, UploadReceived};
use schemas::job::{JobEvent, JobRow, State};
use schemas::manifest;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::upload::announce::{note, note_key};
use crate::metrics;
use crate::stage::{StageError, chain, record_of};

/// How often the sweeper looks.
const EVERY: Duration = Duration::from_secs(30);

/// An upload of another process that did not move for so long is dead, milliseconds.
const DEAD_AFTER_MS: i64 = 3_600_000;

/// An upload of this process whose event could not be published is tried again after so long, milliseconds.
const RETRY_AFTER_MS: i64 = 15_000;

/// A decision is left to whoever made it for so long, milliseconds.
const SAY_AFTER_MS: i64 = 30_000;

/// How often parts of blobs that nobody finished are looked for: a bucket's server counts each look.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

/// How often the log lets go of old records: often enough for a topic that keeps an hour.
const RETAIN_EVERY: Duration = Duration::from_secs(300);

/// A blob that was begun so long ago and has not ended never will, milliseconds: a day.
const ABANDONED_AFTER_MS: i64 = 24 * 3_600_000;

/// A worker that was not heard of for so long leaves the list, milliseconds.
const FORGET_WORKER_AFTER_MS: i64 = 24 * 3_600_000;

/// Rows read at a time.
const PAGE: usize = 200;

/// Why a sweep stopped; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog failed.
    #[error("sweep the catalog")]
    Catalog(#[from] catalog::Error),
    /// The blob store failed.
    #[error("remove the bytes of a dead upload")]
    Blobs(#[from] blobs::Error),
    /// The log failed.
    #[error("publish an event that was missing")]
    Log(#[from] log::Error),
    /// The event cannot be written at all.
    #[error("publish an event that was missing")]
    Event(#[from] StageError),
}

/// Who sweeps.
#[derive(Clone, Debug)]
pub struct Sweeper {
    /// Name of this process in upload intents.
    pub owner: String,
    /// Whether no other process receives uploads, so that every other owner is dead.
    pub is_alone: bool,
}

impl Sweeper {
    /// Sweeps at once and then every half minute, until `shutdown`.
    pub async fn run(&self, doors: &Doors, shutdown: &CancellationToken) {
        let (mut collected, mut retained): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            if let Err(error) = self.sweep(doors).await {
                metrics::door_failed("sweep");
                tracing::warn!(error = chain(&error), "sweeping stopped; it goes on later");
            }
            if collected.is_none_or(|at| at.elapsed() > COLLECT_EVERY) {
                collected = Some(Instant::now());
                if let Err(error) = collect(doors).await {
                    tracing::warn!(error = chain(&error), "parts of unfinished blobs stay for now");
                }
            }
            if retained.is_none_or(|at| at.elapsed() >= RETAIN_EVERY) {
                retained = Some(Instant::now());
                if let Err(error) = doors.log.enforce_retention().await {
                    metrics::door_failed("drop old records");
                    tracing::warn!(error = chain(&error), "old records stay in the log for now");
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One round.
    pub async fn sweep(&self, doors: &Doors) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let page = doors.catalog.uploads(after.as_deref(), PAGE).await?;
            for intent in page.items {
                if self.is_dead(&intent, doors.clock.now_ms()) {
                    finish_or_remove(doors, intent).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for state in [State::Received, State::Processing] {
            say_ends(doors, state).await?;
        }
        for worker in doors.catalog.workers().await? {
            if doors.clock.now_ms().saturating_sub(worker.seen_at) > FORGET_WORKER_AFTER_MS {
                doors.catalog.remove_worker(&worker.id).await?;
            }
        }
        Ok(())
    }

    fn is_dead(&self, intent: &UploadIntent, now_ms: i64) -> bool {
        let silent_ms = now_ms - intent.touched_at;
        if intent.owner == self.owner {
            // Ours and still arriving is alive however slow it is; ours and stored wants its event.
            intent.event.is_some() && silent_ms > RETRY_AFTER_MS
        } else {
            self.is_alone || silent_ms > DEAD_AFTER_MS
        }
    }
}

/// Gives up blobs of which a crash has left parts that nobody sees, and that are paid for; answers how many.
pub async fn collect(doors: &Doors) -> Result<u64, Error> {
    // Those of uploads that still arrive expire by themselves.
    let growing = super::tus::tidy::growing(doors).await;
    let is_kept = |key: &str| growing.contains(key);
    let given_up = doors.blobs.give_up_unfinished(doors.clock.now_ms() - ABANDONED_AFTER_MS, &is_kept).await?;
    if given_up > 0 {
        tracing::info!(given_up, "gave up blobs that nobody will finish");
    }
    Ok(given_up)
}

async fn finish_or_remove(doors: &Doors, intent: UploadIntent) -> Result<(), Error> {
    let job = intent.job;
    let event = match intent.event {
        Some(event) => Some(event),
        // Stored while the catalog was away, by a process that ended before it was back.
        None => note(doors, job).await?,
    };
    match event {
        Some(event) => {
            publish(doors, event).await?;
            doors.blobs.delete(&note_key(job)).await?;
        }
        None => {
            let blobs = doors.blobs.delete_prefix(&manifest::prefix(job)).await?;
            tracing::info!(%job, blobs, owner = intent.owner, "removed an upload that never came to its end");
        }
    }
    doors.catalog.remove_upload(job).await?;
    Ok(())
}

/// Writes the row and the event of an upload whose bytes are durable, unless they are there.
async fn publish(doors: &Doors, event: UploadReceived) -> Result<(), Error> {
    let job = event.job;
    let found = doors.catalog.job(job).await?;
    match &found {
        // The record projection has seen the event, or the job is gone.
        Some(found) if found.row.deleted || found.row.received.as_ref().is_some_and(|fact| fact.offset.is_some()) => {
            return Ok(());
        }
        Some(_) => {}
        None => {
            let mut row = JobRow::new(job);
            row.apply(JobEvent::Received(event.clone()), None);
            if let Swap::Lost(_) = doors.catalog.swap_job(&row, None).await? {
                tracing::debug!(%job, "somebody else wrote the row");
            }
        }
    }
    doors.log.append(vec![record_of(&event)?]).await?;
    tracing::info!(%job, "published the event of an upload that was left half done");
    Ok(())
}

/// Publishes `job.ended` for jobs whose end is decided and not said.
async fn say_ends(doors: &Doors, state: State) -> Result<(), Error> {
    let mut after: Option<String> = None;
    loop {
        let page = doors.catalog.jobs(Some(state), after.as_deref(), PAGE).await?;
        for row in page.items {
            let Some(decision) = doors.catalog.decision(row.id).await? else { continue };
            if doors.clock.now_ms() - decision.at < SAY_AFTER_MS {
                continue;
            }
            let end = JobEnded {
                job: row.id,
                outcome: decision.outcome,
                at: decision.at,
                playable_at: decision.playable_at,
                error: decision.error,
                warnings: decision.warnings,
            };
            doors.log.append(vec![record_of(&end)?]).await?;
            tracing::info!(job = %row.id, "published the end of a job that was decided and not said");
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
