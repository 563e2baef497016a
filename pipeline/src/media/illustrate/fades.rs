//! Fades and dissolves, told from prints of frames.
//!
//! One is a stretch on which every print lies between the ends, in proportion (the linear model of Hampapur, Jain and Weymouth,
//! "Digital video segmentation", ACM Multimedia 1994), faster than what is beside it. Things that move are not on the way between
//! two places, a title changes a part of the picture, and what is only lit anew is the same shot.

use std::collections::VecDeque;

use super::Transition;
use super::prints::Print;

/// Shortest time between the frames in which fades are looked for, microseconds.
const PACE_US: i64 = 38_000;

/// Longest stretch that is tried as one fade, microseconds; longer ones are found in pieces.
const LONGEST_US: i64 = 4_000_000;

/// Lengths of the stretches that are tried, in steps of the pace, and the least change on each.
const STRETCHES: [(usize, f64); 5] = [(4, 0.12), (8, 0.07), (16, 0.06), (32, 0.06), (48, 0.06)];

/// How far a print may be off the way between the ends, as a share of that way: on a stretch, and over a whole fade.
const STRAIGHT: f64 = 0.22;
const STRAIGHT_ON_THE_WHOLE: f64 = 0.30;

/// Longest fade, microseconds: what goes on for longer is motion.
const LONGEST_FADE_US: i64 = 8_000_000;

/// Least change over a whole fade.
const FADE: f64 = 0.09;

/// Frames so near to the ends of a fade do not belong to it, as a share of its way.
const NEAR_THE_END: f64 = 0.05;

/// Steps of the pace before and after a fade that it is compared with, and how many times faster it must be.
const BESIDE: usize = 8;
const FASTER: f64 = 1.3;

/// What share of the picture a fade changes at least: a title that comes over it is no other shot.
const MOST_OF_IT: f64 = 0.35;

/// A fade is over when nothing of it was seen for so long, microseconds.
const OVER_US: i64 = 300_000;

/// Two fades so near to each other are one, as where a shot fades to black and another one from it, microseconds.
pub const TOGETHER_US: i64 = 500_000;

/// Share of a step that is left when one picture is moved over the other, below which only the camera has moved.
pub const MOVED: f64 = 0.2;

/// Finds fades.
#[derive(Default)]
pub struct Fades {
    /// Frames in which fades are looked for, oldest first.
    paced: VecDeque<(i64, Print)>,
    fade: Option<Fade>,
    /// Where the last one ended.
    ended_us: Option<i64>,
}

/// A fade that may go on.
struct Fade {
    /// Its frames, with their times.
    frames: VecDeque<(i64, Print)>,
    /// How far the picture went in the steps before it, and in how many.
    before: Option<(f64, usize)>,
}

impl Fades {
    /// Takes the next frame; times ascend. Answers a fade that has ended.
    pub fn push(&mut self, at_us: i64, print: &Print) -> Option<Transition> {
        if self.paced.back().is_some_and(|(last, _)| at_us - last < PACE_US) {
            return None;
        }
        self.paced.push_back((at_us, print.clone()));
        while self.paced.len() > STRETCHES[STRETCHES.len() - 1].0 + 1 + BESIDE
            || self.paced.front().is_some_and(|(first, _)| at_us - first > LONGEST_US)
        {
            self.paced.pop_front();
        }
        self.look()
    }

    /// Times that no fade begins before any more; none when there was no frame.
    pub fn settled(&self) -> Option<i64> {
        let reach = self.paced.front().map(|(at_us, _)| *at_us);
        reach.into_iter().chain(self.fade.as_ref().map(Fade::start_us)).min()
    }

    /// Looks whether the paced frames end in a fade; answers the one before when that is over.
    fn look(&mut self) -> Option<Transition> {
        let last = self.paced.len() - 1;
        let (end_us, end) = &self.paced[last];
        let end_us = *end_us;
        let mut longest = None;
        for (length, least) in STRETCHES {
            if length > last {
                break;
            }
            let start = &self.paced[last - length].1;
            let way = start.distance(end);
            let is_straight = |quarter: usize| {
                let point = &self.paced[last - length + length * quarter / 4].1;
                point.off_the_way(start, end, quarter as f32 / 4.0) <= STRAIGHT * way
            };
            if way >= least && (1..=3).all(is_straight) {
                longest = Some(last - length);
            }
        }
        let is_over = self.fade.as_ref().is_some_and(|fade| end_us - fade.end_us() > OVER_US);
        let Some(first) = longest else { return if is_over { self.finish() } else { None } };
        let start_us = self.paced[first].0;
        let begin = first.saturating_sub(BESIDE);
        let before = (begin < first).then(|| (self.paced[begin].1.distance(&self.paced[first].1), first - begin));
        match &mut self.fade {
            Some(fade) if start_us < fade.end_us() && fade.goes_on_to(end) && fade.is_short(end_us) => {
                if start_us < fade.start_us() {
                    fade.before = before;
                }
                fade.extend(self.paced.range(first..));
                None
            }
            _ => {
                let ended = self.finish();
                self.fade = Some(Fade { frames: self.paced.range(first..).cloned().collect(), before });
                ended
            }
        }
    }

