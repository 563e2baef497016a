//! The side of those who ask: networks run in processes of their own.
//!
//! libtorch takes a quarter of a second and 110 MB from each process that it is loaded into, a model takes gigabytes, and a
//! fault in either ends the process. So neither is part of the program that serves and encodes: `streamforge-ml`, a program
//! beside it, is started when a model is asked, and ended when nobody has asked it for a while.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::question::{self, Answered, Asked, Question};

/// Name of the program that computes.
pub const PROGRAM: &str = "streamforge-ml";
/// How long a process stays without a question.
const IDLE: Duration = Duration::from_secs(60);
/// What is kept of a process's last words, bytes.
const LAST_WORDS: u64 = 4096;

/// The program that computes, beside this one; nothing when this installation has none.
pub fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    beside.is_file().then_some(beside)
}

/// What a process that computes asks of its allocator: large pages, since weights are read from end to end for each token, and
/// that what several windows took goes back to the system at once.
pub const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8388608");

/// What models compute on, such as `libtorch 2.13.0, processor, 2 threads`, in the words of `program`.
pub fn about(program: &Path) -> Result<String, Error> {
    let said =
        std::process::Command::new(program).arg("about").output().map_err(|error| Error::read(program, error))?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned());
    }
    Err(Error::Gone(format!("{} ended with {}{}", program.display(), said.status, remark(&said.stderr))))
}

/// One model in a process of its own, which is started when it is asked; clones ask the same.
pub struct Asker<Q: Question> {
    inner: Arc<Inner<Q>>,
}

impl<Q: Question> Clone for Asker<Q> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<Q: Question> {
    program: PathBuf,
    folder: PathBuf,
    idle: Duration,
    running: Turn<Option<Running<Q>>>,
}

/// Questions that wait for their answers.
struct Open<Q: Question> {
    waiting: HashMap<u64, oneshot::Sender<Result<Q::Answer, Error>>>,
    /// When the last question was asked or answered.
    touched: Instant,
    /// Why there will be no more answers.
    ended: Option<Error>,
}

type Shared<Q> = Arc<Mutex<Open<Q>>>;

fn locked<Q: Question>(open: &Shared<Q>) -> MutexGuard<'_, Open<Q>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process. Dropping it kills it.
struct Running<Q: Question> {
    child: Child,
    to: BufWriter<OwnedWriteHalf>,
    open: Shared<Q>,
    next: u64,
}

