//! Where speech is cut into spans: a pure function of how much each frame sounds like speech.
//!
//! Frames of 32 ms that sound like it for long enough are a run; runs that lie close together are a span, up to a length, and a longer
//! one is cut where it is quietest.

use std::collections::VecDeque;
use std::ops::Range;

/// A run begins with a frame that is as likely as this to be speech, and has some of them.
const BEGINS: f32 = 0.5;
/// A run goes on while a frame is as likely as this to be speech.
const GOES_ON: f32 = 0.35;
/// Frames of a run at least as likely as [`BEGINS`]: a click is no speech.
const LEAST: u32 = 6;
/// Frames of silence inside a run, about a tenth of a second.
const PAUSE: u64 = 3;
/// Frames of silence inside a span, about a second.
const JOINED: u64 = 31;
/// Frames before and after the speech of a span, about a fifth of a second.
const PADDING: u64 = 6;
/// Most frames of a span with its padding, 28 s.
pub const LONGEST: u64 = 875;
/// Frames over which quietness is measured.
const QUIET: u64 = 5;

/// A span and the runs in it, in frames from the beginning; runs are in order and none touches another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The span with its padding.
    pub frames: Range<u64>,
    /// Its runs.
    pub runs: Vec<Range<u64>>,
}

/// Takes frames in order, gives spans in order.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Frames taken.
    taken: u64,
    /// End of the last span given.
    given: u64,
    /// Finished runs of the span that is open.
    runs: Vec<Range<u64>>,
    /// The run that is open.
    open: Option<Open>,
    /// Loudness of the last frames, the newest last.
    levels: VecDeque<f32>,
}

/// A run that may go on.
#[derive(Clone, Debug)]
struct Open {
    start: u64,
    end: u64,
    sure: u32,
}

impl Cutter {
    /// Takes a frame: how likely it is speech, from 0 to 1, and how loud it is.
    pub fn take(&mut self, likelihood: f32, level: f32) -> Option<Cut> {
        let at = self.taken;
        self.taken += 1;
        self.levels.push_back(level);
        if self.levels.len() as u64 > LONGEST {
            self.levels.pop_front();
        }
        match &mut self.open {
            Some(open) if likelihood >= GOES_ON => {
                open.end = at + 1;
                open.sure += u32::from(likelihood >= BEGINS);
            }
            Some(open) if at + 1 - open.end > PAUSE => self.close(),
            None if likelihood >= BEGINS => self.open = Some(Open { start: at, end: at + 1, sure: 1 }),
            Some(_) | None => {}
        }
        let first = self.first()?;
        if self.taken - first >= LONGEST - 2 * PADDING {
            return self.split(first);
        }
        match (&self.open, self.runs.last()) {
            (None, Some(last)) if self.taken - last.end > JOINED => self.give(),
            _ => None,
        }
    }

    /// There are no more frames.
    pub fn finish(&mut self) -> Option<Cut> {
        self.close();
        self.give()
    }

    /// The first frame that a later span can have.
    pub fn wanted_from(&self) -> u64 {
        self.first().unwrap_or(self.taken).saturating_sub(PADDING).max(self.given)
    }

    fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.start).or(self.open.as_ref().map(|open| open.start))
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take().filter(|open| open.sure >= LEAST) {
            self.runs.push(open.start..open.end);
        }
    }

    fn give(&mut self) -> Option<Cut> {
        let runs = std::mem::take(&mut self.runs);
        let (start, end) = (runs.first()?.start, runs.last()?.end);
        let frames = start.saturating_sub(PADDING).max(self.given)..(end + PADDING).min(self.taken);
        self.given = frames.end;
        Some(Cut { frames, runs })
    }

    /// Gives the beginning of the open span, which starts at `first` and is as long as one may be.
    fn split(&mut self, first: u64) -> Option<Cut> {
        let earliest = first + (self.taken - first) / 2;
        let open = self.open.as_ref().map(|open| open.start..open.end);
        let all: Vec<Range<u64>> = self.runs.iter().cloned().chain(open).collect();
        let gaps = all.windows(2).map(|pair| pair[0].end..pair[1].start).filter(|gap| gap.end > earliest);
        if let Some(gap) = gaps.max_by_key(|gap| gap.end - gap.start) {
            let later = self.runs.iter().position(|run| run.start >= gap.end).unwrap_or(self.runs.len());
            let later = self.runs.split_off(later);
            let mut cut = self.give()?;
            cut.frames.end = cut.frames.end.min(gap.end);
            self.given = cut.frames.end;
            self.runs = later;
            return Some(cut);
        }
        // Nobody pauses in the later half.
        let Some(open) = self.open.take() else { return self.give() };
        let at = self.quietest(earliest..self.taken).max(open.start);
        if open.sure >= LEAST {
            self.runs.push(open.start..open.end.min(at));
            self.open = (open.end > at).then_some(Open { start: at, ..open });
        }
        let frames = first.saturating_sub(PADDING).max(self.given)..at;
        self.given = at;
        let runs: Vec<Range<u64>> = std::mem::take(&mut self.runs).into_iter().filter(|run| !run.is_empty()).collect();
        (!runs.is_empty()).then_some(Cut { frames, runs })
    }

    /// The quietest of `frames`, all of which are remembered.
    fn quietest(&self, frames: Range<u64>) -> u64 {
        let oldest = self.taken - self.levels.len() as u64;
        let level = |at: u64| self.levels.get((at - oldest) as usize).copied().unwrap_or(f32::MAX);
        let around = |at: u64| (at..at + QUIET).map(level).sum::<f32>();
        let last = frames.end.saturating_sub(QUIET).max(frames.start + 1);
        let quietest = (frames.start..last).min_by(|a, b| around(*a).total_cmp(&around(*b)));
        quietest.unwrap_or(frames.start) + QUIET / 2
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "speech in one piece is a list of one range")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cuts(frames: impl IntoIterator<Item = (f32, f32)>) -> Vec<Cut> {
        let mut cutter = Cutter::default();
        let mut cuts: Vec<Cut> = frames.into_iter().filter_map(|(likely, level)| cutter.take(likely, level)).collect();
        cuts.extend(cutter.finish());
        cuts
    }

    /// So many frames of silence, then of speech, and so on.
    fn turns(lengths: &[usize]) -> Vec<(f32, f32)> {
        let of = |(turn, length): (usize, &usize)| vec![if turn % 2 == 0 { (0.0, 0.0) } else { (1.0, 1.0) }; *length];
        lengths.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn what_lies_close_together_is_one_span_and_a_click_is_none() {
        let found = cuts(turns(&[50, 100, 20, 30, 40, 3, 40, 60]));
        let first = Cut { frames: 44..206, runs: vec![50..150, 170..200] };
        let second = Cut { frames: 277..343, runs: vec![283..343] };
        assert_eq!(found, [first, second]);
        assert_eq!(cuts(turns(&[10, 50])), [Cut { frames: 4..60, runs: vec![10..60] }], "speech to the end");
        assert_eq!(cuts(turns(&[10_000])), []);
    }

    #[test]
    fn a_long_speech_is_cut_at_its_pause_or_where_it_is_quietest() {
        let found = cuts(turns(&[0, 600, 10, 2_000]));
        assert_eq!((found[0].frames.clone(), found[0].runs.clone()), (0..606, vec![0..600]));
        assert_eq!(found[1].frames.start, 606);
        let mut murmur = turns(&[0, 900]);
        murmur[700..710].fill((1.0, 0.01));
        let found = cuts(murmur);
        assert!((700..710).contains(&found[0].frames.end), "{:?}", found[0]);
        assert_eq!(found[1].runs[0].start, found[0].frames.end, "nothing is lost in between");
    }

    proptest! {
        #[test]
        fn spans_are_short_apart_in_order_and_hold_all_speech(
            lengths in prop::collection::vec(0..1_200_usize, 1..12),
            seed in any::<u32>(),
        ) {
            let noise = |at: usize| ((at as u32 ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
            let frames: Vec<(f32, f32)> =
                turns(&lengths).into_iter().enumerate().map(|(at, (likely, level))| (likely, level + noise(at))).collect();
            let found = cuts(frames.iter().copied());
            let mut before = 0;
            let mut held = vec![false; frames.len()];
            for cut in &found {
                prop_assert!(cut.frames.start >= before && cut.frames.end <= frames.len() as u64);
                prop_assert!(cut.frames.end - cut.frames.start <= LONGEST && !cut.runs.is_empty());
                let mut inside = cut.frames.start;
                for run in &cut.runs {
                    prop_assert!(run.start >= inside && run.start < run.end && run.end <= cut.frames.end);
                    inside = run.end;
                    held[run.start as usize..run.end as usize].fill(true);
                }
                before = cut.frames.end;
            }
            let mut at = 0;
            for (turn, length) in lengths.iter().enumerate() {
                if turn % 2 == 1 && *length >= LEAST as usize {
                    prop_assert!(held[at..at + length].iter().all(|held| *held), "speech at {}..{} in {:?}", at, at + length, found);
                }
                at += length;
            }
        }
    }
}
