//! A listener that says what a script says, and a journey of one video to its captions.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connectors::Doors;
use pipeline::ml::Error;
use pipeline::ml::listener::{Absent, Listener, Model};
use pipeline::ml::whisper::options::Options;
use pipeline::ml::whisper::{Segment, Transcript};
use pipeline::stage::{Context, Stage, StageError};
use pipeline::stages::{caption::Caption, probe::Probe};
use schemas::JobId;
use schemas::captions::{Cue, read_vtt};
use schemas::event::{CaptionsWritten, SourceProbed, UploadReceived};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::InThread;

type Script = Box<dyn Fn(usize, &[f32], &Options) -> Result<Transcript, Error> + Send + Sync>;

/// Hears what its script says.
pub struct Scripted {
    /// What it calls itself.
    pub model: Result<Model, Absent>,
    /// What it was asked: samples, and in which language.
    pub asked: Mutex<Vec<(usize, Option<String>)>>,
    script: Script,
}

impl Scripted {
    /// Answers the n-th question, from 0, by `script`.
    pub fn new(
        script: impl Fn(usize, &[f32], &Options) -> Result<Transcript, Error> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let model = Model { name: "script".to_owned(), version: "1".to_owned() };
        Arc::new(Self { model: Ok(model), asked: Mutex::default(), script: Box::new(script) })
    }

    /// Says something else in each span.
    pub fn talking() -> Arc<Self> {
        Self::new(|number, samples, _| {
            Ok(transcript("en", &[segment(samples, &format!(" Part number {number} is said here."))]))
        })
    }

    /// How many spans it was asked about.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Listener for Scripted {
    async fn model(&self) -> Result<Model, Absent> {
        self.model.clone()
    }

    async fn hear(&self, samples: Vec<f32>, options: &Options) -> Result<Transcript, Error> {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push((samples.len(), options.language.clone()));
            asked.len() - 1
        };
        (self.script)(number, &samples, options)
    }
}

/// `text` said through all of `samples`.
pub fn segment(samples: &[f32], text: &str) -> Segment {
    Segment {
        start_s: 0.0,
        end_s: samples.len() as f64 / 16_000.0,
        text: text.to_owned(),
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: -0.2,
        compression_ratio: 1.0,
        no_speech: 0.01,
    }
}

/// What was said in `language`.
pub fn transcript(language: &str, segments: &[Segment]) -> Transcript {
    Transcript { language: Some(language.to_owned()), segments: segments.to_vec() }
}

/// A context of the attempt with this number.
pub fn context(doors: &Doors, job: JobId, attempt: u32) -> Context {
    let (reports, _) = mpsc::unbounded_channel();
    Context::new(doors.clone(), CancellationToken::new(), job, attempt, "test".into(), reports)
}

/// Stores and probes `file`.
pub async fn probed(doors: &Doors, job: JobId, file: &Path) -> SourceProbed {
    pipeline::media::worker::quiet();
    let source = doors.blobs.put(&format!("jobs/{job}/source"), std::fs::read(file).unwrap().into()).await.unwrap();
    let upload = UploadReceived { job, name: "test".into(), source, received_at: 0, origin: "test".into() };
    Probe::new(InThread).process(upload, &context(doors, job, 1)).await.unwrap().remove(0)
}

/// What comes of the captions of `event`.
pub async fn captioned(
    doors: &Doors,
    event: &SourceProbed,
    listener: Arc<Scripted>,
    attempt: u32,
) -> Result<CaptionsWritten, StageError> {
    let stage = Caption::new(InThread, listener);
    let written = stage.process(event.clone(), &context(doors, event.job, attempt)).await?;
    assert_eq!(written.len(), 1, "one event, whatever comes of it");
    Ok(written.into_iter().next().unwrap())
}

/// The cues that `event` claims.
pub async fn cues(doors: &Doors, event: &CaptionsWritten) -> Vec<Cue> {
    let claim = event.vtt.as_ref().unwrap_or_else(|| panic!("no captions: {:?}", event.reason));
    let bytes = doors.blobs.read(&doors.blobs.resolve(&claim.uri).unwrap()).await.unwrap();
    assert_eq!(bytes.len() as u64, claim.size);
    let cues = read_vtt(std::str::from_utf8(&bytes).unwrap()).expect("WebVTT");
    assert_eq!(cues.len(), event.cues as usize);
    cues
}
