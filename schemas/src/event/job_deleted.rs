//! `job.deleted`: a job and all its bytes go away.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::JobId;

/// A tombstone: nothing that comes later brings the job back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDeleted {
    /// The job.
    pub job: JobId,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
}

impl Event for JobDeleted {
    const TOPIC: &'static str = "job.deleted";

    fn job(&self) -> JobId {
        self.job
    }
}
