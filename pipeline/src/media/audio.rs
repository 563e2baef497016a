//! The one audio track: decoded, brought onto the output's clock without gaps, mixed down, encoded as AAC.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use schemas::manifest::samples::Sample;
use schemas::source::AudioTrack;

use super::boxes::{AudioInit, Fragments, audio_init};
use super::decode::{Decoder, is_damaged};
use super::probe::rescale;
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
    let mut decoder = Decoder::open(source, track.index, None)?;
    let mut work = Work::open(track, task)?;
    let mut frame = ff::frame::Audio::empty();
    while decoder.next(&mut frame)? {
        decoder.damaged += u64::from(is_damaged(&frame));
        work.take(&mut frame, sink)?;
    }
    work.finish(sink)?;
    work.result(decoder.damaged)
}

/// Samples per second of the output.
fn output_rate(track: &AudioTrack) -> u32 {
    if matches!(track.sample_rate, 44_100 | 48_000) { track.sample_rate } else { 48_000 }
}

struct Work<'a> {
    track: &'a AudioTrack,
    rate: u32,
    channels: u32,
    origin: i64,
    graph: Option<(Shape, ff::filter::Graph)>,
    encoder: ff::encoder::audio::Encoder,
    config: Vec<u8>,
    priming: u32,
    bitrate: u32,
    samples_in: u64,
    expected: Option<i64>,
    /// Held back until it is known whether it is the last, which alone may be short.
    held: Option<ff::frame::Audio>,
    packets: Vec<Vec<u8>>,
    written: u64,
    fragments: Fragments,
}

#[derive(Clone, Debug, PartialEq)]
struct Shape {
    rate: u32,
    format: ff::format::Sample,
    channels: u16,
    layout: u64,
}

impl<'a> Work<'a> {
    fn open(track: &'a AudioTrack, task: &AudioTask) -> Result<Self, Error> {
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
        let microsecond = schemas::source::Ratio { num: 1, den: 1_000_000 };
        let ticks = i64::from(track.time_base.den) / i64::from(track.time_base.num.max(1));
        Ok(Self {
            track,
            rate,
            channels,
            origin: rescale(task.media.origin_us, microsecond, ticks),
            graph: None,
            encoder,
            config,
            priming,
            bitrate,
            samples_in: 0,
            expected: None,
            held: None,
            packets: Vec::new(),
            written: 0,
            fragments: Fragments::new(rate),
        })
    }

    fn take(&mut self, frame: &mut ff::frame::Audio, sink: &mut dyn Sink) -> Result<(), Error> {
        if frame.samples() == 0 || frame.rate() == 0 {
            return Ok(());
        }
        let pts = frame.timestamp().map(|pts| pts - self.origin).or(self.expected).unwrap_or(0);
        let length = rescale(
            frame.samples() as i64,
            schemas::source::Ratio { num: 1, den: i32::try_from(frame.rate()).unwrap_or(48_000) },
            i64::from(self.track.time_base.den) / i64::from(self.track.time_base.num.max(1)),
        );
        self.expected = Some(pts + length);
        frame.set_pts(Some(pts));
        let shape = Shape {
            rate: frame.rate(),
            format: frame.format(),
            channels: frame.channels(),
            layout: frame.channel_layout().bits(),
        };
        if self.graph.as_ref().is_none_or(|(built_for, _)| *built_for != shape) {
            self.drain(sink)?;
            self.graph = Some((shape.clone(), self.build(&shape)?));
        }
        self.feed(Some(frame))?;
        self.pull(sink)
    }

    /// Resampling that fills gaps with silence and cuts overlaps, so that sample N is always at time N / rate.
    fn build(&self, shape: &Shape) -> Result<ff::filter::Graph, Error> {
        let failed =
            |error: ff::Error| Error::new(Code::EncoderFailed, format!("build the filters for the audio: {error}"));
        let mut graph = ff::filter::Graph::new();
        // SAFETY: a plain field of a graph without filters.
        unsafe { (*graph.as_mut_ptr()).nb_threads = 1 };
        let source = ff::filter::find("abuffer").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let sink = ff::filter::find("abuffersink").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let channels = if shape.layout != 0 {
            format!("channel_layout=0x{:x}", shape.layout)
        } else {
            format!("channels={}", shape.channels)
        };
        let arguments = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:{channels}",
            self.track.time_base.num,
            self.track.time_base.den,
            shape.rate,
            shape.format.name(),
        );
        graph.add(&source, "in", &arguments).map_err(failed)?;
        graph.add(&sink, "out", "").map_err(failed)?;
        let layout = if self.channels == 1 { "mono" } else { "stereo" };
        let spec = format!(
            "aresample={}:async=1:min_hard_comp=0.05:first_pts={},aformat=sample_fmts=fltp:channel_layouts={layout},\
             asetnsamples=n={FRAME}:p=0",
            self.rate, self.samples_in
        );
        graph
            .output("in", 0)
            .and_then(|parser| parser.input("out", 0))
            .and_then(|parser| parser.parse(&spec))
            .map_err(failed)?;
        graph.validate().map_err(failed)?;
        Ok(graph)
    }

    fn feed(&mut self, frame: Option<&ff::frame::Audio>) -> Result<(), Error> {
        let failed = |error: ff::Error| Error::new(Code::EncoderFailed, format!("filter the audio: {error}"));
        let Some((_, graph)) = &mut self.graph else { return Ok(()) };
        let mut entry = graph.get("in").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        match frame {
            Some(frame) => entry.source().add(frame).map_err(failed),
            None => entry.source().flush().map_err(failed),
        }
    }

    fn pull(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        loop {
            let Some((_, graph)) = &mut self.graph else { return Ok(()) };
            let Some(mut exit) = graph.get("out") else { return Ok(()) };
            let mut frame = ff::frame::Audio::empty();
            match exit.sink().frame(&mut frame) {
                Ok(()) => {
                    let before = self.held.replace(frame);
                    if let Some(before) = before {
                        self.encode(padded(before, self.channels), sink)?;
                    }
                }
                Err(_) => return Ok(()),
            }
        }
    }

    fn drain(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        self.feed(None)?;
        self.pull(sink)?;
        self.graph = None;
        if let Some(held) = self.held.take() {
            self.encode(padded(held, self.channels), sink)?;
        }
        Ok(())
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
        self.feed(None)?;
        self.pull(sink)?;
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
