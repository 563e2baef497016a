//! How close renditions are to their source: what the encoder measured, what assess measured, and what that means in words.
//!
//! Stitch writes [`Quality`] to [`key`], with what the encoders said. Assess writes one [`RenditionQuality`] for each rendition,
//! which takes the place of the one there. Figures of single frames lie beside them as a [`table`].
//!
//! # Layout
//! - [`figures`]: many figures become one: means, percentiles, the worst
//! - [`table`]: the figures of each frame, packed
//! - [`psnr`]: what an encoder says of the frames of a chunk, packed
//! - [`verdict`]: figures become sentences

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::source::Media;
use crate::{Claim, JobId};

pub mod figures;
pub mod psnr;
pub mod table;
pub mod verdict;

pub use figures::Summary;

/// Blob key of what is known of the quality of `job` when it is stitched, JSON of [`Quality`].
pub fn key(job: JobId) -> String {
    format!("{}quality.json", crate::manifest::prefix(job))
}

/// What is measured of each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// PSNR of luma in decibels, from the encoder while it encoded. Frames that no other refers to are measured before their
    /// deblocking, so it may lie a few hundredths off.
    PsnrEncoded,
    /// PSNR of luma in decibels, of the decoded rendition.
    PsnrY,
    /// PSNR over all three planes in decibels, of the decoded rendition.
    PsnrAll,
    /// SSIM of luma, of the decoded rendition.
    SsimY,
    /// SSIM over all three planes, of the decoded rendition.
    SsimAll,
    /// VMAF, from 0 to 100, of the decoded rendition; where the library has it.
    Vmaf,
}

impl Metric {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] = [Self::PsnrEncoded, Self::PsnrY, Self::PsnrAll, Self::SsimY, Self::SsimAll, Self::Vmaf];

    /// Its name in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PsnrEncoded => "psnr_encoded",
            Self::PsnrY => "psnr_y",
            Self::PsnrAll => "psnr_all",
            Self::SsimY => "ssim_y",
            Self::SsimAll => "ssim_all",
            Self::Vmaf => "vmaf",
        }
    }

    /// Whether it counts decibels.
    pub fn is_psnr(self) -> bool {
        matches!(self, Self::PsnrEncoded | Self::PsnrY | Self::PsnrAll)
    }
}

/// Summaries by metric; what is not measured is not there.
pub type Summaries = BTreeMap<Metric, Summary>;

/// What is known of the quality of a job when it is stitched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The job.
    pub job: JobId,
    /// The uploaded bytes; absent when older workers made the chunks, and then nothing can be compared with them.
    pub source: Option<Claim>,
    /// What the source contains.
    pub media: Media,
    /// The rungs that the job promises, best first.
    pub rungs: Vec<crate::ladder::Rung>,
    /// Renditions, best first.
    pub renditions: Vec<RenditionQuality>,
}

/// How close one rendition is to its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RenditionQuality {
    /// Name of the rung.
    pub quality: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// In words.
    pub verdict: String,
    /// Whether assess has compared it with its source.
    pub assessed: bool,
    /// Why it never will; nobody knows that before assess has given up.
    #[serde(default)]
    #[schema(required)]
    pub trouble: Option<String>,
    /// Frames of the rendition.
    pub frames: u64,
    /// Mean luma PSNR below which a chunk is encoded again, decibels.
    #[schema(required)]
    pub floor_db: Option<u32>,
    /// How often chunks were encoded again, all together.
    pub encoded_again: u32,
    /// Chunks that stay below the floor because the cap leaves no room.
    pub cap_won: u32,
    /// Over all frames.
    #[schema(value_type = BTreeMap<Metric, Summary>)]
    pub metrics: Summaries,
    /// One entry per chunk that holds frames, in order of time.
    pub chunks: Vec<ChunkQuality>,
    /// What could not be measured and what did not fit together, in words.
    pub notes: Vec<String>,
    /// Frames of the rendition that were compared with the source's; absent before assess.
    #[schema(required)]
    pub compared: Option<u64>,
    /// What measured, with its version.
    pub maker: String,
    /// Ticks per second of the times in the table.
    pub timescale: u32,
    /// The figures of each frame, see [`table`].
    #[schema(ignore)]
    pub table: Claim,
}

impl RenditionQuality {
    /// Takes what `rows`, the frames of the rendition in the order in which they are shown, say of it and of its chunks.
    pub fn measure(&mut self, rows: &[table::Row]) {
        self.metrics = figures::of_rows(rows, 0, self.timescale);
        let mut first = 0;
        for chunk in &mut self.chunks {
            let count = usize::try_from(chunk.frames).unwrap_or(usize::MAX);
            let (from, to) = (first.min(rows.len()), first.saturating_add(count).min(rows.len()));
            chunk.metrics = figures::of_rows(&rows[from..to], from as u64, self.timescale);
            first = to;
        }
        self.verdict = verdict::of(self);
    }
}

/// How close one chunk of a rendition is to its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChunkQuality {
    /// Position in the plan.
    pub index: u32,
    /// When it begins, seconds.
    pub start_s: f64,
    /// When it ends, seconds.
    pub end_s: f64,
    /// Frames in it.
    pub frames: u64,
    /// How often it was encoded again.
    pub again: u32,
    /// Whether it stays below the floor because the cap leaves no room.
    pub cap_won: bool,
    /// Over its frames.
    #[schema(value_type = BTreeMap<Metric, Summary>)]
    pub metrics: Summaries,
}
