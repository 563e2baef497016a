//! `source.probed` -> `chunk.cut`: the plan, a pure function of source and recipe.
//!
//! Nothing is cut on disk: a chunk is a time range of the source. Ranges are half-open, so that each frame belongs to
//! exactly one; they begin at keyframes of the source where that is possible, because decoding must begin at one.

use schemas::TaskKey;
use schemas::event::{ChunkCut, ChunkKind, SourceProbed};
use schemas::source::VideoTrack;

use crate::media::RECIPE;
use crate::stage::{Context, Stage, StageError};

/// Longest chunk that is aimed for, seconds.
const LONGEST: f64 = 10.0;
/// Shortest chunk that is aimed for, seconds.
const SHORTEST: f64 = 2.0;
/// A short video is cut into this many chunks, so that every core has work to the end.
const PIECES: f64 = 8.0;
/// The first chunk is no longer than this, seconds, so that playback starts early.
const FIRST: f64 = 4.0;
/// No chunk is longer than this part of what is left.
const TAIL_PIECES: f64 = 4.0;
/// Chunks that share a keyframe decode from it each; more of them would decode more than they encode.
const PIECES_PER_KEYFRAME: usize = 3;

/// Plans chunks.
#[derive(Default)]
pub struct Split;

impl Stage for Split {
    type In = SourceProbed;
    type Out = ChunkCut;
    const NAME: &'static str = "split";

    async fn process(&self, event: SourceProbed, _cx: &Context) -> Result<Vec<ChunkCut>, StageError> {
        Ok(plan(&event))
    }
}

/// A range of the plan, ticks of the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: Option<i64>,
    end: Option<i64>,
    decode_from: Option<i64>,
}

/// The chunks of a source: audio first, when there is any, then video in order of time.
fn plan(source: &SourceProbed) -> Vec<ChunkCut> {
    let video = &source.media.video;
    let ranges = ranges(video, &source.keyframes);
    let has_audio = source.media.audio.is_some();
    let frames = video.frames.max(1);
    // Sound costs about a fiftieth of the pictures.
    let audio_weight = if has_audio { (frames / 50).max(1) } else { 0 };
    let weights: Vec<u64> = ranges.iter().map(|range| weight(video, range)).collect();
    let total_weight = audio_weight + weights.iter().sum::<u64>();
    let total = u32::try_from(ranges.len() + usize::from(has_audio)).unwrap_or(u32::MAX);
    let chunk = |index: usize, kind: ChunkKind, range: Option<&Range>, weight: u64| {
        let bound = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let (start, end, decode_from) = range.map_or((None, None, None), |r| (r.start, r.end, r.decode_from));
        let what = match kind {
            ChunkKind::Audio => format!("audio@{}", source.audio_kbps),
            ChunkKind::Video => {
                let rungs = source.rungs.iter().map(|r| format!("{}x{}@{}", r.width, r.height, r.max_kbps));
                rungs.collect::<Vec<_>>().join(",")
            }
        };
        ChunkCut {
            job: source.job,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            total,
            kind,
            task: TaskKey::of(&[&source.source.sha256, &bound(start), &bound(end), &what, RECIPE]),
            source: source.source.clone(),
            media: source.media.clone(),
            start,
            end,
            decode_from,
            weight,
            total_weight,
            rungs: source.rungs.clone(),
            audio_kbps: if kind == ChunkKind::Audio { source.audio_kbps } else { 0 },
            recipe: RECIPE.to_owned(),
        }
    };
    let audio = has_audio.then(|| chunk(0, ChunkKind::Audio, None, audio_weight));
    let video = ranges.iter().zip(weights).enumerate().map(|(position, (range, weight))| {
        chunk(position + usize::from(has_audio), ChunkKind::Video, Some(range), weight)
    });
    audio.into_iter().chain(video).collect()
}

/// Frames that a range holds if they are spread evenly, at least 1.
fn weight(video: &VideoTrack, range: &Range) -> u64 {
    let (start, end) = (range.start.unwrap_or(video.start), range.end.unwrap_or(video.end));
    let share = (end - start).max(0) as f64 / (video.end - video.start).max(1) as f64;
    ((video.frames as f64 * share).round() as u64).max(1)
}

fn ranges(video: &VideoTrack, keyframes: &[i64]) -> Vec<Range> {
    let cuts = cuts(video, keyframes);
    let starts = [None].into_iter().chain(cuts.iter().copied().map(Some));
    let ends = cuts.iter().copied().map(Some).chain([None]);
    starts
        .zip(ends)
        .map(|(start, end)| Range {
            start,
            end,
            decode_from: start.and_then(|start| {
                let before = keyframes.partition_point(|keyframe| *keyframe <= start);
                // From the very first keyframe nothing needs to be sought.
                (before > 1).then(|| keyframes[before - 1])
            }),
        })
        .collect()
}

