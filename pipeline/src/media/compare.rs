//! A rendition beside its source: both are decoded, the source is made into what the encoder was given, and FFmpeg's own filters
//! `psnr` and `ssim` compare picture with picture.
//!
//! Pictures belong together when they are shown at the same time. Where the source has one that the rendition lacks, or the other
//! way round, as damage may have it, that is counted and nothing else is put in its place. Of both sides only a few pictures
//! are in memory at a time, however long they are.

use std::collections::VecDeque;
use std::io::Read;

use ffmpeg_next as ff;
use schemas::source::{Ratio, VideoTrack};

use super::decode::Decoder;
use super::picture::Pictures;
use super::probe::{frame_ticks, rescale};
use super::source::Source;
use super::{Code, CompareTask, Compared, Error, Sink, Vmaf, encode, library};

mod vmaf;

/// Pictures between two reports of progress.
const REPORT_EVERY: u64 = 25;
/// Figures of VMAF that are handed over together.
const AT_ONCE: usize = 1024;
/// What is measured: names of the filters' figures, in the order of [`Figures::values`].
const MEASURED: [&str; 4] = ["lavfi.psnr.psnr.y", "lavfi.psnr.psnr_avg", "lavfi.ssim.Y", "lavfi.ssim.All"];
/// The filters: the first input is the rendition, the second one what it was made of.
const FILTERS: &str = "[reference]split[r0][r1];[rendition][r0]psnr[p];[p][r1]ssim[out]";
/// The same with one more after them.
const MORE_FILTERS: &str = "[reference]split=3[r0][r1][r2];[rendition][r0]psnr[p];[p][r1]ssim[q];[q][r2]";

/// The figures of one picture of a rendition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// When it is shown, ticks of the output.
    pub pts: i64,
    /// PSNR of luma and over all planes in decibels, infinite for what is the same; SSIM of luma and over all planes. Absent when
    /// the source has no picture at that time.
    pub values: Option<[f64; 4]>,
}

impl Figures {
    /// Bytes of one.
    const SIZE: usize = 40;

    /// Eight bytes each, big-endian; what is absent is no number.
    pub fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.pts.to_be_bytes());
        for (place, value) in bytes[8..].chunks_exact_mut(8).zip(self.values.unwrap_or([f64::NAN; 4])) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Reads a run of them, of the length that it was written in.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::SIZE).map(|one| {
            let eight = |at: usize| one[at..at + 8].try_into().unwrap_or([0; 8]);
            let values = [8, 16, 24, 32].map(|at| f64::from_be_bytes(eight(at)));
            let is_there = values.iter().all(|value| !value.is_nan());
            Self { pts: i64::from_be_bytes(eight(0)), values: is_there.then_some(values) }
        })
    }
}

/// A picture and when it is shown, ticks of the output.
type Shown = (i64, ff::frame::Video);

/// Compares the rendition in `feed` with `source`; figures go to `sink` as bytes of rendition 0.
pub fn compare(
    source: Source,
    feed: Box<dyn Read + Send>,
    task: &CompareTask,
    sink: &mut dyn Sink,
) -> Result<Compared, Error> {
    let mut rendition = Rendition::open(feed, task)?;
    let mut reference = Reference::open(source, task)?;
    let vmaf = vmaf::state();
    let mut meter = Meter::new(task, vmaf)?;
    let (mut frames, mut compared, mut missing) = (0, 0, 0);
    let mut beside = reference.next()?;
    while let Some((pts, picture)) = rendition.next()? {
        frames += 1;
        while beside.as_ref().is_some_and(|(at, _)| *at < pts) {
            missing += 1;
            beside = reference.next()?;
        }
        match beside.take_if(|(at, _)| *at == pts) {
            Some((_, of_source)) => {
                compared += 1;
                meter.push(pts, picture, of_source)?;
                beside = reference.next()?;
            }
            None => meter.skip(pts),
        }
        meter.pull(sink)?;
        if frames % REPORT_EVERY == 0 {
            sink.progress(frames)?;
        }
    }
    while beside.is_some() {
        missing += 1;
        beside = reference.next()?;
    }
    meter.finish(sink)?;
    sink.progress(frames)?;
    Ok(Compared { frames, compared, missing, maker: maker(vmaf), vmaf })
}

/// Whether a filter that is there opens pipes by their paths.
pub fn needs_pipes() -> bool {
    vmaf::is_there()
}

/// What measures, with its version.
pub fn maker(vmaf: Vmaf) -> String {
    let filters = library::versions().into_iter().find(|(name, _)| *name == "libavfilter");
    let version = filters.map_or_else(String::new, |(_, version)| version);
    let what = if vmaf == Vmaf::Measured { "psnr, ssim and libvmaf" } else { "psnr and ssim" };
    format!("{what} of libavfilter {version}")
}

/// The pictures of the rendition.
struct Rendition {
    decoder: Decoder,
    /// When the first picture is shown by the plan.
    first: i64,
    /// What is to be taken from the times of the container.
    shift: Option<i64>,
}

