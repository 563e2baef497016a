//! A watched folder: what somebody puts there is uploaded, once, whatever it is called.
//!
//! What was taken is noted by the SHA-256 of its content in the blob store, created if absent: so a file that is renamed or copied,
//! or a second process that watches the same folder, takes nothing twice. Nothing in the folder is changed, but for a
//! small text beside what could not be taken, or became nothing; whoever wants it has files moved or deleted when their videos are
//! ready.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::blobs;
use connectors::sources::folder::{self, Folder, Found};
use futures::stream;
use schemas::JobId;
use schemas::job::State;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::Edge;
use super::problem::Problem;
use crate::media::sniff::{self, SNIFF_BYTES};
use crate::stage::chain;

/// What the text beside a file is called that could not be taken: the file's own name and this.
pub const REPORT: &str = ".streamforge.txt";
/// Folder in the watched one to which files go whose video is ready, when that is wanted.
pub const DONE: &str = "done";
/// Folder of what was taken.
const TAKEN: &str = "watched/";
/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a file must not have changed.
const QUIET_FOR: Duration = Duration::from_secs(3);
/// How often jobs are asked after.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// A note of a process that ended before the job was announced counts for so long, milliseconds.
const STALE_AFTER_MS: i64 = 3_600_000;

/// That a content was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    job: JobId,
    /// The process that took it.
    owner: String,
    /// When, milliseconds since the Unix epoch.
    at: i64,
    /// What it was called then.
    name: String,
}

/// What is done with a file.
enum Next {
    /// It has become this job, by this process or before.
    Follow(JobId),
    /// It is nothing for us.
    Leave,
    /// It is tried again when it has been quiet for a while.
    Again,
}

/// What becomes of a file whose video is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is moved to the folder `done` in the watched one.
    Move,
    /// It is deleted: its bytes are in the blob store as long as the job is.
    Delete,
}

/// Watches one folder for `edge`, which need not serve anything.
pub struct Watched {
    edge: Arc<Edge>,
    folder: Folder,
    after: After,
    /// Jobs whose end is of interest, and the files that each was.
    followed: HashMap<JobId, Vec<Found>>,
}

impl Watched {
    /// Watches `root`; with files whose video is ready it does as `after` says. Fails when it is no folder that can be read.
    pub fn open(edge: Arc<Edge>, root: &Path, after: After) -> std::io::Result<Self> {
        let folder = Folder::open(root, QUIET_FOR, REPORT)?;
        let folder = if after == After::Move { folder.with_done(DONE) } else { folder };
        Ok(Self { edge, folder, after, followed: HashMap::new() })
    }

