//! The status board: what this edge knows about work in progress, in memory.
//!
//! Every edge reads all progress without a group, so any of them can answer for any job. The board may be lost: rows,
//! finished chunks and manifests are enough to begin again with sensible numbers.
//!
//! # Layout
//! - [`tally`]: what progress events add up to, without any I/O

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connectors::log::{From, Record, Tailed};
use connectors::{Doors, catalog, log};
use schemas::JobId;
use schemas::event::{Event, JobDeleted, JobProgress};
use schemas::job::{JobEvent, JobRow, Live, State, StatusView};
use schemas::wire;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events;
use super::manifests::Manifests;
use crate::header::{replay, timing};
use tally::Tally;

pub mod tally;

/// How far back a board reads progress when it begins: as long as the log keeps it.
const LOOK_BACK_MS: i64 = 3_600_000;

/// A job of which nothing was heard for so long leaves the board; whoever asks for it brings it back.
const FORGET_AFTER: Duration = Duration::from_secs(1_800);

/// How often the board looks for jobs to forget.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Most jobs on the board; beyond it the ones heard of longest ago leave.
const CAPACITY: usize = 20_000;

/// Changes that a slow listener may fall behind; beyond it asks for everything again.
const BACKLOG: usize = 1_024;

/// Wait before the log is asked again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status board.
pub struct Board {
    doors: Doors,
    manifests: Arc<Manifests>,
    entries: Mutex<HashMap<JobId, Entry>>,
    changes: broadcast::Sender<JobId>,
}

struct Entry {
    row: JobRow,
    tally: Tally,
    /// Whether the catalog was asked, so that older facts are known too.
    is_seeded: bool,
    heard_at: Instant,
    /// What listeners were told last.
    told: Option<StatusView>,
}

impl Entry {
    fn new(job: JobId) -> Self {
        Self { row: JobRow::new(job), tally: Tally::default(), is_seeded: false, heard_at: Instant::now(), told: None }
    }
}

impl Board {
    /// An empty board.
    pub fn new(doors: Doors) -> Arc<Self> {
        let manifests = Arc::new(Manifests::new(doors.blobs.clone()));
        Arc::new(Self { doors, manifests, entries: Mutex::default(), changes: broadcast::channel(BACKLOG).0 })
    }

    /// Names of jobs whose status changes, from now on.
    pub fn changes(&self) -> broadcast::Receiver<JobId> {
        self.changes.subscribe()
    }

    /// The manifests that this process has read.
    pub(super) fn manifests(&self) -> &Arc<Manifests> {
        &self.manifests
    }

