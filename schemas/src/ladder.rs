//! The ladder: which renditions a source gets, and how large each is.

use serde::{Deserialize, Serialize};

use crate::source::{Media, VideoTrack};

/// One step of the ladder before it meets a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Name in URLs and events.
    pub quality: &'static str,
    /// Longer side of the box, pixels.
    pub long_side: u32,
    /// Shorter side of the box, pixels.
    pub short_side: u32,
    /// Most kilobits per second that the encoder may spend.
    pub max_kbps: u32,
    /// Mean luma PSNR that each chunk shall have, decibels: see [`floor_db`].
    pub floor_db: u32,
}

/// The ladder, best first.
pub const TIERS: [Tier; 3] = [
    Tier { quality: "1080p", long_side: 1920, short_side: 1080, max_kbps: 5000, floor_db: 35 },
    Tier { quality: "720p", long_side: 1280, short_side: 720, max_kbps: 2500, floor_db: 34 },
    Tier { quality: "360p", long_side: 640, short_side: 360, max_kbps: 1000, floor_db: 33 },
];

/// Mean luma PSNR below which a chunk of the rung `quality` is encoded again, decibels; none for what is no rung.
///
/// At the usual rate factor films, animation, screen recordings and hand-held video lie above 38 dB in every rung, so only
/// what is hard beyond the usual, such as noise, comes below. A small picture is shown on small screens and may lose more.
pub fn floor_db(quality: &str) -> Option<u32> {
    TIERS.iter().find(|tier| tier.quality == quality).map(|tier| tier.floor_db)
}

/// When the source is frugal, everything that is stored is planned at this many tenths of its bytes.
///
/// The promise is three times. Each chunk starts with a filled rate buffer and may overspend by half a second, which on
/// two-second chunks is a quarter; the plan leaves room for that.
const STORAGE_BUDGET_TENTHS: u64 = 22;

/// Storage that every upload may use however small it is, bytes.
const SMALL_SOURCE_BYTES: u64 = 1_000_000;

/// Below this a picture or a sound is not worth storing, kilobits per second.
const MIN_KBPS: u64 = 16;

/// Kilobits per second of stereo sound when the source can afford it; mono gets half.
const AUDIO_KBPS: u64 = 128;

/// One rendition that a job promises: what the encoder is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rung {
    /// Name in URLs and events: `1080p`, `720p` or `360p`.
    pub quality: String,
    /// Width of the upright picture with square pixels, even.
    pub width: u32,
    /// Height of the upright picture, even.
    pub height: u32,
    /// Most kilobits per second that the encoder may spend.
    pub max_kbps: u32,
}

/// Upright display size of a track with square pixels, in pixels (not yet even).
pub fn display_size(track: &VideoTrack) -> (f64, f64) {
    let sar = match track.sar.as_f64() {
        ratio if ratio > 0.0 => ratio,
        _ => 1.0,
    };
    // The longer side grows, so that no coded sample is thrown away.
    let (width, height) = if sar >= 1.0 {
        (f64::from(track.width) * sar, f64::from(track.height))
    } else {
        (f64::from(track.width), f64::from(track.height) / sar)
    };
    if track.rotation % 180 == 0 { (width, height) } else { (height, width) }
}

/// The rungs for `media`, best first; `source_bytes` is the size of the upload.
///
/// Rungs larger than the source are skipped; the lowest is always there, at the source's size if that is smaller.
pub fn rungs(media: &Media, source_bytes: u64) -> Vec<Rung> {
    let (width, height) = display_size(&media.video);
    let lowest = TIERS.len() - 1;
    let mut rungs: Vec<Rung> = TIERS
        .iter()
        .enumerate()
        .filter_map(|(step, tier)| {
            let (box_width, box_height) =
                if width >= height { (tier.long_side, tier.short_side) } else { (tier.short_side, tier.long_side) };
            let scale = (f64::from(box_width) / width).min(f64::from(box_height) / height);
            // Two pixels of slack, so that 1919x1079 still counts as full HD.
            let fits = width.max(height) + 2.0 >= f64::from(tier.long_side)
                || width.min(height) + 2.0 >= f64::from(tier.short_side);
            (fits || step == lowest).then(|| Rung {
                quality: tier.quality.to_owned(),
                width: even(width * scale.min(1.0)),
                height: even(height * scale.min(1.0)),
                max_kbps: tier.max_kbps,
            })
        })
        .collect();
    cap(&mut rungs, media, source_bytes);
    rungs
}

