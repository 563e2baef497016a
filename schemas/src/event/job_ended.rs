//! `job.ended`: the one end of a job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Event;
use crate::JobId;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every promised video rendition can be fetched.
    Ready,
    /// It cannot be done; the failure says why.
    Failed,
    /// Somebody asked for it.
    Cancelled,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// A stable word, such as `unsupported_media`.
    pub code: String,
    /// The stage that gave up.
    pub stage: String,
    /// One sentence for a person.
    pub message: String,
}

/// A job has come to its end; the catalog lets only one outcome win.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEnded {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// When it could first be watched, milliseconds since the Unix epoch.
    pub playable_at: Option<i64>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What a viewer may notice, in words.
    pub warnings: Vec<String>,
}

impl Event for JobEnded {
    const TOPIC: &'static str = "job.ended";

    fn job(&self) -> JobId {
        self.job
    }
}