    /// Watches until `shutdown`; a file that is being read then is taken to its end or left for the next time.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tracing::info!(folder = %self.folder.root().display(), "watching a folder");
        let (mut asked, mut was_there) = (Instant::now(), true);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let found = match self.folder.look(Instant::now()) {
                Ok(found) => found,
                Err(error) => {
                    // Said once: a share that is away comes back.
                    if std::mem::take(&mut was_there) {
                        let folder = self.folder.root().display();
                        tracing::warn!(%folder, %error, "the watched folder cannot be read: looking again");
                    }
                    continue;
                }
            };
            was_there = true;
            for found in found {
                if shutdown.is_cancelled() {
                    return;
                }
                match self.take(&found).await {
                    Next::Follow(job) => self.followed.entry(job).or_default().push(found),
                    Next::Leave => {}
                    Next::Again => self.folder.again(&found.path, Instant::now()),
                }
            }
            if asked.elapsed() >= ASK_EVERY {
                asked = Instant::now();
                self.ask_after_jobs().await;
            }
        }
    }

    async fn take(&self, found: &Found) -> Next {
        let path = found.path.clone();
        let summed = tokio::task::spawn_blocking(move || folder::sum(&path, SNIFF_BYTES)).await;
        let (sum, head) = match summed.map_err(std::io::Error::other).and_then(|summed| summed) {
            Ok(summed) => summed,
            Err(error) => {
                tracing::warn!(file = %found.path.display(), %error, "a watched file cannot be read");
                return Next::Again;
            }
        };
        if sniff::sniff(&head).is_none() {
            tracing::debug!(file = %found.path.display(), "no video: left alone");
            return Next::Leave;
        }
        if folder::look(&found.path).ok() != Some(found.look) {
            return Next::Again;
        }
        match self.claim(&sum, found).await {
            Ok(Some(taken)) => self.upload(&sum, &taken, found).await,
            Ok(None) => match self.known(&sum).await {
                Ok(Some(taken)) => {
                    let file = found.path.display();
                    tracing::debug!(%file, job = %taken.job, name = taken.name, "the same content was taken before");
                    Next::Follow(taken.job)
                }
                _ => Next::Again,
            },
            Err(problem) => {
                tracing::warn!(error = problem.detail, "a watched file waits");
                Next::Again
            }
        }
    }

    /// Notes that this process takes `sum`; nothing when it was taken before.
    async fn claim(&self, sum: &str, found: &Found) -> Result<Option<Taken>, Problem> {
        let (doors, settings) = (&self.edge.doors, &self.edge.settings);
        let now_ms = doors.clock.now_ms();
        let job = (settings.new_job)(u64::try_from(now_ms).unwrap_or(0));
        let taken = Taken { job, owner: settings.owner.clone(), at: now_ms, name: name(&found.path) };
        let bytes: Bytes = serde_json::to_vec(&taken).map_err(|_| Problem::internal("cannot note a file"))?.into();
        match doors.blobs.create(&key(sum), bytes.clone()).await {
            Ok(_) => return Ok(Some(taken)),
            Err(blobs::Error::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Whoever took it may have ended before there was a job.
        let Some(before) = self.known(sum).await? else { return Ok(None) };
        let is_over =
            before.owner != settings.owner && (settings.is_alone || now_ms.saturating_sub(before.at) > STALE_AFTER_MS);
        if !is_over || self.edge.is_job(before.job).await? || self.is_arriving(before.job).await? {
            return Ok(None);
        }
        doors.blobs.put(&key(sum), bytes).await?;
        Ok(Some(taken))
    }

    /// Whether `job` is about to be one.
    async fn is_arriving(&self, job: JobId) -> Result<bool, Problem> {
        let mut after: Option<String> = None;
        loop {
            let page = self.edge.doors.catalog.uploads(after.as_deref(), 500).await?;
            if page.items.iter().any(|intent| intent.job == job && intent.event.is_some()) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    async fn known(&self, sum: &str) -> Result<Option<Taken>, Problem> {
        match self.edge.doors.blobs.read(&key(sum)).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(blobs::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn upload(&self, sum: &str, taken: &Taken, found: &Found) -> Next {
        let file = found.path.display();
        let opened = tokio::fs::File::open(&found.path).await;
        let stored = match opened {
            Ok(file) => {
                let mut pieces = Box::pin(pieces(file));
                self.edge.store_as(taken.job, "watch", &taken.name, &mut pieces).await
            }
            Err(error) => Err(Problem::bad_request("unreadable", error.to_string())),
        };
        match stored {
            Ok(_) => {
                tracing::info!(%file, job = %taken.job, "took a file from the watched folder");
                if folder::look(&found.path).ok() != Some(found.look) {
                    tracing::warn!(%file, job = %taken.job, "the file changed while it was taken; it is taken again as it is now");
                    return Next::Again;
                }
                Next::Follow(taken.job)
            }
            // It is kept and announced later.
            Err(problem) if problem.status.is_server_error() && problem.detail.contains(&taken.job.to_string()) => {
                Next::Follow(taken.job)
            }
            Err(problem) => {
                let is_final = problem.status.is_client_error() && problem.code != "broken_body";
                tracing::warn!(%file, error = problem.detail, is_final, "a watched file was not taken");
                if is_final {
                    self.report(&found.path, &problem.detail, problem.code, None);
                    return Next::Leave;
                }
                if let Err(error) = self.edge.doors.blobs.delete(&key(sum)).await {
                    tracing::debug!(error = chain(&error), "a note of what was not taken stays");
                }
                Next::Again
            }
        }
    }

    /// Reports what became nothing, and takes back the report of what did.
    async fn ask_after_jobs(&mut self) {
        let mut over = Vec::new();
        for (job, files) in &self.followed {
            let Ok(found) = self.edge.doors.catalog.job(*job).await else { return };
            let Some(row) = found.map(|found| found.row) else { continue };
            match row.state() {
                _ if row.deleted => over.push(*job),
                state @ (State::Ready | State::Cancelled) => {
                    for file in files {
                        let _ = std::fs::remove_file(report_of(&file.path));
                        if state == State::Ready {
                            self.put_away(file);
                        }
                    }
                    over.push(*job);
                }
                State::Failed => {
                    let error = row.ended.and_then(|fact| fact.event.error);
                    let (code, why) =
                        error.map_or(("failed".to_owned(), String::new()), |error| (error.code, error.message));
                    files.iter().for_each(|file| self.report(&file.path, &why, &code, Some(*job)));
                    over.push(*job);
                }
                State::Received | State::Processing => {}
            }
        }
        over.iter().for_each(|job| drop(self.followed.remove(job)));
    }

    /// Does with a file whose video is ready what is wanted, unless it has another content by now.
    fn put_away(&self, file: &Found) {
        if self.after == After::Keep || folder::look(&file.path).ok() != Some(file.look) {
            return;
        }
        let done = match self.after {
            After::Move => self.folder.move_to_done(&file.path).map(drop),
            _ => std::fs::remove_file(&file.path),
        };
        match done {
            Ok(()) => tracing::info!(file = %file.path.display(), after = ?self.after, "put a watched file away"),
            Err(error) => tracing::warn!(file = %file.path.display(), %error, "a watched file cannot be put away"),
        }
    }

    fn report(&self, path: &Path, why: &str, code: &str, job: Option<JobId>) {
        let job = job.map(|job| format!("Job {job}: `streamforge explain {job}` says more.\n")).unwrap_or_default();
        let text = format!(
            "{} was not made into a video.\n\n{why} ({code})\n{job}\nA file with other content under this name is tried again.\n",
            name(path)
        );
        let report = report_of(path);
        // The same report again would only change its time.
        if std::fs::read_to_string(&report).is_ok_and(|before| before == text) {
            return;
        }
        if let Err(error) = std::fs::write(&report, text) {
            tracing::warn!(report = %report.display(), %error, why, code, "no report can be left beside a file");
        }
    }
}

fn key(sum: &str) -> String {
    format!("{TAKEN}{sum}.json")
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn report_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(REPORT);
    path.with_file_name(name)
}

fn pieces(file: tokio::fs::File) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
        let read = file.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), file)))
    })
}
