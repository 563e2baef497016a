//! `source.probed` -> `captions.written`: what is said, and when.
//!
//! # Layout
//! - `gate`: which spans hold speech; `cut`: where they begin and end
//! - `hear`: spans are heard, several at once
//! - `place`: which speech a text belongs to; `doubt`: what was made up
//! - `cues`: texts as one can read them

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use schemas::captions::{self, Cue};
use schemas::event::{CaptionsWritten, SourceProbed};
use schemas::{Claim, TaskKey};

use self::cues::Said;
use self::doubt::Claim as Doubtful;
use self::gate::{Gate, Span};
use self::hear::{AT_ONCE, Failure, Heard, Hearing};
use super::{next_output, open_source, wrong_answer};
use crate::media::samples::{self, RATE};
use crate::media::{Code, Engine, Output, Request, Response, SamplesTask};
use crate::ml::listener::{Listener, Model};
use crate::ml::whisper::Segment;
use crate::ml::whisper::options::Options;
use crate::stage::{Cause, Context, Lane, Report, Stage, StageError, Unit, chain};

mod cues;
mod cut;
mod doubt;
mod gate;
mod hear;
mod place;

/// How what was heard becomes cues: changes whenever the same words would give other cues.
const WRITES: &str = "cues-42x2-7s-v1";
/// Why a video without an audio track has no captions.
const NO_AUDIO: &str = "no audio track";
/// Why a video in which nobody speaks has none.
const NO_SPEECH: &str = "no speech was found";
/// Why a video in which somebody may speak has none.
const NO_WORDS: &str = "speech was found, but no words in it";

/// Writes captions.
pub struct Caption<E> {
    engine: E,
    listener: Arc<dyn Listener>,
}

/// What came of listening.
struct Written {
    cues: Vec<Cue>,
    language: Option<String>,
    /// Whether anybody spoke at all.
    is_spoken: bool,
}

impl<E: Engine> Caption<E> {
    /// A stage that decodes with `engine` and hears with `listener`.
    pub fn new(engine: E, listener: Arc<dyn Listener>) -> Self {
        Self { engine, listener }
    }

    /// Listens to the whole track, a few spans at a time.
    async fn listen(&self, event: &SourceProbed, model: &Model, cx: &Context) -> Result<Written, Failure> {
        let file = open_source(cx, &event.source, false).await?;
        let task = SamplesTask { media: event.media.clone() };
        let mut run = self.engine.start(&Request::Samples(task), file).map_err(StageError::from)?;
        let mut gate = Some(Gate::new().map_err(broken_gate)?);
        let mut hearing = Hearing::new(cx, &*self.listener, model, &event.source.sha256, Options::default());
        let mut waiting: Vec<Span> = Vec::new();
        let (mut passed, mut is_spoken) = (0, false);
        loop {
            let sound = match next_output(run.as_mut(), cx).await? {
                Output::Bytes(_, bytes) => samples::of_bytes(&bytes),
                Output::Done(Response::Sampled(_)) => break,
                Output::Done(other) => return Err(wrong_answer(&other).into()),
                Output::Progress(_) => continue,
            };
            passed += sound.len() as u64;
            waiting.extend(through(&mut gate, move |gate| gate.take(&sound)).await?);
            is_spoken |= !waiting.is_empty();
            while waiting.len() >= AT_ONCE {
                let later = waiting.split_off(AT_ONCE);
                hearing.hear(std::mem::replace(&mut waiting, later)).await?;
            }
            cx.report(Report::Done(frames(event, passed)));
        }
        waiting.extend(through(&mut gate, Gate::finish).await?);
        is_spoken |= !waiting.is_empty();
        if !waiting.is_empty() {
            hearing.hear(waiting).await?;
        }
        let (heard, language) = hearing.finish();
        Ok(Written { cues: cues::cues(&said(&heard)), language, is_spoken })
    }