    /// Everything known about `job`: from the catalog, and what the board has heard that the catalog has not.
    ///
    /// Absent when there is no such job or it is deleted. A job on the board is known while the catalog is away.
    pub async fn look(&self, job: JobId) -> Result<Option<(JobRow, Live)>, catalog::Error> {
        let found = match self.doors.catalog.job(job).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%job, %error, "the catalog is away; the board answers");
                return self.peek(job).map(Some).ok_or(error);
            }
        };
        let Some(found) = found else {
            // The board may be ahead: an upload by another producer whose row is not folded yet.
            return Ok(self.peek(job).filter(|(row, _)| row.received.is_some() && !row.deleted));
        };
        Ok(self.look_at(found.row).await?.filter(|(row, _)| !row.deleted))
    }

    /// The same for a row that was just read.
    pub async fn look_at(&self, row: JobRow) -> Result<Option<(JobRow, Live)>, catalog::Error> {
        let job = row.id;
        if !row.state().is_end() && !self.entries().get(&job).is_some_and(|entry| entry.is_seeded) {
            let finished = self.finished(&row).await?;
            let mut entries = self.entries();
            let entry = entries.entry(job).or_insert_with(|| Entry::new(job));
            entry.tally.resume(&finished);
            // Whoever asks the board alone from now on is told as much.
            events::merge(&mut entry.row, row.clone());
            slim(&mut entry.row);
            entry.is_seeded = true;
        }
        let mut row = row;
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&job) else {
            let live = Tally::default().live(&row, self.doors.clock.now_ms());
            return Ok(Some((row, live)));
        };
        events::merge(&mut row, entry.row.clone());
        let live = entry.tally.live(&row, self.doors.clock.now_ms());
        Ok(Some((row, live)))
    }

    /// What is in memory about `job`, when that is enough to answer.
    pub fn peek(&self, job: JobId) -> Option<(JobRow, Live)> {
        let entries = self.entries();
        let entry = entries.get(&job)?;
        let is_enough = entry.is_seeded || entry.row.received.is_some() || entry.row.deleted;
        is_enough.then(|| (entry.row.clone(), entry.tally.live(&entry.row, self.doors.clock.now_ms())))
    }

    /// Units of `job` that are worked on or have trouble.
    pub fn busy(&self, job: JobId) -> Vec<tally::Busy> {
        self.entries().get(&job).map(|entry| entry.tally.busy()).unwrap_or_default()
    }

    /// `live` of a video that is ready with its parts counted: a board that has forgotten it, or never heard of it, counts them in its
    /// manifest.
    pub async fn counted(&self, row: &JobRow, mut live: Live) -> Live {
        let is_counted = live.stages.iter().any(|stage| stage.name == tally::TRANSCODE && stage.total > 1);
        if row.state() == State::Ready
            && !is_counted
            && let Ok(Some(manifest)) = self.manifests.of(row.id).await
        {
            let pieces = manifest.renditions.iter().map(|rendition| rendition.video.pieces.len()).max().unwrap_or(0);
            let audio = manifest.audio.as_ref().map_or(0, |audio| audio.pieces.len());
            let units = u32::try_from(pieces + audio).unwrap_or(u32::MAX).max(1);
            for stage in live.stages.iter_mut().filter(|stage| tally::COUNTED.contains(&stage.name.as_str())) {
                (stage.done, stage.total) = (units, units);
            }
        }
        live
    }

    /// When work on `job` was last heard of, milliseconds since the Unix epoch.
    pub fn heard_at(&self, job: JobId) -> Option<i64> {
        self.entries().get(&job).and_then(|entry| entry.tally.heard_at())
    }

    /// How long nothing was heard of `job`; absent when it is not on the board.
    pub fn silence(&self, job: JobId) -> Option<Duration> {
        self.entries().get(&job).map(|entry| entry.heard_at.elapsed())
    }

    /// Takes note of a row that this edge has written itself, ahead of the log.
    pub fn note(&self, row: &JobRow) {
        let mut entries = self.entries();
        let entry = entries.entry(row.id).or_insert_with(|| Entry::new(row.id));
        events::merge(&mut entry.row, row.clone());
        slim(&mut entry.row);
        // Nothing older than what we have just written can exist.
        entry.is_seeded = true;
        drop(entries);
        self.tell(row.id);
    }

    /// Reads progress and ends from the log until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                read = self.read() => read,
            };
            if let Err(error) = read {
                tracing::warn!(error = crate::stage::chain(&error), "the board cannot read progress");
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
    }

    async fn read(&self) -> Result<(), log::Error> {
        let topics: Vec<&str> = JobEvent::TOPICS.into_iter().chain([JobProgress::TOPIC]).collect();
        let from = From::Time(self.doors.clock.now_ms() - LOOK_BACK_MS);
        let mut reader = self.doors.log.tail(&topics, from).await?;
        let mut tidied = Instant::now();
        loop {
            match tokio::time::timeout(TIDY_EVERY, reader.next()).await {
                Ok(Ok(Tailed::Records(records))) => records.iter().for_each(|record| self.hear(record)),
                Ok(Ok(Tailed::CaughtUp)) => tracing::debug!("the board has caught up"),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
            if tidied.elapsed() > TIDY_EVERY {
                self.tidy();
                tidied = Instant::now();
            }
        }
    }

    /// Takes note of one record.
    pub fn hear(&self, record: &Record) {
        if replay::stage(&record.headers).is_some() {
            return;
        }
        let heard = if record.at.topic == JobProgress::TOPIC {
            wire::decode::<JobProgress>(&record.value).map(|progress| {
                self.with(progress.job, |entry| entry.tally.hear(&progress));
                progress.job
            })
        } else {
            match events::read(record) {
                Ok(Some(event)) => {
                    let job = event.job();
                    if record.at.topic == JobDeleted::TOPIC {
                        self.manifests.forget(job);
                    }
                    self.with(job, |entry| {
                        entry.row.apply_made(event, Some(record.offset), Some(timing::of(record)));
                        slim(&mut entry.row);
                    });
                    Ok(job)
                }
                Ok(None) => return,
                Err(error) => Err(error),
            }
        };
        match heard {
            Ok(job) => self.tell(job),
            // The record projection counts and logs it; here it only means a gap in the picture.
            Err(error) => tracing::debug!(topic = record.at.topic, offset = record.offset, %error, "unreadable record"),
        }
    }

    fn with(&self, job: JobId, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries();
        let entry = entries.entry(job).or_insert_with(|| Entry::new(job));
        entry.heard_at = Instant::now();
        change(entry);
    }

    /// Tells listeners if there is something new to tell.
    fn tell(&self, job: JobId) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&job) else { return };
        let live = entry.tally.live(&entry.row, self.doors.clock.now_ms());
        let mut status = StatusView::of(&entry.row, &live);
        // A guess that moves is no news.
        status.eta_s = None;
        let is_news = entry.row.deleted || entry.told.as_ref() != Some(&status);
        entry.told = Some(status);
        drop(entries);
        if is_news {
            // Nobody listening is fine.
            let _ = self.changes.send(job);
        }
    }

    /// Finished chunks and the first playable moment of a job that began before this board did.
    async fn finished(&self, row: &JobRow) -> Result<tally::Finished, catalog::Error> {
        let mut finished = tally::Finished {
            total_weight: row.probed.as_ref().map_or(0, |fact| fact.event.media.video.frames),
            ..tally::Finished::default()
        };
        let mut after: Option<String> = None;
        loop {
            let page = self.doors.catalog.chunks(row.id, after.as_deref(), 500).await?;
            for found in &page.items {
                finished.units = finished.units.max(found.chunk.total);
                finished.chunks.push((found.chunk.index, found.chunk.weight));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if let Ok(Some(manifest)) = self.manifests.of(row.id).await {
            finished.playable_at = Some(manifest.playable_at);
        }
        Ok(finished)
    }

    fn tidy(&self) {
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.heard_at.elapsed() < FORGET_AFTER);
        if entries.len() > CAPACITY {
            let mut ages: Vec<(Instant, JobId)> = entries.iter().map(|(job, entry)| (entry.heard_at, *job)).collect();
            ages.sort();
            for (_, job) in ages.iter().take(entries.len() - CAPACITY) {
                entries.remove(job);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what no view shows and what grows with the length of a video.
fn slim(row: &mut JobRow) {
    if let Some(probed) = &mut row.probed {
        probed.event.keyframes = Vec::new();
    }
}
