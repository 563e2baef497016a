//! Files of a blob store in a folder: durable first, visible second.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use schemas::Claim;
use sha2::{Digest, Sha256};

use super::grow::Growing;
use super::{Error, Meta, claim, key};

/// Attempts to put a file into a folder that somebody else removes because it is empty.
const PUBLISH_ATTEMPTS: usize = 100;

/// What the file of a growing blob is called in its room.
const GROWING: &str = "bytes";

/// A folder of blobs.
pub(super) struct Folder {
    root: PathBuf,
    staged: AtomicU64,
}

/// Whether an error of this kind means that there is no room.
pub(super) fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Says which of our errors `error` of the file system is.
pub(super) fn failed(doing: &'static str, key: &str, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound(key.to_owned()),
        ErrorKind::AlreadyExists => Error::AlreadyExists(key.to_owned()),
        kind if is_full(kind) => Error::Full,
        _ => Error::Store { doing, key: key.to_owned(), source: Box::new(error) },
    }
}

impl Folder {
    /// Makes the folder if it is missing and removes what a crash left half-written.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let shown = root.display().to_string();
        let refused =
            |error: std::io::Error| Error::Store { doing: "open", key: shown.clone(), source: Box::new(error) };
        std::fs::create_dir_all(root.join(key::STAGING)).map_err(refused)?;
        let root = root.canonicalize().map_err(refused)?;
        let folder = Self { root, staged: AtomicU64::new(0) };
        sync_folder(&folder.root).map_err(refused)?;
        folder.collect().map_err(refused)?;
        Ok(folder)
    }

    /// Removes staged files that no living process writes. Writers hold a lock on theirs.
    fn collect(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.root.join(key::STAGING))? {
            let path = entry?.path();
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => {
                    remove(&path)?;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where the folder is, as an absolute path without links.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of `key`.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        key::file(&self.root, key)
    }

    /// A new file that nobody sees until it is published.
    pub(super) fn stage(&self, key: &str) -> Result<Staged, Error> {
        loop {
            let count = self.staged.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join(key::STAGING).join(format!("{}-{count}#1", std::process::id()));
            let file = match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                // Left by a process of the same number that is still being collected.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(stage_failed(key, error)),
            };
            let staged = Staged { path, file: Arc::new(file), is_kept: false };
            staged.file.lock().map_err(|error| stage_failed(key, error))?;
            // Somebody may have collected the file before it was locked.
            if staged.path.exists() {
                return Ok(staged);
            }
        }
    }

    /// Gives a staged file its name, once its bytes are durable.
    pub(super) fn publish(&self, staged: &Staged, key: &str, replace: bool) -> Result<(), Error> {
        staged.file.sync_all().map_err(|error| stage_failed(key, error))?;
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        for attempt in 1.. {
            let moved = self.make_folder(folder).and_then(|()| match replace {
                true => std::fs::rename(&staged.path, &path),
                false => std::fs::hard_link(&staged.path, &path),
            });
            match moved {
                Ok(()) => break,
                // The folder was empty for a moment, and somebody is removing its prefix.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < PUBLISH_ATTEMPTS => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !replace => {
                    return Err(Error::AlreadyExists(key.to_owned()));
                }
                Err(error) => return Err(stage_failed(key, error)),
            }
        }
        match sync_folder(folder) {
            // The blob was there, and its prefix has been removed since.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|error| stage_failed(key, error)),
        }
    }

    /// Makes `folder` and those above it durable parts of the store.
    fn make_folder(&self, folder: &Path) -> std::io::Result<()> {
        if folder.is_dir() || folder == self.root {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.root);
        self.make_folder(above)?;
        match std::fs::create_dir(folder) {
            Ok(()) => sync_folder(above),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the file of `growing`.
    pub(super) fn begin_file(&self, growing: &Growing) -> Result<(), Error> {
        self.put(&growing.within(GROWING), &[], true).map(drop)
    }

    /// Durable bytes of `growing`.
    pub(super) fn grown(&self, growing: &Growing) -> Result<u64, Error> {
        let key = growing.within(GROWING);
        let (file, size) = self.open_blob(&key)?;
        // A process that was killed may have written more than it flushed.
        file.sync_data().map_err(|error| failed("look up", &key, error))?;
        Ok(size)
    }

    /// Opens the file of `growing` behind its last byte; answers how many it has.
    pub(super) fn resume_file(&self, growing: &Growing) -> Result<(Staged, u64), Error> {
        let key = growing.within(GROWING);
        let path = self.path(&key);
        let opened = File::options().write(true).open(&path).and_then(|mut file| {
            let size = file.seek(std::io::SeekFrom::End(0))?;
            file.sync_data()?;
            Ok((file, size))
        });
        let (file, size) = opened.map_err(|error| failed("write", &key, error))?;
        Ok((Staged { path, file: Arc::new(file), is_kept: true }, size))
    }

    /// Writes a whole blob.
    pub(super) fn put(&self, key: &str, bytes: &[u8], replace: bool) -> Result<Claim, Error> {
        if !replace && self.path(key).exists() {
            return Err(Error::AlreadyExists(key.to_owned()));
        }
        let staged = self.stage(key)?;
        (&*staged.file).write_all(bytes).map_err(|error| stage_failed(key, error))?;
        self.publish(&staged, key, replace)?;
        Ok(claim(key, bytes.len() as u64, &Sha256::digest(bytes)))
    }

    /// Opens the file of `key`; answers its size as well.
    pub(super) fn open_blob(&self, key: &str) -> Result<(File, u64), Error> {
        let file = File::open(self.path(key)).map_err(|error| failed("read", key, error))?;
        let found = file.metadata().map_err(|error| failed("read", key, error))?;
        if !found.is_file() {
            return Err(Error::NotFound(key.to_owned()));
        }
        Ok((file, found.len()))
    }

    /// Size and time of `key`.
    pub(super) fn head(&self, key: &str) -> Result<Meta, Error> {
        let found = std::fs::metadata(self.path(key)).map_err(|error| failed("look up", key, error))?;
        if !found.is_file() {
            return Err(Error::NotFound(key.to_owned()));
        }
        let modified = found.modified().map_err(|error| failed("look up", key, error))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Ok(Meta { key: key.to_owned(), size: found.len(), modified_ms })
    }

    /// All bytes of `key`.
    pub(super) fn read(&self, key: &str) -> Result<Bytes, Error> {
        let (mut file, size) = self.open_blob(key)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(|error| failed("read", key, error))?;
        Ok(bytes.into())
    }

    /// SHA-256 of `key` in hex.
    pub(super) fn hash(&self, key: &str) -> Result<String, Error> {
        let (mut file, _) = self.open_blob(key)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; super::PIECE_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(schemas::id::hex(&hasher.finalize())),
                Ok(count) => hasher.update(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", key, error)),
            }
        }
    }

    /// Removes the file of `key`, if there is one. Folders are no blobs.
    pub(super) fn delete(&self, key: &str) -> Result<(), Error> {
        match remove(&self.path(key)) {
            Err(error) if !matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::NotADirectory) => {
                Err(failed("remove", key, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes all files below `prefix` and the folders that get empty.
    pub(super) fn delete_below(&self, prefix: &str) -> Result<u64, Error> {
        let folder = self.path(prefix);
        let removed = clear(&folder).map_err(|error| failed("remove", prefix, error))?;
        let mut above = folder.parent();
        while let Some(empty) = above.filter(|above| above.starts_with(&self.root) && *above != self.root) {
            if std::fs::remove_dir(empty).is_err() {
                break;
            }
            above = empty.parent();
        }
        Ok(removed)
    }

    /// Whether files can be made here.
    pub(super) fn check(&self) -> Result<(), Error> {
        let staged = self.stage("")?;
        (&*staged.file).write_all(b"?").map_err(|error| stage_failed("", error))
    }
}

/// Removes what lies in `folder`, then the folder; answers how many files that were. A folder into which somebody writes
/// meanwhile stays.
fn clear(folder: &Path) -> std::io::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => removed += clear(&entry.path())?,
            Ok(_) => removed += u64::from(remove(&entry.path())?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match std::fs::remove_dir(folder) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Err(error),
        _ => Ok(removed),
    }
}

/// Removes a file; answers whether it was there.
fn remove(path: &Path) -> std::io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Like [`failed`], for work on files whose absence is no answer to the caller.
pub(super) fn stage_failed(key: &str, error: std::io::Error) -> Error {
    if is_full(error.kind()) {
        return Error::Full;
    }
    Error::Store { doing: "write", key: key.to_owned(), source: Box::new(error) }
}

/// A half-written file; gone when dropped, unless it has got another name or is to be kept.
pub(super) struct Staged {
    path: PathBuf,
    pub(super) file: Arc<File>,
    is_kept: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a half-written blob cannot be removed");
        }
    }
}
