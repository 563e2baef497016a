//! Writing a blob into a folder piece by piece.
//!
//! Three things go on at once: bytes arrive, gathered pieces are hashed and written, and what is written is flushed. Only
//! so much may be unflushed, so that the last flush is short whatever the size of the blob.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use schemas::Claim;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::folder::{Folder, Staged, stage_failed};
use super::grow::Growing;
use super::{Error, blocking, claim};

/// Bytes that are gathered before they are written.
const GATHER_BYTES: usize = 1 << 20;
/// Bytes after which a flush begins in the background.
const FLUSH_BYTES: u64 = 4 << 20;
/// Bytes that may wait for their flush.
const UNFLUSHED_BYTES: u64 = 12 << 20;

/// A blob that is being written. The staged file lives with whoever works on it; dropped, it is removed.
pub(super) struct Writer {
    folder: Arc<Folder>,
    key: String,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    state: State,
    /// The staged file, for flushing it while somebody else works on it.
    file: Arc<File>,
    flush: Option<JoinHandle<std::io::Result<()>>>,
    /// Bytes that have been flushed.
    flushed: Arc<AtomicU64>,
}

enum State {
    /// Nobody works on the file.
    Idle(Box<Open>),
    /// Pieces are being hashed and written.
    Busy(JoinHandle<Result<Box<Open>, Error>>),
    /// A piece could not be written; the blob can only be given up.
    Broken,
}

struct Open {
    staged: Staged,
    hasher: Option<Sha256>,
    size: u64,
}

impl Writer {
    pub(super) async fn begin(folder: Arc<Folder>, key: &str) -> Result<Self, Error> {
        let (place, owned) = (Arc::clone(&folder), key.to_owned());
        let staged = blocking("write", key, move || place.stage(&owned)).await?;
        let file = Arc::clone(&staged.file);
        let open = Box::new(Open { staged, hasher: Some(Sha256::new()), size: 0 });
        Ok(Self {
            folder,
            key: key.to_owned(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            state: State::Idle(open),
            file,
            flush: None,
            flushed: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Goes on with `growing`; answers how many bytes it has.
    pub(super) async fn resume(folder: Arc<Folder>, growing: &Growing) -> Result<(Self, u64), Error> {
        let (place, of) = (Arc::clone(&folder), growing.clone());
        let (staged, size) = blocking("write", &growing.key, move || place.resume_file(&of)).await?;
        let file = Arc::clone(&staged.file);
        // Whoever appends keeps the sum of the whole; this one would begin in the middle.
        let open = Box::new(Open { staged, hasher: None, size });
        let (gathered, flushed) = (Vec::new(), Arc::new(AtomicU64::new(size)));
        let state = State::Idle(open);
        let key = growing.key.clone();
        Ok((Self { folder, key, gathered, gathered_bytes: 0, state, file, flush: None, flushed }, size))
    }

    /// Makes durable what was written so far.
    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        let open = self.settle().await?;
        self.spill(open);
        let open = self.settle().await?;
        let (file, key) = (Arc::clone(&self.file), self.key.clone());
        self.flushed.store(open.size, Ordering::Release);
        self.state = State::Idle(open);
        blocking("write", &self.key, move || file.sync_data().map_err(|error| stage_failed(&key, error))).await
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes < GATHER_BYTES {
            return Ok(());
        }
        let open = self.settle().await?;
        let written = open.size;
        self.spill(open);
        self.keep_flushing(written).await
    }

    /// Waits until nobody works on the file.
    async fn settle(&mut self) -> Result<Box<Open>, Error> {
        // A wait that is dropped must find its work again, so the state is taken only when the work is done.
        let outcome = match &mut self.state {
            State::Busy(work) => Some(work.await),
            State::Idle(_) | State::Broken => None,
        };
        match (std::mem::replace(&mut self.state, State::Broken), outcome) {
            (State::Idle(open), _) => Ok(open),
            (_, Some(Ok(result))) => result,
            (_, Some(Err(error))) => Err(self.failed(error)),
            (_, None) => Err(self.failed("an earlier piece could not be written")),
        }
    }

    /// Begins to hash and write what is gathered.
    fn spill(&mut self, mut open: Box<Open>) {
        let pieces = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let key = self.key.clone();
        self.state = State::Busy(tokio::task::spawn_blocking(move || {
            for piece in &pieces {
                if let Some(hasher) = &mut open.hasher {
                    hasher.update(piece);
                }
                (&*open.staged.file).write_all(piece).map_err(|error| stage_failed(&key, error))?;
                open.size += piece.len() as u64;
            }
            Ok(open)
        }));
    }

    /// Flushes beside the writing, and waits when too much is not on the disk yet.
    async fn keep_flushing(&mut self, written: u64) -> Result<(), Error> {
        loop {
            if self.flush.as_ref().is_some_and(JoinHandle::is_finished) {
                self.end_flush().await?;
            }
            let unflushed = written.saturating_sub(self.flushed.load(Ordering::Acquire));
            if self.flush.is_none() && unflushed >= FLUSH_BYTES {
                self.begin_flush(written);
            }
            if unflushed < UNFLUSHED_BYTES {
                return Ok(());
            }
            self.end_flush().await?;
        }
    }

    /// Flushes at least the first `written` bytes.
    fn begin_flush(&mut self, written: u64) {
        let (file, flushed) = (Arc::clone(&self.file), Arc::clone(&self.flushed));
        self.flush = Some(tokio::task::spawn_blocking(move || {
            file.sync_data()?;
            flushed.store(written, Ordering::Release);
            Ok(())
        }));
    }

    async fn end_flush(&mut self) -> Result<(), Error> {
        let Some(flush) = &mut self.flush else { return Ok(()) };
        let outcome = flush.await;
        self.flush = None;
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(stage_failed(&self.key, error)),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) async fn finish(mut self) -> Result<Claim, Error> {
        let open = self.settle().await?;
        self.spill(open);
        let open = self.settle().await?;
        let (folder, key) = (Arc::clone(&self.folder), self.key.clone());
        blocking("write", &self.key, move || {
            folder.publish(&open.staged, &key, true)?;
            let sum = open.hasher.map(Sha256::finalize).unwrap_or_default();
            Ok(claim(&key, open.size, &sum))
        })
        .await
    }

    pub(super) async fn abort(mut self) -> Result<(), Error> {
        // A piece that could not be written is no reason to keep the others.
        let open = self.settle().await.ok();
        blocking("remove", &self.key, move || {
            drop(open);
            Ok(())
        })
        .await
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Store { doing: "write", key: self.key.clone(), source: source.into() }
    }
}
