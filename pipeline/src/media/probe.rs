//! What a file contains: its tracks, and by reading all its packets its frames, keyframes and ends.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use ffmpeg_next::ffi;
use schemas::source::{AudioTrack, Media, Ratio, Transfer, VideoTrack};

use super::source::Source;
use super::{Code, Error, Probed};

/// Longest video, microseconds: twelve hours.
const MAX_DURATION_US: i64 = 12 * 3600 * 1_000_000;
/// Gap between two frames that no video has; beyond it timestamps are taken for lies.
const MAX_GAP_S: i64 = 3600;

/// Presentation times of one track, as its packets state them.
#[derive(Default)]
struct Times {
    pts: Vec<i64>,
    keyframes: Vec<i64>,
    /// Decode times of the packets that state no presentation time.
    undated: Vec<i64>,
    undated_duration: i64,
    missing: u64,
    packets: u64,
    /// Duration of the packet with the latest presentation time.
    last_duration: i64,
    latest: i64,
    first: Option<i64>,
}

impl Times {
    fn add(&mut self, packet: &ff::Packet, keep: bool) {
        // SAFETY: reads a plain field of a live packet.
        let flags = unsafe { (*ff::packet::Ref::as_ptr(packet)).flags };
        if flags & ffi::AV_PKT_FLAG_DISCARD != 0 {
            return;
        }
        self.packets += 1;
        let Some(pts) = packet.pts() else {
            self.missing += 1;
            if keep && let Some(dts) = packet.dts() {
                self.undated.push(dts);
                self.undated_duration = packet.duration();
            }
            return;
        };
        if self.first.is_none_or(|first| pts < first) {
            self.first = Some(pts);
        }
        if self.packets == 1 || pts >= self.latest {
            self.latest = pts;
            self.last_duration = packet.duration();
        }
        if keep {
            self.pts.push(pts);
            if packet.is_key() {
                self.keyframes.push(pts);
            }
        }
    }
}

/// Probes `source`.
pub fn probe(mut source: Source) -> Result<Probed, Error> {
    let container = source.container;
    let input = source.input()?;
    let mut warnings = Vec::new();
    let (video_index, mut video) = video_track(input)?;
    let audio_index = audio_track(input, &mut warnings);
    let (mut video_times, mut audio_times) = (Times::default(), Times::default());
    let (mut damaged, mut read) = (false, 0);
    loop {
        let mut packet = ff::Packet::empty();
        match packet.read(input) {
            Ok(()) if packet.stream() == video_index => {
                read += 1;
                video_times.add(&packet, true);
            }
            Ok(()) if Some(packet.stream()) == audio_index => audio_times.add(&packet, false),
            Ok(()) => {}
            Err(ff::Error::Eof) => break,
            Err(_) => {
                // What can be read up to here is still worth something.
                damaged = true;
                break;
            }
        }
    }
    // A file that is cut between two frames ends like a whole one; only its index tells.
    if damaged || read < promised(input, video_index) {
        warnings.push("the file is cut short or damaged; the part that can be read is kept".to_owned());
    }
    if video_times.packets == 0 {
        return Err(Error::new(Code::DamagedMedia, "the video track has no frames"));
    }
    let tick = video.time_base;
    let keyframes = if trustworthy(&mut video_times, tick) && container != super::sniff::Container::MpegTs {
        std::mem::take(&mut video_times.keyframes)
    } else {
        Vec::new()
    };
    fill_video(&mut video, &mut video_times);
    let audio = audio_index.and_then(|index| describe_audio(input, index, &audio_times));
    if audio_index.is_some() && audio.is_none() {
        warnings.push("the audio track has no samples and is left out".to_owned());
    }
    let microseconds = |ticks: i64, base: Ratio| rescale(ticks, base, 1_000_000);
    let mut origin_us = microseconds(video.start, video.time_base);
    let mut end_us = microseconds(video.end, video.time_base);
    if let Some(track) = &audio {
        origin_us = origin_us.min(microseconds(track.start, track.time_base));
        end_us = end_us.max(microseconds(track.end, track.time_base));
    }
    let duration_us = (end_us - origin_us).max(1);
    if duration_us > MAX_DURATION_US {
        return Err(Error::new(
            Code::TooLong,
            format!("the video says it is {} hours long; at most 12 are taken", duration_us / 3_600_000_000),
        ));
    }
    let media = Media {
        container: container.as_str().to_owned(),
        demuxer: Source::demuxer(container).to_owned(),
        origin_us,
        duration_us,
        video,
        audio,
    };
    Ok(Probed { media, keyframes, warnings })
}

