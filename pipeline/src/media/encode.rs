//! One rung's encoder: x264, one thread, deterministic, closed groups of pictures, byte-equal headers in every chunk.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use ffmpeg_next::ffi;
use schemas::ladder::Rung;
use schemas::source::VideoTrack;

use super::picture::{is_hdr, is_rgb};
use super::{Code, Error, VideoTask, psnr};

/// Constant rate factor; the cap of the rung holds above it.
const CRF: u32 = 23;
/// What a step better takes from it: about half the error.
const STEP: u32 = 3;

/// An encoded picture, in order of decoding.
pub struct Packet {
    /// Presentation time as it was given to the encoder.
    pub pts: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Length-prefixed NAL units.
    pub data: Vec<u8>,
    /// Luma PSNR of the picture, decibels, when the encoder says it.
    pub psnr: Option<f64>,
}

/// An open encoder.
pub struct Encoder {
    encoder: ff::encoder::video::Encoder,
    /// Sequence parameter set, without start code.
    pub sps: Vec<u8>,
    /// Picture parameter set, without start code.
    pub pps: Vec<u8>,
    /// Luma samples of a picture.
    samples: f64,
}

/// Ticks per second of the output, and output ticks per tick of the source: the source's own clock, kept exact.
pub fn timescale(track: &VideoTrack) -> (u32, i64) {
    let (num, den) = (i64::from(track.time_base.num.max(1)), i64::from(track.time_base.den.max(1)));
    if den > 1_000_000 {
        return (90_000, 0);
    }
    // Coarse clocks get finer, so that players see usual scales.
    let mut factor = 1;
    while den * factor < 10_000 {
        factor *= 2;
    }
    (u32::try_from(den * factor).unwrap_or(90_000), num * factor)
}

/// `pts` of the source in ticks of the output, before the origin is taken away.
pub fn output_ticks(track: &VideoTrack, pts: i64) -> i64 {
    match timescale(track) {
        (scale, 0) => super::probe::rescale(pts, track.time_base, i64::from(scale)),
        (_, factor) => pts.saturating_mul(factor),
    }
}

/// Whether pictures may be reordered: not where it would delay the first one by half a second.
fn may_reorder(track: &VideoTrack) -> bool {
    let second = i64::from(track.time_base.den) / i64::from(track.time_base.num.max(1));
    reordering(track) < second / 2
}

/// Ticks of the source by which a picture may be decoded before its turn: with B frames that refer to each other, x264 puts two
/// pictures before one that is shown earlier.
fn reordering(track: &VideoTrack) -> i64 {
    track.longest_gap.saturating_mul(2)
}

/// Ticks of the output by which presentation times are shifted against decode times, so that no picture is decoded after it is
/// shown. One edit list entry takes it back. As little as will do: players that begin at the first decode time wait so long.
pub fn shift(track: &VideoTrack) -> i64 {
    if !may_reorder(track) {
        return 0;
    }
    match timescale(track) {
        // Two gaps that are rounded each by itself may lie a tick wider.
        (scale, 0) => super::probe::rescale(reordering(track), track.time_base, i64::from(scale)) + 2,
        (_, factor) => reordering(track).saturating_mul(factor),
    }
}

