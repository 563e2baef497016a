//! Manifests as the edge reads them: the final one is kept in memory, the growing one is read each time.
//!
//! Whoever hears that a job is ready asks for its files at once; a growing manifest that is remembered even for a moment
//! would then refuse them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use connectors::{Blobs, blobs};
use schemas::JobId;
use schemas::manifest::{self, Manifest};

/// Most manifests in memory; a manifest of a two-hour film is a few hundred kilobytes.
const CAPACITY: usize = 128;

/// Reads manifests, and remembers the last ones.
pub struct Manifests {
    blobs: Blobs,
    kept: Mutex<HashMap<JobId, Kept>>,
}

struct Kept {
    manifest: Arc<Manifest>,
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
            return Ok(Some(known));
        }
        // The growing one goes away when the final one is there: whoever looks in between looks again.
        let mut found = None;
        for key in [manifest::key(job), manifest::live_key(job), manifest::key(job)] {
            found = self.read(job, &key).await?.map(Arc::new);
            if found.is_some() {
                break;
            }
        }
        if let Some(whole) = found.as_ref().filter(|manifest| manifest.complete) {
            self.remember(job, Arc::clone(whole));
        }
        Ok(found)
    }

    /// Drops what is remembered of `job`.
    pub fn forget(&self, job: JobId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    fn remembered(&self, job: JobId) -> Option<Arc<Manifest>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.get_mut(&job)?;
        entry.used_at = Instant::now();
        Some(Arc::clone(&entry.manifest))
    }

    fn remember(&self, job: JobId, manifest: Arc<Manifest>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CAPACITY
            && !kept.contains_key(&job)
            && let Some(oldest) = kept.iter().min_by_key(|(_, entry)| entry.used_at).map(|(job, _)| *job)
        {
            kept.remove(&oldest);
        }
        kept.insert(job, Kept { manifest, used_at: Instant::now() });
    }

    async fn read(&self, job: JobId, key: &str) -> Result<Option<Manifest>, Error> {
        match self.blobs.read(key).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Damaged { job, source }),
            Err(blobs::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(job: JobId, complete: bool) -> Vec<u8> {
        let manifest = Manifest { job, complete, playable_at: 0, written_at: 0, renditions: Vec::new(), audio: None };
        serde_json::to_vec(&manifest).unwrap()
    }

    #[tokio::test]
    async fn a_final_manifest_shows_at_once() {
        let blobs = Blobs::in_memory();
        let manifests = Manifests::new(blobs.clone());
        let job = JobId::from_parts(1, 1);
        assert!(manifests.of(job).await.unwrap().is_none());
        blobs.put(&manifest::live_key(job), written(job, false).into()).await.unwrap();
        assert!(!manifests.of(job).await.unwrap().unwrap().complete);
        blobs.put(&manifest::key(job), written(job, true).into()).await.unwrap();
        assert!(manifests.of(job).await.unwrap().unwrap().complete);
    }
}