/// `ticks` of `base` in units of `per_second`, rounded to the nearest.
pub fn rescale(ticks: i64, base: Ratio, per_second: i64) -> i64 {
    let numerator = i128::from(ticks) * i128::from(base.num) * i128::from(per_second);
    let denominator = i128::from(base.den.max(1));
    let half = if numerator >= 0 { denominator / 2 } else { -denominator / 2 };
    i64::try_from((numerator + half) / denominator).unwrap_or(i64::MAX)
}

/// Frames that the container's index lists; 0 where it lists keyframes only, or nothing.
fn promised(input: &ff::format::context::Input, track: usize) -> i32 {
    if input.format().name().starts_with("mov") {
        // SAFETY: counts the entries of a live stream.
        input.stream(track).map_or(0, |stream| unsafe { ffi::avformat_index_get_entries_count(stream.as_ptr()) })
    } else {
        0
    }
}

/// Whether frames can be found by time: all have one, no two the same, no absurd gap.
fn trustworthy(times: &mut Times, tick: Ratio) -> bool {
    times.pts.sort_unstable();
    times.keyframes.sort_unstable();
    times.keyframes.dedup();
    let doubled = times.pts.windows(2).any(|pair| pair[0] == pair[1]);
    let gap = times.pts.windows(2).any(|pair| rescale(pair[1] - pair[0], tick, 1) > MAX_GAP_S);
    times.missing == 0 && !doubled && !gap && !times.keyframes.is_empty()
}

fn fill_video(video: &mut VideoTrack, times: &mut Times) {
    if times.missing == times.packets {
        // As the decoder does it: pictures take the decode times in order.
        times.pts = std::mem::take(&mut times.undated);
        times.last_duration = times.undated_duration;
    }
    times.pts.sort_unstable();
    video.frames = times.packets;
    video.start = times.pts.first().copied().unwrap_or(0);
    let frame = frame_ticks(video);
    let last = times.pts.last().copied().unwrap_or(video.start);
    video.end = last + if times.last_duration > 0 { times.last_duration } else { frame };
    video.longest_gap = times.pts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(frame).max(1);
}

/// Ticks of one frame at the average rate, at least 1.
pub fn frame_ticks(video: &VideoTrack) -> i64 {
    let seconds = video.fps.as_f64();
    if seconds <= 0.0 {
        return 1;
    }
    ((1.0 / seconds / video.time_base.as_f64()).round() as i64).max(1)
}

fn video_track(input: &ff::format::context::Input) -> Result<(usize, VideoTrack), Error> {
    let stream = input
        .streams()
        .find(|stream| {
            stream.parameters().medium() == ff::media::Type::Video
                && !stream.disposition().contains(ff::format::stream::Disposition::ATTACHED_PIC)
        })
        .ok_or_else(|| Error::new(Code::NoVideo, "the file has no video track"))?;
    let parameters = stream.parameters();
    let id = parameters.id();
    if ff::decoder::find(id).is_none() {
        return Err(Error::new(Code::UnsupportedMedia, format!("video codec {} cannot be decoded here", id.name())));
    }
    // SAFETY: plain fields of the parameters of an open demuxer.
    let raw = unsafe { &*parameters.as_ptr() };
    if raw.width <= 0 || raw.height <= 0 {
        return Err(Error::new(Code::DamagedMedia, "the video track does not say how large its pictures are"));
    }
    let (rotation, mirrored) = orientation(&stream);
    // SAFETY: asks the library about an open stream.
    let (sar, fps) = unsafe {
        let context = input.as_ptr().cast_mut();
        let stream = stream.as_ptr().cast_mut();
        (
            ffi::av_guess_sample_aspect_ratio(context, stream, std::ptr::null_mut()),
            ffi::av_guess_frame_rate(context, stream, std::ptr::null_mut()),
        )
    };
    // SAFETY: the pixel format is the library's own number.
    let format = ff::format::Pixel::from(unsafe { std::mem::transmute::<i32, ffi::AVPixelFormat>(raw.format.max(-1)) });
    let transfer = match raw.color_trc {
        ffi::AVColorTransferCharacteristic::AVCOL_TRC_SMPTE2084 => Transfer::Pq,
        ffi::AVColorTransferCharacteristic::AVCOL_TRC_ARIB_STD_B67 => Transfer::Hlg,
        _ => Transfer::Sdr,
    };
    let sane = |num: i32, den: i32| num > 0 && den > 0;
    let sar = if sane(sar.num, sar.den) { Ratio { num: sar.num, den: sar.den } } else { Ratio { num: 1, den: 1 } };
    // Aspect ratios beyond 1:16 are damage, not intent.
    let sar = if (1.0 / 16.0..=16.0).contains(&sar.as_f64()) { sar } else { Ratio { num: 1, den: 1 } };
    let fps = if sane(fps.num, fps.den) && fps.num / fps.den <= 1000 {
        Ratio { num: fps.num, den: fps.den }
    } else {
        Ratio { num: 25, den: 1 }
    };
    let time_base = stream.time_base();
    if !sane(time_base.numerator(), time_base.denominator()) {
        return Err(Error::new(Code::DamagedMedia, "the video track has no time base"));
    }
    let track = VideoTrack {
        index: u32::try_from(stream.index()).unwrap_or(0),
        codec: id.name().to_owned(),
        width: raw.width.unsigned_abs(),
        height: raw.height.unsigned_abs(),
        fps,
        rotation,
        mirrored,
        sar,
        pixel_format: format.descriptor().map_or("unknown", |descriptor| descriptor.name()).to_owned(),
        interlaced: !matches!(
            raw.field_order,
            ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE | ffi::AVFieldOrder::AV_FIELD_UNKNOWN
        ),
        transfer,
        time_base: Ratio { num: time_base.numerator(), den: time_base.denominator() },
        start: 0,
        end: 0,
        frames: 0,
        longest_gap: 1,
    };
    Ok((stream.index(), track))
}

