use std::fs::File;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connectors::Doors;
use connectors::clock::SystemClock;
use schemas::event::Fragment;
use schemas::ladder::Rung;
use schemas::manifest::{Piece, Rendition};
use schemas::quality::ChunkQuality;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::media::Run;
use crate::stages::example;

/// An engine that reads the rendition to its end and says of it what it is told to.
#[derive(Clone, Default)]
struct Told {
    figures: Vec<Figures>,
    vmaf: Vec<f64>,
    missing: u64,
    /// What came as the rendition.
    came: Arc<Mutex<Vec<u8>>>,
}

struct ToldRun {
    told: Told,
    feed: Option<Feed>,
    vmaf: Vec<f64>,
}

impl Engine for Told {
    fn start(&self, _: &Request, _: File) -> Result<Box<dyn Run>, MediaError> {
        Err(MediaError::new(Code::EncoderFailed, "nothing is encoded here"))
    }

    fn start_fed(&self, _: &Request, _: File, feed: Feed) -> Result<Box<dyn Run>, MediaError> {
        Ok(Box::new(ToldRun { vmaf: self.vmaf.clone(), told: self.clone(), feed: Some(feed) }))
    }

    fn build(&self) -> String {
        String::new()
    }
}

#[async_trait]
impl Run for ToldRun {
    async fn next(&mut self) -> Result<Output, MediaError> {
        let figures = &self.told.figures;
        if let Some(mut feed) = self.feed.take() {
            while let Some(piece) = feed.next().await {
                // As a process does that finds its rendition cut short.
                let piece = piece.map_err(|_| MediaError::new(Code::DamagedMedia, "the rendition ends too early"))?;
                self.told.came.lock().unwrap().extend_from_slice(&piece);
            }
            let bytes = figures.iter().flat_map(Figures::bytes).collect::<Vec<u8>>();
            return Ok(Output::Bytes(0, bytes.into()));
        }
        let vmaf = std::mem::take(&mut self.vmaf);
        if !vmaf.is_empty() {
            return Ok(Output::Bytes(1, vmaf.iter().flat_map(|one| one.to_be_bytes()).collect::<Vec<u8>>().into()));
        }
        let vmaf = if self.told.vmaf.is_empty() { Vmaf::NoFilter } else { Vmaf::Measured };
        let compared = figures.iter().filter(|figure| figure.values.is_some()).count() as u64;
        let (frames, missing) = (figures.len() as u64, self.told.missing);
        let compared = Compared { frames, compared, missing, maker: "eyes".into(), vmaf };
        Ok(Output::Done(Response::Compared(compared)))
    }
}

fn job() -> JobId {
    JobId::from_parts(1, 1)
}

fn figure(pts: i64, decibels: f64) -> Figures {
    Figures { pts, values: Some([decibels, decibels + 1.0, 0.96, 0.97]) }
}

fn rung() -> Rung {
    Rung { quality: "360p".into(), width: 640, height: 360, max_kbps: 1000 }
}

