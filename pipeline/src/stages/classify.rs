//! `source.probed` -> `source.classified`: what kind of video it is, what moves and is heard in it, and what it shows.
//!
//! # Layout
//! - `kinds`: the decisions about pictures, `sound`: those about sound; without any I/O
//! - `views`: what an image model says of some pictures, summed up

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::event::{Feature, Label, Origin, SourceClassified, SourceProbed};

use self::kinds::Said;
use self::sound::{Ear, Shares};
use self::views::Seen;
use super::{Pieces, next_output, open_source, wrong_answer};
use crate::media::samples::{self, RATE};
use crate::media::signals::{self, LOOK_BOX, Measured, Task};
use crate::media::{Code, Engine, Output, Request, Response, SamplesTask};
use crate::ml::viewer::Viewer;
use crate::stage::{Cause, Context, Lane, Report, Stage, StageError, Unit};

pub mod kinds;
pub mod sound;
mod views;

/// Pictures that an image model is shown.
const PICTURES: u32 = 8;
/// Bytes of all of them that a media process is believed to make: each fits into a square of [`LOOK_BOX`].
const MOST_BYTES: usize = 3 * (LOOK_BOX * LOOK_BOX * PICTURES) as usize;
/// A sound that fills less of a track is not told of beside others.
const WORTH_TELLING: f64 = 0.2;

/// Says what videos show.
pub struct Classify<E> {
    engine: E,
    viewer: Arc<dyn Viewer>,
}

/// What the sound of a video is like.
enum Heard {
    Nothing,
    /// Why nobody could listen.
    Broken(String),
    Shares(Shares),
}

impl<E: Engine> Classify<E> {
    /// A stage that measures with `engine` and looks with `viewer`.
    pub fn new(engine: E, viewer: Arc<dyn Viewer>) -> Self {
        Self { engine, viewer }
    }

    /// Measures the pictures; answers some of them as well.
    async fn measure(&self, event: &SourceProbed, cx: &Context) -> Result<(Measured, Vec<Bytes>), StageError> {
        let file = open_source(cx, &event.source, false).await?;
        let keyframes = u32::try_from(event.keyframes.len()).unwrap_or(u32::MAX);
        let task = Task { media: event.media.clone(), keyframes, pictures: PICTURES };
        let mut run = self.engine.start(&Request::Signals(task), file)?;
        let mut pictures = Pieces::new(PICTURES as usize, MOST_BYTES);
        loop {
            match next_output(run.as_mut(), cx).await? {
                Output::Progress(frames) => cx.report(Report::Done(frames.min(event.media.video.frames))),
                Output::Bytes(index, bytes) => pictures.take(index, &bytes)?,
                Output::Done(Response::Measured(measured)) => {
                    let sizes = measured.pictures.iter().map(|shown| 3 * shown.width as usize * shown.height as usize);
                    let pictures = pictures.finish();
                    if !sizes.eq(pictures.iter().map(Bytes::len)) {
                        let message = "the media process made other pictures than it told of";
                        return Err(StageError::retry("media_crashed", message));
                    }
                    return Ok((measured, pictures));
                }
                Output::Done(other) => return Err(wrong_answer(&other)),
            }
        }
    }

    /// Listens to the sound.
    async fn listen(&self, event: &SourceProbed, cx: &Context) -> Result<Heard, StageError> {
        if event.media.audio.is_none() {
            return Ok(Heard::Nothing);
        }
        let file = open_source(cx, &event.source, false).await?;
        let mut run = self.engine.start(&Request::Samples(SamplesTask { media: event.media.clone() }), file)?;
        let length = u64::try_from(event.media.duration_us).unwrap_or(0).saturating_mul(u64::from(RATE)) / 1_000_000;
        let mut ear = Ear::new(length).map_err(deaf)?;
        loop {
            let sound = match next_output(run.as_mut(), cx).await {
                Ok(Output::Bytes(_, bytes)) => samples::of_bytes(&bytes),
                Ok(Output::Done(Response::Sampled(_))) => return Ok(Heard::Shares(ear.shares())),
                Ok(Output::Done(other)) => return Err(wrong_answer(&other)),
                Ok(Output::Progress(_)) => continue,
                // A video whose sound is broken is still a video.
                Err(error) if is_about_media(&error) => return Ok(Heard::Broken(error.cause().message.clone())),
                Err(error) => return Err(error),
            };
            // It computes for milliseconds.
            let listened = tokio::task::spawn_blocking(move || {
                let taken = ear.take(&sound);
                (ear, taken)
            });
            let (back, taken) = listened.await.map_err(|error| deaf(error.to_string()))?;
            taken.map_err(deaf)?;
            ear = back;
        }
    }
}

impl<E: Engine> Stage for Classify<E> {
    type In = SourceProbed;
    type Out = SourceClassified;
    const NAME: &'static str = "classify";
    const NATIVE: bool = true;
    const REQUIRED: bool = false;
    const LANE: Lane = Lane::Background;