impl Rendition {
    fn open(feed: Box<dyn Read + Send>, task: &CompareTask) -> Result<Self, Error> {
        let decoder = Decoder::open(Source::feed(feed)?, 0, None)?;
        Ok(Self { decoder, first: task.chunks.first().copied().unwrap_or(0), shift: None })
    }

    fn next(&mut self) -> Result<Option<Shown>, Error> {
        let mut frame = ff::frame::Video::empty();
        if !self.decoder.next(&mut frame)? {
            return Ok(None);
        }
        let lost = || Error::new(Code::DamagedMedia, "a picture of the rendition has no time");
        let pts = frame.timestamp().ok_or_else(lost)?;
        // Some demuxers take the edit list into account and some do not.
        let shift = *self.shift.get_or_insert(pts - self.first);
        Ok(Some((pts - shift, frame)))
    }
}

/// The pictures of the source, as the encoder was given them.
struct Reference<'a> {
    task: &'a CompareTask,
    track: &'a VideoTrack,
    decoder: Decoder,
    pictures: Option<Pictures>,
    /// Pictures that are made and not taken.
    ready: VecDeque<Shown>,
    is_interlaced: bool,
    previous: Option<i64>,
    /// Chunks that have begun.
    begun: usize,
    origin: i64,
    is_over: bool,
}

impl<'a> Reference<'a> {
    fn open(source: Source, task: &'a CompareTask) -> Result<Self, Error> {
        let track = &task.media.video;
        let (scale, _) = encode::timescale(track);
        let microsecond = Ratio { num: 1, den: 1_000_000 };
        Ok(Self {
            task,
            track,
            decoder: Decoder::open(source, track.index, None)?,
            pictures: None,
            ready: VecDeque::new(),
            is_interlaced: track.interlaced,
            previous: None,
            begun: 1,
            origin: rescale(task.media.origin_us, microsecond, i64::from(scale)),
            is_over: false,
        })
    }

    fn next(&mut self) -> Result<Option<Shown>, Error> {
        while self.ready.is_empty() && !self.is_over {
            let mut frame = ff::frame::Video::empty();
            if self.decoder.next(&mut frame)? {
                self.take(&mut frame)?;
            } else {
                self.is_over = true;
                self.close()?;
            }
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, frame: &mut ff::frame::Video) -> Result<(), Error> {
        let pts = self.presentation_time(frame);
        frame.set_pts(Some(pts));
        self.begin_chunk(pts)?;
        self.is_interlaced |= frame.is_interlaced();
        if !self.pictures.as_ref().is_some_and(|pictures| pictures.fits(frame, self.is_interlaced)) {
            self.close()?;
            let rungs = std::slice::from_ref(&self.task.rung);
            let largest = self.task.largest.as_ref().or(rungs.first());
            self.pictures = Some(Pictures::below(self.track, largest, rungs, frame, self.is_interlaced)?);
        }
        if let Some(pictures) = &mut self.pictures {
            pictures.push(frame)?;
        }
        self.pull()
    }

    /// The frame's time, mended as for the encoder.
    fn presentation_time(&mut self, frame: &ff::frame::Video) -> i64 {
        let step = if self.task.chunks.len() > 1 { 1 } else { frame_ticks(self.track) };
        let pts = match (frame.timestamp(), self.previous) {
            (Some(pts), Some(previous)) if pts <= previous => previous + step,
            (Some(pts), _) => pts,
            (None, Some(previous)) => previous + step,
            (None, None) => self.track.start,
        };
        self.previous = Some(pts);
        pts
    }

    /// Where fields are woven from one picture to the next, each chunk began anew.
    fn begin_chunk(&mut self, pts: i64) -> Result<(), Error> {
        let at = self.output(pts);
        let begun = self.task.chunks.partition_point(|start| *start <= at).max(1);
        if begun > self.begun {
            self.begun = begun;
            if self.is_interlaced {
                self.close()?;
                self.pictures = None;
                self.is_interlaced = self.track.interlaced;
            }
        }
        Ok(())
    }

    /// `pts` of the source in ticks of the output.
    fn output(&self, pts: i64) -> i64 {
        (encode::output_ticks(self.track, pts) - self.origin).max(0)
    }

    /// Takes what the filters have kept back.
    fn close(&mut self) -> Result<(), Error> {
        if let Some(pictures) = &mut self.pictures {
            pictures.finish()?;
        }
        self.pull()
    }

    fn pull(&mut self) -> Result<(), Error> {
        while let Some(pictures) = &mut self.pictures {
            let Some(picture) = pictures.pull()?.and_then(|mut scaled| scaled.pop()) else { break };
            let lost = || Error::new(Code::EncoderFailed, "the filters lost a presentation time");
            let pts = picture.pts().ok_or_else(lost)?;
            self.ready.push_back((self.output(pts), picture));
        }
        Ok(())
    }
}

/// The filters that compare.
struct Meter {
    graph: ff::filter::Graph,
    /// What the filter of VMAF will say in the end.
    log: Option<vmaf::Log>,
    /// Pictures that were pushed.
    pushed: i64,
    /// Times of pictures whose figures have not come yet, and whether any will.
    waiting: VecDeque<(i64, bool)>,
}

fn failed(error: ff::Error) -> Error {
    Error::new(Code::EncoderFailed, format!("compare pictures: {error}"))
}

impl Meter {
    fn new(task: &CompareTask, vmaf: Vmaf) -> Result<Self, Error> {
        let log = (vmaf == Vmaf::Measured).then(vmaf::Log::open).transpose()?;
        let filters = log.as_ref().map(|log| format!("{MORE_FILTERS}{}[out]", log.filter()));
        let mut graph = ff::filter::Graph::new();
        super::picture::in_one_thread(&mut graph);
        let source = ff::filter::find("buffer").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let sink = ff::filter::find("buffersink").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let arguments = format!(
            "video_size={}x{}:pix_fmt=yuv420p:time_base=1/25:pixel_aspect=1/1",
            task.rung.width, task.rung.height
        );
        for name in ["rendition", "reference"] {
            graph.add(&source, name, &arguments).map_err(failed)?;
        }
        graph.add(&sink, "out", "").map_err(failed)?;
        let parser = graph.output("rendition", 0).and_then(|parser| parser.output("reference", 0));
        let parser = parser.and_then(|parser| parser.input("out", 0)).map_err(failed)?;
        parser.parse(filters.as_deref().unwrap_or(FILTERS)).map_err(failed)?;
        graph.validate().map_err(failed)?;
        Ok(Self { graph, log, pushed: 0, waiting: VecDeque::new() })
    }