/// The nearest even number, at least 2.
fn even(side: f64) -> u32 {
    ((side / 2.0).round() as u32 * 2).max(2)
}

/// Kilobits per second for the audio of `media`, when it has any.
pub fn audio_kbps(media: &Media, source_bytes: u64) -> u32 {
    let Some(track) = &media.audio else { return 0 };
    let wanted = if track.channels == 1 { AUDIO_KBPS / 2 } else { AUDIO_KBPS };
    let share = (budget_kbps(media.duration_us, source_bytes) / 5).max(2 * MIN_KBPS);
    u32::try_from(wanted.min(share)).unwrap_or(u32::MAX)
}

/// Kilobits per second that all outputs together may spend.
fn budget_kbps(duration_us: i64, source_bytes: u64) -> u64 {
    let duration_us = u64::try_from(duration_us).unwrap_or(0).max(1_000);
    let source_kbps = source_bytes.max(SMALL_SOURCE_BYTES).saturating_mul(8_000) / duration_us;
    source_kbps.saturating_mul(STORAGE_BUDGET_TENTHS) / 10
}

/// Scales the caps so that all rungs together fit into what audio leaves of the budget.
fn cap(rungs: &mut [Rung], media: &Media, source_bytes: u64) {
    let budget =
        budget_kbps(media.duration_us, source_bytes).saturating_sub(u64::from(audio_kbps(media, source_bytes)));
    let asked: u64 = rungs.iter().map(|rung| u64::from(rung.max_kbps)).sum();
    if asked > budget {
        for rung in rungs {
            let share = (u64::from(rung.max_kbps) * budget / asked).max(MIN_KBPS);
            rung.max_kbps = u32::try_from(share).unwrap_or(u32::MAX).min(rung.max_kbps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Ratio, Transfer};

    fn media(width: u32, height: u32, rotation: i32, sar: (i32, i32)) -> Media {
        Media {
            container: "mp4".into(),
            demuxer: "mov".into(),
            origin_us: 0,
            duration_us: 10_000_000,
            video: VideoTrack {
                index: 0,
                codec: "h264".into(),
                width,
                height,
                fps: Ratio { num: 25, den: 1 },
                rotation,
                mirrored: false,
                sar: Ratio { num: sar.0, den: sar.1 },
                pixel_format: "yuv420p".into(),
                interlaced: false,
                transfer: Transfer::Sdr,
                time_base: Ratio { num: 1, den: 12_800 },
                start: 0,
                end: 128_000,
                frames: 250,
                longest_gap: 512,
            },
            audio: None,
        }
    }

    fn sizes(media: &Media) -> Vec<(String, u32, u32)> {
        rungs(media, 50_000_000).into_iter().map(|r| (r.quality, r.width, r.height)).collect()
    }

    #[test]
    fn full_hd_gets_the_whole_ladder() {
        assert_eq!(
            sizes(&media(1920, 1080, 0, (1, 1))),
            [("1080p".into(), 1920, 1080), ("720p".into(), 1280, 720), ("360p".into(), 640, 360)]
        );
    }

    #[test]
    fn a_turned_phone_turns_the_box() {
        assert_eq!(
            sizes(&media(1920, 1080, 90, (1, 1))),
            [("1080p".into(), 1080, 1920), ("720p".into(), 720, 1280), ("360p".into(), 360, 640)]
        );
    }

    #[test]
    fn a_small_source_keeps_its_size_in_the_lowest_rung() {
        assert_eq!(sizes(&media(161, 121, 0, (1, 1))), [("360p".into(), 162, 122)]);
    }

    #[test]
    fn anamorphic_pixels_become_square() {
        assert_eq!(sizes(&media(720, 576, 0, (64, 45))), [("360p".into(), 640, 360)]);
    }

    #[test]
    fn caps_follow_the_source_down() {
        let frugal = rungs(&media(1920, 1080, 0, (1, 1)), 1_250_000);
        let total: u32 = frugal.iter().map(|rung| rung.max_kbps).sum();
        assert!(total <= 2_200, "1 Mbit/s in is planned at 2.2 Mbit/s out, got {total}");
    }
}
