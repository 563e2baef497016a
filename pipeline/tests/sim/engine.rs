//! Media work without media: a source says what it is, and what is encoded says which frames it holds.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use pipeline::media::boxes::{AudioInit, Fragments, VideoInit, audio_init, video_init};
use pipeline::media::compare::Figures;
use pipeline::media::illustrate::{Illustrated, Sheet, Still};
use pipeline::media::signals::Measured;
use pipeline::media::{
    AudioTask, Code, CompareTask, Compared, Encoded, EncodedRendition, Engine, Error, Feed, Output, Probed, Request,
    Response, Run, Sampled, VideoTask, Vmaf,
};
use schemas::ladder::Rung;
use schemas::manifest::samples::Sample;
use schemas::source::{AudioTrack, Media, Ratio, Transfer, VideoTrack};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::life::Life;
use super::{World, locked};

/// Milliseconds of a frame; times are in milliseconds.
const FRAME_MS: i64 = 40;
/// Sound samples of a packet.
const PACKET: u64 = 1024;
/// Sound samples of a millisecond.
const SAMPLES_PER_MS: u64 = 48;
/// Every source begins like this.
const MAGIC: &[u8; 28] = b"\0\0\0\x1cftypisom\0\0\x02\0isomiso2mp41";

/// How work on a source goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Well.
    Good,
    /// Twice it fails, then well.
    Flaky,
    /// It is no video.
    Broken,
    /// It can be probed, and encoding it fails each time.
    Crashing,
}

/// What a source is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Tells sources apart.
    pub number: u64,
    /// How work on it goes.
    pub kind: Kind,
    /// Frames.
    pub frames: u64,
    /// Frames from one keyframe to the next.
    pub gop: u64,
    /// Whether there is sound.
    pub sound: bool,
    /// Whether it is large enough for a second rendition.
    pub large: bool,
}

impl Spec {
    /// The source.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(serde_json::to_vec(self).expect("JSON"));
        bytes
    }

    /// What `bytes` are, when they are a source.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes.strip_prefix(MAGIC)?).ok()
    }

    /// Length in milliseconds.
    fn end(&self) -> i64 {
        self.frames as i64 * FRAME_MS
    }

    fn media(&self) -> Media {
        let (width, height) = if self.large { (1280, 720) } else { (640, 360) };
        Media {
            container: "mp4".into(),
            demuxer: "mov".into(),
            origin_us: 0,
            duration_us: self.end() * 1000,
            video: VideoTrack {
                index: 0,
                codec: "h264".into(),
                width,
                height,
                fps: Ratio { num: 25, den: 1 },
                rotation: 0,
                mirrored: false,
                sar: Ratio { num: 1, den: 1 },
                pixel_format: "yuv420p".into(),
                interlaced: false,
                transfer: Transfer::Sdr,
                time_base: Ratio { num: 1, den: 1000 },
                start: 0,
                end: self.end(),
                frames: self.frames,
                longest_gap: FRAME_MS,
            },
            audio: self.sound.then(|| AudioTrack {
                index: 1,
                codec: "aac".into(),
                channels: 2,
                sample_rate: 48_000,
                time_base: Ratio { num: 1, den: 48_000 },
                start: 0,
                end: self.end() * SAMPLES_PER_MS as i64,
            }),
        }
    }
}

/// The engine of one process.
#[derive(Clone)]
pub struct FakeEngine {
    /// The world.
    pub world: Arc<World>,
    /// The process.
    pub life: Arc<Life>,
    /// Version of its libraries: another one gives other bytes.
    pub build: &'static str,
}

impl Engine for FakeEngine {
    fn start(&self, request: &Request, mut source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(|error| Error::new(Code::EncoderFailed, error.to_string()))?;
        let took = self.world.dice().within(40..5_000);
        let mut outputs = Vec::new();
        let spec = Spec::read(&bytes);
        match spec {
            None => outputs.push(Err(Error::new(Code::UnsupportedMedia, "these bytes are no source of this world"))),
            Some(spec) if spec.kind == Kind::Broken => {
                outputs.push(Err(Error::new(Code::UnsupportedMedia, "the source is broken")));
            }
            Some(spec) if spec.kind == Kind::Flaky && self.flakes(spec.number) => {
                outputs.push(Err(Error::new(Code::MediaCrashed, "the media process crashed")));
            }
            Some(spec) => match request {
                Request::Probe => outputs.push(Ok(Output::Done(Response::Probed(Box::new(Probed {
                    media: spec.media(),
                    keyframes: (0..spec.frames).step_by(spec.gop as usize).map(|n| n as i64 * FRAME_MS).collect(),
                    warnings: Vec::new(),
                }))))),
                _ if spec.kind == Kind::Crashing => {
                    outputs.push(Err(Error::new(Code::MediaCrashed, "the media process crashed")));
                }
                Request::Video(task) => self.video(task, &spec, &mut outputs)?,
                Request::Audio(task) => self.audio(task, &spec, &mut outputs)?,
                Request::Compare(_) => outputs.push(Err(Error::new(Code::EncoderFailed, "there is no rendition"))),
                Request::Pictures(_) => self.pictures(&spec, &mut outputs),
                Request::Signals(_) => {
                    let measured = Measured { frames: spec.frames, ..Measured::default() };
                    outputs.push(Ok(Output::Done(Response::Measured(measured))));
                }
                // It is silent, and over at once.
                Request::Samples(_) => {
                    outputs.push(Ok(Output::Done(Response::Sampled(Sampled { samples: 0, damaged: 0 }))));
                }
            },
        }
        let pause = Duration::from_millis(took / outputs.len() as u64);
        outputs.reverse();
        Ok(Box::new(FakeRun { life: Arc::clone(&self.life), pause, outputs, compare: None }))
    }

