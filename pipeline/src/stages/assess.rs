//! `rendition.stitched` -> `rendition.assessed`: how close a rendition is to its source, picture by picture.
//!
//! It decodes what viewers get and compares it with what the encoder was given. Nothing waits for it: a video is ready before,
//! with what the encoder itself said of its error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use connectors::{Blobs, blobs};
use futures::StreamExt;
use schemas::event::{RenditionAssessed, RenditionStitched};
use schemas::id::hex;
use schemas::ladder::TIERS;
use schemas::manifest::{self, Manifest, Track};
use schemas::quality::table::{self, Row};
use schemas::quality::{self, Metric, Quality, RenditionQuality};
use schemas::{Claim, JobId, TaskKey};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{next_output, open_source, wrong_answer};
use crate::media::compare::Figures;
use crate::media::{Code, CompareTask, Compared, Engine, Error as MediaError, Feed, Output, Request, Response, Vmaf};
use crate::stage::{Context, Lane, Report, Stage, StageError, Unit};

/// Pieces of a rendition that are read ahead.
const AHEAD: usize = 4;
/// By so many decibels an encoder may be off before that is told.
const ODD_DB: f64 = 0.1;

/// What an engine has told of a rendition.
struct Answer {
    figures: Vec<Figures>,
    /// One for each figure that has values, or none at all.
    vmaf: Vec<f64>,
    compared: Compared,
}

/// Measures renditions.
pub struct Assess<E> {
    engine: E,
}

impl<E: Engine> Assess<E> {
    /// A stage that measures with `engine`.
    pub fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Runs the engine.
    async fn compare(
        &self,
        task: CompareTask,
        source: std::fs::File,
        track: &Track,
        cx: &Context,
    ) -> Result<Answer, StageError> {
        let trouble = Trouble::default();
        let feed = feed(&cx.doors.blobs, track, &trouble);
        let measured = async {
            let mut run = self.engine.start_fed(&Request::Compare(task), source, feed)?;
            let (mut figures, mut vmaf) = (Vec::new(), Vec::new());
            loop {
                match next_output(run.as_mut(), cx).await? {
                    Output::Progress(frames) => cx.report(Report::Done(frames)),
                    Output::Bytes(0, bytes) => figures.extend(Figures::read(&bytes)),
                    Output::Bytes(_, bytes) => vmaf.extend(numbers(&bytes)),
                    Output::Done(Response::Compared(compared)) => return Ok(Answer { figures, vmaf, compared }),
                    Output::Done(other) => return Err(wrong_answer(&other)),
                }
            }
        };
        let measured: Result<_, StageError> = measured.await;
        // What stopped the feed says more than that it stopped.
        let told = trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        measured.map_err(|error| told.unwrap_or(error))
    }
}

impl<E: Engine> Stage for Assess<E> {
    type In = RenditionStitched;
    type Out = RenditionAssessed;
    const NAME: &'static str = "assess";
    const NATIVE: bool = true;
    const REQUIRED: bool = false;
    const LANE: Lane = Lane::Background;

    async fn process(&self, event: RenditionStitched, cx: &Context) -> Result<Vec<RenditionAssessed>, StageError> {
        let known: Quality = read(&quality::key(event.job), None, cx).await?;
        let manifest: Manifest = read(&cx.doors.blobs.resolve(&event.manifest.uri)?, Some(&event.manifest), cx).await?;
        let unknown = || StageError::reject("no_such_rendition", format!("assess {}: there is none", event.quality));
        let track = manifest.renditions.iter().find(|rendition| rendition.quality == event.quality);
        let track = &track.ok_or_else(unknown)?.video;
        let rung = known.rungs.iter().find(|rung| rung.quality == event.quality).ok_or_else(unknown)?;
        let before = known.renditions.iter().find(|one| one.quality == event.quality).ok_or_else(unknown)?;
        let Some(claim) = &known.source else {
            let message = format!("assess {}: its chunks do not say which source they were made of", event.quality);
            return Err(StageError::reject("unknown_source", message));
        };
        let rows = rows(before, cx).await?;
        let source = open_source(cx, claim, false).await?;
        let starts = track.pieces.iter().filter_map(|piece| piece.fragments.first()).map(|fragment| fragment.start);
        let task = CompareTask {
            media: known.media.clone(),
            rung: rung.clone(),
            largest: known.rungs.first().cloned(),
            chunks: starts.collect(),
        };
        let told = self.compare(task, source, track, cx).await?;
        let (report, rows) = report(before, rows, &told)?;
        // Named by what was measured and what with: the reports of other versions stay.
        let name = TaskKey::of(&[&event.manifest.sha256, &event.quality, &report.maker]);
        let report = write(event.job, &name, report, &rows, cx).await?;
        Ok(vec![report])
    }

