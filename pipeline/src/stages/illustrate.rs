//! `source.probed` -> `source.illustrated`: posters, thumbnails and a storyboard, out of one decode of the source.

use std::time::Duration;

use bytes::Bytes;
use schemas::event::{Picture, SourceIllustrated, SourceProbed, Storyboard, Thumbnail};
use schemas::id::hex;
use schemas::{Claim, TaskKey, manifest};
use sha2::{Digest, Sha256};

use super::{Pieces, next_output, open_source, wrong_answer};
use crate::media::illustrate::{Illustrated, RECIPE, Sheet, Still, Task, storyboard};
use crate::media::{Engine, Output, Request, Response};
use crate::stage::{Cause, Context, Lane, Report, Stage, StageError, Unit};

/// All pictures together take at most this part of the upload's bytes: two in a hundred.
const SHARE: u64 = 50;

/// Pictures and bytes that a media process is believed to make.
const MOST_PICTURES: usize = 255;
const MOST_BYTES: usize = 64 << 20;

/// Finds pictures that stand for a video.
pub struct Illustrate<E> {
    engine: E,
}

impl<E: Engine> Illustrate<E> {
    /// A stage that looks at sources with `engine`.
    pub fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Runs the engine; answers what it made, and its JPEGs in the same order.
    async fn look(&self, event: &SourceProbed, cx: &Context) -> Result<(Illustrated, Vec<Bytes>), StageError> {
        let file = open_source(cx, &event.source, false).await?;
        let task = Task { media: event.media.clone(), budget_bytes: event.source.size / SHARE };
        let mut run = self.engine.start(&Request::Pictures(task), file)?;
        let mut jpegs = Pieces::new(MOST_PICTURES, MOST_BYTES);
        let made = loop {
            match next_output(run.as_mut(), cx).await? {
                Output::Progress(frames) => cx.report(Report::Done(frames.min(event.media.video.frames))),
                Output::Bytes(index, bytes) => jpegs.take(index, &bytes)?,
                Output::Done(Response::Illustrated(made)) => break made,
                Output::Done(other) => return Err(wrong_answer(&other)),
            }
        };
        let jpegs = jpegs.finish();
        let told = made.posters.len() + usize::from(made.sheet.is_some()) + made.thumbnails.len();
        if told != jpegs.len() {
            let message = format!("the media process told of {told} pictures and made {}", jpegs.len());
            return Err(StageError::retry("media_crashed", message));
        }
        Ok((made, jpegs))
    }
}

impl<E: Engine> Stage for Illustrate<E> {
    type In = SourceProbed;
    type Out = SourceIllustrated;
    const NAME: &'static str = "illustrate";
    const NATIVE: bool = true;
    const REQUIRED: bool = false;
    const LANE: Lane = Lane::Background;

    async fn process(&self, event: SourceProbed, cx: &Context) -> Result<Vec<SourceIllustrated>, StageError> {
        let (made, jpegs) = self.look(&event, cx).await?;
        if made.posters.is_empty() {
            return Err(StageError::reject("damaged_media", "no picture of the video can be decoded"));
        }
        let build = self.engine.build();
        let names = Names { cx, task: TaskKey::of(&[&event.source.sha256, Self::NAME, RECIPE, &build]) };
        let mut jpegs = jpegs.into_iter();
        let mut next = || jpegs.next().unwrap_or_default();
        let mut posters = Vec::new();
        for (number, still) in made.posters.iter().enumerate() {
            posters.push(names.picture(still, &format!("poster-{number}"), next()).await?);
        }
        let storyboard = match &made.sheet {
            Some(sheet) => Some(names.storyboard(sheet, event.media.duration_us, next()).await?),
            None => None,
        };
        let mut thumbnails = Vec::new();
        for (number, thumb) in made.thumbnails.iter().enumerate() {
            let picture = names.picture(&thumb.still, &format!("thumbnail-{number}"), next()).await?;
            thumbnails.push(Thumbnail { picture, start_us: thumb.start_us, end_us: thumb.end_us });
        }
        Ok(vec![SourceIllustrated {
            job: event.job,
            posters,
            thumbnails,
            storyboard,
            shots: made.shots,
            frames: made.frames,
            maker: format!("{build}, {RECIPE}"),
            made_at: cx.doors.clock.now_ms(),
            reason: None,
        }])
    }

    fn deadline(&self, event: &SourceProbed) -> Duration {
        // It leaves the processor to whoever encodes, for as long as they need it.
        let seconds = u64::try_from(event.media.duration_us / 1_000_000).unwrap_or(0).min(12 * 3600);
        Duration::from_secs(3600 + 10 * seconds)
    }

