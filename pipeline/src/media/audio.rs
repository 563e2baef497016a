//! The one audio track, on the output's clock and mixed down by [`super::sound`], encoded as AAC.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use schemas::manifest::samples::Sample;
use schemas::source::AudioTrack;

use super::boxes::{AudioInit, Fragments, audio_init};
use super::sound::{self, Form, Mix, Taker};
use super::source::Source;
use super::{AudioTask, Code, Encoded, EncodedRendition, Error, Sink, encode};

/// Samples in an AAC frame (ISO/IEC 14496-3, AAC LC).
const FRAME: u32 = 1024;
/// Seconds of sound in a fragment.
const FRAGMENT_SECONDS: u32 = 2;

/// Encodes the audio track of `task`.
pub fn encode(source: Source, task: &AudioTask, sink: &mut dyn Sink) -> Result<Encoded, Error> {
    let track =
        task.media.audio.as_ref().ok_or_else(|| Error::new(Code::UnsupportedMedia, "there is no audio to encode"))?;
    let mut work = Work::open(track, task)?;
    let form = Form { rate: work.rate, frame: FRAME, mix: Mix::Stereo };
    let damaged = sound::decode(source, &task.media, form, &mut Out { work: &mut work, sink: &mut *sink })?;
    work.finish(sink)?;
    work.result(damaged)
}

/// Samples per second of the output.
fn output_rate(track: &AudioTrack) -> u32 {
    if matches!(track.sample_rate, 44_100 | 48_000) { track.sample_rate } else { 48_000 }
}

struct Work {
    rate: u32,
    channels: u32,
    encoder: ff::encoder::audio::Encoder,
    config: Vec<u8>,
    priming: u32,
    bitrate: u32,
    samples_in: u64,
    /// Held back until it is known whether it is the last, which alone may be short.
    held: Option<ff::frame::Audio>,
    packets: Vec<Vec<u8>>,
    written: u64,
    fragments: Fragments,
}

/// Sound on its way into the encoder.
struct Out<'a> {
    work: &'a mut Work,
    sink: &'a mut dyn Sink,
}

impl Taker for Out<'_> {
    fn take(&mut self, frame: ff::frame::Audio) -> Result<(), Error> {
        match self.work.held.replace(frame) {
            Some(before) => self.work.encode_whole(before, self.sink),
            None => Ok(()),
        }
    }

    fn settle(&mut self) -> Result<u64, Error> {
        if let Some(held) = self.work.held.take() {
            self.work.encode_whole(held, self.sink)?;
        }
        Ok(self.work.samples_in)
    }
}

