//! How rows lie in the database: values are JSON, chunks are framed Avro, keys sort as listings want them.

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};

use crate::catalog::{ChunkRow, Error, Versioned, chunk_of, from_json, to_json};
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

/// Whether a stored chunk is JSON, as older programs wrote it. Framed values begin with a zero byte.
fn is_json(stored: &[u8]) -> bool {
    stored.first() == Some(&b'{')
}

/// Reads a chunk without its tables.
pub(super) fn chunk_row(stored: &[u8]) -> Result<ChunkRow, Error> {
    if is_json(stored) { from_json(stored, "chunks") } else { Ok(ChunkRow { chunk: chunk_of(stored, "chunks")? }) }
}

/// Reads a whole chunk.
pub(super) fn whole_chunk(stored: &[u8]) -> Result<ChunkTranscoded, Error> {
    if is_json(stored) { from_json(stored, "whole_chunks") } else { chunk_of(stored, "whole_chunks") }
}

/// Says what was attempted when the store fails.
pub(super) fn failed<E: Into<Fault>>(doing: &'static str) -> impl Fn(E) -> Error {
    move |source| Error::Store { doing, source: Box::new(source.into()) }
}

/// Reads a stored key back.
pub(super) fn job_id(key: &str, table: &'static str) -> Result<JobId, Error> {
    key.parse().map_err(|source| Error::Damaged { table, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{chunk_bytes, without_tables};

    #[test]
    fn chunks_of_older_programs_are_still_read_and_new_ones_are_shorter() {
        let example = include_str!("../../../../schemas/examples/chunk.transcoded/v1/video.json");
        let example = serde_json::from_str(example).unwrap_or_default();
        let framed = schemas::wire::encode_json("chunk.transcoded", &example).unwrap_or_default();
        let Ok(mut chunk) = chunk_of(&framed, "test") else { unreachable!("the example is no chunk") };
        chunk.renditions[0].samples = (0..10_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let (older, newer) =
            (to_json(&chunk, "test").unwrap_or_default(), chunk_bytes(&chunk, "test").unwrap_or_default());
        assert!(newer.len() * 3 < older.len(), "{} bytes of {}", newer.len(), older.len());
        for stored in [&older, &newer] {
            assert_eq!(whole_chunk(stored).ok().as_ref(), Some(&chunk));
        }
        let row = ChunkRow { chunk: without_tables(&chunk) };
        let older = to_json(&row, "test").unwrap_or_default();
        let newer = chunk_bytes(&row.chunk, "test").unwrap_or_default();
        for stored in [&older, &newer] {
            assert_eq!(chunk_row(stored).ok().as_ref(), Some(&row));
        }
    }
}
