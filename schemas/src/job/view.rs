//! The job as users see it: the JSON of `GET /api/jobs/{id}` and of its status.
//!
//! A pure function of the row, which is folded from the log, and of what the edge has heard about work in progress.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::pictures::{self, PicturesView};
use super::{JobRow, State};
use crate::JobId;
use crate::event::{Failure, RenditionStitched, StageState};

mod captions;
mod content;

pub use captions::CaptionsView;
pub use content::{ContentView, is_labelled};

/// What an edge knows about a job from `job.progress`; empty for a job of which nothing was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Share of the work that is done, from 0 to 1.
    pub progress: f64,
    /// Whether the beginning can be watched.
    pub playable: bool,
    /// Since when, milliseconds since the Unix epoch.
    pub playable_at: Option<i64>,
    /// Where the stages stand, in order of the pipeline.
    pub stages: Vec<StageView>,
    /// Seconds until the job is ready, by guess.
    pub eta_s: Option<f64>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Job)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// The file's name as the uploader said it.
    pub name: String,
    /// Its state.
    pub state: State,
    /// From 0 to 1, which it reaches when everything that was promised can be fetched. It never goes down.
    #[schema(minimum = 0, maximum = 1)]
    pub progress: f64,
    /// Whether at least its beginning can be watched.
    pub playable: bool,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub received_at: String,
    /// RFC 3339, UTC.
    #[schema(required, format = DateTime)]
    pub playable_at: Option<String>,
    /// RFC 3339, UTC.
    #[schema(required, format = DateTime)]
    pub finished_at: Option<String>,
    /// The upload; absent while its event is not known.
    #[schema(required)]
    pub source: Option<SourceView>,
    /// Where the stages stand, in order of the pipeline.
    pub stages: Vec<StageView>,
    /// What can be fetched, best first.
    pub renditions: Vec<RenditionView>,
    /// Address of the HLS playlist, once it can be played.
    #[schema(required)]
    pub hls: Option<String>,
    /// Address of the DASH manifest, where one is served.
    #[schema(required)]
    pub dash: Option<String>,
    /// Address of the picture that stands for it, once there is one.
    #[schema(required)]
    pub poster: Option<String>,
    /// Address of the storyboard's WebVTT, once there is one.
    #[schema(required)]
    pub storyboard: Option<String>,
    /// Its pictures, or why there are none; absent until one of both is known.
    #[schema(required)]
    pub pictures: Option<PicturesView>,
    /// Captions, or why there are none; absent while nobody has said.
    #[schema(required)]
    pub captions: Option<CaptionsView>,
    /// What it shows, or why nobody can say; absent while nobody has looked.
    #[schema(required)]
    pub content: Option<ContentView>,
    /// Why it failed.
    #[schema(required)]
    pub error: Option<Failure>,
    /// What a viewer may notice, in words.
    pub warnings: Vec<String>,
}

/// A job in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusView {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// From 0 to 1, which it reaches when everything that was promised can be fetched. It never goes down.
    #[schema(minimum = 0, maximum = 1)]
    pub progress: f64,
    /// Whether at least its beginning can be watched.
    pub playable: bool,
    /// The stage that works or is waited for; the one that gave up, for a failed job.
    #[schema(required)]
    pub stage: Option<String>,
    /// Seconds until the job is ready, by guess.
    #[schema(required)]
    pub eta_s: Option<f64>,
}

/// The uploaded bytes and what probe found in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Source)]
pub struct SourceView {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// Container by its bytes; absent until probe has looked, as everything below.
    #[schema(required)]
    pub container: Option<String>,
    /// Seconds.
    #[schema(required)]
    pub duration_s: Option<f64>,
    /// The video track.
    #[schema(required)]
    pub video: Option<VideoView>,
    /// The audio track, when there is one.
    #[schema(required)]
    pub audio: Option<AudioView>,
}

