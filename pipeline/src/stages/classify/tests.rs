//! The stage with an engine and a viewer that say what they are told.

use std::sync::Mutex;

use async_trait::async_trait;
use connectors::Doors;
use connectors::clock::ManualClock;
use schemas::source::{AudioTrack, Ratio};
use schemas::{JobId, manifest};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::media::signals::Shown;
use crate::media::signals::look::Look;
use crate::media::{Error, Run, Sampled};
use crate::ml;
use crate::ml::listener::{Absent, Model};
use crate::ml::mobilenet::{self, Picture};
use crate::ml::viewer::Blind;
use crate::stages::example;

/// Answers what it is told about pictures and about sound.
#[derive(Clone)]
struct Told {
    pictures: Vec<Result<Output, Error>>,
    sound: Vec<Result<Output, Error>>,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Engine for Told {
    fn start(&self, request: &Request, _: std::fs::File) -> Result<Box<dyn Run>, Error> {
        self.asked.lock().unwrap().push(request.clone());
        let outputs = if matches!(request, Request::Samples(_)) { &self.sound } else { &self.pictures };
        Ok(Box::new(Telling(outputs.clone().into_iter())))
    }

    fn build(&self) -> String {
        "ffmpeg 5".to_owned()
    }
}

struct Telling(std::vec::IntoIter<Result<Output, Error>>);

#[async_trait]
impl Run for Telling {
    async fn next(&mut self) -> Result<Output, Error> {
        self.0.next().unwrap_or_else(|| Err(Error::new(Code::MediaCrashed, "it has nothing more to say")))
    }
}

/// A camera's pictures, two of which are handed over.
fn measured() -> Measured {
    let look = Look { noise: 1.5, alive: 1.0, texture: 0.5, palette: 200.0, lit: 0.9, ..Look::default() };
    let shown = |at_us| Shown { width: 4, height: 2, at_us };
    Measured { frames: 250, look, pictures: vec![shown(0), shown(5_000_000)], ..Measured::default() }
}

fn done(measured: Measured) -> Result<Output, Error> {
    Ok(Output::Done(Response::Measured(measured)))
}

fn engine() -> Told {
    let rgb = |index: usize| Ok(Output::Bytes(index, Bytes::from(vec![index as u8; 24])));
    let silence = Bytes::from(vec![0; 4 * 160_000]);
    Told {
        pictures: vec![rgb(0), Ok(Output::Progress(100)), rgb(1), done(measured())],
        sound: vec![
            Ok(Output::Bytes(0, silence)),
            Ok(Output::Done(Response::Sampled(Sampled { samples: 160_000, damaged: 0 }))),
        ],
        asked: Arc::default(),
    }
}

/// Says of each picture what its first byte counts.
struct Seer {
    failure: Option<ml::Error>,
}

#[async_trait]
impl Viewer for Seer {
    async fn model(&self) -> Result<Model, Absent> {
        Ok(Model { name: "eyes".to_owned(), version: "7".to_owned() })
    }

    async fn look(&self, picture: Picture) -> Result<Vec<mobilenet::Label>, ml::Error> {
        assert_eq!((picture.width, picture.height, picture.rgb.len()), (4, 2, 24));
        let label = |name: &str, confidence| mobilenet::Label { name: name.to_owned(), index: 0, confidence };
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(vec![label("seashore, coast", 0.6 + 0.2 * f32::from(picture.rgb[0])), label("sandbar", 0.2)]),
        }
    }
}

fn seer(failure: Option<ml::Error>) -> Arc<dyn Viewer> {
    Arc::new(Seer { failure })
}

fn doors(folder: &std::path::Path) -> Doors {
    connectors::embedded::open(folder, Arc::new(ManualClock::at(77))).unwrap()
}

async fn run(
    engine: &Told,
    viewer: Arc<dyn Viewer>,
    has_sound: bool,
    attempt: u32,
) -> Result<SourceClassified, StageError> {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors(folder.path());
    let job = JobId::from_parts(1, 1);
    let source = doors.blobs.put(&manifest::source_key(job), vec![7; 5_000].into()).await.unwrap();
    let mut media = example::media();
    let base = Ratio { num: 1, den: 48_000 };
    let audio = AudioTrack {
        index: 1,
        codec: "aac".into(),
        channels: 2,
        sample_rate: 48_000,
        time_base: base,
        start: 0,
        end: 1,
    };
    media.audio = has_sound.then_some(audio);
    let event =
        SourceProbed { job, source, media, keyframes: vec![0], rungs: Vec::new(), audio_kbps: 0, warnings: Vec::new() };
    let (reports, _heard) = mpsc::unbounded_channel();
    let cx = Context::new(doors.clone(), CancellationToken::new(), job, attempt, "test".into(), reports);
    Ok(Classify::new(engine.clone(), viewer).process(event, &cx).await?.remove(0))
}

fn names(event: &SourceClassified, origin: Origin) -> Vec<&str> {
    event.labels.iter().filter(|label| label.origin == origin).map(|label| label.name.as_str()).collect()
}

