//! `chunk.transcoded`: one chunk is encoded and its blobs are durable.

use serde::{Deserialize, Serialize};

use super::{ChunkKind, Event};
use crate::ladder::Rung;
use crate::source::Media;
use crate::{Claim, JobId, TaskKey};

/// One CMAF fragment (`moof` and `mdat`) inside a chunk's blob: one closed group of pictures, or a run of audio packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Where it begins in the blob, bytes.
    #[serde(with = "crate::field::as_long")]
    pub offset: u64,
    /// Its length, bytes.
    #[serde(with = "crate::field::as_long")]
    pub size: u64,
    /// Bytes of the `moof` and of the `mdat` header, after which the samples begin.
    pub header: u32,
    /// Time of its first sample, ticks of the rendition's timescale, zero at the beginning of the output.
    pub start: i64,
    /// Its length, ticks.
    #[serde(with = "crate::field::as_long")]
    pub duration: u64,
    /// Samples in it.
    pub samples: u32,
}

/// What a chunk became in one rung (or as audio).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkRendition {
    /// Name of the rung, or `audio`.
    pub quality: String,
    /// The fragments, one after the other.
    pub blob: Claim,
    /// CMAF initialisation segment (`ftyp` and `moov`), byte-equal for all chunks of the rendition.
    #[serde(with = "crate::field::as_bytes")]
    pub init: Vec<u8>,
    /// RFC 6381 name, such as `avc1.64001f`.
    pub codec: String,
    /// Ticks per second of all times here.
    pub timescale: u32,
    /// The fragments of the blob, in order.
    pub fragments: Vec<Fragment>,
    /// Sample table, see [`crate::manifest::samples`].
    #[serde(with = "crate::field::as_bytes")]
    pub samples: Vec<u8>,
    /// Frames encoded (AAC packets for audio).
    #[serde(with = "crate::field::as_long")]
    pub frames: u64,
    /// Presentation time of the first frame, ticks.
    pub first_pts: i64,
    /// Presentation time of the last frame, ticks.
    pub last_pts: i64,
    /// Presentation time at which the last frame ends, ticks.
    pub end_pts: i64,
    /// Keyframes among the frames.
    pub keyframes: u32,
    /// Luma PSNR of each frame as its encoder measured it, packed by [`crate::quality::psnr`], in the order in which
    /// frames are shown; empty when the encoder did not say, and for audio.
    #[serde(default, with = "crate::field::as_bytes")]
    pub psnr: Vec<u8>,
    /// How often it was encoded again because it was below the floor of its rung.
    #[serde(default)]
    pub again: u32,
    /// Whether it stays below the floor because the cap of its rung leaves no room.
    #[serde(default)]
    pub cap_won: bool,
}

/// A chunk of one job, encoded in every rung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkTranscoded {
    /// The job.
    pub job: JobId,
    /// Position in the plan.
    pub index: u32,
    /// Chunks in the plan.
    pub total: u32,
    /// What was encoded.
    pub kind: ChunkKind,
    /// The task that made it.
    pub task: TaskKey,
    /// What the source contains.
    pub media: Media,
    /// The rungs that the job promises, best first.
    pub rungs: Vec<Rung>,
    /// Frames that the decoder presented inside the range (decoded PCM samples for audio).
    #[serde(with = "crate::field::as_long")]
    pub frames_in: u64,
    /// Packets or frames that were damaged and concealed.
    #[serde(with = "crate::field::as_long")]
    pub damaged: u64,
    /// Frames of the plan that the chunk stands for.
    #[serde(with = "crate::field::as_long")]
    pub weight: u64,
    /// One entry per rung, best first; one for audio, or none when no sound could be decoded.
    pub renditions: Vec<ChunkRendition>,
    /// What a viewer may notice, in words.
    pub warnings: Vec<String>,
    /// Library versions that made it.
    pub encoder: String,
    /// Milliseconds of wall time that the work took.
    #[serde(with = "crate::field::as_long")]
    pub took_ms: u64,
    /// Who did it.
    pub worker: String,
    /// The uploaded bytes; unknown to workers of older versions.
    #[serde(default)]
    pub source: Option<Claim>,
    /// When the work ended, milliseconds since the Unix epoch by the worker's clock; unknown to workers of older versions.
    #[serde(default)]
    pub finished_at: Option<i64>,
}

impl Event for ChunkTranscoded {
    const TOPIC: &'static str = "chunk.transcoded";

    fn job(&self) -> JobId {
        self.job
    }
}
