//! A range of video: one decode, every rung.

use std::collections::VecDeque;

use ffmpeg_next as ff;
use schemas::manifest::samples::Sample;
use schemas::source::VideoTrack;

use super::boxes::{Fragments, VideoInit, video_init};
use super::decode::Decoder;
use super::encode::{self, Encoder, Packet};
use super::picture::Pictures;
use super::probe::{frame_ticks, rescale};
use super::source::Source;
use super::{Code, Encoded, EncodedRendition, Error, SHIFT_DIVISOR, Sink, VideoTask};

/// Seconds between keyframes.
const GOP_SECONDS: i64 = 2;
/// Frames between two reports of progress.
const REPORT_EVERY: u64 = 12;

/// Encodes `task`.
pub fn encode(source: Source, task: &VideoTask, sink: &mut dyn Sink) -> Result<Encoded, Error> {
    let mut work = Work::new(task);
    let mut decoder = Decoder::open(source, task.media.video.index, task.decode_from)?;
    let mut frame = ff::frame::Video::empty();
    let mut next_start = None;
    while decoder.next(&mut frame)? {
        let Some(pts) = work.presentation_time(&frame, task) else {
            decoder.damaged += 1;
            continue;
        };
        if task.start.is_some_and(|start| pts < start) {
            continue;
        }
        if task.end.is_some_and(|end| pts >= end) {
            next_start = Some(pts);
            break;
        }
        frame.set_pts(Some(pts));
        work.take(&frame, sink)?;
    }
    let last_duration = work.last_duration(&frame);
    work.finish(next_start, last_duration, sink)?;
    work.result(decoder.damaged)
}

/// Everything between the decoder and the sink.
struct Work<'a> {
    task: &'a VideoTask,
    track: &'a VideoTrack,
    pictures: Option<Pictures>,
    rungs: Vec<RungWork>,
    frames_in: u64,
    frames_out: u64,
    previous: Option<i64>,
    gop_start: Option<i64>,
    origin: i64,
}

impl<'a> Work<'a> {
    fn new(task: &'a VideoTask) -> Self {
        let track = &task.media.video;
        let (scale, _) = encode::timescale(track);
        let microsecond = schemas::source::Ratio { num: 1, den: 1_000_000 };
        Self {
            task,
            track,
            pictures: None,
            rungs: Vec::new(),
            frames_in: 0,
            frames_out: 0,
            previous: None,
            gop_start: None,
            origin: rescale(task.media.origin_us, microsecond, i64::from(scale)),
        }
    }

    /// The frame's time, mended where the container gives none: one frame after the last.
    fn presentation_time(&mut self, frame: &ff::frame::Video, task: &VideoTask) -> Option<i64> {
        let step = frame_ticks(self.track);
        let pts = match (frame.timestamp(), self.previous) {
            (Some(pts), None) => pts,
            (Some(pts), Some(previous)) if pts > previous => pts,
            // Without an end there is no neighbour to collide with.
            (_, Some(previous)) if task.end.is_none() => previous + step,
            (_, Some(previous)) => previous + 1,
            (None, None) => task.start.unwrap_or(self.track.start),
        };
        self.previous = Some(pts);
        Some(pts)
    }

    fn take(&mut self, frame: &ff::frame::Video, sink: &mut dyn Sink) -> Result<(), Error> {
        self.frames_in += 1;
        if !self.pictures.as_ref().is_some_and(|pictures| pictures.fits(frame)) {
            self.drain_pictures(sink)?;
            self.pictures = Some(Pictures::new(self.track, &self.task.rungs, frame)?);
        }
        if let Some(pictures) = &mut self.pictures {
            pictures.push(frame)?;
        }
        self.pull_pictures(sink)?;
        if self.frames_in.is_multiple_of(REPORT_EVERY) {
            sink.progress(self.frames_in)?;
        }
        Ok(())
    }

    fn drain_pictures(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        if let Some(pictures) = &mut self.pictures {
            pictures.finish()?;
        }
        self.pull_pictures(sink)
    }

    fn pull_pictures(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        loop {
            let Some(pictures) = &mut self.pictures else { return Ok(()) };
            let Some(scaled) = pictures.pull()? else { return Ok(()) };
            self.encode_pictures(scaled, sink)?;
        }
    }

    fn encode_pictures(&mut self, scaled: Vec<ff::frame::Video>, sink: &mut dyn Sink) -> Result<(), Error> {
        if self.rungs.is_empty() {
            for (rung, like) in self.task.rungs.iter().zip(&scaled) {
                self.rungs.push(RungWork::open(self.track, rung, like)?);
            }
        }
        let source_pts = scaled
            .first()
            .and_then(|picture| picture.pts())
            .ok_or_else(|| Error::new(Code::EncoderFailed, "the filters lost a presentation time"))?;
        let pts = encode::output_ticks(self.track, source_pts) - self.origin;
        let key = self.starts_group(pts);
        self.frames_out += 1;
        for (index, (rung, mut picture)) in self.rungs.iter_mut().zip(scaled).enumerate() {
            rung.pending.push_back(pts);
            rung.encoder.push(&mut picture, pts, key)?;
            rung.collect(index, sink)?;
        }
        Ok(())
    }

    /// Groups begin on a grid of two seconds from the first frame of the chunk; a short rest joins the last group.
    fn starts_group(&mut self, pts: i64) -> bool {
        let (scale, _) = encode::timescale(self.track);
        let scale = i64::from(scale);
        let begins = match self.gop_start {
            None => true,
            Some(start) => {
                let end = encode::output_ticks(self.track, self.task.end.unwrap_or(self.track.end)) - self.origin;
                pts - start >= GOP_SECONDS * scale && end - pts >= scale / 2
            }
        };
        if begins {
            self.gop_start = Some(pts);
        }
        begins
    }

