//! The one end of a job: the catalog decides, the log is told what holds.

use std::time::Duration;

use connectors::catalog::Decision;
use schemas::JobId;
use schemas::event::{Failure, JobEnded, Outcome};

use super::Shared;
use super::door::insist;
use super::task::{Stops, Why};
use crate::metrics;
use crate::stage::record_of;

/// The event that says how a job ended.
pub(super) fn event(job: JobId, decision: Decision) -> JobEnded {
    JobEnded {
        job,
        outcome: decision.outcome,
        at: decision.at,
        playable_at: decision.playable_at,
        error: decision.error,
        warnings: decision.warnings,
    }
}

/// A decision that the job was cancelled at `at`.
pub(super) fn cancelled(at: i64) -> Decision {
    Decision { outcome: Outcome::Cancelled, at, playable_at: None, error: None, warnings: Vec::new() }
}

/// A decision that the job failed at `at`.
pub(super) fn failed(at: i64, stage: &str, code: &str, message: &str) -> Decision {
    let error = Failure { code: code.to_owned(), stage: stage.to_owned(), message: message.to_owned() };
    Decision { outcome: Outcome::Failed, at, playable_at: None, error: Some(error), warnings: Vec::new() }
}

/// Proposes `decision`; answers the one that holds, which may be another.
pub(super) async fn decide(shared: &Shared, stops: &Stops, job: JobId, decision: &Decision) -> Result<Decision, Why> {
    let (catalog, backoff) = (&shared.doors.catalog, shared.settings.door_backoff);
    let holds = insist("decide a job's end", backoff, stops, || catalog.decide(job, decision)).await?;
    if holds == *decision {
        metrics::job_ended(holds.outcome, since_upload(job, holds.at));
        if let Some(playable_at) = holds.playable_at {
            metrics::job_playable(since_upload(job, playable_at));
        }
        tracing::info!(%job, outcome = ?holds.outcome, error = ?holds.error, "the job has ended");
    } else {
        tracing::info!(%job, proposed = ?decision.outcome, holds = ?holds.outcome, "the job had ended before");
    }
    Ok(holds)
}

/// An id tells when its upload began.
fn since_upload(job: JobId, at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub_unsigned(job.unix_ms())).unwrap_or(0))
}

/// Publishes `job.ended`.
pub(super) async fn publish(shared: &Shared, stops: &Stops, job: JobId, decision: Decision) -> Result<(), Why> {
    let record = match record_of(&event(job, decision)) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(%job, %error, "the end of a job cannot be written as an event");
            return Ok(());
        }
    };
    let (log, backoff) = (&shared.doors.log, shared.settings.door_backoff);
    insist("publish a job's end", backoff, stops, || log.append(vec![record.clone()])).await?;
    Ok(())
}

/// Decides and publishes the decision that holds; answers it.
pub(super) async fn conclude(shared: &Shared, stops: &Stops, job: JobId, decision: &Decision) -> Result<Decision, Why> {
    let holds = decide(shared, stops, job, decision).await?;
    publish(shared, stops, job, holds.clone()).await?;
    Ok(holds)
}
