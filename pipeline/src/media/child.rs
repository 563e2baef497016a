//! The parent's side of the process boundary: short-lived, sandboxed children that each see one source.
//!
//! A child gets the source as its standard input (an open file that it can seek in) and the first request as an argument.
//! Its standard output is a socket: it answers there in frames of one byte of kind, four bytes of length (big-endian) and
//! the payload, and takes further requests from there, each behind four bytes of length. A rendition that it shall compare with
//! its source comes the same way behind the request, so that it needs no second file and nothing waits in memory.
//!
//! Loading the libraries costs more than the work on a small chunk's container, so a child whose work went well waits a
//! moment for more about the same source. It never sees another one: what a hostile file may have done to it stays with
//! that file's own job.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::task::AbortOnDropHandle;

use super::{Code, Engine, Error, Feed, Output, Request, Response, Run, encode, feed, worker};

/// Kinds of frames.
pub mod kind {
    /// Payload: frames finished, eight bytes big-endian.
    pub const PROGRESS: u8 = 1;
    /// Payload: index of the rendition, one byte, then bytes.
    pub const BYTES: u8 = 2;
    /// Payload: JSON of the response.
    pub const DONE: u8 = 3;
    /// Payload: JSON of the error.
    pub const FAILED: u8 = 4;
}

/// Longest frame that the parent believes, bytes.
const MAX_FRAME: usize = 1 << 30;
/// What is kept of the child's last words, bytes.
const LAST_WORDS: usize = 4096;

/// How the C library of a child keeps memory: in one arena that never shrinks, so that pictures which one chunk has freed serve
/// the next instead of going back to the kernel, which clears each page that it gives out. Another C library ignores it.
const MALLOC: &str =
    "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824";

/// How long a child waits for more work on its source.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs media work in children of this program.
#[derive(Clone)]
pub struct ChildEngine {
    program: PathBuf,
    arguments: Vec<OsString>,
    waiting: Waiting,
}

/// Children whose work is done, by age.
type Waiting = Arc<Mutex<Vec<Live>>>;

fn locked(waiting: &Waiting) -> MutexGuard<'_, Vec<Live>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file that a child has open: device, inode, size and time of change. As long as the child lives, no other file can
/// get the same inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64, u64, i64, i64);

impl Identity {
    fn of(source: &File) -> std::io::Result<Self> {
        let meta = source.metadata()?;
        Ok(Self(meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    }
}

impl ChildEngine {
    /// Children that run `program arguments… <request>`.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { program: program.into(), arguments, waiting: Waiting::default() }
    }

    /// Children that run this very program with the subcommand `media-child`.
    pub fn of_this_program() -> std::io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, &["media-child"]))
    }
}

impl Engine for ChildEngine {
    fn start(&self, request: &Request, source: File) -> Result<Box<dyn Run>, Error> {
        Ok(Box::new(self.begin(request, source)?))
    }

    fn start_fed(&self, request: &Request, source: File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        let mut run = self.begin(request, source)?;
        run.feed(feed);
        Ok(Box::new(run))
    }

    fn build(&self) -> String {
        encode::build()
    }
}

impl ChildEngine {
    fn begin(&self, request: &Request, source: File) -> Result<ChildRun, Error> {
        let failed = |what: String| Error::new(Code::EncoderFailed, format!("start the media process: {what}"));
        let (work, began) = (name(request), Instant::now());
        let is_background = worker::is_background(request);
        let request = serde_json::to_string(request).map_err(|error| failed(error.to_string()))?;
        let identity = Identity::of(&source).map_err(|error| failed(error.to_string()))?;
        let waiting = {
            let mut all = locked(&self.waiting);
            let fits = |live: &Live| live.identity == identity && live.is_background == is_background;
            let found = all.iter().rposition(fits);
            found.map(|at| all.remove(at))
        };
        let (live, unsent) = match waiting {
            Some(live) => (live, Some(request)),
            None => {
                let spawned = self.spawn(&request, source, identity, is_background);
                (spawned.map_err(|error| failed(error.to_string()))?, None)
            }
        };
        let waiting = Arc::clone(&self.waiting);
        Ok(ChildRun { live: Some(live), unsent, feeding: None, waiting, work, began })
    }
}

impl ChildEngine {
    fn spawn(&self, request: &str, source: File, identity: Identity, is_background: bool) -> std::io::Result<Live> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(request)
            // Nothing of our environment, which may hold secrets, reaches the decoders.
            .env_clear()
            .env("GLIBC_TUNABLES", MALLOC)
            .stdin(Stdio::from(source))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| std::io::Error::other("no messages"))?;
        let last_words = tokio::spawn(listen(stderr));
        let (answers, requests) = UnixStream::from_std(ours)?.into_split();
        let answers = BufReader::with_capacity(256 * 1024, answers);
        Ok(Live { identity, is_background, child, answers, requests: Some(requests), last_words })
    }
}

/// A child and the ways to it. Dropping it kills the child.
struct Live {
    identity: Identity,
    /// Whether it has stepped back behind all others.
    is_background: bool,
    child: Child,
    answers: BufReader<OwnedReadHalf>,
    /// Absent while a feed is on its way.
    requests: Option<OwnedWriteHalf>,
    last_words: tokio::task::JoinHandle<String>,
}

/// One piece of work of a child.
struct ChildRun {
    /// Absent when the work is done.
    live: Option<Live>,
    /// A request that the child has not been sent yet.
    unsent: Option<String>,
    /// A feed on its way.
    feeding: Option<Feeding>,
    waiting: Waiting,
    /// What is asked, in a word.
    work: &'static str,
    began: Instant,
}

