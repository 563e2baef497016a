//! A range of video: one decode, every rung.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ffmpeg_next as ff;
use schemas::source::VideoTrack;

use super::cores::CORES;
use super::crew::Crew;
use super::decode::{Decoder, is_damaged};
use super::encode;
use super::picture::Pictures;
use super::probe::{frame_ticks, rescale};
use super::rung::{Picture, Piece, RungWork, Step};
use super::source::Source;
use super::{Code, Encoded, EncodedRendition, Error, Sink, VideoTask};

/// Seconds between keyframes.
const GOP_SECONDS: i64 = 2;
/// Keyframes before its own that a range may go back to.
const STEPS_BACK: u32 = 3;
/// Pictures that an encoder is given at once: it works on them with its own pictures in the caches of its core.
const AT_ONCE: usize = 8;
/// Frames between two reports of progress.
const REPORT_EVERY: u64 = 12;

/// Encodes `task`.
pub fn encode(source: Source, task: &VideoTask, sink: &mut dyn Sink) -> Result<Encoded, Error> {
    let mut work = Work::new(task);
    let mut decoder = Decoder::open(source, task.media.video.index, task.decode_from)?;
    let mut frame = ff::frame::Video::empty();
    let mut next_start = None;
    let mut start = Start { from: task.decode_from, left: STEPS_BACK };
    loop {
        let came = decoder.next(&mut frame)?;
        match start.judge(&decoder, &frame, came) {
            Verdict::Good => {}
            Verdict::TooEarly => continue,
            Verdict::Ruined => {
                if !decoder.go_back()? {
                    start.from = None;
                }
                work.previous = None;
                continue;
            }
        }
        if !came {
            break;
        }
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
        decoder.damaged += u64::from(is_damaged(&frame));
        frame.set_pts(Some(pts));
        work.take(&frame, sink)?;
    }
    work.finish(next_start, decoder.damaged, sink)
}

/// Where decoding begins, until it has proved good enough.
///
/// A keyframe may be destroyed, or need the pictures before it, as where blocks are refreshed in turn. One continuous decode
/// has those pictures, so a range goes back for them.
struct Start {
    /// The keyframe that was asked for, while nothing sound has come.
    from: Option<i64>,
    /// How often it may go back.
    left: u32,
}

enum Verdict {
    /// The frame is as one continuous decode would give it.
    Good,
    /// It comes before what was asked for, and may lack something.
    TooEarly,
    /// It lacks what lies further back.
    Ruined,
}

impl Start {
    fn judge(&mut self, decoder: &Decoder, frame: &ff::frame::Video, came: bool) -> Verdict {
        let Some(from) = self.from else { return Verdict::Good };
        let pts = frame.timestamp().filter(|_| came);
        let is_sound = came && (decoder.is_sound(frame, decoder.began) || pts == Some(from) && !is_damaged(frame));
        if is_sound || (came && pts.is_none()) {
            self.from = None;
            return Verdict::Good;
        }
        if pts.is_some_and(|pts| pts < from) {
            return Verdict::TooEarly;
        }
        if self.left == 0 {
            self.from = None;
            return Verdict::Good;
        }
        self.left -= 1;
        Verdict::Ruined
    }
}

