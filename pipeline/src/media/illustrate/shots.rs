//! Where shots begin, told from prints of frames as they pass: cuts, fades and dissolves.
//!
//! A cut is a step that stands out from those around it and leads to a picture that stays: a flash comes back, a jolt of the
//! camera only moves what was there. [`super::fades`] finds the rest.

use std::collections::VecDeque;

use super::Transition;
use super::fades::{self, Fades};
use super::prints::Print;

/// Least step that may be a cut, as a share of the range.
pub const JUMP: f64 = 0.04;

/// A step that is a cut even where there are others nearby.
const LEAP: f64 = 0.12;

/// Frames before and after that a step is compared with.
const AROUND: usize = 8;

/// Frames nearby, among which a leap must stand out.
const NEAR: usize = 4;

/// How many times larger than others a cut is.
const OUTSTANDING: f64 = 3.0;

/// Added to what others differ by, so that nothing stands out from stillness by noise.
const GRAIN: f64 = 0.01;

/// Longest flash, frames.
const FLASH: usize = 5;

/// A cut so near to a fade is its beginning or end, microseconds.
const AT_THE_END_US: i64 = 80_000;

/// Finds where shots begin.
pub struct Shots {
    /// Frames around the next one that is judged, oldest first.
    recent: VecDeque<Step>,
    /// Which of them is judged next.
    next: usize,
    /// The step to the frame that comes, when it is known.
    coming: Option<f64>,
    fades: Fades,
    /// Found, and not told yet, in order.
    found: Vec<Transition>,
}

/// A frame, and how much it differs from the one before.
struct Step {
    at_us: i64,
    print: Print,
    size: f64,
}

impl Default for Shots {
    fn default() -> Self {
        Self::new()
    }
}

