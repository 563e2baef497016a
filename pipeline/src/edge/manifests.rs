//! Manifests as the edge reads them: the final one kept in memory, the growing one only for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connectors::{Blobs, blobs};
use schemas::JobId;
use schemas::manifest::{self, Manifest};

/// Most manifests in memory; a manifest of a two-hour film is a few hundred kilobytes.
const CAPACITY: usize = 128;

/// How long a growing manifest, or the absence of any, is believed without asking again.
const FRESH_FOR: Duration = Duration::from_millis(300);

/// Reads manifests, and remembers the last ones.
pub struct Manifests {
    blobs: Blobs,
    kept: Mutex<HashMap<JobId, Kept>>,
}

struct Kept {
    manifest: Option<Arc<Manifest>>,
    read_at: Instant,
    used_at: Instant,
}

/// Why there is no manifest to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The blob store does not answer.
    #[error("read the manifest of a job")]
    Blobs(#[from] blobs::Error),
    /// What lies there is no manifest.
    #[error("the manifest of job {job} is damaged")]
    Damaged {
        /// The job.
        job: JobId,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Manifests {
    /// Manifests that lie in `blobs`.
    pub fn new(blobs: Blobs) -> Self {
        Self { blobs, kept: Mutex::new(HashMap::new()) }
    }

    /// The newest manifest of `job`; absent when nothing of it can be played.
    pub async fn of(&self, job: JobId) -> Result<Option<Arc<Manifest>>, Error> {
        if let Some(known) = self.remembered(job) {
            return Ok(known);
        }
        // The growing one goes away when the final one is there: whoever looks in between looks again.
        let mut found = None;
        for key in [manifest::key(job), manifest::live_key(job), manifest::key(job)] {
            found = self.read(job, &key).await?.map(Arc::new);
            if found.is_some() {
                break;
            }
        }
        self.remember(job, found.clone());
        Ok(found)
    }

    /// Drops what is remembered of `job`.
    pub fn forget(&self, job: JobId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    fn remembered(&self, job: JobId) -> Option<Option<Arc<Manifest>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.get_mut(&job)?;
        let is_final = entry.manifest.as_ref().is_some_and(|manifest| manifest.complete);
        if !is_final && entry.read_at.elapsed() > FRESH_FOR {
            return None;
        }
        entry.used_at = Instant::now();
        Some(entry.manifest.clone())
    }

    fn remember(&self, job: JobId, manifest: Option<Arc<Manifest>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CAPACITY
            && !kept.contains_key(&job)
            && let Some(oldest) = kept.iter().min_by_key(|(_, entry)| entry.used_at).map(|(job, _)| *job)
        {
            kept.remove(&oldest);
        }
        let now = Instant::now();
        kept.insert(job, Kept { manifest, read_at: now, used_at: now });
    }

    async fn read(&self, job: JobId, key: &str) -> Result<Option<Manifest>, Error> {
        match self.blobs.read(key).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Damaged { job, source }),
            Err(blobs::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
