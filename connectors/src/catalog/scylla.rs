//! The catalog on ScyllaDB or Apache Cassandra: many processes share one keyspace.
//!
//! What must not happen twice moves by conditional writes; one that gets no answer is settled by a read that waits for what
//! is under way. Everything else is an upsert that may run twice. No statement reads more than partitions that it names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};
use scylla::client::session::Session;
use tokio::time::{Instant, timeout};

use crate::catalog::{
    Catalog, ChunkRow, Decision, Error, Page, Swap, UploadIntent, Versioned, WorkerRow, chunk_bytes, chunk_of, cursor,
    from_json, page, to_json, without_tables,
};
use crate::clock::{Clock, SystemClock};

mod claims;
mod connect;
mod cql;
mod days;
mod jobs;
mod migrate;
mod statements;

use cql::{Cql, failed};
use days::{Direction, REMOVALS, UPLOADS, day, day_of};
use migrate::Tables;

/// How long an answer may take before a request counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long finding the cluster may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);
/// How long it may take to say that the catalog works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// The partition of the small tables that are read as a whole.
const SHARD: i32 = 0;
/// Partitions that probes go to, so that a check asks more than one node in the end.
const PROBES: i32 = 16;

/// Where the cluster is, and how this process uses it.
#[derive(Clone)]
pub struct Settings {
    /// Nodes to ask first, as `host` or `host:port`; the others are found through them.
    pub nodes: Vec<String>,
    /// The keyspace; it is made if it is missing. Lower-case letters, digits and `_`, at most 48.
    pub keyspace: String,
    /// Who asks, where the cluster wants to know.
    pub user: Option<String>,
    /// The user's password; never shown.
    pub password: Option<String>,
    /// Copies of each row per datacenter when the keyspace is made; absent: three, or one a node where there are fewer.
    pub replication: Option<u32>,
    /// The datacenter whose nodes are asked first.
    pub local_datacenter: Option<String>,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long finding the cluster may take.
    pub connect_timeout: Duration,
}

