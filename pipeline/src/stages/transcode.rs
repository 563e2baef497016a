//! `chunk.cut` -> `chunk.transcoded`: one time range, decoded once, encoded for every rung.
//!
//! # Layout
//! - [`contract`]: which rungs of it are encoded once more

use std::time::Duration;

use connectors::blobs::Writer;
use schemas::event::{ChunkCut, ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::manifest;
use schemas::{Claim, TaskKey};
use tokio::time::{Instant, timeout};

use super::{next_output, open_source, wrong_answer};
use crate::media::{AudioTask, Code, Encoded, EncodedRendition, Engine, Output, RECIPE, Request, Response, VideoTask};
use crate::metrics;
use crate::stage::{Context, Report, Stage, StageError, Unit};
use contract::Verdict;

mod contract;

/// Longest video that a deadline is made for, seconds: twelve hours.
const LONGEST_SOURCE_S: f64 = 12.0 * 3600.0;

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

    /// Encodes the whole chunk, and once more the rungs of it that are below their floor.
    async fn encode(&self, event: &ChunkCut, cx: &Context) -> Result<(Encoded, Vec<Made>), StageError> {
        let all: Vec<usize> = (0..qualities(event).count()).collect();
        let (mut encoded, made) = self.run(event, &all, 0, cx).await?;
        let mut made: Vec<Option<Made>> = made.into_iter().map(Some).collect();
        for again in 1..=contract::AT_MOST {
            let below = |(index, made): (usize, &Option<Made>)| {
                made.as_ref().is_some_and(|made| made.verdict == Verdict::Again).then_some(index)
            };
            let below: Vec<usize> = made.iter().enumerate().filter_map(below).collect();
            if below.is_empty() {
                break;
            }
            // What was written of them goes before the same names are written to again: nothing of it was to be seen.
            below.iter().for_each(|index| made[*index] = None);
            let (better, renditions) = self.run(event, &below, again, cx).await?;
            metrics::chunk_encoded_again(below.len() as u64);
            for ((index, rendition), one) in below.into_iter().zip(better.renditions).zip(renditions) {
                encoded.renditions[index] = rendition;
                made[index] = Some(one);
            }
        }
        Ok((encoded, made.into_iter().flatten().collect()))
    }

    /// Runs the engine for the renditions `wanted`, by their index, `better` by so many steps; bytes go to their blobs as they
    /// come. Blobs are finished by whoever keeps them.
    async fn run(
        &self,
        event: &ChunkCut,
        wanted: &[usize],
        better: u32,
        cx: &Context,
    ) -> Result<(Encoded, Vec<Made>), StageError> {
        let file = open_source(cx, &event.source, false).await?;
        let mut run = self.engine.start(&request(event, wanted, better), file)?;
        let (mut writers, build) = (Vec::new(), self.engine.build());
        for quality in wanted.iter().filter_map(|index| qualities(event).nth(*index)) {
            writers.push((cx.doors.blobs.writer(&blob_key(event, quality, &build)).await?, 0));
        }
        let encoded = loop {
            match next_output(run.as_mut(), cx).await? {
                Output::Progress(frames) => cx.report(Report::Done(frames.min(event.weight))),
                Output::Bytes(rendition, bytes) => match writers.get_mut(rendition) {
                    Some((writer, written)) => {
                        *written += bytes.len() as u64;
                        writer.write(bytes).await?;
                    }
                    None => return Err(StageError::retry("media_crashed", "the media process named a rung too many")),
                },
                Output::Done(Response::Encoded(encoded)) => break encoded,
                Output::Done(other) => return Err(wrong_answer(&other)),
            }
        };
        if encoded.renditions.len() != writers.len() {
            return Err(StageError::retry("media_crashed", "the media process lost a rung"));
        }
        let judge = |index: usize, rendition: &EncodedRendition, bytes: u64| match event.rungs.get(index) {
            Some(rung) if event.kind == ChunkKind::Video => contract::judge(rung, rendition, bytes, better),
            _ => Verdict::Keep,
        };
        let made = wanted.iter().zip(&encoded.renditions).zip(writers).map(|((index, rendition), (writer, bytes))| {
            Made { writer, again: better, verdict: judge(*index, rendition, bytes) }
        });
        let made = made.collect();
        Ok((encoded, made))
    }
}

