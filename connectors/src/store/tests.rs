use std::sync::atomic::AtomicBool;

use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::*;

const NUMBERS: TableDefinition<'_, u64, ()> = TableDefinition::new("numbers");

/// A disk that can be full for a while.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn refuse_when_full(&self) -> std::io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(locked(&self.bytes).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&locked(&self.bytes)[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        locked(&self.bytes).resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.refuse_when_full()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.refuse_when_full()?;
        let offset = usize::try_from(offset).unwrap();
        locked(&self.bytes)[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Writes numbers and counts how often it had to look what is there.
#[derive(Default)]
struct Numbers {
    reloads: Arc<Mutex<u32>>,
}

type Asked = (u64, Sender<Result<(), String>>);

impl Batch for Numbers {
    type Request = Asked;

    fn weight(_: &Asked) -> usize {
        8
    }

    fn write(&mut self, transaction: &WriteTransaction, requests: &mut [Asked]) -> Result<(), Fault> {
        let mut table = transaction.open_table(NUMBERS)?;
        for (number, _) in requests {
            table.insert(*number, ())?;
        }
        Ok(())
    }

    fn settle(&mut self, requests: Vec<Asked>, outcome: Result<(), Fault>) {
        for (_, answer) in requests {
            let _ = answer.send(outcome.clone().map_err(|fault| fault.to_string()));
        }
    }

    fn reload(&mut self, database: &Database) -> Result<(), Fault> {
        database.begin_read()?;
        *locked(&self.reloads) += 1;
        Ok(())
    }
}

fn ask(store: &Store<Numbers>, number: u64) -> Result<(), String> {
    let (sender, answer) = channel();
    store.submit((number, sender));
    answer.recv().unwrap()
}

#[test]
fn a_disk_that_was_full_for_a_while_is_written_again() {
    let (disk, numbers) = (Disk::default(), Numbers::default());
    let reloads = Arc::clone(&numbers.reloads);
    let backend = disk.clone();
    let open = move || Ok(Database::builder().create_with_backend(backend.clone()).map_err(Fault::from).unwrap());
    let home = Home::opened_by(Box::new(open)).unwrap();
    let store = Store::threaded("numbers", Arc::clone(&home), None, numbers).unwrap();
    ask(&store, 1).unwrap();
    disk.full.store(true, Ordering::SeqCst);
    ask(&store, 2).unwrap_err();
    assert!(!store.is_healthy());
    disk.full.store(false, Ordering::SeqCst);
    ask(&store, 3).unwrap();
    ask(&store, 4).unwrap();
    assert!(store.is_healthy());
    assert_eq!(*locked(&reloads), 1);
    let transaction = home.database().unwrap().begin_read().unwrap();
    let table = transaction.open_table(NUMBERS).unwrap();
    let stored: Vec<u64> = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    assert!([1, 3, 4].iter().all(|number| stored.contains(number)), "{stored:?}");
}

/// Numbers that go to a journal first; those from a thousand on go to the database at once.
#[derive(Default)]
struct Journaled(Numbers);

impl Batch for Journaled {
    type Request = Asked;

    fn weight(_: &Asked) -> usize {
        8
    }

    fn changes(&mut self, requests: &mut [Asked]) -> Option<Vec<u8>> {
        let is_small = requests.iter().all(|(number, _)| *number < 1000);
        is_small.then(|| requests.iter().flat_map(|(number, _)| number.to_le_bytes()).collect())
    }

    fn replay(transaction: &WriteTransaction, changes: &[&[u8]]) -> Result<(), Fault> {
        let mut table = transaction.open_table(NUMBERS)?;
        for number in changes.iter().flat_map(|entry| entry.chunks_exact(8)) {
            table.insert(u64::from_le_bytes(number.try_into().unwrap()), ())?;
        }
        Ok(())
    }

    fn write(&mut self, transaction: &WriteTransaction, requests: &mut [Asked]) -> Result<(), Fault> {
        self.0.write(transaction, requests)
    }

    fn settle(&mut self, requests: Vec<Asked>, outcome: Result<(), Fault>) {
        self.0.settle(requests, outcome);
    }

    fn reload(&mut self, database: &Database) -> Result<(), Fault> {
        self.0.reload(database)
    }
}

#[test]
fn what_only_the_journal_holds_outlives_a_disk_that_was_full() {
    let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
    let backend = disk.clone();
    let open = move || Ok(Database::builder().create_with_backend(backend.clone()).map_err(Fault::from).unwrap());
    let home = Home::opened_by(Box::new(open)).unwrap();
    let path = folder.path().join("numbers.journal");
    let journal = Journal::open(&path, &home.database().unwrap(), Journaled::replay).unwrap();
    let store = Store::threaded("numbers", Arc::clone(&home), Some(journal), Journaled::default()).unwrap();
    let ask = |number: u64| {
        let (sender, answer) = channel();
        store.submit((number, sender));
        answer.recv().unwrap()
    };
    ask(1).unwrap();
    ask(2).unwrap();
    disk.full.store(true, Ordering::SeqCst);
    ask(1000).unwrap_err();
    disk.full.store(false, Ordering::SeqCst);
    ask(3).unwrap();
    ask(1001).unwrap();
    drop(store);
    let transaction = home.database().unwrap().begin_read().unwrap();
    let table = transaction.open_table(NUMBERS).unwrap();
    let stored: Vec<u64> = table.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    assert!([1, 2, 3, 1001].iter().all(|number| stored.contains(number)), "{stored:?}");
}

#[test]
fn callers_that_wait_together_share_a_transaction() {
    let (disk, numbers) = (Disk::default(), Numbers::default());
    let backend = disk.clone();
    let open = move || Ok(Database::builder().create_with_backend(backend.clone()).map_err(Fault::from).unwrap());
    let store = Store::threaded("numbers", Home::opened_by(Box::new(open)).unwrap(), None, numbers).unwrap();
    let answers: Vec<_> = (0..1000)
        .map(|number| {
            let (sender, answer) = channel();
            store.submit((number, sender));
            answer
        })
        .collect();
    drop(store);
    assert!(answers.iter().all(|answer| answer.recv().unwrap().is_ok()), "closing answers what was asked before");
}
