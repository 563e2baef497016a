//! `chunk.cut` -> `chunk.transcoded`: one time range, decoded once, encoded for every rung.

use std::time::Duration;

use connectors::blobs::Writer;
use schemas::event::{ChunkCut, ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::manifest;
use schemas::{Claim, TaskKey};
use tokio::time::{Instant, timeout};

use super::{next_output, open_source, wrong_answer};
use crate::media::{AudioTask, Code, Encoded, Engine, Output, RECIPE, Request, Response, VideoTask};
use crate::metrics;
use crate::stage::{Context, Report, Stage, StageError, Unit};

/// How long a chunk waits to hear whether it is finished already.
const CATALOG_PATIENCE: Duration = Duration::from_secs(2);

/// Encodes chunks.
pub struct Transcode<E> {
    engine: E,
}

impl<E: Engine> Transcode<E> {
    /// A stage that encodes with `engine`.
    pub fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Runs the engine; bytes go to their blobs as they come.
    async fn encode(&self, event: &ChunkCut, cx: &Context) -> Result<(Encoded, Vec<Claim>), StageError> {
        let file = open_source(cx, &event.source, false).await?;
        let mut run = self.engine.start(&request(event), file)?;
        let (mut writers, build) = (Vec::new(), self.engine.build());
        for quality in qualities(event) {
            writers.push(cx.doors.blobs.writer(&blob_key(event, quality, &build)).await?);
        }
        let encoded = loop {
            match next_output(run.as_mut(), cx).await? {
                Output::Progress(frames) => cx.report(Report::Done(frames.min(event.weight))),
                Output::Bytes(rendition, bytes) => match writers.get_mut(rendition) {
                    Some(writer) => writer.write(bytes).await?,
                    None => return Err(StageError::retry("media_crashed", "the media process named a rung too many")),
                },
                Output::Done(Response::Encoded(encoded)) => break encoded,
                Output::Done(other) => return Err(wrong_answer(&other)),
            }
        };
        Ok((encoded, finish(writers).await?))
    }
}

impl<E: Engine> Stage for Transcode<E> {
    type In = ChunkCut;
    type Out = ChunkTranscoded;
    const NAME: &'static str = "transcode";
    const NATIVE: bool = true;

    async fn process(&self, event: ChunkCut, cx: &Context) -> Result<Vec<ChunkTranscoded>, StageError> {
        if event.recipe != RECIPE {
            // Its own workers can do it, and in an upgrade one of them takes this one's place.
            let wanted = &event.recipe;
            return Err(StageError::other_version(format!(
                "the chunk wants recipe {wanted}, this worker has {RECIPE}"
            )));
        }
        // The row is stitch's own: it has the event of an earlier attempt whose commit was lost, or of a twin of this one.
        // While the catalog is away the chunk is encoded once more, which gives the same bytes under the same name.
        let known = timeout(CATALOG_PATIENCE, cx.doors.catalog.chunk(event.job, event.index)).await;
        if known.ok().and_then(Result::ok).flatten().is_some_and(|known| known.task == event.task) {
            metrics::chunk_redone();
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let (encoded, claims, warnings) = match self.encode(&event, cx).await {
            Ok((encoded, claims)) => (encoded, claims, Vec::new()),
            // A video whose sound is broken is still a video.
            Err(StageError::Reject(cause)) if event.kind == ChunkKind::Audio && is_about_media(cause.code) => {
                let silent = Encoded { frames_in: 0, damaged: 0, renditions: Vec::new(), encoder: String::new() };
                (silent, Vec::new(), vec![format!("the video has no sound: {}", cause.message)])
            }
            Err(error) => return Err(error),
        };
        match event.kind {
            ChunkKind::Video => {
                metrics::chunk_encoded("video", encoded.renditions.iter().map(|made| made.frames).sum());
            }
            // Its frames are samples.
            ChunkKind::Audio => metrics::chunk_encoded("audio", 0),
        }
        let renditions: Vec<ChunkRendition> = qualities(&event)
            .zip(encoded.renditions)
            .zip(claims)
            .map(|((quality, made), blob)| ChunkRendition {
                quality: quality.to_owned(),
                blob,
                init: made.init,
                codec: made.codec,
                timescale: made.timescale,
                fragments: made.fragments,
                samples: made.samples,
                frames: made.frames,
                first_pts: made.first_pts,
                last_pts: made.last_pts,
                end_pts: made.end_pts,
                keyframes: made.keyframes,
            })
            .collect();
        Ok(vec![ChunkTranscoded {
            job: event.job,
            index: event.index,
            total: event.total,
            kind: event.kind,
            task: event.task,
            media: event.media,
            rungs: event.rungs,
            frames_in: encoded.frames_in,
            damaged: encoded.damaged,
            weight: event.weight,
            renditions,
            warnings,
            encoder: encoded.encoder,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            worker: cx.worker.to_string(),
        }])
    }

    fn deadline(&self, event: &ChunkCut) -> Duration {
        // A slow machine encodes a hundredth of real time; a long group of pictures is decoded from its keyframe.
        let base = event.media.video.time_base.as_f64();
        let from = event.decode_from.or(event.start).unwrap_or(event.media.video.start);
        let to = event.end.unwrap_or(event.media.video.end);
        let seconds = ((to - from).max(0) as f64 * base).min(event.media.duration_us as f64 / 1e6);
        Duration::from_secs(120).saturating_add(Duration::from_secs_f64(seconds * 100.0))
    }

    fn unit(&self, event: &ChunkCut) -> Unit {
        Unit { index: event.index, count: event.total, weight: event.weight, total_weight: event.total_weight }
    }
}

fn is_about_media(code: &str) -> bool {
    [Code::DamagedMedia, Code::UnsupportedMedia].iter().any(|known| known.as_str() == code)
}

fn request(event: &ChunkCut) -> Request {
    match event.kind {
        ChunkKind::Audio => Request::Audio(AudioTask { media: event.media.clone(), kbps: event.audio_kbps }),
        ChunkKind::Video => Request::Video(VideoTask {
            media: event.media.clone(),
            start: event.start,
            end: event.end,
            decode_from: event.decode_from,
            rungs: event.rungs.clone(),
        }),
    }
}

/// Names of the renditions that the chunk becomes, in the order of the engine.
fn qualities(event: &ChunkCut) -> impl Iterator<Item = &str> {
    let audio = (event.kind == ChunkKind::Audio).then_some("audio");
    let video = (event.kind == ChunkKind::Video).then_some(&event.rungs);
    audio.into_iter().chain(video.into_iter().flatten().map(|rung| rung.quality.as_str()))
}

/// The name is made of what decides the bytes, so that a second run writes the same blob, and one with other libraries
/// leaves alone what is published.
fn blob_key(event: &ChunkCut, quality: &str, build: &str) -> String {
    let made = TaskKey::of(&[event.task.as_str(), build]);
    format!("{}chunks/{:05}-{made}-{quality}.m4s", manifest::prefix(event.job), event.index)
}

async fn finish(writers: Vec<Writer>) -> Result<Vec<Claim>, StageError> {
    let mut claims = Vec::with_capacity(writers.len());
    for writer in writers {
        claims.push(writer.finish().await?);
    }
    Ok(claims)
}
