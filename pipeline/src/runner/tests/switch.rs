//! A catalog that can be switched off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use connectors::catalog::{Catalog, ChunkRow, Decision, Error, Page, Swap, UploadIntent, Versioned, WorkerRow};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};

/// How a catalog is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Is {
    /// It is there.
    Here,
    /// Its address refuses connections.
    Refusing,
    /// Nothing is heard of it until a request has taken too long.
    Silent,
}

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A catalog before another one.
pub struct Switch {
    behind: Arc<dyn Catalog>,
    is: AtomicU8,
}

impl Switch {
    pub fn before(behind: Arc<dyn Catalog>) -> Arc<Self> {
        Arc::new(Self { behind, is: AtomicU8::new(Is::Here as u8) })
    }

    pub fn set(&self, is: Is) {
        self.is.store(is as u8, Ordering::SeqCst);
    }

    /// The catalog, if it is there.
    async fn open(&self) -> Result<&dyn Catalog, Error> {
        let is = self.is.load(Ordering::SeqCst);
        if is == Is::Here as u8 {
            return Ok(&*self.behind);
        }
        if is == Is::Silent as u8 {
            tokio::time::sleep(REQUEST_TIMEOUT).await;
        }
        Err(Error::Store { doing: "anything", source: "the catalog is switched off".into() })
    }
}

#[async_trait]
impl Catalog for Switch {
    async fn job(&self, job: JobId) -> Result<Option<Versioned>, Error> {
        self.open().await?.job(job).await
    }
    async fn swap_job(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error> {
        self.open().await?.swap_job(row, expected).await
    }
    async fn jobs(&self, state: Option<State>, after: Option<&str>, limit: usize) -> Result<Page<JobRow>, Error> {
        self.open().await?.jobs(state, after, limit).await
    }
    async fn wipe_jobs(&self) -> Result<(), Error> {
        self.open().await?.wipe_jobs().await
    }
    async fn decide(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error> {
        self.open().await?.decide(job, proposal).await
    }
    async fn decision(&self, job: JobId) -> Result<Option<Decision>, Error> {
        self.open().await?.decision(job).await
    }
    async fn put_chunk(&self, chunk: &ChunkTranscoded) -> Result<(), Error> {
        self.open().await?.put_chunk(chunk).await
    }
    async fn chunks(&self, job: JobId, after: Option<&str>, limit: usize) -> Result<Page<ChunkRow>, Error> {
        self.open().await?.chunks(job, after, limit).await
    }
    async fn chunk(&self, job: JobId, index: u32) -> Result<Option<ChunkTranscoded>, Error> {
        self.open().await?.chunk(job, index).await
    }
    async fn forget(&self, job: JobId) -> Result<(), Error> {
        self.open().await?.forget(job).await
    }
    async fn count_attempt(&self, work: &str) -> Result<u32, Error> {
        self.open().await?.count_attempt(work).await
    }
    async fn clear_attempts(&self, work: &str) -> Result<(), Error> {
        self.open().await?.clear_attempts(work).await
    }
    async fn put_upload(&self, intent: &UploadIntent) -> Result<(), Error> {
        self.open().await?.put_upload(intent).await
    }
    async fn remove_upload(&self, job: JobId) -> Result<(), Error> {
        self.open().await?.remove_upload(job).await
    }
    async fn uploads(&self, after: Option<&str>, limit: usize) -> Result<Page<UploadIntent>, Error> {
        self.open().await?.uploads(after, limit).await
    }
    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error> {
        self.open().await?.lease(name, owner, now_ms, until_ms).await
    }
    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        self.open().await?.release(name, owner).await
    }
    async fn put_removal(&self, job: JobId, due_ms: i64) -> Result<(), Error> {
        self.open().await?.put_removal(job, due_ms).await
    }
    async fn due_removals(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>, Error> {
        self.open().await?.due_removals(now_ms, limit).await
    }
    async fn clear_removal(&self, job: JobId) -> Result<(), Error> {
        self.open().await?.clear_removal(job).await
    }
    async fn put_worker(&self, worker: &WorkerRow) -> Result<(), Error> {
        self.open().await?.put_worker(worker).await
    }
    async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        self.open().await?.workers().await
    }
    async fn remove_worker(&self, id: &str) -> Result<(), Error> {
        self.open().await?.remove_worker(id).await
    }
    async fn check(&self) -> Result<(), Error> {
        self.open().await?.check().await
    }
}