/// Clockwise turn that makes the picture upright, and whether it is mirrored, by the display matrix.
fn orientation(stream: &ff::format::stream::Stream<'_>) -> (i32, bool) {
    let Some(matrix) = stream
        .side_data()
        .find(|data| data.kind() == ff::codec::packet::side_data::Type::DisplayMatrix)
        .map(|data| data.data().to_vec())
        .filter(|data| data.len() >= 36)
    else {
        return (0, false);
    };
    let entry = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&matrix[index * 4..index * 4 + 4]);
        f64::from(i32::from_ne_bytes(bytes))
    };
    let (a, b, c, d) = (entry(0), entry(1), entry(3), entry(4));
    let mirrored = a * d - b * c < 0.0;
    let degrees = b.atan2(a).to_degrees();
    (((degrees / 90.0).round() as i32).rem_euclid(4) * 90, mirrored)
}

/// The first audio track that can be decoded.
fn audio_track(input: &ff::format::context::Input, warnings: &mut Vec<String>) -> Option<usize> {
    let tracks: Vec<_> =
        input.streams().filter(|stream| stream.parameters().medium() == ff::media::Type::Audio).collect();
    let chosen = tracks.iter().find(|stream| {
        // SAFETY: plain fields of the parameters of an open demuxer.
        let raw = unsafe { &*stream.parameters().as_ptr() };
        ff::decoder::find(stream.parameters().id()).is_some() && raw.sample_rate > 0
    });
    match chosen {
        Some(chosen) if chosen.index() != tracks[0].index() => {
            warnings.push("the first audio track cannot be decoded; the next one is used".to_owned());
        }
        None if !tracks.is_empty() => {
            warnings.push("the audio cannot be decoded and is left out".to_owned());
        }
        _ => {}
    }
    chosen.map(|stream| stream.index())
}

fn describe_audio(input: &ff::format::context::Input, index: usize, times: &Times) -> Option<AudioTrack> {
    let start = times.first?;
    let stream = input.stream(index)?;
    let parameters = stream.parameters();
    // SAFETY: plain fields of the parameters of an open demuxer.
    let raw = unsafe { &*parameters.as_ptr() };
    let time_base = stream.time_base();
    Some(AudioTrack {
        index: u32::try_from(index).unwrap_or(0),
        codec: parameters.id().name().to_owned(),
        channels: raw.channels.unsigned_abs().max(1),
        sample_rate: raw.sample_rate.unsigned_abs(),
        time_base: Ratio { num: time_base.numerator(), den: time_base.denominator().max(1) },
        start,
        end: (times.latest + times.last_duration.max(0)).max(start),
    })
}