impl Shots {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { recent: VecDeque::new(), next: 0, coming: None, fades: Fades::default(), found: Vec::new() }
    }

    /// How much a frame that comes next differs from the last one.
    pub fn step_to(&mut self, print: &Print) -> f64 {
        let size = self.recent.back().map_or(0.0, |last| last.print.distance(print));
        self.coming = Some(size);
        size
    }

    /// Whether the last frame may have begun a shot.
    pub fn has_jumped(&self) -> bool {
        self.recent.back().is_some_and(|last| last.size >= JUMP)
    }

    /// Takes the next frame; times ascend.
    pub fn push(&mut self, at_us: i64, print: Print) {
        let size = match self.coming.take() {
            Some(size) => size,
            None => self.recent.back().map_or(0.0, |last| last.print.distance(&print)),
        };
        if let Some(fade) = self.fades.push(at_us, &print) {
            self.found(fade);
        }
        self.recent.push_back(Step { at_us, print, size });
        while self.recent.len() - self.next > AROUND {
            self.judge_next();
        }
    }

    /// The time up to which everything is known, and transitions before it that were not told yet.
    pub fn settled(&mut self) -> (i64, Vec<Transition>) {
        let undecided = self.recent.get(self.next).map(|step| step.at_us);
        let until = undecided.into_iter().chain(self.fades.settled()).min().unwrap_or(i64::MIN);
        let count =
            self.found.iter().take_while(|found| found.end_us.saturating_add(fades::TOGETHER_US) < until).count();
        let told = self.found.drain(..count).collect();
        // What is found and may still grow is not settled.
        (self.found.first().map_or(until, |found| until.min(found.start_us)), told)
    }

    /// The transitions that are left when no frame follows.
    pub fn finish(&mut self) -> Vec<Transition> {
        while self.next < self.recent.len() {
            self.judge_next();
        }
        if let Some(fade) = self.fades.finish() {
            self.found(fade);
        }
        std::mem::take(&mut self.found)
    }

    fn judge_next(&mut self) {
        if self.is_cut(self.next) {
            let at_us = self.recent[self.next].at_us;
            self.found(Transition { start_us: at_us, end_us: at_us });
        }
        self.next += 1;
        if self.next > AROUND {
            self.recent.pop_front();
            self.next -= 1;
        }
    }

    fn is_cut(&self, at: usize) -> bool {
        let frames = &self.recent;
        let size = frames[at].size;
        if at == 0 || size < JUMP {
            return false;
        }
        let others = |reach: usize| -> Vec<f64> {
            let last = (at + reach).min(frames.len() - 1);
            let mut sizes: Vec<f64> = (at.saturating_sub(reach).max(1)..=last)
                .filter(|other| *other != at)
                .map(|other| frames[other].size)
                .collect();
            sizes.sort_by(f64::total_cmp);
            sizes
        };
        let (around, near) = (others(AROUND), others(NEAR));
        let typical = |sizes: &[f64], share: usize| sizes.get(sizes.len() * share / 10).copied().unwrap_or(0.0);
        let stands_out = size >= OUTSTANDING * typical(&around, 8) + GRAIN;
        let leaps = size >= LEAP && size >= OUTSTANDING * typical(&near, 5) + GRAIN;
        (stands_out || leaps) && !self.comes_back(at) && !self.only_moved(at)
    }

    /// Whether the picture before is back soon after, or this one was there shortly before: a flash begins or ends here.
    fn comes_back(&self, at: usize) -> bool {
        let frames = &self.recent;
        let is_near =
            |one: usize, other: usize| frames[one].print.distance(&frames[other].print) < 0.45 * frames[at].size;
        let begins =
            (at + 1..=at + FLASH).take_while(|after| *after < frames.len()).any(|after| is_near(at - 1, after));
        let ends = (1..=FLASH).take_while(|back| *back < at).any(|back| is_near(at - 1 - back, at));
        begins || ends
    }

    fn only_moved(&self, at: usize) -> bool {
        self.recent[at - 1].print.left_when_moved(&self.recent[at].print) < fades::MOVED
    }

    /// Takes note of a transition; one that belongs to a fade becomes a part of it.
    fn found(&mut self, transition: Transition) {
        let place = self.found.partition_point(|other| other.start_us <= transition.start_us);
        self.found.insert(place, transition);
        let is_fade = |transition: &Transition| transition.start_us < transition.end_us;
        self.found.dedup_by(|next, before| {
            let reach = match (is_fade(before), is_fade(next)) {
                (true, true) => fades::TOGETHER_US,
                (false, false) => return false,
                _ => AT_THE_END_US,
            };
            let is_one = next.start_us - before.end_us < reach;
            if is_one {
                before.end_us = before.end_us.max(next.end_us);
            }
            is_one
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::illustrate::planes::Planes;

    /// Microseconds of a frame.
    const FRAME_US: i64 = 40_000;

    /// A picture of blocks that `seed` draws, moved by `shift` pixels, `share` as bright, with `noise`.
    fn scene(seed: usize, shift: usize, light: f64, noise: usize) -> Planes {
        let mut planes = Planes::plain(160, 90, [0, 128, 128]);
        let block = |x: usize, y: usize| (x / 14 * 73 + y / 11 * 151 + seed * 97) * (seed + 3) % 211;
        for (at, pixel) in planes.y.iter_mut().enumerate() {
            let (x, y) = (at % 160 + shift, at / 160);
            let grain = (at * 7919 + noise * 104_729) % 31;
            let wave = if noise > 0 { grain as f64 - 15.0 } else { 0.0 };
            *pixel = (block(x, y) as f64 * light + wave).clamp(0.0, 255.0) as u8;
        }
        planes
    }

    fn blend(a: &Planes, b: &Planes, share: f64) -> Planes {
        let mut planes = a.clone();
        for (pixel, other) in planes.y.iter_mut().zip(&b.y) {
            *pixel = (f64::from(*pixel) * (1.0 - share) + f64::from(*other) * share) as u8;
        }
        planes
    }

    fn found(frames: impl IntoIterator<Item = Planes>) -> Vec<Transition> {
        let (mut shots, mut all, mut before) = (Shots::new(), Vec::new(), i64::MIN);
        for (at, frame) in frames.into_iter().enumerate() {
            shots.push(at as i64 * FRAME_US, Print::of(&frame));
            let (until, told) = shots.settled();
            assert!(until >= before, "what is settled stays settled");
            before = until;
            all.extend(told);
        }
        all.extend(shots.finish());
        assert!(all.windows(2).all(|pair| pair[0].end_us <= pair[1].start_us), "{all:?}");
        all
    }

    fn cuts(transitions: &[Transition]) -> Vec<i64> {
        transitions.iter().map(|found| found.start_us / FRAME_US).collect()
    }

    #[test]
    fn cuts_are_found_where_they_are() {
        let shots = [(0, 30), (1, 12), (2, 4), (3, 3), (4, 40)];
        let frames = shots.iter().flat_map(|(seed, length)| (0..*length).map(|at| scene(*seed, at, 1.0, at)));
        assert_eq!(cuts(&found(frames)), [30, 42, 46, 49]);
    }

    #[test]
    fn flashes_motion_noise_and_light_are_no_cuts() {
        let flash = (0..60).map(|at| match at {
            20..23 | 40 => Planes::plain(160, 90, [250, 128, 128]),
            _ => scene(1, at / 2, 1.0, 0),
        });
        assert_eq!(found(flash), [], "flashes");
        assert_eq!(found((0..80).map(|at| scene(1, at * 9, 1.0, at))), [], "a fast pan with noise");
        let twos = (0..80).map(|at| scene(1, at / 2 * 9, 1.0, 0));
        assert_eq!(found(twos), [], "each picture shown twice");
        let jolt = (0..60).map(|at| scene(1, if at < 30 { 0 } else { 17 }, 1.0, 0));
        assert_eq!(found(jolt), [], "a jolt");
        let dusk = (0..80).map(|at| scene(1, 0, 1.0 - f64::from(at) * 0.006, 0));
        assert_eq!(found(dusk), [], "the light goes slowly");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_dissolve_is_one_transition_that_overlaps_it(
            start in 20_usize..60, length in 8_usize..60, from in 0_usize..5, to in 5_usize..9, noise in 0_usize..2,
        ) {
            let frames = (0..start + length + 40).map(|at| {
                let share = (at as f64 - start as f64).clamp(0.0, length as f64) / length as f64;
                blend(&scene(from, 0, 1.0, at * noise), &scene(to, 0, 1.0, at * noise), share)
            });
            let all = found(frames);
            prop_assert_eq!(all.len(), 1, "{:?}", all);
            let (start_us, end_us) = (start as i64 * FRAME_US, (start + length) as i64 * FRAME_US);
            prop_assert!(all[0].start_us < end_us && all[0].end_us > start_us, "{:?}", all);
            let overlap = all[0].end_us.min(end_us) - all[0].start_us.max(start_us);
            let union = all[0].end_us.max(end_us) - all[0].start_us.min(start_us);
            prop_assert!(overlap * 2 >= union, "{:?} instead of {}-{}", all, start_us, end_us);
        }

        #[test]
        fn a_fade_through_black_is_one_transition(start in 30_usize..50, length in 6_usize..40, dark in 0_usize..8) {
            let frames = (0..start + 2 * length + dark + 30).map(|at| {
                let out = (at as f64 - start as f64).clamp(0.0, length as f64) / length as f64;
                let again = (at as f64 - (start + length + dark) as f64).clamp(0.0, length as f64) / length as f64;
                if again > 0.0 { scene(2, 0, again, 0) } else { scene(1, 0, 1.0 - out, 0) }
            });
            let all = found(frames);
            prop_assert_eq!(all.len(), 1, "{:?}", all);
            let middle = (start + length) as i64 * FRAME_US;
            prop_assert!(all[0].start_us < middle && all[0].end_us >= middle, "{:?}", all);
        }

        #[test]
        fn cuts_at_any_distance_of_three_frames_or_more_are_found(lengths in prop::collection::vec(3_usize..30, 2..12)) {
            let expected: Vec<i64> = lengths.iter().scan(0, |sum, length| { *sum += *length as i64; Some(*sum) }).collect();
            let frames = lengths.iter().enumerate().flat_map(|(seed, length)| (0..*length).map(move |at| scene(seed, at, 1.0, 0)));
            let all = cuts(&found(frames));
            prop_assert_eq!(&all[..], &expected[..expected.len() - 1]);
        }
    }
}