    /// The event about what was written.
    async fn event(
        &self,
        event: &SourceProbed,
        model: Model,
        written: Written,
        cx: &Context,
    ) -> Result<CaptionsWritten, StageError> {
        let Written { cues, language, is_spoken } = written;
        let (vtt, language, reason) = if cues.is_empty() {
            (None, CaptionsWritten::SILENT.to_owned(), Some(if is_spoken { NO_WORDS } else { NO_SPEECH }.to_owned()))
        } else {
            (Some(store(&cues, cx).await?), tag(language.as_deref()), None)
        };
        Ok(CaptionsWritten {
            job: event.job,
            language,
            vtt,
            cues: u32::try_from(cues.len()).unwrap_or(u32::MAX),
            model: model.name,
            version: model.version,
            parameters: parameters(&Options::default()),
            written_at: cx.doors.clock.now_ms(),
            reason,
        })
    }
}

impl<E: Engine> Stage for Caption<E> {
    type In = SourceProbed;
    type Out = CaptionsWritten;
    const NAME: &'static str = "caption";
    const NATIVE: bool = true;
    const REQUIRED: bool = false;
    const LANE: Lane = Lane::Background;

    async fn process(&self, event: SourceProbed, cx: &Context) -> Result<Vec<CaptionsWritten>, StageError> {
        if event.media.audio.is_none() {
            return Ok(vec![none(&event, CaptionsWritten::SILENT, NO_AUDIO.to_owned(), cx.doors.clock.now_ms())]);
        }
        let unavailable = |why: String| {
            tracing::warn!(why, "a video gets no captions");
            Ok(vec![unavailable(&event, &why, cx.doors.clock.now_ms())])
        };
        let model = match self.listener.model().await {
            Ok(model) => model,
            Err(absent) => return unavailable(absent.to_string()),
        };
        match self.listen(&event, &model, cx).await {
            Ok(written) => Ok(vec![self.event(&event, model, written, cx).await?]),
            Err(Failure::Model(error)) => unavailable(format!("{} cannot be used: {}", model.name, chain(&error))),
            Err(Failure::Stage(error)) if is_about_media(&error) => unavailable(error.cause().message.clone()),
            Err(Failure::Stage(error)) => Err(error),
        }
    }

    fn without(&self, event: &SourceProbed, cause: &Cause, now_ms: i64) -> Option<CaptionsWritten> {
        Some(unavailable(event, &cause.message, now_ms))
    }

    fn deadline(&self, event: &SourceProbed) -> Duration {
        // A slow machine with a large model hears ten times slower than one speaks. No source is longer than twelve hours.
        let seconds = u64::try_from(event.media.duration_us / 1_000_000).unwrap_or(0).min(12 * 3600);
        Duration::from_secs(600 + 10 * seconds)
    }

    fn unit(&self, event: &SourceProbed) -> Unit {
        Unit { weight: event.media.video.frames, ..Unit::default() }
    }
}

/// Whether the sound is to blame: a video whose sound is broken is still a video, and nobody needs to look at its event.
fn is_about_media(error: &StageError) -> bool {
    let codes = [Code::DamagedMedia, Code::UnsupportedMedia];
    matches!(error, StageError::Reject(cause) if codes.iter().any(|code| code.as_str() == cause.code))
}

/// The event about a video that has no captions because of `reason`.
fn none(event: &SourceProbed, language: &str, reason: String, now_ms: i64) -> CaptionsWritten {
    CaptionsWritten {
        job: event.job,
        language: language.to_owned(),
        vtt: None,
        cues: 0,
        model: String::new(),
        version: String::new(),
        parameters: String::new(),
        written_at: now_ms,
        reason: Some(reason),
    }
}

/// The event about a video to which nobody could listen.
fn unavailable(event: &SourceProbed, why: &str, now_ms: i64) -> CaptionsWritten {
    none(event, CaptionsWritten::UNKNOWN, format!("captions: unavailable ({why})"), now_ms)
}