    /// The fade that goes on ends here; answers it if it is one.
    pub fn finish(&mut self) -> Option<Transition> {
        let mut fade = self.fade.take()?;
        fade.cut_at_plain();
        // Beside black or white another fade may go on as fast.
        let (is_from_plain, is_to_plain) = fade.plain_ends();
        fade.trim();
        let end_us = fade.end_us();
        let later = self.paced.iter().filter(|(at_us, _)| *at_us > end_us).take(BESIDE);
        let steps = later.clone().count();
        let end = fade.frames.back().map(|(_, print)| print);
        let after = end.zip(later.last()).map(|(end, (_, last))| (end.distance(last), steps));
        let after = after.filter(|_| !is_to_plain);
        // The other half of a fade through black may have been faster.
        let is_near = self.ended_us.is_some_and(|ended_us| fade.start_us() - ended_us < TOGETHER_US);
        let is_other_half = is_near && fade.comes_from_little();
        let before = fade.before.filter(|_| !is_from_plain && !is_other_half);
        if !fade.is_transition(before, after) {
            return None;
        }
        self.ended_us = Some(end_us);
        Some(Transition { start_us: fade.start_us(), end_us })
    }
}

impl Fade {
    fn start_us(&self) -> i64 {
        self.frames.front().map_or(0, |(at_us, _)| *at_us)
    }

    fn end_us(&self) -> i64 {
        self.frames.back().map_or(0, |(at_us, _)| *at_us)
    }

    /// Whether it is no longer than a fade may be when it goes on to `end_us`.
    fn is_short(&self, end_us: i64) -> bool {
        end_us - self.start_us() <= LONGEST_FADE_US
    }

    /// Whether `print` lies further on the way of the fade.
    fn goes_on_to(&self, print: &Print) -> bool {
        let (Some((_, first)), Some((_, last))) = (self.frames.front(), self.frames.back()) else { return false };
        let was_plain = self.frames.iter().rev().take(STRETCHES[0].0).any(|(_, print)| print.is_plain());
        let is_other_half = was_plain && !first.is_plain() && !print.is_plain();
        !is_other_half && first.distance(print) >= 0.9 * first.distance(last)
    }

    /// Takes in what lies before and after it in `frames`.
    fn extend<'a>(&mut self, frames: impl DoubleEndedIterator<Item = &'a (i64, Print)> + Clone) {
        let (start_us, end_us) = (self.start_us(), self.end_us());
        frames
            .clone()
            .rev()
            .filter(|(at_us, _)| *at_us < start_us)
            .for_each(|frame| self.frames.push_front(frame.clone()));
        self.frames.extend(frames.filter(|(at_us, _)| *at_us > end_us).cloned());
    }

    /// Ends it where it comes to a single tone, and begins it where it leaves one: what is beyond is another fade, of which a stretch
    /// may have taken the first frames.
    fn cut_at_plain(&mut self) {
        let middle = self.frames.len() / 2;
        let plainest = |places: std::ops::Range<usize>| {
            let plain = places.filter(|place| self.frames[*place].1.is_plain());
            plain.min_by(|a, b| self.frames[*a].1.contrast().total_cmp(&self.frames[*b].1.contrast()))
        };
        let (begin, end) = (plainest(0..middle), plainest(middle..self.frames.len()));
        self.frames.truncate(end.map_or(self.frames.len(), |place| place + 1));
        self.frames.drain(..begin.unwrap_or(0));
    }

    /// Whether it begins and ends with black, white or another single tone.
    fn plain_ends(&self) -> (bool, bool) {
        let is_plain = |end: Option<&(i64, Print)>| end.is_some_and(|(_, print)| print.is_plain());
        (is_plain(self.frames.front()), is_plain(self.frames.back()))
    }

    /// Whether it begins with much less to see than it ends with.
    fn comes_from_little(&self) -> bool {
        let ends = self.frames.front().zip(self.frames.back());
        ends.is_some_and(|((_, first), (_, last))| first.contrast() < 0.5 * last.contrast())
    }

    /// Leaves out what hardly differs from its ends: stretches reach a little beyond.
    fn trim(&mut self) {
        let (Some((_, first)), Some((_, last))) = (self.frames.front(), self.frames.back()) else { return };
        let near = NEAR_THE_END * first.distance(last);
        let is_begin = |(_, print): &&(i64, Print)| print.distance(first) <= near;
        let is_end = |(_, print): &&(i64, Print)| print.distance(last) <= near;
        let begin = self.frames.iter().take_while(is_begin).count().saturating_sub(1);
        let end = self.frames.len() - self.frames.iter().rev().take_while(is_end).count().saturating_sub(1);
        self.frames = self.frames.range(begin.min(end)..end).cloned().collect();
    }

    /// Whether it leads straight from one picture to another one, and faster than what is beside it.
    fn is_transition(&self, before: Option<(f64, usize)>, after: Option<(f64, usize)>) -> bool {
        let (Some((_, first)), Some((_, last))) = (self.frames.front(), self.frames.back()) else { return false };
        let way = first.distance(last);
        let is_straight = |quarter: usize| {
            let point = &self.frames[(self.frames.len() - 1) * quarter / 4];
            let share = (point.0 - self.start_us()) as f32 / (self.end_us() - self.start_us()).max(1) as f32;
            point.1.off_the_way(first, last, share) <= STRAIGHT_ON_THE_WHOLE * way
        };
        let steps = self.frames.len().saturating_sub(1).max(1);
        let is_faster = |beside: Option<(f64, usize)>| {
            let beside = beside.filter(|(_, count)| *count >= BESIDE / 2);
            beside.is_none_or(|(far, count)| way * (count.min(steps) as f64 / steps as f64) >= FASTER * far)
        };
        way >= FADE
            && is_faster(before)
            && is_faster(after)
            && (1..=3).all(is_straight)
            && !first.is_relit(last)
            && first.share_changed(last) >= MOST_OF_IT
            && first.left_when_moved(last) >= MOVED
    }
}