/// A video track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = VideoTrack)]
pub struct VideoView {
    /// Codec, such as `h264`.
    pub codec: String,
    /// Coded width in pixels.
    pub width: u32,
    /// Coded height in pixels.
    pub height: u32,
    /// Frames per second, on average.
    pub fps: f64,
    /// Clockwise turn in degrees that makes the picture upright.
    pub rotation: i32,
}

/// An audio track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AudioTrack)]
pub struct AudioView {
    /// Codec, such as `aac`.
    pub codec: String,
    /// Channels.
    pub channels: u32,
    /// Samples per second.
    pub sample_rate: u32,
}

/// Where one stage stands with the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Stage)]
pub struct StageView {
    /// Name of the stage.
    pub name: String,
    /// Its state.
    pub state: StageState,
    /// Units finished, such as chunks.
    pub done: u32,
    /// Units in all, as far as is known.
    pub total: u32,
}

/// A rendition that can be fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rendition)]
pub struct RenditionView {
    /// Name of the rung.
    pub quality: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Mean bits per second, audio included.
    pub bitrate_bps: u64,
    /// Bytes of the progressive file.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Mean luma PSNR in decibels, when it has been compared with the source.
    #[serde(default)]
    #[schema(required)]
    pub psnr_db: Option<f64>,
    /// Mean SSIM over all planes, 0 to 1, when it has been compared with the source.
    #[serde(default)]
    #[schema(required)]
    pub ssim: Option<f64>,
    /// Address of the progressive file.
    pub url: String,
}

impl JobView {
    /// The view of `row`; addresses begin with `public_path`, the prefix under which a proxy shows the edge.
    pub fn of(row: &JobRow, live: &Live, public_path: &str) -> Self {
        let (state, end) = (row.state(), row.ended.as_ref().map(|fact| &fact.event));
        let playable = is_playable(state, live);
        let received = row.received.as_ref().map(|fact| &fact.event);
        // Any producer may have written the time, the id is all there is before the event has come.
        let received_at = received.map_or_else(|| row.id.unix_ms().cast_signed(), |event| event.received_at);
        let playable_at = end.and_then(|end| end.playable_at).or(live.playable_at);
        // What was made for a job that came to nothing is gone.
        let is_kept = !matches!(state, State::Failed | State::Cancelled);
        let illustrated = row.illustrated.as_ref().map(|fact| &fact.event).filter(|_| is_kept);
        let (poster, storyboard) = pictures::addresses(illustrated, row.id, public_path);
        Self {
            id: row.id,
            name: received.map(|event| event.name.clone()).unwrap_or_default(),
            state,
            progress: progress(state, live),
            playable,
            received_at: rfc3339(received_at),
            playable_at: playable_at.map(rfc3339),
            finished_at: end.map(|end| rfc3339(end.at)),
            source: source(row),
            stages: live.stages.clone(),
            renditions: renditions(row, public_path),
            hls: playable.then(|| address(public_path, row.id, "master.m3u8")),
            dash: None,
            poster,
            storyboard,
            pictures: illustrated.map(|event| PicturesView::of(event, public_path)),
            captions: row.current_captions().map(|event| CaptionsView::of(event, public_path)),
            content: row.classified.as_ref().map(|fact| ContentView::of(&fact.event)),
            error: end.and_then(|end| end.error.clone()),
            warnings: warnings(row),
        }
    }

    /// The same without what grows with the length of the video, or says how a label was found: for lists.
    #[must_use]
    pub fn in_brief(mut self) -> Self {
        if let Some(pictures) = &mut self.pictures {
            pictures.thumbnails = Vec::new();
        }
        if let Some(content) = &mut self.content {
            content.features.clear();
        }
        self
    }
}

