//! `/api/stream`: the progressive file and HLS, out of the manifest and the blobs alone.

use std::time::Duration;

use bytes::Bytes;
use headers::HeaderMap;
use schemas::JobId;
use schemas::job::State;
use schemas::ladder::TIERS;
use schemas::manifest::{Manifest, Part, Rendition, Track, segments};
use tokio::time::timeout;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::Edge;
use super::deliver::{Content, Representation};
use super::hls;
use super::pictures::Wanted;
use super::problem::Problem;
use super::range::Validators;

/// Blobs never change under their key, so whoever has a segment has it for good.
pub(super) const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Asked again each time, answered with 304 when nothing changed.
const ASK_AGAIN: &str = "no-cache";

/// How long a playlist waits for what only the catalog knows.
const PATIENCE: Duration = Duration::from_millis(500);

/// Name of the audio track in addresses.
const AUDIO: &str = "audio";

/// Name of the captions in addresses.
const CAPTIONS: &str = "captions";

impl Edge {
    /// `/api/stream/{job}/{name}`: the master playlist, the progressive file of a quality, or a picture.
    pub(super) async fn play(
        &self,
        job: JobId,
        name: &str,
        query: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        if name == "master.m3u8" {
            let manifest = self.playable(job).await?;
            if !hls::is_playable(&manifest) {
                return Err(Problem::not_ready("the first seconds of the video are not there yet"));
            }
            let captions = self.caption_language(&manifest).await;
            return self.playlist(&manifest, hls::master(&manifest, captions.as_deref()), method, headers).await;
        }
        if matches!(name, "captions.vtt" | "captions.srt") {
            return self.captions(job, name, method, headers).await;
        }
        if let Some(wanted) = Wanted::named(name) {
            return self.picture(job, wanted, query, method, headers).await;
        }
        refuse_other_formats(name)?;
        let Some(manifest) = self.manifests.of(job).await? else {
            return Err(self.missing(job, Some(name)).await);
        };
        let Some(rendition) = rendition(&manifest, name) else {
            return Err(unknown_quality(name));
        };
        let Some(file) = &rendition.progressive else {
            return Err(Problem::not_ready(format!("the {name} file is not whole yet; HLS plays what is there")));
        };
        let representation = Representation {
            content: Content::Parts(file.parts.clone()),
            media_type: "video/mp4",
            caching: "public, max-age=3600",
            validators: validators(&file.etag, &manifest)?,
        };
        self.deliver(job, representation, method, headers).await
    }

    /// `/api/stream/{job}/{track}/{file}`: a media playlist, an initialisation segment, a segment, or a picture of several.
    pub(super) async fn play_track(
        &self,
        job: JobId,
        track: &str,
        file: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        if let Some(wanted) = Wanted::numbered(track, file) {
            return self.picture(job, wanted, "", method, headers).await;
        }
        let manifest = match self.manifests.of(job).await? {
            Some(manifest) => manifest,
            None => return Err(self.missing(job, (![AUDIO, CAPTIONS].contains(&track)).then_some(track)).await),
        };
        if track == CAPTIONS {
            return self.play_captions(&manifest, file, method, headers).await;
        }
        let found = match track {
            AUDIO => manifest.audio.as_ref(),
            quality => rendition(&manifest, quality).map(|rendition| &rendition.video),
        };
        let Some(found) = found else { return Err(unknown_quality(track)) };
        let media_type = if track == AUDIO { "audio/mp4" } else { "video/mp4" };
        match file {
            "index.m3u8" => {
                let target = self.target_seconds(&manifest).await;
                self.playlist(&manifest, hls::media(&manifest, found, target), method, headers).await
            }
            "init.mp4" => {
                let tag = schemas::TaskKey::of(&[&schemas::id::hex(&found.init)]);
                let representation = Representation {
                    content: Content::Bytes(Bytes::copy_from_slice(&found.init)),
                    media_type,
                    caching: FOR_GOOD,
                    validators: validators(tag.as_str(), &manifest)?,
                };
                self.deliver(job, representation, method, headers).await
            }
            _ => {
                let (part, tag) = segment(&manifest, found, file)?;
                let representation = Representation {
                    content: Content::Parts(vec![part]),
                    media_type,
                    caching: FOR_GOOD,
                    validators: validators(&tag, &manifest)?,
                };
                self.deliver(job, representation, method, headers).await
            }
        }
    }

    /// Sends `representation`; a manifest whose bytes are gone is one of a job that was deleted meanwhile.
    pub(super) async fn deliver(
        &self,
        job: JobId,
        representation: Representation,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        let answer = representation.answer(&self.doors.blobs, method, headers).await;
        if matches!(&answer, Err(problem) if problem.status == StatusCode::NOT_FOUND) {
            self.manifests.forget(job);
        }
        answer
    }

