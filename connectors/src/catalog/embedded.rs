//! The embedded catalog: one process owns one file, or some memory.
//!
//! Writes of many callers share one durable transaction; within it each caller's reads and writes stand together, so that
//! compare-and-set needs no lock.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};
use tokio::sync::oneshot;

use crate::catalog::{
    Catalog, ChunkRow, Decision, Error, Page, Swap, UploadIntent, Versioned, WorkerRow, chunk_bytes, cursor, from_json,
    page, to_json, without_tables,
};
use crate::store::{Batch, Fault, Home, OpenError, Store};

mod tables;

use tables::{Tables, failed, job_id, listing};

/// Memory that `redb` may use for pages, bytes.
const CACHE_BYTES: usize = 32 << 20;

/// The embedded catalog.
pub struct Embedded {
    store: Store<Writer>,
    home: Arc<Home>,
}

type Answer = Box<dyn FnOnce(Result<(), Fault>) + Send>;
type Work = Box<dyn for<'a, 't> FnOnce(&'a mut Tables<'t>) -> Answer + Send>;

/// A piece of work, and its answer once it is done.
struct Request {
    work: Option<Work>,
    answer: Option<Answer>,
}

struct Writer;

impl Batch for Writer {
    type Request = Request;

    fn weight(_request: &Request) -> usize {
        // Rows are small; the number of requests bounds the transaction.
        1 << 10
    }

    fn write(&mut self, transaction: &WriteTransaction, requests: &mut [Request]) -> Result<(), Fault> {
        let mut tables = Tables::open(transaction)?;
        for request in requests {
            request.answer = request.work.take().map(|work| work(&mut tables));
        }
        Ok(())
    }

    fn reload(&mut self, _database: &Database) -> Result<(), Fault> {
        // Nothing of the catalog is kept in memory.
        Ok(())
    }

    fn settle(&mut self, requests: Vec<Request>, outcome: Result<(), Fault>) {
        for request in requests {
            if let Some(answer) = request.answer {
                answer(outcome.clone());
            }
        }
    }
}

impl Embedded {
    /// Opens the catalog in the file `path`, making it if it is missing. Fails while another process has it open.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let home = Home::on_disk(path, CACHE_BYTES)?;
        home.database()
            .and_then(|database| tables::lay_out(&database))
            .map_err(|fault| OpenError::File { path: path.to_owned(), source: Box::new(fault) })?;
        let store = Store::threaded("catalog", Arc::clone(&home), None, Writer)?;
        Ok(Self { store, home })
    }

    /// A catalog that is gone with the process.
    pub fn in_memory() -> Result<Self, OpenError> {
        let home = Home::in_memory()?;
        home.database()
            .and_then(|database| tables::lay_out(&database))
            .map_err(|fault| OpenError::File { path: ":memory:".into(), source: Box::new(fault) })?;
        Ok(Self { store: Store::inline(Arc::clone(&home), Writer), home })
    }

    /// Does `work` in the next transaction and answers when it is durable. Work fails before it writes, or not at all,
    /// because it shares the transaction with others.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |tables| {
            let result = work(tables);
            Box::new(move |outcome| {
                let result = match outcome {
                    Ok(()) => result,
                    Err(fault) => Err(Error::Store { doing, source: Box::new(fault) }),
                };
                // Whoever has stopped waiting does not want the answer.
                let _ = sender.send(result);
            })
        });
        self.store.submit(Request { work: Some(work), answer: None });
        answer.await.map_err(|_| Error::Store { doing, source: "the catalog is closed".into() })?
    }

    /// Runs a read where it may block, which in memory is right here.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let home = Arc::clone(&self.home);
        let read = move || read(&home.database().map_err(failed(doing))?.begin_read().map_err(failed(doing))?);
        if !self.store.blocks() {
            return read();
        }
        tokio::task::spawn_blocking(read).await.map_err(|error| Error::Store { doing, source: Box::new(error) })?
    }
}

