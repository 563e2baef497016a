//! How many bytes pictures may take, and what is left out or made smaller so that they do.

use super::gallery::{ALTERNATIVES, Candidate};
use super::jpeg::{self, QUALITIES};
use super::planes::Planes;
use super::storyboard::{Board, MOST_TILES};
use super::thumbnails::{self, MOST, OfShot};
use super::{Sheet, Still, Thumb};
use crate::media::Error;

/// Longer sides that a poster may have, pixels.
const BOXES: [u32; 5] = [1280, 960, 640, 480, 320];

/// Bytes that a poster may always take, however small the upload is.
pub const LEAST_POSTER: u64 = 6_000;

/// Bytes that a poster takes at most.
const MOST_POSTER: u64 = 200_000;

/// Bytes that a storyboard takes at most.
const MOST_SHEET: u64 = 500_000;

/// What a pixel of a poster costs about, thousandths of a byte.
const PIXEL: u64 = 70;

/// What a tile or a thumbnail costs at least, bytes.
const TILE: u64 = 900;

/// Below this longer side a poster is not made smaller any more, pixels.
const SMALLEST: usize = 160;

/// Bytes for pictures.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For all of them.
    pub bytes: u64,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    fn for_poster(&self) -> u64 {
        (self.bytes / 2).clamp(LEAST_POSTER, MOST_POSTER)
    }

    /// Longer side of a poster, pixels.
    pub fn poster_box(&self) -> u32 {
        let cost = |side: u32| u64::from(side) * u64::from(side) * 9 / 16 * PIXEL / 1000;
        let fits = |side: &u32| cost(*side) <= self.for_poster();
        BOXES.into_iter().find(fits).unwrap_or(BOXES[BOXES.len() - 1])
    }

    /// Tiles that a storyboard may have.
    pub fn tiles(&self) -> usize {
        usize::try_from(self.bytes * 3 / 10 / TILE).unwrap_or(MOST_TILES).min(MOST_TILES)
    }

    /// The poster.
    pub fn poster(&self, best: Candidate) -> Result<(Still, Vec<u8>), Error> {
        let most = self.for_poster();
        let Candidate { at_us, score, mut picture, .. } = best;
        loop {
            let (jpeg, fits) = smallest_loss(&picture, most, &QUALITIES)?;
            if fits || picture.width.max(picture.height) / 2 < SMALLEST {
                return Ok((still(&picture, at_us, score), jpeg));
            }
            picture = picture.halved();
        }
    }

    /// Alternatives of the size of the poster, as many as fit into `left` bytes.
    pub fn alternatives(
        &self,
        others: impl Iterator<Item = Candidate>,
        (width, height): (u32, u32),
        mut left: u64,
    ) -> Result<Vec<(Still, Vec<u8>)>, Error> {
        let mut made = Vec::new();
        for Candidate { at_us, score, mut picture, .. } in others.take(ALTERNATIVES) {
            while picture.width > width as usize || picture.height > height as usize {
                picture = picture.halved();
            }
            let most = (left / (ALTERNATIVES - made.len()) as u64).min(MOST_POSTER);
            let (jpeg, fits) = smallest_loss(&picture, most, &QUALITIES[..6])?;
            if fits {
                left -= jpeg.len() as u64;
                made.push((still(&picture, at_us, score), jpeg));
            }
        }
        Ok(made)
    }

    /// The sheet of `board`, and the bytes of its cues; none when not one tile fits into a part of `left` bytes.
    pub fn sheet(&self, board: Board, left: u64) -> Result<Option<(Sheet, Vec<u8>, u64)>, Error> {
        let most = (left * 6 / 10).min(MOST_SHEET);
        let mut board = Some(board);
        while let Some(current) = board {
            let cues = current.cues_bytes();
            let (planes, sheet) = current.sheet();
            let (jpeg, fits) = smallest_loss(&planes, most.saturating_sub(cues), &QUALITIES[1..5])?;
            if fits {
                return Ok(Some((sheet, jpeg, cues)));
            }
            board = current.thinned();
        }
        Ok(None)
    }

    /// Thumbnails, as many as fit into a part of `left` bytes.
    pub fn thumbs(&self, all: Vec<OfShot>, left: u64) -> Result<Vec<(Thumb, Vec<u8>)>, Error> {
        let share = left / 2;
        let mut most = usize::try_from(share / TILE).unwrap_or(MOST).min(MOST);
        let mut kept = all;
        loop {
            kept = thumbnails::fewer(kept, most);
            if kept.is_empty() {
                return Ok(Vec::new());
            }
            for quality in &QUALITIES[1..6] {
                let jpegs = kept.iter().map(|one| jpeg::encode(&one.tiny, *quality));
                let jpegs: Vec<Vec<u8>> = jpegs.collect::<Result<_, Error>>()?;
                if jpegs.iter().map(|jpeg| jpeg.len() as u64).sum::<u64>() <= share {
                    return Ok(kept.iter().map(thumb).zip(jpegs).collect());
                }
            }
            most = kept.len() / 2;
        }
    }
}

