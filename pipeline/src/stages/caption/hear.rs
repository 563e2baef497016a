//! Spans are heard, several at once, and what was heard is kept under its name: whoever comes again goes on from there.

use std::collections::BTreeMap;
use std::ops::Range;

use connectors::blobs;
use futures::future::join_all;
use schemas::{TaskKey, captions};

use super::gate::Span;
use crate::media::samples::RATE;
use crate::ml;
use crate::ml::listener::{Listener, Model};
use crate::ml::whisper::Transcript;
use crate::ml::whisper::options::Options;
use crate::stage::{Context, StageError};

/// Spans that are heard at once.
pub const AT_ONCE: usize = 8;

/// A span that has been heard. Times are milliseconds from the beginning of the track.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Where the span begins.
    pub start_ms: u64,
    /// Where in it somebody speaks.
    pub voiced: Vec<Range<u64>>,
    /// What was said, by times from the beginning of the span.
    pub transcript: Transcript,
}

/// Why a span could not be heard.
#[derive(Debug)]
pub enum Failure {
    /// The model will not hear any.
    Model(ml::Error),
    /// Anything else.
    Stage(StageError),
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// The spans of one track on their way.
pub struct Hearing<'a> {
    cx: &'a Context,
    listener: &'a dyn Listener,
    model: &'a Model,
    /// SHA-256 of the source.
    source: &'a str,
    options: Options,
    heard: Vec<Heard>,
}

impl<'a> Hearing<'a> {
    /// Nothing has been heard of the source with the hash `source`.
    pub fn new(
        cx: &'a Context,
        listener: &'a dyn Listener,
        model: &'a Model,
        source: &'a str,
        options: Options,
    ) -> Self {
        Self { cx, listener, model, source, options, heard: Vec::new() }
    }

    /// Hears `spans`, at most [`AT_ONCE`], which follow those before. The first ones decide the language.
    pub async fn hear(&mut self, spans: Vec<Span>) -> Result<(), Failure> {
        // All of them to their ends, so that what some have heard is kept when another failed.
        let transcripts = join_all(spans.iter().map(|span| self.one(span))).await;
        let transcripts = transcripts.into_iter().collect::<Result<Vec<Transcript>, Failure>>()?;
        let mut heard: Vec<(Span, Transcript)> = spans.into_iter().zip(transcripts).collect();
        if self.options.language.is_none()
            && let Some(language) = commonest(&heard)
        {
            self.options.language = Some(language);
            // Those in which another language was heard are heard again: they are short, or hard to understand.
            let others = heard.iter_mut().filter(|(_, transcript)| transcript.language != self.options.language);
            let again = others.map(|(span, transcript)| async {
                *transcript = self.one(span).await?;
                Ok::<(), Failure>(())
            });
            join_all(again).await.into_iter().collect::<Result<(), Failure>>()?;
        }
        let ms = |sample: u64| sample * 1_000 / u64::from(RATE);
        self.heard.extend(heard.into_iter().map(|(span, transcript)| Heard {
            start_ms: ms(span.start),
            voiced: span.voiced.iter().map(|run| ms(run.start)..ms(run.end)).collect(),
            transcript,
        }));
        Ok(())
    }

    /// Everything that was heard, in order, and the language.
    pub fn finish(self) -> (Vec<Heard>, Option<String>) {
        (self.heard, self.options.language)
    }

    async fn one(&self, span: &Span) -> Result<Transcript, Failure> {
        let blobs = &self.cx.doors.blobs;
        let key = self.key(span)?;
        match blobs.read(&key).await {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(known) => return Ok(known),
                Err(error) => tracing::warn!(key, %error, "what was heard cannot be read; it is heard again"),
            },
            Err(blobs::Error::NotFound(_)) => {}
            Err(error) => return Err(Failure::Stage(error.into())),
        }
        let heard = tokio::select! {
            biased;
            () = self.cx.cancel.cancelled() => return Err(cancelled().into()),
            heard = self.listener.hear(span.samples.clone(), &self.options) => heard.map_err(failure)?,
        };
        let bytes = serde_json::to_vec(&heard).map_err(|error| unwritable(&error))?;
        blobs.put(&key, bytes.into()).await.map_err(StageError::from)?;
        Ok(heard)
    }

    /// What decides the words decides the name.
    fn key(&self, span: &Span) -> Result<String, StageError> {
        let options = serde_json::to_string(&self.options).map_err(|error| unwritable(&error))?;
        let (from, to) = (span.start.to_string(), (span.start + span.samples.len() as u64).to_string());
        let key = TaskKey::of(&[self.source, &from, &to, &self.model.name, &self.model.version, &options]);
        Ok(format!("{}spans/{key}.json", captions::prefix(self.cx.job)))
    }
}

fn unwritable(error: &serde_json::Error) -> StageError {
    StageError::retry("captions_failed", format!("write down what was heard: {error}"))
}

/// The work is not wanted any more.
pub fn cancelled() -> StageError {
    StageError::retry("cancelled", "the work is not wanted any more")
}

/// A model that is broken stays so; everything else may pass.
fn failure(error: ml::Error) -> Failure {
    match error {
        ml::Error::Read { .. } | ml::Error::Unfit(_) => Failure::Model(error),
        ml::Error::Audio(_) | ml::Error::Compute(_) | ml::Error::Gone(_) => {
            Failure::Stage(StageError::retry("hearing_failed", crate::stage::chain(&error)))
        }
    }
}

/// The language in which most is said.
fn commonest(heard: &[(Span, Transcript)]) -> Option<String> {
    let mut spoken: BTreeMap<&str, u64> = BTreeMap::new();
    for (span, transcript) in heard.iter().filter(|(_, transcript)| !transcript.segments.is_empty()) {
        if let Some(language) = &transcript.language {
            *spoken.entry(language).or_default() += span.voiced.iter().map(|run| run.end - run.start).sum::<u64>();
        }
    }
    spoken.into_iter().max_by_key(|(_, samples)| *samples).map(|(language, _)| language.to_owned())
}