    fn start_fed(&self, request: &Request, source: std::fs::File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        let Request::Compare(task) = request else { return self.start(request, source) };
        let pause = Duration::from_millis(self.world.dice().within(40..5_000));
        let compare = Compare { task: task.clone(), source, feed: Some(feed) };
        Ok(Box::new(FakeRun { life: Arc::clone(&self.life), pause, outputs: Vec::new(), compare: Some(compare) }))
    }

    fn build(&self) -> String {
        self.build.to_owned()
    }
}

/// A comparison that has not begun.
struct Compare {
    task: CompareTask,
    source: std::fs::File,
    feed: Option<Feed>,
}

impl Compare {
    /// Looks for each frame of the source in the rendition.
    async fn run(mut self) -> Result<Vec<Result<Output, Error>>, Error> {
        let broken = |what: &str| Error::new(Code::DamagedMedia, what.to_owned());
        let mut bytes = Vec::new();
        self.source.read_to_end(&mut bytes).map_err(|error| Error::new(Code::EncoderFailed, error.to_string()))?;
        let spec = Spec::read(&bytes).ok_or_else(|| broken("these bytes are no source of this world"))?;
        let mut rendition = Vec::new();
        let mut feed = self.feed.take().ok_or_else(|| broken("there is no rendition"))?;
        while let Some(piece) = feed.next().await {
            rendition.extend_from_slice(&piece?);
        }
        let text = String::from_utf8_lossy(&rendition);
        let quality = &self.task.rung.quality;
        let mut figures = Vec::new();
        for frame in 0..spec.frames {
            if text.contains(&format!("{frame} {quality} ")) {
                let values = Some([40.0, 40.0, 0.98, 0.98]);
                figures.push(Figures { pts: frame as i64 * FRAME_MS, values });
            }
        }
        let compared = figures.len() as u64;
        let (missing, maker) = (spec.frames - compared, "eyes".to_owned());
        let compared = Compared { frames: compared, compared, missing, maker, vmaf: Vmaf::NoFilter };
        let done = Output::Done(Response::Compared(compared));
        let bytes: Vec<u8> = figures.iter().flat_map(Figures::bytes).collect();
        Ok(vec![Ok(done), Ok(Output::Bytes(0, Bytes::from(bytes)))])
    }
}

impl FakeEngine {
    /// Whether this attempt at source `number` fails.
    fn flakes(&self, number: u64) -> bool {
        let chance = self.world.dice().chance(300);
        let mut flakes = locked(&self.world.flakes);
        let count = flakes.entry(number).or_default();
        if !chance || *count == 2 {
            return false;
        }
        *count += 1;
        drop(flakes);
        self.world.fault("an encoder crashes", &self.life.name, || "the encoder crashes".into());
        true
    }

    fn video(&self, task: &VideoTask, spec: &Spec, outputs: &mut Vec<Result<Output, Error>>) -> Result<(), Error> {
        let inside = |n: &u64| {
            let pts = *n as i64 * FRAME_MS;
            task.start.is_none_or(|start| pts >= start) && task.end.is_none_or(|end| pts < end)
        };
        let frames: Vec<u64> = (0..spec.frames).filter(inside).collect();
        let mut renditions = Vec::new();
        for (index, rung) in task.rungs.iter().enumerate() {
            let mut fragments = Fragments::new(1000);
            for group in frames.chunk_by(|_, next| next % spec.gop != 0) {
                let lines: Vec<String> =
                    group.iter().map(|frame| format!("{frame} {} {}\n", rung.quality, self.build)).collect();
                let sample = |(at, line): (usize, &String)| Sample {
                    size: line.len() as u32,
                    duration: FRAME_MS as u32,
                    composition_offset: 500,
                    sync: at == 0,
                };
                let samples: Vec<Sample> = lines.iter().enumerate().map(sample).collect();
                let bytes = fragments.write(group[0] as i64 * FRAME_MS, &samples, lines.concat().as_bytes())?;
                outputs.push(Ok(Output::Bytes(index, Bytes::from(bytes))));
            }
            renditions.push(self.rendition(rung, &fragments, &frames)?);
        }
        outputs.push(Ok(Output::Progress(frames.len() as u64)));
        let encoded = Encoded { frames_in: frames.len() as u64, damaged: 0, renditions, encoder: self.build.into() };
        outputs.push(Ok(Output::Done(Response::Encoded(encoded))));
        Ok(())
    }

