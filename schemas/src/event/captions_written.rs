//! `captions.written`: the job has captions.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// Captions of a job in one language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionsWritten {
    /// The job.
    pub job: JobId,
    /// BCP 47 tag of the language.
    pub language: String,
    /// WebVTT; absent when there was nothing to write or no model to write it with.
    pub vtt: Option<Claim>,
    /// Cues in it.
    pub cues: u32,
    /// The model and its version.
    pub model: String,
    /// Why there are no captions.
    pub reason: Option<String>,
}

impl Event for CaptionsWritten {
    const TOPIC: &'static str = "captions.written";

    fn job(&self) -> JobId {
        self.job
    }
}
