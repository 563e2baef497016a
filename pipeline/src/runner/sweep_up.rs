//! What an attempt may have left behind that was called off because nobody wants its job any more.
//!
//! Whoever ends a job removes its bytes, but an attempt may have been about to give a blob its name just then. The worker
//! knows that its own attempt is over, so it looks once more. A worker that dies before that is covered by the second
//! removal, after the longest lease.

use schemas::JobId;
use schemas::event::Outcome;
use schemas::{ledger, manifest};
use tokio::time::timeout;

use super::Shared;
use super::door::chain;
use super::jobs::Gone;

/// Removes what is left of `job`, when it is sure that nothing of it is wanted.
pub(super) async fn after(shared: &Shared, job: JobId, gone: Gone) {
    match timeout(shared.settings.settle, remove(shared, job, gone)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(blobs)) => tracing::info!(%job, blobs, "removed what called-off work had left"),
        Ok(Err(error)) => tracing::debug!(%job, error, "what called-off work has left goes with the second removal"),
        Err(_) => tracing::debug!(%job, "what called-off work has left goes with the second removal: no answer"),
    }
}

async fn remove(shared: &Shared, job: JobId, gone: Gone) -> Result<u64, String> {
    let (catalog, blobs, prefix) = (&shared.doors.catalog, &shared.doors.blobs, manifest::prefix(job));
    let mut is_failed = false;
    if gone != Gone::Deleted {
        // A wish to cancel may come after the end: only what is decided counts.
        let decision = catalog.decision(job).await.map_err(|error| chain(&error))?;
        match decision.map(|decision| decision.outcome) {
            Some(Outcome::Failed) => is_failed = true,
            Some(Outcome::Cancelled) => {}
            Some(Outcome::Ready) | None => return Ok(0),
        }
    }
    forget(shared, job).await;
    let removed = match is_failed {
        true => blobs.delete_prefix_but(&prefix, &ledger::kept_of_failed(job)).await,
        false => blobs.delete_prefix(&prefix).await,
    };
    removed.map_err(|error| chain(&error))
}

/// Removes what this machine has of the upload; what lies in the store has nothing to do with it.
pub(super) async fn forget(shared: &Shared, job: JobId) {
    if let Err(error) = shared.doors.blobs.forget(&manifest::source_key(job)).await {
        tracing::warn!(%job, error = chain(&error), "the copy of its upload stays until there is need for its room");
    }
}
