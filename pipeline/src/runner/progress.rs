//! `job.progress`: a courtesy to whoever watches. Batched, never waited for, dropped when it cannot be published.

use std::sync::Arc;
use std::time::Duration;

use connectors::Log;
use schemas::event::{JobProgress, StageState};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::stage::{Report, record_of};

/// Progress that waits to be published; more than this is dropped.
const WAITING: usize = 4096;
/// Records of one append at most.
const BATCH: usize = 256;
/// How long progress is collected before it is appended.
const COLLECT: Duration = Duration::from_millis(50);
/// How long an append of progress may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where progress goes.
pub(super) type Sender = mpsc::Sender<JobProgress>;

/// A sender, and what the publisher reads.
pub(super) fn channel() -> (Sender, mpsc::Receiver<JobProgress>) {
    mpsc::channel(WAITING)
}

/// Publishes until `over`, then what is left.
pub(super) async fn publish(log: Arc<dyn Log>, mut waiting: mpsc::Receiver<JobProgress>, over: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let last = tokio::select! {
            biased;
            () = over.cancelled() => {
                waiting.close();
                true
            }
            first = waiting.recv() => match first {
                Some(first) => {
                    batch.push(first);
                    sleep(COLLECT).await;
                    false
                }
                None => return,
            },
        };
        while batch.len() < BATCH {
            match waiting.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        let records: Vec<_> = batch.drain(..).filter_map(|event| record_of(&event).ok()).collect();
        if !records.is_empty() {
            match timeout(PATIENCE, log.append(records)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "progress dropped"),
                Err(_) => tracing::debug!("progress dropped: the log does not answer"),
            }
        }
        if last {
            return;
        }
    }
}

/// The progress of one attempt: says at once what changes, and what only grows at most once per interval.
pub(super) struct Meter {
    out: Sender,
    event: JobProgress,
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    interval: Duration,
    said: Instant,
    behind: bool,
}

impl Meter {
    /// A meter that stamps with `now` and sends copies of `event` as it changes.
    pub fn new(
        out: Sender,
        event: JobProgress,
        interval: Duration,
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        Self { out, event, now: Box::new(now), interval, said: Instant::now(), behind: false }
    }

    /// Notes what a stage reports.
    pub fn hear(&mut self, report: &Report) {
        match report {
            Report::Done(done) => {
                self.event.done = self.event.done.max(*done);
                self.behind = true;
                if self.said.elapsed() >= self.interval {
                    self.say();
                }
            }
            Report::Playable => {
                self.event.playable = true;
                self.say();
            }
        }
    }

    /// When something that was held back must be said.
    pub fn due(&self) -> Option<Instant> {
        self.behind.then(|| self.said + self.interval)
    }

    /// Says the unit's state, with a word about why where there is one.
    pub fn state(&mut self, state: StageState, note: Option<String>) {
        self.event.state = state;
        self.event.note = note;
        if state == StageState::Done {
            self.event.done = self.event.weight;
        }
        self.say();
    }

    /// Sends the event as it is.
    pub fn say(&mut self) {
        self.event.at = (self.now)();
        self.said = Instant::now();
        self.behind = false;
        // Full: a later event says it better.
        let _ = self.out.try_send(self.event.clone());
    }
}

#[cfg(test)]
mod tests {
    use schemas::JobId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn growth_is_said_once_per_interval_and_changes_at_once() {
        let (out, mut heard) = channel();
        let event = JobProgress {
            job: JobId::from_parts(1, 1),
            stage: "transcode".to_owned(),
            state: StageState::Running,
            unit: 2,
            units: 9,
            done: 0,
            weight: 100,
            total_weight: 900,
            playable: false,
            attempt: 1,
            worker: "w".to_owned(),
            at: 0,
            note: None,
        };
        let mut meter = Meter::new(out, event, Duration::from_secs(1), || 7);
        meter.state(StageState::Running, None);
        for done in 1..=50 {
            meter.hear(&Report::Done(done));
            sleep(Duration::from_millis(100)).await;
        }
        meter.hear(&Report::Playable);
        meter.state(StageState::Done, None);
        let mut said = Vec::new();
        while let Ok(event) = heard.try_recv() {
            said.push((event.state, event.done, event.playable));
        }
        let growth = said.len() - 3;
        assert!((4..=5).contains(&growth), "five seconds of work, {growth} times said");
        assert_eq!(said.first(), Some(&(StageState::Running, 0, false)));
        assert_eq!(said[said.len() - 2], (StageState::Running, 50, true));
        assert_eq!(said.last(), Some(&(StageState::Done, 100, true)));
    }
}
