//! `captions.written`: the job has captions, or a reason why not.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// Captions of a job in one language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionsWritten {
    /// The job.
    pub job: JobId,
    /// BCP 47 tag of the language: [`CaptionsWritten::SILENT`] when nothing is said, [`CaptionsWritten::UNKNOWN`] when nobody
    /// could listen.
    pub language: String,
    /// WebVTT as [`crate::captions`] writes it; absent when there was nothing to write or no model to write it with.
    pub vtt: Option<Claim>,
    /// Cues in it.
    pub cues: u32,
    /// The model that listened; empty when none did, as its version and its parameters.
    pub model: String,
    /// Version of the model.
    pub version: String,
    /// Everything else that decides what is written: how speech is found, how it is heard, how it becomes cues.
    pub parameters: String,
    /// When they were written, milliseconds since the Unix epoch.
    pub written_at: i64,
    /// Why there are no captions, one sentence.
    pub reason: Option<String>,
}

impl CaptionsWritten {
    /// Language of what holds no speech: no linguistic content (ISO 639-2).
    pub const SILENT: &'static str = "zxx";
    /// Language of what nobody could listen to: undetermined (ISO 639-2).
    pub const UNKNOWN: &'static str = "und";
}

impl Event for CaptionsWritten {
    const TOPIC: &'static str = "captions.written";

    fn job(&self) -> JobId {
        self.job
    }
}
