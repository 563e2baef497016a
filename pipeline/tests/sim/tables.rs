//! The catalog: tables in memory, and the door of one process to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connectors::Catalog;
use connectors::catalog::{ChunkRow, Decision, Error, Page, Swap, UploadIntent, Versioned, WorkerRow};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};

use super::life::Caller;
use super::{Door, Mutant, locked};

/// The tables.
#[derive(Default)]
pub struct Tables {
    /// Job rows.
    pub jobs: BTreeMap<JobId, Versioned>,
    /// Ends of jobs.
    pub decisions: BTreeMap<JobId, Decision>,
    /// Finished chunks.
    pub chunks: BTreeMap<(JobId, u32), ChunkTranscoded>,
    /// Attempts by work.
    pub attempts: BTreeMap<String, u32>,
    /// Uploads on their way.
    pub uploads: BTreeMap<JobId, UploadIntent>,
    /// Prefixes to remove, with when.
    pub removals: BTreeMap<JobId, i64>,
    leases: BTreeMap<String, (String, i64)>,
    workers: BTreeMap<String, WorkerRow>,
}

/// The door of one process.
#[derive(Clone)]
pub struct SimCatalog {
    /// The process.
    pub caller: Caller,
    /// What lies behind the door.
    pub tables: Arc<Mutex<Tables>>,
}

impl SimCatalog {
    async fn read<T: Send>(&self, doing: &'static str, work: impl FnOnce(&Tables) -> T + Send) -> Result<T, Error> {
        let work = || work(&locked(&self.tables));
        let read = self.caller.call(Door::Catalog, false, || doing.to_owned(), work).await;
        read.map_err(|fault| Error::Store { doing, source: fault.0.into() })
    }

    async fn write<T: Send>(
        &self,
        doing: &'static str,
        of: impl Fn() -> String + Send + Sync,
        work: impl FnOnce(&mut Tables) -> T + Send,
    ) -> Result<T, Error> {
        let work = || work(&mut locked(&self.tables));
        let written = self.caller.call(Door::Catalog, true, || format!("{doing} {}", of()), work).await;
        written.map_err(|fault| Error::Store { doing, source: fault.0.into() })
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.caller.world.mutant == Some(mutant)
    }

    fn name(&self, job: JobId) -> String {
        self.caller.world.name(job)
    }
}