impl StatusView {
    /// The status of `row`.
    pub fn of(row: &JobRow, live: &Live) -> Self {
        let state = row.state();
        let stage = match &row.ended {
            Some(end) => end.event.error.as_ref().map(|error| error.stage.clone()),
            None => current(&live.stages).map(|stage| stage.name.clone()),
        };
        Self {
            id: row.id,
            state,
            progress: progress(state, live),
            playable: is_playable(state, live),
            stage,
            eta_s: live.eta_s.filter(|_| !state.is_end()),
        }
    }
}

/// Address of `file` of `job`, such as `master.m3u8` or `720p`, below `public_path`.
pub fn address(public_path: &str, job: JobId, file: &str) -> String {
    format!("{}/api/stream/{job}/{file}", public_path.trim_end_matches('/'))
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC; times beyond year 9999 stop there.
pub fn rfc3339(unix_ms: i64) -> String {
    let limit = if unix_ms < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(limit).to_string()
}

/// Work that is done may be counted before its end is decided, but only ready is all.
fn progress(state: State, live: &Live) -> f64 {
    match state {
        State::Ready => 1.0,
        _ if live.progress.is_nan() => 0.0,
        _ => (live.progress.clamp(0.0, 0.999) * 1000.0).floor() / 1000.0,
    }
}

/// A job that failed or was cancelled has no end to play to.
fn is_playable(state: State, live: &Live) -> bool {
    match state {
        State::Ready => true,
        State::Received | State::Processing => live.playable,
        State::Failed | State::Cancelled => false,
    }
}

/// The first stage at work, else the first that waits.
fn current(stages: &[StageView]) -> Option<&StageView> {
    let first = |state| stages.iter().find(|stage| stage.state == state);
    first(StageState::Running).or_else(|| first(StageState::Waiting))
}

fn source(row: &JobRow) -> Option<SourceView> {
    let probed = row.probed.as_ref().map(|fact| &fact.event);
    let claim = row.received.as_ref().map(|fact| &fact.event.source).or(probed.map(|event| &event.source))?;
    let media = probed.map(|event| &event.media);
    Some(SourceView {
        bytes: claim.size,
        sha256: claim.sha256.clone(),
        container: media.map(|media| media.container.clone()),
        duration_s: media.map(|media| media.duration_us as f64 / 1e6),
        video: media.map(|media| VideoView {
            codec: media.video.codec.clone(),
            width: media.video.width,
            height: media.video.height,
            fps: (media.video.fps.as_f64() * 1000.0).round() / 1000.0,
            rotation: media.video.rotation,
        }),
        audio: media.and_then(|media| media.audio.as_ref()).map(|audio| AudioView {
            codec: audio.codec.clone(),
            channels: audio.channels,
            sample_rate: audio.sample_rate,
        }),
    })
}

fn renditions(row: &JobRow, public_path: &str) -> Vec<RenditionView> {
    let assessed = |quality: &str| row.assessed.get(quality).map(|fact| &fact.event);
    let view = |event: &RenditionStitched| RenditionView {
        quality: event.quality.clone(),
        codec: event.codec.clone(),
        width: event.width,
        height: event.height,
        bitrate_bps: event.bitrate_bps,
        bytes: event.bytes,
        frames: event.frames,
        psnr_db: assessed(&event.quality).map(|found| found.psnr_db),
        ssim: assessed(&event.quality).map(|found| found.ssim),
        url: address(public_path, row.id, &event.quality),
    };
    let mut views: Vec<RenditionView> = row.renditions.values().map(|fact| view(&fact.event)).collect();
    views.sort_by_key(|view| std::cmp::Reverse(u64::from(view.width) * u64::from(view.height)));
    views
}

/// Those of probe first; stitch may repeat them.
fn warnings(row: &JobRow) -> Vec<String> {
    let of_probe = row.probed.iter().flat_map(|fact| &fact.event.warnings);
    let of_end = row.ended.iter().flat_map(|fact| &fact.event.warnings);
    let mut warnings: Vec<String> = Vec::new();
    for warning in of_probe.chain(of_end) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
