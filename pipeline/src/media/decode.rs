//! Frames of a track, in order of presentation, from a keyframe or from the beginning.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use ffmpeg_next as ff;
use ffmpeg_next::ffi;

use super::source::{MAX_PIXELS, Source};
use super::{Code, Error};

/// Packets in a row that are refused only by a decoder that is stuck: more than it may hold back pictures.
const STUCK: u32 = 20;

/// A decoder over one track of a source.
pub struct Decoder {
    source: Source,
    track: usize,
    decoder: ff::decoder::Opened,
    /// A packet that was read ahead while looking for the place to start.
    ahead: Option<ff::Packet>,
    /// Decode times of packets without a presentation time whose pictures have not come yet, ascending.
    undated: VecDeque<i64>,
    /// Whether any packet stated a presentation time.
    is_dated: bool,
    /// Presentation time of the keyframe that was sought.
    pub began: Option<i64>,
    /// Packets in a row that the decoder refused.
    refused: u32,
    /// Whether pictures that no other one needs are left out.
    skips: bool,
    draining: bool,
    read_error: bool,
    /// Packets and frames that were damaged.
    pub damaged: u64,
}

impl Decoder {
    /// Opens track `track` of `source`; with `from`, decoding starts at the keyframe with that presentation time.
    pub fn open(mut source: Source, track: u32, from: Option<i64>) -> Result<Self, Error> {
        let track = track as usize;
        let input = source.input()?;
        let stream = input
            .stream(track)
            .ok_or_else(|| Error::new(Code::DamagedMedia, format!("the file has no track {track} any more")))?;
        let decoder = open_codec(&stream)?;
        for index in 0..input.nb_streams() as usize {
            if index != track {
                // SAFETY: a plain field of a stream of the open demuxer.
                unsafe {
                    let streams = (*input.as_mut_ptr()).streams;
                    (**streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL;
                }
            }
        }
        let mut opened = Self {
            source,
            track,
            decoder,
            ahead: None,
            undated: VecDeque::new(),
            is_dated: false,
            began: None,
            refused: 0,
            skips: false,
            draining: false,
            read_error: false,
            damaged: 0,
        };
        if let Some(from) = from {
            opened.seek(from)?;
        }
        Ok(opened)
    }

    /// From now on, leaves out pictures that no other one is decoded from, or no longer. Where packets have no presentation time,
    /// pictures are counted, and all of them come.
    pub fn skip_unreferenced(&mut self, skips: bool) {
        self.skips = skips && self.is_dated;
        let skipped = if self.skips { ffi::AVDiscard::AVDISCARD_NONREF } else { ffi::AVDiscard::AVDISCARD_DEFAULT };
        // SAFETY: a field of an open decoder that may be set between packets.
        unsafe { (*self.decoder.as_mut_ptr()).skip_frame = skipped };
    }

    /// Starts anew at the keyframe before the one where decoding began; false when there is none, and it is the same again.
    pub fn go_back(&mut self) -> Result<bool, Error> {
        let Some(began) = self.began else { return Ok(false) };
        let is_earlier = self.seek(began.saturating_sub(1)).is_ok();
        if !is_earlier {
            self.seek(began)?;
        }
        self.decoder.flush();
        (self.draining, self.read_error, self.damaged, self.refused) = (false, false, 0, 0);
        self.undated.clear();
        Ok(is_earlier)
    }

    /// Goes on at the keyframe at `to` ticks, or at an earlier one. Pictures that come before it lack others.
    pub fn jump(&mut self, to: i64) -> Result<(), Error> {
        self.seek(to)?;
        self.decoder.flush();
        (self.draining, self.read_error, self.refused) = (false, false, 0);
        self.undated.clear();
        Ok(())
    }

    /// Whether `frame`, one of the first since decoding began, is a keyframe that others can be decoded from.
    pub fn is_sound(&self, frame: &ff::Frame, keyframe: Option<i64>) -> bool {
        frame.timestamp() == keyframe && self.damaged == 0 && !is_damaged(frame)
    }

    /// Goes to the keyframe at `from`, or to an earlier one: containers seek by decode time, which may overshoot.
    fn seek(&mut self, from: i64) -> Result<(), Error> {
        let second = {
            let track = self.track;
            let base = self.source.input()?.stream(track).map_or(ff::Rational(1, 1), |stream| stream.time_base());
            (f64::from(base.denominator()) / f64::from(base.numerator().max(1))).max(1.0) as i64
        };
        for earlier in [0, second, 10 * second, i64::MAX] {
            let target = if earlier == i64::MAX { i64::MIN / 2 } else { from.saturating_sub(earlier) };
            let track = i32::try_from(self.track).unwrap_or(0);
            let input = self.source.input()?;
            // SAFETY: the demuxer is open and the track exists.
            let answer = unsafe {
                if earlier == i64::MAX {
                    ffi::avformat_seek_file(input.as_mut_ptr(), track, i64::MIN, i64::MIN + 1, i64::MAX, 0)
                } else {
                    ffi::av_seek_frame(input.as_mut_ptr(), track, target, ffi::AVSEEK_FLAG_BACKWARD)
                }
            };
            if answer < 0 {
                continue;
            }
            self.ahead = None;
            while let Some(packet) = self.read() {
                if packet.is_key() || packet.pts().is_some() {
                    let early_enough = packet.is_key() && packet.pts().is_some_and(|pts| pts <= from);
                    let pts = packet.pts();
                    self.ahead = Some(packet);
                    if early_enough {
                        self.began = pts;
                        return Ok(());
                    }
                    break;
                }
            }
        }
        Err(Error::new(Code::DamagedMedia, "the place where a chunk begins cannot be found in the file"))
    }

    /// The next packet of the track; nothing at the end or where the file breaks off.
    fn read(&mut self) -> Option<ff::Packet> {
        if let Some(packet) = self.ahead.take() {
            return Some(packet);
        }
        loop {
            let mut packet = ff::Packet::empty();
            match packet.read(self.source.input().ok()?) {
                Ok(()) if packet.stream() == self.track => return Some(packet),
                Ok(()) => {}
                Err(ff::Error::Eof) => return None,
                Err(_) => {
                    if !self.read_error {
                        self.read_error = true;
                        self.damaged += 1;
                    }
                    return None;
                }
            }
        }
    }

    fn send(&mut self, packet: &ff::Packet) -> Result<(), Error> {
        // Some decoders never get over a picture of an impossible size; with a keyframe another one can begin.
        if self.refused >= STUCK && packet.is_key() {
            let track = self.track;
            if let Some(stream) = self.source.input()?.stream(track) {
                self.decoder = open_codec(&stream)?;
                self.refused = 0;
                self.skip_unreferenced(self.skips);
            }
        }
        if self.decoder.send_packet(packet).is_err() {
            self.damaged += 1;
            self.refused += 1;
            return Ok(());
        }
        self.refused = 0;
        if packet.pts().is_some() {
            self.is_dated = true;
        } else if let Some(dts) = packet.dts() {
            let place = self.undated.partition_point(|other| *other <= dts);
            self.undated.insert(place, dts);
        }
        Ok(())
    }

    /// Gives a picture of a track without presentation times the earliest decode time that is left: pictures are shown
    /// in the order in which the decoder gives them, and each takes as long as a packet.
    fn date(&mut self, frame: &mut ff::Frame) {
        if self.is_dated {
            return;
        }
        // SAFETY: a plain field of an open decoder.
        let delay = unsafe { (*self.decoder.as_ptr()).has_b_frames };
        // More than the decoder holds back, with some room: packets of which no picture of their own came.
        while self.undated.len() > usize::try_from(delay).unwrap_or(0) + 3 {
            self.undated.pop_front();
        }
        if let Some(time) = self.undated.pop_front() {
            // SAFETY: a plain field of a live frame.
            unsafe { (*frame.as_mut_ptr()).best_effort_timestamp = time };
        }
    }

    /// Fills `frame` with the next one; false at the end. Damaged packets are skipped and counted, damaged frames come as
    /// they are: see [`is_damaged`].
    pub fn next(&mut self, frame: &mut ff::Frame) -> Result<bool, Error> {
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) => {
                    self.date(frame);
                    return Ok(true);
                }
                Err(ff::Error::Eof) => return Ok(false),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => {}
                Err(_) => self.damaged += 1,
            }
            if self.draining {
                continue;
            }
            match self.read() {
                Some(packet) => {
                    self.send(&packet)?;
                }
                None => {
                    self.draining = true;
                    if self.decoder.send_eof().is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

/// Whether parts of `frame` are missing or made up.
pub fn is_damaged(frame: &ff::Frame) -> bool {
    frame.is_corrupt() || frame.has_decode_errors()
}

/// A decoder for the packets of `stream`.
fn open_codec(stream: &ff::format::stream::Stream<'_>) -> Result<ff::decoder::Opened, Error> {
    let parameters = stream.parameters();
    let name = parameters.id().name();
    let codec = ff::decoder::find(parameters.id())
        .ok_or_else(|| Error::new(Code::UnsupportedMedia, format!("codec {name} cannot be decoded here")))?;
    let failed = |error: ff::Error| {
        Error::new(Code::UnsupportedMedia, format!("the decoder for {name} cannot be opened: {error}"))
    };
    let context = ff::codec::Context::from_parameters(parameters).map_err(failed)?;
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    // SAFETY: plain fields of a context that is not open yet.
    unsafe {
        (*decoder.as_mut_ptr()).max_pixels = MAX_PIXELS;
        // Pictures that lack others are shown as far as they can be decoded. Those that belong before a keyframe from
        // which decoding starts lie before the range as well, and are left out by their times.
        (*decoder.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
    }
    let mut options = ff::Dictionary::new();
    options.set("threads", "1");
    decoder.open_as_with(codec, options).map_err(failed)
}
