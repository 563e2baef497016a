//! Where a database lives, and how it is opened again after a failure.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::Database;

use super::Fault;

/// How long readers may keep a failed database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file of a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One process owns the files of a folder at a time.
    #[error("folder {} is in use by another process: stop it, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// A folder cannot be made.
    #[error("make folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be read or made.
    #[error("open {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Opens the database at `path`, making it and its folder if they are missing.
fn open(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |source: Fault| OpenError::File { path: path.to_owned(), source: Box::new(source) };
    std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })?;
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    if !path.exists() {
        // A crash while the file is being laid out must not leave half a database under its final name.
        let staged = path.with_extension("new");
        match std::fs::remove_file(&staged) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(Fault::new(error))),
            _ => {}
        }
        drop(builder.create(&staged).map_err(|error| failed(error.into()))?);
        std::fs::rename(&staged, path)
            .and_then(|()| std::fs::File::open(folder)?.sync_all())
            .map_err(|error| failed(Fault::new(error)))?;
    }
    builder.open(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
            OpenError::InUse(folder.to_owned())
        }
        other => failed(other.into()),
    })
}

type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// The place of a database. After a failed commit `redb` takes no more writes until it is opened again; that happens here,
/// so that a disk which was full for a while does not end the process.
pub(crate) struct Home {
    database: RwLock<Option<Arc<Database>>>,
    /// Absent when nothing would be left after closing.
    open: Option<Opener>,
}

impl Home {
    /// The file `path`, made if it is missing.
    pub(crate) fn on_disk(path: &Path, cache_bytes: usize) -> Result<Arc<Self>, OpenError> {
        let path = path.to_owned();
        Self::opened_by(Box::new(move || open(&path, cache_bytes)))
    }

    /// Whatever `open` opens.
    pub(super) fn opened_by(open: Opener) -> Result<Arc<Self>, OpenError> {
        let database = RwLock::new(Some(Arc::new(open()?)));
        Ok(Arc::new(Self { database, open: Some(open) }))
    }

    /// Memory of this process.
    pub(crate) fn in_memory() -> Result<Arc<Self>, OpenError> {
        let database = Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|error| OpenError::File { path: PathBuf::from(":memory:"), source: Box::new(error) })?;
        Ok(Arc::new(Self { database: RwLock::new(Some(Arc::new(database))), open: None }))
    }

    /// The database; a fault while it cannot be opened.
    pub(crate) fn database(&self) -> Result<Arc<Database>, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or_else(|| Fault::new("the database has failed and cannot be opened again yet"))
    }

    /// Closes the database and opens it again.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        let Some(open) = &self.open else { return Ok(()) };
        let failed = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut failed) = failed {
            let deadline = Instant::now() + PATIENCE;
            // Reads that are under way end soon, and no new ones begin.
            loop {
                match Arc::try_unwrap(failed) {
                    Ok(database) => break drop(database),
                    Err(still_read) => failed = still_read,
                }
                if Instant::now() > deadline {
                    *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(failed);
                    return Err(Fault::new("the database has failed and is still being read"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let database = open().map_err(Fault::new)?;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(database));
        Ok(())
    }
}
