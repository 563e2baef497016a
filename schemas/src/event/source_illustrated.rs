//! `source.illustrated`: the job has pictures.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// Poster and storyboard of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceIllustrated {
    /// The job.
    pub job: JobId,
    /// The poster, best first, then its alternatives.
    pub posters: Vec<Claim>,
    /// The sprite sheet.
    pub sprite: Option<Claim>,
    /// WebVTT that says which part of the sprite belongs to which time.
    pub storyboard: Option<Claim>,
    /// What made them, with its version.
    pub maker: String,
}

impl Event for SourceIllustrated {
    const TOPIC: &'static str = "source.illustrated";

    fn job(&self) -> JobId {
        self.job
    }
}
