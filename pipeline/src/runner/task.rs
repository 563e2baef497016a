//! A record on its way through the runner, and everything that may call its work off.

use std::sync::Arc;

use connectors::log::{Record, TopicPartition};
use schemas::JobId;
use tokio_util::sync::CancellationToken;

use super::jobs::{Gone, Hold};
use super::station::Station;
use super::twins::Lead;
use crate::header::replay;
use crate::stage::Work;

/// A partition from the moment it is gained to the moment it is lost. Gaining it again makes another one.
#[derive(Debug)]
pub(super) struct Assignment {
    pub at: TopicPartition,
    /// Fires when the partition belongs to somebody else.
    pub lost: CancellationToken,
}

/// Says to the stage's intake that the work of a record is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub assignment: Arc<Assignment>,
    pub offset: i64,
}

/// Why work ends before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The partition is somebody else's: its results must not be published, its offset not committed.
    Lost,
    /// Nobody wants the job's results any more: the record is finished with.
    Gone(Gone),
    /// The process shuts down and the grace period is over: somebody else does it.
    HandedBack,
}

/// Everything that may call work off.
#[derive(Clone, Debug)]
pub(super) struct Stops {
    lost: CancellationToken,
    hard: CancellationToken,
    job: Option<Arc<Hold>>,
}

impl Stops {
    pub fn new(assignment: &Assignment, hard: &CancellationToken, job: Option<Arc<Hold>>) -> Self {
        Self { lost: assignment.lost.clone(), hard: hard.clone(), job }
    }

    /// The same without the job's own end: for what must be completed once it has begun, such as ending the job.
    pub fn without_job(&self) -> Self {
        Self { job: None, ..self.clone() }
    }

    /// What has called the work off already.
    pub fn now(&self) -> Option<Why> {
        if self.lost.is_cancelled() {
            return Some(Why::Lost);
        }
        match self.job.as_ref().and_then(|job| job.gone()) {
            Some(gone) => Some(Why::Gone(gone)),
            None => self.hard.is_cancelled().then_some(Why::HandedBack),
        }
    }

    /// Waits for the first call-off.
    pub async fn any(&self) -> Why {
        loop {
            if let Some(why) = self.now() {
                return why;
            }
            tokio::select! {
                biased;
                () = self.lost.cancelled() => {}
                () = self.hard.cancelled() => {}
                () = async {
                    match &self.job {
                        Some(job) => job.ended().await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }
}

/// A decoded record that waits for a slot or has one.
pub(super) struct Task {
    pub station: Arc<Station>,
    pub assignment: Arc<Assignment>,
    pub record: Record,
    pub work: Arc<Work>,
    pub stops: Stops,
    /// Attempts that failed in this process.
    pub failures: u32,
    /// Attempts in this process that failed because a door was away; not the event's fault.
    pub outages: u32,
    /// Absent where the same event may run twice at once.
    pub lead: Option<Lead>,
}

impl Task {
    pub fn job(&self) -> JobId {
        self.work.job
    }

    /// Whether the event was put on its topic once more for this stage.
    pub fn is_replayed(&self) -> bool {
        replay::stage(&self.record.headers).is_some()
    }

    /// Names the record's work durably, for counting attempts.
    pub fn attempts_key(&self) -> String {
        let at = &self.record.at;
        format!("{}/{}/{}/{}", self.station.name(), at.topic, at.partition, self.record.offset)
    }

    /// The record is dealt with for good.
    pub fn finish(self) {
        self.station.finished(Finished { assignment: self.assignment, offset: self.record.offset });
        if let Some(lead) = self.lead {
            lead.end();
        }
    }
}
