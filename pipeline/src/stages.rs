//! The stages, one file each. `topology.rs` lists them.

use bytes::{Bytes, BytesMut};
use connectors::blobs;
use schemas::Claim;

use crate::media::{Error as MediaError, Output, Response, Run};
use crate::stage::{Context, StageError, chain};

pub mod assess;
pub mod caption;
pub mod classify;
pub mod illustrate;
pub mod probe;
pub mod split;
pub mod stitch;
pub mod transcode;

impl From<MediaError> for StageError {
    fn from(error: MediaError) -> Self {
        if error.code.may_pass() {
            Self::retry(error.code.as_str(), error.message)
        } else {
            Self::reject(error.code.as_str(), error.message)
        }
    }
}

impl From<blobs::Error> for StageError {
    fn from(error: blobs::Error) -> Self {
        let message = chain(&error);
        match error {
            blobs::Error::NotFound(_) => Self::reject("missing_source", message),
            blobs::Error::Foreign { .. } => Self::reject("foreign_claim", message),
            blobs::Error::Mismatch { .. } => Self::reject("claim_mismatch", message),
            blobs::Error::Full | blobs::Error::Store { .. } => Self::door("use the blob store", &error),
            _ => Self::retry("blobs_failed", message),
        }
    }
}

impl From<connectors::catalog::Error> for StageError {
    fn from(error: connectors::catalog::Error) -> Self {
        Self::door("use the catalog", &error)
    }
}

/// Opens the source of a job as a local file that can be handed to a media process: the file of the store, or a copy of it.
/// One that `is_doubted` is looked at byte by byte.
async fn open_source(cx: &Context, claim: &Claim, is_doubted: bool) -> Result<std::fs::File, StageError> {
    tokio::select! {
        // A copy of a long film takes a while, and nobody may want it any more.
        biased;
        () = cx.cancel.cancelled() => Err(StageError::retry("cancelled", "the work is not wanted any more")),
        file = cx.doors.blobs.open_claim(claim, is_doubted) => Ok(file?),
    }
}

/// Waits for the next output of media work, unless the work is not wanted any more.
async fn next_output(run: &mut dyn Run, cx: &Context) -> Result<Output, StageError> {
    tokio::select! {
        // Whoever is cancelled is told so, even when the work has just ended.
        biased;
        () = cx.cancel.cancelled() => Err(StageError::retry("cancelled", "the work is not wanted any more")),
        output = run.next() => Ok(output?),
    }
}

/// Pieces of which a media process makes a few, each in parts: a bounded number, and of bounded size together.
struct Pieces {
    most: usize,
    most_bytes: usize,
    made: Vec<BytesMut>,
}

impl Pieces {
    /// At most `most` of them, and `most_bytes` in all.
    fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, made: Vec::new() }
    }

    /// Takes a part of piece `index`; fails when there are more than any honest process makes.
    fn take(&mut self, index: usize, part: &[u8]) -> Result<(), StageError> {
        let total: usize = self.made.iter().map(BytesMut::len).sum();
        if index >= self.most || total + part.len() > self.most_bytes {
            return Err(StageError::retry("media_crashed", "the media process made pictures without end"));
        }
        self.made.resize(self.made.len().max(index + 1), BytesMut::new());
        self.made[index].extend_from_slice(part);
        Ok(())
    }

    /// The pieces in their order.
    fn finish(self) -> Vec<Bytes> {
        self.made.into_iter().map(BytesMut::freeze).collect()
    }
}

/// The answer that a request must have was another one.
fn wrong_answer(response: &Response) -> StageError {
    let said = match response {
        Response::Probed(_) => "what it contains",
        Response::Encoded(_) => "encoded bytes",
        Response::Compared(_) => "a comparison",
        Response::Illustrated(_) => "pictures",
        Response::Measured(_) => "measurements",
        Response::Sampled(_) => "samples of sound",
    };
    MediaError::new(crate::media::Code::MediaCrashed, format!("the media process answered with {said}")).into()
}

/// Media for the tests of stages.
#[cfg(test)]
mod example {
    use schemas::source::{Media, Ratio, Transfer, VideoTrack};

    /// Ten seconds of 640x360 at 25 pictures a second, counted in milliseconds, without sound.
    pub fn media() -> Media {
        let video = VideoTrack {
            index: 0,
            codec: "h264".into(),
            width: 640,
            height: 360,
            fps: Ratio { num: 25, den: 1 },
            rotation: 0,
            mirrored: false,
            sar: Ratio { num: 1, den: 1 },
            pixel_format: "yuv420p".into(),
            interlaced: false,
            transfer: Transfer::Sdr,
            time_base: Ratio { num: 1, den: 1000 },
            start: 0,
            end: 10_000,
            frames: 250,
            longest_gap: 40,
        };
        let (container, demuxer) = ("mp4".to_owned(), "mov".to_owned());
        Media { container, demuxer, origin_us: 0, duration_us: 10_000_000, video, audio: None }
    }
}