    fn rendition(&self, rung: &Rung, fragments: &Fragments, frames: &[u64]) -> Result<EncodedRendition, Error> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return Ok(EncodedRendition { timescale: 1000, ..EncodedRendition::default() });
        };
        let init = video_init(&VideoInit {
            sps: &[0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10],
            pps: &[0x68, 0xeb, 0xe3, 0xcb],
            width: rung.width,
            height: rung.height,
            timescale: 1000,
            shift: 500,
        })?;
        Ok(EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: 1000,
            fragments: fragments.list.clone(),
            samples: fragments.packed(),
            frames: frames.len() as u64,
            first_pts: *first as i64 * FRAME_MS,
            last_pts: *last as i64 * FRAME_MS,
            end_pts: (*last as i64 + 1) * FRAME_MS,
            keyframes: fragments.list.len() as u32,
            psnr: schemas::quality::psnr::pack(frames.iter().map(|_| 40.0)),
        })
    }

    fn pictures(&self, spec: &Spec, outputs: &mut Vec<Result<Output, Error>>) {
        for name in ["poster", "sheet"] {
            let jpeg = format!("{name} of {} by {}", spec.number, self.build);
            outputs.push(Ok(Output::Bytes(outputs.len(), Bytes::from(jpeg))));
        }
        let made = Illustrated {
            frames: spec.frames,
            damaged: 0,
            shots: 1,
            transitions: Vec::new(),
            posters: vec![Still { width: 640, height: 360, at_us: 0, score: 0.5 }],
            sheet: Some(Sheet { tile_width: 160, tile_height: 90, columns: 1, starts_us: vec![0] }),
            thumbnails: Vec::new(),
        };
        outputs.push(Ok(Output::Done(Response::Illustrated(made))));
    }

    fn audio(&self, _task: &AudioTask, spec: &Spec, outputs: &mut Vec<Result<Output, Error>>) -> Result<(), Error> {
        let samples_in = spec.end() as u64 * SAMPLES_PER_MS;
        let packets: Vec<u64> = (0..samples_in.div_ceil(PACKET)).collect();
        let mut fragments = Fragments::new(48_000);
        for group in packets.chunks(100) {
            let lines: Vec<String> = group.iter().map(|packet| format!("{packet} audio {}\n", self.build)).collect();
            let sample = |line: &String| Sample {
                size: line.len() as u32,
                duration: PACKET as u32,
                composition_offset: 0,
                sync: true,
            };
            let samples: Vec<Sample> = lines.iter().map(sample).collect();
            let bytes = fragments.write((group[0] * PACKET) as i64, &samples, lines.concat().as_bytes())?;
            outputs.push(Ok(Output::Bytes(0, Bytes::from(bytes))));
        }
        let init =
            AudioInit { config: &[0x11, 0x90], channels: 2, sample_rate: 48_000, priming: PACKET, bitrate: 128_000 };
        let init = audio_init(&init)?;
        let rendition = EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: 48_000,
            samples: fragments.packed(),
            fragments: fragments.list,
            frames: packets.len() as u64,
            first_pts: 0,
            last_pts: (samples_in - 1) as i64,
            end_pts: samples_in as i64,
            keyframes: packets.len() as u32,
            psnr: Vec::new(),
        };
        let encoded =
            Encoded { frames_in: samples_in, damaged: 0, renditions: vec![rendition], encoder: self.build.into() };
        outputs.push(Ok(Output::Done(Response::Encoded(encoded))));
        Ok(())
    }
}

/// Outputs that come one after the other, the last one first in the list.
struct FakeRun {
    life: Arc<Life>,
    pause: Duration,
    outputs: Vec<Result<Output, Error>>,
    compare: Option<Compare>,
}

#[async_trait]
impl Run for FakeRun {
    async fn next(&mut self) -> Result<Output, Error> {
        sleep(self.pause).await;
        self.life.gate().await;
        if let Some(compare) = self.compare.take() {
            self.outputs = compare.run().await?;
        }
        self.outputs.pop().unwrap_or_else(|| Err(Error::new(Code::MediaCrashed, "it has ended already")))
    }
}