impl Encoder {
    /// Opens an encoder for `rung` of `task`; `like` is a picture as the filters give it.
    pub fn open(task: &VideoTask, rung: &Rung, like: &ff::frame::Video) -> Result<Self, Error> {
        let track = &task.media.video;
        let failed = |error: ff::Error| {
            Error::new(Code::EncoderFailed, format!("open the H.264 encoder for {}: {error}", rung.quality))
        };
        let codec = ff::encoder::find_by_name("libx264")
            .ok_or_else(|| Error::new(Code::EncoderFailed, "the FFmpeg library here has no libx264"))?;
        let (scale, _) = timescale(track);
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
        encoder.set_width(rung.width);
        encoder.set_height(rung.height);
        encoder.set_format(ff::format::Pixel::YUV420P);
        encoder.set_time_base(ff::Rational(1, i32::try_from(scale).unwrap_or(90_000)));
        encoder.set_frame_rate(Some(ff::Rational(track.fps.num, track.fps.den)));
        encoder.set_aspect_ratio(ff::Rational(1, 1));
        encoder.set_color_range(ff::color::Range::MPEG);
        if is_hdr(track) || is_rgb(track) {
            encoder.set_colorspace(ff::color::Space::BT709);
            encoder.set_color_primaries(ff::color::Primaries::BT709);
            encoder.set_color_transfer_characteristic(ff::color::TransferCharacteristic::BT709);
        } else {
            encoder.set_colorspace(like.color_space());
            encoder.set_color_primaries(like.color_primaries());
            encoder.set_color_transfer_characteristic(like.color_transfer_characteristic());
        }
        // What it says of its error changes nothing in what it encodes.
        let mut flags = ff::codec::Flags::GLOBAL_HEADER;
        flags.set(ff::codec::Flags::PSNR, !task.is_silent);
        encoder.set_flags(flags);
        psnr::listen();
        let mut options = ff::Dictionary::new();
        options.set("preset", "veryfast");
        options.set("crf", &CRF.saturating_sub(task.better.saturating_mul(STEP)).to_string());
        options.set("threads", "1");
        options.set("forced-idr", "1");
        let reorder = if may_reorder(track) { "" } else { ":bframes=0" };
        options.set(
            "x264-params",
            &format!(
                "keyint=infinite:min-keyint=1:scenecut=0:open-gop=0:stitchable=1:threads=1:lookahead-threads=1:\
                 sliced-threads=0:cpu-independent=1:vbv-maxrate={rate}:vbv-bufsize={rate}:vbv-init=0.5{reorder}",
                rate = rung.max_kbps
            ),
        );
        let encoder = encoder.open_as_with(codec, options).map_err(failed)?;
        // SAFETY: plain fields of an open encoder; the extradata is as long as it says.
        let header = unsafe {
            let raw = encoder.as_ptr();
            if (*raw).extradata.is_null() {
                Vec::new()
            } else {
                let length = usize::try_from((*raw).extradata_size).unwrap_or(0);
                std::slice::from_raw_parts((*raw).extradata, length).to_vec()
            }
        };
        let find = |kind: u8| nal_units(&header).find(|nal| nal.first().is_some_and(|first| first & 0x1f == kind));
        match (find(7), find(8)) {
            (Some(sps), Some(pps)) => {
                let samples = f64::from(rung.width) * f64::from(rung.height);
                Ok(Self { sps: sps.to_vec(), pps: pps.to_vec(), encoder, samples })
            }
            _ => Err(Error::new(Code::EncoderFailed, "the H.264 encoder gave no parameter sets")),
        }
    }

    /// Encodes one picture whose presentation time is in ticks of the output.
    pub fn push(&mut self, picture: &mut ff::frame::Video, pts: i64, key: bool) -> Result<(), Error> {
        picture.set_pts(Some(pts));
        picture.set_kind(if key { ff::picture::Type::I } else { ff::picture::Type::None });
        self.encoder
            .send_frame(picture)
            .map_err(|error| Error::new(Code::EncoderFailed, format!("encode a picture: {error}")))
    }

    /// Says that no picture follows.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.encoder.send_eof().map_err(|error| Error::new(Code::EncoderFailed, format!("finish encoding: {error}")))
    }

    /// The next packet that is ready.
    pub fn pull(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = ff::Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => {}
            Err(ff::Error::Eof) => return Ok(None),
            Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => return Ok(None),
            Err(error) => return Err(Error::new(Code::EncoderFailed, format!("encode a picture: {error}"))),
        }
        let pts =
            packet.pts().ok_or_else(|| Error::new(Code::EncoderFailed, "the encoder lost a presentation time"))?;
        let mut data = Vec::with_capacity(packet.size() + 16);
        for nal in nal_units(packet.data().unwrap_or(&[])) {
            // Parameter sets stand in the initialisation segment; the encoder's own remarks (SEI) are the same for all.
            if matches!(nal.first().map(|first| first & 0x1f), Some(6..=9)) {
                continue;
            }
            data.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(nal);
        }
        // SAFETY: only its address is looked at.
        let psnr = psnr::of(&packet, unsafe { self.encoder.as_ptr() }, self.samples);
        Ok(Some(Packet { pts, key: packet.is_key(), data, psnr }))
    }
}

/// The NAL units of a byte stream, without start codes (ITU-T H.264 annex B).
fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            starts.push(at);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([stream.len()]).collect();
    starts.into_iter().zip(ends).map(move |(start, end)| {
        let unit = &stream[start + 3..end];
        // The zero that makes a four-byte start code belongs to the next unit; no unit ends in zero.
        let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &unit[..length]
    })
}

/// Versions of the libraries that encode.
pub fn build() -> String {
    // SAFETY: the library answers with a static string.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::av_version_info()) };
    format!("ffmpeg {}, {}", version.to_string_lossy(), super::RECIPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_found_behind_both_start_codes() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 0, 0, 3, 1];
        let units: Vec<&[u8]> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 0, 0, 3, 1]]);
    }
}