#[tokio::test]
async fn signals_come_first_and_a_model_adds_to_them() {
    let engine = engine();
    let event = run(&engine, seer(None), true, 1).await.unwrap();
    assert_eq!(names(&event, Origin::Signals)[0], "camera");
    assert!(names(&event, Origin::Signals).contains(&"silence"), "{:?}", event.labels);
    assert_eq!(names(&event, Origin::Model), ["seashore, coast", "sandbar"]);
    let surest = event.labels.iter().find(|label| label.origin == Origin::Model).unwrap();
    assert!((surest.confidence - 0.7).abs() < 1e-6 && surest.because.is_empty(), "the mean of both pictures");
    assert!(event.labels[0].because.contains("noise 1.50"), "{:?}", event.labels[0]);
    assert_eq!((event.model.as_str(), event.version.as_str(), &event.no_model), ("eyes", "7", &None));
    assert_eq!((event.frames, event.classified_at, event.maker.as_str()), (250, 77, "ffmpeg 5"));
    let value = |name: &str| event.features.iter().find(|feature| feature.name == name).map(|feature| feature.value);
    assert_eq!((value("noise"), value("silence"), value("speech")), (Some(1.5), Some(1.0), Some(0.0)));
    let asked = engine.asked.lock().unwrap();
    assert!(matches!(&asked[0], Request::Signals(task) if task.keyframes == 1 && task.pictures == PICTURES));
    assert!(matches!(&asked[1], Request::Samples(_)));
}

#[tokio::test]
async fn without_a_model_or_sound_there_are_labels_and_a_reason() {
    let absent = "no model: run streamforge models pull mobilenet-v2-1.0-224";
    let event = run(&engine(), Arc::new(Blind(Absent(absent.to_owned()))), false, 1).await.unwrap();
    assert_eq!((event.no_model.as_deref(), event.model.as_str(), &event.reason), (Some(absent), "", &None));
    let names = names(&event, Origin::Signals);
    assert!(names[0] == "camera" && names.contains(&"no sound"), "{names:?}");
    let mut broken = engine();
    broken.sound = vec![Err(Error::new(Code::DamagedMedia, "the sound is broken"))];
    let event = run(&broken, seer(None), true, 1).await.unwrap();
    assert_eq!(event.labels.iter().filter(|label| ["silence", "no sound"].contains(&&*label.name)).count(), 0);
    assert_eq!(event.model, "eyes");
}

#[tokio::test]
async fn a_model_that_fails_costs_an_attempt_and_no_label() {
    let gone = || seer(Some(ml::Error::Gone("it ended".to_owned())));
    let error = run(&engine(), gone(), false, 1).await.unwrap_err();
    assert!(matches!(&error, StageError::Retry(cause) if cause.code == "model_failed"), "{error:?}");
    let event = run(&engine(), gone(), false, 2).await.unwrap();
    assert_eq!(event.no_model.as_deref(), Some("eyes cannot be used: it ended"));
    assert_eq!(names(&event, Origin::Signals)[0], "camera");
    let unfit = seer(Some(ml::Error::Unfit("a tensor is missing".to_owned())));
    let event = run(&engine(), unfit, false, 1).await.unwrap();
    assert_eq!(event.no_model.as_deref(), Some("eyes cannot be used: a tensor is missing"));
}

#[tokio::test]
async fn a_process_that_says_nonsense_is_asked_again() {
    let crashed = || Err(Error::new(Code::MediaCrashed, "it died"));
    for pictures in [
        vec![done(measured())],
        vec![Ok(Output::Bytes(PICTURES as usize, Bytes::from_static(b"x"))), done(measured())],
        vec![Ok(Output::Done(Response::Encoded(Default::default())))],
        vec![crashed()],
    ] {
        let error = run(&Told { pictures, ..engine() }, seer(None), false, 1).await.unwrap_err();
        assert!(matches!(&error, StageError::Retry(cause) if cause.code == "media_crashed"), "{error:?}");
    }
    let sound = vec![crashed()];
    let error = run(&Told { sound, ..engine() }, seer(None), true, 1).await.unwrap_err();
    assert!(matches!(&error, StageError::Retry(cause) if cause.code == "media_crashed"), "{error:?}");
}

#[tokio::test]
async fn a_video_without_pictures_says_so() {
    let engine = Told { pictures: vec![done(Measured::default())], ..engine() };
    let error = run(&engine, seer(None), false, 1).await.unwrap_err();
    assert!(matches!(error, StageError::Reject(_)), "{error:?}");
    let job = JobId::from_parts(1, 1);
    let source = schemas::Claim { uri: "blob:x".to_owned(), size: 1, sha256: "0".repeat(64) };
    let (keyframes, rungs, warnings) = (Vec::new(), Vec::new(), Vec::new());
    let event = SourceProbed { job, source, media: example::media(), keyframes, rungs, audio_kbps: 0, warnings };
    let told = Stage::without(&Classify::new(engine, seer(None)), &event, error.cause(), 5).unwrap();
    assert_eq!(told.reason.as_deref(), Some("no picture of the video can be decoded"));
    assert!(told.labels.is_empty() && told.classified_at == 5);
}
