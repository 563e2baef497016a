//! `source.probed`: what the upload is and which renditions it gets.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::ladder::Rung;
use crate::source::Media;
use crate::{Claim, JobId};

/// An upload that can be decoded, with the ladder that it is promised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceProbed {
    /// The job.
    pub job: JobId,
    /// The uploaded bytes.
    pub source: Claim,
    /// What the bytes contain.
    pub media: Media,
    /// Presentation times of keyframes where a decoder can start, ascending, ticks of the video's time base.
    ///
    /// Empty when the timestamps cannot be trusted; then the source is one chunk.
    pub keyframes: Vec<i64>,
    /// The promised renditions, best first.
    pub rungs: Vec<Rung>,
    /// Kilobits per second of the audio; zero when there is none.
    pub audio_kbps: u32,
    /// What a viewer may notice, in words.
    pub warnings: Vec<String>,
}

impl Event for SourceProbed {
    const TOPIC: &'static str = "source.probed";

    fn job(&self) -> JobId {
        self.job
    }
}
