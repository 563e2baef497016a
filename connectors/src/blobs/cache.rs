//! Copies of blobs on this machine, for programs that want an open file.
//!
//! A copy is named by its key and the SHA-256 and the size that were claimed, and it gets that name only when its bytes are just
//! that. So it serves all slots and processes of the machine, and whoever knows the key can remove it. A lock that everybody
//! shares who has the file open says that it is in use; whoever makes room leaves those alone. The kernel drops locks with
//! their owners: a crash leaves nothing that somebody would have to know about.
//!
//! A copy need not outlive its machine's running, so nothing waits for the disk: the name ends with the boot it was made in, and what
//! is of another boot may lack bytes and is removed.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use schemas::Claim;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::s3::Bucket;
use super::{Error, blocking};

/// Bytes that one request fetches: whole parts of an upload, of which some servers read all to answer for a few.
const PART_BYTES: u64 = 16 << 20;
/// Requests at a time.
const IN_FLIGHT: usize = 4;
/// Bytes that are hashed at once.
const HASHED_AT_ONCE: usize = 256 << 10;
/// How often somebody looks whether another has finished the copy that both want.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Copies of one blob that are made before it is believed that the bytes change on their way.
const ATTEMPTS: usize = 4;
/// Name of a copy that is not whole yet.
const PARTIAL: &str = ".part";
/// The kernel's name for the time since it was started, see random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Bytes of an upload that go to its copy at once.
const KEPT_AT_ONCE: usize = 1 << 20;
/// Bytes of an upload between two looks at the room for its copy.
const LOOK_AFTER: u64 = 64 << 20;

/// A folder of copies, shared by all processes of the machine that name it.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    most_bytes: u64,
    /// What names end with.
    boot: String,
}

/// A copy that was made, as a whole, or why it is none.
enum Made {
    Whole,
    Other { hash: String },
}

impl Cache {
    /// Opens `folder`, which is made if it is missing. Copies that nobody uses take up to `most_bytes`.
    pub(super) fn open(folder: &Path, most_bytes: u64) -> Result<Self, Error> {
        let shown = folder.display().to_string();
        std::fs::create_dir_all(folder).map_err(|error| Error::Store {
            doing: "open the cache",
            key: shown,
            source: Box::new(error),
        })?;
        // Without a name for this boot, there is none to tell it from the last one; then copies last for as long as this store.
        let boot = std::fs::read_to_string(BOOT_ID).ok().and_then(|id| Some(format!(".{}", id.get(..8)?)));
        let boot = boot.unwrap_or_else(|| format!(".{:08x}", rand::random::<u32>()));
        Ok(Self { folder: folder.to_owned(), most_bytes, boot })
    }

    /// The copy of what `claim` says, made from `key` if there is none. Its lock is held for as long as the file, or a
    /// duplicate of it in another process, is open.
    pub(super) async fn get(self: &Arc<Self>, bucket: &Arc<Bucket>, key: &str, claim: &Claim) -> Result<File, Error> {
        let name = self.name(key, claim)?;
        let mut unlike: Vec<String> = Vec::new();
        loop {
            let (cache, named, owned, size) = (Arc::clone(self), name.clone(), key.to_owned(), claim.size);
            if let Some(file) = blocking("read", key, move || cache.known(&named, size, &owned)).await? {
                return Ok(file);
            }
            let (cache, named, owned) = (Arc::clone(self), name.clone(), key.to_owned());
            let Some(part) = blocking("write", key, move || cache.begin(&named, &owned)).await? else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            match self.fill(bucket, key, claim, &name, part).await? {
                Made::Whole => {}
                // The same other bytes twice lie there; different ones each time are made by the network.
                Made::Other { hash } if unlike.contains(&hash) => {
                    let what = format!("its SHA-256 is {hash}, {} was claimed", claim.sha256);
                    return Err(Error::Mismatch { key: key.to_owned(), what });
                }
                Made::Other { .. } if unlike.len() + 1 >= ATTEMPTS => {
                    let source = "its bytes change on their way, other ones come each time".into();
                    return Err(Error::Store { doing: "read", key: key.to_owned(), source });
                }
                Made::Other { hash } => unlike.push(hash),
            }
        }
    }

