//! The catalog: job rows, and beside them the tables that are no projection of the log.
//!
//! Job rows can be wiped and folded from the log again. Decisions, attempts, finished chunks, upload intents, leases
//! and workers cannot: they are facts of their own.

use async_trait::async_trait;
use schemas::JobId;
use schemas::event::{ChunkTranscoded, Failure, Outcome};
use schemas::job::{JobRow, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub mod embedded;
pub mod scylla;

/// A job row with the epoch that compare-and-set compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// Grows by one with each write.
    pub epoch: u64,
    /// The row.
    pub row: JobRow,
}

/// Answer to a compare-and-set.
#[derive(Clone, Debug, PartialEq)]
pub enum Swap {
    /// Written.
    Won,
    /// Somebody else was first; this is what lies there now (absent: nothing).
    Lost(Option<Box<Versioned>>),
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give this back to read on; absent at the end.
    pub next: Option<String>,
}

/// The one end that a job comes to; the first that is proposed wins for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How it ends.
    pub outcome: Outcome,
    /// When it was decided, milliseconds since the Unix epoch.
    pub at: i64,
    /// When it could first be watched.
    pub playable_at: Option<i64>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What a viewer may notice.
    pub warnings: Vec<String>,
}

/// An upload on its way: kept from before its first byte is stored until its event is acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadIntent {
    /// The job that it will become.
    pub job: JobId,
    /// The edge process that receives it.
    pub owner: String,
    /// Last sign of life, milliseconds since the Unix epoch.
    pub touched_at: i64,
    /// The event to publish, once the bytes are durable.
    pub event: Option<schemas::event::UploadReceived>,
}

/// A finished chunk as stitch keeps it, without the sample tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// The event, with `samples` of every rendition empty.
    pub chunk: ChunkTranscoded,
}

/// A worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Name, unique per process.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// Stages it runs, with slots and busy slots.
    pub stages: Vec<(String, u32, u32)>,
    /// What it does right now, in words.
    pub current: Vec<String>,
    /// Busy slots of all slots, 0 to 1.
    #[serde(default)]
    pub load: f64,
    /// When it started, milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Last sign of life, milliseconds since the Unix epoch.
    pub seen_at: i64,
}

/// Why the catalog could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cursor was not made by this catalog.
    #[error("`{0}` is no cursor of this listing")]
    BadCursor(String),
    /// The catalog cannot be opened the way it is set up.
    #[error("{0}")]
    Setup(String),
    /// A stored row cannot be read.
    #[error("read a row of {table}: it is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store behind the catalog failed.
    #[error("{doing} in the catalog")]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The catalog. Every write is durable when it answers.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The row of `job`, tombstones included.
    async fn job(&self, job: JobId) -> Result<Option<Versioned>, Error>;

    /// Writes `row` if the stored epoch is `expected` (absent: if there is no row).
    async fn swap_job(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error>;

    /// Rows newest first, tombstones left out, of one state or of all.
    async fn jobs(&self, state: Option<State>, after: Option<&str>, limit: usize) -> Result<Page<JobRow>, Error>;

    /// Forgets all job rows, so that they can be folded again. Nothing else is touched.
    async fn wipe_jobs(&self) -> Result<(), Error>;

    /// Proposes an end for `job`; answers the decision that holds, which is the first ever proposed.
    async fn decide(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error>;

    /// The decision about `job`, if there is one.
    async fn decision(&self, job: JobId) -> Result<Option<Decision>, Error>;

    /// Keeps a finished chunk; the same chunk twice is one row.
    async fn put_chunk(&self, chunk: &ChunkTranscoded) -> Result<(), Error>;

    /// Finished chunks of `job` in order of index, without sample tables.
    async fn chunks(&self, job: JobId, after: Option<&str>, limit: usize) -> Result<Page<ChunkRow>, Error>;

    /// One finished chunk, whole.
    async fn chunk(&self, job: JobId, index: u32) -> Result<Option<ChunkTranscoded>, Error>;

    /// Forgets what is kept of a deleted job apart from its row: chunks, uploads.
    async fn forget(&self, job: JobId) -> Result<(), Error>;

    /// Counts one more attempt at `work` (a name unique per stage and record) and answers how many there are now.
    async fn count_attempt(&self, work: &str) -> Result<u32, Error>;

    /// Forgets the attempts at `work`.
    async fn clear_attempts(&self, work: &str) -> Result<(), Error>;

    /// Keeps or renews an upload intent.
    async fn put_upload(&self, intent: &UploadIntent) -> Result<(), Error>;

    /// Forgets an upload intent.
    async fn remove_upload(&self, job: JobId) -> Result<(), Error>;

    /// All open upload intents.
    async fn uploads(&self, after: Option<&str>, limit: usize) -> Result<Page<UploadIntent>, Error>;

    /// Takes or renews the lease `name` for `owner` until `until_ms`; answers whether it is ours.
    ///
    /// A lease that ended before `now_ms` can be taken by anybody.
    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error>;

    /// Gives a lease back if it is ours.
    async fn release(&self, name: &str, owner: &str) -> Result<(), Error>;

    /// Remembers that a job's prefix must be removed again at `due_ms`.
    async fn put_removal(&self, job: JobId, due_ms: i64) -> Result<(), Error>;

    /// Jobs whose prefix must be removed at or before `now_ms`.
    async fn due_removals(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>, Error>;

    /// The prefix is removed for the last time.
    async fn clear_removal(&self, job: JobId) -> Result<(), Error>;

    /// Keeps or renews a worker's row.
    async fn put_worker(&self, worker: &WorkerRow) -> Result<(), Error>;

    /// All workers ever seen and not removed.
    async fn workers(&self) -> Result<Vec<WorkerRow>, Error>;

    /// Forgets a worker.
    async fn remove_worker(&self, id: &str) -> Result<(), Error>;

    /// Answers when the catalog can be read and written, or says why not.
    async fn check(&self) -> Result<(), Error>;
}

/// What a cursor names, if this listing could have made it.
fn cursor<T: std::str::FromStr>(after: Option<&str>) -> Result<Option<T>, Error> {
    after.map(|text| text.parse().map_err(|_| Error::BadCursor(text.chars().take(40).collect()))).transpose()
}

/// A page of at most `limit` entries of a listing that holds one more if there is more.
fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

/// A finished chunk as it is stored: the framed value that the log carries, a quarter of the same in JSON.
fn chunk_bytes(chunk: &ChunkTranscoded, doing: &'static str) -> Result<Vec<u8>, Error> {
    schemas::wire::encode(chunk).map_err(|source| Error::Store { doing, source: Box::new(source) })
}

/// A finished chunk without its sample tables.
fn without_tables(chunk: &ChunkTranscoded) -> ChunkTranscoded {
    let mut lean = chunk.clone();
    for rendition in &mut lean.renditions {
        rendition.samples = Vec::new();
    }
    lean
}

/// Reads what [`chunk_bytes`] made.
fn chunk_of(bytes: &[u8], table: &'static str) -> Result<ChunkTranscoded, Error> {
    schemas::wire::decode(bytes).map_err(|source| Error::Damaged { table, source: Box::new(source) })
}

/// Reads a stored row of `table`.
fn from_json<T: DeserializeOwned>(json: &[u8], table: &'static str) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|source| Error::Damaged { table, source: Box::new(source) })
}

/// The row as it is stored.
fn to_json<T: Serialize>(row: &T, doing: &'static str) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(row).map_err(|source| Error::Store { doing, source: Box::new(source) })
}
