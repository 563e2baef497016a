//! `chunk.cut`: one unit of encoding work, a time range of the source.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::ladder::Rung;
use crate::source::Media;
use crate::{Claim, JobId, TaskKey};

/// What a chunk encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// The whole audio track.
    Audio,
    /// The video frames of a time range, for every rung.
    Video,
}

/// A time range of the source that one worker decodes once and encodes for every rung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkCut {
    /// The job.
    pub job: JobId,
    /// Position in the plan: audio, when there is any, is 0, video follows in order of time.
    pub index: u32,
    /// Chunks in the plan.
    pub total: u32,
    /// What is encoded.
    pub kind: ChunkKind,
    /// Names the work and its output.
    pub task: TaskKey,
    /// The uploaded bytes.
    pub source: Claim,
    /// What they contain.
    pub media: Media,
    /// First presentation time that belongs to the chunk, ticks of the video's time base; absent: from the beginning.
    pub start: Option<i64>,
    /// First presentation time that does not belong to it any more; absent: to the end.
    pub end: Option<i64>,
    /// Keyframe to start decoding from, ticks; absent: from the beginning.
    pub decode_from: Option<i64>,
    /// Frames expected, from the index, to weigh progress with.
    #[serde(with = "crate::field::as_long")]
    pub weight: u64,
    /// Sum of all weights of the plan.
    #[serde(with = "crate::field::as_long")]
    pub total_weight: u64,
    /// The rungs that the job promises, best first.
    pub rungs: Vec<Rung>,
    /// Kilobits per second; zero for video.
    pub audio_kbps: u32,
    /// Name of the recipe, which fixes every setting that is not in the event.
    pub recipe: String,
}

impl Event for ChunkCut {
    const TOPIC: &'static str = "chunk.cut";

    fn job(&self) -> JobId {
        self.job
    }

    fn key(&self) -> String {
        format!("{}/{}", self.job, self.index)
    }

    /// Consecutive chunks go to consecutive partitions, so that one job spreads evenly over all workers.
    fn spread(&self) -> u64 {
        self.job.hash64().wrapping_add(u64::from(self.index))
    }
}
