//! Uploads that nobody finishes: those that expire, and those that were complete when a process ended.

use std::collections::HashSet;
use std::time::Duration;

use connectors::{Doors, blobs};
use schemas::JobId;
use tokio::time::Instant;

use super::record::{ROOMS, Record, room};
use crate::edge::Edge;
use crate::edge::problem::Problem;
use crate::stage::chain;

/// How often it is looked, where looking costs next to nothing and where each look at a bucket is paid for.
const EVERY: Duration = Duration::from_secs(10);
const EVERY_OF_BUCKET: Duration = Duration::from_secs(120);

/// An upload is no earlier dead than so long after its record was to expire, milliseconds: clocks differ.
const GRACE_MS: i64 = 1_000;

impl Edge {
    /// Looks at once and then again and again, until the shutdown.
    pub(in crate::edge) async fn tidy_uploads(&self) {
        let every = if self.doors.blobs.uri().starts_with("s3:") { EVERY_OF_BUCKET } else { EVERY };
        let every = every.min(self.settings.upload_expiry);
        loop {
            let began = Instant::now();
            if let Err(problem) = self.tidy_uploads_once().await {
                tracing::warn!(error = problem.detail, "uploads that nobody finishes stay for now");
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep_until(began + every) => {}
            }
        }
    }

    /// One round.
    pub async fn tidy_uploads_once(&self) -> Result<(), Problem> {
        for id in arriving(&self.doors).await? {
            if let Err(problem) = self.tidy_upload(id).await {
                tracing::debug!(upload = %id, error = problem.detail, "an upload is left as it is for now");
            }
        }
        Ok(())
    }

    async fn tidy_upload(&self, id: JobId) -> Result<(), Problem> {
        let record = match Record::load(&self.doors, id).await {
            Ok(record) => record,
            // Begun this moment, or a crash came between the first blob and the record; the latter is old.
            Err(blobs::Error::NotFound(_)) => return self.remove_remains(id).await,
            Err(error) => return Err(error.into()),
        };
        let grown = match self.doors.blobs.grown(&record.growing).await {
            Ok(grown) => grown,
            // The blob is gone, and so is the sense of the record.
            Err(blobs::Error::NotFound(_)) => {
                self.clear_room(&record).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let is_expired = self.doors.clock.now_ms() > record.expires_at + GRACE_MS;
        if record.length != Some(grown) && !is_expired {
            return Ok(());
        }
        // Whoever still sends to it, or completes it, is left alone.
        let Ok(lock) = self.lock(id).await else { return Ok(()) };
        if self.is_job(id).await? {
            self.clear_room(&record).await;
        } else if record.length == Some(grown) {
            tracing::info!(upload = %id, "completing an upload whose last bytes came before a process ended");
            let claim = match self.doors.blobs.head(&record.growing.key).await {
                Ok(_) => self.doors.blobs.claimed(&record.growing.key).await?,
                Err(blobs::Error::NotFound(_)) => {
                    let appender = self.doors.blobs.appender(&record.growing, self.sums.take(id)).await?;
                    appender.finish(&self.doors.blobs, &record.growing).await?
                }
                Err(error) => return Err(error.into()),
            };
            self.announce_upload(&record, claim).await?;
        } else {
            self.sums.forget(id);
            self.doors.blobs.give_up_growing(&record.growing).await?;
            tracing::info!(upload = %id, bytes = grown, "an upload has expired");
        }
        lock.release().await;
        Ok(())
    }

    /// Removes a folder without a record, once it is as old as an upload may get.
    async fn remove_remains(&self, id: JobId) -> Result<(), Problem> {
        let began_ms = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX);
        if self.doors.clock.now_ms() > began_ms.saturating_add(self.expiry_ms()) {
            self.doors.blobs.delete_prefix(&room(id)).await?;
        }
        Ok(())
    }
}

/// Uploads of which something is there.
async fn arriving(doors: &Doors) -> Result<HashSet<JobId>, blobs::Error> {
    let found = doors.blobs.list(ROOMS).await?;
    let ids = found.iter().filter_map(|meta| meta.key.strip_prefix(ROOMS)?.split('/').next()?.parse().ok());
    Ok(ids.collect())
}

/// Keys of blobs that still grow: their parts in a bucket are not forgotten ones.
pub(in crate::edge) async fn growing(doors: &Doors) -> HashSet<String> {
    let ids = arriving(doors).await.unwrap_or_else(|error| {
        tracing::debug!(error = chain(&error), "uploads cannot be listed");
        HashSet::new()
    });
    let mut keys = HashSet::new();
    for id in ids {
        if let Ok(record) = Record::load(doors, id).await {
            keys.insert(record.growing.key);
        }
    }
    keys
}
