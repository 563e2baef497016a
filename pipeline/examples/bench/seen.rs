//! What the log and the journals of processes tell about work: who did which chunk and when, and when media work was done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connectors::Log;
use connectors::log::{From, Record, Tailed};
use schemas::event::{ChunkCut, ChunkTranscoded, JobEnded, JobProgress, StageState};
use schemas::{Event, wire};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::server::Outcome;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// Seconds since the Unix epoch: log, journals and this program share one clock.
pub type Moment = f64;

/// `time` as a moment.
pub fn moment(time: SystemTime) -> Moment {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Now.
pub fn now() -> Moment {
    moment(SystemTime::now())
}

/// A finished chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Process of the worker.
    pub pid: u32,
    /// When its work began.
    pub began: Moment,
    /// When its event was in the log.
    pub ended: Moment,
    /// Frames that it holds.
    pub frames: f64,
}

impl Chunk {
    /// The part of its time that lies between two moments.
    fn part(&self, from: Moment, to: Moment) -> f64 {
        overlap((self.began, self.ended), (from, to)) / (self.ended - self.began).max(1e-3)
    }
}

/// What has been seen so far.
#[derive(Default)]
pub struct Seen {
    /// Chunks that were cut.
    pub cut: usize,
    /// Chunks that were encoded, in the order of their ends.
    pub chunks: Vec<Chunk>,
    /// When which worker said that it works on a chunk.
    pub running: Vec<(u32, Moment)>,
    /// When jobs came to their ends, and how.
    pub ends: Vec<(String, Moment, JobEnded)>,
}

impl Seen {
    /// Frames that `pid` encoded between two moments; those of one chunk count as spread evenly over its time.
    pub fn frames(&self, pid: u32, from: Moment, to: Moment) -> f64 {
        self.of(pid).map(|chunk| chunk.frames * chunk.part(from, to)).sum()
    }

    /// Seconds between two moments in which `pid` worked on a chunk.
    pub fn busy(&self, pid: u32, from: Moment, to: Moment) -> f64 {
        self.of(pid).map(|chunk| overlap((chunk.began, chunk.ended), (from, to))).sum()
    }

    /// The end of the first chunk that `pid` began after `since`.
    pub fn first_end(&self, pid: u32, since: Moment) -> Option<Moment> {
        self.of(pid).find(|chunk| chunk.began >= since).map(|chunk| chunk.ended)
    }

    /// Whether `pid` has finished a chunk after `since`.
    pub fn has_ended_one(&self, pid: u32, since: Moment) -> bool {
        self.of(pid).any(|chunk| chunk.ended >= since)
    }

    /// Chunks that nobody has finished.
    pub fn left(&self) -> usize {
        self.cut.saturating_sub(self.chunks.len())
    }

    fn of(&self, pid: u32) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter().filter(move |chunk| chunk.pid == pid)
    }

    fn note(&mut self, record: &Record) -> Outcome<()> {
        let at = record.timestamp_ms as f64 / 1e3;
        match record.at.topic.as_str() {
            ChunkCut::TOPIC => self.cut += 1,
            ChunkTranscoded::TOPIC => {
                let chunk: ChunkTranscoded = wire::decode(&record.value)?;
                let began = at - chunk.took_ms as f64 / 1e3;
                let frames = chunk.renditions.first().map_or(0, |made| made.frames) as f64;
                self.chunks.push(Chunk { pid: pid_of(&chunk.worker), began, ended: at, frames });
            }
            JobEnded::TOPIC => {
                let end: JobEnded = wire::decode(&record.value)?;
                self.ends.push((end.job.to_string(), at, end));
            }
            _ => {
                let progress: JobProgress = wire::decode(&record.value)?;
                if progress.stage == "transcode" && progress.state == StageState::Running && progress.done == 0 {
                    self.running.push((pid_of(&progress.worker), progress.at as f64 / 1e3));
                }
            }
        }
        Ok(())
    }
}

/// Names of workers are `host-pid-random`.
fn pid_of(worker: &str) -> u32 {
    worker.rsplit('-').nth(1).and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

/// Length of what two intervals share.
pub fn overlap(one: (Moment, Moment), other: (Moment, Moment)) -> f64 {
    (one.1.min(other.1) - one.0.max(other.0)).max(0.0)
}

/// Seconds between two moments in which at least one of `intervals` goes on.
pub fn covered(intervals: &[(Moment, Moment)], from: Moment, to: Moment) -> f64 {
    let mut sorted = intervals.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut total, mut reached) = (0.0, from);
    for (began, ended) in sorted {
        total += overlap((began.max(reached), ended), (reached, to));
        reached = reached.max(ended);
    }
    total
}

/// Reads the log for as long as it lives.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    reading: JoinHandle<()>,
}

impl Watch {
    /// Watches from the beginning of the log on; its topics must be there.
    pub async fn start(log: &Arc<dyn Log>) -> Outcome<Self> {
        let topics = [ChunkCut::TOPIC, ChunkTranscoded::TOPIC, JobProgress::TOPIC, JobEnded::TOPIC];
        let mut reader = log.tail(&topics, From::Beginning).await?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let reading = tokio::spawn(async move {
            loop {
                match reader.next().await {
                    Ok(Tailed::Records(records)) => {
                        let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                        for record in &records {
                            if let Err(error) = seen.note(record) {
                                eprintln!("error: a record cannot be read: {error}");
                            }
                        }
                    }
                    Ok(Tailed::CaughtUp) => {}
                    Err(error) => {
                        eprintln!("error: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { seen, reading })
    }

    /// What has been seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` answers something.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&Seen) -> Option<T>) -> Outcome<T> {
        let began = Instant::now();
        loop {
            let answer = found(&self.seen());
            match answer {
                Some(answer) => return Ok(answer),
                None if began.elapsed() > PATIENCE => return Err(format!("waited in vain until {what}").into()),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A line of a journal.
pub struct Line {
    /// When it was written.
    pub at: Moment,
    /// Its fields.
    pub fields: Value,
}

/// The lines of a journal whose message is `message`.
pub fn lines(journal: &str, message: &str) -> Vec<Line> {
    let parsed = journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed
        .filter(|line| line["message"] == message)
        .filter_map(|fields| {
            let at: jiff::Timestamp = fields["timestamp"].as_str()?.parse().ok()?;
            Some(Line { at: at.as_microsecond() as f64 / 1e6, fields })
        })
        .collect()
}

/// When media processes were at work: what each did, and from when to when. Its start belongs to it.
pub fn media_work(journal: &str) -> Vec<(String, (Moment, Moment))> {
    let done = lines(journal, "media work is done").into_iter();
    done.map(|line| {
        let took = line.fields["took_us"].as_f64().unwrap_or(0.0) / 1e6;
        (line.fields["work"].as_str().unwrap_or_default().to_owned(), (line.at - took, line.at))
    })
    .collect()
}
