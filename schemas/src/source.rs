//! What probe learned about an upload. Times are in ticks of the track's own time base.

use serde::{Deserialize, Serialize};

/// A ratio of two integers, such as a frame rate (frames per second) or a time base (seconds per tick).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ratio {
    /// Numerator.
    pub num: i32,
    /// Denominator, never zero.
    pub den: i32,
}

impl Ratio {
    /// The ratio as a float; zero when the denominator is zero.
    pub fn as_f64(self) -> f64 {
        if self.den == 0 { 0.0 } else { f64::from(self.num) / f64::from(self.den) }
    }
}

/// How the light of the source is coded, which decides whether it must be tone-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Standard dynamic range, or not stated.
    Sdr,
    /// SMPTE ST 2084.
    Pq,
    /// ARIB STD-B67.
    Hlg,
}

/// The video track that is encoded: the first that is no attached picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoTrack {
    /// Index of the track in the container.
    pub index: u32,
    /// Name of the codec as FFmpeg says it, such as `h264`.
    pub codec: String,
    /// Coded width in pixels, before rotation and aspect correction.
    pub width: u32,
    /// Coded height in pixels.
    pub height: u32,
    /// Average frame rate, frames per second.
    pub fps: Ratio,
    /// Clockwise turn in degrees that makes the picture upright: 0, 90, 180 or 270.
    pub rotation: i32,
    /// Whether the display matrix also mirrors: top to bottom for 0 and 180 degrees, over the diagonal else.
    pub mirrored: bool,
    /// Sample aspect ratio; 1:1 when not stated.
    pub sar: Ratio,
    /// Pixel format as FFmpeg says it, such as `yuv420p10le`.
    pub pixel_format: String,
    /// Whether fields are interlaced.
    pub interlaced: bool,
    /// How light is coded.
    pub transfer: Transfer,
    /// Seconds per tick of every time below and of the chunk boundaries.
    pub time_base: Ratio,
    /// Presentation time of the first frame, ticks.
    pub start: i64,
    /// Presentation time at which the last frame ends, ticks.
    pub end: i64,
    /// Frames that the container's index promises; what a decoder presents may differ.
    #[serde(with = "crate::field::as_long")]
    pub frames: u64,
    /// Longest distance between two frames, ticks; decides whether frames may be reordered.
    pub longest_gap: i64,
}

/// The audio track that is encoded: the first one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioTrack {
    /// Index of the track in the container.
    pub index: u32,
    /// Name of the codec as FFmpeg says it.
    pub codec: String,
    /// Channels in the source.
    pub channels: u32,
    /// Samples per second in the source.
    pub sample_rate: u32,
    /// Seconds per tick of the times below.
    pub time_base: Ratio,
    /// Presentation time of the first sample, ticks.
    pub start: i64,
    /// Presentation time at which the last sample ends, ticks.
    pub end: i64,
}

/// The media of one upload, as probe found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Container by its bytes: `mp4`, `mov`, `avi`, `webm`, `mkv` or `mpegts`.
    pub container: String,
    /// The demuxer to force when the source is opened again.
    pub demuxer: String,
    /// Time that is zero in every output, microseconds of the source's clock: the start of the earliest encoded track.
    pub origin_us: i64,
    /// Duration of the longest encoded track from `origin_us`, microseconds.
    pub duration_us: i64,
    /// The video track.
    pub video: VideoTrack,
    /// The audio track, when there is one.
    pub audio: Option<AudioTrack>,
}
