//! A model that is not whole yet: a folder beside the others that one pull at a time fills.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Error;

/// What the names of such folders, and of files in them that are not whole, end with.
pub(super) const ENDING: &str = ".part";

/// The folder of what has come of the model `name`.
pub(super) fn folder(shelf: &Path, name: &str) -> PathBuf {
    shelf.join(format!("{name}{ENDING}"))
}

/// The folder, and the right to fill it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) folder: PathBuf,
    /// The lock is on the folder itself, so that nothing is left of it when the folder is.
    _lock: File,
}

impl Part {
    /// Makes the folder or takes up the one that is there; waits while another pull has it, which `waits` is told.
    pub(super) fn take(shelf: &Path, name: &str, waits: &dyn Fn()) -> Result<Self, Error> {
        let folder = folder(shelf, name);
        loop {
            std::fs::create_dir_all(&folder).map_err(|error| Error::disk("make", &folder, error))?;
            let lock = match File::open(&folder) {
                Ok(lock) => lock,
                // Whoever had it is just done.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::disk("open", &folder, error)),
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    waits();
                    lock.lock().map_err(|error| Error::disk("lock", &folder, error))?;
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(Error::disk("lock", &folder, error)),
            }
            if is_still(&lock, &folder) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// Removes it with everything in it.
    pub(super) fn discard(self) -> Result<(), Error> {
        std::fs::remove_dir_all(&self.folder).map_err(|error| Error::disk("remove", &self.folder, error))
    }

    /// Whether nothing has come that another pull could go on with.
    pub(super) fn is_empty(&self) -> bool {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).all(|metadata| metadata.len() == 0)
    }

    /// Makes it the folder `whole`, in place of what is there.
    pub(super) fn finish(self, whole: &Path) -> Result<(), Error> {
        let moved = |error| Error::disk("put in place", whole, error);
        let aside = whole.with_file_name(format!(".{}.old", whole.file_name().unwrap_or_default().display()));
        if aside.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&aside).map_err(moved)?;
        }
        sync(&self.folder)?;
        match std::fs::rename(whole, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(moved(error)),
            _ => {}
        }
        std::fs::rename(&self.folder, whole).map_err(moved)?;
        if aside.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&aside).map_err(moved)?;
        }
        whole.parent().map_or(Ok(()), sync)
    }
}

/// Removes what has come of the model `name`, unless a pull fills it just now; true when there was anything.
pub(super) fn discard(shelf: &Path, name: &str) -> Result<bool, Error> {
    let folder = folder(shelf, name);
    let removed = |error| Error::disk("remove", &folder, error);
    let lock = match File::open(&folder) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(removed(error)),
    };
    match lock.try_lock() {
        Ok(()) if is_still(&lock, &folder) => std::fs::remove_dir_all(&folder).map(|()| true).map_err(removed),
        Ok(()) => Ok(false),
        Err(_) => Err(removed(std::io::Error::other("a pull fills it just now"))),
    }
}

/// Whether `path` still is what `file` was opened as.
fn is_still(file: &File, path: &Path) -> bool {
    let same =
        |one: &std::fs::Metadata, other: &std::fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    matches!((file.metadata(), std::fs::metadata(path)), (Ok(one), Ok(other)) if same(&one, &other))
}

/// Makes sure that the names in `folder` outlive a loss of power.
fn sync(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::disk("write", folder, error))
}
