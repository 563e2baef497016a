use std::path::PathBuf;

use redb::ReadableTable;

use super::*;

const WORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("words");

/// Entries are a number and a word.
fn replay(transaction: &WriteTransaction, entries: &[&[u8]]) -> Result<(), Fault> {
    let mut words = transaction.open_table(WORDS)?;
    for entry in entries {
        words.insert(u64::from_le_bytes(*entry.first_chunk().unwrap()), &entry[8..])?;
    }
    Ok(())
}

fn entry(number: u64, word: &str) -> Vec<u8> {
    [&number.to_le_bytes(), word.as_bytes()].concat()
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        Self { _folder: folder, path }
    }

    fn open(&self, database: &Database) -> Result<Journal, Fault> {
        Journal::open(&self.path, database, replay)
    }
}

fn database() -> Database {
    Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap()
}

fn words(database: &Database) -> Vec<(u64, String)> {
    let transaction = database.begin_read().unwrap();
    let Ok(table) = transaction.open_table(WORDS) else { return Vec::new() };
    let word = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    table.iter().unwrap().map(|row| row.unwrap()).map(|(key, value)| (key.value(), word(value.value()))).collect()
}

fn take_over(journal: &mut Journal, database: &Database) {
    let transaction = database.begin_write().unwrap();
    journal.take_over(&transaction, |_, _| Ok(())).unwrap();
    transaction.commit().unwrap();
    journal.restart();
}

#[test]
fn what_only_the_journal_holds_is_made_again() {
    let (place, database) = (Place::new(), database());
    let mut journal = place.open(&database).unwrap();
    journal.append(&entry(1, "one")).unwrap();
    journal.append(&entry(2, "two")).unwrap();
    drop(journal);
    let mut journal = place.open(&database).unwrap();
    assert_eq!(words(&database), [(1, "one".to_owned()), (2, "two".to_owned())]);
    journal.append(&entry(3, "three")).unwrap();
    drop(journal);
    place.open(&database).unwrap();
    assert_eq!(words(&database).len(), 3);
}

#[test]
fn what_the_database_holds_is_not_made_again() {
    let (place, database) = (Place::new(), database());
    let mut journal = place.open(&database).unwrap();
    journal.append(&entry(1, "stale")).unwrap();
    journal.append(&entry(2, "stale")).unwrap();
    take_over(&mut journal, &database);
    journal.append(&entry(3, "fresh")).unwrap();
    drop(journal);
    place.open(&database).unwrap();
    assert_eq!(words(&database), [(3, "fresh".to_owned())], "old frames behind the new ones stay where they are");
}

#[test]
fn a_torn_frame_is_the_end() {
    let (place, database) = (Place::new(), database());
    let mut journal = place.open(&database).unwrap();
    journal.append(&entry(1, "one")).unwrap();
    let second = journal.written.len() as u64;
    journal.append(&entry(2, "two")).unwrap();
    journal.file.write_all_at(b"?", second + HEADER as u64 + 9).unwrap();
    drop(journal);
    let mut journal = place.open(&database).unwrap();
    assert_eq!(words(&database), [(1, "one".to_owned())]);
    journal.append(&entry(2, "again")).unwrap();
    drop(journal);
    place.open(&database).unwrap();
    assert_eq!(words(&database), [(1, "one".to_owned()), (2, "again".to_owned())]);
}

#[test]
fn a_database_older_than_its_journal_is_refused() {
    let (place, new, old) = (Place::new(), database(), database());
    let mut journal = place.open(&new).unwrap();
    journal.append(&entry(1, "one")).unwrap();
    take_over(&mut journal, &new);
    journal.append(&entry(2, "two")).unwrap();
    drop(journal);
    let refused = place.open(&old).map(drop).unwrap_err().to_string();
    assert_eq!(refused, "the journal begins with change 2, but the database ends with change 0");
}

#[test]
fn it_says_when_it_is_full() {
    let (place, database) = (Place::new(), database());
    let mut journal = place.open(&database).unwrap();
    let big = vec![7; LENGTH / 2];
    assert!(journal.has_room(big.len()));
    journal.append(&big).unwrap();
    assert!(!journal.has_room(big.len()));
    assert!(journal.has_room(LENGTH / 2 - 2 * HEADER));
    take_over(&mut journal, &database);
    assert!(journal.has_room(big.len()) && !journal.is_dirty());
}