/// Where chunks meet, ascending, strictly inside the video.
fn cuts(video: &VideoTrack, keyframes: &[i64]) -> Vec<i64> {
    let second = 1.0 / video.time_base.as_f64().max(f64::MIN_POSITIVE);
    let seconds = |ticks: i64| ticks as f64 / second;
    let ticks = |seconds: f64| (seconds * second).round() as i64;
    let wanted = (seconds(video.end - video.start) / PIECES).clamp(SHORTEST, LONGEST);
    let mut cuts = Vec::new();
    if keyframes.is_empty() {
        return cuts;
    }
    let mut last = video.start;
    loop {
        // Towards the end chunks get shorter, so that all workers finish at about the same time.
        let tail = (seconds(video.end - last) / TAIL_PIECES).max(SHORTEST);
        let length = if cuts.is_empty() { wanted.min(FIRST) } else { wanted.min(tail) };
        let target = last + ticks(length);
        if seconds(video.end - target) < (length * 0.4).max(0.5) {
            return cuts;
        }
        let (early, late) = (last + ticks(length * 0.5), last + ticks(length * 1.4));
        let near = keyframes
            .iter()
            .copied()
            .filter(|keyframe| (early..=late).contains(keyframe) && *keyframe > last)
            .min_by_key(|keyframe| (keyframe - target).abs());
        let next = keyframes.iter().copied().find(|keyframe| *keyframe > late);
        let cut = match (near, next) {
            (Some(near), _) => near,
            (None, Some(next)) if seconds(next - last) <= length * 2.0 => next,
            (None, next) => {
                // One group of pictures is longer than several chunks: share it out, but among few.
                let before = keyframes[keyframes.partition_point(|keyframe| *keyframe <= last).saturating_sub(1)];
                let shared = cuts.iter().filter(|cut| **cut > before).count();
                let gap = seconds(next.unwrap_or(video.end) - last);
                let share =
                    gap / (gap / length).ceil().clamp(1.0, PIECES_PER_KEYFRAME.saturating_sub(shared).max(1) as f64);
                let step = if cuts.is_empty() { length } else { share };
                match next {
                    Some(next) if shared >= PIECES_PER_KEYFRAME || last + ticks(step * 1.2) >= next => next,
                    None if shared >= PIECES_PER_KEYFRAME => return cuts,
                    _ => last + ticks(step),
                }
            }
        };
        if seconds(video.end - cut) < 0.5 || cut <= last {
            return cuts;
        }
        cuts.push(cut);
        last = cut;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stages::example;

    fn video(seconds: f64) -> VideoTrack {
        let (end, frames) = ((seconds * 1000.0) as i64, (seconds * 25.0) as u64);
        VideoTrack { end, frames, ..example::media().video }
    }

    fn every(seconds: f64, until: f64) -> Vec<i64> {
        (0..).map(|n| (f64::from(n) * seconds * 1000.0) as i64).take_while(|k| *k < (until * 1000.0) as i64).collect()
    }

    #[test]
    fn thirty_seconds_become_at_least_eight_chunks_at_keyframes() {
        let found = cuts(&video(30.0), &every(2.0, 30.0));
        assert_eq!(found, [4000, 8000, 12_000, 16_000, 20_000, 22_000, 24_000, 26_000, 28_000]);
    }

    #[test]
    fn a_long_video_starts_short_goes_on_with_ten_seconds_and_ends_short() {
        let found = cuts(&video(120.0), &every(2.0, 120.0));
        assert_eq!(found[..8], [4000, 14_000, 24_000, 34_000, 44_000, 54_000, 64_000, 74_000]);
        assert_eq!(found[found.len() - 3..], [114_000, 116_000, 118_000]);
    }

    #[test]
    fn one_endless_group_of_pictures_is_shared_among_few() {
        let found = cuts(&video(360.0), &[0]);
        assert_eq!(found, [4000, 182_000]);
    }

    #[test]
    fn without_trust_in_times_there_is_one_chunk() {
        assert_eq!(ranges(&video(60.0), &[]), [Range { start: None, end: None, decode_from: None }]);
    }

    #[test]
    fn a_clip_below_two_seconds_is_one_chunk() {
        assert!(cuts(&video(1.0), &every(0.2, 1.0)).is_empty());
    }

    proptest! {
        #[test]
        fn ranges_cover_everything_once(length in 0.04_f64..4000.0, gop in 0.1_f64..500.0, shift in -5000_i64..5000) {
            let mut track = video(length);
            track.start += shift;
            track.end += shift;
            let keyframes: Vec<i64> = every(gop, length).into_iter().map(|k| k + shift).collect();
            let found = ranges(&track, &keyframes);
            prop_assert_eq!(found.first().unwrap().start, None);
            prop_assert_eq!(found.last().unwrap().end, None);
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
            }
            for range in &found {
                if let (Some(start), Some(end)) = (range.start, range.end) {
                    prop_assert!(start < end);
                }
                if let Some(from) = range.decode_from {
                    prop_assert!(from <= range.start.unwrap() && keyframes.contains(&from));
                }
            }
        }
    }
}
