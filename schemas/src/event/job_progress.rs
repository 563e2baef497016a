//! `job.progress`: how far work has come; kept an hour, read by every edge.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Event;
use crate::JobId;

/// Where one stage stands with one unit of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// An event of the job waits for a slot.
    Waiting,
    /// Work is going on.
    Running,
    /// This unit is finished.
    Done,
    /// The stage gave up on the job.
    Failed,
    /// The stage had nothing to do.
    Skipped,
}

/// What one stage does for one job right now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
    /// Name of the stage.
    pub stage: String,
    /// State of the unit.
    pub state: StageState,
    /// The unit, such as the index of a chunk; 0 when the stage has one only.
    pub unit: u32,
    /// Units that the stage has in this job, as far as is known.
    pub units: u32,
    /// Work finished of this unit, in frames.
    #[serde(with = "crate::field::as_long")]
    pub done: u64,
    /// Work of this unit, in frames.
    #[serde(with = "crate::field::as_long")]
    pub weight: u64,
    /// Work of the whole job, in frames; 0 when not known yet.
    #[serde(with = "crate::field::as_long")]
    pub total_weight: u64,
    /// Whether the job can be watched, at least its beginning.
    pub playable: bool,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Who works.
    pub worker: String,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Why the last attempt failed, when another one follows.
    pub note: Option<String>,
}

impl Event for JobProgress {
    const TOPIC: &'static str = "job.progress";

    fn job(&self) -> JobId {
        self.job
    }
}
