//! Decoded sound on the output's clock: sample N is always at time N / rate, gaps are silence, overlaps are cut.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use schemas::source::{AudioTrack, Media, Ratio};

use super::decode::{Decoder, is_damaged};
use super::probe::rescale;
use super::source::Source;
use super::{Code, Error};

/// What the sound shall be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Samples per second.
    pub rate: u32,
    /// Samples in a frame; only the last one before the track changes, or ends, may be shorter.
    pub frame: u32,
    /// How channels become fewer.
    pub mix: Mix,
}

/// How channels become fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Two channels, or the one that there is; planar floats.
    Stereo,
    /// One channel in which speech is kept; packed floats.
    Speech,
}

/// Whoever takes the sound.
pub trait Taker {
    /// The next frame.
    fn take(&mut self, frame: ff::frame::Audio) -> Result<(), Error>;

    /// What is held back belongs to what has come so far, the track goes on in another shape. Answers the samples up to here.
    fn settle(&mut self) -> Result<u64, Error>;
}

/// Decodes the audio track of `media` from `source` into `taker`; answers how many packets and frames were damaged.
pub fn decode(source: Source, media: &Media, form: Form, taker: &mut dyn Taker) -> Result<u64, Error> {
    let track = media.audio.as_ref();
    let track = track.ok_or_else(|| Error::new(Code::UnsupportedMedia, "there is no audio to decode"))?;
    let mut decoder = Decoder::open(source, track.index, None)?;
    let ticks = i64::from(track.time_base.den) / i64::from(track.time_base.num.max(1));
    let microsecond = Ratio { num: 1, den: 1_000_000 };
    let origin = rescale(media.origin_us, microsecond, ticks);
    let mut sound = Sound { track, form, ticks, origin, expected: None, graph: None };
    let mut frame = ff::frame::Audio::empty();
    let mut damaged = 0;
    while decoder.next(&mut frame)? {
        damaged += u64::from(is_damaged(&frame));
        sound.take(&mut frame, taker)?;
    }
    sound.feed(None)?;
    sound.pull(taker)?;
    Ok(damaged + decoder.damaged)
}

/// Sound on its way through the filters.
struct Sound<'a> {
    track: &'a AudioTrack,
    form: Form,
    /// Ticks of the track in a second.
    ticks: i64,
    /// Time that is zero in the output, ticks.
    origin: i64,
    /// When the next frame should begin, ticks.
    expected: Option<i64>,
    graph: Option<(Shape, ff::filter::Graph)>,
}

/// What frames of the decoder are like.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    rate: u32,
    format: ff::format::Sample,
    channels: u16,
    layout: u64,
}

