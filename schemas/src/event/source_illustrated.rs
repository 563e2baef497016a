//! `source.illustrated`: the job has pictures, or a reason why not.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// Posters, thumbnails and storyboard of a job. Times are microseconds from the beginning of the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceIllustrated {
    /// The job.
    pub job: JobId,
    /// The poster, then its alternatives, best first; none when there are no pictures.
    pub posters: Vec<Picture>,
    /// One small picture of each shot, in order; of neighbours the better one when there are more shots than are kept.
    pub thumbnails: Vec<Thumbnail>,
    /// What a player shows while somebody seeks.
    pub storyboard: Option<Storyboard>,
    /// Shots that were found, at least 1 when there are frames.
    pub shots: u32,
    /// Pictures of the source that were looked at.
    #[serde(with = "crate::field::as_long")]
    pub frames: u64,
    /// What made them, with its version: libraries, then the recipe that names every parameter.
    pub maker: String,
    /// When they were made, milliseconds since the Unix epoch.
    pub made_at: i64,
    /// Why there are no pictures, one sentence.
    pub reason: Option<String>,
}

/// A JPEG, upright and with square pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The bytes.
    pub jpeg: Claim,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When it is shown.
    pub at_us: i64,
}

/// A picture that stands for a shot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// The picture.
    pub picture: Picture,
    /// Where its shot begins.
    pub start_us: i64,
    /// Where its shot ends.
    pub end_us: i64,
}

/// Tiles on one sheet, row by row, and which time each stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storyboard {
    /// The sheet, a JPEG.
    pub sprite: Claim,
    /// WebVTT whose cues name rectangles of the sheet.
    pub cues: Claim,
    /// Width of the sheet in pixels.
    pub width: u32,
    /// Height of the sheet in pixels.
    pub height: u32,
    /// Width of a tile in pixels.
    pub tile_width: u32,
    /// Height of a tile in pixels.
    pub tile_height: u32,
    /// Tiles on the sheet, at most 100.
    pub tiles: u32,
}

impl SourceIllustrated {
    /// Bytes of everything that was made.
    pub fn bytes(&self) -> u64 {
        let posters = self.posters.iter().map(|picture| picture.jpeg.size);
        let thumbnails = self.thumbnails.iter().map(|thumbnail| thumbnail.picture.jpeg.size);
        let storyboard = self.storyboard.iter().map(|board| board.sprite.size + board.cues.size);
        posters.chain(thumbnails).chain(storyboard).sum()
    }
}

impl Event for SourceIllustrated {
    const TOPIC: &'static str = "source.illustrated";

    fn job(&self) -> JobId {
        self.job
    }
}
