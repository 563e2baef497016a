//! Blobs in a bucket of an S3 server.
//!
//! What the network breaks is mended here: refused and torn requests are sent again with growing pauses, bytes that arrive
//! changed are noticed (the server checks what it takes by SHA-256, whole blobs are checked by theirs when they are read) and
//! fetched again, answers that were lost are looked up instead of guessed. All of it ends: see [`Patience`].
//!
//! # Layout
//! - [`settings`], `profile`: where the bucket is and who asks
//! - here: whole blobs, lists and removal
//! - [`read`], [`write`], [`grow`]: ranges and parts
//! - `raw`, [`unfinished`]: requests that the client library lacks; [`diagnose`], [`trouble`]: what is wrong

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetResult, ObjectMeta, ObjectStore, PutMode, PutOptions};
use schemas::Claim;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Error, Meta, claim, failed, key};

mod diagnose;
mod grow;
mod profile;
mod raw;
mod read;
mod settings;
mod trouble;
mod unfinished;
mod write;

pub use diagnose::{diagnose, make_bucket};
pub use grow::Parts;
pub use settings::{Keys, Patience, Settings};
pub use trouble::Trouble;
pub(super) use write::Writer;

/// First and longest pause before something is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Metadata of an object: which call wrote it, so that a lost answer can be looked up.
const WRITE_ID: &str = "streamforge-write";
/// Metadata of an object that was written in one go: SHA-256 in hex.
const SHA256: &str = "streamforge-sha256";

/// A folder of a bucket.
pub(super) struct Bucket {
    store: AmazonS3,
    asker: raw::Asker,
    /// In the bucket, without slashes at its ends; may be empty.
    prefix: String,
    patience: Patience,
}

/// Why one attempt came to nothing.
enum Fault {
    /// The client library says so.
    Store(object_store::Error),
    /// Other bytes came than lie there.
    Torn(String),
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// Whether another attempt may go better.
    fn may_pass(&self) -> bool {
        match self {
            Self::Torn(_) => true,
            // Everything that has a kind of its own is an answer; the rest are networks and busy servers.
            Self::Store(object_store::Error::Generic { .. }) => !self.text().contains("416 Range Not Satisfiable"),
            Self::Store(object_store::Error::PermissionDenied { .. }) => {
                // A request that was changed on its way does not fit its signature.
                self.text().contains("SignatureDoesNotMatch") || self.text().contains("RequestTimeout")
            }
            Self::Store(_) => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Store(error) => error.to_string(),
            Self::Torn(what) => what.clone(),
        }
    }

    fn into_error(self, doing: &'static str, key: &str) -> Error {
        match self {
            Self::Store(error) if is_full(&error.to_string()) => Error::Full,
            Self::Store(error) => failed(doing, key, error),
            Self::Torn(what) => Error::Store { doing, key: key.to_owned(), source: what.into() },
        }
    }
}

/// Whether the server has no room; there is no standard word for it.
fn is_full(text: &str) -> bool {
    ["QuotaExceeded", "XMinioStorageFull", "507 Insufficient Storage", "no free volumes"]
        .iter()
        .any(|word| text.contains(word))
}