/// Everything between the decoder and the sink.
struct Work<'a> {
    task: &'a VideoTask,
    track: &'a VideoTrack,
    pictures: Option<Pictures>,
    /// Whether pictures are made of fields: as the container says, or from the first one on that says so itself.
    is_interlaced: bool,
    /// The rungs; none before the first picture.
    crew: Option<Crew<RungWork>>,
    /// What they are given next.
    handful: Vec<Vec<Picture>>,
    /// What they have made.
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
            is_interlaced: track.interlaced,
            crew: None,
            handful: task.rungs.iter().map(|_| Vec::with_capacity(AT_ONCE)).collect(),
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

    /// Takes a frame in.
    fn take(&mut self, frame: &ff::frame::Video, sink: &mut dyn Sink) -> Result<(), Error> {
        self.frames_in += 1;
        self.is_interlaced |= frame.is_interlaced();
        if !self.pictures.as_ref().is_some_and(|pictures| pictures.fits(frame, self.is_interlaced)) {
            self.drain_pictures()?;
            let (rungs, largest) = (&self.task.rungs, self.task.largest.as_ref());
            let largest = largest.or(rungs.first());
            self.pictures = Some(Pictures::below(self.track, largest, rungs, frame, self.is_interlaced)?);
        }
        if let Some(pictures) = &mut self.pictures {
            pictures.push(frame)?;
        }
        self.pull_pictures()?;
        for (rendition, bytes) in self.pieces.try_iter() {
            sink.bytes(rendition, &bytes)?;
        }
        if self.frames_in.is_multiple_of(REPORT_EVERY) {
            sink.progress(self.frames_in)?;
        }
        Ok(())
    }

    fn drain_pictures(&mut self) -> Result<(), Error> {
        if let Some(pictures) = &mut self.pictures {
            pictures.finish()?;
        }
        self.pull_pictures()
    }

    fn pull_pictures(&mut self) -> Result<(), Error> {
        loop {
            let Some(pictures) = &mut self.pictures else { return Ok(()) };
            let Some(scaled) = pictures.pull()? else { return Ok(()) };
            self.encode_pictures(scaled)?;
        }
    }

    fn encode_pictures(&mut self, scaled: Vec<ff::frame::Video>) -> Result<(), Error> {
        if let Some(hand) = self.hand.take() {
            let rungs = self.task.rungs.iter().zip(&scaled).enumerate();
            let works = rungs.map(|(index, (rung, like))| RungWork::open(index, self.task, rung, like, hand.clone()));
            let works = works.collect::<Result<Vec<_>, Error>>()?;
            self.crew = Some(Crew::new(works, CORES.own(), Arc::new(|| CORES.idle())));
        }
        let source_pts = scaled
            .first()
            .and_then(|picture| picture.pts())
            .ok_or_else(|| Error::new(Code::EncoderFailed, "the filters lost a presentation time"))?;
        // The origin is told in microseconds, and a finer clock may begin a tick before it.
        let pts = (encode::output_ticks(self.track, source_pts) - self.origin).max(0);
        let key = self.starts_group(pts);
        for (pictures, frame) in self.handful.iter_mut().zip(scaled) {
            pictures.push(Picture { frame, pts, key });
        }
        if self.handful.iter().any(|pictures| pictures.len() >= AT_ONCE) { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let Some(crew) = &mut self.crew else { return Ok(()) };
        let take = |pictures| Step::Pictures(std::mem::replace(pictures, Vec::with_capacity(AT_ONCE)));
        crew.push(self.handful.iter_mut().map(take).collect())
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

    /// How long the last picture is shown when none follows it, output ticks: as long as the source shows its last one,
    /// or where others may follow that cannot be found from here, to the end of the range.
    fn last_duration(&self, is_damaged: bool) -> i64 {
        let end = self.task.end.filter(|_| is_damaged).unwrap_or(self.track.end);
        let own = self.previous.map_or(0, |last| end - last);
        let ticks = if own > 0 { own } else { frame_ticks(self.track) };
        // A container keeps a duration in 32 bits.
        encode::output_ticks(self.track, ticks).clamp(1, i64::from(u32::MAX))
    }

    fn finish(mut self, next_start: Option<i64>, damaged: u64, sink: &mut dyn Sink) -> Result<Encoded, Error> {
        let last_duration = self.last_duration(damaged > 0);
        self.drain_pictures()?;
        drop(self.hand.take());
        let next = next_start.map(|pts| encode::output_ticks(self.track, pts) - self.origin);
        self.hand_over()?;
        let works = match self.crew.take() {
            Some(mut crew) => {
                crew.push(self.task.rungs.iter().map(|_| Step::End(next, last_duration)).collect())?;
                crew.finish()?
            }
            None => Vec::new(),
        };
        let mut renditions =
            works.into_iter().map(RungWork::result).collect::<Result<Vec<EncodedRendition>, Error>>()?;
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