impl Sound<'_> {
    fn take(&mut self, frame: &mut ff::frame::Audio, taker: &mut dyn Taker) -> Result<(), Error> {
        if frame.samples() == 0 || frame.rate() == 0 {
            return Ok(());
        }
        let pts = frame.timestamp().map(|pts| pts - self.origin).or(self.expected).unwrap_or(0);
        let sample = Ratio { num: 1, den: i32::try_from(frame.rate()).unwrap_or(48_000) };
        self.expected = Some(pts + rescale(frame.samples() as i64, sample, self.ticks));
        frame.set_pts(Some(pts));
        let shape = Shape {
            rate: frame.rate(),
            format: frame.format(),
            channels: frame.channels(),
            layout: frame.channel_layout().bits(),
        };
        if self.graph.as_ref().is_none_or(|(built_for, _)| *built_for != shape) {
            self.feed(None)?;
            self.pull(taker)?;
            self.graph = Some((shape.clone(), self.build(&shape, taker.settle()?)?));
        }
        self.feed(Some(frame))?;
        self.pull(taker)
    }

    /// Filters for frames of `shape`, whose output begins with sample `first`.
    fn build(&self, shape: &Shape, first: u64) -> Result<ff::filter::Graph, Error> {
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
        let Form { rate, frame, mix } = self.form;
        let (before, format, layout) = match mix {
            Mix::Stereo if self.track.channels == 1 => (String::new(), "fltp", "mono"),
            Mix::Stereo => (String::new(), "fltp", "stereo"),
            Mix::Speech => (speech(shape), "flt", "mono"),
        };
        let spec = format!(
            "{before}aresample={rate}:async=1:min_hard_comp=0.05:first_pts={first},\
             aformat=sample_fmts={format}:channel_layouts={layout},asetnsamples=n={frame}:p=0"
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

    fn pull(&mut self, taker: &mut dyn Taker) -> Result<(), Error> {
        loop {
            let Some((_, graph)) = &mut self.graph else { return Ok(()) };
            let Some(mut exit) = graph.get("out") else { return Ok(()) };
            let mut frame = ff::frame::Audio::empty();
            match exit.sink().frame(&mut frame) {
                Ok(()) => taker.take(frame)?,
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Channels by their bits in a layout (FFmpeg's `AV_CH_…`), with their share in one channel of speech: left and right make their
/// mean, the centre, where films have their dialogue, counts in full, and the subwoofer says nothing.
const SHARES: [(u64, f32); 7] =
    [(0x1, 0.5), (0x2, 0.5), (0x4, 1.0), (0x8, 0.0), (0x8_0000_0000, 0.0), (0x2000_0000, 0.5), (0x4000_0000, 0.5)];
/// Share of whatever else is around the listener.
const AROUND: f32 = 0.25;

/// Filters that mix the channels of `shape` to one, in floats, so that loud ones do not break.
fn speech(shape: &Shape) -> String {
    if shape.channels <= 1 {
        return String::new();
    }
    let share = |bit: u64| SHARES.iter().find(|(known, _)| *known == bit).map_or(AROUND, |(_, share)| *share);
    // Matroska does not say how plain samples of cinema sound are laid out; there is one usual order.
    let layout = match (shape.layout, shape.channels) {
        (0, 6) => 0x3f,
        (0, 8) => 0x63f,
        (said, _) => said,
    };
    let bits = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| layout & bit != 0);
    let mut shares: Vec<f32> = bits.map(share).collect();
    // Channels without names are all alike, and so is a layout in which nobody would speak.
    if shares.len() != usize::from(shape.channels) || shares.iter().sum::<f32>() < 0.5 {
        shares = vec![1.0 / f32::from(shape.channels); usize::from(shape.channels)];
    }
    let parts: Vec<String> = shares.iter().enumerate().map(|(at, share)| format!("{share}*c{at}")).collect();
    format!("aformat=sample_fmts=fltp,pan=mono|c0={},", parts.join("+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: u16, layout: u64) -> String {
        let format = ff::format::Sample::F32(ff::format::sample::Type::Planar);
        let mixed = speech(&Shape { rate: 48_000, format, channels, layout });
        mixed.trim_start_matches("aformat=sample_fmts=fltp,pan=mono|c0=").trim_end_matches(',').to_owned()
    }

    #[test]
    fn the_centre_counts_and_the_subwoofer_does_not() {
        assert_eq!(mixed(1, 0x4), "");
        assert_eq!(mixed(2, 0x3), "0.5*c0+0.5*c1");
        assert_eq!(mixed(6, 0x3f), "0.5*c0+0.5*c1+1*c2+0*c3+0.25*c4+0.25*c5");
        assert_eq!(mixed(6, 0x60f), "0.5*c0+0.5*c1+1*c2+0*c3+0.25*c4+0.25*c5");
        assert_eq!(mixed(6, 0), mixed(6, 0x3f));
        assert_eq!(mixed(2, 0), "0.5*c0+0.5*c1");
        assert_eq!(mixed(4, 0), "0.25*c0+0.25*c1+0.25*c2+0.25*c3");
        assert_eq!(mixed(2, 0x30), "0.25*c0+0.25*c1");
    }
}
