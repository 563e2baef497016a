//! A job on doors of its own, stage by stage.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use connectors::clock::SystemClock;
use connectors::{Doors, embedded};
use pipeline::media::{Engine, Error, Feed, Request, Run, worker};
use pipeline::stage::{Context, Stage, StageError};
use pipeline::stages::{assess::Assess, probe::Probe, split::Split, stitch::Stitch, transcode::Transcode};
use schemas::JobId;
use schemas::event::{ChunkTranscoded, RenditionAssessed, RenditionStitched, SourceProbed, UploadReceived};
use schemas::manifest::Manifest;
use schemas::quality::table::{self, Row};
use schemas::quality::{self, Quality, RenditionQuality};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::InThread;

/// Runs ffmpeg; `output` is its last argument.
pub fn ffmpeg(arguments: &str, output: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(output)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg {arguments}");
}

/// Where a range begins, what of it is encoded, and by how many steps better.
pub type Asked = (Option<i64>, Vec<String>, u32);

/// An engine that keeps what it is asked.
#[derive(Clone, Default)]
pub struct Watched {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Watched {
    fn note(&self, request: &Request) {
        if let Request::Video(task) = request {
            let names = task.rungs.iter().map(|rung| rung.quality.clone()).collect();
            self.asked.lock().unwrap().push((task.start, names, task.better));
        }
    }

    /// What was encoded once more.
    pub fn again(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|(_, _, better)| *better > 0).cloned().collect()
    }

    /// How often anything was encoded.
    pub fn encodings(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Engine for Watched {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        self.note(request);
        InThread.start(request, source)
    }

    fn start_fed(&self, request: &Request, source: std::fs::File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        InThread.start_fed(request, source, feed)
    }

    fn build(&self) -> String {
        InThread.build()
    }
}

/// A job.
pub struct House {
    pub folder: TempDir,
    pub source: PathBuf,
    pub engine: Watched,
    doors: Doors,
    job: JobId,
}

impl House {
    /// A job whose source ffmpeg makes with `arguments`, as a file named `name`.
    pub fn new(name: &str, arguments: &str) -> Self {
        worker::quiet();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join(name);
        ffmpeg(arguments, &source);
        let doors = embedded::open(&folder.path().join("data"), Arc::new(SystemClock)).unwrap();
        Self { folder, source, engine: Watched::default(), doors, job: JobId::from_parts(1, 1) }
    }

    fn context(&self) -> Context {
        let (reports, _) = mpsc::unbounded_channel();
        Context::new(self.doors.clone(), CancellationToken::new(), self.job, 1, "test".into(), reports)
    }

    /// What probe says.
    pub async fn probe(&self) -> SourceProbed {
        let mut writer = self.doors.blobs.writer(&format!("jobs/{}/source", self.job)).await.unwrap();
        writer.write(Bytes::from(std::fs::read(&self.source).unwrap())).await.unwrap();
        let source = writer.finish().await.unwrap();
        let upload =
            UploadReceived { job: self.job, name: "test".into(), source, received_at: 0, origin: "test".into() };
        Probe::new(self.engine.clone()).process(upload, &self.context()).await.unwrap().remove(0)
    }

    /// Encodes every chunk.
    pub async fn transcode(&self, probed: SourceProbed) -> Vec<ChunkTranscoded> {
        let cx = self.context();
        let mut chunks = Vec::new();
        for cut in Split.process(probed, &cx).await.unwrap() {
            chunks.push(Transcode::new(self.engine.clone()).process(cut, &cx).await.unwrap().remove(0));
        }
        chunks
    }

    /// Joins chunks.
    pub async fn stitch(&self, chunks: Vec<ChunkTranscoded>) -> Vec<RenditionStitched> {
        let cx = self.context();
        let mut stitched = Vec::new();
        for chunk in chunks {
            stitched = Stitch.process(chunk, &cx).await.unwrap();
        }
        assert!(!stitched.is_empty(), "the last chunk completes the set");
        stitched
    }

    /// All of it, up to a video that is ready.
    pub async fn ready(&self) -> Vec<RenditionStitched> {
        let probed = self.probe().await;
        let chunks = self.transcode(probed).await;
        self.stitch(chunks).await
    }

    /// Measures one rendition.
    pub async fn assess(&self, event: &RenditionStitched) -> Result<RenditionAssessed, StageError> {
        let assess = Assess::new(self.engine.clone());
        assess.process(event.clone(), &self.context()).await.map(|mut events| events.remove(0))
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_slice(&self.doors.blobs.read(key).await.unwrap()).unwrap()
    }

    /// What the encoders said.
    pub async fn told(&self) -> Quality {
        self.read(&quality::key(self.job)).await
    }

    /// A report and its frames.
    pub async fn report(&self, event: &RenditionAssessed) -> (RenditionQuality, Vec<Row>) {
        let report: RenditionQuality = self.read(&self.doors.blobs.resolve(&event.report.uri).unwrap()).await;
        let rows = self.rows(&report).await;
        (report, rows)
    }

    /// The frames of a report.
    pub async fn rows(&self, report: &RenditionQuality) -> Vec<Row> {
        let key = self.doors.blobs.resolve(&report.table.uri).unwrap();
        table::unpack(&self.doors.blobs.read(&key).await.unwrap()).unwrap()
    }

    /// The progressive file of `quality`.
    pub async fn file(&self, quality: &str) -> PathBuf {
        let manifest: Manifest = self.read(&schemas::manifest::key(self.job)).await;
        let rendition = manifest.renditions.iter().find(|one| one.quality == quality).unwrap();
        let mut file = Vec::new();
        for part in &rendition.progressive.as_ref().unwrap().parts {
            let blob = self.doors.blobs.read(&part.key).await.unwrap();
            file.extend_from_slice(&blob[part.offset as usize..(part.offset + part.size) as usize]);
        }
        let path = self.folder.path().join(format!("{quality}.mp4"));
        std::fs::write(&path, file).unwrap();
        path
    }
}