/// A job of two chunks of one frame each that stitch has finished, and its event.
async fn stitched(doors: &Doors) -> RenditionStitched {
    let blobs = &doors.blobs;
    let prefix = manifest::prefix(job());
    let mut pieces = Vec::new();
    for (index, start) in [(0, 0), (1, 40)] {
        let claim = blobs.put(&format!("{prefix}chunks/{index}"), format!("chunk {index}").into()).await.unwrap();
        let fragment = Fragment { offset: 0, size: claim.size, header: 0, start, duration: 40, samples: 1 };
        let key = blobs.resolve(&claim.uri).unwrap();
        pieces.push(Piece { key, size: claim.size, sha256: claim.sha256, fragments: vec![fragment] });
    }
    let video =
        Track { codec: String::new(), timescale: 1000, init: b"init".to_vec(), peak_bps: 0, average_bps: 0, pieces };
    let rendition = Rendition { quality: "360p".into(), width: 640, height: 360, fps: 25.0, video, progressive: None };
    let manifest = Manifest {
        job: job(),
        complete: true,
        playable_at: 0,
        written_at: 0,
        renditions: vec![rendition],
        audio: None,
    };
    let json = serde_json::to_vec(&manifest).unwrap();
    let manifest = blobs.put(&manifest::key(job()), json.into()).await.unwrap();
    let rows = [0, 40].map(|pts| Row::at(pts).with(Metric::PsnrEncoded, 40.0));
    let table = blobs.put(&format!("{prefix}360p/frames"), table::pack(&rows).into()).await.unwrap();
    let chunk = |index: u32| ChunkQuality {
        index,
        start_s: f64::from(index) * 0.04,
        end_s: f64::from(index + 1) * 0.04,
        frames: 1,
        again: 0,
        cap_won: false,
        metrics: quality::Summaries::new(),
    };
    let known = RenditionQuality {
        quality: "360p".into(),
        width: 640,
        height: 360,
        verdict: String::new(),
        assessed: false,
        trouble: None,
        frames: 2,
        floor_db: Some(33),
        encoded_again: 0,
        cap_won: 0,
        metrics: quality::Summaries::new(),
        chunks: vec![chunk(0), chunk(1)],
        notes: Vec::new(),
        compared: None,
        maker: String::new(),
        timescale: 1000,
        table,
    };
    let source = blobs.put(&manifest::source_key(job()), Bytes::from_static(b"the source")).await.unwrap();
    let known = Quality {
        job: job(),
        source: Some(source),
        media: example::media(),
        rungs: vec![rung()],
        renditions: vec![known],
    };
    blobs.put(&quality::key(job()), serde_json::to_vec(&known).unwrap().into()).await.unwrap();
    RenditionStitched {
        job: job(),
        quality: "360p".into(),
        codec: "h264".into(),
        width: 640,
        height: 360,
        bitrate_bps: 1,
        bytes: 1,
        frames: 2,
        duration_us: 80_000,
        manifest,
    }
}

async fn assess(doors: &Doors, told: &Told, event: &RenditionStitched) -> Result<RenditionAssessed, StageError> {
    let (reports, _) = mpsc::unbounded_channel();
    let cx = Context::new(doors.clone(), CancellationToken::new(), job(), 1, "test".into(), reports);
    let mut events = Assess::new(told.clone()).process(event.clone(), &cx).await?;
    assert_eq!(events.len(), 1);
    Ok(events.remove(0))
}

async fn read_report(doors: &Doors, event: &RenditionAssessed) -> RenditionQuality {
    let key = doors.blobs.resolve(&event.report.uri).unwrap();
    serde_json::from_slice(&doors.blobs.read(&key).await.unwrap()).unwrap()
}

fn doors() -> Doors {
    connectors::in_memory(Arc::new(SystemClock)).unwrap()
}

#[tokio::test]
async fn a_rendition_is_fed_whole_and_its_report_has_each_frame() {
    let doors = doors();
    let event = stitched(&doors).await;
    let told = Told { figures: vec![figure(0, 42.0), figure(40, 38.0)], ..Told::default() };
    let assessed = assess(&doors, &told, &event).await.unwrap();
    assert_eq!(told.came.lock().unwrap().as_slice(), b"initchunk 0chunk 1");
    assert_eq!((assessed.psnr_db, assessed.ssim), (40.0, 0.97));
    assert!(assessed.maker.ends_with("eyes"), "{}", assessed.maker);
    let report = read_report(&doors, &assessed).await;
    assert!(report.assessed && report.compared == Some(2));
    assert_eq!(report.metrics[&Metric::PsnrY].worst_at_s, 0.04);
    let means: Vec<f64> = report.chunks.iter().map(|chunk| chunk.metrics[&Metric::PsnrY].mean).collect();
    assert_eq!(means, [42.0, 38.0]);
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    assert!(report.notes[0].starts_with("VMAF was not measured: the FFmpeg library of this worker has no filter"));
    let table = doors.blobs.read(&doors.blobs.resolve(&report.table.uri).unwrap()).await.unwrap();
    let rows = table::unpack(&table).unwrap();
    assert_eq!(rows[1].value(Metric::PsnrEncoded), Some(40.0), "what the encoder said stays beside it");
    assert_eq!(rows[1].value(Metric::PsnrAll), Some(39.0));
    // Once more is the same blob of the same bytes.
    assert_eq!(assess(&doors, &told, &event).await.unwrap(), assessed);
}

