//! Watches for jobs that nobody wants any more: cancelled, deleted, or failed at another worker.

use std::sync::Arc;

use connectors::log::{self, Reader, Record, Tailed};
use schemas::event::{CancelRequested, JobDeleted, JobEnded, Outcome};
use schemas::{Event, JobId, wire};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::door::{chain, insist};
use super::jobs::Gone;
use super::task::{Assignment, Stops, Why};
use super::{Shared, ending, sweep_up};
use crate::metrics;

const TOPICS: [&str; 3] = [CancelRequested::TOPIC, JobDeleted::TOPIC, JobEnded::TOPIC];

/// What one record says.
enum Wish {
    Cancel(CancelRequested),
    Delete(JobDeleted),
    Failed(JobId),
}

impl Wish {
    fn read(record: &Record) -> Option<Self> {
        let wish = match record.at.topic.as_str() {
            CancelRequested::TOPIC => wire::decode(&record.value).map(|event| Some(Self::Cancel(event))),
            JobDeleted::TOPIC => wire::decode(&record.value).map(|event| Some(Self::Delete(event))),
            _ => wire::decode(&record.value).map(|event: JobEnded| match event.outcome {
                Outcome::Failed => Some(Self::Failed(event.job)),
                Outcome::Ready | Outcome::Cancelled => None,
            }),
        };
        wish.unwrap_or_else(|error| {
            tracing::error!(at = ?record.at, offset = record.offset, %error, "a record that steers jobs cannot be read");
            None
        })
    }
}

/// Reads wishes from a little while ago on, so that one which a dying worker had not carried out is found again.
pub(super) async fn open(shared: &Shared, shutdown: &CancellationToken) -> Option<Box<dyn Reader>> {
    let lookback = i64::try_from(shared.settings.cancel_lookback.as_millis()).unwrap_or(i64::MAX);
    let from = shared.doors.clock.now_ms().saturating_sub(lookback);
    let mut failures = 0;
    loop {
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            opened = shared.doors.log.tail(&TOPICS, log::From::Time(from)) => opened,
        };
        let error = match opened {
            Ok(reader) => return Some(reader),
            Err(error) => error,
        };
        failures += 1;
        metrics::door_failed("watch for cancelled jobs");
        tracing::warn!(failures, error = chain(&error), "cannot watch for cancelled jobs: trying again");
        tokio::select! {
            biased;
            () = sleep(shared.settings.door_backoff.wait(failures)) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Carries wishes out until `over`.
pub(super) async fn run(shared: Arc<Shared>, reader: Box<dyn Reader>, over: CancellationToken) {
    // What must be decided waits for the catalog; what must stop does not, so reading goes on meanwhile.
    let (wishes, waiting) = mpsc::unbounded_channel();
    tokio::join!(hear(&shared, reader, wishes, &over), carry_all_out(&shared, waiting, &over));
}

/// Carries out what is heard, in order.
async fn carry_all_out(shared: &Shared, mut waiting: mpsc::UnboundedReceiver<(Wish, bool)>, over: &CancellationToken) {
    // No partition is behind this work, so none can be lost.
    let nowhere = log::TopicPartition { topic: String::new(), partition: 0 };
    let stops = Stops::new(&Assignment { at: nowhere, lost: CancellationToken::new() }, over, None);
    while let Some((wish, live)) = waiting.recv().await {
        if carry_out(shared, &stops, wish, live).await.is_err() {
            return;
        }
    }
}

/// Reads wishes and stops the work that nobody wants any more; ends at `over`.
async fn hear(
    shared: &Shared,
    mut reader: Box<dyn Reader>,
    heard: mpsc::UnboundedSender<(Wish, bool)>,
    over: &CancellationToken,
) {
    let (mut live, mut failures) = (false, 0);
    loop {
        let read = tokio::select! {
            biased;
            () = over.cancelled() => return,
            read = reader.next() => read,
        };
        match read {
            Ok(Tailed::CaughtUp) => live = true,
            Ok(Tailed::Records(records)) => {
                failures = 0;
                for wish in records.iter().filter_map(Wish::read) {
                    match &wish {
                        // The job may have ended well before; what only adds to it is then still wanted.
                        Wish::Cancel(event) => shared.end_required(event.job, Gone::Cancelled),
                        Wish::Delete(event) => shared.end_job(event.job, Gone::Deleted),
                        Wish::Failed(job) => shared.end_job(*job, Gone::Failed),
                    }
                    // Refused only when both end.
                    let _ = heard.send((wish, live));
                }
            }
            Err(error) => {
                failures += 1;
                metrics::door_failed("watch for cancelled jobs");
                tracing::warn!(failures, error = chain(&error), "cannot watch for cancelled jobs: trying again");
                tokio::select! {
                    biased;
                    () = sleep(shared.settings.door_backoff.wait(failures)) => {}
                    () = over.cancelled() => return,
                }
                if matches!(error, log::Error::Closed) {
                    match open(shared, over).await {
                        Some(again) => reader = again,
                        None => return,
                    }
                }
            }
        }
    }
}

async fn carry_out(shared: &Shared, stops: &Stops, wish: Wish, live: bool) -> Result<(), Why> {
    match wish {
        Wish::Cancel(CancelRequested { job, at }) => {
            let holds = ending::decide(shared, stops, job, &ending::cancelled(at)).await?;
            if holds.outcome == Outcome::Cancelled {
                shared.end_job(job, Gone::Cancelled);
                sweep_up::forget(shared, job).await;
                if live || !is_said(shared, stops, job).await? {
                    ending::publish(shared, stops, job, holds).await?;
                }
            }
        }
        // Decided as well, so that no worker starts on it before the row is gone; nobody is left to be told.
        Wish::Delete(JobDeleted { job, at }) => {
            ending::decide(shared, stops, job, &ending::cancelled(at)).await?;
            sweep_up::forget(shared, job).await;
        }
        Wish::Failed(_) => {}
    }
    Ok(())
}

/// Whether the job's row knows an end already.
async fn is_said(shared: &Shared, stops: &Stops, job: JobId) -> Result<bool, Why> {
    let (catalog, backoff) = (&shared.doors.catalog, shared.settings.door_backoff);
    let row = insist("read a job's row", backoff, stops, || catalog.job(job)).await?;
    Ok(row.is_some_and(|found| found.row.deleted || found.row.ended.is_some()))
}