/// Lets the gate work where nobody else waits: it computes for milliseconds.
async fn through<F>(gate: &mut Option<Gate>, work: F) -> Result<Vec<Span>, StageError>
where
    F: FnOnce(&mut Gate) -> Result<Vec<Span>, String> + Send + 'static,
{
    let Some(mut own) = gate.take() else { return Err(broken_gate("it is not there any more".to_owned())) };
    let worked = tokio::task::spawn_blocking(move || {
        let spans = work(&mut own);
        (own, spans)
    });
    let (own, spans) = worked.await.map_err(|error| broken_gate(error.to_string()))?;
    *gate = Some(own);
    spans.map_err(broken_gate)
}

fn broken_gate(why: String) -> StageError {
    StageError::retry("gate_failed", format!("find speech in the audio: {why}"))
}

/// Video frames that have passed with so many samples of sound.
fn frames(event: &SourceProbed, samples: u64) -> u64 {
    let all = u128::try_from(event.media.duration_us).unwrap_or(0) * u128::from(RATE) / 1_000_000;
    let frames = event.media.video.frames;
    u64::try_from(u128::from(frames) * u128::from(samples) / all.max(1)).unwrap_or(frames).min(frames)
}

/// What is believed of what was heard, with the speech that it belongs to.
fn said(heard: &[Heard]) -> Vec<Said> {
    let mut found: Vec<(&Segment, Vec<Range<u64>>)> = Vec::new();
    for part in heard {
        let ms = |seconds: f64| part.start_ms.saturating_add((seconds.max(0.0) * 1_000.0) as u64);
        let segments = &part.transcript.segments;
        let times: Vec<Range<u64>> = segments.iter().map(|segment| ms(segment.start_s)..ms(segment.end_s)).collect();
        found.extend(segments.iter().zip(place::place(&part.voiced, &times)).filter(|(_, pieces)| !pieces.is_empty()));
    }
    let whole = |pieces: &[Range<u64>]| {
        pieces.first().map_or(0, |piece| piece.start)..pieces.last().map_or(0, |piece| piece.end)
    };
    let times: Vec<Range<u64>> = found.iter().map(|(_, pieces)| whole(pieces)).collect();
    let claims: Vec<Doubtful<'_>> =
        found.iter().zip(&times).map(|((segment, _), time)| Doubtful { segment, time }).collect();
    let believed = doubt::believe(&claims);
    let dropped = believed.iter().filter(|believed| !**believed).count();
    if dropped > 0 {
        tracing::info!(dropped, of = believed.len(), "some of what was heard is not believed");
    }
    let kept = found.into_iter().zip(believed).filter(|(_, believed)| *believed);
    kept.map(|((segment, pieces), _)| Said { text: segment.text.clone(), pieces }).collect()
}

/// Stores `cues` under a name of their own, so that what was written before stays readable.
async fn store(cues: &[Cue], cx: &Context) -> Result<Claim, StageError> {
    let text = captions::write_vtt(cues);
    let key = format!("{}{}.vtt", captions::prefix(cx.job), TaskKey::of(&[&text]));
    Ok(cx.doors.blobs.put(&key, text.into()).await?)
}

/// The BCP 47 tag of a language as models name it: all but Javanese are named by their codes in ISO 639.
fn tag(language: Option<&str>) -> String {
    match language {
        Some("jw") => "jv".to_owned(),
        Some(code) if !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            code.to_owned()
        }
        Some(_) | None => CaptionsWritten::UNKNOWN.to_owned(),
    }
}

/// What decides the captions beside the model, for whoever reads the event.
fn parameters(options: &Options) -> String {
    let search = options.beam.map_or_else(|| "greedy".to_owned(), |rows| format!("beam{rows}"));
    format!("{}+{search}+{WRITES}", gate::NAME)
}
