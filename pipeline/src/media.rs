//! Decoding and encoding: plain data in, plain data out.
//!
//! A caller hands over an open file and a [`Request`]; what comes back is a run of [`Output`]s. Decoders meet hostile
//! bytes, so the work is done in a sandboxed child process ([`child`]); a crash there is one failed attempt here.
//!
//! # Layout
//! - [`sniff`]: containers by their first bytes
//! - [`child`]: the parent's side of the process boundary; [`worker`]: the child's side; [`sandbox`]: what it may do; `feed`: a
//!   rendition on its way from one to the other
//! - [`source`]: opening a file that nobody trusts; [`probe`]: what it contains
//! - [`decode`], [`picture`], [`encode`]: frames out, frames upright and scaled, packets in; [`video`] joins them
//! - `rung`, `crew`, `cores`: what one rendition needs, and the threads that do it
//! - [`sound`]: decoded sound on the output's clock; [`audio`]: encoded, [`samples`]: plain
//! - [`compare`]: a rendition beside its source; [`psnr`]: what an encoder says of its own error
//! - [`illustrate`]: pictures that stand for the video, out of one decode of it; [`signals`]: what it is like, in numbers
//! - [`library`]: versions, and whether everything is there
//! - [`boxes`]: CMAF; [`progressive`]: the head of the virtual MP4

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use schemas::ladder::Rung;
use schemas::source::Media;
use serde::{Deserialize, Serialize};

pub mod audio;
pub mod boxes;
pub mod child;
pub mod compare;
mod cores;
mod crew;
pub mod decode;
pub mod encode;
mod feed;
pub mod illustrate;
pub mod library;
pub mod picture;
pub mod probe;
pub mod progressive;
mod psnr;
mod rung;
pub mod samples;
pub mod sandbox;
pub mod signals;
pub mod sniff;
pub mod sound;
pub mod source;
pub mod video;
pub mod worker;

/// Name of the recipe: changes whenever the same input would give other bytes.
///
/// `aacfp`: the AAC encoder computes in floating point, so its bytes may differ between kinds of processors.
pub const RECIPE: &str = "h264-veryfast-crf23-gop2-aacfp-v4";

/// What is to be done with a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Say what it contains.
    Probe,
    /// Encode the frames of a time range for every rung.
    Video(VideoTask),
    /// Encode the audio track.
    Audio(AudioTask),
    /// Compare a rendition, which comes as a [`Feed`], with the source.
    Compare(CompareTask),
    /// Find pictures that stand for the video.
    Pictures(illustrate::Task),
    /// Measure what the video is like.
    Signals(signals::Task),
    /// Decode the audio track into plain samples.
    Samples(SamplesTask),
}

/// A range of video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoTask {
    /// What the file contains.
    pub media: Media,
    /// First presentation time that belongs to the range, ticks; absent: from the beginning.
    pub start: Option<i64>,
    /// First presentation time that does not belong to it any more; absent: to the end.
    pub end: Option<i64>,
    /// Keyframe to start decoding from, ticks; absent: from the beginning.
    pub decode_from: Option<i64>,
    /// The rungs, best first.
    pub rungs: Vec<Rung>,
    /// The best rung of the ladder where it is not the first of these: pictures that are scaled on their way to others are
    /// scaled to it first.
    #[serde(default)]
    pub largest: Option<Rung>,
    /// By so many steps they shall be better than usual, within their caps.
    #[serde(default)]
    pub better: u32,
    /// Whether the encoder shall say nothing of its error, to see what saying it costs.
    #[serde(default)]
    pub is_silent: bool,
}

/// The audio of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioTask {
    /// What the file contains.
    pub media: Media,
    /// Kilobits per second.
    pub kbps: u32,
}

/// A rendition and what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareTask {
    /// What the source contains.
    pub media: Media,
    /// What the rendition was encoded for.
    pub rung: Rung,
    /// The best rung of its ladder, as in [`VideoTask`].
    pub largest: Option<Rung>,
    /// Ticks of the output with which its chunks begin, ascending. The first one is the time of its first picture.
    pub chunks: Vec<i64>,
}

/// The bytes of a rendition in order, for work that needs them beside the source: its initialisation segment, then its
/// fragments.
pub type Feed = BoxStream<'static, Result<Bytes, Error>>;

/// The audio of a file for whoever listens, see [`samples`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesTask {
    /// What the file contains.
    pub media: Media,
}

/// What the work says, piece by piece.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// So many frames (or, for audio, video frames' worth of sound) are finished.
    Progress(u64),
    /// More bytes of one rendition, by its index in the task.
    Bytes(usize, Bytes),
    /// The end.
    Done(Response),
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Response {
    /// Answer to [`Request::Probe`].
    Probed(Box<Probed>),
    /// Answer to [`Request::Video`] and [`Request::Audio`].
    Encoded(Encoded),
    /// Answer to [`Request::Pictures`]; the bytes came before it, in the order of the lists.
    Illustrated(illustrate::Illustrated),
    /// Answer to [`Request::Signals`]; the bytes of its pictures came before it, in the order of the list.
    Measured(signals::Measured),
    /// Answer to [`Request::Compare`]; the figures themselves come as bytes, see [`compare::Figures`].
    Compared(Compared),
    /// Answer to [`Request::Samples`]; the samples themselves came as bytes.
    Sampled(Sampled),
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Pictures of the rendition.
    pub frames: u64,
    /// Pictures of the rendition that have one of the source at their time.
    pub compared: u64,
    /// Pictures of the source, within the time of the rendition, that it does not have.
    pub missing: u64,
    /// What measured, with its version.
    pub maker: String,
    /// Whether VMAF was measured as well: its figures came as bytes of rendition 1, eight each, big-endian, one for each picture that
    /// was compared.
    pub vmaf: Vmaf,
}