    fn deadline(&self, event: &RenditionStitched) -> Duration {
        // Both sides are decoded once; a slow machine does a fiftieth of real time.
        Duration::from_secs(300).saturating_add(Duration::from_micros(event.duration_us).saturating_mul(50))
    }

    fn unit(&self, event: &RenditionStitched) -> Unit {
        let place = TIERS.iter().position(|tier| tier.quality == event.quality).unwrap_or(TIERS.len());
        // How many there are in the job is known when all of them are heard of.
        Unit { index: u32::try_from(place).unwrap_or(0), count: 1, weight: event.frames, total_weight: 0 }
    }
}

/// Reads JSON; with a claim, only what was claimed.
async fn read<T: DeserializeOwned>(key: &str, claim: Option<&Claim>, cx: &Context) -> Result<T, StageError> {
    let bytes = blob(key, cx).await?;
    if claim.is_some_and(|claim| claim.sha256 != hex(&Sha256::digest(&bytes))) {
        return Err(StageError::reject(
            "claim_mismatch",
            format!("assess a rendition: `{key}` is not what was claimed"),
        ));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| StageError::reject("damaged_blob", format!("assess a rendition: read `{key}`: {error}")))
}

async fn blob(key: &str, cx: &Context) -> Result<Bytes, StageError> {
    match cx.doors.blobs.read(key).await {
        Ok(bytes) => Ok(bytes),
        // Whoever deletes a job removes its blobs before everybody has heard of it.
        Err(blobs::Error::NotFound(key)) => {
            Err(StageError::retry("blob_gone", format!("assess a rendition: there is no `{key}`")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The frames of the rendition, with what their encoder said.
async fn rows(before: &RenditionQuality, cx: &Context) -> Result<Vec<Row>, StageError> {
    let packed = blob(&cx.doors.blobs.resolve(&before.table.uri)?, cx).await?;
    let bad = |error| StageError::reject("damaged_blob", format!("assess {}: {error}", before.quality));
    table::unpack(&packed).map_err(bad)
}

/// What stopped a feed.
type Trouble = Arc<Mutex<Option<StageError>>>;

/// The bytes of `track`, one blob after the other, each checked against its SHA-256.
fn feed(blobs: &Blobs, track: &Track, trouble: &Trouble) -> Feed {
    let (out, pieces) = mpsc::channel(AHEAD);
    let (blobs, track, trouble) = (blobs.clone(), track.clone(), Arc::clone(trouble));
    tokio::spawn(async move {
        // Whoever does not take any more has said why.
        if let Err(Some(error)) = pump(&blobs, track, &out).await {
            let cause = MediaError::new(Code::EncoderFailed, error.cause().message.clone());
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            let _ = out.send(Err(cause)).await;
        }
    });
    ReceiverStream::new(pieces).boxed()
}

async fn pump(
    blobs: &Blobs,
    track: Track,
    out: &mpsc::Sender<Result<Bytes, MediaError>>,
) -> Result<(), Option<StageError>> {
    out.send(Ok(track.init.into())).await.map_err(|_| None)?;
    for piece in &track.pieces {
        let mut bytes = blobs.get(&piece.key, None).await.map_err(|error| Some(error.into()))?;
        let mut hasher = Sha256::new();
        while let Some(part) = bytes.next().await {
            let part = part.map_err(|error| Some(error.into()))?;
            hasher.update(&part);
            out.send(Ok(part)).await.map_err(|_| None)?;
        }
        if hex(&hasher.finalize()) != piece.sha256 {
            let message = format!("assess a rendition: `{}` is not what its manifest says", piece.key);
            return Err(Some(StageError::reject("claim_mismatch", message)));
        }
    }
    Ok(())
}

/// The report on a rendition of which `before` was known, and the figures of its frames.
fn report(
    before: &RenditionQuality,
    mut rows: Vec<Row>,
    told: &Answer,
) -> Result<(RenditionQuality, Vec<Row>), StageError> {
    let (quality, compared) = (&before.quality, &told.compared);
    let maker = format!("streamforge {}, {}", env!("CARGO_PKG_VERSION"), compared.maker);
    if compared.compared == 0 {
        let message = format!("assess {quality}: none of its pictures is shown at the time of one of the source");
        return Err(StageError::reject("nothing_to_compare", message));
    }
    let mut odd = 0_u64;
    let mut places = rows.iter_mut().peekable();
    let mut vmaf = told.vmaf.iter().copied();
    for figure in &told.figures {
        let vmaf = figure.values.and_then(|_| vmaf.next()).unwrap_or(f64::NAN);
        while places.next_if(|row| row.pts < figure.pts).is_some() {}
        match places.next_if(|row| row.pts == figure.pts) {
            Some(row) => {
                for (metric, value) in Metric::ALL.into_iter().skip(1).zip(figure.values.unwrap_or([f64::NAN; 4])) {
                    *row = row.with(metric, value);
                }
                *row = row.with(Metric::Vmaf, vmaf);
            }
            None => odd += 1,
        }
    }
    let mut report = RenditionQuality { assessed: true, compared: Some(compared.compared), maker, ..before.clone() };
    let mut note = |condition: bool, text: String| {
        if condition {
            report.notes.push(text);
        }
    };
    let alone = compared.frames - compared.compared.min(compared.frames);
    note(
        alone > 0,
        format!("{alone} pictures of the rendition have none of the source at their time and are not compared."),
    );
    note(
        compared.missing > 0,
        format!("{} pictures of the source are not shown in the rendition at their time.", compared.missing),
    );
    note(odd > 0 || compared.frames != before.frames, {
        format!("{} pictures were decoded where {} were encoded.", compared.frames, before.frames)
    });
    note(
        compared.vmaf == Vmaf::NoFilter,
        "VMAF was not measured: the FFmpeg library of this worker has no filter `libvmaf`.".into(),
    );
    note(
        compared.vmaf == Vmaf::NotSafe,
        "VMAF was not measured: the kernel of this worker has no landlock, and the filter opens a file.".into(),
    );
    report.measure(&rows);
    let mean = |metric| report.metrics.get(&metric).map(|summary| summary.mean);
    if let (Some(said), Some(found)) = (mean(Metric::PsnrEncoded), mean(Metric::PsnrY))
        && (said - found).abs() > ODD_DB
        && alone == 0
    {
        report.notes.push(format!("The encoder said {said:.2} dB on average where {found:.2} dB are measured."));
    }
    Ok((report, rows))
}

/// Numbers of eight bytes each, big-endian.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.chunks_exact(8).map(|eight| f64::from_be_bytes(eight.try_into().unwrap_or_default()))
}

/// Writes the figures and the report; answers the event.
async fn write(
    job: JobId,
    name: &TaskKey,
    mut report: RenditionQuality,
    rows: &[Row],
    cx: &Context,
) -> Result<RenditionAssessed, StageError> {
    let stem = format!("{}{}/quality-{name}", manifest::prefix(job), report.quality);
    report.table = cx.doors.blobs.put(&format!("{stem}.frames"), table::pack(rows).into()).await?;
    let json = serde_json::to_vec(&report)
        .map_err(|error| StageError::reject("unwritable_report", format!("write the quality report: {error}")))?;
    let claim = cx.doors.blobs.put(&format!("{stem}.json"), json.into()).await?;
    let mean = |metric| report.metrics.get(&metric).map_or(0.0, |summary| summary.mean);
    Ok(RenditionAssessed {
        job,
        psnr_db: mean(Metric::PsnrY),
        ssim: mean(Metric::SsimAll),
        quality: report.quality,
        report: claim,
        maker: report.maker,
    })
}

#[cfg(test)]
mod tests;
