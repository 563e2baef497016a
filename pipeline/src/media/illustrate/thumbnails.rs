//! One tiny picture of each shot, or of neighbouring shots the better one: however many shots there are, a bounded number.

use super::planes::Planes;

/// Most thumbnails of a video.
pub const MOST: usize = 64;

/// The picture of a shot.
#[derive(Clone, Debug, PartialEq)]
pub struct OfShot {
    /// The picture.
    pub tiny: Planes,
    /// When it is shown, microseconds.
    pub at_us: i64,
    /// How good it is.
    pub score: f64,
    /// Where the shot begins.
    pub start_us: i64,
    /// Where it ends.
    pub end_us: i64,
}

/// Thumbnails in the order of the shots.
#[derive(Clone, Debug, Default)]
pub struct Thumbnails(Vec<OfShot>);

impl Thumbnails {
    /// Adds that of the next shot.
    pub fn push(&mut self, thumbnail: OfShot) {
        self.0.push(thumbnail);
        if self.0.len() >= 2 * MOST {
            self.0 = fewer(std::mem::take(&mut self.0), MOST);
        }
    }

    /// All of them, at most [`MOST`].
    pub fn finish(self) -> Vec<OfShot> {
        fewer(self.0, MOST)
    }
}

/// The best of each of `most` runs of neighbours of about the same length; all where there are no more.
pub fn fewer(all: Vec<OfShot>, most: usize) -> Vec<OfShot> {
    let count = all.len();
    if count <= most || most == 0 {
        return if most == 0 { Vec::new() } else { all };
    }
    let mut kept: Vec<OfShot> = Vec::with_capacity(most);
    let mut runs = 0;
    for (at, thumbnail) in all.into_iter().enumerate() {
        let run = at * most / count;
        match kept.last_mut() {
            Some(best) if run + 1 == runs => {
                if thumbnail.score > best.score {
                    *best = thumbnail;
                }
            }
            _ => {
                kept.push(thumbnail);
                runs += 1;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bounded_number_is_kept_in_order_and_the_best_among_them(count in 0_usize..700, best in 0_usize..700) {
            let mut all = Thumbnails::default();
            for at in 0..count {
                let score = if at == best { 1.0 } else { (at * 37 % 100) as f64 / 200.0 };
                let (tiny, at_us) = (Planes::plain(2, 2, [0, 128, 128]), at as i64);
                all.push(OfShot { tiny, at_us, score, start_us: at_us, end_us: at_us + 1 });
            }
            let kept = all.finish();
            prop_assert!(kept.len() <= MOST && kept.len() >= count.min(MOST / 2));
            prop_assert!(kept.windows(2).all(|pair| pair[0].start_us < pair[1].start_us));
            prop_assert_eq!(kept.iter().any(|thumbnail| thumbnail.score == 1.0), best < count);
            if count <= MOST {
                prop_assert_eq!(kept.len(), count);
            }
        }
    }
}