    /// Removes all copies of `key`. Whoever has one open can read on.
    pub(super) fn forget(&self, key: &str) -> std::io::Result<()> {
        let of_key = short(key);
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A copy that is not whole yet goes with its maker.
            if name.starts_with(&of_key) && !name.ends_with(PARTIAL) {
                match std::fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Begins a copy of bytes that are on their way to `key`.
    pub(super) fn keep(self: &Arc<Self>, key: &str) -> std::io::Result<Keeping> {
        let path = self.path(&format!("{:032x}{PARTIAL}", rand::random::<u128>()));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let partial = Partial { path: Some(path), file: Arc::new(file) };
        // Whoever makes room leaves it alone.
        partial.file.try_lock()?;
        Ok(Keeping {
            cache: Arc::clone(self),
            key: key.to_owned(),
            partial,
            gathered: Vec::new(),
            gathered_bytes: 0,
            written: 0,
            writing: None,
        })
    }

    /// Name of the copy of `claim`; a hash that is none can name no file.
    fn name(&self, key: &str, claim: &Claim) -> Result<String, Error> {
        let is_hex =
            claim.sha256.len() == 64 && claim.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex {
            return Ok(format!("{}-{}-{}{}", short(key), claim.sha256, claim.size, self.boot));
        }
        let shown: String = claim.sha256.chars().take(80).flat_map(char::escape_default).collect();
        Err(Error::Mismatch {
            key: key.to_owned(),
            what: format!("`{shown}` was claimed, which is no SHA-256 in lower-case hex"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Opens a copy that is there, if it is.
    fn known(&self, name: &str, size: u64, key: &str) -> Result<Option<File>, Error> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(no_copy(key, error)),
        };
        // Whoever makes room has it for a moment, and then it is gone.
        file.lock_shared().map_err(|error| no_copy(key, error))?;
        let found = file.metadata().map_err(|error| no_copy(key, error))?;
        if found.nlink() == 0 {
            return Ok(None);
        }
        if found.len() != size {
            // Somebody has laid hands on it.
            drop(file);
            return std::fs::remove_file(&path).map(|()| None).map_err(|error| no_copy(key, error));
        }
        // The time of the last use decides who goes first; without it the time of making does.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(file))
    }

    /// Takes the making of a copy upon itself; nothing if somebody else is at it.
    fn begin(&self, name: &str, key: &str) -> Result<Option<File>, Error> {
        let path = self.path(&format!("{name}{PARTIAL}"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| no_copy(key, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(no_copy(key, error)),
        }
        // Between opening and locking its maker may have given it up, or whoever makes room removed it.
        let is_current = std::fs::metadata(&path).is_ok_and(|found| {
            file.metadata().is_ok_and(|ours| (found.ino(), found.dev()) == (ours.ino(), ours.dev()))
        });
        if is_current && self.path(name).exists() {
            // It was finished in between. From here on nobody else can finish one.
            return std::fs::remove_file(&path).map(|()| None).map_err(|error| no_copy(key, error));
        }
        Ok(is_current.then_some(file))
    }

    /// Fetches the bytes into `part` and names it when they are what was claimed.
    async fn fill(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        key: &str,
        claim: &Claim,
        name: &str,
        part: File,
    ) -> Result<Made, Error> {
        let began = Instant::now();
        let mut partial = Partial { path: Some(self.path(&format!("{name}{PARTIAL}"))), file: Arc::new(part) };
        let size = bucket.head(key).await?.size;
        if size != claim.size {
            let what = format!("it has {size} bytes, {} were claimed", claim.size);
            return Err(Error::Mismatch { key: key.to_owned(), what });
        }
        let (cache, file, owned) = (Arc::clone(self), Arc::clone(&partial.file), key.to_owned());
        blocking("write", key, move || {
            cache.make_room(size).map_err(|error| no_copy(&owned, error))?;
            file.set_len(0).and_then(|()| reserve(&file, size)).map_err(|error| no_copy(&owned, error))
        })
        .await?;
        let ranges = (0..size).step_by(PART_BYTES as usize).map(|start| start..size.min(start + PART_BYTES));
        let mut parts = stream::iter(ranges)
            .map(|range| {
                let (bucket, file, owned) = (Arc::clone(bucket), Arc::clone(&partial.file), key.to_owned());
                let fetch = async move {
                    let put = |start, pieces: Vec<Bytes>| {
                        let (file, shown) = (Arc::clone(&file), owned.clone());
                        blocking("write", &owned, move || {
                            write(&file, start, &pieces).map_err(|error| no_copy(&shown, error))
                        })
                    };
                    bucket.hand_out(&owned, range.clone(), put).await.map(|()| range)
                };
                // In a task of its own, so that it goes on while what came before is hashed.
                let task = AbortOnDropHandle::new(tokio::spawn(fetch));
                async move { task.await.unwrap_or_else(|error| Err(no_copy(key, std::io::Error::other(error)))) }
            })
            .buffered(IN_FLIGHT);
        let mut hasher = Sha256::new();
        while let Some(range) = parts.try_next().await? {
            let (file, owned) = (Arc::clone(&partial.file), key.to_owned());
            hasher = blocking("read", key, move || hash(&file, range, hasher, &owned)).await?;
        }
        drop(parts);
        let hash = schemas::id::hex(&hasher.finalize());
        if hash != claim.sha256 {
            return Ok(Made::Other { hash });
        }
        let fetched_ms = milliseconds(began);
        let (named, owned) = (self.path(name), key.to_owned());
        blocking("write", key, move || partial.publish(&named).map_err(|error| no_copy(&owned, error))).await?;
        tracing::debug!(key, size, fetched_ms, took_ms = milliseconds(began), "made a copy on this machine");
        Ok(Made::Whole)
    }

    /// Removes copies that nobody uses, the longest unused first, until there is room for `wanted` more bytes. Those in use
    /// stay, so for a while there may be more than was allowed: never more than what is in use. Answers whether it is enough.
    fn make_room(&self, wanted: u64) -> std::io::Result<bool> {
        let mut copies = Vec::new();
        let mut total = wanted;
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Ok(found) = std::fs::metadata(&path) else { continue };
            total = total.saturating_add(found.len());
            copies.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), path, found.len()));
        }
        copies.sort();
        for (_, path, bytes) in copies {
            let is_whole = path.to_string_lossy().ends_with(&self.boot);
            if total <= self.most_bytes && is_whole {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                std::fs::remove_file(&path)?;
                total = total.saturating_sub(bytes);
            }
        }
        Ok(total <= self.most_bytes)
    }
}

/// What names of copies of `key` begin with: a key itself may be too long for one and has slashes.
fn short(key: &str) -> String {
    let hash = schemas::id::hex(&Sha256::digest(key));
    hash.get(..16).unwrap_or_default().to_owned()
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The error of this machine's disk, which is none of the store's.
pub(super) fn no_copy(key: &str, error: std::io::Error) -> Error {
    Error::Store { doing: "keep a copy on this machine of", key: key.to_owned(), source: Box::new(error) }
}

/// Takes the space before the bytes come, so that a full disk is told at once.
fn reserve(file: &File, size: u64) -> std::io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        // Not every file system can.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        done => Ok(done?),
    }
}

fn write(file: &File, start: u64, pieces: &[Bytes]) -> std::io::Result<()> {
    let mut at = start;
    for piece in pieces {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Hashes what was written a moment ago: reading it again from memory costs less than keeping it until its turn comes.
fn hash(file: &File, range: Range<u64>, mut hasher: Sha256, key: &str) -> Result<Sha256, Error> {
    let mut buffer = vec![0; HASHED_AT_ONCE];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).map_or(HASHED_AT_ONCE, |left| left.min(HASHED_AT_ONCE));
        file.read_exact_at(&mut buffer[..wanted], at).map_err(|error| no_copy(key, error))?;
        hasher.update(&buffer[..wanted]);
        at += wanted as u64;
    }
    Ok(hasher)
}

/// A copy that is being made; gone when dropped, unless it has got its name.
struct Partial {
    path: Option<PathBuf>,
    file: Arc<File>,
}

impl Partial {
    /// Gives the copy its name.
    fn publish(&mut self, name: &Path) -> std::io::Result<()> {
        if let Some(path) = &self.path {
            std::fs::rename(path, name)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The lock is still ours, so the file of this name is.
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A copy of bytes that are on their way into the store, for those of this machine who want them next. It is no part of the
/// blob: where it cannot be kept there is none.
pub(super) struct Keeping {
    cache: Arc<Cache>,
    key: String,
    partial: Partial,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    written: u64,
    /// What the disk is busy with.
    writing: Option<JoinHandle<std::io::Result<()>>>,
}

impl Keeping {
    /// Takes the next bytes.
    pub(super) async fn write(&mut self, bytes: Bytes) -> std::io::Result<()> {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes < KEPT_AT_ONCE { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.land().await?;
        let (cache, file) = (Arc::clone(&self.cache), Arc::clone(&self.partial.file));
        let (pieces, start) = (std::mem::take(&mut self.gathered), self.written);
        self.written += std::mem::take(&mut self.gathered_bytes) as u64;
        let is_time_to_look = start / LOOK_AFTER != self.written / LOOK_AFTER;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if is_time_to_look && !cache.make_room(0)? {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            write(&file, start, &pieces)
        }));
        Ok(())
    }

    /// Waits for the disk.
    async fn land(&mut self) -> std::io::Result<()> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(std::io::Error::other)?,
            None => Ok(()),
        }
    }

    /// The bytes are those of `claim`, all of them.
    pub(super) async fn publish(mut self, claim: &Claim) -> std::io::Result<()> {
        self.flush().await?;
        self.land().await?;
        let name = self.cache.name(&self.key, claim).map_err(std::io::Error::other)?;
        self.cache.make_room(0)?;
        self.partial.publish(&self.cache.path(&name))
    }
}