    async fn playable(&self, job: JobId) -> Result<std::sync::Arc<Manifest>, Problem> {
        match self.manifests.of(job).await? {
            Some(manifest) => Ok(manifest),
            None => Err(self.missing(job, None).await),
        }
    }

    async fn playlist(&self, manifest: &Manifest, text: String, method: &Method, headers: &HeaderMap) -> Answer {
        let tag = schemas::TaskKey::of(&[&text]);
        let representation = Representation {
            content: Content::Bytes(text.into()),
            media_type: hls::PLAYLIST_TYPE,
            caching: if manifest.complete { "public, max-age=60" } else { ASK_AGAIN },
            validators: validators(tag.as_str(), manifest)?,
        };
        self.deliver(manifest.job, representation, method, headers).await
    }

    /// The target duration, the same while the playlist grows and after.
    ///
    /// Only a source whose pictures stand longer than a few seconds needs more than the usual one; what probe found
    /// about it says how much before the long segment comes. Without the catalog, what is listed by now decides.
    async fn target_seconds(&self, manifest: &Manifest) -> u64 {
        let listed = hls::target_of(manifest);
        let Ok(Ok(Some(found))) = timeout(PATIENCE, self.doors.catalog.job(manifest.job)).await else { return listed };
        let Some(probed) = &found.row.probed else { return listed };
        let video = &probed.event.media.video;
        listed.max(hls::target_for_gap(video.longest_gap as f64 * video.time_base.as_f64()))
    }

    /// Why nothing of `job` (in `quality`) can be played.
    async fn missing(&self, job: JobId, quality: Option<&str>) -> Problem {
        let found = match self.doors.catalog.job(job).await {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let Some(row) = found.map(|found| found.row).filter(|row| !row.deleted) else {
            return Problem::not_found(format!("there is no job {job}"));
        };
        let promised = match (quality, &row.probed) {
            (None, _) => true,
            (Some(quality), Some(probed)) => probed.event.rungs.iter().any(|rung| rung.quality == quality),
            (Some(quality), None) => TIERS.iter().any(|tier| tier.quality == quality),
        };
        match row.state() {
            _ if !promised => unknown_quality(quality.unwrap_or_default()),
            State::Failed => Problem::not_found("the job has failed, so there is nothing to play"),
            State::Cancelled => Problem::not_found("the job was cancelled, so there is nothing to play"),
            _ => Problem::not_ready("the video is not playable yet"),
        }
    }
}

pub(super) type Answer = Result<Response, Problem>;

impl From<super::manifests::Error> for Problem {
    fn from(error: super::manifests::Error) -> Self {
        Self::door("blob store", &error)
    }
}

fn rendition<'a>(manifest: &'a Manifest, quality: &str) -> Option<&'a Rendition> {
    manifest.renditions.iter().find(|rendition| rendition.quality == quality)
}

fn unknown_quality(name: &str) -> Problem {
    let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    Problem::not_found(format!("the video has no `{name}`"))
}

/// Formats that the address space has room for and this edge does not make.
fn refuse_other_formats(name: &str) -> Result<(), Problem> {
    let what = match name {
        "manifest.mpd" => "DASH",
        name if name.ends_with(".webm") => "WebM",
        _ => return Ok(()),
    };
    Err(Problem::not_found(format!("this video has no {what}")))
}

fn validators(tag: &str, manifest: &Manifest) -> Result<Validators, Problem> {
    Validators::new(tag, manifest.written_at).ok_or_else(|| {
        tracing::error!(job = %manifest.job, "the manifest holds an entity tag that cannot be sent");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the manifest cannot be served")
    })
}

/// The bytes of `seg-<n>.m4s`, and an entity tag.
fn segment(manifest: &Manifest, track: &Track, file: &str) -> Result<(Part, String), Problem> {
    let unknown = || Problem::not_found("there is no such segment");
    let digits = file.strip_prefix("seg-").and_then(|rest| rest.strip_suffix(".m4s")).ok_or_else(unknown)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unknown());
    }
    let number: usize = digits.parse().map_err(|_| unknown())?;
    let segments = segments(&track.pieces, track.timescale);
    let Some(segment) = segments.get(number) else {
        return Err(if manifest.complete { unknown() } else { Problem::not_ready("the segment is not there yet") });
    };
    let piece = track.pieces.get(segment.piece).ok_or_else(unknown)?;
    let tag = format!("{}-{}-{}", piece.sha256, segment.offset, segment.size);
    Ok((Part { key: piece.key.clone(), offset: segment.offset, size: segment.size }, tag))
}
