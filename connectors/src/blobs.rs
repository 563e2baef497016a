//! Blobs: named bytes that are whole or absent, on `object_store`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use schemas::Claim;

/// Why the blob store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No object of this name.
    #[error("blob `{0}` does not exist")]
    NotFound(String),
    /// An object of this name is there already.
    #[error("blob `{0}` exists already")]
    AlreadyExists(String),
    /// The range lies outside the object.
    #[error("range {start}..{end} lies outside blob `{key}`")]
    BadRange {
        /// The blob.
        key: String,
        /// First byte asked for.
        start: u64,
        /// First byte not asked for.
        end: u64,
    },
    /// The address is none of this store's.
    #[error("`{uri}` lies outside the blob store {store}")]
    Foreign {
        /// What was claimed.
        uri: String,
        /// Where the store is.
        store: String,
    },
    /// The bytes are others than claimed.
    #[error("blob `{key}` is not what was claimed: {what}")]
    Mismatch {
        /// The blob.
        key: String,
        /// The difference.
        what: String,
    },
    /// The store is full.
    #[error("the blob store is full: free some space and try again")]
    Full,
    /// The store failed.
    #[error("{doing} `{key}` in the blob store")]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// The blob or prefix.
        key: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The blob store. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn object_store::ObjectStore>,
    /// Folder behind the store, when it is one of this machine.
    folder: Option<PathBuf>,
    /// Address of the store, for claims from outside.
    uri: String,
}

/// Size and time of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Last change, milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

// To be built with exactly this surface:
//
// impl Blobs {
//     pub fn in_folder(folder: &Path) -> Result<Self, Error>;      // made if missing; fsync on
//     pub fn in_memory() -> Self;
//     pub fn uri(&self) -> &str;
//     pub fn claim_uri(key: &str) -> String;                       // "blob:<key>"
//     pub fn resolve(&self, uri: &str) -> Result<String, Error>;   // uri of a claim -> key; Foreign for anything else (`..` too)
//     pub fn path(&self, key: &str) -> Option<PathBuf>;            // local file behind a blob, for folder stores
//     pub async fn put(&self, key: &str, bytes: Bytes) -> Result<Claim, Error>;          // replaces
//     pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Claim, Error>;       // AlreadyExists if there
//     pub async fn writer(&self, key: &str) -> Result<Writer, Error>;                    // streaming put
//     pub async fn head(&self, key: &str) -> Result<Meta, Error>;
//     pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error>;
//     pub async fn read(&self, key: &str) -> Result<Bytes, Error>;
//     pub async fn list(&self, prefix: &str) -> Result<Vec<Meta>, Error>;
//     pub async fn delete(&self, key: &str) -> Result<(), Error>;          // absent is fine
//     pub async fn delete_prefix(&self, prefix: &str) -> Result<u64, Error>;   // how many
//     pub async fn usage(&self) -> Result<u64, Error>;                     // bytes of everything
//     pub async fn check(&self) -> Result<(), Error>;
//     pub async fn verify(&self, claim: &Claim) -> Result<String, Error>;  // resolve + size check + full hash
// }
// impl Writer {
//     pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;
//     pub fn written(&self) -> u64;
//     pub async fn finish(self) -> Result<Claim, Error>;            // durable and visible
//     pub async fn abort(self) -> Result<(), Error>;               // nothing stays; Drop without finish cleans up as well
// }