    fn unit(&self, event: &SourceProbed) -> Unit {
        Unit { weight: event.media.video.frames, ..Unit::default() }
    }

    fn without(&self, event: &SourceProbed, cause: &Cause, now_ms: i64) -> Option<SourceIllustrated> {
        Some(SourceIllustrated {
            job: event.job,
            posters: Vec::new(),
            thumbnails: Vec::new(),
            storyboard: None,
            shots: 0,
            frames: 0,
            maker: format!("{}, {RECIPE}", self.engine.build()),
            made_at: now_ms,
            reason: Some(cause.message.clone()),
        })
    }
}

/// Where pictures are put: below the job, named by what decides their bytes, and by the bytes themselves. So a second run writes the
/// same, and one with other libraries leaves alone what was made before.
struct Names<'a> {
    cx: &'a Context,
    task: TaskKey,
}

impl Names<'_> {
    async fn put(&self, name: &str, kind: &str, bytes: Bytes) -> Result<Claim, StageError> {
        let content = hex(&Sha256::digest(&bytes)[..6]);
        let key = format!("{}pictures/{}-{name}-{content}.{kind}", manifest::prefix(self.cx.job), self.task);
        Ok(self.cx.doors.blobs.put(&key, bytes).await?)
    }

    async fn picture(&self, still: &Still, name: &str, jpeg: Bytes) -> Result<Picture, StageError> {
        let jpeg = self.put(name, "jpg", jpeg).await?;
        Ok(Picture { jpeg, width: still.width, height: still.height, at_us: still.at_us })
    }

    async fn storyboard(&self, sheet: &Sheet, duration_us: i64, jpeg: Bytes) -> Result<Storyboard, StageError> {
        let sprite = self.put("storyboard", "jpg", jpeg).await?;
        // The version keeps a cue from being shown out of another sheet that somebody remembers.
        let address = format!("storyboard.jpg?v={}", sprite.sha256.get(..12).unwrap_or_default());
        let cues = storyboard::cues(sheet, duration_us, &address);
        let cues = self.put("storyboard", "vtt", cues.into()).await?;
        let tiles = u32::try_from(sheet.starts_us.len()).unwrap_or(u32::MAX);
        Ok(Storyboard {
            sprite,
            cues,
            width: sheet.columns * sheet.tile_width,
            height: tiles.div_ceil(sheet.columns.max(1)) * sheet.tile_height,
            tile_width: sheet.tile_width,
            tile_height: sheet.tile_height,
            tiles,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use connectors::Doors;
    use connectors::clock::ManualClock;
    use schemas::JobId;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::media::illustrate::Thumb;
    use crate::media::{Code, Error, Run};
    use crate::stages::example;

    /// Answers what it is told, in order, and keeps what it was asked.
    #[derive(Clone)]
    struct Told {
        outputs: Vec<Result<Output, Error>>,
        build: &'static str,
        asked: Arc<Mutex<Vec<Request>>>,
    }

    impl Told {
        fn new(outputs: Vec<Result<Output, Error>>) -> Self {
            Self { outputs, build: "ffmpeg 5", asked: Arc::default() }
        }
    }

    impl Engine for Told {
        fn start(&self, request: &Request, _: std::fs::File) -> Result<Box<dyn Run>, Error> {
            self.asked.lock().unwrap().push(request.clone());
            Ok(Box::new(Telling(self.outputs.clone().into_iter())))
        }

        fn build(&self) -> String {
            self.build.to_owned()
        }
    }

    struct Telling(std::vec::IntoIter<Result<Output, Error>>);

    #[async_trait]
    impl Run for Telling {
        async fn next(&mut self) -> Result<Output, Error> {
            self.0.next().unwrap_or_else(|| Err(Error::new(Code::MediaCrashed, "it has nothing more to say")))
        }
    }

    fn still(at_us: i64) -> Still {
        Still { width: 640, height: 360, at_us, score: 0.5 }
    }

    fn made() -> Illustrated {
        let sheet = Sheet { tile_width: 160, tile_height: 90, columns: 2, starts_us: vec![0, 5_000_000] };
        Illustrated {
            frames: 250,
            damaged: 0,
            shots: 1,
            transitions: Vec::new(),
            posters: vec![still(4_000_000), still(8_000_000)],
            sheet: Some(sheet),
            thumbnails: vec![Thumb { still: still(4_000_000), start_us: 0, end_us: 10_000_000 }],
        }
    }

    fn whole() -> Vec<Result<Output, Error>> {
        let jpeg = |index: usize| Ok(Output::Bytes(index, Bytes::from(format!("jpeg {index}"))));
        let done = Ok(Output::Done(Response::Illustrated(made())));
        vec![jpeg(0), Ok(Output::Progress(100)), jpeg(1), jpeg(2), jpeg(3), done]
    }

    async fn probed(doors: &Doors) -> SourceProbed {
        let job = JobId::from_parts(1, 1);
        let source = doors.blobs.put(&manifest::source_key(job), vec![7; 50_000].into()).await.unwrap();
        let (keyframes, rungs, warnings) = (Vec::new(), Vec::new(), Vec::new());
        SourceProbed { job, source, media: example::media(), keyframes, rungs, audio_kbps: 0, warnings }
    }

    async fn run(doors: &Doors, engine: Told) -> Result<SourceIllustrated, StageError> {
        let event = probed(doors).await;
        let (reports, _heard) = mpsc::unbounded_channel();
        let cx = Context::new(doors.clone(), CancellationToken::new(), event.job, 1, "test".into(), reports);
        Ok(Illustrate::new(engine).process(event, &cx).await?.remove(0))
    }

    fn doors(folder: &std::path::Path) -> Doors {
        connectors::embedded::open(folder, Arc::new(ManualClock::at(77))).unwrap()
    }

    #[tokio::test]
    async fn pictures_lie_below_the_job_and_a_second_run_writes_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let doors = doors(folder.path());
        let engine = Told::new(whole());
        let first = run(&doors, engine.clone()).await.unwrap();
        assert_eq!(first, run(&doors, engine.clone()).await.unwrap());
        let asked = engine.asked.lock().unwrap()[0].clone();
        assert_eq!(asked, Request::Pictures(Task { media: example::media(), budget_bytes: 1000 }), "two in a hundred");
        let key = |claim: &Claim| doors.blobs.resolve(&claim.uri).unwrap();
        for (claim, bytes) in [
            (&first.posters[0].jpeg, "jpeg 0"),
            (&first.posters[1].jpeg, "jpeg 1"),
            (&first.storyboard.as_ref().unwrap().sprite, "jpeg 2"),
            (&first.thumbnails[0].picture.jpeg, "jpeg 3"),
        ] {
            assert!(key(claim).starts_with(&format!("jobs/{}/pictures/", first.job)), "{}", claim.uri);
            assert_eq!(doors.blobs.read(&key(claim)).await.unwrap(), bytes);
        }
        let board = first.storyboard.as_ref().unwrap();
        assert_eq!((board.width, board.height, board.tiles), (320, 90, 2));
        let cues = String::from_utf8(doors.blobs.read(&key(&board.cues)).await.unwrap().to_vec()).unwrap();
        let sprite = format!("storyboard.jpg?v={}", &board.sprite.sha256[..12]);
        assert!(cues.contains(&format!("00:00:05.000 --> 00:00:10.000\n{sprite}#xywh=160,0,160,90")), "{cues}");
        assert_eq!((first.made_at, first.maker.as_str()), (77, "ffmpeg 5, pictures-v1"));
        // Other libraries may see it differently, and nothing that was told before is lost.
        let other = run(&doors, Told { build: "ffmpeg 6", ..engine }).await.unwrap();
        assert_ne!(key(&other.posters[0].jpeg), key(&first.posters[0].jpeg));
        assert_eq!(doors.blobs.read(&key(&first.posters[0].jpeg)).await.unwrap(), "jpeg 0");
    }

    #[tokio::test]
    async fn a_process_that_says_nonsense_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let doors = doors(folder.path());
        let done = || Ok(Output::Done(Response::Illustrated(made())));
        let crashed = Err(Error::new(Code::MediaCrashed, "it died"));
        for outputs in [
            vec![done()],
            vec![Ok(Output::Bytes(MOST_PICTURES, Bytes::from_static(b"x"))), done()],
            vec![Ok(Output::Done(Response::Encoded(Default::default())))],
            vec![crashed],
        ] {
            let error = run(&doors, Told::new(outputs)).await.unwrap_err();
            assert!(matches!(&error, StageError::Retry(cause) if cause.code == "media_crashed"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_video_without_pictures_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let doors = doors(folder.path());
        let nothing = Illustrated { posters: Vec::new(), sheet: None, thumbnails: Vec::new(), ..made() };
        let engine = Told::new(vec![Ok(Output::Done(Response::Illustrated(nothing)))]);
        let error = run(&doors, engine.clone()).await.unwrap_err();
        assert!(matches!(error, StageError::Reject(_)), "{error:?}");
        let event = probed(&doors).await;
        let told = Stage::without(&Illustrate::new(engine), &event, error.cause(), 5).unwrap();
        assert_eq!(told.reason.as_deref(), Some("no picture of the video can be decoded"));
        assert!(told.posters.is_empty() && told.made_at == 5);
    }
}