#[async_trait]
impl Catalog for Embedded {
    async fn job(&self, job: JobId) -> Result<Option<Versioned>, Error> {
        const DOING: &str = "read a job row";
        self.read(DOING, move |transaction| {
            let table = transaction.open_table(tables::JOBS).map_err(failed(DOING))?;
            let stored = table.get(job.to_string().as_str()).map_err(failed(DOING))?;
            stored.map(|stored| tables::versioned(stored.value())).transpose()
        })
        .await
    }

    async fn swap_job(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error> {
        let row = row.clone();
        self.write("write a job row", move |tables| {
            let stored = tables.job(&row.id.to_string())?;
            if stored.as_ref().map(|stored| stored.epoch) != expected {
                return Ok(Swap::Lost(stored.map(Box::new)));
            }
            tables.put_job(&row, expected.map_or(1, |epoch| epoch + 1))?;
            Ok(Swap::Won)
        })
        .await
    }

    async fn jobs(&self, state: Option<State>, after: Option<&str>, limit: usize) -> Result<Page<JobRow>, Error> {
        const DOING: &str = "list jobs";
        let after: Option<JobId> = cursor(after)?;
        let limit = limit.max(1);
        let rows = move |transaction: &ReadTransaction| {
            let listed = transaction.open_table(tables::LISTED).map_err(failed(DOING))?;
            let jobs = transaction.open_table(tables::JOBS).map_err(failed(DOING))?;
            let list = listing(state);
            // `~` sorts behind every character of an id.
            let before = after.map_or("~".to_owned(), |job| job.to_string());
            let range = listed.range((list, "")..(list, before.as_str())).map_err(failed(DOING))?;
            let mut rows = Vec::new();
            for entry in range.rev().take(limit + 1) {
                let (key, ()) = entry.map(|(key, _)| (key, ())).map_err(failed(DOING))?;
                if let Some(stored) = jobs.get(key.value().1).map_err(failed(DOING))? {
                    rows.push(tables::versioned(stored.value())?.row);
                }
            }
            Ok(rows)
        };
        Ok(page(self.read(DOING, rows).await?, limit, |row| row.id.to_string()))
    }

    async fn wipe_jobs(&self) -> Result<(), Error> {
        const DOING: &str = "forget all job rows";
        self.write(DOING, |tables| {
            tables.jobs.retain(|_, _| false).map_err(failed(DOING))?;
            tables.listed.retain(|_, _| false).map_err(failed(DOING))
        })
        .await
    }

    async fn decide(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error> {
        const DOING: &str = "decide how a job ends";
        if let Some(decided) = self.decision(job).await? {
            return Ok(decided);
        }
        let proposal = proposal.clone();
        self.write(DOING, move |tables| {
            let id = job.to_string();
            if let Some(stored) = tables.decisions.get(id.as_str()).map_err(failed(DOING))? {
                return from_json(stored.value(), "decisions");
            }
            let json = to_json(&proposal, DOING)?;
            tables.decisions.insert(id.as_str(), json.as_slice()).map_err(failed(DOING))?;
            Ok(proposal)
        })
        .await
    }

    async fn decision(&self, job: JobId) -> Result<Option<Decision>, Error> {
        const DOING: &str = "read how a job ends";
        self.read(DOING, move |transaction| {
            let table = transaction.open_table(tables::DECISIONS).map_err(failed(DOING))?;
            let stored = table.get(job.to_string().as_str()).map_err(failed(DOING))?;
            stored.map(|stored| from_json(stored.value(), "decisions")).transpose()
        })
        .await
    }

    async fn put_chunk(&self, chunk: &ChunkTranscoded) -> Result<(), Error> {
        const DOING: &str = "keep a finished chunk";
        let (whole, lean) = (chunk_bytes(chunk, DOING)?, chunk_bytes(&without_tables(chunk), DOING)?);
        let (id, index) = (chunk.job.to_string(), chunk.index);
        self.write(DOING, move |tables| {
            let key = (id.as_str(), index);
            tables.chunks.insert(key, lean.as_slice()).map_err(failed(DOING))?;
            tables.whole_chunks.insert(key, whole.as_slice()).map_err(failed(DOING))?;
            Ok(())
        })
        .await
    }

    async fn chunks(&self, job: JobId, after: Option<&str>, limit: usize) -> Result<Page<ChunkRow>, Error> {
        const DOING: &str = "list finished chunks";
        let after: Option<u32> = cursor(after)?;
        let limit = limit.max(1);
        let rows = move |transaction: &ReadTransaction| {
            let Some(first) = after.map_or(Some(0), |index| index.checked_add(1)) else { return Ok(Vec::new()) };
            let id = job.to_string();
            let table = transaction.open_table(tables::CHUNKS).map_err(failed(DOING))?;
            let range = table.range((id.as_str(), first)..=(id.as_str(), u32::MAX)).map_err(failed(DOING))?;
            range
                .take(limit + 1)
                .map(|entry| tables::chunk_row(entry.map_err(failed(DOING))?.1.value()))
                .collect::<Result<Vec<ChunkRow>, Error>>()
        };
        Ok(page(self.read(DOING, rows).await?, limit, |row| row.chunk.index.to_string()))
    }

    async fn chunk(&self, job: JobId, index: u32) -> Result<Option<ChunkTranscoded>, Error> {
        const DOING: &str = "read a finished chunk";
        self.read(DOING, move |transaction| {
            let table = transaction.open_table(tables::WHOLE_CHUNKS).map_err(failed(DOING))?;
            let stored = table.get((job.to_string().as_str(), index)).map_err(failed(DOING))?;
            stored.map(|stored| tables::whole_chunk(stored.value())).transpose()
        })
        .await
    }

    async fn forget(&self, job: JobId) -> Result<(), Error> {
        const DOING: &str = "forget a deleted job";
        self.write(DOING, move |tables| {
            let id = job.to_string();
            let all = (id.as_str(), 0)..=(id.as_str(), u32::MAX);
            tables.chunks.retain_in(all.clone(), |_, _| false).map_err(failed(DOING))?;
            tables.whole_chunks.retain_in(all, |_, _| false).map_err(failed(DOING))?;
            tables.uploads.remove(id.as_str()).map_err(failed(DOING))?;
            Ok(())
        })
        .await
    }

    async fn count_attempt(&self, work: &str) -> Result<u32, Error> {
        const DOING: &str = "count an attempt";
        let work = work.to_owned();
        self.write(DOING, move |tables| {
            let before = tables.attempts.get(work.as_str()).map_err(failed(DOING))?.map_or(0, |count| count.value());
            let count = before.saturating_add(1);
            tables.attempts.insert(work.as_str(), count).map_err(failed(DOING))?;
            Ok(count)
        })
        .await
    }

    async fn clear_attempts(&self, work: &str) -> Result<(), Error> {
        const DOING: &str = "forget attempts";
        let work = work.to_owned();
        self.write(DOING, move |tables| tables.attempts.remove(work.as_str()).map(drop).map_err(failed(DOING))).await
    }

    async fn put_upload(&self, intent: &UploadIntent) -> Result<(), Error> {
        const DOING: &str = "keep an upload";
        let (id, json) = (intent.job.to_string(), to_json(intent, DOING)?);
        self.write(DOING, move |tables| {
            tables.uploads.insert(id.as_str(), json.as_slice()).map(drop).map_err(failed(DOING))
        })
        .await
    }

    async fn remove_upload(&self, job: JobId) -> Result<(), Error> {
        const DOING: &str = "forget an upload";
        self.write(DOING, move |tables| {
            tables.uploads.remove(job.to_string().as_str()).map(drop).map_err(failed(DOING))
        })
        .await
    }

    async fn uploads(&self, after: Option<&str>, limit: usize) -> Result<Page<UploadIntent>, Error> {
        const DOING: &str = "list uploads";
        let after: Option<JobId> = cursor(after)?;
        let limit = limit.max(1);
        let rows = move |transaction: &ReadTransaction| {
            let table = transaction.open_table(tables::UPLOADS).map_err(failed(DOING))?;
            // The first key behind an id is that id and one more character.
            let first = after.map_or(String::new(), |job| format!("{job}!"));
            let range = table.range(first.as_str()..).map_err(failed(DOING))?;
            range
                .take(limit + 1)
                .map(|entry| from_json(entry.map_err(failed(DOING))?.1.value(), "uploads"))
                .collect::<Result<Vec<UploadIntent>, Error>>()
        };
        Ok(page(self.read(DOING, rows).await?, limit, |intent| intent.job.to_string()))
    }

    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error> {
        const DOING: &str = "take a lease";
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.write(DOING, move |tables| {
            let free = tables.leases.get(name.as_str()).map_err(failed(DOING))?.is_none_or(|lease| {
                let (holder, until) = lease.value();
                holder == owner || until < now_ms
            });
            if free {
                tables.leases.insert(name.as_str(), (owner.as_str(), until_ms)).map_err(failed(DOING))?;
            }
            Ok(free)
        })
        .await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        const DOING: &str = "give a lease back";
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.write(DOING, move |tables| {
            let lease = tables.leases.get(name.as_str()).map_err(failed(DOING))?;
            let ours = lease.is_some_and(|lease| lease.value().0 == owner);
            if ours {
                tables.leases.remove(name.as_str()).map_err(failed(DOING))?;
            }
            Ok(())
        })
        .await
    }

    async fn put_removal(&self, job: JobId, due_ms: i64) -> Result<(), Error> {
        const DOING: &str = "plan a removal";
        self.write(DOING, move |tables| {
            let id = job.to_string();
            let before = tables.removals.insert(id.as_str(), due_ms).map_err(failed(DOING))?.map(|due| due.value());
            if let Some(before) = before {
                tables.due.remove((before, id.as_str())).map_err(failed(DOING))?;
            }
            tables.due.insert((due_ms, id.as_str()), ()).map(drop).map_err(failed(DOING))
        })
        .await
    }

    async fn due_removals(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>, Error> {
        const DOING: &str = "list removals";
        self.read(DOING, move |transaction| {
            let table = transaction.open_table(tables::DUE).map_err(failed(DOING))?;
            let range = table.range(..=(now_ms, "~")).map_err(failed(DOING))?;
            range.take(limit).map(|entry| job_id(entry.map_err(failed(DOING))?.0.value().1, "due")).collect()
        })
        .await
    }

    async fn clear_removal(&self, job: JobId) -> Result<(), Error> {
        const DOING: &str = "forget a removal";
        self.write(DOING, move |tables| {
            let id = job.to_string();
            let before = tables.removals.remove(id.as_str()).map_err(failed(DOING))?.map(|due| due.value());
            if let Some(due) = before {
                tables.due.remove((due, id.as_str())).map_err(failed(DOING))?;
            }
            Ok(())
        })
        .await
    }

    async fn put_worker(&self, worker: &WorkerRow) -> Result<(), Error> {
        const DOING: &str = "keep a worker";
        let (id, json) = (worker.id.clone(), to_json(worker, DOING)?);
        self.write(DOING, move |tables| {
            tables.workers.insert(id.as_str(), json.as_slice()).map(drop).map_err(failed(DOING))
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        const DOING: &str = "list workers";
        self.read(DOING, move |transaction| {
            let table = transaction.open_table(tables::WORKERS).map_err(failed(DOING))?;
            let rows = table.iter().map_err(failed(DOING))?;
            rows.map(|entry| from_json(entry.map_err(failed(DOING))?.1.value(), "workers")).collect()
        })
        .await
    }

    async fn remove_worker(&self, id: &str) -> Result<(), Error> {
        const DOING: &str = "forget a worker";
        let id = id.to_owned();
        self.write(DOING, move |tables| tables.workers.remove(id.as_str()).map(drop).map_err(failed(DOING))).await
    }

    async fn check(&self) -> Result<(), Error> {
        // A commit is worth its flush only when the last one failed; otherwise the writers keep testing the disk.
        if self.store.is_healthy() {
            return self.read("read", |_| Ok(())).await;
        }
        self.write("write", |_| Ok(())).await
    }
}
