//! How pictures change from one to the next, measured on tiny copies.

use serde::{Deserialize, Serialize};

use crate::media::illustrate::planes::Planes;
use crate::media::illustrate::prints::Print;
use crate::media::illustrate::shots::Shots;

/// A pixel that differs by more has changed, luma or chroma.
const CHANGED: u8 = 8;

/// A picture in which no pixel differs by more is the same one again: what an encoder leaves of nothing.
const SAME: u8 = 1;

/// A pair moves when more of its pixels have changed.
const MOVING: f64 = 0.02;

/// Side of the squares in which changes are counted, pixels of the tiny copy.
const SQUARE: usize = 8;

/// How pictures change: means over all pairs of neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// Share of the pixels that change.
    pub changed: f64,
    /// How much all pixels change, levels of luma or chroma.
    pub step: f64,
    /// Share of the pairs that are the same picture twice.
    pub still: f64,
    /// Share of the pairs in which something moves.
    pub moving: f64,
    /// Share of the picture, in squares, in which anything changes, over the pairs that are not the same picture.
    pub spread: f64,
    /// Shots begun in a minute.
    pub shots_per_minute: f64,
}

impl Motion {
    /// All of it, by name.
    pub fn features(&self) -> [(&'static str, f64); 6] {
        let Self { changed, step, still, moving, spread, shots_per_minute } = *self;
        [
            ("changed", changed),
            ("step", step),
            ("still", still),
            ("moving", moving),
            ("spread", spread),
            ("shots_per_minute", shots_per_minute),
        ]
    }
}

/// Watches pictures pass.
#[derive(Default)]
pub struct Watch {
    shots: Option<Shots>,
    before: Option<(i64, Planes)>,
    cuts: usize,
    /// Time between the first and the last picture of every run.
    watched_us: i64,
    pairs: u64,
    same: u64,
    moving: u64,
    changed: f64,
    step: f64,
    spread: f64,
}

impl Watch {
    /// Takes the next picture.
    pub fn push(&mut self, at_us: i64, tiny: Planes, print: Print) {
        self.shots.get_or_insert_with(Shots::new).push(at_us, print);
        if let Some((before_us, before)) = self.before.take() {
            self.watched_us += at_us.saturating_sub(before_us).max(0);
            self.compare(&before, &tiny);
        }
        self.before = Some((at_us, tiny));
    }

    /// What comes next does not follow.
    pub fn end(&mut self) {
        self.before = None;
        self.cuts += self.shots.take().map_or(0, |mut shots| shots.finish().len());
    }

    /// What was seen.
    pub fn motion(&self) -> Motion {
        let pairs = self.pairs.max(1) as f64;
        let minutes = self.watched_us as f64 / 60e6;
        Motion {
            changed: self.changed / pairs,
            step: self.step / pairs,
            // A single picture does not move.
            still: if self.pairs == 0 { 1.0 } else { self.same as f64 / pairs },
            moving: self.moving as f64 / pairs,
            spread: self.spread / (self.pairs - self.same).max(1) as f64,
            shots_per_minute: if minutes > 0.0 { self.cuts as f64 / minutes } else { 0.0 },
        }
    }

    fn compare(&mut self, before: &Planes, after: &Planes) {
        let (width, height) = (after.width, after.height);
        if (before.width, before.height) != (width, height) || width == 0 || height == 0 {
            return;
        }
        let (columns, rows) = (width.div_ceil(SQUARE), height.div_ceil(SQUARE));
        let mut touched = vec![false; columns * rows];
        let (mut changed, mut sum, mut most) = (0_u64, 0_u64, 0);
        let lines = before.y.chunks_exact(width).zip(after.y.chunks_exact(width));
        for (y, (old, new)) in lines.enumerate() {
            for (x, (old, new)) in old.iter().zip(new).enumerate() {
                let chroma = (y / 2 * (width / 2) + x / 2).min(before.cb.len().saturating_sub(1));
                let of = |old: &[u8], new: &[u8]| {
                    old.get(chroma).zip(new.get(chroma)).map_or(0, |(old, new)| old.abs_diff(*new))
                };
                // Colours may change where light does not; encoders leave more of nothing in them.
                let colour = of(&before.cb, &after.cb).max(of(&before.cr, &after.cr)).saturating_sub(2);
                let by = old.abs_diff(*new).max(colour);
                sum += u64::from(by);
                most = most.max(by);
                if by > CHANGED {
                    changed += 1;
                    touched[y / SQUARE * columns + x / SQUARE] = true;
                }
            }
        }
        let pixels = (width * height) as f64;
        let share = changed as f64 / pixels;
        self.pairs += 1;
        self.changed += share;
        self.step += sum as f64 / pixels;
        self.moving += u64::from(share > MOVING);
        if most <= SAME {
            self.same += 1;
        } else {
            self.spread += touched.iter().filter(|touched| **touched).count() as f64 / touched.len() as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watched(pictures: impl IntoIterator<Item = Planes>) -> Motion {
        let mut watch = Watch::default();
        for (at, picture) in pictures.into_iter().enumerate() {
            let print = Print::of(&picture);
            watch.push(at as i64 * 40_000, picture, print);
        }
        watch.end();
        watch.motion()
    }

    fn plain(luma: u8) -> Planes {
        Planes::plain(160, 90, [luma, 128, 128])
    }

    #[test]
    fn nothing_and_one_picture_do_not_move() {
        for motion in [watched([]), watched([plain(90)]), watched((0..9).map(|_| plain(90)))] {
            assert_eq!((motion.still, motion.changed, motion.shots_per_minute), (1.0, 0.0, 0.0));
        }
    }

    #[test]
    fn a_speck_that_jumps_changes_little_of_the_picture() {
        let motion = watched((0..20).map(|at| {
            let mut picture = plain(30);
            picture.paste(&Planes::plain(8, 8, [220, 128, 128]), at % 10 * 16, 40);
            picture
        }));
        assert_eq!(motion.still, 0.0);
        assert!((motion.changed - 128.0 / 14_400.0).abs() < 1e-9, "{motion:?}");
        assert!(motion.spread < 0.03 && motion.moving == 0.0, "{motion:?}");
    }

    #[test]
    fn cuts_are_counted_by_time_and_not_across_gaps() {
        let scene = |at: usize| plain(if (at / 25).is_multiple_of(2) { 40 } else { 200 });
        let motion = watched((0..100).map(scene));
        let minute = 99.0 * 0.04 / 60.0;
        assert!((motion.shots_per_minute - 3.0 / minute).abs() < 1e-6, "{motion:?}");
        let mut watch = Watch::default();
        for run in 0..4 {
            for at in 0..10 {
                let picture = scene(run * 25);
                let print = Print::of(&picture);
                watch.push(at * 40_000, picture, print);
            }
            watch.end();
        }
        assert_eq!(watch.motion().shots_per_minute, 0.0);
    }

    proptest! {
        #[test]
        fn all_of_it_is_shares(lumas in prop::collection::vec(any::<u8>(), 0..30)) {
            let motion = watched(lumas.into_iter().map(plain));
            for share in [motion.changed, motion.still, motion.moving, motion.spread] {
                prop_assert!((0.0..=1.0).contains(&share), "{:?}", motion);
            }
            prop_assert!((0.0..=255.0).contains(&motion.step) && motion.shots_per_minute >= 0.0);
        }
    }
}
