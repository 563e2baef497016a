//! Frames of a track, in order of presentation, from a keyframe or from the beginning.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use ffmpeg_next::ffi;

use super::source::{MAX_PIXELS, Source};
use super::{Code, Error};

/// A decoder over one track of a source.
pub struct Decoder {
    source: Source,
    track: usize,
    decoder: ff::decoder::Opened,
    /// A packet that was read ahead while looking for the place to start.
    ahead: Option<ff::Packet>,
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
        let parameters = stream.parameters();
        let name = parameters.id().name();
        let time_base = stream.time_base();
        let codec = ff::decoder::find(parameters.id())
            .ok_or_else(|| Error::new(Code::UnsupportedMedia, format!("codec {name} cannot be decoded here")))?;
        let failed = |error: ff::Error| {
            Error::new(Code::UnsupportedMedia, format!("the decoder for {name} cannot be opened: {error}"))
        };
        let context = ff::codec::Context::from_parameters(parameters).map_err(failed)?;
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(time_base);
        // SAFETY: plain fields of a context that is not open yet.
        unsafe {
            (*decoder.as_mut_ptr()).max_pixels = MAX_PIXELS;
            // From the beginning, pictures before the first keyframe are shown as far as they can be decoded.
            if from.is_none() {
                (*decoder.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
            }
        }
        let mut options = ff::Dictionary::new();
        options.set("threads", "1");
        let decoder = open_with(decoder, codec, options).map_err(failed)?;
        for index in 0..input.nb_streams() as usize {
            if index != track {
                // SAFETY: a plain field of a stream of the open demuxer.
                unsafe {
                    let streams = (*input.as_mut_ptr()).streams;
                    (**streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL;
                }
            }
        }
        let mut opened = Self { source, track, decoder, ahead: None, draining: false, read_error: false, damaged: 0 };
        if let Some(from) = from {
            opened.seek(from)?;
        }
        Ok(opened)
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
                    self.ahead = Some(packet);
                    if early_enough {
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

    /// Fills `frame` with the next one; false at the end. Damaged packets are skipped and counted.
    pub fn next(&mut self, frame: &mut ff::Frame) -> Result<bool, Error> {
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) => {
                    if frame.is_corrupt() || frame.has_decode_errors() {
                        self.damaged += 1;
                    }
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
                    if self.decoder.send_packet(&packet).is_err() {
                        self.damaged += 1;
                    }
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

fn open_with(
    decoder: ff::codec::decoder::Decoder,
    codec: ff::Codec,
    options: ff::Dictionary<'_>,
) -> Result<ff::decoder::Opened, ff::Error> {
    decoder.open_as_with(codec, options)
}
