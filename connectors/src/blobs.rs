//! Blobs: named bytes that are whole or absent, on `object_store`.
//!
//! A store in a folder of this machine reads and writes the files itself: pieces are large, the disk is kept busy while
//! bytes still arrive, and a file gets its final name only when it is durable. A store in a bucket ([`s3`]) does the same over
//! a network that breaks: parts travel side by side, torn answers are asked for again.

use std::io::{Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use schemas::Claim;
use sha2::{Digest, Sha256};

mod cache;
mod file;
mod folder;
mod grow;
mod grown;
mod key;
mod read;
mod remote;
pub mod s3;
mod write;

pub use grow::{Appender, Growing, Sum};
pub use read::PIECE_BYTES;
pub use write::Writer;

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

/// Address of a store in memory.
const MEMORY: &str = "memory://blobs";

/// The blob store. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Folder behind the store, when it is one of this machine.
    folder: Option<Arc<folder::Folder>>,
    /// Bucket behind the store, when it is one.
    bucket: Option<Arc<s3::Bucket>>,
    /// Copies of blobs that lie elsewhere.
    cache: Option<Arc<cache::Cache>>,
    /// Address of the store, for claims from outside.
    uri: Arc<str>,
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

impl Blobs {
    /// The store in `folder`, which is made if it is missing. What a crash left half-written is removed.
    pub fn in_folder(folder: &Path) -> Result<Self, Error> {
        let folder = folder::Folder::open(folder)?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder.root())
            .map_err(|error| failed("open", &folder.root().display().to_string(), error))?
            .with_fsync(true);
        let uri = format!("file://{}", folder.root().display()).into();
        Ok(Self { store: Arc::new(store), folder: Some(Arc::new(folder)), bucket: None, cache: None, uri })
    }

    /// A store that is gone with the process.
    pub fn in_memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, folder: None, bucket: None, cache: None, uri: MEMORY.into() }
    }

    /// A store in memory behind `store`, such as one that fails on purpose.
    pub fn in_memory_behind(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..Self::in_memory() }
    }

    /// The store in the bucket of `settings`. Answers within 10 s, with what is wrong if it cannot be used.
    pub async fn in_bucket(settings: &s3::Settings) -> Result<Self, s3::Trouble> {
        let bucket = s3::Bucket::open(settings).await?;
        let uri = settings.uri().into();
        Ok(Self { store: bucket.store(), folder: None, bucket: Some(Arc::new(bucket)), cache: None, uri })
    }

    /// Keeps copies in `folder` for [`Blobs::open_claim`], as a rule no more than `most_bytes`: what is in use is never removed.
    /// Processes of one machine share a folder. A store in a folder needs none and ignores it.
    pub fn with_cache(mut self, folder: &Path, most_bytes: u64) -> Result<Self, Error> {
        if self.bucket.is_some() {
            self.cache = Some(Arc::new(cache::Cache::open(folder, most_bytes)?));
        }
        Ok(self)
    }

    /// Address of the store.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// What a claim calls the blob `key` of the configured store.
    pub fn claim_uri(key: &str) -> String {
        format!("{}{key}", key::SCHEME)
    }

    /// The key that the `uri` of a claim stands for: `blob:<key>`, or the full address of an object in this store.
    pub fn resolve(&self, uri: &str) -> Result<String, Error> {
        key::resolve(&self.uri, uri).ok_or_else(|| Error::Foreign { uri: uri.to_owned(), store: self.uri.to_string() })
    }

    /// The local file behind `key`, whether it exists or not; absent for stores elsewhere and for impossible keys.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        key::check(key).ok()?;
        self.folder.as_ref().map(|folder| folder.path(key))
    }

    /// Opens what `claim` says as a file of this machine: the file of the store itself, or a copy in the cache
    /// ([`Blobs::with_cache`]).
    ///
    /// The size is always checked, and of copies the SHA-256. Of a file of the store it is checked when `is_doubted`: it costs a
    /// whole read.
    pub async fn open_claim(&self, claim: &Claim, is_doubted: bool) -> Result<std::fs::File, Error> {
        let key = self.resolve(&claim.uri)?;
        if let (Some(bucket), Some(cache)) = (&self.bucket, &self.cache) {
            return cache.get(bucket, &key, claim).await;
        }
        let Some(folder) = self.folder.clone() else {
            if *self.uri == *MEMORY {
                self.verify(claim).await?;
                return self.copy_out(&key).await;
            }
            let source = "it is no file of this machine, and there is no folder for copies".into();
            return Err(Error::Store { doing: "open", key, source });
        };
        if is_doubted {
            self.verify(claim).await?;
        }
        let (owned, size) = (key.clone(), claim.size);
        blocking("open", &key, move || match folder.open_blob(&owned)? {
            (file, found) if found == size => Ok(file),
            (_, found) => {
                let what = format!("it has {found} bytes, {size} were claimed");
                Err(Error::Mismatch { key: owned, what })
            }
        })
        .await
    }

    /// An anonymous file in memory with the bytes of `key`.
    async fn copy_out(&self, key: &str) -> Result<std::fs::File, Error> {
        let bytes = self.read(key).await?;
        let copy = || {
            let mut file = std::fs::File::from(rustix::fs::memfd_create("blob", rustix::fs::MemfdFlags::CLOEXEC)?);
            file.write_all(&bytes)?;
            file.rewind()?;
            Ok(file)
        };
        let failed =
            |source: std::io::Error| Error::Store { doing: "open", key: key.to_owned(), source: source.into() };
        copy().map_err(failed)
    }

    /// Writes a whole blob; one of the same name is replaced. Durable when it answers.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<Claim, Error> {
        self.put_whole(key, bytes, true).await
    }

    /// Writes a whole blob if there is none of the same name. Durable when it answers.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Claim, Error> {
        self.put_whole(key, bytes, false).await
    }

    async fn put_whole(&self, key: &str, bytes: Bytes, replace: bool) -> Result<Claim, Error> {
        key::check(key)?;
        if let Some(folder) = self.folder.clone() {
            let owned = key.to_owned();
            return blocking("write", key, move || folder.put(&owned, &bytes, replace)).await;
        }
        if let Some(bucket) = &self.bucket {
            return if replace { bucket.put(key, bytes).await } else { bucket.create(key, bytes).await };
        }
        let claim = claim(key, bytes.len() as u64, &Sha256::digest(&bytes));
        let mode = if replace { object_store::PutMode::Overwrite } else { object_store::PutMode::Create };
        let at = key::location(key)?;
        self.store.put_opts(&at, bytes.into(), mode.into()).await.map_err(|error| failed("write", key, error))?;
        Ok(claim)
    }

    /// Begins a blob that is written piece by piece; nothing of it can be seen before [`Writer::finish`].
    ///
    /// It replaces a blob of the same name: buckets can create if absent in single requests only ([`Blobs::create`]). So whatever
    /// is large goes to a key that nobody else writes other bytes to, such as one below its job that is named by a task key.
    pub async fn writer(&self, key: &str) -> Result<Writer, Error> {
        key::check(key)?;
        Ok(Writer::on(match (self.folder.clone(), self.bucket.clone()) {
            (Some(folder), _) => write::Side::File(file::Writer::begin(folder, key).await?),
            (None, Some(bucket)) => write::Side::Bucket(Box::new(s3::Writer::begin(bucket, key)?)),
            (None, None) => write::Side::Remote(remote::Writer::begin(Arc::clone(&self.store), key).await?),
        }))
    }

    /// Begins a blob as [`Blobs::writer`] does, and keeps a copy for [`Blobs::open_claim`] where there is a cache.
    pub async fn kept_writer(&self, key: &str) -> Result<Writer, Error> {
        let copy = match self.cache.clone() {
            Some(cache) => {
                let owned = key.to_owned();
                blocking("write", key, move || Ok(cache.keep(&owned).ok())).await?
            }
            None => None,
        };
        Ok(self.writer(key).await?.with_copy(copy))
    }

    /// Size and time of `key`.
    pub async fn head(&self, key: &str) -> Result<Meta, Error> {
        key::check(key)?;
        if let Some(folder) = self.folder.clone() {
            let owned = key.to_owned();
            return blocking("look up", key, move || folder.head(&owned)).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.head(key).await;
        }
        let found = self.store.head(&key::location(key)?).await.map_err(|error| failed("look up", key, error))?;
        Ok(Meta { key: key.to_owned(), size: found.size, modified_ms: found.last_modified.timestamp_millis() })
    }

    /// Streams `key`, or the bytes of it that lie in `range`, in pieces of [`PIECE_BYTES`] where the store allows it.
    ///
    /// A range must lie inside the blob and be none that is empty, else the answer is [`Error::BadRange`].
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        key::check(key)?;
        if let Some(folder) = self.folder.clone() {
            return read::file(folder, key, range).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.get(key, range).await;
        }
        if let Some(range) = &range {
            check_range(key, range, self.head(key).await?.size)?;
        }
        let options = object_store::GetOptions { range: range.map(Into::into), ..Default::default() };
        let got = self.store.get_opts(&key::location(key)?, options).await;
        let owned = key.to_owned();
        let pieces = got.map_err(|error| failed("read", key, error))?.into_stream();
        Ok(pieces.map_err(move |error| failed("read", &owned, error)).boxed())
    }

    /// All bytes of `key`.
    pub async fn read(&self, key: &str) -> Result<Bytes, Error> {
        key::check(key)?;
        if let Some(folder) = self.folder.clone() {
            let owned = key.to_owned();
            return blocking("read", key, move || folder.read(&owned)).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.read(key).await;
        }
        let got = self.store.get(&key::location(key)?).await.map_err(|error| failed("read", key, error))?;
        got.bytes().await.map_err(|error| failed("read", key, error))
    }

    /// Blobs below the folder `prefix` in order of their keys; all for an empty one.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Meta>, Error> {
        let mut metas: Vec<Meta> = self.walk(prefix)?.try_collect().await?;
        metas.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(metas)
    }

    /// Blobs below the folder `prefix` as they are found, page by page, in no order; all for an empty one.
    pub fn walk(&self, prefix: &str) -> Result<BoxStream<'static, Result<Meta, Error>>, Error> {
        if let Some(bucket) = &self.bucket {
            return bucket.list(prefix);
        }
        let (below, shown) = (key::prefix(prefix)?, prefix.to_owned());
        let found = self.store.list(below.as_ref()).map_err(move |error| failed("list", &shown, error));
        let metas = found.map_ok(|found| Meta {
            key: found.location.to_string(),
            size: found.size,
            modified_ms: found.last_modified.timestamp_millis(),
        });
        Ok(metas.try_filter(|meta| futures::future::ready(key::check(&meta.key).is_ok())).boxed())
    }

    /// Removes `key`; it is fine if there is none.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        key::check(key)?;
        if let Some(folder) = self.folder.clone() {
            let owned = key.to_owned();
            return blocking("remove", key, move || folder.delete(&owned)).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.delete(key).await;
        }
        match self.store.delete(&key::location(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove", key, error)),
        }
    }

    /// Removes the copies of `key` on this machine ([`Blobs::with_cache`]); what lies in the store stays.
    pub async fn forget(&self, key: &str) -> Result<(), Error> {
        let Some(cache) = self.cache.clone() else { return Ok(()) };
        let owned = key.to_owned();
        let forget = move || cache.forget(&owned).map_err(|error| cache::no_copy(&owned, error));
        blocking("remove", key, forget).await
    }

    /// Removes everything below the folder `prefix`, empty folders included; answers how many blobs there were.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64, Error> {
        let Some(below) = key::prefix(prefix)? else {
            return Err(key::refused(prefix, "an empty prefix would remove everything"));
        };
        if let Some(folder) = self.folder.clone() {
            return blocking("remove", prefix, move || folder.delete_below(below.as_ref())).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.delete_prefix(prefix).await;
        }
        let found = self.store.list(Some(&below)).map_ok(|found| found.location).boxed();
        let removed: Vec<object_store::path::Path> =
            self.store.delete_stream(found).try_collect().await.map_err(|error| failed("remove", prefix, error))?;
        Ok(removed.len() as u64)
    }

    /// Removes what lies below the folder `prefix` but the blobs `kept`; answers how many blobs there were.
    pub async fn delete_prefix_but(&self, prefix: &str, kept: &[String]) -> Result<u64, Error> {
        let mut removed = 0;
        for blob in self.list(prefix).await? {
            if !kept.contains(&blob.key) {
                self.delete(&blob.key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Bytes of all blobs.
    pub async fn usage(&self) -> Result<u64, Error> {
        let add = |total: u64, meta: Meta| async move { Ok(total + meta.size) };
        self.walk("")?.try_fold(0, add).await
    }

    /// Gives up what was begun before `before_ms` (milliseconds since the Unix epoch) and never finished, such as the parts that
    /// a crash leaves in a bucket, unless it becomes a blob whose key `is_kept`; answers how many that were. A folder collects its
    /// own when it is opened.
    pub async fn give_up_unfinished(
        &self,
        before_ms: i64,
        is_kept: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<u64, Error> {
        match &self.bucket {
            Some(bucket) => bucket.give_up_unfinished(before_ms, is_kept).await,
            None => Ok(0),
        }
    }

    /// Answers when blobs can be read and written, or says why not.
    pub async fn check(&self) -> Result<(), Error> {
        if let Some(folder) = self.folder.clone() {
            return blocking("check", "", move || folder.check()).await;
        }
        if let Some(bucket) = &self.bucket {
            return bucket.check().await;
        }
        self.store.list_with_delimiter(None).await.map(drop).map_err(|error| failed("list", "", error))
    }

    /// Makes sure that the bytes of `claim` are in this store and what they are said to be; answers their key.
    pub async fn verify(&self, claim: &Claim) -> Result<String, Error> {
        let key = self.resolve(&claim.uri)?;
        let size = self.head(&key).await?.size;
        if size != claim.size {
            let what = format!("it has {size} bytes, {} were claimed", claim.size);
            return Err(Error::Mismatch { key, what });
        }
        let hash = match &self.bucket {
            Some(bucket) => bucket.hash(&key, &claim.sha256).await?,
            None => self.hash(&key).await?,
        };
        if hash != claim.sha256 {
            let what = format!("its SHA-256 is {hash}, {} was claimed", claim.sha256);
            return Err(Error::Mismatch { key, what });
        }
        Ok(key)
    }
}

fn claim(key: &str, size: u64, hash: &[u8]) -> Claim {
    Claim { uri: Blobs::claim_uri(key), size, sha256: schemas::id::hex(hash) }
}

fn check_range(key: &str, range: &Range<u64>, size: u64) -> Result<(), Error> {
    if range.start < range.end && range.end <= size {
        return Ok(());
    }
    Err(Error::BadRange { key: key.to_owned(), start: range.start, end: range.end })
}

/// Does file work where it may block.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    key: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::Store { doing, key: key.to_owned(), source: Box::new(error) })?
}

/// Says which of our errors `error` of the store is.
fn failed(doing: &'static str, key: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound(key.to_owned()),
        object_store::Error::AlreadyExists { .. } => Error::AlreadyExists(key.to_owned()),
        other if is_full(&other) => Error::Full,
        other => Error::Store { doing, key: key.to_owned(), source: Box::new(other) },
    }
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| folder::is_full(error.kind())) {
            return true;
        }
        cause = error.source();
    }
    false
}