impl Work {
    fn open(track: &AudioTrack, task: &AudioTask) -> Result<Self, Error> {
        let failed = |error: ff::Error| Error::new(Code::EncoderFailed, format!("open the AAC encoder: {error}"));
        let rate = output_rate(track);
        let channels = track.channels.min(2);
        let codec = ff::encoder::find(ff::codec::Id::AAC)
            .ok_or_else(|| Error::new(Code::EncoderFailed, "the FFmpeg library here has no AAC encoder"))?;
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().audio().map_err(failed)?;
        let bitrate = task.kbps.max(16) * 1000;
        encoder.set_rate(i32::try_from(rate).unwrap_or(48_000));
        encoder.set_channel_layout(layout(channels));
        encoder.set_format(ff::format::Sample::F32(ff::format::sample::Type::Planar));
        encoder.set_bit_rate(bitrate as usize);
        encoder.set_time_base(ff::Rational(1, i32::try_from(rate).unwrap_or(48_000)));
        encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER | ff::codec::Flags::BITEXACT);
        let mut options = ff::Dictionary::new();
        options.set("threads", "1");
        let encoder = encoder.open_as_with(codec, options).map_err(failed)?;
        // SAFETY: plain fields of an open encoder; the extradata is as long as it says.
        let (config, priming) = unsafe {
            let raw = encoder.as_ptr();
            let length = usize::try_from((*raw).extradata_size).unwrap_or(0);
            let config = if (*raw).extradata.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts((*raw).extradata, length).to_vec()
            };
            (config, u32::try_from((*raw).initial_padding).unwrap_or(FRAME))
        };
        Ok(Self {
            rate,
            channels,
            encoder,
            config,
            priming,
            bitrate,
            samples_in: 0,
            held: None,
            packets: Vec::new(),
            written: 0,
            fragments: Fragments::new(rate),
        })
    }

    /// Encodes `frame` at full length.
    fn encode_whole(&mut self, frame: ff::frame::Audio, sink: &mut dyn Sink) -> Result<(), Error> {
        let frame = padded(frame, self.channels);
        self.encode(frame, sink)
    }

    fn encode(&mut self, mut frame: ff::frame::Audio, sink: &mut dyn Sink) -> Result<(), Error> {
        frame.set_pts(i64::try_from(self.samples_in).ok());
        self.samples_in += frame.samples() as u64;
        self.encoder
            .send_frame(&frame)
            .map_err(|error| Error::new(Code::EncoderFailed, format!("encode audio: {error}")))?;
        self.collect(sink)
    }

    fn collect(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        loop {
            let mut packet = ff::Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => self.packets.push(packet.data().unwrap_or(&[]).to_vec()),
                Err(ff::Error::Eof) => return Ok(()),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => return Ok(()),
                Err(error) => return Err(Error::new(Code::EncoderFailed, format!("encode audio: {error}"))),
            }
            if self.packets.len() as u32 * FRAME >= FRAGMENT_SECONDS * self.rate {
                self.write(sink)?;
            }
        }
    }

    fn write(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let packets = std::mem::take(&mut self.packets);
        if packets.is_empty() {
            return Ok(());
        }
        let samples: Vec<Sample> = packets
            .iter()
            .map(|packet| Sample {
                size: u32::try_from(packet.len()).unwrap_or(u32::MAX),
                duration: FRAME,
                composition_offset: 0,
                sync: true,
            })
            .collect();
        let start = i64::try_from(self.written * u64::from(FRAME)).unwrap_or(i64::MAX);
        self.written += packets.len() as u64;
        let bytes = self.fragments.write(start, &samples, &packets.concat())?;
        sink.bytes(0, &bytes)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        if let Some(last) = self.held.take() {
            self.encode(last, sink)?;
        }
        if self.samples_in == 0 {
            return Err(Error::new(Code::DamagedMedia, "no sound could be decoded in the audio track"));
        }
        self.encoder
            .send_eof()
            .map_err(|error| Error::new(Code::EncoderFailed, format!("finish the audio: {error}")))?;
        self.collect(sink)?;
        self.write(sink)
    }

    fn result(self, damaged: u64) -> Result<Encoded, Error> {
        let init = audio_init(&AudioInit {
            config: &self.config,
            channels: self.channels,
            sample_rate: self.rate,
            priming: u64::from(self.priming),
            bitrate: self.bitrate,
        })?;
        let end = i64::try_from(self.samples_in).unwrap_or(i64::MAX);
        let rendition = EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: self.rate,
            frames: self.fragments.samples.len() as u64,
            samples: self.fragments.packed(),
            keyframes: u32::try_from(self.fragments.samples.len()).unwrap_or(u32::MAX),
            fragments: self.fragments.list,
            first_pts: 0,
            last_pts: end - 1,
            end_pts: end,
            psnr: Vec::new(),
        };
        Ok(Encoded { frames_in: self.samples_in, damaged, renditions: vec![rendition], encoder: encode::build() })
    }
}

fn layout(channels: u32) -> ff::ChannelLayout {
    if channels == 1 { ff::ChannelLayout::MONO } else { ff::ChannelLayout::STEREO }
}

/// A frame of full length: only the very last may be short.
fn padded(frame: ff::frame::Audio, channels: u32) -> ff::frame::Audio {
    if frame.samples() >= FRAME as usize {
        return frame;
    }
    let mut full = ff::frame::Audio::new(frame.format(), FRAME as usize, layout(channels));
    full.set_rate(frame.rate());
    for plane in 0..frame.planes() {
        let have = frame.plane::<f32>(plane);
        let room = full.plane_mut::<f32>(plane);
        room.fill(0.0);
        room[..have.len()].copy_from_slice(have);
    }
    full
}