fn page<T>(items: impl Iterator<Item = T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let mut items: Vec<T> = items.take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

fn job_id(after: Option<&str>) -> Result<Option<JobId>, Error> {
    after.map(|text| text.parse().map_err(|_| Error::BadCursor(text.to_owned()))).transpose()
}

#[async_trait]
impl Catalog for SimCatalog {
    async fn job(&self, job: JobId) -> Result<Option<Versioned>, Error> {
        self.read("read a job row", |tables| tables.jobs.get(&job).cloned()).await
    }

    async fn swap_job(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error> {
        let replaces = expected.is_none() && self.is(Mutant::Create);
        self.write(
            "swap the row of",
            || self.name(row.id),
            |tables| {
                let stored = tables.jobs.get(&row.id);
                if stored.map(|stored| stored.epoch) != expected && !replaces {
                    return Swap::Lost(stored.cloned().map(Box::new));
                }
                let epoch = stored.map_or(1, |stored| stored.epoch + 1);
                tables.jobs.insert(row.id, Versioned { epoch, row: row.clone() });
                Swap::Won
            },
        )
        .await
    }

    async fn jobs(&self, state: Option<State>, after: Option<&str>, limit: usize) -> Result<Page<JobRow>, Error> {
        let after = job_id(after)?;
        self.read("list jobs", |tables| {
            let rows = tables.jobs.values().rev().map(|found| &found.row);
            let rows = rows
                .filter(|row| !row.deleted && state.is_none_or(|state| row.state() == state))
                .filter(|row| after.is_none_or(|after| row.id < after));
            page(rows.cloned(), limit, |row| row.id.to_string())
        })
        .await
    }

    async fn wipe_jobs(&self) -> Result<(), Error> {
        self.write("wipe", || "all rows".into(), |tables| tables.jobs.clear()).await
    }

    async fn decide(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error> {
        let last_wins = self.is(Mutant::LastDecision);
        let what = || format!("{} to be {:?}", self.name(job), proposal.outcome);
        self.write("decide", what, |tables| {
            if last_wins {
                tables.decisions.insert(job, proposal.clone());
            }
            tables.decisions.entry(job).or_insert_with(|| proposal.clone()).clone()
        })
        .await
    }

    async fn decision(&self, job: JobId) -> Result<Option<Decision>, Error> {
        self.read("read a decision", |tables| tables.decisions.get(&job).cloned()).await
    }

    async fn put_chunk(&self, chunk: &ChunkTranscoded) -> Result<(), Error> {
        let what = || format!("{} of {}", chunk.index, self.name(chunk.job));
        self.write("keep chunk", what, |tables| {
            tables.chunks.insert((chunk.job, chunk.index), chunk.clone());
        })
        .await
    }

    async fn chunks(&self, job: JobId, after: Option<&str>, limit: usize) -> Result<Page<ChunkRow>, Error> {
        let after: Option<u32> =
            after.map(|text| text.parse().map_err(|_| Error::BadCursor(text.to_owned()))).transpose()?;
        self.read("list chunks", |tables| {
            let first = after.map_or(0, |after| after + 1);
            let rows = tables.chunks.range((job, first)..=(job, u32::MAX)).map(|(_, chunk)| {
                let mut chunk = chunk.clone();
                chunk.renditions.iter_mut().for_each(|rendition| rendition.samples = Vec::new());
                ChunkRow { chunk }
            });
            page(rows, limit, |row| row.chunk.index.to_string())
        })
        .await
    }

    async fn chunk(&self, job: JobId, index: u32) -> Result<Option<ChunkTranscoded>, Error> {
        self.read("read a chunk", |tables| tables.chunks.get(&(job, index)).cloned()).await
    }

    async fn forget(&self, job: JobId) -> Result<(), Error> {
        self.write(
            "forget",
            || self.name(job),
            |tables| {
                tables.chunks.retain(|(of, _), _| *of != job);
                tables.uploads.remove(&job);
            },
        )
        .await
    }

    async fn count_attempt(&self, work: &str) -> Result<u32, Error> {
        self.write(
            "count an attempt at",
            || work.to_owned(),
            |tables| {
                let count = tables.attempts.entry(work.to_owned()).or_default();
                *count += 1;
                *count
            },
        )
        .await
    }

    async fn clear_attempts(&self, work: &str) -> Result<(), Error> {
        self.write(
            "clear attempts at",
            || work.to_owned(),
            |tables| {
                tables.attempts.remove(work);
            },
        )
        .await
    }

    async fn put_upload(&self, intent: &UploadIntent) -> Result<(), Error> {
        let what = || format!("{}{}", self.name(intent.job), if intent.event.is_some() { ", stored" } else { "" });
        self.write("keep the intent of", what, |tables| {
            tables.uploads.insert(intent.job, intent.clone());
        })
        .await
    }

    async fn remove_upload(&self, job: JobId) -> Result<(), Error> {
        self.write(
            "remove the intent of",
            || self.name(job),
            |tables| {
                tables.uploads.remove(&job);
            },
        )
        .await
    }

    async fn uploads(&self, after: Option<&str>, limit: usize) -> Result<Page<UploadIntent>, Error> {
        let after = job_id(after)?;
        self.read("list uploads", |tables| {
            let rows = tables.uploads.values().filter(|intent| after.is_none_or(|after| intent.job > after));
            page(rows.cloned(), limit, |intent| intent.job.to_string())
        })
        .await
    }

    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error> {
        self.write(
            "take the lease",
            || name.to_owned(),
            |tables| {
                let free = tables.leases.get(name).is_none_or(|(holder, until)| holder == owner || *until < now_ms);
                if free {
                    tables.leases.insert(name.to_owned(), (owner.to_owned(), until_ms));
                }
                free
            },
        )
        .await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), Error> {
        self.write(
            "give back the lease",
            || name.to_owned(),
            |tables| {
                if tables.leases.get(name).is_some_and(|(holder, _)| holder == owner) {
                    tables.leases.remove(name);
                }
            },
        )
        .await
    }

    async fn put_removal(&self, job: JobId, due_ms: i64) -> Result<(), Error> {
        self.write(
            "plan the removal of",
            || self.name(job),
            |tables| {
                tables.removals.insert(job, due_ms);
            },
        )
        .await
    }

    async fn due_removals(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>, Error> {
        self.read("list removals", |tables| {
            let mut due: Vec<(i64, JobId)> =
                tables.removals.iter().map(|(job, due)| (*due, *job)).filter(|(due, _)| *due <= now_ms).collect();
            due.sort_unstable();
            due.into_iter().map(|(_, job)| job).take(limit).collect()
        })
        .await
    }

    async fn clear_removal(&self, job: JobId) -> Result<(), Error> {
        self.write(
            "clear the removal of",
            || self.name(job),
            |tables| {
                tables.removals.remove(&job);
            },
        )
        .await
    }

    async fn put_worker(&self, worker: &WorkerRow) -> Result<(), Error> {
        self.read("put a worker", |_| ()).await?;
        locked(&self.tables).workers.insert(worker.id.clone(), worker.clone());
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        self.read("list workers", |tables| tables.workers.values().cloned().collect()).await
    }

    async fn remove_worker(&self, id: &str) -> Result<(), Error> {
        self.write(
            "remove worker",
            || id.to_owned(),
            |tables| {
                tables.workers.remove(id);
            },
        )
        .await
    }

    async fn check(&self) -> Result<(), Error> {
        self.read("check", |_| ()).await
    }
}
