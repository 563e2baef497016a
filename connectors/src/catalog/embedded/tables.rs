//! How rows lie in the database: values are JSON, keys sort as listings want them.

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};
use schemas::JobId;
use schemas::job::{JobRow, State};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catalog::{Error, Versioned};
use crate::store::Fault;

/// Epoch, listing and row by job.
pub(super) const JOBS: TableDefinition<'_, &str, (u64, u8, &[u8])> = TableDefinition::new("jobs");
/// Jobs by listing, oldest first.
pub(super) const LISTED: TableDefinition<'_, (u8, &str), ()> = TableDefinition::new("listed");
pub(super) const DECISIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("decisions");
/// Chunks without their sample tables, by job and index.
pub(super) const CHUNKS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("chunks");
/// Whole chunks, by job and index.
pub(super) const WHOLE_CHUNKS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("whole_chunks");
pub(super) const ATTEMPTS: TableDefinition<'_, &str, u32> = TableDefinition::new("attempts");
pub(super) const UPLOADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("uploads");
/// Owner and end by name.
pub(super) const LEASES: TableDefinition<'_, &str, (&str, i64)> = TableDefinition::new("leases");
pub(super) const REMOVALS: TableDefinition<'_, &str, i64> = TableDefinition::new("removals");
/// Removals in order of time.
pub(super) const DUE: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("due");
pub(super) const WORKERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("workers");

/// The listing of all jobs that are not deleted; the others are numbers of states.
const ALL: u8 = 254;
/// In no listing at all.
const NONE: u8 = 255;

/// Where a job of `state`, or of any, is listed.
pub(super) fn listing(state: Option<State>) -> u8 {
    match state {
        None => ALL,
        Some(State::Received) => 0,
        Some(State::Processing) => 1,
        Some(State::Ready) => 2,
        Some(State::Failed) => 3,
        Some(State::Cancelled) => 4,
    }
}

/// All tables, open for one transaction.
pub(super) struct Tables<'t> {
    pub(super) jobs: Table<'t, &'static str, (u64, u8, &'static [u8])>,
    pub(super) listed: Table<'t, (u8, &'static str), ()>,
    pub(super) decisions: Table<'t, &'static str, &'static [u8]>,
    pub(super) chunks: Table<'t, (&'static str, u32), &'static [u8]>,
    pub(super) whole_chunks: Table<'t, (&'static str, u32), &'static [u8]>,
    pub(super) attempts: Table<'t, &'static str, u32>,
    pub(super) uploads: Table<'t, &'static str, &'static [u8]>,
    pub(super) leases: Table<'t, &'static str, (&'static str, i64)>,
    pub(super) removals: Table<'t, &'static str, i64>,
    pub(super) due: Table<'t, (i64, &'static str), ()>,
    pub(super) workers: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    /// Opens all tables, making those that are missing.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            jobs: transaction.open_table(JOBS)?,
            listed: transaction.open_table(LISTED)?,
            decisions: transaction.open_table(DECISIONS)?,
            chunks: transaction.open_table(CHUNKS)?,
            whole_chunks: transaction.open_table(WHOLE_CHUNKS)?,
            attempts: transaction.open_table(ATTEMPTS)?,
            uploads: transaction.open_table(UPLOADS)?,
            leases: transaction.open_table(LEASES)?,
            removals: transaction.open_table(REMOVALS)?,
            due: transaction.open_table(DUE)?,
            workers: transaction.open_table(WORKERS)?,
        })
    }

    /// The row of `job`.
    pub(super) fn job(&self, job: &str) -> Result<Option<Versioned>, Error> {
        let stored = self.jobs.get(job).map_err(failed("read a job row"))?;
        stored.map(|stored| versioned(stored.value())).transpose()
    }

    /// Writes `row` under `epoch` and moves it to its listings.
    pub(super) fn put_job(&mut self, row: &JobRow, epoch: u64) -> Result<(), Error> {
        const DOING: &str = "write a job row";
        let id = row.id.to_string();
        let json = to_json(row, DOING)?;
        let list = if row.deleted { NONE } else { listing(Some(row.state())) };
        let before = self.jobs.get(id.as_str()).map_err(failed(DOING))?.map_or(NONE, |stored| stored.value().1);
        self.jobs.insert(id.as_str(), (epoch, list, json.as_slice())).map_err(failed(DOING))?;
        if before == list {
            return Ok(());
        }
        if before != NONE {
            self.listed.remove((before, id.as_str())).map_err(failed(DOING))?;
        }
        if list == NONE {
            self.listed.remove((ALL, id.as_str())).map_err(failed(DOING))?;
        } else {
            self.listed.insert((list, id.as_str()), ()).map_err(failed(DOING))?;
            self.listed.insert((ALL, id.as_str()), ()).map_err(failed(DOING))?;
        }
        Ok(())
    }
}

/// Makes missing tables.
pub(super) fn lay_out(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    transaction.commit()?;
    Ok(())
}

/// Reads a stored job row.
pub(super) fn versioned((epoch, _, json): (u64, u8, &[u8])) -> Result<Versioned, Error> {
    Ok(Versioned { epoch, row: from_json(json, "jobs")? })
}

/// Reads a stored row of `table`.
pub(super) fn from_json<T: DeserializeOwned>(json: &[u8], table: &'static str) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|source| Error::Damaged { table, source: Box::new(source) })
}

/// The row as it is stored.
pub(super) fn to_json<T: Serialize>(row: &T, doing: &'static str) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(row).map_err(failed(doing))
}

/// Says what was attempted when the store fails.
pub(super) fn failed<E: Into<Fault>>(doing: &'static str) -> impl Fn(E) -> Error {
    move |source| Error::Store { doing, source: Box::new(source.into()) }
}

/// Reads a stored key back.
pub(super) fn job_id(key: &str, table: &'static str) -> Result<JobId, Error> {
    key.parse().map_err(|source| Error::Damaged { table, source: Box::new(source) })
}
