//! `rendition.stitched`: one rendition is whole and can be fetched.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// A rendition whose ledger adds up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenditionStitched {
    /// The job.
    pub job: JobId,
    /// Name of the rung.
    pub quality: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Mean bits per second of the video with its audio.
    #[serde(with = "crate::field::as_long")]
    pub bitrate_bps: u64,
    /// Bytes of the progressive file.
    #[serde(with = "crate::field::as_long")]
    pub bytes: u64,
    /// Frames.
    #[serde(with = "crate::field::as_long")]
    pub frames: u64,
    /// Microseconds.
    #[serde(with = "crate::field::as_long")]
    pub duration_us: u64,
    /// The manifest that lists every byte of it.
    pub manifest: Claim,
}

impl Event for RenditionStitched {
    const TOPIC: &'static str = "rendition.stitched";

    fn job(&self) -> JobId {
        self.job
    }
}
