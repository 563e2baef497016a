//! One writer that turns many small writes into few durable transactions of `redb`.
//!
//! Requests that arrive while a transaction is being flushed share the next one, so that a flush is paid once for all of
//! them. An answer is given only after the commit.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, WriteTransaction};

mod home;
mod journal;

pub(crate) use home::Home;
pub use home::OpenError;
pub(crate) use journal::Journal;

/// Requests of one transaction at most.
const MAX_REQUESTS: usize = 4096;
/// Weight of one transaction at most, bytes.
const MAX_WEIGHT: usize = 8 << 20;

/// What went wrong below; shared by everybody whose write was in the same transaction.
#[derive(Clone)]
pub(crate) struct Fault(Arc<dyn Error + Send + Sync>);

impl Fault {
    /// A fault that `redb` knows nothing of.
    pub(crate) fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(source.into()))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

macro_rules! fault_from {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Fault {
            fn from(source: $kind) -> Self {
                Self(Arc::new(source))
            }
        }
    )*};
}

fault_from!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::SetDurabilityError,
    redb::CommitError,
    redb::DatabaseError,
    serde_json::Error
);

/// What is written together.
pub(crate) trait Batch: Send + 'static {
    /// One caller's wish, with the way to answer it.
    type Request: Send + 'static;

    /// Bytes that the request will write, roughly.
    fn weight(request: &Self::Request) -> usize;

    /// What all requests change, for `replay`, now or later. Absent: they need `write`.
    fn changes(&mut self, _requests: &mut [Self::Request]) -> Option<Vec<u8>> {
        None
    }

    /// Makes changes, in their order; that they have been made already must not matter.
    fn replay(_transaction: &WriteTransaction, _changes: &[&[u8]]) -> Result<(), Fault> {
        Ok(())
    }

    /// Writes all requests into `transaction`, which holds all changes that came before.
    fn write(&mut self, transaction: &WriteTransaction, requests: &mut [Self::Request]) -> Result<(), Fault>;

    /// Hears that the database is about to hold everything, and adds to it what it saves only then.
    fn save(&mut self, _transaction: &WriteTransaction) -> Result<(), Fault> {
        Ok(())
    }

    /// Answers all requests, after the commit or its failure.
    fn settle(&mut self, requests: Vec<Self::Request>, outcome: Result<(), Fault>);

    /// Reads again what it keeps in memory: after a failed commit nobody knows whether it took effect.
    fn reload(&mut self, database: &Database) -> Result<(), Fault>;
}

/// Where writes of one database queue.
pub(crate) struct Store<B: Batch> {
    side: Side<B>,
    healthy: Arc<AtomicBool>,
}

enum Side<B: Batch> {
    /// Flushing blocks, so a thread of its own does it.
    Thread { queue: Option<Sender<B::Request>>, thread: Option<JoinHandle<()>> },
    /// Memory needs no flush: the caller writes at once, which keeps simulated time still meanwhile.
    Inline { committer: Mutex<Committer<B>> },
}

impl<B: Batch> Store<B> {
    /// A writer thread called `name`. What goes to `journal` first must have been brought to the database before.
    pub(crate) fn threaded(name: &str, home: Arc<Home>, journal: Option<Journal>, batch: B) -> Result<Self, OpenError> {
        let healthy = Arc::new(AtomicBool::new(true));
        let mut committer = Committer { home, journal, batch, healthy: Arc::clone(&healthy), failed: false };
        let (queue, requests) = channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&mut committer, &requests))
            .map_err(|source| OpenError::File { path: PathBuf::from(name), source: Box::new(source) })?;
        Ok(Self { side: Side::Thread { queue: Some(queue), thread: Some(thread) }, healthy })
    }

    /// A writer without a thread.
    pub(crate) fn inline(home: Arc<Home>, batch: B) -> Self {
        let healthy = Arc::new(AtomicBool::new(true));
        let committer =
            Mutex::new(Committer { home, journal: None, batch, healthy: Arc::clone(&healthy), failed: false });
        Self { side: Side::Inline { committer }, healthy }
    }

    /// Queues `request`. A request that can no longer be served is dropped, which its caller sees.
    pub(crate) fn submit(&self, request: B::Request) {
        match &self.side {
            Side::Thread { queue, .. } => {
                if let Some(queue) = queue {
                    let _ = queue.send(request);
                }
            }
            Side::Inline { committer } => locked(committer).commit(vec![request]),
        }
    }

    /// Whether the last commit went well.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Whether waiting for the store may block a thread.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.side, Side::Thread { .. })
    }
}