/// A rendition whose bytes are written and that may still be encoded again.
struct Made {
    writer: Writer,
    /// How often it was encoded again.
    again: u32,
    verdict: Verdict,
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
        let (encoded, made, warnings) = match self.encode(&event, cx).await {
            Ok((encoded, made)) => (encoded, made, Vec::new()),
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
        let kept = finish(made).await?;
        let renditions: Vec<ChunkRendition> = qualities(&event)
            .zip(encoded.renditions)
            .zip(kept)
            .map(|((quality, made), (again, cap_won, blob))| ChunkRendition {
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
                psnr: made.psnr,
                again,
                cap_won,
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
            source: Some(event.source),
            finished_at: Some(cx.doors.clock.now_ms()),
        }])
    }

    fn deadline(&self, event: &ChunkCut) -> Duration {
        // A slow machine encodes a hundredth of real time; a long group of pictures is decoded from its keyframe.
        let base = event.media.video.time_base.as_f64();
        let from = event.decode_from.or(event.start).unwrap_or(event.media.video.start);
        let to = event.end.unwrap_or(event.media.video.end);
        // An event may say anything; no source is longer than probe lets through.
        let length = (to.saturating_sub(from).max(0) as f64 * base).min(event.media.duration_us as f64 / 1e6);
        let slow = Duration::try_from_secs_f64(length.clamp(0.0, LONGEST_SOURCE_S) * 100.0).unwrap_or_default();
        Duration::from_secs(120) + slow
    }

    fn unit(&self, event: &ChunkCut) -> Unit {
        Unit { index: event.index, count: event.total, weight: event.weight, total_weight: event.total_weight }
    }
}

fn is_about_media(code: &str) -> bool {
    [Code::DamagedMedia, Code::UnsupportedMedia].iter().any(|known| known.as_str() == code)
}

fn request(event: &ChunkCut, wanted: &[usize], better: u32) -> Request {
    match event.kind {
        ChunkKind::Audio => Request::Audio(AudioTask { media: event.media.clone(), kbps: event.audio_kbps }),
        ChunkKind::Video => Request::Video(VideoTask {
            media: event.media.clone(),
            start: event.start,
            end: event.end,
            decode_from: event.decode_from,
            rungs: wanted.iter().filter_map(|index| event.rungs.get(*index)).cloned().collect(),
            largest: event.rungs.first().cloned(),
            better,
            is_silent: false,
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

/// Finishes the blobs; answers how often each was encoded again, whether its cap won, and its claim.
async fn finish(made: Vec<Made>) -> Result<Vec<(u32, bool, Claim)>, StageError> {
    let mut kept = Vec::with_capacity(made.len());
    for Made { writer, again, verdict } in made {
        kept.push((again, verdict == Verdict::CapWon, writer.finish().await?));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use schemas::JobId;
    use schemas::source::{Media, Ratio, VideoTrack};

    use super::*;
    use crate::media::Run;
    use crate::stages::example;

    struct Idle;

    impl Engine for Idle {
        fn start(&self, _: &Request, _: std::fs::File) -> Result<Box<dyn Run>, crate::media::Error> {
            Err(crate::media::Error::new(Code::EncoderFailed, "nothing is encoded here"))
        }

        fn build(&self) -> String {
            String::new()
        }
    }

    fn deadline(duration_us: i64, time_base: (i32, i32), start: i64, end: i64) -> u64 {
        let time_base = Ratio { num: time_base.0, den: time_base.1 };
        let whole = example::media();
        let video = VideoTrack { time_base, start, end, ..whole.video.clone() };
        let event = ChunkCut {
            job: JobId::from_parts(1, 1),
            index: 0,
            total: 1,
            kind: ChunkKind::Video,
            task: TaskKey::of(&["one"]),
            source: Claim { uri: "blob://jobs/one/source".into(), size: 1, sha256: String::new() },
            media: Media { duration_us, video, ..whole },
            start: None,
            end: None,
            decode_from: None,
            weight: 1,
            total_weight: 1,
            rungs: Vec::new(),
            audio_kbps: 0,
            recipe: RECIPE.to_owned(),
        };
        Transcode::new(Idle).deadline(&event).as_secs()
    }

    #[test]
    fn an_event_that_says_nonsense_has_a_deadline_all_the_same() {
        assert_eq!(deadline(10_000_000, (1, 1000), 0, 10_000), 1120);
        assert_eq!(deadline(-1, (1, 1000), 0, 10_000), 120);
        assert_eq!(deadline(i64::MIN, (1, 0), i64::MIN, i64::MAX), 120);
        assert_eq!(deadline(10_000_000, (-1, 1000), 0, 10_000), 120);
        assert_eq!(deadline(i64::MAX, (i32::MAX, 1), i64::MIN, i64::MAX), 120 + 12 * 3600 * 100);
    }
}