impl Bucket {
    /// Opens the bucket and looks whether it can be used, within 10 s.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Trouble> {
        let store = settings.builder().build().map_err(|error| Trouble::Settings(error.to_string()))?;
        let asker = diagnose::asker(settings, &store)?;
        diagnose::probe(settings, &asker).await?;
        Ok(Self { store, asker, prefix: settings.prefix.clone(), patience: settings.patience.clone() })
    }

    /// The client itself, which knows nothing of the prefix.
    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.store.clone())
    }

    /// The object of `key`.
    fn at(&self, key: &str) -> Result<Path, Error> {
        if self.prefix.is_empty() {
            return key::location(key);
        }
        key::location(&format!("{}/{key}", self.prefix))
    }

    /// The folder of `prefix`; absent for the whole bucket.
    fn below(&self, prefix: &str) -> Result<Option<Path>, Error> {
        Ok(match (key::prefix(prefix)?, self.prefix.is_empty()) {
            (below, true) => below,
            (None, false) => Some(key::location(&self.prefix)?),
            (Some(below), false) => Some(key::location(&format!("{}/{below}", self.prefix))?),
        })
    }

    /// The key of the object at `path`.
    fn key<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(path.as_ref());
        }
        path.as_ref().strip_prefix(self.prefix.as_str())?.strip_prefix('/')
    }

    /// Attempts until one succeeds, fails for good, or the patience is at an end.
    async fn insist<T, F>(&self, doing: &'static str, key: &str, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let fault = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            if !fault.may_pass() || begun.elapsed() > self.patience.retry {
                return Err(fault.into_error(doing, key));
            }
            tracing::debug!(doing, key, error = fault.text(), "the blob store failed: trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes a whole blob; one of the same name is replaced.
    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<Claim, Error> {
        let (at, claim) = (self.at(key)?, claim(key, bytes.len() as u64, &Sha256::digest(&bytes)));
        let attributes = about(&claim, &write_id());
        self.insist("write", key, || async {
            let options = PutOptions { attributes: attributes.clone(), ..PutMode::Overwrite.into() };
            self.store.put_opts(&at, bytes.clone().into(), options).await?;
            Ok(())
        })
        .await?;
        Ok(claim)
    }

    /// Writes a whole blob if there is none of the same name.
    pub(super) async fn create(&self, key: &str, bytes: Bytes) -> Result<Claim, Error> {
        let (at, claim) = (self.at(key)?, claim(key, bytes.len() as u64, &Sha256::digest(&bytes)));
        let id = write_id();
        let attributes = about(&claim, &id);
        self.insist("write", key, || async {
            let options = PutOptions { attributes: attributes.clone(), ..PutMode::Create.into() };
            let refused = match self.store.put_opts(&at, bytes.clone().into(), options).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { path, source }) => {
                    object_store::Error::AlreadyExists { path, source }
                }
                Err(error) => return Err(error.into()),
            };
            // It may be our own, of an attempt whose answer was lost; or two writers met, and both were sent away (409).
            match self.written_by(&at).await {
                Ok(writer) if writer.as_deref() == Some(id.as_str()) => Ok(()),
                Ok(_) => Err(refused.into()),
                Err(object_store::Error::NotFound { .. }) => Err(Fault::Torn("two writers met".to_owned())),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        Ok(claim)
    }

    /// Which write made the object at `at`.
    async fn written_by(&self, at: &Path) -> Result<Option<String>, object_store::Error> {
        let found = self.found(at).await?;
        Ok(found.attributes.get(&Attribute::Metadata(WRITE_ID.into())).map(|id| id.as_ref().to_owned()))
    }

    /// The object at `at`, without its bytes.
    async fn found(&self, at: &Path) -> Result<GetResult, object_store::Error> {
        self.store.get_opts(at, GetOptions { head: true, ..GetOptions::default() }).await
    }

    /// Size and time of `key`.
    pub(super) async fn head(&self, key: &str) -> Result<Meta, Error> {
        let at = self.at(key)?;
        let found = self.insist("look up", key, || async { Ok(self.found(&at).await?.meta) }).await?;
        Ok(Meta { key: key.to_owned(), size: found.size, modified_ms: found.last_modified.timestamp_millis() })
    }

    /// All bytes of `key`, checked by the SHA-256 that they were written with.
    pub(super) async fn read(&self, key: &str) -> Result<Bytes, Error> {
        let at = self.at(key)?;
        self.insist("read", key, || async {
            let got = self.store.get_opts(&at, GetOptions::default()).await?;
            let size = got.meta.size;
            let stated = got.attributes.get(&Attribute::Metadata(SHA256.into())).map(|hash| hash.as_ref().to_owned());
            let bytes = got.bytes().await?;
            if bytes.len() as u64 != size {
                return Err(Fault::Torn(format!("{} of {size} bytes came", bytes.len())));
            }
            if stated.is_some_and(|stated| stated != schemas::id::hex(&Sha256::digest(&bytes))) {
                return Err(Fault::Torn("the bytes are others than those that were written".to_owned()));
            }
            Ok(bytes)
        })
        .await
    }

    /// Blobs below `prefix`, page by page.
    pub(super) fn list(self: &Arc<Self>, prefix: &str) -> Result<BoxStream<'static, Result<Meta, Error>>, Error> {
        let bucket = Arc::clone(self);
        let metas = self.pages(prefix)?.map_ok(move |page| {
            let metas = page.into_iter().filter_map(|found| {
                // Other people's objects may have names that no blob has.
                let key = bucket.key(&found.location).filter(|key| key::check(key).is_ok())?.to_owned();
                Some(Ok(Meta { key, size: found.size, modified_ms: found.last_modified.timestamp_millis() }))
            });
            stream::iter(metas.collect::<Vec<_>>())
        });
        Ok(metas.try_flatten().boxed())
    }

    /// Everything below `prefix`, as the server hands it out. A page that comes torn is asked for again.
    fn pages(self: &Arc<Self>, prefix: &str) -> Result<BoxStream<'static, Result<Vec<ObjectMeta>, Error>>, Error> {
        let below = self.below(prefix)?.map(|below| format!("{below}/"));
        let (bucket, shown) = (Arc::clone(self), prefix.to_owned());
        let pages = stream::try_unfold(Next::First, move |next| {
            let (bucket, shown, below) = (Arc::clone(&bucket), shown.clone(), below.clone());
            async move {
                let token = match next {
                    Next::First => None,
                    Next::After(token) => Some(token),
                    Next::Nothing => return Ok(None),
                };
                let page = bucket
                    .insist("list", &shown, || async {
                        let options = PaginatedListOptions { page_token: token.clone(), ..Default::default() };
                        Ok(bucket.store.list_paginated(below.as_deref(), options).await?)
                    })
                    .await?;
                Ok(Some((page.result.objects, page.page_token.map_or(Next::Nothing, Next::After))))
            }
        });
        Ok(pages.boxed())
    }

    /// Removes `key`, if there is such an object.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let at = self.at(key)?;
        self.remove("remove", key, vec![at]).await
    }

    /// Removes everything below `prefix`; answers how many blobs there were.
    pub(super) async fn delete_prefix(self: &Arc<Self>, prefix: &str) -> Result<u64, Error> {
        let mut removed = 0;
        // What appears while the list is read is left for the next call.
        let mut pages = self.pages(prefix)?;
        while let Some(page) = pages.try_next().await? {
            removed += page.len() as u64;
            self.remove("remove", prefix, page.into_iter().map(|found| found.location).collect()).await?;
        }
        Ok(removed)
    }

    async fn remove(&self, doing: &'static str, key: &str, paths: Vec<Path>) -> Result<(), Error> {
        self.insist(doing, key, || async {
            let paths = stream::iter(paths.clone()).map(Ok).boxed();
            let mut removed = self.store.delete_stream(paths);
            while let Some(path) = removed.next().await {
                match path {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether the bucket answers, asked twice at most.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let query = [("list-type", "2"), ("max-keys", "1")];
        let mut last = None;
        for _ in 0..2 {
            match self.asker.ask(reqwest::Method::GET, "", &query).await {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
                Ok(answer) => {
                    let code = answer.element("Code").unwrap_or_default();
                    last = Some(format!("status {} {code}", answer.status).into());
                }
                Err(silence) => last = Some(Box::from(silence)),
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        let source = last.unwrap_or_else(|| "no answer".into());
        Err(Error::Store { doing: "list", key: self.prefix.clone(), source })
    }
}

/// Where a list goes on.
enum Next {
    First,
    After(String),
    Nothing,
}

/// What is kept with an object that is written in one go.
fn about(claim: &Claim, id: &str) -> Attributes {
    Attributes::from_iter([
        (Attribute::Metadata(WRITE_ID.into()), id.to_owned()),
        (Attribute::Metadata(SHA256.into()), claim.sha256.clone()),
    ])
}

/// A name for one write that no other has.
fn write_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
