//! `/api/stream/{job}/captions…`: the captions as files, and as a rendition of HLS.
//!
//! Which captions a video has, its row says; videos play without. What a playlist names lies in the blob store under the same
//! name, so that an older playlist plays on while newer captions are there.

use std::time::Duration;

use bytes::Bytes;
use headers::HeaderMap;
use schemas::captions::{self, SIGNATURE, read_vtt, write_srt};
use schemas::event::{CaptionsWritten, StageState};
use schemas::job::{JobRow, Live, State};
use schemas::manifest::Manifest;
use schemas::{Claim, JobId};
use tokio::time::timeout;
use warp::http::Method;
use warp::reply::Response;

use super::Edge;
use super::deliver::{Content, Representation};
use super::hls;
use super::play::FOR_GOOD;
use super::problem::Problem;
use super::range::Validators;

/// How long a master playlist waits to hear whether there are captions.
const PATIENCE: Duration = Duration::from_millis(500);
/// Captions that have not come so long after the end of a job do not come, milliseconds: a day.
const AWAITED_MS: i64 = 24 * 3_600_000;
/// Name of the stage that writes them.
const STAGE: &str = "caption";
/// Captions may be written anew.
const FOR_NOW: &str = "public, max-age=60";
/// `Content-Type` of WebVTT (W3C) and of SubRip.
const TYPES: [&str; 2] = ["text/vtt; charset=utf-8", "application/x-subrip; charset=utf-8"];
/// Cues and pictures count from the same zero: presentation times as they are after the edit list of the tracks (RFC 8216,
/// section 3.5).
const MAP: &str = "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0";

type Answer = Result<Response, Problem>;

impl Edge {
    /// `captions.vtt` and `captions.srt`.
    pub(super) async fn captions(&self, job: JobId, name: &str, method: &Method, headers: &HeaderMap) -> Answer {
        let (row, live) = self.known(job).await?;
        let event = written(&row).ok_or_else(|| self.no_captions(&row, &live))?;
        let text = self.text_of(&event.claim).await?;
        let (text, media_type) = if name.ends_with(".srt") {
            let cues = read_vtt(&text).ok_or_else(|| Problem::internal("the captions are damaged"))?;
            (write_srt(&cues), TYPES[1])
        } else {
            (text, TYPES[0])
        };
        self.text(text, media_type, FOR_NOW, event.written_at, method, headers).await
    }

    /// `captions/index.m3u8`, and the file that it names.
    pub(super) async fn play_captions(
        &self,
        manifest: &Manifest,
        file: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        if file == "index.m3u8" {
            let (row, live) = self.known(manifest.job).await?;
            let event = written(&row).ok_or_else(|| self.no_captions(&row, &live))?;
            let text = hls::captions(manifest, event.file());
            return self.text(text, hls::PLAYLIST_TYPE, FOR_NOW, event.written_at, method, headers).await;
        }
        let is_name = |stem: &str| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !file.strip_suffix(".vtt").is_some_and(is_name) {
            return Err(Problem::not_found("there are no such captions"));
        }
        let bytes = self.doors.blobs.read(&format!("{}{file}", captions::prefix(manifest.job))).await?;
        let text = String::from_utf8_lossy(&bytes).replacen(SIGNATURE, &format!("{SIGNATURE}\n{MAP}"), 1);
        self.text(text, TYPES[0], FOR_GOOD, manifest.written_at, method, headers).await
    }

    /// Language of the captions that belong into the master playlist; none while the row cannot be had.
    pub(super) async fn caption_language(&self, manifest: &Manifest) -> Option<String> {
        // A playlist that grows has no captions of its whole length.
        if !manifest.complete {
            return None;
        }
        let found = timeout(PATIENCE, self.board.look(manifest.job)).await.ok()?.ok()??;
        written(&found.0).map(|event| event.language)
    }

    async fn text_of(&self, claim: &Claim) -> Result<String, Problem> {
        let key = self.doors.blobs.resolve(&claim.uri)?;
        let bytes = self.doors.blobs.read(&key).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn text(
        &self,
        text: String,
        media_type: &'static str,
        caching: &'static str,
        written_at: i64,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        let tag = schemas::TaskKey::of(&[&text]);
        let validators = Validators::new(tag.as_str(), written_at);
        let validators = validators.ok_or_else(|| Problem::internal("the captions cannot be served"))?;
        let content = Content::Bytes(Bytes::from(text));
        Representation { content, media_type, caching, validators }.answer(&self.doors.blobs, method, headers).await
    }

    /// Why there are no captions, or not yet.
    fn no_captions(&self, row: &JobRow, live: &Live) -> Problem {
        if let Some(reason) = row.current_captions().and_then(|event| event.reason.as_ref()) {
            return Problem::not_found(format!("this video has no captions: {reason}"));
        }
        let has_given_up = live.stages.iter().any(|stage| stage.name == STAGE && stage.state == StageState::Failed);
        let ended_at = row.ended.as_ref().map(|fact| fact.event.at);
        let age_ms = ended_at.map_or(0, |at| self.doors.clock.now_ms().saturating_sub(at));
        match row.state() {
            State::Failed => Problem::not_found("the job has failed, so there are no captions"),
            State::Cancelled => Problem::not_found("the job was cancelled, so there are no captions"),
            _ if has_given_up => Problem::not_found("this video has no captions: caption gave up on it"),
            _ if age_ms > AWAITED_MS => Problem::not_found("this video has no captions: nobody has written any"),
            _ => Problem::not_ready("the captions are not written yet"),
        }
    }
}

/// Captions that can be shown.
struct Written {
    claim: Claim,
    language: String,
    written_at: i64,
}

impl Written {
    /// Name of the blob below those of all captions of its job.
    fn file(&self) -> &str {
        self.claim.uri.rsplit('/').next().unwrap_or_default()
    }
}

/// The captions that viewers get.
fn written(row: &JobRow) -> Option<Written> {
    let CaptionsWritten { vtt, language, written_at, .. } = row.current_captions()?;
    Some(Written { claim: vtt.clone()?, language: language.clone(), written_at: *written_at })
}
