//! Frames of a video once, in order, as tiny upright copies; on demand the same frame larger.
//!
//! Pictures that no other one is decoded from can be left out, which saves a third of the work, as long as they stand alone.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use ffmpeg_next::ffi;
use schemas::ladder::Rung;
use schemas::source::{Media, VideoTrack};

use super::planes::Planes;
use super::prints::Print;
use crate::media::decode::{Decoder, is_damaged};
use crate::media::picture::{Look, Pictures};
use crate::media::probe::{frame_ticks, rescale};
use crate::media::source::Source;
use crate::media::{Code, Error};

/// A frame.
pub struct Seen {
    /// When it is shown, microseconds from the beginning of the output.
    pub at_us: i64,
    /// Its tiny copy.
    pub tiny: Planes,
    /// What that looks like.
    pub print: Print,
    /// Whether parts of it are missing or made up.
    pub is_damaged: bool,
}

/// Longest step from one picture to the next while some are left out, frames: a cut is found within as many.
const LONGEST_STEP: i64 = 2;

/// Which frames a walk shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every one.
    Every,
    /// One in two at least; where the decoder can do without the others, they are left out.
    Brisk,
}

/// The frames of a video.
pub struct Walk {
    decoder: Decoder,
    track: VideoTrack,
    origin_us: i64,
    frame: ff::frame::Video,
    tiny: Scaler,
    large: Option<Scaler>,
    previous: Option<i64>,
    pace: Pace,
    /// Whether frames are made of fields: as the container says, or from the first one on that says so itself.
    is_interlaced: bool,
    /// Frames so far.
    pub frames: u64,
}

impl Walk {
    /// Begins with the first frame of `source`; tiny copies have the size `tiny`.
    pub fn open(source: Source, media: &Media, tiny: (u32, u32), pace: Pace) -> Result<Self, Error> {
        Ok(Self {
            decoder: Decoder::open(source, media.video.index, None)?,
            track: media.video.clone(),
            origin_us: media.origin_us,
            frame: ff::frame::Video::empty(),
            tiny: Scaler::new(Look::Tiny, tiny),
            large: None,
            previous: None,
            pace,
            is_interlaced: media.video.interlaced,
            frames: 0,
        })
    }

    /// The next frame; nothing at the end.
    pub fn step(&mut self) -> Result<Option<Seen>, Error> {
        loop {
            if !self.decoder.next(&mut self.frame)? {
                return Ok(None);
            }
            // What is shown before the keyframe that was sought lacks the pictures before it.
            let is_early = |began: i64| self.frame.timestamp().is_some_and(|pts| pts < began);
            if !self.decoder.began.is_some_and(is_early) {
                break;
            }
        }
        self.frames += 1;
        self.is_interlaced |= self.frame.is_interlaced();
        let before = self.previous;
        let pts = self.presentation_time();
        self.keep_pace(before, pts);
        let at_us = rescale(pts, self.track.time_base, 1_000_000).saturating_sub(self.origin_us).max(0);
        // So much smaller, fields are one picture anyway.
        let tiny = self.tiny.scale(&self.track, &self.frame, false)?;
        let print = Print::of(&tiny);
        Ok(Some(Seen { at_us, tiny, print, is_damaged: is_damaged(&self.frame) }))
    }

    /// Goes on at the keyframe that is shown at `to_us` of the output, or at an earlier one.
    pub fn jump(&mut self, to_us: i64) -> Result<(), Error> {
        let base = self.track.time_base;
        let us = i128::from(to_us.saturating_add(self.origin_us));
        let ticks = us * i128::from(base.den) / (1_000_000 * i128::from(base.num.max(1)));
        self.decoder.jump(i64::try_from(ticks).unwrap_or(i64::MAX))?;
        self.previous = None;
        Ok(())
    }

    /// The frame that came last, in the size `(width, height)`.
    pub fn enlarged(&mut self, size: (u32, u32)) -> Result<Planes, Error> {
        let fitting = self.large.take().filter(|scaler| scaler.size() == size);
        let mut scaler = fitting.unwrap_or_else(|| Scaler::new(Look::Still, size));
        let scaled = scaler.scale(&self.track, &self.frame, self.is_interlaced);
        self.large = Some(scaler);
        scaled
    }

