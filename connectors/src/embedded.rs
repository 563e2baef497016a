//! All doors on one machine: a folder that one process owns, or memory.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::{Blobs, Doors, blobs, catalog, log};

pub use crate::store::OpenError;

/// File of the log in a data folder.
pub(crate) const LOG_FILE: &str = "log.redb";
/// File of the catalog in a data folder.
pub(crate) const CATALOG_FILE: &str = "catalog.redb";

/// The doors cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be opened.
    #[error("open the log")]
    Log(#[source] OpenError),
    /// The catalog cannot be opened.
    #[error("open the catalog")]
    Catalog(#[source] OpenError),
    /// The blob store cannot be opened.
    #[error("open the blob store")]
    Blobs(#[source] blobs::Error),
    /// Another process owns the folder.
    #[error(transparent)]
    InUse(OpenError),
}

/// Opens the doors in `data`, making what is missing: `log.redb` with `log.journal`, `catalog.redb` and the
/// folder `blobs`.
///
/// Fails with [`Error::InUse`] while another process has them open.
pub fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<Doors, Error> {
    let told = |other: fn(OpenError) -> Error| {
        move |error| if matches!(error, OpenError::InUse(_)) { Error::InUse(error) } else { other(error) }
    };
    let log = open_log(data, Arc::clone(&clock)).map_err(told(Error::Log))?;
    let catalog = open_catalog(data).map_err(told(Error::Catalog))?;
    let blobs = Blobs::in_folder(&data.join("blobs")).map_err(Error::Blobs)?;
    Ok(Doors { log: Arc::new(log), catalog: Arc::new(catalog), blobs, clock })
}

/// Opens the log in `data`, making it if it is missing.
pub fn open_log(data: &Path, clock: Arc<dyn Clock>) -> Result<log::embedded::Embedded, OpenError> {
    log::embedded::Embedded::open(&data.join(LOG_FILE), clock)
}

/// Opens the catalog in `data`, making it if it is missing.
pub fn open_catalog(data: &Path) -> Result<catalog::embedded::Embedded, OpenError> {
    catalog::embedded::Embedded::open(&data.join(CATALOG_FILE))
}

/// Doors that are gone with the process. They never wait for a disk, so simulated time stands still while they work.
pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Doors, Error> {
    let log = log::embedded::Embedded::in_memory(Arc::clone(&clock)).map_err(Error::Log)?;
    let catalog = catalog::embedded::Embedded::in_memory().map_err(Error::Catalog)?;
    Ok(Doors { log: Arc::new(log), catalog: Arc::new(catalog), blobs: Blobs::in_memory(), clock })
}
