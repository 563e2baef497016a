//! A journal before the database: what a small transaction changes is written there in one piece and flushed once.
//!
//! A commit of `redb` writes several pages that lie apart, and a flush of those takes more than twice as long as one of a
//! few bytes in a file whose length stays the same. So small changes go to this file alone; now and then, and before the
//! file is full, one transaction takes them all to the database and the journal starts over. Opening does the same with
//! what a process left behind.
//!
//! # Layout
//! Frames from the first byte on: sequence number `u64`, length `u32`, CRC-32 over both and the entry `u32`, all
//! little-endian, then the entry. Sequence numbers grow by one over the life of the database, which remembers the last
//! one that it holds. The first frame that does not go on where the last one ended is the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use super::Fault;

/// The number of the last frame that the database holds.
const APPLIED: TableDefinition<'_, (), u64> = TableDefinition::new("journal");
/// Bytes of the file.
const LENGTH: usize = 4 << 20;
/// Bytes before each entry.
const HEADER: usize = 16;

/// The journal of one database.
pub(crate) struct Journal {
    file: File,
    /// What the file begins with: the frames that the database lacks.
    written: Vec<u8>,
    /// Number of the next frame.
    next: u64,
}

/// Makes the changes of entries, in their order; that they have been made already must not matter.
pub(crate) type Replay = fn(&WriteTransaction, &[&[u8]]) -> Result<(), Fault>;

impl Journal {
    /// Opens the journal at `path`, making it if it is missing, and brings `database` up to it.
    pub(crate) fn open(path: &Path, database: &Database, replay: Replay) -> Result<Self, Fault> {
        if !path.exists() {
            lay_out(path).map_err(Fault::new)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(Fault::new)?;
        let mut journal = Self { file, written: Vec::new(), next: 0 };
        journal.recover(database, replay)?;
        Ok(journal)
    }

    /// Makes the changes again that `database` has missed, and starts over.
    pub(super) fn recover(&mut self, database: &Database, replay: Replay) -> Result<(), Fault> {
        let applied = match database.begin_read()?.open_table(APPLIED) {
            Ok(table) => table.get(())?.map_or(0, |number| number.value()),
            Err(TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        let written = self.read().map_err(Fault::new)?;
        let frames = frames(&written);
        if let Some((first, _)) = frames.first().filter(|(first, _)| *first > applied + 1) {
            let why = format!("the journal begins with change {first}, but the database ends with change {applied}");
            return Err(Fault::new(why));
        }
        let missed: Vec<_> =
            frames.into_iter().filter(|(number, _)| *number > applied).map(|(_, entry)| entry).collect();
        self.next = applied + 1 + missed.len() as u64;
        if !missed.is_empty() {
            tracing::debug!(entries = missed.len(), "making the changes that only the journal holds");
            let transaction = database.begin_write()?;
            replay(&transaction, &missed)?;
            self.mark(&transaction)?;
            transaction.commit()?;
        }
        self.restart();
        Ok(())
    }

    /// Everything in the file, which may have been cut off.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut written = vec![0; LENGTH];
        let mut filled = 0;
        while filled < LENGTH {
            match self.file.read_at(&mut written[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(written)
    }

    /// Whether an entry of `length` bytes still goes in.
    pub(super) fn has_room(&self, length: usize) -> bool {
        LENGTH - self.written.len() >= HEADER + length
    }

    /// Whether there is something that the database lacks.
    pub(super) fn is_dirty(&self) -> bool {
        !self.written.is_empty()
    }

    /// Writes `entry`; it is on the disk when this answers. After an error only `recover` knows whether it is.
    pub(super) fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
        let position = self.written.len();
        self.written.extend_from_slice(&self.next.to_le_bytes());
        self.written.extend_from_slice(&length.to_le_bytes());
        self.written.extend_from_slice(&checksum(self.next, length, entry).to_le_bytes());
        self.written.extend_from_slice(entry);
        self.file.write_all_at(&self.written[position..], position as u64)?;
        self.file.sync_data()?;
        self.next += 1;
        Ok(())
    }

    /// Makes the changes in `transaction` that the database lacks, and lets it remember that it has them.
    pub(super) fn take_over(&self, transaction: &WriteTransaction, replay: Replay) -> Result<(), Fault> {
        let entries: Vec<&[u8]> = frames(&self.written).into_iter().map(|(_, entry)| entry).collect();
        if !entries.is_empty() {
            replay(transaction, &entries)?;
        }
        self.mark(transaction)
    }

    /// Lets `transaction` remember that it holds everything that has been appended.
    fn mark(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        transaction.open_table(APPLIED)?.insert((), self.next - 1)?;
        Ok(())
    }

    /// Starts over, after a transaction that took everything over has reached the disk.
    pub(super) fn restart(&mut self) {
        self.written.clear();
    }
}

/// Makes a file of zeros: writing into it changes neither its length nor where its blocks lie, which would have to be
/// flushed as well.
fn lay_out(path: &Path) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = File::create(&staged)?;
    file.write_all(&vec![0; LENGTH])?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn checksum(number: u64, length: u32, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}

/// The whole frames at the beginning of `written`, with their numbers.
fn frames(mut written: &[u8]) -> Vec<(u64, &[u8])> {
    let mut frames: Vec<(u64, &[u8])> = Vec::new();
    while let Some((number, entry)) = frame(written) {
        if frames.last().is_some_and(|(last, _)| last + 1 != number) {
            break;
        }
        frames.push((number, entry));
        written = written.get(HEADER + entry.len()..).unwrap_or_default();
    }
    frames
}

fn frame(written: &[u8]) -> Option<(u64, &[u8])> {
    let number = u64::from_le_bytes(*written.first_chunk()?);
    let length = u32::from_le_bytes(*written.get(8..)?.first_chunk()?);
    let sum = u32::from_le_bytes(*written.get(12..)?.first_chunk()?);
    let entry = written.get(HEADER..)?.get(..usize::try_from(length).ok()?)?;
    (number > 0 && checksum(number, length, entry) == sum).then_some((number, entry))
}

#[cfg(test)]
mod tests;
