//! `cancel.requested`: somebody wants the work to stop.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::JobId;

/// A request to stop all work on a job; its row stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelRequested {
    /// The job.
    pub job: JobId,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
}

impl Event for CancelRequested {
    const TOPIC: &'static str = "cancel.requested";

    fn job(&self) -> JobId {
        self.job
    }
}