#[tokio::test]
async fn vmaf_stands_beside_the_frames_that_were_compared() {
    let doors = doors();
    let event = stitched(&doors).await;
    let alone = Figures { pts: 0, values: None };
    let told = Told { figures: vec![alone, figure(40, 38.0)], vmaf: vec![91.25], ..Told::default() };
    let report = read_report(&doors, &assess(&doors, &told, &event).await.unwrap()).await;
    let vmaf = &report.metrics[&Metric::Vmaf];
    assert_eq!((vmaf.frames, vmaf.mean, vmaf.worst_frame), (1, 91.25, 1));
    assert!(!report.chunks[0].metrics.contains_key(&Metric::Vmaf));
    assert!(report.verdict.contains("and VMAF 91 on average"), "{}", report.verdict);
    assert!(!report.notes.join(" ").contains("VMAF"), "{:?}", report.notes);
}

#[tokio::test]
async fn frames_without_a_partner_are_told_and_have_no_figures() {
    let doors = doors();
    let event = stitched(&doors).await;
    let alone = Figures { pts: 40, values: None };
    let told = Told { figures: vec![figure(0, 42.0), alone], missing: 3, ..Told::default() };
    let report = read_report(&doors, &assess(&doors, &told, &event).await.unwrap()).await;
    assert_eq!((report.compared, report.metrics[&Metric::SsimAll].frames), (Some(1), 1));
    let notes = report.notes.join("\n");
    assert!(notes.contains("1 pictures of the rendition have none of the source at their time"), "{notes}");
    assert!(notes.contains("3 pictures of the source are not shown in the rendition"), "{notes}");
    assert!(report.verdict.contains("1 of its 2 pictures"), "{}", report.verdict);
    let nothing = Told { figures: vec![Figures { pts: 0, values: None }, alone], ..Told::default() };
    let refused = assess(&doors, &nothing, &event).await.unwrap_err();
    assert!(matches!(&refused, StageError::Reject(cause) if cause.code == "nothing_to_compare"), "{refused:?}");
}

#[tokio::test]
async fn a_blob_that_is_another_one_is_named_and_nothing_is_published() {
    let doors = doors();
    let event = stitched(&doors).await;
    let told = Told { figures: vec![figure(0, 42.0), figure(40, 38.0)], ..Told::default() };
    let key = format!("{}chunks/1", manifest::prefix(job()));
    doors.blobs.put(&key, Bytes::from_static(b"chunk X")).await.unwrap();
    let refused = assess(&doors, &told, &event).await.unwrap_err();
    assert!(matches!(&refused, StageError::Reject(cause) if cause.code == "claim_mismatch"), "{refused:?}");
    assert!(refused.to_string().contains(&key), "{refused}");
    let left = doors.blobs.list(&manifest::prefix(job())).await.unwrap();
    assert!(left.iter().all(|blob| !blob.key.contains("quality-")), "{left:?}");
}

#[tokio::test]
async fn what_is_gone_may_come_back_and_what_is_unknown_never_will() {
    let doors = doors();
    let event = stitched(&doors).await;
    let told = Told::default();
    let other = RenditionStitched { quality: "720p".into(), ..event.clone() };
    let refused = assess(&doors, &told, &other).await.unwrap_err();
    assert!(matches!(&refused, StageError::Reject(cause) if cause.code == "no_such_rendition"), "{refused:?}");
    doors.blobs.delete(&quality::key(job())).await.unwrap();
    let refused = assess(&doors, &told, &event).await.unwrap_err();
    assert!(matches!(&refused, StageError::Retry(cause) if cause.code == "blob_gone"), "{refused:?}");
}