    /// Damaged packets so far.
    pub fn damaged(&self) -> u64 {
        self.decoder.damaged
    }

    /// Leaves out what can be left out, until too many pictures in a row were.
    fn keep_pace(&mut self, before: Option<i64>, pts: i64) {
        if self.pace == Pace::Every {
            return;
        }
        // Half a frame more, since times are rounded.
        let longest = frame_ticks(&self.track).saturating_mul(2 * LONGEST_STEP + 1) / 2;
        match before {
            None => self.decoder.skip_unreferenced(true),
            Some(before) if pts.saturating_sub(before) > longest => {
                self.pace = Pace::Every;
                self.decoder.skip_unreferenced(false);
            }
            Some(_) => {}
        }
    }

    /// The frame's time, mended where the container gives none or goes back: one frame after the last.
    fn presentation_time(&mut self) -> i64 {
        let pts = match (self.frame.timestamp(), self.previous) {
            (Some(pts), Some(previous)) if pts > previous => pts,
            (Some(pts), None) => pts,
            (_, Some(previous)) => previous.saturating_add(frame_ticks(&self.track)),
            (None, None) => self.track.start,
        };
        self.previous = Some(pts);
        pts
    }
}

/// Filters for frames of one kind, built anew when that changes.
struct Scaler {
    look: Look,
    target: Rung,
    pictures: Option<Pictures>,
}

impl Scaler {
    fn new(look: Look, (width, height): (u32, u32)) -> Self {
        Self { look, target: Rung { quality: String::new(), width, height, max_kbps: 0 }, pictures: None }
    }

    fn size(&self) -> (u32, u32) {
        (self.target.width, self.target.height)
    }

    fn scale(&mut self, track: &VideoTrack, frame: &ff::frame::Video, is_interlaced: bool) -> Result<Planes, Error> {
        // What joins fields waits for the next frame, so it gets this one alone.
        let kept = self.pictures.take().filter(|pictures| !is_interlaced && pictures.fits(frame, false));
        let mut pictures = match kept {
            Some(pictures) => pictures,
            None => Pictures::looking(self.look, track, std::slice::from_ref(&self.target), frame, is_interlaced)?,
        };
        // The filters take what they are given.
        pictures.push(&shared(frame)?)?;
        if is_interlaced {
            pictures.finish()?;
        }
        let scaled = pictures.pull()?.and_then(|scaled| scaled.into_iter().next());
        let scaled = scaled.ok_or_else(|| Error::new(Code::EncoderFailed, "the filters kept a picture"))?;
        self.pictures = Some(pictures);
        Ok(planes(&scaled))
    }
}

/// The same frame once more, without a copy of its pixels.
fn shared(frame: &ff::frame::Video) -> Result<ff::frame::Video, Error> {
    let mut other = ff::frame::Video::empty();
    // SAFETY: both frames are live, and the new one is empty.
    let answer = unsafe { ffi::av_frame_ref(other.as_mut_ptr(), frame.as_ptr()) };
    if answer < 0 {
        return Err(Error::new(Code::EncoderFailed, format!("share a picture: {}", ff::Error::from(answer))));
    }
    Ok(other)
}

fn planes(frame: &ff::frame::Video) -> Planes {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let plane = |index: usize, width: usize, height: usize| {
        let stride = frame.stride(index).max(1);
        let mut bytes = Vec::with_capacity(width * height);
        for row in frame.data(index).chunks(stride).take(height) {
            bytes.extend_from_slice(row.get(..width).unwrap_or(row));
        }
        // As long as the size says, whatever came.
        bytes.resize(width * height, 0);
        bytes
    };
    Planes {
        width,
        height,
        y: plane(0, width, height),
        cb: plane(1, width / 2, height / 2),
        cr: plane(2, width / 2, height / 2),
    }
}