    /// How long the last frame of the source is shown, output ticks.
    fn last_duration(&self, frame: &ff::frame::Video) -> i64 {
        let own = frame.packet().duration;
        let ticks = if own > 0 && own <= self.track.longest_gap.max(frame_ticks(self.track)) {
            own
        } else {
            frame_ticks(self.track)
        };
        encode::output_ticks(self.track, ticks).max(1)
    }

    fn finish(&mut self, next_start: Option<i64>, last_duration: i64, sink: &mut dyn Sink) -> Result<(), Error> {
        self.drain_pictures(sink)?;
        let end = next_start.map(|pts| encode::output_ticks(self.track, pts) - self.origin);
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            rung.encoder.finish()?;
            rung.collect(index, sink)?;
            rung.close(index, end, last_duration, sink)?;
        }
        sink.progress(self.frames_in)
    }

    fn result(self, damaged: u64) -> Result<Encoded, Error> {
        if self.rungs.is_empty() {
            // A range in which nothing is shown, or nothing can be decoded: the ledger says what that means.
            let nothing =
                EncodedRendition { timescale: encode::timescale(self.track).0, ..EncodedRendition::default() };
            let renditions = vec![nothing; self.task.rungs.len()];
            return Ok(Encoded { frames_in: self.frames_in, damaged, renditions, encoder: encode::build() });
        }
        let renditions = self
            .rungs
            .into_iter()
            .zip(&self.task.rungs)
            .map(|(work, rung)| work.result(rung))
            .collect::<Result<_, _>>()?;
        Ok(Encoded { frames_in: self.frames_in, damaged, renditions, encoder: encode::build() })
    }
}

/// One rung: its encoder, and the group of pictures that is being collected.
struct RungWork {
    encoder: Encoder,
    timescale: u32,
    shift: i64,
    /// Times of pictures that the encoder has and of which no packet has come yet, with those of the open group.
    pending: VecDeque<i64>,
    group: Vec<Packet>,
    fragments: Fragments,
    first_pts: Option<i64>,
    last_pts: i64,
    end_pts: i64,
    keyframes: u32,
}

impl RungWork {
    fn open(track: &VideoTrack, rung: &schemas::ladder::Rung, like: &ff::frame::Video) -> Result<Self, Error> {
        let (timescale, _) = encode::timescale(track);
        Ok(Self {
            encoder: Encoder::open(track, rung, like)?,
            timescale,
            shift: i64::from(timescale / SHIFT_DIVISOR),
            pending: VecDeque::new(),
            group: Vec::new(),
            fragments: Fragments::new(timescale),
            first_pts: None,
            last_pts: 0,
            end_pts: 0,
            keyframes: 0,
        })
    }

    fn collect(&mut self, index: usize, sink: &mut dyn Sink) -> Result<(), Error> {
        while let Some(packet) = self.encoder.pull()? {
            if packet.key && !self.group.is_empty() {
                let end = packet.pts;
                self.write_group(index, end, sink)?;
            }
            self.group.push(packet);
        }
        Ok(())
    }

    /// Writes the last group; without a following frame it ends after `last_duration`.
    fn close(&mut self, index: usize, end: Option<i64>, last_duration: i64, sink: &mut dyn Sink) -> Result<(), Error> {
        let latest = self.group.iter().map(|packet| packet.pts).max();
        match latest {
            Some(latest) => self.write_group(index, end.unwrap_or(latest + last_duration).max(latest + 1), sink),
            None => Ok(()),
        }
    }

    /// One closed group as a fragment: decode times are the sorted presentation times.
    fn write_group(&mut self, index: usize, end: i64, sink: &mut dyn Sink) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        let decode: Vec<i64> = self.pending.drain(..group.len().min(self.pending.len())).collect();
        let mut samples = Vec::with_capacity(group.len());
        let mut data = Vec::with_capacity(group.iter().map(|packet| packet.data.len()).sum());
        let odd = || Error::new(Code::EncoderFailed, "the encoder gave pictures in an order that cannot be stored");
        for (position, packet) in group.iter().enumerate() {
            let time = *decode.get(position).ok_or_else(odd)?;
            let next = decode.get(position + 1).copied().unwrap_or(end);
            samples.push(Sample {
                size: u32::try_from(packet.data.len()).map_err(|_| odd())?,
                duration: u32::try_from(next - time).map_err(|_| odd())?,
                composition_offset: u32::try_from(packet.pts + self.shift - time).map_err(|_| odd())?,
                sync: packet.key,
            });
            data.extend_from_slice(&packet.data);
        }
        let start = *decode.first().ok_or_else(odd)?;
        self.first_pts.get_or_insert(start);
        self.last_pts = *decode.last().ok_or_else(odd)?;
        self.end_pts = end;
        self.keyframes += u32::try_from(group.iter().filter(|packet| packet.key).count()).unwrap_or(0);
        let bytes = self.fragments.write(start, &samples, &data)?;
        sink.bytes(index, &bytes)
    }

    fn result(self, rung: &schemas::ladder::Rung) -> Result<EncodedRendition, Error> {
        let init = video_init(&VideoInit {
            sps: &self.encoder.sps,
            pps: &self.encoder.pps,
            width: rung.width,
            height: rung.height,
            timescale: self.timescale,
            shift: self.shift.unsigned_abs(),
        })?;
        Ok(EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: self.timescale,
            frames: self.fragments.samples.len() as u64,
            samples: self.fragments.packed(),
            fragments: self.fragments.list,
            first_pts: self.first_pts.unwrap_or(0),
            last_pts: self.last_pts,
            end_pts: self.end_pts,
            keyframes: self.keyframes,
        })
    }
}
