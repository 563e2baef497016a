//! How good a picture is to stand for a video: sharpness, exposure, contrast, colour, without any I/O.
//!
//! Nothing here depends on a library's own mathematics beyond square roots, so a picture has the same score on every machine.

use super::planes::Planes;

/// A picture darker than this all over is black, one brighter than that is white, luma.
const BLACK: usize = 40;
const WHITE: usize = 225;

/// A picture whose luma spans less is flat.
const FLAT: usize = 24;

/// Steps between two neighbours of the sharpest edges, as a share of the picture's contrast: below the first a picture is
/// blurred, from the second on it is sharp.
const EDGES: (f64, f64) = (0.10, 0.45);

/// What is measured on a picture, each from 0 (bad) to 1 (good).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    /// How steep its sharpest edges are.
    pub sharpness: f64,
    /// How near its brightness is to the middle, and how little is lost in black and white.
    pub exposure: f64,
    /// How far dark and bright are apart.
    pub contrast: f64,
    /// How much colour it has.
    pub colour: f64,
    /// How much of it shows anything.
    pub detail: f64,
    /// Whether it is black, white, or of one tone.
    pub is_empty: bool,
}

impl Marks {
    /// The marks of `picture`.
    pub fn of(picture: &Planes) -> Self {
        let luma = histogram(&picture.y);
        let (low, high) = (percentile(&luma, 2), percentile(&luma, 98));
        let span = high - low;
        let mean = mean(&luma);
        let count = picture.y.len().max(1) as f64;
        let lost = (luma[..12].iter().sum::<u64>() + luma[248..].iter().sum::<u64>()) as f64 / count;
        let steps = steps(picture);
        let steepest = percentile(&steps, 99) as f64 / (span as f64).max(FLAT as f64);
        let textured = steps[6..].iter().sum::<u64>() as f64 / steps.iter().sum::<u64>().max(1) as f64;
        Self {
            sharpness: ramp(steepest, EDGES.0, EDGES.1),
            exposure: (1.0 - ((mean - 118.0).abs() / 118.0).min(1.0)) * (1.0 - lost).max(0.0),
            contrast: ramp(span as f64, FLAT as f64, 190.0),
            colour: ramp(colourfulness(picture), 2.0, 45.0),
            detail: ramp(textured, 0.02, 0.30),
            is_empty: high < BLACK || low > WHITE || span < FLAT,
        }
    }

    /// All of it in one number, 0 to 1.
    pub fn score(&self) -> f64 {
        let sum = 0.30 * self.sharpness
            + 0.25 * self.exposure
            + 0.18 * self.contrast
            + 0.12 * self.colour
            + 0.15 * self.detail;
        let blurred = if self.sharpness <= 0.0 { 0.4 } else { 1.0 };
        let empty = if self.is_empty { 0.05 } else { 1.0 };
        sum * blurred * empty
    }
}

/// How welcome the time `at_us` of a video is for its poster: titles and credits stand at its ends.
pub fn place(at_us: i64, duration_us: i64) -> f64 {
    let share = at_us as f64 / duration_us.max(1) as f64;
    if (0.03..=0.90).contains(&share) { 1.0 } else { 0.85 }
}

/// How welcome a frame is that differs by `motion` from the one before it, as [`super::prints::Print::distance`].
pub fn stillness(motion: f64) -> f64 {
    1.0 - 0.3 * (motion / 0.10).min(1.0)
}

/// How much two pictures of one size look alike, 0 to 1: what share of their pixels is nearly the same.
pub fn likeness(a: &Planes, b: &Planes) -> f64 {
    let near = a.y.iter().zip(&b.y).filter(|(a, b)| a.abs_diff(**b) < 16).count();
    near as f64 / a.y.len().max(1) as f64
}