/// `picture` in the best of `qualities`, best first, that takes at most `most` bytes; whether it does.
fn smallest_loss(picture: &Planes, most: u64, qualities: &[u8]) -> Result<(Vec<u8>, bool), Error> {
    let mut last = Vec::new();
    for quality in qualities {
        last = jpeg::encode(picture, *quality)?;
        if last.len() as u64 <= most {
            return Ok((last, true));
        }
    }
    Ok((last, false))
}

fn still(picture: &Planes, at_us: i64, score: f64) -> Still {
    Still { width: picture.width as u32, height: picture.height as u32, at_us, score }
}

fn thumb(one: &OfShot) -> Thumb {
    Thumb { still: still(&one.tiny, one.at_us, one.score), start_us: one.start_us, end_us: one.end_us }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::storyboard;
    use super::*;

    fn noisy(width: usize, height: usize, seed: usize, grain: usize) -> Planes {
        let mut planes = Planes::plain(width, height, [0, 128, 128]);
        let draw = |at: usize| (at * (seed * 2 + 7919) % 251 * grain / 251 + at / 40 % 60) as u8;
        planes.y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = draw(at));
        planes
    }

    #[test]
    fn larger_uploads_get_larger_posters() {
        let boxes = [0, 10_000, 40_000, 80_000, 1_000_000].map(|bytes| Budget::new(bytes).poster_box());
        assert_eq!(boxes, [320, 320, 640, 960, 1280]);
        assert_eq!([0, 3_000, 10_000_000].map(|bytes| Budget::new(bytes).tiles()), [0, 1, 100]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn all_of_it_fits(bytes in 0_u64..400_000, grain in 1_usize..200, shots in 1_usize..80) {
            crate::media::worker::quiet();
            let budget = Budget::new(bytes);
            let side = budget.poster_box() as usize;
            let one = |seed: usize| noisy(160, 90, seed, grain);
            let candidate = |seed: usize| Candidate {
                at_us: seed as i64,
                score: 1.0,
                picture: noisy(side, side * 9 / 16 / 2 * 2, seed, grain),
                tiny: one(seed),
            };
            let (poster, jpeg) = budget.poster(candidate(0)).unwrap();
            prop_assert!(poster.width >= 160 && !jpeg.is_empty());
            let poster_bytes = jpeg.len() as u64;
            let mut board = Board::new(storyboard::times(40_000_000, 1000, budget.tiles()), (160, 90));
            (0..40).for_each(|at| if let Some(board) = &mut board { board.pass(one(at), at as i64 * 1_000_000) });
            let left = bytes.saturating_sub(poster_bytes);
            let sheet = board.and_then(Board::finish).and_then(|board| budget.sheet(board, left).unwrap());
            let sheet = sheet.map_or(0, |(_, jpeg, cues)| jpeg.len() as u64 + cues);
            let all = (0..shots).map(|at| OfShot { tiny: one(at), at_us: 0, score: 0.5, start_us: 0, end_us: 1 }).collect();
            let thumbs = budget.thumbs(all, left - sheet).unwrap();
            let thumbs: u64 = thumbs.iter().map(|(_, jpeg)| jpeg.len() as u64).sum();
            let size = (poster.width, poster.height);
            let others = budget.alternatives((1..4).map(candidate), size, left - sheet - thumbs).unwrap();
            prop_assert!(others.iter().all(|(still, _)| (still.width, still.height) == size));
            let others: u64 = others.iter().map(|(_, jpeg)| jpeg.len() as u64).sum();
            let total = poster_bytes + sheet + thumbs + others;
            prop_assert!(total <= bytes.max(poster_bytes), "{total} of {bytes}, the poster {poster_bytes}");
        }
    }
}
