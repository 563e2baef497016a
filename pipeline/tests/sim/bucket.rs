//! The blob store: bytes in memory, and the door of one process to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::life::{Caller, Fault};
use super::{Door, Mutant, World, locked};

/// The blobs.
pub struct Bucket {
    world: Arc<World>,
    blobs: Mutex<BTreeMap<String, Bytes>>,
    /// Sources that are gone: why a job failed stays known when its bytes are removed.
    gone: Mutex<BTreeMap<String, Bytes>>,
}

impl Bucket {
    /// An empty store.
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, blobs: Mutex::default(), gone: Mutex::default() })
    }

    /// The bytes of `key`.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        locked(&self.blobs).get(key).cloned()
    }

    /// The bytes that `key` has or had.
    pub fn ever(&self, key: &str) -> Option<Bytes> {
        self.get(key).or_else(|| locked(&self.gone).get(key).cloned())
    }

    /// All keys.
    pub fn keys(&self) -> Vec<String> {
        locked(&self.blobs).keys().cloned().collect()
    }

    /// Puts `bytes`; answers false when they must not replace what is there.
    pub fn put(&self, key: &str, bytes: Bytes, replaces: bool) -> bool {
        let mut blobs = locked(&self.blobs);
        if let Some(before) = blobs.get(key) {
            if !replaces {
                return false;
            }
            if *before != bytes && key.ends_with("/manifest.json") {
                self.world.broken(format!("{key} was published twice, and differently"));
            }
        }
        blobs.insert(key.to_owned(), bytes);
        true
    }

    fn remove(&self, key: &str) {
        let bytes = locked(&self.blobs).remove(key);
        if let Some(bytes) = bytes.filter(|_| key.ends_with("/source")) {
            locked(&self.gone).insert(key.to_owned(), bytes);
        }
    }

    fn below(&self, prefix: &str) -> Vec<ObjectMeta> {
        let blobs = locked(&self.blobs);
        let found = blobs
            .iter()
            .filter(|(key, _)| prefix.is_empty() || key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')));
        found.map(|(key, bytes)| meta(key, bytes)).collect()
    }
}

fn meta(key: &str, bytes: &Bytes) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(key),
        last_modified: Default::default(),
        size: bytes.len() as u64,
        e_tag: None,
        version: None,
    }
}

fn failed(fault: Fault) -> Error {
    Error::Generic { store: "simulated", source: fault.0.into() }
}

/// The door of one process.
#[derive(Clone)]
pub struct SimStore {
    /// The process.
    pub caller: Caller,
    /// What lies behind the door.
    pub bucket: Arc<Bucket>,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated store of {}", self.caller.life.name)
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl SimStore {
    async fn put_bytes(&self, location: &Path, bytes: Bytes, replaces: bool) -> Result<PutResult> {
        let key = location.to_string();
        let replaces = replaces || self.caller.world.mutant == Some(Mutant::Create);
        let what =
            || format!("{} {} ({} bytes)", if replaces { "puts" } else { "creates" }, self.short(&key), bytes.len());
        let work = || self.bucket.put(&key, bytes.clone(), replaces);
        if self.caller.call(Door::Blobs, true, what, work).await.map_err(failed)? {
            return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
        }
        Err(Error::AlreadyExists { path: key, source: "it is there".into() })
    }

    /// A key with the name that its job has in the trace.
    fn short(&self, key: &str) -> String {
        let parts: Vec<&str> = key.splitn(3, '/').collect();
        match parts.as_slice() {
            ["jobs", job, rest] => match job.parse() {
                Ok(job) => format!("{}/{rest}", self.caller.world.name(job)),
                Err(_) => key.to_owned(),
            },
            _ => key.to_owned(),
        }
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.put_bytes(location, payload.into(), !matches!(opts.mode, PutMode::Create)).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.caller.call(Door::Blobs, false, || "begin a blob".into(), || ()).await.map_err(failed)?;
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let key = location.to_string();
        let found = self.caller.call(Door::Blobs, false, || format!("get {key}"), || self.bucket.get(&key)).await;
        let Some(bytes) = found.map_err(failed)? else {
            return Err(Error::NotFound { path: key, source: "it is not there".into() });
        };
        let size = bytes.len() as u64;
        let range = match &options.range {
            None => 0..size,
            Some(range) => {
                range.as_range(size).map_err(|error| Error::Generic { store: "simulated", source: error.into() })?
            }
        };
        let meta = meta(&key, &bytes);
        let bytes = if options.head { Bytes::new() } else { bytes.slice(range.start as usize..range.end as usize) };
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default(), extensions: Default::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Path| {
            let store = store.clone();
            async move {
                let key = location.to_string();
                let what = || format!("deletes {}", store.short(&key));
                let work = || store.bucket.remove(&key);
                store.caller.call(Door::Blobs, true, what, work).await.map_err(failed)?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.map(Path::to_string).unwrap_or_default());
        let listed = async move {
            let work = || store.bucket.below(&prefix);
            let found =
                store.caller.call(Door::Blobs, false, || format!("list {prefix}"), work).await.map_err(failed)?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok::<_, Error>)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        self.caller.call(Door::Blobs, false, || "check".into(), || ()).await.map_err(failed)?;
        Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(failed(Fault("nobody copies here")))
    }
}

/// A blob that is being written.
struct Upload {
    store: SimStore,
    location: Path,
    parts: Arc<Mutex<Vec<Bytes>>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upload of {}", self.location)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (caller, parts) = (self.store.caller.clone(), Arc::clone(&self.parts));
        Box::pin(async move {
            let part: Bytes = data.into();
            caller.call(Door::Blobs, false, || "put a part".into(), || locked(&parts).push(part)).await.map_err(failed)
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole: Vec<u8> = locked(&self.parts).iter().flatten().copied().collect();
        self.store.put_bytes(&self.location, whole.into(), true).await
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