impl<B: Batch> Drop for Store<B> {
    fn drop(&mut self) {
        if let Side::Thread { queue, thread } = &mut self.side {
            drop(queue.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Locks `mutex`; what a panicking holder left behind is whole, because each critical section changes it in one step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Committer<B> {
    home: Arc<Home>,
    /// Absent: every transaction goes to the database's own file.
    journal: Option<Journal>,
    batch: B,
    healthy: Arc<AtomicBool>,
    /// Whether the database must be opened again first.
    failed: bool,
}

impl<B: Batch> Committer<B> {
    fn commit(&mut self, mut requests: Vec<B::Request>) {
        let outcome = self.try_commit(&mut requests);
        if let Err(fault) = &outcome {
            tracing::error!(error = %fault, "a transaction failed");
        }
        self.failed = outcome.is_err();
        self.healthy.store(outcome.is_ok(), Ordering::Release);
        self.batch.settle(requests, outcome);
    }

    fn try_commit(&mut self, requests: &mut [B::Request]) -> Result<(), Fault> {
        if self.failed {
            self.home.reopen()?;
            let database = self.home.database()?;
            if let Some(journal) = &mut self.journal {
                journal.recover(&database, B::replay)?;
            }
            self.batch.reload(&database)?;
            tracing::info!("the database is open again after a failed transaction");
        }
        let changes = self.batch.changes(requests);
        if let (Some(journal), Some(changes)) = (&mut self.journal, &changes)
            && journal.has_room(changes.len())
        {
            return journal.append(changes).map_err(Fault::new);
        }
        self.take_over(|batch, transaction| match &changes {
            Some(changes) => B::replay(transaction, &[changes]),
            None => batch.write(transaction, requests),
        })
    }

    /// Brings to the database what only the journal holds, and then what `write` writes.
    fn take_over(&mut self, write: impl FnOnce(&mut B, &WriteTransaction) -> Result<(), Fault>) -> Result<(), Fault> {
        let transaction = self.home.database()?.begin_write()?;
        if let Some(journal) = &self.journal {
            journal.take_over(&transaction, B::replay)?;
        }
        write(&mut self.batch, &transaction)?;
        self.batch.save(&transaction)?;
        transaction.commit()?;
        if let Some(journal) = &mut self.journal {
            journal.restart();
        }
        Ok(())
    }

    /// Leaves nothing to the journal, so that the next start has nothing to do.
    fn close(&mut self) {
        if self.failed || !self.journal.as_ref().is_some_and(Journal::is_dirty) {
            return;
        }
        if let Err(fault) = self.take_over(|_, _| Ok(())) {
            tracing::warn!(error = %fault, "the journal keeps what the database could not take");
        }
    }
}

fn serve<B: Batch>(committer: &mut Committer<B>, queue: &Receiver<B::Request>) {
    let mut last = (1, Duration::ZERO);
    while let Ok(first) = queue.recv() {
        let begun = Instant::now();
        let requests = gather::<B>(first, queue, last);
        let count = requests.len();
        let flushing = Instant::now();
        committer.commit(requests);
        last = (count, flushing.elapsed());
        tracing::trace!(count, waited = ?(flushing - begun), took = ?last.1, "committed");
    }
    committer.close();
}

/// Takes what is queued. Callers that have just been answered together often come back together, so a fraction of a
/// commit is spent on waiting for as many as came last time; a lone caller never waits.
fn gather<B: Batch>(first: B::Request, queue: &Receiver<B::Request>, last: (usize, Duration)) -> Vec<B::Request> {
    let (expected, took) = last;
    let mut weight = B::weight(&first);
    let mut requests = vec![first];
    let deadline = Instant::now() + took / 4;
    while requests.len() < MAX_REQUESTS && weight < MAX_WEIGHT {
        let next = match queue.try_recv() {
            Ok(next) => Some(next),
            Err(_) if requests.len() < expected => {
                queue.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
            Err(_) => None,
        };
        let Some(next) = next else { break };
        weight += B::weight(&next);
        requests.push(next);
    }
    requests
}

#[cfg(test)]
mod tests;