    async fn process(&self, event: SourceProbed, cx: &Context) -> Result<Vec<SourceClassified>, StageError> {
        let (measured, pictures) = self.measure(&event, cx).await?;
        if measured.frames == 0 {
            return Err(StageError::reject("damaged_media", "no picture of the video can be decoded"));
        }
        let heard = self.listen(&event, cx).await?;
        let seen = views::see(&*self.viewer, &measured.pictures, pictures, cx.attempt).await?;
        let mut told = SourceClassified { frames: measured.frames, ..self.nothing(&event, cx.doors.clock.now_ms()) };
        told.features = measured.features().into_iter().map(|(name, value)| feature(name, value)).collect();
        told.labels = of_pictures(&measured);
        let (labels, features) = of_sound(&heard);
        told.labels.extend(labels);
        told.features.extend(features);
        match seen {
            Seen::Labels { model, labels } => {
                told.labels.extend(labels);
                (told.model, told.version) = (model.name, model.version);
            }
            Seen::Nothing(why) => told.no_model = Some(why),
        }
        Ok(vec![told])
    }

    fn deadline(&self, event: &SourceProbed) -> Duration {
        // However long the video is, few of its pictures are looked at; its sound is decoded.
        let seconds = u64::try_from(event.media.duration_us / 1_000_000).unwrap_or(0).min(12 * 3600);
        Duration::from_secs(3600 + seconds)
    }

    fn unit(&self, event: &SourceProbed) -> Unit {
        Unit { weight: event.media.video.frames, ..Unit::default() }
    }

    fn without(&self, event: &SourceProbed, cause: &Cause, now_ms: i64) -> Option<SourceClassified> {
        Some(SourceClassified { reason: Some(cause.message.clone()), ..self.nothing(event, now_ms) })
    }
}

impl<E: Engine> Classify<E> {
    /// The event before anything is known.
    fn nothing(&self, event: &SourceProbed, now_ms: i64) -> SourceClassified {
        SourceClassified {
            job: event.job,
            labels: Vec::new(),
            features: Vec::new(),
            frames: 0,
            maker: self.engine.build(),
            model: String::new(),
            version: String::new(),
            parameters: format!("{}+{}+{PICTURES}x{LOOK_BOX}", signals::RECIPE, kinds::RECIPE),
            classified_at: now_ms,
            no_model: None,
            reason: None,
        }
    }
}

/// Whether the sound is to blame, and another attempt would go no better.
fn is_about_media(error: &StageError) -> bool {
    let codes = [Code::DamagedMedia, Code::UnsupportedMedia];
    matches!(error, StageError::Reject(cause) if codes.iter().any(|code| code.as_str() == cause.code))
}

fn deaf(why: String) -> StageError {
    StageError::retry("ear_failed", format!("listen to the audio: {why}"))
}

fn feature(name: &str, value: f64) -> Feature {
    // Four digits are more than anybody measures.
    Feature { name: name.to_owned(), value: (value * 1e4).round() / 1e4 }
}

fn label(name: &str, confidence: f64, because: String) -> Label {
    let confidence = (confidence.clamp(0.0, 1.0) * 1e4).round() / 1e4;
    Label { name: name.to_owned(), confidence, origin: Origin::Signals, because }
}

/// Features as a sentence: `noise 1.25, palette 410`.
fn because(features: &[(&'static str, f64)]) -> String {
    let shown = |(name, value): &(&'static str, f64)| {
        if value.abs() >= 10.0 { format!("{name} {value:.0}") } else { format!("{name} {value:.2}") }
    };
    features.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The kind, then how much moves.
fn of_pictures(measured: &Measured) -> Vec<Label> {
    let features = measured.features();
    let Said { what: kind, confidence, because: reasons } = kinds::kind(&features);
    let moves = kinds::movement(&features);
    vec![
        label(kind.as_str(), confidence, because(&reasons)),
        label(moves.what, moves.confidence, because(&moves.because)),
    ]
}

/// What fills most of the track, and what else is worth telling, most of it first; with the shares.
fn of_sound(heard: &Heard) -> (Vec<Label>, Vec<Feature>) {
    let shares = match heard {
        Heard::Nothing => return (vec![label("no sound", 1.0, "there is no audio track".to_owned())], Vec::new()),
        Heard::Broken(why) => {
            tracing::warn!(why, "nobody can say what a video sounds like");
            return (Vec::new(), Vec::new());
        }
        Heard::Shares(shares) => shares,
    };
    let mut all =
        [("speech", shares.speech), ("music", shares.music), ("sounds", shares.sounds), ("silence", shares.silence)];
    let features = all.iter().map(|(name, share)| feature(name, *share)).collect();
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    let told = all.iter().enumerate().filter(|(at, (name, share))| {
        let is_content = matches!(*name, "speech" | "music");
        *share > 0.0 && (*at == 0 || is_content && *share >= WORTH_TELLING)
    });
    // How sure it is that somebody who listens hears it is how much of it there is.
    let labels = told.map(|(_, (name, share))| label(name, *share, because(&[(*name, *share)]))).collect();
    (labels, features)
}

#[cfg(test)]
mod tests;