    fn filter(&mut self, name: &str) -> Result<ff::filter::Context, Error> {
        self.graph.get(name).ok_or_else(|| Error::new(Code::EncoderFailed, "the filters have lost an end"))
    }

    /// Gives two pictures that are shown at `pts`. They are numbered anew, so that the filters take them for a pair.
    fn push(&mut self, pts: i64, picture: ff::frame::Video, of_source: ff::frame::Video) -> Result<(), Error> {
        for (name, mut picture) in [("rendition", picture), ("reference", of_source)] {
            picture.set_pts(Some(self.pushed));
            self.filter(name)?.source().add(&picture).map_err(failed)?;
        }
        self.pushed += 1;
        self.waiting.push_back((pts, true));
        Ok(())
    }

    /// Takes note of a picture of the rendition without one of the source.
    fn skip(&mut self, pts: i64) {
        self.waiting.push_back((pts, false));
    }

    /// Hands on the figures that are ready.
    fn pull(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut out = self.filter("out")?;
        loop {
            while let Some((pts, false)) = self.waiting.front().copied() {
                self.waiting.pop_front();
                sink.bytes(0, &Figures { pts, values: None }.bytes())?;
            }
            let mut picture = ff::frame::Video::empty();
            match out.sink().frame(&mut picture) {
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(()),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
            let Some((pts, _)) = self.waiting.pop_front() else {
                return Err(Error::new(Code::EncoderFailed, "the filters gave a picture too many"));
            };
            sink.bytes(0, &Figures { pts, values: Some(figures(&picture)?) }.bytes())?;
        }
    }

    fn finish(mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        for name in ["rendition", "reference"] {
            self.filter(name)?.source().flush().map_err(failed)?;
        }
        self.pull(sink)?;
        if !self.waiting.is_empty() {
            return Err(Error::new(Code::EncoderFailed, "the filters gave no figures for some pictures"));
        }
        let Some(log) = self.log else { return Ok(()) };
        drop(self.graph);
        let figures = log.close()?;
        if usize::try_from(self.pushed) != Ok(figures.len()) {
            let what = format!("the filters gave VMAF of {} pictures instead of {}", figures.len(), self.pushed);
            return Err(Error::new(Code::EncoderFailed, what));
        }
        for some in figures.chunks(AT_ONCE) {
            sink.bytes(1, &some.iter().flat_map(|figure| figure.to_be_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(())
    }
}

/// What the filters have written beside `picture`.
fn figures(picture: &ff::frame::Video) -> Result<[f64; 4], Error> {
    let beside = picture.metadata();
    let mut values = [0.0; 4];
    for (value, name) in values.iter_mut().zip(MEASURED) {
        let figure = beside.get(name).and_then(|text| text.trim().parse().ok());
        *value = figure.ok_or_else(|| Error::new(Code::EncoderFailed, format!("the filters do not say {name}")))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_back() {
        let some = Figures { pts: 7, values: Some([40.5, f64::INFINITY, 0.9, 1.0]) };
        let none = Figures { pts: -1, values: None };
        let bytes = [some.bytes(), none.bytes()].concat();
        assert_eq!(Figures::read(&bytes).collect::<Vec<_>>(), [some, none]);
        assert_eq!(Figures::read(&bytes[..39]).count(), 0);
    }
}