impl<Q: Question> Asker<Q> {
    /// Asks the model in `folder` by `program`; nothing is started yet.
    pub fn new(program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        let inner = Inner { program: program.into(), folder: folder.into(), idle: IDLE, running: Turn::new(None) };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the model's folder is whole and fits together, without loading it.
    pub async fn check(&self) -> Result<(), Error> {
        let Inner { program, folder, .. } = &*self.inner;
        let command = Command::new(program).args(["check", Q::NETWORK]).arg(folder).kill_on_drop(true).output().await;
        let said = command.map_err(|error| Error::read(program, error))?;
        if said.status.success() {
            return Ok(());
        }
        let words = last_line(&said.stderr);
        if said.status.code() == Some(1) && !words.is_empty() {
            return Err(Error::Unfit(words));
        }
        Err(Error::Gone(format!("{} ended with {}{}", program.display(), said.status, remark(&said.stderr))))
    }

    /// The answer to `question`.
    pub async fn ask(&self, question: Q) -> Result<Q::Answer, Error> {
        self.send(question).await?.await.map_err(|_| gone())?
    }

    /// Hands `question` over; the answer comes later.
    async fn send(&self, question: Q) -> Result<oneshot::Receiver<Result<Q::Answer, Error>>, Error> {
        let mut slot = self.inner.running.lock().await;
        let running = match slot.take().filter(|running| locked(&running.open).ended.is_none()) {
            Some(running) => slot.insert(running),
            None => slot.insert(self.start()?),
        };
        let (answer, answered) = oneshot::channel();
        let (id, bulk) = (running.next, question.bulk());
        running.next += 1;
        {
            let mut open = locked(&running.open);
            open.waiting.insert(id, answer);
            open.touched = Instant::now();
        }
        if question::write(&mut running.to, &Asked { id, question }, &bulk).await.is_err() {
            // Whoever reads its answers says how it ended.
            locked(&running.open).touched = Instant::now();
            *slot = None;
        }
        Ok(answered)
    }

    fn start(&self) -> Result<Running<Q>, Error> {
        let Inner { program, folder, idle, .. } = &*self.inner;
        let start = || {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let child = Command::new(program)
                .args(["serve", Q::NETWORK])
                .arg(folder)
                .env(ALLOCATOR.0, ALLOCATOR.1)
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            Ok((child, UnixStream::from_std(ours)?))
        };
        let (mut child, socket) = start().map_err(|error| Error::read(program, error))?;
        let Some(messages) = child.stderr.take() else { return Err(gone()) };
        let (from, to) = socket.into_split();
        let open = Arc::new(Mutex::new(Open { waiting: HashMap::new(), touched: Instant::now(), ended: None }));
        tokio::spawn(listen(from, messages, Arc::clone(&open)));
        tokio::spawn(rest(Arc::downgrade(&self.inner), Arc::downgrade(&open), *idle));
        Ok(Running { child, to: BufWriter::new(to), open, next: 0 })
    }
}

/// Hands answers out until the process ends; then everybody who waits hears how.
async fn listen<Q: Question>(from: OwnedReadHalf, messages: ChildStderr, open: Shared<Q>) {
    let words = tokio::spawn(last_words(messages));
    let mut from = BufReader::new(from);
    while let Ok(Some((answered, _))) = question::read::<Answered<Q::Answer>>(&mut from).await {
        let mut open = locked(&open);
        open.touched = Instant::now();
        if let Some(to) = open.waiting.remove(&answered.id) {
            // Whoever does not wait any more need not know.
            drop(to.send(answered.answer.map_err(Error::from)));
        }
    }
    let words = words.await.unwrap_or_default();
    let error = Error::Gone(format!("the process of the model ended without an answer{}", remark(&words)));
    let mut open = locked(&open);
    open.ended = Some(error.clone());
    for (_, to) in open.waiting.drain() {
        drop(to.send(Err(error.clone())));
    }
}

/// Ends a process that nobody has asked for `idle`.
async fn rest<Q: Question>(inner: Weak<Inner<Q>>, open: Weak<Mutex<Open<Q>>>, idle: Duration) {
    loop {
        let Some(deadline) = open.upgrade().map(|open| locked(&open).touched + idle) else { return };
        sleep_until(deadline).await;
        let (Some(inner), Some(open)) = (inner.upgrade(), open.upgrade()) else { return };
        let mut slot = inner.running.lock().await;
        let is_idle = {
            let open = locked(&open);
            open.waiting.is_empty() && open.touched + idle <= Instant::now()
        };
        let is_it = slot.as_ref().is_some_and(|running| Arc::ptr_eq(&running.open, &open));
        if !is_it {
            return;
        }
        if is_idle {
            if let Some(mut running) = slot.take() {
                drop(running.to);
                // It ends by itself when nobody can ask any more; who waits for that does not block anybody.
                drop(running.child.start_kill());
            }
            return;
        }
        if !locked(&open).waiting.is_empty() {
            locked(&open).touched = Instant::now();
        }
    }
}

/// Reads messages to the end, so that the process never blocks on them, and keeps the last ones.
async fn last_words(mut messages: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = Vec::new();
    while let Ok(count) = (&mut messages).take(LAST_WORDS).read_to_end(&mut piece).await {
        if count == 0 {
            break;
        }
        kept = std::mem::take(&mut piece);
    }
    kept
}

fn last_line(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned()
}

fn remark(words: &[u8]) -> String {
    let last = last_line(words);
    if last.is_empty() { String::new() } else { format!(" ({last})") }
}

fn gone() -> Error {
    Error::Gone("the process of the model ended without an answer".to_owned())
}
