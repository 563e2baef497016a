//! `source.classified`: the job has content labels.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::JobId;

/// One label with its confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The label.
    pub name: String,
    /// From 0 to 1.
    pub confidence: f64,
}

/// What the video shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceClassified {
    /// The job.
    pub job: JobId,
    /// Labels, most certain first.
    pub labels: Vec<Label>,
    /// The model and its version.
    pub model: String,
}

impl Event for SourceClassified {
    const TOPIC: &'static str = "source.classified";

    fn job(&self) -> JobId {
        self.job
    }
}