/// A feed on its way to a child.
struct Feeding {
    /// Gives the way to the child back when all of it is there.
    task: AbortOnDropHandle<Option<OwnedWriteHalf>>,
    /// Why it broke off, if the child is not to blame.
    broken: Arc<Mutex<Option<Error>>>,
}

/// The word for `request` in the trace.
fn name(request: &Request) -> &'static str {
    match request {
        Request::Probe => "probe",
        Request::Video(_) => "video",
        Request::Audio(_) => "audio",
        Request::Compare(_) => "compare",
        Request::Pictures(_) => "pictures",
        Request::Signals(_) => "signals",
        Request::Samples(_) => "samples",
    }
}

/// Reads messages to the end, so that the child never blocks on them, and keeps the last ones.
async fn listen(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count) = stderr.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > LAST_WORDS {
            kept.drain(..kept.len() - LAST_WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

impl Live {
    async fn send(&mut self, request: &str) -> std::io::Result<()> {
        match &mut self.requests {
            Some(requests) => send(requests, request).await,
            None => Err(std::io::Error::other("a rendition is on its way")),
        }
    }

    async fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let kind = self.answers.read_u8().await?;
        let length = self.answers.read_u32().await? as usize;
        if length > MAX_FRAME {
            return Err(std::io::Error::other("a frame of absurd length"));
        }
        let mut payload = vec![0; length];
        self.answers.read_exact(&mut payload).await?;
        Ok((kind, payload))
    }

    /// Says how the child died.
    async fn post_mortem(&mut self) -> Error {
        let status = self.child.wait().await;
        let words = (&mut self.last_words).await.unwrap_or_default();
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim().to_owned();
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let remark = if last.is_empty() { String::new() } else { format!(" ({last})") };
        Error::new(Code::MediaCrashed, format!("the media process ended without a result: {how}{remark}"))
    }
}

/// Sends one request.
async fn send(requests: &mut OwnedWriteHalf, request: &str) -> std::io::Result<()> {
    let length = u32::try_from(request.len()).map_err(std::io::Error::other)?;
    requests.write_all(&length.to_be_bytes()).await?;
    requests.write_all(request.as_bytes()).await
}

impl ChildRun {
    /// Sends `feed` behind the request, while answers are read.
    fn feed(&mut self, bytes: Feed) {
        let Some(mut requests) = self.live.as_mut().and_then(|live| live.requests.take()) else { return };
        let (unsent, broken) = (self.unsent.take(), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&broken);
        let task = tokio::spawn(async move {
            if let Some(request) = unsent {
                send(&mut requests, &request).await.ok()?;
            }
            match feed::send(&mut requests, bytes).await {
                Ok(()) => Some(requests),
                Err(error) => {
                    // Said before the child can notice.
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = error;
                    None
                }
            }
        });
        self.feeding = Some(Feeding { task: AbortOnDropHandle::new(task), broken });
    }

    /// Why the work failed: because its feed broke off, or else for `cause`.
    fn failure(&self, cause: Error) -> Error {
        let broken = self.feeding.as_ref().map(|feeding| &feeding.broken);
        broken.and_then(|broken| broken.lock().unwrap_or_else(PoisonError::into_inner).take()).unwrap_or(cause)
    }

    /// Lets the child wait for more work on its source, for a while.
    fn retire(&mut self) {
        let Some(live) = self.live.take() else { return };
        let pid = live.child.id();
        locked(&self.waiting).push(live);
        let waiting = Arc::clone(&self.waiting);
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            // If it has been taken and put back meanwhile, a later look finds it.
            let mut all = locked(&waiting);
            if let Some(at) = all.iter().position(|live| live.child.id() == pid) {
                drop(all.remove(at));
            }
        });
    }
}

fn garbled() -> Error {
    Error::new(Code::MediaCrashed, "the media process answered with garbage")
}

#[async_trait]
impl Run for ChildRun {
    async fn next(&mut self) -> Result<Output, Error> {
        let live = self.live.as_mut().ok_or_else(garbled)?;
        if let Some(request) = self.unsent.take()
            && live.send(&request).await.is_err()
        {
            return Err(live.post_mortem().await);
        }
        let Ok((kind, payload)) = live.frame().await else {
            let cause = live.post_mortem().await;
            return Err(self.failure(cause));
        };
        match kind {
            kind::PROGRESS => {
                let bytes: [u8; 8] = payload.try_into().map_err(|_| garbled())?;
                Ok(Output::Progress(u64::from_be_bytes(bytes)))
            }
            kind::BYTES => {
                let mut bytes = Bytes::from(payload);
                if bytes.is_empty() {
                    return Err(garbled());
                }
                let rendition = usize::from(bytes.split_to(1)[0]);
                Ok(Output::Bytes(rendition, bytes))
            }
            kind::DONE => {
                let response: Response = serde_json::from_slice(&payload).map_err(|_| garbled())?;
                // What lies between these lines of a trace is what a job costs beside its media work.
                let took_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
                tracing::debug!(work = self.work, took_us, "media work is done");
                if let Some(feeding) = self.feeding.take() {
                    // The child has read all of it.
                    live.requests = feeding.task.await.ok().flatten();
                }
                if live.requests.is_some() {
                    self.retire();
                }
                Ok(Output::Done(response))
            }
            kind::FAILED => {
                let cause = serde_json::from_slice(&payload).map_err(|_| garbled())?;
                Err(self.failure(cause))
            }
            _ => Err(garbled()),
        }
    }
}
