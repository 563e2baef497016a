//! A range of video: one decode, every rung.

use std::sync::mpsc::{Receiver, Sender, channel};

use ffmpeg_next as ff;
use schemas::source::VideoTrack;

use super::decode::Decoder;
use super::encode;
use super::picture::Pictures;
use super::probe::{frame_ticks, rescale};
use super::rung::{Lane, Piece};
use super::source::Source;
use super::{Code, Encoded, EncodedRendition, Error, Sink, VideoTask};

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
        if !work.take(&frame, sink)? {
            break;
        }
    }
    let last_duration = work.last_duration(&frame);
    work.finish(next_start, last_duration, decoder.damaged, sink)
}

/// Everything between the decoder and the sink.
struct Work<'a> {
    task: &'a VideoTask,
    track: &'a VideoTrack,
    pictures: Option<Pictures>,
    lanes: Vec<Lane>,
    /// What the lanes have made.
    pieces: Receiver<Piece>,
    /// How they hand it over; none when all of them have their own.
    hand: Option<Sender<Piece>>,
    frames_in: u64,
    previous: Option<i64>,
    gop_start: Option<i64>,
    origin: i64,
}

impl<'a> Work<'a> {
    fn new(task: &'a VideoTask) -> Self {
        let track = &task.media.video;
        let (scale, _) = encode::timescale(track);
        let (hand, pieces) = channel();
        let microsecond = schemas::source::Ratio { num: 1, den: 1_000_000 };
        Self {
            task,
            track,
            pictures: None,
            lanes: Vec::new(),
            pieces,
            hand: Some(hand),
            frames_in: 0,
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

    /// Takes a frame in; false: an encoder has failed, and the end says how.
    fn take(&mut self, frame: &ff::frame::Video, sink: &mut dyn Sink) -> Result<bool, Error> {
        self.frames_in += 1;
        let mut taken = true;
        if !self.pictures.as_ref().is_some_and(|pictures| pictures.fits(frame)) {
            taken = self.drain_pictures()?;
            self.pictures = Some(Pictures::new(self.track, &self.task.rungs, frame)?);
        }
        if let Some(pictures) = &mut self.pictures {
            pictures.push(frame)?;
        }
        taken &= self.pull_pictures()?;
        for (rendition, bytes) in self.pieces.try_iter() {
            sink.bytes(rendition, &bytes)?;
        }
        if self.frames_in.is_multiple_of(REPORT_EVERY) {
            sink.progress(self.frames_in)?;
        }
        Ok(taken)
    }

    fn drain_pictures(&mut self) -> Result<bool, Error> {
        if let Some(pictures) = &mut self.pictures {
            pictures.finish()?;
        }
        self.pull_pictures()
    }

    fn pull_pictures(&mut self) -> Result<bool, Error> {
        loop {
            let Some(pictures) = &mut self.pictures else { return Ok(true) };
            let Some(scaled) = pictures.pull()? else { return Ok(true) };
            if !self.encode_pictures(scaled)? {
                return Ok(false);
            }
        }
    }

    fn encode_pictures(&mut self, scaled: Vec<ff::frame::Video>) -> Result<bool, Error> {
        if let Some(hand) = self.hand.take() {
            for (index, (rung, like)) in self.task.rungs.iter().zip(&scaled).enumerate() {
                self.lanes.push(Lane::open(index, self.track, rung, like, hand.clone())?);
            }
        }
        let source_pts = scaled
            .first()
            .and_then(|picture| picture.pts())
            .ok_or_else(|| Error::new(Code::EncoderFailed, "the filters lost a presentation time"))?;
        let pts = encode::output_ticks(self.track, source_pts) - self.origin;
        let key = self.starts_group(pts);
        Ok(self.lanes.iter().zip(scaled).all(|(lane, picture)| lane.push(picture, pts, key)))
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

    fn finish(
        mut self,
        next_start: Option<i64>,
        last_duration: i64,
        damaged: u64,
        sink: &mut dyn Sink,
    ) -> Result<Encoded, Error> {
        self.drain_pictures()?;
        drop(self.hand.take());
        let next = next_start.map(|pts| encode::output_ticks(self.track, pts) - self.origin);
        for lane in &self.lanes {
            lane.end(next, last_duration);
        }
        let mut renditions =
            self.lanes.into_iter().map(Lane::close).collect::<Result<Vec<EncodedRendition>, Error>>()?;
        for (rendition, bytes) in self.pieces {
            sink.bytes(rendition, &bytes)?;
        }
        sink.progress(self.frames_in)?;
        if renditions.is_empty() {
            // A range in which nothing is shown, or nothing can be decoded: the ledger says what that means.
            let nothing =
                EncodedRendition { timescale: encode::timescale(self.track).0, ..EncodedRendition::default() };
            renditions = vec![nothing; self.task.rungs.len()];
        }
        Ok(Encoded { frames_in: self.frames_in, damaged, renditions, encoder: encode::build() })
    }
}