fn ramp(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

fn histogram(plane: &[u8]) -> [u64; 256] {
    let mut counts = [0; 256];
    plane.iter().for_each(|pixel| counts[usize::from(*pixel)] += 1);
    counts
}

/// The value below which `percent` of all lie.
fn percentile(counts: &[u64; 256], percent: u64) -> usize {
    let wanted = counts.iter().sum::<u64>() * percent / 100;
    let mut sum = 0;
    counts
        .iter()
        .position(|count| {
            sum += count;
            sum > wanted
        })
        .unwrap_or(255)
}

fn mean(counts: &[u64; 256]) -> f64 {
    let sum: u64 = counts.iter().enumerate().map(|(value, count)| value as u64 * count).sum();
    sum as f64 / counts.iter().sum::<u64>().max(1) as f64
}

/// How often neighbours, beside and below, differ by how much.
fn steps(picture: &Planes) -> [u64; 256] {
    let mut counts = [0; 256];
    let mut above: &[u8] = &[];
    for row in picture.y.chunks_exact(picture.width.max(1)) {
        for pair in row.windows(2) {
            counts[usize::from(pair[0].abs_diff(pair[1]))] += 1;
        }
        for (pixel, over) in row.iter().zip(above) {
            counts[usize::from(pixel.abs_diff(*over))] += 1;
        }
        above = row;
    }
    counts
}

/// After Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003), on the planes of chroma: how far colours are
/// spread, and a part of how far their mean is from grey.
fn colourfulness(picture: &Planes) -> f64 {
    let of = |plane: &[u8]| {
        let counts = histogram(plane);
        let mean = mean(&counts);
        let spread: f64 =
            counts.iter().enumerate().map(|(value, count)| (value as f64 - mean).powi(2) * *count as f64).sum();
        (mean - 128.0, spread / plane.len().max(1) as f64)
    };
    let ((cb, spread_cb), (cr, spread_cr)) = (of(&picture.cb), of(&picture.cr));
    (spread_cb + spread_cr).sqrt() + 0.3 * (cb * cb + cr * cr).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texture(light: f64) -> Planes {
        let mut planes = Planes::plain(160, 90, [0, 128, 128]);
        for (at, pixel) in planes.y.iter_mut().enumerate() {
            let (x, y) = (at % 160, at / 160);
            *pixel = (((x / 9 * 67 + y / 7 * 129) % 200 + 30) as f64 * light).min(255.0) as u8;
        }
        planes.cb.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = 108 + (at / 8 % 40) as u8);
        planes
    }

    fn blurred(picture: &Planes, radius: usize) -> Planes {
        let mut planes = picture.clone();
        for y in 0..picture.height {
            for x in 0..picture.width {
                let xs = x.saturating_sub(radius)..(x + radius + 1).min(picture.width);
                let ys = y.saturating_sub(radius)..(y + radius + 1).min(picture.height);
                let count = xs.len() * ys.len();
                let sum: usize =
                    ys.flat_map(|y| xs.clone().map(move |x| usize::from(picture.y[y * picture.width + x]))).sum();
                planes.y[y * picture.width + x] = (sum / count) as u8;
            }
        }
        planes
    }

    fn score(picture: &Planes) -> f64 {
        Marks::of(picture).score()
    }

    #[test]
    fn a_good_picture_beats_black_white_flat_blurred_dark_and_glaring_ones() {
        let good = texture(1.0);
        for (what, bad) in [
            ("black", Planes::plain(160, 90, [0, 128, 128])),
            ("white", Planes::plain(160, 90, [255, 128, 128])),
            ("grey", Planes::plain(160, 90, [118, 128, 128])),
            ("coloured", Planes::plain(160, 90, [118, 40, 220])),
            ("blurred", blurred(&good, 6)),
            ("dark", texture(0.2)),
            ("glaring", texture(3.0)),
        ] {
            assert!(score(&good) > 1.3 * score(&bad), "{what}: {:?}", Marks::of(&bad));
        }
        assert!(Marks::of(&texture(0.1)).is_empty, "nearly black");
    }

    #[test]
    fn the_blurrier_the_worse() {
        let sharp = texture(1.0);
        for radius in 1..5 {
            let (little, more) = (blurred(&sharp, radius), blurred(&sharp, radius + 2));
            assert!(Marks::of(&sharp).sharpness >= Marks::of(&little).sharpness);
            assert!(Marks::of(&little).sharpness >= Marks::of(&more).sharpness);
            assert!(score(&sharp) > score(&more));
        }
    }

    #[test]
    fn black_with_a_speck_is_better_than_black_and_worse_than_a_picture() {
        let black = Planes::plain(160, 90, [0, 128, 128]);
        let mut speck = black.clone();
        speck.paste(&Planes::plain(32, 20, [220, 128, 128]), 60, 30);
        assert!(score(&speck) > score(&black) && score(&speck) < score(&texture(1.0)));
    }

    #[test]
    fn pictures_look_alike_or_do_not() {
        assert_eq!(likeness(&texture(1.0), &texture(1.0)), 1.0);
        assert!(likeness(&texture(1.0), &texture(0.4)) < 0.5);
    }

    proptest! {
        #[test]
        fn marks_are_shares(width in 1_usize..20, height in 1_usize..20, seed in 0_usize..1000, step in 0_usize..300) {
            let mut planes = Planes::plain(width * 2, height * 2, [0, 128, 128]);
            planes.y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = ((at * step + seed) % 256) as u8);
            planes.cr.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = ((at * seed + step) % 256) as u8);
            let marks = Marks::of(&planes);
            for mark in [marks.sharpness, marks.exposure, marks.contrast, marks.colour, marks.detail, marks.score()] {
                prop_assert!((0.0..=1.0).contains(&mark), "{:?}", marks);
            }
        }
    }
}