impl Settings {
    /// The usual settings for `keyspace` on `nodes`.
    pub fn new(nodes: Vec<String>, keyspace: &str) -> Self {
        Self {
            nodes,
            keyspace: keyspace.to_owned(),
            user: None,
            password: None,
            replication: None,
            local_datacenter: None,
            request_timeout: REQUEST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("replication", &self.replication)
            .field("local_datacenter", &self.local_datacenter)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// The catalog on a cluster.
pub struct Scylla {
    cql: Cql,
    clock: Arc<dyn Clock>,
    marked: days::Marked,
    pending: claims::Pending,
}

/// Connects, makes or changes keyspace and tables where that is needed, and answers the catalog.
///
/// Fails with [`Error::Setup`] and a sentence when no node answers, the user is refused, the keyspace cannot be used, or its
/// tables were made by a newer program.
pub async fn open(settings: Settings) -> Result<Scylla, Error> {
    open_on(settings, Arc::new(SystemClock)).await
}

/// Whether the catalog can be used as it is; false: it answers, and keyspace or tables are made when it is opened. Changes
/// nothing. Fails as [`open`] does.
pub async fn is_made(settings: &Settings) -> Result<bool, Error> {
    check_name(&settings.keyspace)?;
    let (_, tables) = reach(settings, &connect::Profiles::new(settings)).await?;
    Ok(tables == Tables::Current)
}

/// Connects and looks at the tables. A node that can be connected to and answers no statement is told as soon as one that
/// does not answer at all.
async fn reach(settings: &Settings, profiles: &connect::Profiles) -> Result<(Session, Tables), Error> {
    let begun = Instant::now();
    let session = connect::connect(settings, profiles).await?;
    let left = settings.connect_timeout.saturating_sub(begun.elapsed());
    match timeout(left, Box::pin(migrate::look(&session, settings))).await {
        Ok(tables) => Ok((session, tables?)),
        Err(_) => {
            let (nodes, limit) = (settings.nodes.join(", "), settings.connect_timeout);
            Err(Error::Setup(format!(
                "no node of {nodes} answers statements within {limit:?}: too few are up, or too busy"
            )))
        }
    }
}

/// Refuses what is no name for a keyspace.
fn check_name(name: &str) -> Result<(), Error> {
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 48
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_name {
        return Ok(());
    }
    Err(Error::Setup(format!(
        "`{name}` is no name for a keyspace: use up to 48 lower-case letters, digits and `_`, a letter first"
    )))
}

/// Like [`open`], with time that tests can move. Time only says what is old enough to be swept.
pub async fn open_on(settings: Settings, clock: Arc<dyn Clock>) -> Result<Scylla, Error> {
    check_name(&settings.keyspace)?;
    let profiles = connect::Profiles::new(&settings);
    let (session, tables) = reach(&settings, &profiles).await?;
    if tables == Tables::Current {
        migrate::agreed(&session, &settings).await?;
    } else {
        let me = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
        Box::pin(migrate::migrate(&session, &settings, &*clock, &me)).await?;
    }
    let setup = |error: &(dyn std::error::Error + 'static)| {
        Error::Setup(format!("keyspace `{}` cannot be used: {}", settings.keyspace, cql::told(error)))
    };
    // How the keyspace is spread over the nodes is known from here on: requests go to where the rows are.
    session.refresh_metadata().await.map_err(|error| setup(&error))?;
    let statements = Box::pin(statements::Statements::prepare(&session, &profiles, &settings.keyspace));
    let statements = statements.await.map_err(|error| setup(&error))?;
    Ok(Scylla {
        cql: Cql::new(session, statements, settings.request_timeout),
        clock,
        marked: days::Marked::default(),
        pending: claims::Pending::default(),
    })
}

/// JSON as a column of text.
fn text<T: serde::Serialize>(row: &T, doing: &'static str) -> Result<String, Error> {
    String::from_utf8(to_json(row, doing)?).map_err(|error| failed(doing, error.to_string()))
}

#[async_trait]
impl Catalog for Scylla {
    async fn job(&self, job: JobId) -> Result<Option<Versioned>, Error> {
        self.read_job(job).await
    }

    async fn swap_job(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error> {
        self.swap(row, expected).await
    }

    async fn jobs(&self, state: Option<State>, after: Option<&str>, limit: usize) -> Result<Page<JobRow>, Error> {
        self.list(state, cursor(after)?, limit).await
    }

    async fn wipe_jobs(&self) -> Result<(), Error> {
        self.wipe().await
    }

    async fn decide(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error> {
        self.make_decision(job, proposal).await
    }

    async fn decision(&self, job: JobId) -> Result<Option<Decision>, Error> {
        self.read_decision(job).await
    }

    async fn put_chunk(&self, chunk: &ChunkTranscoded) -> Result<(), Error> {
        const DOING: &str = "keep a finished chunk";
        let (whole, lean) = (chunk_bytes(chunk, DOING)?, chunk_bytes(&without_tables(chunk), DOING)?);
        let (id, number, statements) = (chunk.job.to_string(), i64::from(chunk.index), &self.cql.statements);
        // Whoever finds a chunk in the list finds it whole as well.
        self.cql.write(DOING, &statements.put_whole_chunk, (id.as_str(), number, whole)).await?;
        self.cql.write(DOING, &statements.put_chunk, (id.as_str(), number, lean)).await
    }

    async fn chunks(&self, job: JobId, after: Option<&str>, limit: usize) -> Result<Page<ChunkRow>, Error> {
        let after: Option<u32> = cursor(after)?;
        let limit = limit.max(1);
        let from = (job.to_string(), after.map_or(-1, i64::from));
        let rows = self.cql.rows("list finished chunks", &self.cql.statements.chunks, from).await?;
        let mut rows = rows.take(limit + 1);
        let mut chunks = Vec::new();
        while let Some((body,)) = rows.try_next().await? {
            let body: Vec<u8> = body;
            chunks.push(ChunkRow { chunk: chunk_of(&body, "chunks")? });
        }
        Ok(page(chunks, limit, |row| row.chunk.index.to_string()))
    }

    async fn chunk(&self, job: JobId, index: u32) -> Result<Option<ChunkTranscoded>, Error> {
        let key = (job.to_string(), i64::from(index));
        let found = self.cql.row("read a finished chunk", &self.cql.statements.whole_chunk, key).await?;
        found.map(|(body,): (Vec<u8>,)| chunk_of(&body, "whole_chunks")).transpose()
    }

    async fn forget(&self, job: JobId) -> Result<(), Error> {
        const DOING: &str = "forget a deleted job";
        let (id, statements) = (job.to_string(), &self.cql.statements);
        self.cql.write(DOING, &statements.drop_chunks, (id.as_str(),)).await?;
        self.cql.write(DOING, &statements.drop_whole_chunks, (id.as_str(),)).await?;
        self.cql.write(DOING, &statements.drop_upload, (day_of(job), id.as_str())).await
    }

    async fn count_attempt(&self, work: &str) -> Result<u32, Error> {
        self.count(work).await
    }

    async fn clear_attempts(&self, work: &str) -> Result<(), Error> {
        self.forget_attempts(work).await
    }

    async fn put_upload(&self, intent: &UploadIntent) -> Result<(), Error> {
        const DOING: &str = "keep an upload";
        let (id, body) = (intent.job.to_string(), text(intent, DOING)?);
        self.mark(UPLOADS, day_of(intent.job)).await?;
        self.cql.write(DOING, &self.cql.statements.put_upload, (day_of(intent.job), id, body)).await
    }

    async fn remove_upload(&self, job: JobId) -> Result<(), Error> {
        let key = (day_of(job), job.to_string());
        self.cql.write("forget an upload", &self.cql.statements.drop_upload, key).await
    }

    async fn uploads(&self, after: Option<&str>, limit: usize) -> Result<Page<UploadIntent>, Error> {
        const DOING: &str = "list uploads";
        let after: Option<JobId> = cursor(after)?;
        let limit = limit.max(1);
        let (oldest, above) = after.map_or((i64::MIN, String::new()), |job| (day_of(job), job.to_string()));
        let mut open = Vec::new();
        let mut days = self.days(UPLOADS, Direction::Up(oldest)).await?;
        while let Some((day, marks)) = days.next().await? {
            let mut rows = self.cql.rows(DOING, &self.cql.statements.uploads_above, (day, above.as_str())).await?;
            let before = open.len();
            while let Some((body,)) = rows.try_next().await? {
                let body: String = body;
                open.push(from_json(body.as_bytes(), "uploads")?);
                if open.len() > limit {
                    return Ok(page(open, limit, |intent: &UploadIntent| intent.job.to_string()));
                }
            }
            if open.len() == before && (after.is_none() || day > oldest) {
                self.sweep_day(UPLOADS, day, marks).await;
            }
        }
        Ok(page(open, limit, |intent| intent.job.to_string()))
    }

    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error> {
        self.take_lease(name, owner, now_ms, until_ms).await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        self.give_lease_back(name, owner).await
    }

    async fn put_removal(&self, job: JobId, due_ms: i64) -> Result<(), Error> {
        const DOING: &str = "plan a removal";
        let (id, write, statements) = (job.to_string(), self.fresh(), &self.cql.statements);
        let before: Option<(i64, String)> = self.cql.row(DOING, &statements.removal, (id.as_str(),)).await?;
        // First the entry, then the row that names it: a removal that is planned is always found.
        self.mark(REMOVALS, day(due_ms)).await?;
        let entry = (day(due_ms), due_ms, id.as_str(), write.as_str());
        self.cql.write(DOING, &statements.put_due, entry).await?;
        self.cql.write(DOING, &statements.put_removal, (id.as_str(), due_ms, write.as_str())).await?;
        if let Some((due, write)) = before {
            self.cql.write(DOING, &statements.drop_due, (day(due), due, id.as_str(), write.as_str())).await?;
        }
        Ok(())
    }

    async fn due_removals(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>, Error> {
        const DOING: &str = "list removals";
        let (mut due, statements) = (Vec::new(), &self.cql.statements);
        let mut days = self.days(REMOVALS, Direction::Up(i64::MIN)).await?;
        while let Some((bucket, marks)) = days.next().await? {
            if bucket > day(now_ms) || due.len() >= limit {
                break;
            }
            let mut is_empty = true;
            let mut entries = self.cql.rows(DOING, &statements.due_until, (bucket, now_ms)).await?;
            while let Some((at, id, write)) = entries.try_next().await? {
                let (at, id, write): (i64, String, String) = (at, id, write);
                is_empty = false;
                let planned: Option<(i64, String)> = self.cql.row(DOING, &statements.removal, (id.as_str(),)).await?;
                if planned.is_some_and(|(_, named)| named == write) {
                    let job = id.parse().map_err(|source| Error::Damaged { table: "due", source: Box::new(source) })?;
                    due.push(job);
                    if due.len() >= limit {
                        break;
                    }
                } else if self.is_old(&write) {
                    self.cql.write(DOING, &statements.drop_due, (bucket, at, id, write)).await?;
                }
            }
            // Of today, more may come later.
            if is_empty && bucket < day(now_ms) {
                self.sweep_day(REMOVALS, bucket, marks).await;
            }
        }
        Ok(due)
    }

    async fn clear_removal(&self, job: JobId) -> Result<(), Error> {
        const DOING: &str = "forget a removal";
        let (id, statements) = (job.to_string(), &self.cql.statements);
        let before: Option<(i64, String)> = self.cql.row(DOING, &statements.removal, (id.as_str(),)).await?;
        let Some((due, write)) = before else { return Ok(()) };
        self.cql.write(DOING, &statements.drop_removal, (id.as_str(),)).await?;
        self.cql.write(DOING, &statements.drop_due, (day(due), due, id.as_str(), write.as_str())).await
    }

    async fn put_worker(&self, worker: &WorkerRow) -> Result<(), Error> {
        const DOING: &str = "keep a worker";
        let row = (SHARD, worker.id.as_str(), text(worker, DOING)?);
        self.cql.write(DOING, &self.cql.statements.put_worker, row).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        let rows = self.cql.rows("list workers", &self.cql.statements.workers, (SHARD,)).await?;
        rows.map(|row| row.and_then(|(body,): (String,)| from_json(body.as_bytes(), "workers"))).try_collect().await
    }

    async fn remove_worker(&self, id: &str) -> Result<(), Error> {
        self.cql.write("forget a worker", &self.cql.statements.drop_worker, (SHARD, id)).await
    }

    async fn check(&self) -> Result<(), Error> {
        let (shard, now, statements) = (rand::random_range(0..PROBES), self.clock.now_ms(), &self.cql.statements);
        let both = async {
            self.cql.write("write", &statements.put_probe, (shard, now)).await?;
            self.cql.row::<(Option<i64>,)>("read", &statements.probe, (shard,)).await.map(drop)
        };
        match tokio::time::timeout(CHECK_TIMEOUT, both).await {
            Ok(answer) => answer,
            Err(_) => Err(failed("read and write", format!("no answer within {CHECK_TIMEOUT:?}"))),
        }
    }
}