/// Whether VMAF is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vmaf {
    /// It is.
    Measured,
    /// The libraries have no filter for it.
    NoFilter,
    /// The filter opens a file, and nothing but the kernel's landlock, which is missing, could keep a process to its own.
    NotSafe,
}

/// How much sound there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Samples at [`samples::RATE`].
    pub samples: u64,
    /// Damaged packets or frames.
    pub damaged: u64,
}

/// What a file contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// The tracks to encode.
    pub media: Media,
    /// Presentation times of keyframes, ascending, ticks; empty when the timestamps cannot be trusted.
    pub keyframes: Vec<i64>,
    /// What a viewer may notice.
    pub warnings: Vec<String>,
}

/// What a range became.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Encoded {
    /// Frames that the decoder presented in the range; PCM samples per channel for audio.
    pub frames_in: u64,
    /// Damaged packets or frames.
    pub damaged: u64,
    /// One entry per rung; exactly one for audio.
    pub renditions: Vec<EncodedRendition>,
    /// Library versions.
    pub encoder: String,
}

/// What a range became in one rung.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EncodedRendition {
    /// Initialisation segment.
    #[serde(with = "base64_bytes")]
    pub init: Vec<u8>,
    /// RFC 6381 name.
    pub codec: String,
    /// Ticks per second.
    pub timescale: u32,
    /// Fragments, in order.
    pub fragments: Vec<schemas::event::Fragment>,
    /// Packed sample table, see [`schemas::manifest::samples`].
    #[serde(with = "base64_bytes")]
    pub samples: Vec<u8>,
    /// Frames or packets.
    pub frames: u64,
    /// First presentation time, ticks.
    pub first_pts: i64,
    /// Last presentation time, ticks.
    pub last_pts: i64,
    /// Where the last frame ends, ticks.
    pub end_pts: i64,
    /// Keyframes.
    pub keyframes: u32,
    /// Luma PSNR of each frame as the encoder says it, packed, see [`schemas::quality::psnr`]; empty when it does not.
    #[serde(default, with = "base64_bytes")]
    pub psnr: Vec<u8>,
}

/// Why media work failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// A stable word: `unsupported_media`, `no_video`, `too_large_picture`, `too_many_tracks`, `too_long`,
    /// `damaged_media`, `media_crashed`, `media_memory`, `encoder_failed`.
    pub code: Code,
    /// One sentence.
    pub message: String,
}

/// The stable words of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not a container or codec that is decoded here.
    UnsupportedMedia,
    /// No video track.
    NoVideo,
    /// More pixels than the budget allows.
    TooLargePicture,
    /// More tracks than the budget allows.
    TooManyTracks,
    /// Longer than the budget allows.
    TooLong,
    /// Nothing in it can be decoded.
    DamagedMedia,
    /// The child process died.
    MediaCrashed,
    /// Our own side failed: may pass.
    EncoderFailed,
}

impl Code {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedMedia => "unsupported_media",
            Self::NoVideo => "no_video",
            Self::TooLargePicture => "too_large_picture",
            Self::TooManyTracks => "too_many_tracks",
            Self::TooLong => "too_long",
            Self::DamagedMedia => "damaged_media",
            Self::MediaCrashed => "media_crashed",
            Self::EncoderFailed => "encoder_failed",
        }
    }

    /// Whether another attempt may go better.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::MediaCrashed | Self::EncoderFailed)
    }
}

impl Error {
    /// An error with `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Something that does media work; stages get it in their constructor.
pub trait Engine: Send + Sync + 'static {
    /// Starts work on `source`. Dropping the [`Run`] ends it at once.
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error>;

    /// Starts work that needs a rendition beside its source. The feed is read as fast as the work goes.
    fn start_fed(&self, request: &Request, source: std::fs::File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        drop((request, source, feed));
        Err(Error::new(Code::EncoderFailed, "this engine takes no rendition beside its source"))
    }

    /// Names the libraries that do the work: another name may mean other bytes for the same request.
    fn build(&self) -> String;
}

/// Work that goes on.
#[async_trait]
pub trait Run: Send {
    /// Waits for the next output; [`Output::Done`] is the last.
    async fn next(&mut self) -> Result<Output, Error>;
}

/// Where the child's side puts what it makes.
pub trait Sink {
    /// More bytes of a rendition.
    fn bytes(&mut self, rendition: usize, bytes: &[u8]) -> Result<(), Error>;
    /// So many frames are finished.
    fn progress(&mut self, frames: u64) -> Result<(), Error>;
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
