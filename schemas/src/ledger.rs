//! The stitch ledger: what went in, what came out, and whether it adds up. Nothing is published unless it does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::JobId;

/// Blob key of the ledger of `job`, JSON of [`Ledger`].
pub fn key(job: JobId) -> String {
    format!("{}ledger.json", crate::manifest::prefix(job))
}

/// What stays of a job that failed, for whoever wants to know why: the upload, and what stitch counted.
pub fn kept_of_failed(job: JobId) -> [String; 2] {
    [crate::manifest::source_key(job), key(job)]
}

/// The books of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// The job.
    pub job: JobId,
    /// Whether everything adds up.
    pub balanced: bool,
    /// What does not, in words.
    pub findings: Vec<String>,
    /// Frames that the decoders presented, all chunks together.
    pub frames_in: u64,
    /// Packets or frames that were damaged and concealed.
    pub damaged: u64,
    /// One entry per rendition.
    pub renditions: Vec<RenditionLedger>,
    /// The audio, when there is any.
    #[schema(required)]
    pub audio: Option<AudioLedger>,
    /// Where video ends, seconds from the output's zero.
    pub video_end_s: f64,
    /// Where the source's audio ends after its video, seconds; negative when it is shorter. Absent without audio.
    #[schema(required)]
    pub source_end_difference_s: Option<f64>,
    /// The same for the output.
    #[schema(required)]
    pub output_end_difference_s: Option<f64>,
    /// One entry per video chunk, in order of time.
    pub chunks: Vec<ChunkLedger>,
}

/// What one rendition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RenditionLedger {
    /// Name of the rung.
    pub quality: String,
    /// Frames encoded.
    pub frames_out: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Bytes of its blobs.
    pub bytes: u64,
    /// Presentation time of the first frame, seconds.
    pub first_s: f64,
    /// Presentation time at which the last frame ends, seconds.
    pub end_s: f64,
}

/// What the audio holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AudioLedger {
    /// PCM samples per channel decoded, with silence that fills gaps.
    pub samples_in: u64,
    /// AAC packets.
    pub packets_out: u64,
    /// Samples per second.
    pub sample_rate: u32,
    /// Where it ends, seconds.
    pub end_s: f64,
}

/// What one chunk brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChunkLedger {
    /// Position in the plan.
    pub index: u32,
    /// Frames that the decoder presented.
    pub frames_in: u64,
    /// Frames encoded in each rendition, best first.
    pub frames_out: Vec<u64>,
    /// Presentation time of the first frame, seconds.
    pub first_s: f64,
    /// Presentation time at which the last frame ends, seconds.
    pub end_s: f64,
    /// Milliseconds of wall time.
    pub took_ms: u64,
    /// Who encoded it.
    pub worker: String,
}
